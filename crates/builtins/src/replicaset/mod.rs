//! ReplicaSet: keeps a number of pods of one template (apps/v1, as kube-controller-manager 1.36).
//!
//! Beyond upstream: a surplus pod that traffic components protect is asked out of service by label, and deleted when none of
//! them is left. Pods that take no part in that, as those of stock Deployments, go at once, and nothing is written to them.

#[cfg(test)]
mod drain_tests;
mod observe;
mod plan;
mod status;
#[cfg(test)]
mod tests;

use api_core::{Pod, ReplicaSet};
use api_meta::{Object, ObjectKey};
use reconcile::{Permission, Plan, Thinker, Watch, World};
use stdx::Time;

use crate::kit;
pub use observe::Observed;

/// The ReplicaSet controller.
pub struct ReplicaSets;

impl Thinker for ReplicaSets {
    type Primary = ReplicaSet;
    type Observed = Observed;
    const NAME: &'static str = "replicaset-controller";

    fn watches() -> Vec<Watch> {
        vec![Watch::mapped::<Pod>(concerned)]
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission { group: "apps", resource: "replicasets/status", verbs: &["patch"] },
            Permission { group: "", resource: "pods", verbs: &["get", "create", "patch", "delete"] },
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

/// The controller of a pod; of an orphan, every ReplicaSet that would adopt it.
fn concerned(world: &World, pod: &Pod) -> Vec<ObjectKey> {
    let meta = pod.meta();
    if let Some(owner) = meta.controller() {
        let ours = kit::is_owner(owner, "apps", "ReplicaSet");
        return ours.then(|| ObjectKey::new(&*meta.namespace, &*owner.name)).into_iter().collect();
    }
    if meta.labels.is_empty() {
        return Vec::new();
    }
    let sets = world.cache::<ReplicaSet>().in_namespace(&meta.namespace);
    let adopts = |set: &ReplicaSet| observe::selector(set).is_some_and(|s| s.matches(&meta.labels));
    sets.filter(|set| adopts(set)).map(|set| set.metadata.key()).collect()
}
