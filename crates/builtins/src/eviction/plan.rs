//! What becomes of a pod by the state of its node.

use api_core::{Node, Pod, drain, lost};
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::{Value, json};
use stdx::Time;

use crate::eviction::Observed;
use crate::eviction::tolerance::{Stay, stay};
use crate::kit::{Leave, fence};
use crate::node::ready;

/// The operation under which pods are asked out of service.
pub(crate) const OPERATION: &str = "taint-eviction";
const TARGET: &str = "DisruptionTarget";

pub(crate) fn plan(seen: &Observed, now: Time) -> Plan {
    let (pod, node) = (&*seen.pod, &*seen.node);
    let mut plan = Plan::new();
    if pod.is_finished() {
        return plan;
    }
    if leaves_traffic(pod, node) {
        let message = lost::NODE_NOT_READY_MESSAGE;
        let note = Note::new(Severity::Warning, lost::NODE_NOT_READY, message);
        plan.act_noting(status(pod, mark(now)), note);
    }
    if pod.metadata.is_terminating() {
        return plan;
    }
    match stay(pod, node, now) {
        Stay::Until(end) if end <= now => evict(pod, node, now, &mut plan),
        Stay::Until(end) => {
            plan.wake_at(end);
            remain(pod, &mut plan);
        }
        Stay::Unlimited => remain(pod, &mut plan),
    }
    plan
}

/// Whether the pod must be taken out of traffic because of its node. A silent node vouches for nothing. One that says itself
/// that it is not ready may still say of a pod, later, that it is: then it knows better.
fn leaves_traffic(pod: &Pod, node: &Node) -> bool {
    let Some(own) = pod.condition("Ready").filter(|c| c.status == "True") else { return false };
    let Some(nodes) = ready(node) else { return false };
    match nodes.status.as_str() {
        "Unknown" => true,
        "False" => own.last_transition_time <= nodes.last_transition_time,
        _ => false,
    }
}

fn mark(now: Time) -> Value {
    json!({
        "type": "Ready", "status": "False", "reason": lost::NODE_NOT_READY,
        "message": lost::NODE_NOT_READY_MESSAGE, "lastTransitionTime": now,
    })
}

fn evict(pod: &Pod, node: &Node, now: Time, plan: &mut Plan) {
    let is_silent = ready(node).is_some_and(|c| c.status == "Unknown");
    let way = if is_silent { Leave::Free } else { Leave::of(pod, OPERATION, now) };
    match way {
        Leave::Free => delete(pod, now, plan),
        Leave::Ask => plan.act(Leave::ask(pod, OPERATION, now)),
        Leave::Waits(until) => until.into_iter().for_each(|at| plan.wake_at(at)),
        Leave::Held(by) => {
            let message = format!("not evicted: its drain is overdue and waits for {}", by.join(", "));
            plan.note(Note::new(Severity::Why, "DrainOverdue", message));
        }
    }
}

fn delete(pod: &Pod, now: Time, plan: &mut Plan) {
    // Whoever counts failed pods must see why this one ended: before it ends.
    if pod.condition(TARGET).is_none_or(|c| c.status != "True") {
        let condition = json!({
            "type": TARGET, "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": now,
        });
        plan.act(status(pod, condition));
        if drain::takes_part(pod) {
            // Its deletion is fenced by the version that this write makes.
            return;
        }
    }
    let key = pod.metadata.key();
    let message = format!("Marking for deletion Pod {}/{}", key.namespace, key.name);
    let action =
        Action::Delete { target: fence(pod), grace_seconds: None, propagation: None, risk: Risk::RemovePod };
    plan.act_noting(action, Note::new(Severity::Normal, "TaintManagerEviction", message));
}

/// The node is well again, or the pod may stay after all.
fn remain(pod: &Pod, plan: &mut Plan) {
    if let Some(action) = Leave::withdrawn(pod, OPERATION) {
        let key = pod.metadata.key();
        let message = format!("Cancelling deletion of Pod {}/{}", key.namespace, key.name);
        plan.act_noting(action, Note::new(Severity::Normal, "TaintManagerEviction", message));
    }
}

fn status(pod: &Pod, condition: Value) -> Action {
    Action::Patch {
        target: Target::of(pod),
        subresource: "status",
        form: Form::Strategic,
        body: json!({"status": {"conditions": [condition]}}),
        risk: Risk::None,
    }
}
