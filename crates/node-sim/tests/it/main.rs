//! Stories of simulated nodes against an API server in memory, in virtual time.

#![allow(dead_code, reason = "the API server in memory is shared with another crate's tests")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod fake_api;
mod stories;
mod virtual_env;
