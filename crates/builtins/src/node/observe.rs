//! What the decision about a node depends on.

use std::sync::Arc;

use api_core::{Lease, Node};
use api_meta::ObjectKey;
use reconcile::World;

use crate::node::outage::Around;
use crate::node::taints;

/// Where nodes renew their Leases.
const LEASES: &str = "kube-node-lease";

/// A node and what is known about it and around it.
pub struct Observed {
    /// The node.
    pub node: Arc<Node>,
    /// Its Lease.
    pub lease: Option<Arc<Lease>>,
    /// How the nodes around it fare; only looked into for a node that is not well.
    pub(crate) around: Option<Around>,
}

impl Observed {
    /// Looks around; nothing when the node is gone.
    pub(crate) fn of(world: &World, key: &ObjectKey) -> Option<Observed> {
        let nodes = world.cache::<Node>();
        let node = nodes.get(key)?.clone();
        let lease = world.cache::<Lease>().get(&ObjectKey::new(LEASES, &*key.name)).cloned();
        let around = (!taints::is_well(&node)).then(|| Around::of(&node, nodes.iter()));
        Some(Observed { node, lease, around })
    }
}
