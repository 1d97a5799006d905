//! The Kubernetes-compatible API server: one request pipeline with named stages over the store and the schema engine.
//!
//! ```text
//! net (TLS, HTTP)  --\                                            /--> store
//!                     ApiServer::handle -> pipeline stages -> verbs
//! in-process users --/            |                               \--> watch streams
//!                            registry (what is served, and how)
//! ```
//!
//! Objects stay bytes: lists and watches copy stored bodies behind a new head; only writes and tables parse them.
//! In-process callers pass the same stages as remote ones, right after the socket.
//!
//! What is absent: controllers, garbage collection and everything else that acts without being asked (but for events, which
//! end after an hour, definitions, which become served, and aggregated roles); mutating policies; exec, attach, port-forward
//! and proxy. Kinds that nothing here acts on are stored with a warning.

mod alloc;
mod answer;
mod audit;
pub mod auth;
mod bare;
mod bootstrap;
mod cel;
pub mod crd;
pub mod discovery;
mod flow;
pub mod kinds;
mod metrics;
pub mod net;
pub mod openapi;
mod pipeline;
mod refuse;
pub mod registry;
mod represent;
mod request;
mod roles;
mod route;
mod server;
mod settings;
mod stored;
mod sub;
mod verbs;
mod webhook;
mod who;
mod yaml;

pub use audit::{
    AuditLog, Policy as AuditPolicy, PolicyError as AuditPolicyError, Rotation as AuditRotation,
};
pub use bootstrap::BootstrapError;
pub use server::{
    ApiServer, Config, Documents, Figures, Files, Limits, Nodes, Protection, ServiceRange, Version,
};
pub use stored::Rows;
pub use webhook::Reach;
pub use who::{Attributes, Authorizer, Decision, Rule, User};
