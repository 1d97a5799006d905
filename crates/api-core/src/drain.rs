//! The words by which a pod leaves service and comes back: PodOpsLifecycle of KusionStack kuperator, and our own few.
//!
//! ```text
//! request ─> gate False ─> endpoint not ready ─> each traffic component drains and takes its finalizer off
//!     ─> update or delete ─> gate True ─> endpoint ready ─> each component puts its finalizer back
//! ```
//!
//! A finalizer under [`PROTECTION`] means "this component may still send traffic here". Who wants to disturb the pod closes
//! its gate and waits until none is left. What is absent: who decides (planners), who counts requests (the proxy).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Pod;

/// Prefix of the finalizers by which traffic components protect a pod; the rest names the component, for Services their name.
pub const PROTECTION: &str = "prot.podopslifecycle.kusionstack.io/";
/// Prefix of the label by which an operation asks for a pod to be taken out of service; the rest is the operation's id.
pub const OPERATING: &str = "operating.podopslifecycle.kusionstack.io/";
/// Prefix of the label that says what the operation is.
pub const OPERATION_TYPE: &str = "operation-type.podopslifecycle.kusionstack.io/";
/// Prefix of the label set while traffic components are asked to drain.
pub const PREPARING: &str = "preparing.podopslifecycle.kusionstack.io/";
/// Prefix of the label that lets the operation go on.
pub const OPERATE: &str = "operate.podopslifecycle.kusionstack.io/";
/// Pod label: `true` lets components know its operations by label (kuperator's opt-in).
pub const CONTROL: &str = "kusionstack.io/control";
/// Readiness gate of pods whose workload has none of its own.
pub const SERVICE_READY: &str = "pod.kusionstack.io/service-ready";
/// Readiness gate of pods that are updated in place (OpenKruise).
pub const INPLACE_READY: &str = "InPlaceUpdateReady";
/// Pod annotation: `{"expectedFinalizers": {employer: finalizer}}`, the finalizers without which the pod is not back in service.
pub const AVAILABLE_CONDITIONS: &str = "pod.kusionstack.io/available-conditions";
/// Pod annotation: `disabled` leaves the pod out of the protocol: nobody protects it, nobody waits.
pub const DRAIN: &str = "knarr.dev/drain";
/// Annotation of a Service: seconds to wait where nobody counts requests (kube-proxy).
pub const DRAIN_SECONDS: &str = "knarr.dev/drain-seconds";
/// What [`DRAIN_SECONDS`] is when absent.
pub const DRAIN_SECONDS_DEFAULT: u64 = 15;
/// Pod annotation: seconds after which a drain is overdue.
pub const DEADLINE_SECONDS: &str = "knarr.dev/drain-deadline-seconds";
/// What [`DEADLINE_SECONDS`] is when absent.
pub const DEADLINE_SECONDS_DEFAULT: u64 = 60;
/// Pod annotation: what becomes of an overdue drain: `Hold` (default), `Force` or `RollBack`.
pub const DEADLINE_POLICY: &str = "knarr.dev/drain-deadline-policy";

/// The gate that takes this pod out of service; none when its readiness is its node's business alone.
pub fn gate(pod: &Pod) -> Option<&'static str> {
    gates(pod).next()
}

/// All gates that it lists and that controllers hold. Any of them, closed, takes it out of service.
pub fn gates(pod: &Pod) -> impl Iterator<Item = &'static str> {
    let lists = |gate: &&str| pod.spec.readiness_gates.iter().any(|g| g.condition_type == **gate);
    [SERVICE_READY, INPLACE_READY].into_iter().filter(lists)
}

/// Whether traffic components may protect the pod: it can be taken out of service, and nobody has opted out.
pub fn takes_part(pod: &Pod) -> bool {
    gate(pod).is_some() && pod.metadata.annotations.get(DRAIN).is_none_or(|v| v != "disabled")
}

/// Whether the pod's operations are to be told by label, for components that know these alone.
pub fn is_controlled(pod: &Pod) -> bool {
    pod.metadata.labels.get(CONTROL).is_some_and(|v| v == "true")
}

/// Finalizers of the traffic components that may still send it traffic.
pub fn protections(pod: &Pod) -> impl Iterator<Item = &str> {
    pod.metadata.finalizers.iter().map(String::as_str).filter(|f| f.starts_with(PROTECTION))
}

/// The finalizer of a Service's traffic.
pub fn protection_of(service: &str) -> String {
    format!("{PROTECTION}{service}")
}

/// Ids of the operations that ask for the pod to be taken out of service.
pub fn requests(pod: &Pod) -> impl Iterator<Item = &str> {
    pod.metadata.labels.keys().filter_map(|k| k.strip_prefix(OPERATING))
}

/// Finalizers without which the pod is not back in service, by who puts them.
pub fn expected(pod: &Pod) -> BTreeMap<String, String> {
    let text = pod.metadata.annotations.get(AVAILABLE_CONDITIONS).map_or("", String::as_str);
    let parsed: Value = serde_json::from_str(text).unwrap_or_default();
    let list = parsed["expectedFinalizers"].as_object();
    let text = |(k, v): (&String, &Value)| Some((k.clone(), v.as_str()?.to_owned()));
    list.into_iter().flatten().filter_map(text).collect()
}

/// Whether every component that ever protected the pod does so now. A pod outside the protocol is always back.
pub fn is_back(pod: &Pod) -> bool {
    !takes_part(pod) || expected(pod).values().all(|f| pod.metadata.finalizers.contains(f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PodReadinessGate;

    fn pod(gate: &str) -> Pod {
        let mut pod = Pod::default();
        pod.spec.readiness_gates.push(PodReadinessGate { condition_type: gate.into() });
        pod
    }

    #[test]
    fn only_pods_that_can_leave_service_take_part() {
        assert!(takes_part(&pod(INPLACE_READY)) && takes_part(&pod(SERVICE_READY)));
        assert!(!takes_part(&pod("other")) && !takes_part(&Pod::default()));
        let mut opted_out = pod(INPLACE_READY);
        opted_out.metadata.annotations.insert(DRAIN.into(), "disabled".into());
        assert!(!takes_part(&opted_out));
    }

    #[test]
    fn a_pod_is_back_when_all_who_protected_it_do_so_again() {
        let mut pod = pod(INPLACE_READY);
        assert!(is_back(&pod), "nobody ever protected it");
        let expected =
            r#"{"expectedFinalizers":{"Service/a/web":"prot.podopslifecycle.kusionstack.io/web"}}"#;
        pod.metadata.annotations.insert(AVAILABLE_CONDITIONS.into(), expected.into());
        assert!(!is_back(&pod));
        pod.metadata.finalizers = vec!["other/one".into(), protection_of("web")];
        assert!(is_back(&pod));
        assert_eq!(protections(&pod).collect::<Vec<_>>(), ["prot.podopslifecycle.kusionstack.io/web"]);
    }
}
