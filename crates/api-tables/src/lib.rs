//! Generated facts about the built-in kinds: their types, resources and OpenAPI documents, as one checked-in binary.
//!
//! ```text
//! OpenAPI v3 + protobuf facts --(cargo xtask codegen)--> generated/tables.bin --tables()--> Types, Kind rows, documents
//! ```
//!
//! The binary is compiled in. Types and rows are decoded once, on first use; documents stay compressed until served.
//! What is absent: behaviour of any kind (the API server's kind table) and custom kinds (its registry).

mod codec;
mod container;
mod rows;
mod types;

pub use codec::CodecError;
pub use container::{Document, Tables, tables};
pub use rows::{Group, Kind, Subresource, storage_version_hash};
