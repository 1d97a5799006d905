//! Sets against a server in memory and nodes that behave, misbehave, and are slow.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself")]

mod cluster;
mod drains;
mod inplacesets;
mod properties;
mod stories;
mod traffic;
