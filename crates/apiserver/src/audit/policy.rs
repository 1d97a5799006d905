//! How much of which request is told: an `audit.k8s.io/v1` Policy.

use serde::Deserialize;

/// How much an event tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Level {
    /// There is none.
    #[default]
    None,
    /// Who, what, when and what came of it.
    Metadata,
    /// What was sent, too.
    Request,
    /// And what was answered.
    RequestResponse,
}

impl Level {
    /// As events name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

/// When an event is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Stage {
    /// The request has arrived.
    RequestReceived,
    /// The head of a long answer has left.
    ResponseStarted,
    /// The answer is whole.
    ResponseComplete,
    /// The server panicked; never told here, because a panic ends the connection.
    Panic,
}

impl Stage {
    /// As events name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is no YAML of a policy.
    #[error("{0}")]
    Form(#[from] serde_yaml_ng::Error),
    /// It says something else than a policy may.
    #[error("{0}")]
    Content(String),
}

/// What is told of which request; the first rule that fits a request counts, and one that fits none is not told.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Rule {
    level: Option<Level>,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<Resources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    paths: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Resources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// A request as rules see it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) user: &'a str,
    pub(crate) groups: &'a [String],
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// Empty for bare paths.
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
}

/// What is to be told of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) level: Level,
    omitted: Vec<Stage>,
    pub(crate) omits_managed_fields: bool,
}

impl Verdict {
    /// Whether there is an event at this stage.
    pub(crate) fn tells(&self, stage: Stage) -> bool {
        self.level > Level::None && !self.omitted.contains(&stage)
    }
}

impl Policy {
    /// Everything at level Metadata, once it is answered.
    pub fn metadata() -> Policy {
        Policy {
            api_version: "audit.k8s.io/v1".to_owned(),
            kind: "Policy".to_owned(),
            _metadata: serde_json::Value::Null,
            rules: vec![Rule { level: Some(Level::Metadata), ..Rule::default() }],
            omit_stages: vec![Stage::RequestReceived],
            omit_managed_fields: false,
        }
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// When it has other fields, values or combinations than `audit.k8s.io/v1` knows, or no rule.
    pub fn read(yaml: &str) -> Result<Policy, PolicyError> {
        let policy: Policy = serde_yaml_ng::from_str(yaml)?;
        let wrong = |why: String| Err(PolicyError::Content(why));
        if (policy.api_version.as_str(), policy.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            return wrong("it is no Policy of audit.k8s.io/v1".to_owned());
        }
        if policy.rules.is_empty() {
            return wrong("it has no rules, so that nothing would be told".to_owned());
        }
        for (i, rule) in policy.rules.iter().enumerate() {
            if rule.level.is_none() {
                return wrong(format!("rules[{i}].level: Required value"));
            }
            let is_of_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if is_of_resources && !rule.paths.is_empty() {
                return wrong(format!(
                    "rules[{i}].nonResourceURLs: Invalid value: rules cannot apply to both regular resources and \
                     non-resource URLs"
                ));
            }
            let is_plain = |path: &String| {
                path == "*" || path.starts_with('/') && !path.trim_end_matches('*').contains('*')
            };
            if let Some(bad) = rule.paths.iter().find(|path| !is_plain(path)) {
                return wrong(format!(
                    "rules[{i}].nonResourceURLs: Invalid value: {bad:?}: begin with '/', with '*' at the end alone"
                ));
            }
        }
        Ok(policy)
    }

    /// What is to be told of a request.
    pub(crate) fn judge(&self, asked: &Asked<'_>) -> Verdict {
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(asked)) else { return Verdict::default() };
        Verdict {
            level: rule.level.unwrap_or_default(),
            omitted: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omits_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.is_empty() || list.iter().any(|one| one == wanted)
}

impl Rule {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let is_of_group =
            self.user_groups.is_empty() || asked.groups.iter().any(|g| has(&self.user_groups, g));
        if !has(&self.users, asked.user) || !is_of_group || !has(&self.verbs, asked.verb) {
            return false;
        }
        let is_resource = !asked.resource.is_empty();
        if !self.resources.is_empty() || !self.namespaces.is_empty() {
            let is_named = self.resources.is_empty() || self.resources.iter().any(|r| r.fit(asked));
            return is_resource && has(&self.namespaces, asked.namespace) && is_named;
        }
        if self.paths.is_empty() {
            return true;
        }
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => asked.path.starts_with(start),
            None => asked.path == pattern,
        };
        !is_resource && self.paths.iter().any(fits)
    }
}

