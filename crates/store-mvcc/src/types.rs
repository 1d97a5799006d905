//! The nouns of the store.

use std::sync::Arc;

use crate::{Body, Row};

/// Version of the whole store; every change of one object takes the next one. Zero is "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where an object lives: by group and resource, never by version. Order of fields is the order of lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `pods`, `deployments.apps`: plural, with the group when there is one.
    pub resource: Arc<str>,
    /// Namespace; empty for cluster-wide objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// A key from its parts.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Key {
        Key { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// Part of the key space: one resource, or one namespace of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Which resource.
    pub resource: Arc<str>,
    /// Which namespace; all when absent.
    pub namespace: Option<Arc<str>>,
}

impl KeyRange {
    /// Whether it holds `key`.
    pub fn contains(&self, key: &Key) -> bool {
        self.resource == key.resource && self.namespace.as_ref().is_none_or(|ns| *ns == key.namespace)
    }
}

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where it lives.
    pub key: Key,
    /// Its version, assigned at commit; never part of the body.
    pub revision: Revision,
    /// Its index row.
    pub row: Row,
    /// Its bytes.
    pub body: Body,
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// No object at the key.
    Absent,
    /// The object at the key has exactly this version.
    At(Revision),
}

/// A write.
#[derive(Clone, Debug)]
pub enum Op {
    /// Store a new version.
    Put {
        /// Where.
        key: Key,
        /// Index row of the new version.
        row: Row,
        /// Bytes of the new version.
        body: Body,
        /// Precondition.
        expect: Expect,
    },
    /// Remove the object.
    Delete {
        /// Where.
        key: Key,
        /// Precondition; `Absent` makes no sense here and never holds.
        expect: Expect,
        /// Last state to show to watchers when it differs from the stored one.
        last: Option<Body>,
    },
}

/// A committed change.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its revision; one revision, one event.
    pub revision: Revision,
    /// The version before it, if there was one.
    pub before: Option<Arc<Stored>>,
    /// The version after it; of a deletion, the last state under the deletion's revision.
    pub after: Arc<Stored>,
    /// Whether the object is gone.
    pub is_delete: bool,
}
