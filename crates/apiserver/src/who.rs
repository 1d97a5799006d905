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

    /// The rules that apply to a user, for SelfSubjectRulesReview: (groups, resources, verbs).
    fn rules(&self, user: &User) -> Vec<Rule>;
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
