//! One schema form for built-in and custom kinds, and the engines that walk a JSON tree with it.
//!
//! ```text
//! generated tables --\
//!                     Schema --> strict decode, prune, default, validate, protobuf <-> JSON, patch metadata
//! CRD schemas -------/
//! ```
//!
//! A body's way in, built-in kind: [`decode_json`] (or [`proto::open`] and [`proto::decode`]), [`check_fields`],
//! [`apply_defaults`], the kind's own defaults, [`complete`]. Custom kind: [`decode_json`], [`prune`],
//! [`apply_defaults`], [`Validator::validate`].
//!
//! What is absent: HTTP, storage, and the hand-written validation of single kinds (apiserver's kind table).

pub mod crd;
mod decode;
mod default;
mod fields;
mod named;
mod path;
pub mod proto;
mod prune;
mod scalar;
mod schema;
mod validate;

pub use decode::{JsonError, decode_json};
pub use default::apply_defaults;
pub use fields::{TypeError, Unknown, check_fields, complete, complete_parts, zero};
pub use named::Fields;
pub use prune::prune;
pub use scalar::{
    canonical_base64, canonical_micro_time, canonical_quantity, canonical_time, go_duration,
    parse_go_duration,
};
pub use schema::{Field, FieldSet, ListKind, Presence, Proto, Schema, Type, TypeId, Types, Wire};
pub use validate::{SchemaError, Validator};
