//! Garbage collection: dependents go when their last owner has gone (as kube-controller-manager 1.36).
//!
//! ```text
//! metadata of everything ──> Graph { nodes by uid, dependents by owner } ──> Step::Verify(owner) ──> live GET
//!                               ^ ruled(owner, Ruling)                   └─> Step::Act(action), fenced by version
//! ```
//!
//! Invariant: nothing is deleted because an owner is unknown here; a live look must have shown its absence first. An owner of
//! that identity that was absent once is absent for ever. The shell asks for steps only while all its mirrors are synced.

mod graph;
mod judge;
#[cfg(test)]
mod tests;

use api_meta::ObjectKey;
use reconcile::{Action, Permission};

pub use graph::Graph;

/// The name under which it acts.
pub const NAME: &str = "generic-garbage-collector";

/// An owner as a dependent names it. The same identity named from another namespace is another address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Identity.
    pub uid: String,
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace of the dependent; the owner is there or cluster-wide.
    pub key: ObjectKey,
}

/// What a live look at an owner has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// There is no object of that identity at that address.
    Absent,
    /// It is there.
    Present,
    /// It could not be found out, for instance because its kind is not served: nothing follows.
    Unknown,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Look at an owner live, then tell [`Graph::ruled`].
    Verify(Address),
    /// Carry out an action on the object of this identity, then tell [`Graph::again`] when it failed.
    Act {
        /// The object the action is about.
        uid: String,
        /// The action.
        action: Action,
    },
}

/// What it may do: it must reach kinds that nobody foresaw.
pub fn permissions() -> Vec<Permission> {
    vec![
        Permission {
            group: "*",
            resource: "*",
            verbs: &["get", "list", "watch", "patch", "update", "delete"],
        },
        Permission { group: "", resource: "events", verbs: &["create", "patch"] },
    ]
}
