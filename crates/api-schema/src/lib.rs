//! One schema form for built-in and custom kinds, and the engines that walk a JSON tree with it.
//!
//! ```text
//! generated tables --\
//!                     Schema --> strict decode, prune, default, validate, protobuf -> JSON, patch metadata
//! CRD schemas -------/
//! ```
//!
//! What is absent: HTTP, storage, and the hand-written validation of single kinds (apiserver's kind table).

mod schema;

pub use schema::{Field, FieldSet, ListKind, Presence, Proto, Schema, Type, TypeId, Types, Wire};