impl Resources {
    fn fit(&self, asked: &Asked<'_>) -> bool {
        if self.group != asked.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let whole = match asked.subresource {
            "" => asked.resource.to_owned(),
            subresource => format!("{}/{subresource}", asked.resource),
        };
        let fits = |pattern: &String| {
            pattern == "*"
                || *pattern == whole
                || !asked.subresource.is_empty()
                    && pattern.split_once('/').is_some_and(|(resource, subresource)| {
                        [(resource, asked.resource), (subresource, asked.subresource)]
                            .into_iter()
                            .all(|(pattern, part)| pattern == "*" || pattern == part)
                    })
        };
        self.resources.iter().any(fits) && has(&self.resource_names, asked.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [system:kube-proxy]
  verbs: [watch]
  resources: [{group: "", resources: [endpoints, services]}]
- level: None
  nonResourceURLs: ["/healthz*", /version]
- level: Request
  namespaces: [kube-system]
  resources: [{group: "", resources: [configmaps], resourceNames: [a]}]
  omitStages: [ResponseStarted]
- level: Metadata
  resources: [{group: "", resources: ["pods/*", "*/scale"]}]
- level: RequestResponse
  userGroups: [people]
  omitManagedFields: true
"#;

    fn judge(asked: Asked<'_>) -> Verdict {
        Policy::read(POLICY).unwrap().judge(&asked)
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let of = |verb, resource, subresource| Asked { verb, resource, subresource, ..Asked::default() };
        let proxy = Asked { user: "system:kube-proxy", ..of("watch", "services", "") };
        assert_eq!(judge(proxy).level, Level::None);
        assert_eq!(
            judge(Asked { path: "/healthz/ping", verb: "get", ..Asked::default() }).level,
            Level::None
        );
        let map = Asked { namespace: "kube-system", name: "a", ..of("update", "configmaps", "") };
        let told = judge(map);
        assert_eq!(told.level, Level::Request);
        assert!(!told.tells(Stage::RequestReceived) && !told.tells(Stage::ResponseStarted));
        assert!(told.tells(Stage::ResponseComplete) && !told.omits_managed_fields);
        assert_eq!(judge(Asked { name: "b", ..map }).level, Level::None);
        assert_eq!(judge(of("get", "pods", "log")).level, Level::Metadata);
        assert_eq!(judge(of("get", "pods", "")).level, Level::None);
        assert_eq!(judge(of("update", "deployments", "scale")).level, Level::Metadata);
        let people = ["people".to_owned()];
        let person = judge(Asked { groups: &people, ..of("get", "pods", "") });
        assert_eq!((person.level, person.omits_managed_fields), (Level::RequestResponse, true));
    }

    #[test]
    fn a_policy_that_says_something_else_is_refused() {
        let wrong = |rules: &str| {
            let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}\n");
            Policy::read(&text).unwrap_err().to_string()
        };
        assert!(wrong("[]").contains("no rules"));
        assert!(wrong("[{users: [a]}]").contains("rules[0].level: Required value"));
        assert!(wrong("[{level: Everything}]").contains("Everything"));
        assert!(wrong("[{level: None, colour: red}]").contains("colour"));
        let both = "[{level: None, nonResourceURLs: [/x], namespaces: [a]}]";
        assert!(wrong(both).contains("both regular resources and non-resource URLs"));
        assert!(wrong("[{level: None, nonResourceURLs: ['/a*b']}]").contains("at the end alone"));
        assert!(Policy::read("kind: Pod").unwrap_err().to_string().contains("no Policy"));
    }
}
