//! Who owns which field: `metadata.managedFields` as kube-apiserver 1.36 keeps it.
//!
//! ```text
//! create, PUT, PATCH -> update: what changed now belongs to the manager
//! apply-patch        -> apply:  merge, drop what this manager no longer applies, refuse what others own
//! last of all        -> keep_times: a write that changed nothing keeps its old times
//! ```
//!
//! Both run on a tree that has been decoded and defaulted, before mutating admission, so what admission adds belongs to
//! nobody, as upstream. An entry of another version of the same kind is compared as it stands: versions that differ in
//! shape must be converted by the caller first.

mod apply;
mod conflict;
mod entries;
mod folded;
mod last_applied;
mod update;

use api_schema::{TypeId, Types};
use stdx::Time;

pub use apply::{ApplyError, OnConflict, apply};
pub use conflict::{Conflict, Conflicts};
pub use entries::keep_times;
pub use folded::{is_folded, unfold};
pub use update::update;

use crate::fieldset::FieldSet;

/// One write: who, through which door, in which version, when.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The arena of the kind's schema.
    pub types: &'a Types,
    /// The type of the whole object.
    pub root: TypeId,
    /// Name of the writer; `unknown` is recorded when it is empty.
    pub manager: &'a str,
    /// Subresource written through; empty for the object itself.
    pub subresource: &'a str,
    /// `apiVersion` of the request.
    pub api_version: &'a str,
    /// The moment of the write.
    pub now: Time,
    /// Paths that this door cannot write: with everything below them they are never owned through it. `status` for most
    /// objects, `spec` and parts of `metadata` for their status subresource. See [`FieldSet::of`].
    pub reset: &'a FieldSet,
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
