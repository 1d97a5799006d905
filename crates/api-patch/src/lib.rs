//! Changes to objects: the four patch forms of the API and the algebra of who owns which field.
//!
//! ```text
//! json (RFC 6902)   merge (RFC 7386)   strategic (patchStrategy, directives)     managed::{update, apply}
//!        \                |                  /  needs the schema                    |
//!         +---------------+-----------------+                                   fieldset: FieldsV1 sets
//!                  a serde_json tree                                            typed: walks tree + schema
//! ```
//!
//! Trees in, trees out. What is absent: decoding and defaulting (`api-schema`), validation, HTTP statuses, clocks: the
//! moment of a change is an argument. Nulls that a patch leaves in a tree stay there; the decode stage of the caller
//! drops them, as upstream's decoding into structs does.

pub mod fieldset;
pub mod json;
pub mod managed;
pub mod merge;
pub mod strategic;
#[cfg(test)]
mod testing;
mod typed;
