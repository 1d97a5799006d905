//! Readiness gates that workloads hold on their pods.

use api_core::Pod;
use api_workload::names;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stdx::Time;

use crate::drain;

/// Reason of a gate that is closed to change the pod.
pub const STARTED: &str = "StartInPlaceUpdate";
/// Reason of a gate that is closed to delete the pod once its traffic has ended.
pub const LEAVING: &str = "DrainBeforeDelete";
/// Reason of a gate that is open again because traffic did not end in time; its message is the revision not gone to.
pub const OVERDUE: &str = "DrainOverdue";

/// Whether the pod lists the gate.
pub fn is_listed(pod: &Pod, gate: &str) -> bool {
    pod.spec.readiness_gates.iter().any(|g| g.condition_type == gate)
}

/// Whether the in-place gate was closed to begin an update.
pub fn is_closed_to_update(pod: &Pod) -> bool {
    pod.condition(names::INPLACE_READY).is_some_and(|c| c.status == "False" && c.reason == STARTED)
}

/// Whether the in-place gate is listed but not plainly open.
pub fn needs_opening(pod: &Pod) -> bool {
    let open = pod
        .condition(names::INPLACE_READY)
        .is_some_and(|c| c.status == "True" && c.reason.is_empty() && c.message.is_empty());
    is_listed(pod, names::INPLACE_READY) && !open
}

/// Whether the in-place gate was closed to delete the pod.
pub fn is_closed_to_leave(pod: &Pod) -> bool {
    pod.condition(names::INPLACE_READY).is_some_and(|c| c.status == "False" && c.reason == LEAVING)
}

/// The revision that the pod did not go to, because traffic did not end in time.
pub fn refused(pod: &Pod) -> Option<&str> {
    let open = pod.condition(names::INPLACE_READY).filter(|c| c.status == "True" && c.reason == OVERDUE)?;
    Some(open.message.as_str())
}

/// Status patch that takes the pod out of service for a reason: gate and Ready False together.
pub fn close(pod: &Pod, reason: &str, now: Time) -> Value {
    drain::close(pod, names::INPLACE_READY, reason, now)
}

/// Status patch that opens the gate of a pod whose traffic did not end in time, and remembers what it was closed for.
pub fn give_back(revision: &str, now: Time) -> Value {
    json!({"status": {"conditions": [{
        "type": names::INPLACE_READY, "status": "True", "reason": OVERDUE, "message": revision, "lastTransitionTime": now,
    }]}})
}

/// Status patch that opens the gate; the node sets Ready itself.
pub fn open(pod: &Pod, now: Time) -> Value {
    let mut condition = json!({"type": names::INPLACE_READY, "status": "True", "lastTransitionTime": now});
    if pod.condition(names::INPLACE_READY).is_some() {
        condition["reason"] = Value::Null;
        condition["message"] = Value::Null;
    }
    json!({"status": {"conditions": [condition]}})
}

/// One writer's hold on the shared gate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct Hold {
    /// Who holds.
    pub user_agent: String,
    /// Why.
    pub key: String,
}

impl Hold {
    /// The hold of a hook.
    pub fn hook(key: &str) -> Hold {
        Hold { user_agent: "Lifecycle".to_owned(), key: key.to_owned() }
    }
}

/// The holds on the shared gate; a message that is not a list counts as none.
pub fn holds(pod: &Pod) -> Vec<Hold> {
    let message = pod.condition(names::KRUISE_READY).map_or("", |c| c.message.as_str());
    serde_json::from_str(message).unwrap_or_default()
}

