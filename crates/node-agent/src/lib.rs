//! The sync loop of a node over a [`PodRuntime`]: the part of a kubelet that is the same for every runtime.
//!
//! ```text
//!   API server <─ status patches, final deletes, Events, Lease ─┐
//!        │ pods of my nodes                                     │
//!        └──> Agent: one Worker per pod ── node_core::decide ───┤
//!                  │ orders (resolved env, volumes)             │
//!                  v                                            │
//!             PodRuntime: processes, containers ── facts ───────┘
//!   GET /containerLogs/NS/POD/CONTAINER on loopback
//! ```
//!
//! One agent may serve several nodes. It keeps working while the API server is away: containers are restarted, probes
//! run, reports wait. What it knows it can learn again from the runtime's facts and the pods' status.
//!
//! What is absent: how a container runs (the runtime's), gRPC and HTTPS probes, exec and port-forward
//! endpoints, service environment variables, service account tokens. Probes never connect outside 127.0.0.0/8.

mod agent;
mod config;
mod error;
mod events;
mod hooks;
mod logs;
mod node;
mod order;
mod probe;
mod report;
mod resolve;
mod runtime;
mod token;
mod worker;

pub use agent::run;
pub use config::{Config, NodeConfig};
pub use error::Error;
pub use order::{ContainerOrder, Content, Mount, PodOrder, Volume};
pub use runtime::{ExecOutcome, LogSource, PodRuntime, PodTrace, Refusal, Remark};
