//! Nodes: who falls silent is not ready, and taints follow conditions (as kube-controller-manager 1.36).
//!
//! ```text
//! Lease ──> heard? ──doubted──> mark ──still silent──> conditions Unknown ──> taints NoSchedule, then NoExecute by turns
//! ```
//!
//! A Lease counts for `renewTime + leaseDurationSeconds`. After half of that without a word the controller notes on the node
//! what it has seen and when; it judges when the same word is still the last one half a duration later. So a controller that
//! was away, or an API server that took no renewals, condemns nobody on its return, and clocks that differ do no harm: what
//! upstream keeps in memory is on the object.
//!
//! NoExecute taints lead to evictions, which is why they come one node at a time, and not at all while it looks as if not
//! the nodes were gone but the view of them; see [`outage`]. Conditions are never held: traffic leaves at once.
//! The pods of such nodes are the business of [`crate::eviction`].

mod observe;
mod outage;
mod plan;
mod silence;
mod taints;
#[cfg(test)]
mod tests;

use api_core::{Lease, Node};
use api_meta::ObjectKey;
use reconcile::{Permission, Plan, Thinker, Watch, World};
use stdx::Time;

pub use observe::Observed;
pub(crate) use taints::{NO_EXECUTE, READY, is_well, ready};

/// Judges nodes by what is heard of them.
pub struct Nodes;

impl Thinker for Nodes {
    type Primary = Node;
    type Observed = Observed;
    const NAME: &'static str = "node-lifecycle-controller";

    fn watches() -> Vec<Watch> {
        // A renewal is no news: each look says when the next one is due.
        vec![Watch::silent::<Lease>()]
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission { group: "", resource: "nodes", verbs: &["patch"] },
            Permission { group: "", resource: "nodes/status", verbs: &["patch"] },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        Observed::of(world, key)
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        plan::plan(seen, now)
    }
}
