//! Real processes on 127.x addresses, under an agent that talks to an API server in memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "the API server in memory is shared with another crate's tests")]

#[path = "../../../node-sim/tests/it/fake_api.rs"]
mod fake_api;
mod stories;
mod world;
