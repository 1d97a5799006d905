//! Release by cells and groups, and the drain of pods.
//!
//! What is absent: effects, clocks, how a pod set changes its pods (`workloads`, `builtins`), who counts requests (`proxy`).

pub mod cafe;

use reconcile::Row;

/// The planners that run everywhere.
pub fn rows() -> Vec<Row> {
    vec![Row::of::<cafe::Controller>()]
}
