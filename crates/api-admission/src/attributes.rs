//! What a request does, as admission sees it.

use serde_json::Value;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// It comes to be.
    Create,
    /// It changes: PUT, PATCH, apply.
    Update,
    /// It goes.
    Delete,
    /// A stream to it is opened.
    Connect,
}

impl Operation {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// A collection in one version: group, version, plural.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural name, without subresource.
    pub resource: String,
}

/// A kind in one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

/// A request as admission sees it.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    /// What is done.
    pub operation: Operation,
    /// The collection that the request names.
    pub place: Place,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Kind of the object that the request carries (`Scale` for a scale), in the version of the request.
    pub kind: Kind,
    /// Namespace; of a request on a Namespace its own name; empty for other cluster-wide objects.
    pub namespace: &'a str,
    /// Name; empty while a generated one is not known.
    pub name: &'a str,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// `username`, `uid`, `groups`, `extra`.
    pub user: &'a Value,
    /// `CreateOptions`, `UpdateOptions`, `DeleteOptions` of the request; null when there are none.
    pub options: &'a Value,
}

/// Groups and resources that no webhook and no policy ever judges, so that a mistake in one can be taken back.
const EXEMPT: [&str; 6] = [
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];

/// Whether objects of a collection are out of reach of webhooks and policies: their own configurations.
pub fn is_exempt(group: &str, resource: &str) -> bool {
    group == "admissionregistration.k8s.io" && EXEMPT.contains(&resource)
}
