//! Deployment: rolls templates out over ReplicaSets (apps/v1, as kube-controller-manager 1.36).
//!
//! ```text
//! observe: Deployment + its ReplicaSets ──> Sets {new, old}
//! plan:    paused or scaled? ──> scale      else rolling | recreate      then history, status
//! ```
//!
//! Absent: the `deprecated.deployment.rollback.to` annotation (kubectl's undo patches the template).

mod annotations;
#[cfg(test)]
mod chance;
mod observe;
mod plan;
mod progress;
mod recreate;
mod rolling;
mod scale;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use api_core::{Deployment, Pod, ReplicaSet};
use api_meta::{Object, ObjectKey, ObjectMeta};
use reconcile::{Permission, Plan, Thinker, Watch, World};
use stdx::Time;

use crate::kit;
pub use observe::Observed;

/// The Deployment controller.
pub struct Deployments;

impl Thinker for Deployments {
    type Primary = Deployment;
    type Observed = Observed;
    const NAME: &'static str = "deployment-controller";

    fn watches() -> Vec<Watch> {
        vec![Watch::mapped::<ReplicaSet>(concerned), Watch::mapped::<Pod>(recreated)]
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission { group: "apps", resource: "deployments", verbs: &["get", "patch"] },
            Permission { group: "apps", resource: "deployments/status", verbs: &["patch"] },
            Permission {
                group: "apps",
                resource: "replicasets",
                verbs: &["get", "create", "patch", "delete"],
            },
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

/// The controller of a ReplicaSet; of an orphan, every Deployment that would adopt it.
fn concerned(world: &World, set: &ReplicaSet) -> Vec<ObjectKey> {
    let meta = set.meta();
    if meta.controller().is_some() {
        return owner(meta).into_iter().collect();
    }
    let all = world.cache::<Deployment>().in_namespace(&meta.namespace);
    let adopts = |d: &Deployment| observe::selector(d).is_some_and(|s| s.matches(&meta.labels));
    all.filter(|d| adopts(d)).map(|d| d.metadata.key()).collect()
}

/// A Deployment that recreates waits for the end of its old pods; others do not look at pods.
fn recreated(world: &World, pod: &Pod) -> Vec<ObjectKey> {
    let meta = pod.meta();
    let set = meta.controller().filter(|o| kit::is_owner(o, "apps", "ReplicaSet"));
    let set = set.and_then(|o| world.cache::<ReplicaSet>().get(&ObjectKey::new(&*meta.namespace, &*o.name)));
    let key = set.and_then(|s| owner(&s.metadata));
    let recreates = |d: &Deployment| d.spec.strategy.r#type == "Recreate";
    key.filter(|k| world.cache::<Deployment>().get(k).is_some_and(|d| recreates(d))).into_iter().collect()
}

fn owner(meta: &ObjectMeta) -> Option<ObjectKey> {
    let owner = meta.controller().filter(|o| kit::is_owner(o, "apps", "Deployment"))?;
    Some(ObjectKey::new(&*meta.namespace, &*owner.name))
}
