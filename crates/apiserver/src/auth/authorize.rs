//! The table of this product's own components: `system:masters` may do all, each component what its row lists, others nothing
//! but to read health and to ask about themselves. [`super::Rbac`] adds roles and bindings to it.

use std::collections::BTreeMap;

use crate::who::{Attributes, Authorizer, Decision, Rule, User};

/// Rules by user name.
#[derive(Default)]
pub struct TableAuthorizer {
    rows: BTreeMap<String, Vec<Rule>>,
}

/// Paths that anybody may read (upstream: role `system:public-info-viewer`).
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];
/// Paths that every authenticated user may read (upstream: role `system:discovery`).
const DISCOVERY: [&str; 3] = ["/api", "/apis", "/openapi"];
/// Questions about oneself (upstream: role `system:basic-user`).
const ABOUT_ONESELF: [(&str, &str); 3] = [
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
];

impl TableAuthorizer {
    /// Nobody but `system:masters` may do anything yet.
    pub fn new() -> TableAuthorizer {
        TableAuthorizer::default()
    }

    /// The rows of a user.
    pub(super) fn rows(&self, user: &User) -> &[Rule] {
        self.rows.get(&user.name).map_or(&[], Vec::as_slice)
    }

    /// Lets `user` do what `rules` say, beside what it may already do.
    pub fn allow(&mut self, user: &str, rules: impl IntoIterator<Item = Rule>) {
        self.rows.entry(user.to_owned()).or_default().extend(rules);
    }

    /// Whether a row lets a user do this.
    pub(super) fn is_listed(&self, user: &User, what: &Attributes<'_>) -> bool {
        let rules = self.rows.get(&user.name);
        rules.into_iter().flatten().any(|r| r.covers(what.verb, what.group, what.resource, what.subresource))
    }
}

impl Rule {
    fn covers(&self, verb: &str, group: &str, resource: &str, subresource: &str) -> bool {
        let has = |list: &[String], word: &str| list.iter().any(|w| w == "*" || w == word);
        let resource = match subresource {
            "" => has(&self.resources, resource),
            sub => self.resources.iter().any(|r| {
                r == "*"
                    || r.split_once('/') == Some((resource, sub))
                    || r.split_once('/') == Some(("*", sub))
                    || r.split_once('/') == Some((resource, "*"))
            }),
        };
        resource && has(&self.verbs, verb) && has(&self.groups, group)
    }
}

fn is_below(path: &str, roots: &[&str]) -> bool {
    roots
        .iter()
        .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

impl Authorizer for TableAuthorizer {
    fn authorize(&self, user: &User, what: &Attributes<'_>) -> Decision {
        if user.is_in("system:masters") {
            return Decision::Allow;
        }
        let known = user.is_in("system:authenticated");
        let allowed = if what.resource.is_empty() {
            let reads = matches!(what.verb, "get" | "head");
            reads && (is_below(what.path, &PUBLIC) || known && is_below(what.path, &DISCOVERY))
                || self.is_listed(user, &Attributes { resource: what.path, ..*what })
        } else {
            known && what.verb == "create" && ABOUT_ONESELF.contains(&(what.group, what.resource))
                || self.is_listed(user, what)
        };
        if allowed { Decision::Allow } else { Decision::Deny(String::new()) }
    }

    fn rules(&self, user: &User) -> Vec<Rule> {
        let one = |groups: &[&str], resources: &[&str], verbs: &[&str]| Rule {
            groups: groups.iter().map(|s| (*s).to_owned()).collect(),
            resources: resources.iter().map(|s| (*s).to_owned()).collect(),
            verbs: verbs.iter().map(|s| (*s).to_owned()).collect(),
        };
        if user.is_in("system:masters") {
            return vec![one(&["*"], &["*"], &["*"])];
        }
        let own = ABOUT_ONESELF.iter().map(|(group, resource)| one(&[group], &[resource], &["create"]));
        own.chain(self.rows.get(&user.name).into_iter().flatten().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(resource: &str, verb: &str) -> Rule {
        Rule {
            groups: vec![String::new()],
            resources: vec![resource.to_owned()],
            verbs: vec![verb.to_owned()],
        }
    }

    fn asks<'a>(verb: &'a str, resource: &'a str, subresource: &'a str) -> Attributes<'a> {
        Attributes { verb, resource, subresource, version: "v1", ..Attributes::default() }
    }

    #[test]
    fn masters_may_all_and_strangers_nothing() {
        let table = TableAuthorizer::new();
        let attributes = asks("delete", "nodes", "");
        assert_eq!(table.authorize(&User::new("root", &["system:masters"]), &attributes), Decision::Allow);
        assert_ne!(table.authorize(&User::new("viewer", &["viewers"]), &attributes), Decision::Allow);
    }

    #[test]
    fn a_component_may_what_its_row_lists() {
        let mut table = TableAuthorizer::new();
        table.allow("scheduler", [rule("pods/binding", "create"), rule("pods", "watch")]);
        let scheduler = User::new("scheduler", &[]);
        assert_eq!(table.authorize(&scheduler, &asks("create", "pods", "binding")), Decision::Allow);
        assert_eq!(table.authorize(&scheduler, &asks("watch", "pods", "")), Decision::Allow);
        for (verb, resource, sub) in
            [("create", "pods", ""), ("delete", "pods", ""), ("create", "pods", "eviction")]
        {
            assert_ne!(
                table.authorize(&scheduler, &asks(verb, resource, sub)),
                Decision::Allow,
                "{verb} {resource}/{sub}"
            );
        }
    }

    #[test]
    fn anonymous_reads_health_only() {
        let table = TableAuthorizer::new();
        let get = |path| Attributes { verb: "get", path, ..Attributes::default() };
        assert_eq!(table.authorize(&User::anonymous(), &get("/livez/ping")), Decision::Allow);
        assert_ne!(table.authorize(&User::anonymous(), &get("/apis")), Decision::Allow);
        assert_eq!(table.authorize(&User::new("a", &[]), &get("/apis/apps/v1")), Decision::Allow);
        assert_ne!(table.authorize(&User::new("a", &[]), &get("/metrics")), Decision::Allow);
    }
}
