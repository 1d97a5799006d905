//! Pods of nodes that are not well: they leave traffic at once, and the node in time (as kube-controller-manager 1.36:
//! `MarkPodsNotReady` of its node controller, and its taint-eviction controller).
//!
//! ```text
//! node not ready   ──> pod Ready False (so endpoints leave)        never held
//! NoExecute taint  ──> tolerated for so long ──> asked out of service ──> deleted
//! ```
//!
//! Toleration is counted from the time on the taint, not from when this controller first saw it, so that a restart gives
//! nobody a second term. A pod on a silent node is not asked out of service first: it is out of it, and nobody there would
//! answer. What is absent: who taints (see [`crate::node`]), and the default tolerations of 300 s (admission's).

mod plan;
#[cfg(test)]
mod tests;
mod tolerance;

use std::sync::Arc;

use api_core::{Node, Pod};
use api_meta::ObjectKey;
use reconcile::{Permission, Plan, Row, Thinker, Watch, World};
use stdx::Time;

use crate::kit;
use crate::node;

/// Takes pods off nodes that are not well.
pub struct Evictions;

/// A pod and its node.
pub struct Observed {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The node it is bound to.
    pub node: Arc<Node>,
}

impl Thinker for Evictions {
    type Primary = Pod;
    type Observed = Observed;
    const NAME: &'static str = "taint-eviction-controller";

    fn watches() -> Vec<Watch> {
        vec![Watch::mapped::<Node>(pods_of)]
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission { group: "", resource: "pods", verbs: &["get", "patch", "delete"] },
            Permission { group: "", resource: "pods/status", verbs: &["patch"] },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let pod = world.cache::<Pod>().get(key)?.clone();
        let node = world.cache::<Node>().get(&ObjectKey::new("", &*pod.spec.node_name))?.clone();
        Some(Observed { pod, node })
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        plan::plan(seen, now)
    }
}

/// The row of [`Evictions`]: a change of a pod is looked at only when its node is in trouble, or it was asked out. All pods
/// change, and nearly all nodes are well.
pub fn row() -> Row {
    let watches = vec![Watch::mapped::<Pod>(in_trouble), Watch::mapped::<Node>(pods_of)];
    Row { watches, ..Row::of::<Evictions>() }
}

fn in_trouble(world: &World, pod: &Pod) -> Vec<ObjectKey> {
    let node = world.cache::<Node>().get(&ObjectKey::new("", &*pod.spec.node_name));
    let look = node.is_some_and(|n| troubles(n)) || kit::is_asked(pod, plan::OPERATION);
    look.then(|| pod.metadata.key()).into_iter().collect()
}

/// Whether a node concerns its pods.
fn troubles(node: &Node) -> bool {
    !node::is_well(node) || node.spec.taints.iter().any(|t| t.effect == node::NO_EXECUTE)
}

/// The pods of a node that is in trouble, or was; of all others nobody need look.
fn pods_of(world: &World, node: &Node) -> Vec<ObjectKey> {
    if !troubles(node) {
        return Vec::new();
    }
    let name = &node.metadata.name;
    let pods = world.cache::<Pod>().iter().filter(|p| p.spec.node_name == *name);
    pods.map(|p| p.metadata.key()).collect()
}
