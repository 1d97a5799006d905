//! Taking a pod out of traffic before it is disturbed, as a planner sees it. The words are in [`api_core::drain`].

use api_core::{Pod, drain};
use serde_json::{Value, json};
use stdx::Time;

/// How far a pod is out of traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nobody sends it traffic, as far as anybody has declared: it may be changed or deleted.
    Free,
    /// It is protected and in service: close its gate first.
    InService,
    /// Its gate is closed, and these still drain.
    Draining {
        /// Names of the traffic components, without prefix.
        waits_for: Vec<String>,
        /// Since when the gate is closed.
        since: Option<Time>,
        /// When it is overdue.
        due: Time,
    },
    /// The same, and its deadline has passed.
    Overdue {
        /// Names of the traffic components, without prefix.
        waits_for: Vec<String>,
        /// Since when the gate is closed.
        since: Option<Time>,
        /// What its owner declared for this case.
        policy: Policy,
    },
}

/// What becomes of a drain that is overdue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It waits for a person.
    #[default]
    Hold,
    /// The pod is disturbed all the same.
    Force,
    /// The release goes back.
    RollBack,
}

impl Policy {
    /// The policy that a pod declares; what is not understood is the careful one.
    pub fn of(pod: &Pod) -> Policy {
        match pod.metadata.annotations.get(drain::DEADLINE_POLICY).map_or("", String::as_str) {
            "Force" => Policy::Force,
            "RollBack" => Policy::RollBack,
            _ => Policy::Hold,
        }
    }
}

/// How far the pod is out of traffic at `now`.
pub fn progress(pod: &Pod, now: Time) -> Progress {
    let waits_for: Vec<String> =
        drain::protections(pod).map(|f| f[drain::PROTECTION.len()..].to_owned()).collect();
    if waits_for.is_empty() || !drain::takes_part(pod) {
        return Progress::Free;
    }
    // A pod may list several gates; its workload closes its own, others theirs. One is enough.
    let closed = drain::gates(pod).filter_map(|g| pod.condition(g)).filter(|c| c.status == "False");
    let Some(closed) = closed.min_by_key(|c| c.last_transition_time) else {
        return Progress::InService;
    };
    let since = closed.last_transition_time;
    let deadline = seconds(pod, drain::DEADLINE_SECONDS).unwrap_or(drain::DEADLINE_SECONDS_DEFAULT);
    let due = since.unwrap_or(now) + std::time::Duration::from_secs(deadline);
    if due > now {
        return Progress::Draining { waits_for, since, due };
    }
    Progress::Overdue { waits_for, since, policy: Policy::of(pod) }
}

fn seconds(pod: &Pod, annotation: &str) -> Option<u64> {
    pod.metadata.annotations.get(annotation)?.parse().ok()
}

/// Status patch that closes a pod's gate for a reason, and Ready with it, so that no traffic waits for the node to notice.
/// A gate that is closed already keeps its time: the deadline counts from the first reason.
pub fn close(pod: &Pod, gate: &str, reason: &str, now: Time) -> Value {
    let old = pod.condition(gate);
    let since = old.filter(|c| c.status == "False").and_then(|c| c.last_transition_time).unwrap_or(now);
    let mut closed = json!({"type": gate, "status": "False", "reason": reason, "lastTransitionTime": since});
    if old.is_some_and(|c| !c.message.is_empty()) {
        closed["message"] = Value::Null;
    }
    let mut conditions = vec![closed];
    if pod.is_ready() {
        let message = format!("the status of pod readiness gate \"{gate}\" is not \"True\"");
        conditions.push(json!({
            "type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": message, "lastTransitionTime": now,
        }));
    }
    json!({"status": {"conditions": conditions}})
}

/// Metadata patch by which an operation asks for the pod to be taken out of service. `id` and `kind` are label values.
pub fn request(id: &str, kind: &str, now: Time) -> Value {
    json!({"metadata": {"labels": {
        format!("{}{id}", drain::OPERATING): now.micros().to_string(),
        format!("{}{id}", drain::OPERATION_TYPE): kind,
    }}})
}

