//! What is served: groups, resources and their subresources.

use api_schema::TypeId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// A named API group with its served versions, the preferred one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name; never empty (the legacy core group is not listed).
    pub name: String,
    /// Versions, the preferred one first.
    pub versions: Vec<String>,
}

/// A served resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group.
    pub version: String,
    /// Resource name in paths.
    pub plural: String,
    /// Lower-case singular.
    pub singular: String,
    /// Kind of its objects.
    pub kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs, sorted.
    pub verbs: Vec<String>,
    /// Short names that kubectl expands.
    pub short_names: Vec<String>,
    /// Groupings such as `all`.
    pub categories: Vec<String>,
    /// Type of the whole object.
    pub root: TypeId,
    /// Hash of the stored group, version and kind; empty for what is never stored.
    pub storage_version_hash: String,
    /// Subresources, sorted by name.
    pub subresources: Vec<Subresource>,
}

/// A subresource of a served resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Name after the object's name in paths, such as `status`.
    pub name: String,
    /// Group of the kind it takes and gives; the parent's own when it is the parent's kind.
    pub group: String,
    /// Version of that kind.
    pub version: String,
    /// That kind.
    pub kind: String,
    /// Verbs, sorted.
    pub verbs: Vec<String>,
    /// Type of what it takes, when it has a body.
    pub root: Option<TypeId>,
}

impl Kind {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// The hash that discovery shows for a stored kind, as kube-apiserver computes it.
pub fn storage_version_hash(group: &str, version: &str, kind: &str) -> String {
    let digest = Sha256::digest(format!("{group}/{version}/{kind}").as_bytes());
    STANDARD.encode(&digest[..8])
}
