//! One rule: verbs on resources or on paths, and whether it allows a request.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Stands for everything, in each list of a rule.
pub(crate) const ALL: &str = "*";

/// A `PolicyRule` of `rbac.authorization.k8s.io/v1`: about resources, or about paths, never both.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Verbs; `*` is every one.
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
    /// API groups; empty text is the core group, `*` every one.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Plurals, `plural/subresource`, `*/subresource`; `*` is every resource and subresource.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Only objects of these names; empty means all.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths that are no resources; a `*` at the end stands for any rest.
    #[serde(rename = "nonResourceURLs", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// A list that may be missing or null.
pub(crate) fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// User name.
    pub name: &'a str,
    /// Groups, as authenticated.
    pub groups: &'a [String],
}

/// What is asked for: of a resource, or of a bare path when `resource` is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Verb.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural; empty for bare paths.
    pub resource: &'a str,
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Namespace; empty asks about the whole cluster.
    pub namespace: &'a str,
    /// Name of the object; empty where there is none (list, create).
    pub name: &'a str,
    /// Path of the request; counts when `resource` is empty.
    pub path: &'a str,
}

pub(crate) fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|w| w == word)
}

fn has_or_all(list: &[String], word: &str) -> bool {
    list.iter().any(|w| w == word || w == ALL)
}

impl Rule {
    /// Whether this rule alone allows the request. Where it applies (namespace) and to whom is not its business.
    pub fn allows(&self, ask: &Ask<'_>) -> bool {
        if !has_or_all(&self.verbs, ask.verb) {
            return false;
        }
        if ask.resource.is_empty() {
            return self.non_resource_urls.iter().any(|pattern| path_covers(pattern, ask.path));
        }
        has_or_all(&self.api_groups, ask.group)
            && self.resources.iter().any(|r| is_resource(r, ask))
            && (self.resource_names.is_empty() || has(&self.resource_names, ask.name))
    }
}

/// Whether an entry of `resources` names what is asked for.
fn is_resource(entry: &str, ask: &Ask<'_>) -> bool {
    if entry == ALL {
        return true;
    }
    match ask.subresource {
        "" => entry == ask.resource,
        sub => entry.split_once('/').is_some_and(|(r, s)| s == sub && (r == ALL || r == ask.resource)),
    }
}

/// Whether a path pattern stands for all that another one (or a plain path) stands for.
pub(crate) fn path_covers(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*'))
}

/// In the words of upstream's escalation message: `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown = parts.iter().filter(|(_, list)| !list.is_empty());
        let shown: Vec<String> = shown.map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        write!(f, "{{{}}}", shown.join(", "))
    }
}

/// A list as upstream prints it: `["a" "b"]`.
pub(crate) fn quoted(list: &[String]) -> String {
    let words: Vec<String> = list.iter().map(|w| format!("{w:?}")).collect();
    format!("[{}]", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn rule(verbs: &str, group: &str, resources: &str) -> Rule {
        Rule {
            verbs: words(verbs),
            api_groups: vec![group.to_owned()],
            resources: words(resources),
            ..Rule::default()
        }
    }

    fn ask<'a>(verb: &'a str, resource: &'a str, subresource: &'a str) -> Ask<'a> {
        Ask { verb, resource, subresource, name: "a", ..Ask::default() }
    }

    #[test]
    fn a_resource_does_not_include_its_subresources() {
        let pods = rule("get", "", "pods");
        assert!(pods.allows(&ask("get", "pods", "")));
        assert!(!pods.allows(&ask("get", "pods", "log")));
        assert!(rule("get", "", "pods/log").allows(&ask("get", "pods", "log")));
        assert!(!rule("get", "", "pods/log").allows(&ask("get", "pods", "")));
    }

    #[test]
    fn a_star_before_a_subresource_means_every_resource_and_one_after_it_nothing() {
        let scale = rule("update", "", "*/scale");
        assert!(scale.allows(&ask("update", "deployments", "scale")));
        assert!(!scale.allows(&ask("update", "deployments", "status")));
        assert!(!scale.allows(&ask("update", "deployments", "")));
        assert!(
            !rule("get", "", "pods/*").allows(&ask("get", "pods", "log")),
            "upstream knows no such pattern"
        );
        assert!(rule("*", "", "*").allows(&ask("get", "pods", "log")));
    }

    #[test]
    fn names_restrict_and_do_not_allow_what_has_no_name() {
        let named = Rule { resource_names: words("a"), ..rule("get list", "", "secrets") };
        assert!(named.allows(&ask("get", "secrets", "")));
        assert!(!named.allows(&Ask { name: "b", ..ask("get", "secrets", "") }));
        assert!(!named.allows(&Ask { name: "", ..ask("list", "secrets", "") }));
    }

    #[test]
    fn paths_end_in_a_star_or_are_meant_as_they_stand() {
        let paths = |text| Rule { verbs: words("get"), non_resource_urls: words(text), ..Rule::default() };
        let get = |path| Ask { verb: "get", path, ..Ask::default() };
        assert!(paths("/healthz").allows(&get("/healthz")));
        assert!(!paths("/healthz").allows(&get("/healthz/ping")));
        assert!(paths("/healthz*").allows(&get("/healthz/ping")));
        assert!(paths("*").allows(&get("/metrics")));
        assert!(!rule("get", "", "*").allows(&get("/metrics")), "rules about resources do not open paths");
    }

    #[test]
    fn lists_that_are_null_are_empty() {
        let read: Rule = serde_json::from_str(r#"{"verbs":["get"],"resources":null}"#).unwrap();
        assert_eq!(read, Rule { verbs: words("get"), ..Rule::default() });
    }
}
