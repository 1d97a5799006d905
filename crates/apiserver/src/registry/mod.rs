//! Which resources are served, and how: the seam between the request pipeline and everything that describes kinds.
//!
//! ```text
//! generated tables + kinds/  --\
//!                               Registry (snapshot) --> verbs, discovery, OpenAPI
//! crd/ (custom definitions)  --/
//! ```
//!
//! A request takes one [`Snapshot`] and keeps it; whoever changes the registry builds the next snapshot and swaps it in.
//! What is absent: storage and HTTP.

mod builtin;
mod convert;
mod facts;
mod life;
mod metric;
mod served;
mod snapshot;

pub use builtin::builtin;
pub(crate) use builtin::builtin_kind;
pub use facts::{Cell, Column, Context, Facts, Generation, Names, StatusRule, Write};
pub(crate) use facts::{age_of, human_duration};
pub use life::Life;
pub use served::{Conversion, Convert, ConvertFn, CustomColumn, Origin, Scale, Served, Subresource, Table};
pub(crate) use snapshot::rank;
pub use snapshot::{Group, Registry, Snapshot};
