//! The release planners as state machines: stories and properties.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself")]

mod cluster;
mod properties;
mod stories;
