//! Nodes: taints follow conditions, so that nothing is placed on a node that is not ready or runs out of something.
//!
//! The API server taints a new node as not ready; this takes the taint off once the node says that it is. What is absent:
//! judging silent nodes by their Lease, and evicting from nodes that stay away.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use api_core::{Node, Taint};
use api_meta::ObjectKey;
use reconcile::{Action, Form, Permission, Plan, Risk, Target, Thinker, Watch, World};
use serde_json::json;
use stdx::Time;

const NO_SCHEDULE: &str = "NoSchedule";
const READY: &str = "Ready";

/// Condition, the status of it that taints, and the taint; as kube-controller-manager 1.36.
const RULES: [(&str, &str, &str); 6] = [
    (READY, "False", "node.kubernetes.io/not-ready"),
    (READY, "Unknown", "node.kubernetes.io/unreachable"),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// Keeps the taints of nodes in step with their conditions.
pub struct Nodes;

impl Thinker for Nodes {
    type Primary = Node;
    type Observed = Arc<Node>;
    const NAME: &'static str = "node-lifecycle-controller";

    fn watches() -> Vec<Watch> {
        Vec::new()
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission { group: "", resource: "nodes", verbs: &["patch"] },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Arc<Node>> {
        world.cache::<Node>().get(key).cloned()
    }

    fn plan(node: &Arc<Node>, now: Time) -> Plan {
        let mut plan = Plan::new();
        let wanted = taints(node, now);
        if !node.metadata.is_terminating() && wanted != node.spec.taints {
            plan.act(Action::Patch {
                // The whole list is replaced: nobody may have changed it meanwhile.
                target: Target::at(&**node),
                subresource: "",
                form: Form::Merge,
                body: json!({"spec": {"taints": wanted}}),
                risk: Risk::None,
            });
        }
        plan
    }
}

/// The taints the node should have: those of its conditions, and all that are none of ours.
fn taints(node: &Node, now: Time) -> Vec<Taint> {
    let status = |kind: &str| {
        node.status.conditions.iter().find(|c| c.r#type == kind).map_or("", |c| c.status.as_str())
    };
    if status(READY).is_empty() {
        // It has not said anything yet.
        return node.spec.taints.clone();
    }
    let is_ours = |t: &&Taint| t.effect == NO_SCHEDULE && RULES.iter().any(|(.., key)| *key == t.key);
    let mut out: Vec<Taint> = node.spec.taints.iter().filter(|t| !is_ours(t)).cloned().collect();
    for (kind, bad, key) in RULES {
        if status(kind) == bad {
            let has = node.spec.taints.iter().find(|t| t.key == key && t.effect == NO_SCHEDULE);
            out.push(has.cloned().unwrap_or_else(|| Taint {
                key: key.to_owned(),
                effect: NO_SCHEDULE.to_owned(),
                time_added: Some(now),
                ..Taint::default()
            }));
        }
    }
    // The order of a list that means the same is no change.
    let same = out.len() == node.spec.taints.len() && out.iter().all(|t| node.spec.taints.contains(t));
    if same { node.spec.taints.clone() } else { out }
}
