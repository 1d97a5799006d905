//! What becomes of a node: its conditions by what is heard of it, its taints by its conditions.

use api_core::Node;
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::{Value, json};
use stdx::Time;

use crate::node::outage::Turn;
use crate::node::silence::{self, Hearing, LAST_HEARD};
use crate::node::{Observed, READY, taints};

/// Conditions that nobody vouches for when the node is silent.
const VOUCHED: [&str; 4] = [READY, "MemoryPressure", "DiskPressure", "PIDPressure"];

pub(crate) fn plan(seen: &Observed, now: Time) -> Plan {
    let node = &*seen.node;
    let mut plan = Plan::new();
    if node.metadata.is_terminating() {
        return plan;
    }
    match silence::hear(node, seen.lease.as_deref(), now) {
        Hearing::Speaks(until) => plan.wake_at(until),
        Hearing::Late(note) => {
            plan.act(patch(node, json!({"metadata": {"annotations": {LAST_HEARD: note}}})))
        }
        Hearing::Doubted(until) => plan.wake_at(until),
        Hearing::Silent => {
            if let Some((action, note)) = silenced(node, now) {
                // The taints follow from what is then seen.
                plan.act_noting(action, note);
                return plan;
            }
        }
    }
    if plan.is_quiet() {
        taint(seen, now, &mut plan);
    }
    plan
}

/// Writes what is not known any more; nothing when that is written.
fn silenced(node: &Node, now: Time) -> Option<(Action, Note)> {
    let conditions: Vec<Value> = VOUCHED.iter().filter_map(|kind| unknown(node, kind, now)).collect();
    if conditions.is_empty() {
        return None;
    }
    let action = Action::Patch {
        // A node that speaks up in this moment is right.
        target: Target::at(node),
        subresource: "status",
        form: Form::Strategic,
        body: json!({"status": {"conditions": conditions}}),
        risk: Risk::None,
    };
    let message = format!("Node {} status is now: NodeNotReady", node.metadata.name);
    Some((action, Note::new(Severity::Normal, "NodeNotReady", message)))
}

fn unknown(node: &Node, kind: &str, now: Time) -> Option<Value> {
    let mut condition = json!({"type": kind, "status": "Unknown", "lastTransitionTime": now});
    let (reason, message) = match node.status.conditions.iter().find(|c| c.r#type == kind) {
        Some(old) if old.status == "Unknown" => return None,
        Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        None => {
            condition["lastHeartbeatTime"] = json!(node.metadata.creation_timestamp);
            ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
        }
    };
    condition["reason"] = json!(reason);
    condition["message"] = json!(message);
    Some(condition)
}

fn taint(seen: &Observed, now: Time, plan: &mut Plan) {
    let node = &*seen.node;
    let wanted = taints::wanted(node, evicting(seen, now, plan), now);
    if wanted != node.spec.taints {
        // The whole list is replaced: nobody may have changed it meanwhile.
        plan.act(patch(node, json!({"spec": {"taints": wanted}})));
    }
}

/// The key of the taint by which pods are to leave now, if they are.
fn evicting(seen: &Observed, now: Time, plan: &mut Plan) -> Option<&'static str> {
    let key = taints::eviction_key(&seen.node)?;
    let is_given_up = taints::our_eviction(&seen.node).is_some();
    match seen.around.as_ref()?.turn(now) {
        Turn::Never(until, why) => {
            held(plan, until, &why);
            return None;
        }
        // Who was given up stays so; its pods may have moved.
        _ if is_given_up => plan.wake_at(now + RECONSIDERED),
        Turn::Now => {}
        Turn::Later(until) => {
            plan.wake_at(until);
            return None;
        }
        Turn::Held(until, why) => {
            held(plan, until, &why);
            return None;
        }
    }
    Some(key)
}

/// A node that was given up is given back when the rest of the cluster falls silent as well: look from time to time.
const RECONSIDERED: std::time::Duration = std::time::Duration::from_secs(10);

fn held(plan: &mut Plan, until: Time, why: &str) {
    plan.wake_at(until);
    let message = format!("pods are not evicted from this node: {why}");
    plan.note(Note::new(Severity::Why, "EvictionHeld", message));
}

fn patch(node: &Node, body: Value) -> Action {
    Action::Patch { target: Target::at(node), subresource: "", form: Form::Merge, body, risk: Risk::None }
}
