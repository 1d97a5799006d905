//! CafeDeployment: pods in several cells, one pod set for each, released by groups over all of them.
//!
//! ```text
//! observe ─> Observed ─> View (cells, counts, shares, moved quota) ─> Release (groups, what is started, what is done)
//!                                                                        ├─ revision, wish to go back   ┐
//!                                                                        ├─ table of groups into status │ one of these
//!                                                                        ├─ start of a group            │ per look
//!                                                                        └─ pod sets + status, question ┘
//! ```
//!
//! Invariants: a group is started only when the one before is in service, and confirmed where that is asked for; no write
//! takes a cell below its minimum; a cell whose nodes are gone neither stops the others nor is changed meanwhile; whatever
//! is needed to go on after a crash is in the objects.
//!
//! What is expected of a pod set: it keeps `replicas` pods, of which `partition` stay at the revision before; it takes
//! those that do not serve first, when it updates and when it removes; it drains each pod before it touches it.
//!
//! What differs from the published model, and why:
//!
//! | here | there |
//! |---|---|
//! | the beta group comes once for a revision: a change of replicas in the middle goes on with the groups after it | not told |
//! | fixed shares that do not add up: the rest is spread over all cells | not told |
//! | batchSize is a quarter of replicas when absent | not told |
//! | a release that goes back by itself asks for no confirmation | not told |
//! | quota that has moved stays until replicas or topology change | not told |
//!
//! What is absent: StatefulSets, traffic (a pod is back when [`api_core::drain`] says so), how a pod is changed.

pub mod groups;
mod history;
mod moves;
mod observe;
mod plan;
mod podset;
mod release;
mod status;
mod steps;
mod view;
mod waits;

use api_workload::CafeDeploymentSpec;

pub use observe::{Controller, NodeFact, Observed, SetPod};
pub use plan::plan;
pub use podset::PodSet;

/// The groups that a spec leads to when `updated` pods of each cell are as wanted already: what `knarr plan` shows.
pub fn preview(spec: &CafeDeploymentSpec, updated: &dyn Fn(&str) -> i32) -> groups::Table {
    plan::preview(spec, updated)
}
