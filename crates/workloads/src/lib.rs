//! The workload kinds of OpenKruise as planners: one folder per kind, the same shape in each.
//!
//! ```text
//! observe (caches) -> Observed -> plan = claim + scale + update + refresh + status + tidy -> Plan
//! ```
//!
//! What is absent: effects, clocks, other kinds than CloneSet, and the release of several workloads together.

pub mod cloneset;
pub mod set;

/// The planners of this crate, for the host's table.
pub fn rows() -> Vec<reconcile::Row> {
    vec![reconcile::Row::of::<cloneset::Controller>()]
}
