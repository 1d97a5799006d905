//! The load generator against real servers on loopback.

#![allow(clippy::unwrap_used)]

mod load;
