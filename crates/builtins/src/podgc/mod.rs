//! Pods that nobody takes away any more (as kube-controller-manager 1.36): those of nodes that no longer exist, those that
//! were to be deleted before they had a node, those terminating on nodes declared out of service, and the oldest of too many
//! that have ended.
//!
//! It looks at all pods each twenty seconds, as upstream, and not at each change: nothing here is urgent. The look belongs to
//! the key of namespace `kube-system`, for it needs one. A node that is missing is waited for: the time is noted on its pods,
//! where upstream keeps it in memory and asks the server once more at the end. Here the mirrors are known to be in step
//! before anything is planned, and the brake holds removals while they have just lost much.

mod observe;
mod plan;
#[cfg(test)]
mod tests;

use api_core::{Namespace, Node, Pod};
use api_meta::ObjectKey;
use reconcile::{Permission, Plan, Thinker, Watch, World};
use stdx::Time;

pub use observe::Observed;

/// Takes pods away that nobody else does.
pub struct PodGc;

impl Thinker for PodGc {
    type Primary = Namespace;
    type Observed = Observed;
    const NAME: &'static str = "pod-garbage-collector";

    fn watches() -> Vec<Watch> {
        vec![Watch::silent::<Pod>(), Watch::silent::<Node>()]
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission { group: "", resource: "pods", verbs: &["get", "patch", "delete"] },
            Permission { group: "", resource: "pods/status", verbs: &["patch"] },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        world.cache::<Namespace>().get(key).map(|_| Observed::of(world, key))
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        plan::plan(seen, now)
    }
}
