//! Workload kinds that own their pods, as planners: CloneSet of OpenKruise, InPlaceSet of SOFAStack Cafe.
//!
//! ```text
//! CloneSet ───┐
//!             ├─ observe (caches) ─> set::Observed ─> set::plan = claim + scale + update + refresh + status + tidy ─> Plan
//! InPlaceSet ─┘
//! ```
//!
//! What is absent: effects, clocks, who counts a pod's traffic, and the release of several workloads together.

pub mod cloneset;
pub mod inplaceset;
pub mod set;

/// The planners of this crate, for the host's table.
pub fn rows() -> Vec<reconcile::Row> {
    vec![reconcile::Row::of::<cloneset::Controller>(), reconcile::Row::of::<inplaceset::Controller>()]
}