/// Metadata patch that takes the request back; the pod returns to service when no other request is left.
pub fn withdraw(id: &str) -> Value {
    let prefixes = [drain::OPERATING, drain::OPERATION_TYPE, drain::PREPARING, drain::OPERATE];
    let labels: serde_json::Map<String, Value> =
        prefixes.iter().map(|p| (format!("{p}{id}"), Value::Null)).collect();
    json!({"metadata": {"labels": labels}})
}

#[cfg(test)]
mod tests {
    use api_core::PodReadinessGate;
    use api_meta::Condition;

    use super::*;

    fn pod(gate: Option<&str>, finalizers: &[&str]) -> Pod {
        let mut pod = Pod::default();
        pod.spec.readiness_gates.push(PodReadinessGate { condition_type: drain::INPLACE_READY.into() });
        pod.metadata.finalizers = finalizers.iter().map(|f| drain::protection_of(f)).collect();
        pod.status.conditions.extend(gate.map(|status| Condition {
            r#type: drain::INPLACE_READY.into(),
            status: status.into(),
            last_transition_time: Some(Time::from_secs(100)),
            ..Condition::default()
        }));
        pod
    }

    #[test]
    fn a_pod_is_free_when_the_last_protection_is_gone_and_not_before() {
        let now = Time::from_secs(110);
        assert_eq!(progress(&pod(Some("False"), &[]), now), Progress::Free);
        assert_eq!(progress(&pod(Some("True"), &["web"]), now), Progress::InService);
        assert_eq!(progress(&pod(None, &["web"]), now), Progress::InService);
        let draining = progress(&pod(Some("False"), &["web"]), now);
        assert!(matches!(draining, Progress::Draining { waits_for, due, .. }
            if waits_for == ["web"] && due == Time::from_secs(160)));
    }

    #[test]
    fn a_drain_is_overdue_after_its_deadline_and_its_owner_says_what_then() {
        let mut late = pod(Some("False"), &["web"]);
        late.metadata.annotations.insert(drain::DEADLINE_SECONDS.into(), "5".into());
        let policy = |pod: &Pod| match progress(pod, Time::from_secs(106)) {
            Progress::Overdue { policy, .. } => policy,
            other => panic!("{other:?}"),
        };
        assert_eq!(policy(&late), Policy::Hold);
        late.metadata.annotations.insert(drain::DEADLINE_POLICY.into(), "Force".into());
        assert_eq!(policy(&late), Policy::Force);
        late.metadata.annotations.insert(drain::DEADLINE_POLICY.into(), "what".into());
        assert_eq!(policy(&late), Policy::Hold);
    }

    #[test]
    fn who_opted_out_is_free_at_once() {
        let mut out = pod(Some("True"), &["web"]);
        out.metadata.annotations.insert(drain::DRAIN.into(), "disabled".into());
        assert_eq!(progress(&out, Time::from_secs(0)), Progress::Free);
    }

    #[test]
    fn one_closed_gate_of_several_is_enough() {
        let mut both = pod(Some("False"), &["web"]);
        both.spec.readiness_gates.push(PodReadinessGate { condition_type: drain::SERVICE_READY.into() });
        assert_eq!(drain::gate(&both), Some(drain::SERVICE_READY));
        assert!(matches!(progress(&both, Time::from_secs(110)), Progress::Draining { .. }));
    }

    #[test]
    fn a_gate_closed_for_another_reason_keeps_its_time() {
        let closed =
            close(&pod(Some("False"), &["web"]), drain::INPLACE_READY, "Other", Time::from_secs(130));
        assert_eq!(closed["status"]["conditions"][0]["lastTransitionTime"], json!(Time::from_secs(100)));
        let open = close(&pod(Some("True"), &["web"]), drain::INPLACE_READY, "Other", Time::from_secs(130));
        assert_eq!(open["status"]["conditions"][0]["lastTransitionTime"], json!(Time::from_secs(130)));
    }
}
