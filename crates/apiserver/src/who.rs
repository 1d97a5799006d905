//! Who asks, what for, and who decides.

use std::collections::BTreeMap;

/// An authenticated caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User name.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Identity at its source; often empty.
    pub uid: String,
    /// Further facts.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A caller of these groups; `system:authenticated` is added.
    pub fn new(name: &str, groups: &[&str]) -> User {
        let all = groups.iter().copied().chain(["system:authenticated"]);
        User { name: name.to_owned(), groups: all.map(str::to_owned).collect(), ..User::default() }
    }

    /// Whoever gave no credentials.
    pub fn anonymous() -> User {
        let groups = vec!["system:unauthenticated".to_owned()];
        User { name: "system:anonymous".to_owned(), groups, ..User::default() }
    }

    /// Whether it belongs to a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// What a request wants to do: of a resource, or of a bare path when `resource` is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// Verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, …; the HTTP method in lower case for paths.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Version.
    pub version: &'a str,
    /// Plural; empty for bare paths.
    pub resource: &'a str,
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Name or empty.
    pub name: &'a str,
    /// Path of the request.
    pub path: &'a str,
}

/// The verdict on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go ahead.
    Allow,
    /// Refused, for this reason (may be empty).
    Deny(String),
}

/// Decides who may do what. Also answers access reviews.
pub trait Authorizer: Send + Sync {
    /// The verdict.
    fn authorize(&self, user: &User, what: &Attributes<'_>) -> Decision;

    /// The rules that apply to a user in every namespace: (groups, resources, verbs).
    fn rules(&self, user: &User) -> Vec<Rule>;

    /// Why a request is allowed, for access reviews; empty when there is nothing to say.
    fn reason(&self, _user: &User, _what: &Attributes<'_>) -> String {
        String::new()
    }

    /// All that a user may do in a namespace (empty: cluster-wide only): what it may grant to others, and what it is told
    /// of its own rights.
    fn held(&self, user: &User, _namespace: &str) -> rbac::Held {
        let rules = self.rules(user).into_iter().map(rbac::Rule::from).collect();
        rbac::Held { rules, missing: Vec::new() }
    }

    /// The rules of the role that a binding of a namespace names; `None` when there is no such role.
    fn role(&self, _role: &rbac::RoleRef, _namespace: &str) -> Option<Vec<rbac::Rule>> {
        None
    }
}

/// Verbs on resources of groups; `*` stands for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// API groups.
    pub groups: Vec<String>,
    /// Plurals, `plural/subresource`.
    pub resources: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
}

impl From<Rule> for rbac::Rule {
    fn from(rule: Rule) -> rbac::Rule {
        let (verbs, api_groups, resources) = (rule.verbs, rule.groups, rule.resources);
        rbac::Rule { verbs, api_groups, resources, ..rbac::Rule::default() }
    }
}
