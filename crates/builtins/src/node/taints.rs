//! The taints a node should have by its conditions; all that are none of ours stay.

use api_core::{Node, Taint};
use api_meta::Condition;
use stdx::Time;

pub(crate) const READY: &str = "Ready";
const NO_SCHEDULE: &str = "NoSchedule";
pub(crate) const NO_EXECUTE: &str = "NoExecute";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Condition, the status of it that taints, and the taint; as kube-controller-manager 1.36.
const RULES: [(&str, &str, &str); 6] = [
    (READY, "False", NOT_READY),
    (READY, "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// The node's condition `Ready`, once it has one.
pub(crate) fn ready(node: &Node) -> Option<&Condition> {
    node.status.conditions.iter().find(|c| c.r#type == READY)
}

/// Whether the node is ready; a node that has said nothing yet is not unwell.
pub(crate) fn is_well(node: &Node) -> bool {
    ready(node).is_none_or(|c| c.status == "True")
}

/// The taint by which we evict from a node.
pub(crate) fn our_eviction(node: &Node) -> Option<&Taint> {
    node.spec.taints.iter().find(|t| t.effect == NO_EXECUTE && is_eviction_key(&t.key))
}

/// The key of the taint that evicts from a node in its present condition.
pub(crate) fn eviction_key(node: &Node) -> Option<&'static str> {
    match ready(node)?.status.as_str() {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    }
}

/// The taints the node should have; with `evicting`, that one too.
pub(crate) fn wanted(node: &Node, evicting: Option<&'static str>, now: Time) -> Vec<Taint> {
    let mut out: Vec<Taint> = node.spec.taints.iter().filter(|t| !is_ours(t)).cloned().collect();
    // Tolerations count seconds from this time, and not everybody who taints writes it.
    for taint in out.iter_mut().filter(|t| t.effect == NO_EXECUTE && t.time_added.is_none()) {
        taint.time_added = Some(now);
    }
    let mut put = |key: &str, effect: &str| {
        let has = node.spec.taints.iter().find(|t| t.key == key && t.effect == effect);
        let new = || Taint {
            key: key.to_owned(),
            effect: effect.to_owned(),
            time_added: Some(now),
            ..Taint::default()
        };
        out.push(has.cloned().unwrap_or_else(new));
    };
    let has_said = ready(node).is_some();
    for (kind, bad, key) in RULES {
        let holds = node.status.conditions.iter().any(|c| c.r#type == kind && c.status == bad);
        // A node that has said nothing yet keeps what it was born with.
        if if has_said { holds } else { has(node, key, NO_SCHEDULE) } {
            put(key, NO_SCHEDULE);
        }
    }
    if node.spec.unschedulable {
        put(UNSCHEDULABLE, NO_SCHEDULE);
    }
    if let Some(key) = evicting {
        put(key, NO_EXECUTE);
    }
    // The order of a list that means the same is no change.
    let same = out.len() == node.spec.taints.len() && out.iter().all(|t| node.spec.taints.contains(t));
    if same { node.spec.taints.clone() } else { out }
}

fn has(node: &Node, key: &str, effect: &str) -> bool {
    node.spec.taints.iter().any(|t| t.key == key && t.effect == effect)
}

fn is_eviction_key(key: &str) -> bool {
    key == NOT_READY || key == UNREACHABLE
}

fn is_ours(taint: &Taint) -> bool {
    match taint.effect.as_str() {
        NO_SCHEDULE => taint.key == UNSCHEDULABLE || RULES.iter().any(|(.., key)| *key == taint.key),
        NO_EXECUTE => is_eviction_key(&taint.key),
        _ => false,
    }
}
