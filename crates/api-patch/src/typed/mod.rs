//! Walks a tree together with its schema, as structured-merge-diff does: compare, merge, take the field set, remove.

mod compare;
mod created;
mod fields;
mod merge;
mod remove;
mod shape;

pub(crate) use fields::TypeFault;
pub(crate) use shape::Walker;
