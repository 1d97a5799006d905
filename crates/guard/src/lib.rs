//! Who may disturb running applications, how much and how fast.
//!
//! ```text
//! planners' actions ──risk──> Guard (reconcile::Permit) <── Guard/default, EmergencyPlan (settings)
//!                               │  budgets <── PodDisruptionBudget, PodUnavailableBudget
//!                               │  census  <── pods, nodes, workloads    ledger <── grants not seen yet
//!                               └─> granted, or held: rule, numbers, object
//! ```
//!
//! Invariants: a grant counts until the mirrors show it, so a late mirror never lets a budget be exceeded; what has not
//! been seen may forbid, so nothing is granted before the settings and budgets are synced; a pod that does not serve costs
//! nothing; a pod that its workload no longer wants is not a disruption. What is absent: writing (controllers write),
//! the API server's own admission (it judges foreign requests), and drains (they are planned elsewhere).

pub mod api;
mod budgets;
mod census;
#[cfg(test)]
mod chance;
mod crd;
mod fleet;
mod judge;
mod ledger;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod unavailable;

use reconcile::Row;

pub use api::validate;
pub use budgets::Standing;
pub use census::{CELL, Census, OWN_TROUBLE, Scope};
pub use crd::crds;
pub use fleet::{fleet_rows, policies};
pub use judge::Guard;
pub use ledger::{EFFECT_MAX, Ledger, PENDING_MAX, UNKNOWN_MAX};
pub use settings::{Brake, Settings};
pub use status::Statuses;
pub use unavailable::Budgets;

/// The guard's own controllers, for a host's table.
pub fn rows() -> Vec<Row> {
    vec![Row::of::<Statuses>(), Row::of::<Budgets>()]
}
