//! The pods that may be nobody's.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::{Node, Pod};
use api_meta::ObjectKey;
use reconcile::World;

use crate::node;

/// The namespace to whose key the look belongs.
const SEAT: &str = "kube-system";
/// Pods that have ended and may stay (upstream's default).
pub(crate) const ENDED_MAX: usize = 12_500;
/// Pod annotation: since when its node is known to be missing.
pub(crate) const MISSING_SINCE: &str = "knarr.dev/node-missing-since";
/// Taint by which an administrator declares that a node is off and will not come back by itself.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The pods that may be nobody's, each list in key order.
#[derive(Default)]
pub struct Observed {
    /// Whether this is the key the look belongs to.
    pub(crate) is_seat: bool,
    /// Bound to a node that does not exist.
    pub(crate) orphans: Vec<Arc<Pod>>,
    /// Noted as such, and the node is there again.
    pub(crate) returned: Vec<Arc<Pod>>,
    /// To be deleted, never bound.
    pub(crate) unscheduled: Vec<Arc<Pod>>,
    /// To be deleted, on a node out of service.
    pub(crate) out_of_service: Vec<Arc<Pod>>,
    /// Ended; empty when there are not too many.
    pub(crate) ended: Vec<Arc<Pod>>,
}

impl Observed {
    /// Looks at every pod, for one key.
    pub(crate) fn of(world: &World, key: &ObjectKey) -> Observed {
        let mut seen = Observed { is_seat: key.name == SEAT, ..Observed::default() };
        if !seen.is_seat {
            return seen;
        }
        let nodes: BTreeMap<&str, &Node> =
            world.cache::<Node>().iter().map(|n| (n.metadata.name.as_str(), &**n)).collect();
        for pod in world.cache::<Pod>().iter() {
            seen.sort(pod, &nodes);
        }
        if seen.ended.len() <= ENDED_MAX {
            seen.ended.clear();
        }
        seen
    }

    fn sort(&mut self, pod: &Arc<Pod>, nodes: &BTreeMap<&str, &Node>) {
        let is_terminating = pod.metadata.is_terminating();
        if pod.is_finished() {
            self.ended.push(pod.clone());
        }
        match nodes.get(pod.spec.node_name.as_str()) {
            _ if pod.spec.node_name.is_empty() => {
                if is_terminating {
                    self.unscheduled.push(pod.clone());
                }
            }
            None => self.orphans.push(pod.clone()),
            Some(node) => {
                if pod.metadata.annotations.contains_key(MISSING_SINCE) {
                    self.returned.push(pod.clone());
                }
                if is_terminating && is_out_of_service(node) {
                    self.out_of_service.push(pod.clone());
                }
            }
        }
    }
}

fn is_out_of_service(node: &Node) -> bool {
    let ready = node::ready(node).is_some_and(|c| c.status == "True");
    !ready && node.spec.taints.iter().any(|t| t.key == OUT_OF_SERVICE)
}