/// Status patch that adds (`true`) or takes away (`false`) a hold; nothing when the pod does not list the shared gate or
/// the hold is as wanted. The gate is False while any hold remains.
pub fn hold(pod: &Pod, hold: &Hold, on: bool, now: Time) -> Option<Value> {
    let mut all = holds(pod);
    if !is_listed(pod, names::KRUISE_READY) || all.contains(hold) == on {
        return None;
    }
    all.retain(|h| h != hold);
    if on {
        all.push(hold.clone());
    }
    all.sort();
    let mut conditions = vec![shared(&all, now)];
    if on && pod.is_ready() {
        conditions.push(json!({
            "type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "lastTransitionTime": now,
            "message": format!("the status of pod readiness gate \"{}\" is not \"True\"", names::KRUISE_READY),
        }));
    }
    Some(json!({"status": {"conditions": conditions}}))
}

/// Status patch that sets the shared gate for the first time.
pub fn first_shared(pod: &Pod, now: Time) -> Option<Value> {
    let missing = is_listed(pod, names::KRUISE_READY) && pod.condition(names::KRUISE_READY).is_none();
    missing.then(|| json!({"status": {"conditions": [shared(&[], now)]}}))
}

fn shared(holds: &[Hold], now: Time) -> Value {
    let (status, message) =
        if holds.is_empty() { ("True", String::new()) } else { ("False", json!(holds).to_string()) };
    json!({"type": names::KRUISE_READY, "status": status, "message": message, "lastTransitionTime": now})
}

#[cfg(test)]
mod tests {
    use api_core::PodReadinessGate;
    use api_meta::Condition;

    use super::*;

    fn gated(status: &str, message: &str) -> Pod {
        let mut pod = Pod::default();
        pod.spec.readiness_gates.push(PodReadinessGate { condition_type: names::KRUISE_READY.into() });
        pod.status.conditions.push(Condition {
            r#type: names::KRUISE_READY.into(),
            status: status.into(),
            message: message.into(),
            ..Condition::default()
        });
        pod
    }

    #[test]
    fn the_shared_gate_opens_when_the_last_hold_is_gone() {
        let now = Time::from_secs(0);
        let hook = Hold::hook("preDeleteHook");
        let both = gated(
            "False",
            r#"[{"userAgent":"A","key":"b"},{"userAgent":"Lifecycle","key":"preDeleteHook"}]"#,
        );
        let patch = hold(&both, &hook, false, now).unwrap();
        expect_test::expect![[r#"{"lastTransitionTime":"1970-01-01T00:00:00Z","message":"[{\"key\":\"b\",\"userAgent\":\"A\"}]","status":"False","type":"KruisePodReady"}"#]]
            .assert_eq(&patch["status"]["conditions"][0].to_string());
        let last = gated("False", r#"[{"userAgent":"Lifecycle","key":"preDeleteHook"}]"#);
        assert_eq!(hold(&last, &hook, false, now).unwrap()["status"]["conditions"][0]["status"], "True");
        assert_eq!(hold(&last, &hook, true, now), None);
        assert_eq!(hold(&Pod::default(), &hook, true, now), None);
    }

    #[test]
    fn a_pod_given_back_remembers_what_it_refused_until_its_gate_is_closed_again() {
        let gate = |status: &str, reason: &str, message: &str| {
            let mut pod = Pod::default();
            pod.spec.readiness_gates.push(PodReadinessGate { condition_type: names::INPLACE_READY.into() });
            pod.status.conditions.push(Condition {
                r#type: names::INPLACE_READY.into(),
                status: status.into(),
                reason: reason.into(),
                message: message.into(),
                ..Condition::default()
            });
            pod
        };
        let back = give_back("web-2", Time::from_secs(0));
        let condition = &back["status"]["conditions"][0];
        let text = |field: &str| condition[field].as_str().unwrap();
        let pod = gate(text("status"), text("reason"), text("message"));
        assert_eq!((refused(&pod), needs_opening(&pod)), (Some("web-2"), true));
        let closed = close(&pod, STARTED, Time::from_secs(1));
        assert_eq!(closed["status"]["conditions"][0]["message"], Value::Null);
        assert_eq!(refused(&gate("False", STARTED, "")), None);
    }
}
