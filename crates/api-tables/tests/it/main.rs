//! The engines of api-schema over the tables of the built-in kinds.
#![allow(clippy::unwrap_used, reason = "tests")]

mod decode;
mod proto;
mod validate;
