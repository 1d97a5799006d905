//! What the crate promises, seen from outside: fixed stories, and properties over random roles, bindings and requests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bootstrap;
mod escalation;
mod index;
mod stories;
mod world;
