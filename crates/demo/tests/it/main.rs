//! The load generator against real servers on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod load;
