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

mod alloc;
mod answer;
pub mod auth;
mod bare;
mod bootstrap;
pub mod crd;
pub mod discovery;
pub mod kinds;
mod metrics;
pub mod net;
pub mod openapi;
mod pipeline;
mod refuse;
pub mod registry;
mod represent;
mod request;
mod route;
mod server;
mod stored;
mod sub;
mod verbs;
mod who;
mod yaml;

pub use bootstrap::BootstrapError;
pub use server::{ApiServer, Config, Documents, Figures, Limits, Nodes, ServiceRange, Version};
pub use stored::Rows;
pub use who::{Attributes, Authorizer, Decision, Rule, User};
