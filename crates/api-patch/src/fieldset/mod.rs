//! Sets of field paths, as `managedFields` carries them (FieldsV1 of structured-merge-diff v6).

mod element;
mod set;
#[cfg(test)]
mod tests;
mod wire;

pub use element::{Path, PathElement, Scalar};
pub use set::FieldSet;
pub use wire::FieldsError;
pub(crate) use wire::{label, text};
