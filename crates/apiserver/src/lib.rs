//! The Kubernetes-compatible API server.

pub mod auth;
pub mod net;
mod who;

pub use who::{Attributes, Authorizer, Decision, Rule, User};
