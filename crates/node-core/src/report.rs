//! Status patches: strategic, so that conditions of others stay, and fenced by the pod's identity.

use std::hash::{DefaultHasher, Hash, Hasher};

use api_core::{Node, PodStatus, Taint};
use serde_json::{Value, json};

/// Which conditions, by their place in our status, carry a reason at the server. A patch that clears one must say so.
pub type Reasoned = u8;

/// The patch that makes a pod's status ours.
pub fn of(uid: &str, status: &PodStatus, reasoned: Reasoned) -> Value {
    let mut body = serde_json::to_value(status).expect("a status is plain data");
    if let Some(conditions) = body["conditions"].as_array_mut() {
        for (i, condition) in conditions.iter_mut().enumerate() {
            for field in ["reason", "message"] {
                if reasoned & (1 << i) != 0 && condition.get(field).is_none() {
                    condition[field] = Value::Null;
                }
            }
        }
    }
    json!({"metadata": {"uid": uid}, "status": body})
}

/// The conditions that carry a reason in this status.
pub fn reasoned(status: &PodStatus) -> Reasoned {
    let has_reason = |c: &api_meta::Condition| !c.reason.is_empty() || !c.message.is_empty();
    status
        .conditions
        .iter()
        .take(8)
        .enumerate()
        .filter(|(_, c)| has_reason(c))
        .fold(0, |m, (i, _)| m | 1 << i)
}

/// The conditions of `ours` that carry a reason in what the server has.
pub fn reasoned_at_server(ours: &PodStatus, server: &PodStatus) -> Reasoned {
    let place = |kind: &str| ours.conditions.iter().position(|c| c.r#type == kind);
    let theirs = server.conditions.iter().filter(|c| !c.reason.is_empty() || !c.message.is_empty());
    theirs.filter_map(|c| place(&c.r#type)).filter(|i| *i < 8).fold(0, |m, i| m | 1 << i)
}

/// A number that tells statuses apart.
pub fn fingerprint(status: &PodStatus) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(status).expect("a status is plain data").hash(&mut hasher);
    hasher.finish()
}

/// Whether the server's status says all that ours says.
pub fn is_told(ours: &PodStatus, server: &PodStatus) -> bool {
    let conditions = ours.conditions.iter().all(|c| server.conditions.contains(c));
    conditions
        && (&ours.phase, &ours.reason, &ours.message) == (&server.phase, &server.reason, &server.message)
        && (&ours.pod_ip, &ours.host_ip) == (&server.pod_ip, &server.host_ip)
        && ours.start_time == server.start_time
        && ours.container_statuses == server.container_statuses
        && ours.init_container_statuses == server.init_container_statuses
        && ours.qos_class == server.qos_class
        && ours.observed_generation == server.observed_generation
}

/// Taint that a server puts on new nodes until they are known to be ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// The patch that takes the not-ready taint off a node which the server knows to be ready; nothing when there is none.
/// On an ordinary cluster the node lifecycle controller does the same, and whoever comes second changes nothing.
pub fn untaint(node: &Node) -> Option<Value> {
    let is_ready = node.status.conditions.iter().any(|c| c.r#type == "Ready" && c.status == "True");
    let is_tainted = node.spec.taints.iter().any(|t| t.key == NOT_READY && t.effect == "NoSchedule");
    if !is_ready || !is_tainted {
        return None;
    }
    let rest: Vec<&Taint> =
        node.spec.taints.iter().filter(|t| t.key != NOT_READY || t.effect != "NoSchedule").collect();
    // Fenced by version: taints are one list, and another change of it must not be lost.
    Some(json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": rest}}))
}
