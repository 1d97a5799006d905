//! Release by cells and groups, and the drain of pods.
//!
//! ```text
//! cafe    CafeDeployment ─> pod sets, group by group            drain   requests, cordons ─> gate, labels
//! waiter  Services of a fleet ─> finalizers, on and off
//! ```
//!
//! What is absent: effects, clocks, how a pod set changes its pods (`workloads`, `builtins`), who counts requests (`proxy`).

pub mod cafe;
pub mod drain;
pub mod waiter;

use reconcile::Row;

/// The planners that run everywhere.
pub fn rows() -> Vec<Row> {
    vec![Row::of::<cafe::Controller>(), Row::of::<drain::Controller>()]
}

/// The planners that run only where no proxy of ours forwards requests.
pub fn fleet_rows() -> Vec<Row> {
    vec![Row::of::<waiter::Controller>()]
}
