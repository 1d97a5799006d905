//! Simulated nodes: up to ten thousand of them, and the life of their pods, as data in one task.
//!
//! ```text
//!  pods, nodes ──mirror──> Sim ── row per pod: shape · facts · memory ──decide──> status
//!                           │         (node-core is the machine; the runtime is a table of moments)
//!                           └─ status patches fenced by uid · final deletes · Lease heartbeats
//! ```
//!
//! It speaks the plain API only and drives only nodes that carry its own name in the annotation `knarr.dev/sim-owner`, so
//! that it can live beside real kubelets in an ordinary Kubernetes. Everything it knows of a pod is in the pod's status:
//! after a restart addresses, container identities and restart counts go on from there.
//!
//! How pods behave is decided by [`Timings`] and by annotations on the pod or on its node; see [`rules`].
//!
//! What is absent: processes, probes (readiness is a matter of time), logs, volumes, Events.

mod address;
mod config;
mod nodes;
mod row;
pub mod rules;
mod sim;
mod writes;

pub use config::{Config, Span, Timings};
pub use sim::run;
