//! The proxy before real servers on 127.x addresses, with a real API server in memory behind it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod backend;
mod client;
mod drain;
mod forward;
mod l4;
mod link;
mod listen;
mod load;
mod world;
