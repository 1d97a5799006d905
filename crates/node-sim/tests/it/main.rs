//! Stories of simulated nodes against an API server in memory, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod fake_api;
mod stories;
mod virtual_env;
