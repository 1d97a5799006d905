//! Disruption budgets: how many pods of an application may be evicted now (policy/v1, as kube-controller-manager 1.36).
//!
//! ```text
//! observe: budget, its pods, what their controllers want ──> expected, desired, healthy ──> status.disruptionsAllowed
//! ```
//!
//! Who evicts takes from `disruptionsAllowed` and notes the pod in `disruptedPods`; both are the server's work. The status
//! is written only in the version seen, so that nothing taken meanwhile comes back.
//! Upstream asks any controller for its scale; here the kinds are listed ([`owners`]), and a pod of another kind makes the
//! budget refuse, as upstream's does when nobody answers.

mod observe;
mod owners;
mod plan;
#[cfg(test)]
mod tests;

use api_core::{Deployment, Pod, PodDisruptionBudget, ReplicaSet, StatefulSet};
use api_meta::{Object, ObjectKey};
use api_workload::{CloneSet, InPlaceSet};
use reconcile::{Permission, Plan, Thinker, Watch, World};
use stdx::Time;

pub use observe::Observed;

/// Keeps the status of disruption budgets. `OURS`: the server has the definitions of CloneSet and InPlaceSet; without them
/// there are no pods of such sets either.
pub struct Disruptions<const OURS: bool = true>;

impl<const OURS: bool> Thinker for Disruptions<OURS> {
    type Primary = PodDisruptionBudget;
    type Observed = Observed;
    const NAME: &'static str = "disruption-controller";

    fn watches() -> Vec<Watch> {
        let mut watches = vec![
            Watch::mapped::<Pod>(covering),
            Watch::mapped::<Deployment>(in_namespace_of),
            Watch::mapped::<ReplicaSet>(in_namespace_of),
            Watch::mapped::<StatefulSet>(in_namespace_of),
        ];
        if OURS {
            watches.push(Watch::mapped::<CloneSet>(in_namespace_of));
            watches.push(Watch::mapped::<InPlaceSet>(in_namespace_of));
        }
        watches
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission { group: "policy", resource: "poddisruptionbudgets/status", verbs: &["patch"] },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        Observed::of::<OURS>(world, key)
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        plan::plan(seen, now)
    }
}

/// The budgets that cover a pod.
fn covering(world: &World, pod: &Pod) -> Vec<ObjectKey> {
    let budgets = world.cache::<PodDisruptionBudget>().in_namespace(&pod.metadata.namespace);
    budgets.filter(|b| observe::covers(b, pod)).map(|b| b.metadata.key()).collect()
}

/// A change of size concerns the budgets over the workload's pods; there are few in a namespace, and most cover it.
fn in_namespace_of<T: Object>(world: &World, workload: &T) -> Vec<ObjectKey> {
    let budgets = world.cache::<PodDisruptionBudget>().in_namespace(&workload.meta().namespace);
    budgets.map(|b| b.metadata.key()).collect()
}
