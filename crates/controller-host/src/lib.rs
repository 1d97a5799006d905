//! Runs planners: mirrors what they read, keeps their queues, carries their plans out, and tells people.
//!
//! ```text
//!  api-client mirrors ──> owner task: World, queues, expectations ──> Row::step (pure) ──> Plan
//!        ^                    ^                                          │ brake, permit, fuse
//!        └── API server <─────┴── apply tasks: fenced, in order <────────┘
//! ```
//!
//! Invariants: one task owns all state; a key is planned only when every cache its controller reads is synced and shows what
//! was written for it before; plans of one key never overlap. What is absent: decisions, kinds, and retries of single writes.

mod config;
mod dynamic;
mod events;
mod execute;
mod handle;
mod host;
mod lease;
mod look;
mod metrics;
mod mirror;
mod pace;
mod tell;

pub use config::{Clients, HostConfig, LeaseConfig, over};
pub use dynamic::duties;
pub use handle::Handle;
pub use host::{Host, HostError};
