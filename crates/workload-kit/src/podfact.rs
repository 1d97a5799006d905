//! What a workload asks about one of its pods.

use api_core::{ContainerStatus, Pod, drain};
use api_workload::names;
use stdx::Time;

use crate::inplace;
use crate::lifecycle::State;

/// Whether the pod serves: it runs, is ready for `min_ready_seconds`, and no in-place update holds its gate. Says nothing
/// of hooks; see [`is_available`].
pub fn is_ready(pod: &Pod, min_ready_seconds: i32, now: Time) -> bool {
    let gate = pod.condition(names::INPLACE_READY);
    pod.status.phase == "Running"
        && gate.is_none_or(|c| c.status == "True")
        && pod.is_available(min_ready_seconds, now)
}

/// Whether the pod counts as available: it serves, no hook is awaited, all traffic that it had before is back, and nobody
/// asks for it to leave service.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Time) -> bool {
    State::of(pod).is_settled()
        && is_ready(pod, min_ready_seconds, now)
        && drain::requests(pod).next().is_none()
        && drain::is_back(pod)
}

/// When a pod that is ready but too young becomes available by time alone.
pub fn available_at(pod: &Pod, min_ready_seconds: i32) -> Option<Time> {
    let ready = pod.condition("Ready").filter(|c| c.status == "True")?;
    let wait = std::time::Duration::from_secs(u64::try_from(min_ready_seconds).ok()?);
    Some(ready.last_transition_time? + wait)
}

/// Whether its deletion was asked for by label.
pub fn is_specified_delete(pod: &Pod) -> bool {
    pod.metadata.labels.contains_key(names::SPECIFIED_DELETE_LABEL)
}

/// The id in its name.
pub fn instance_id(labels: &std::collections::BTreeMap<String, String>) -> Option<&str> {
    labels.get(names::INSTANCE_ID_LABEL).map(String::as_str).filter(|id| !id.is_empty())
}

/// Why a pod will not become ready by waiting, in the user's words; nothing while there is hope. The text is the same
/// from look to look, although the node's own words alternate while it retries.
pub fn trouble(pod: &Pod) -> Option<String> {
    let unplaced =
        pod.condition("PodScheduled").filter(|c| c.status == "False" && c.reason == "Unschedulable");
    if unplaced.is_some() {
        return Some("no node has room for it".to_owned());
    }
    let statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    statuses.into_iter().find_map(|s| container_trouble(pod, s))
}

/// Restarts after which a container that does not run counts as failing for good.
const RESTARTS_MANY: i32 = 3;

fn container_trouble(pod: &Pod, status: &ContainerStatus) -> Option<String> {
    if status.ready {
        return None;
    }
    let name = &status.name;
    let reason = status.state.waiting.as_ref().map_or("", |w| w.reason.as_str());
    let image = pod.spec.containers.iter().chain(&pod.spec.init_containers).find(|c| c.name == *name);
    let image = image.map_or(status.image.as_str(), |c| c.image.as_str());
    let message = status.state.waiting.as_ref().map_or("", |w| w.message.as_str());
    match reason {
        // The node still speaks of the image before.
        "ErrImagePull" | "ImagePullBackOff" if !message.is_empty() && !message.contains(image) => None,
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "RegistryUnavailable" => Some(format!("image {image} of container {name} cannot be pulled")),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(format!("container {name} cannot be started: {reason}"))
        }
        _ if is_from_before(pod, status) => None,
        "CrashLoopBackOff" => Some(format!("container {name} keeps failing")),
        _ if status.restart_count >= RESTARTS_MANY && has_failed(status) => {
            Some(format!("container {name} keeps failing"))
        }
        _ => None,
    }
}

/// Whether it ended badly and nothing runs in its place. A count of restarts alone says nothing: updates in place restart too.
fn has_failed(status: &ContainerStatus) -> bool {
    status.state.terminated.as_ref().is_some_and(|t| t.exit_code != 0)
}

/// Whether the node still speaks of the instance that the last update in place replaced.
pub fn is_from_before(pod: &Pod, status: &ContainerStatus) -> bool {
    let Some(Ok(record)) = inplace::record(pod) else { return false };
    let Some(last) = record.last_container_statuses.get(&status.name) else { return false };
    match last.container_id.as_str() {
        "" => !last.image_id.is_empty() && last.image_id == status.image_id,
        instance => instance == status.container_id,
    }
}

#[cfg(test)]
mod tests {
    use api_core::PodReadinessGate;
    use api_meta::Condition;

    use super::*;

    #[test]
    fn a_ready_pod_is_available_when_its_traffic_is_back_and_nobody_asks_for_it() {
        let mut pod = Pod::default();
        pod.spec.readiness_gates.push(PodReadinessGate { condition_type: names::INPLACE_READY.into() });
        pod.status.phase = "Running".into();
        for kind in ["Ready", names::INPLACE_READY] {
            let condition = Condition { r#type: kind.into(), status: "True".into(), ..Condition::default() };
            pod.status.conditions.push(condition);
        }
        let available = |pod: &Pod| is_available(pod, 0, Time::from_secs(0));
        assert!(available(&pod));
        let finalizer = drain::protection_of("web");
        let expected = format!(r#"{{"expectedFinalizers":{{"a":"{finalizer}"}}}}"#);
        pod.metadata.annotations.insert(drain::AVAILABLE_CONDITIONS.into(), expected);
        assert!(!available(&pod) && is_ready(&pod, 0, Time::from_secs(0)));
        pod.metadata.finalizers.push(finalizer);
        assert!(available(&pod));
        pod.metadata.labels.insert(format!("{}evict", drain::OPERATING), "1".into());
        assert!(!available(&pod));
    }
}
