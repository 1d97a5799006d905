//! The Kubernetes-compatible API server: one request pipeline with named stages over the store and the schema engine.
//!
//! ```text
//! net (TLS, HTTP)  --\                                            /--> store
//!                     ApiServer::handle -> pipeline stages -> verbs
//! in-process users --/            |                               \--> watch streams
//!                            registry (what is served, and how)
//! ```
//!
//! What is absent: controllers, garbage collection and everything else that acts without being asked; admission webhooks;
//! request queues by priority (in-flight requests are bounded, no more).

pub mod auth;
pub mod net;
pub mod registry;
mod who;

pub use who::{Attributes, Authorizer, Decision, Rule, User};
