//! Strategic merge patch, as kube-apiserver applies it to built-in kinds.
//!
//! The schema says per field whether lists merge (and by which key), whether a map forgets keys that a patch does not name,
//! and the patch may carry directives: `$patch` (`replace`, `delete`), `$retainKeys`, `$setElementOrder/<list>`,
//! `$deleteFromPrimitiveList/<list>`.

mod diff;
mod lists;
mod meta;
mod patch;
#[cfg(test)]
mod tests;
mod words;

pub use diff::{diff, three_way};
pub use patch::apply;
pub use words::go_text;

/// Why a patch is refused; the texts are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch is no object.
    #[error("invalid JSON document")]
    NotAnObject,
    /// An unknown `$patch`.
    #[error("unknown patch type: {directive} in map: {map}")]
    UnknownDirective {
        /// The directive.
        directive: String,
        /// The map that carries it.
        map: String,
    },
    /// An item of a keyed list without its key.
    #[error("map: {map} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The item.
        map: String,
        /// The key.
        key: String,
    },
    /// A list that merges but whose field has no key.
    #[error("cannot merge lists without merge key for {0}")]
    NoKeyDeclared(String),
    /// `$retainKeys` that is no list, or does not name a key of the patch.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$setElementOrder` that is no list.
    #[error("invalid patch format of setElementOrder list")]
    ElementOrder,
    /// `$setElementOrder` that lacks an item of the patch.
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    OrderMismatch {
        /// The list of the patch.
        patch: String,
        /// The order asked for.
        order: String,
    },
    /// A list with items of several sorts, or of lists.
    #[error("list element types are not identical")]
    MixedList,
    /// `$patch: merge` within a list.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeInList,
    /// Nested deeper than any object.
    #[error("the patch is nested too deeply")]
    TooDeep,
}
