//! The words by which a silent node and its pods are marked, and by which the node knows the mark when it is back.
//!
//! Who judges nodes takes their pods out of service by `Ready` alone: it cannot know more. A node that finds its pods
//! marked like this says again what it knows; a kubelet does so for every status that is not its own.

use api_meta::Condition;

use crate::Pod;

/// Reason of a pod's `Ready` that was set to False because of its node (upstream's event reason).
pub const NODE_NOT_READY: &str = "NodeNotReady";
/// The sentence to it (upstream's event message).
pub const NODE_NOT_READY_MESSAGE: &str = "Node is not ready";

/// Whether the server shows this pod as not ready on account of its node.
pub fn is_marked(pod: &Pod) -> bool {
    pod.condition("Ready").is_some_and(is_mark)
}

fn is_mark(ready: &Condition) -> bool {
    ready.status == "False" && ready.reason == NODE_NOT_READY
}
