//! What the drain of one pod depends on.

use std::sync::Arc;

use api_core::{Node, Pod, drain};
use api_meta::ObjectKey;
use reconcile::{Permission, Plan, Thinker, Watch, World};
use stdx::Time;

/// Everything a plan depends on; built only from caches.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its node takes no new pods.
    pub is_cordoned: bool,
    /// The other active pods of its owner, in name order; only while its node is cordoned.
    pub peers: Vec<Peer>,
}

/// Another pod of the same owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// It serves.
    pub is_ready: bool,
    /// Somebody wants it out of service.
    pub is_requested: bool,
    /// Its node takes no new pods.
    pub is_cordoned: bool,
}

/// The drain controller.
pub enum Controller {}

impl Thinker for Controller {
    type Primary = Pod;
    type Observed = Observed;
    const NAME: &'static str = "drain-controller";

    fn watches() -> Vec<Watch> {
        // Asked about the node before and after: one of both is cordoned when a cordon begins or ends.
        vec![Watch::mapped::<Node>(|world, node| {
            if !node.spec.unschedulable {
                return Vec::new();
            }
            let pods = world.cache::<Pod>().iter();
            pods.filter(|p| p.spec.node_name == node.metadata.name).map(|p| p.metadata.key()).collect()
        })]
    }

    fn permissions() -> Vec<Permission> {
        let rule = |group, resource, verbs| Permission { group, resource, verbs };
        vec![rule("", "pods", &["patch"]), rule("", "pods/status", &["patch"])]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let pod = world.cache::<Pod>().get(key)?.clone();
        let is_cordoned = is_cordoned(world, &pod);
        let peers = if is_cordoned && drain::takes_part(&pod) { peers(world, &pod) } else { Vec::new() };
        Some(Observed { pod, is_cordoned, peers })
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        super::plan(seen, now)
    }
}

fn is_cordoned(world: &World, pod: &Pod) -> bool {
    let node = world.cache::<Node>().get(&ObjectKey::new("", pod.spec.node_name.clone()));
    node.is_some_and(|n| n.spec.unschedulable)
}

fn peers(world: &World, pod: &Pod) -> Vec<Peer> {
    let Some(owner) = pod.metadata.controller() else { return Vec::new() };
    let own = world.cache::<Pod>().owned_by(&owner.uid);
    let others = own.filter(|p| p.metadata.uid != pod.metadata.uid && p.is_active());
    let peer = |p: &Arc<Pod>| Peer {
        name: p.metadata.name.clone(),
        is_ready: p.is_ready(),
        is_requested: drain::requests(p).next().is_some(),
        is_cordoned: is_cordoned(world, p),
    };
    others.map(peer).collect()
}
