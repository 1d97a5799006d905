//! A pod as the story sees it.

use std::collections::BTreeMap;

use api_core::{Pod, drain};

/// What matters of a pod for the story.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSeen {
    /// Name.
    pub name: String,
    /// Identity.
    pub uid: String,
    /// Value of its label `app`.
    pub app: String,
    /// Cell of its node; empty while it has none.
    pub cell: String,
    /// Address; empty while it has none.
    pub ip: String,
    /// Image it is to run.
    pub image: String,
    /// Instance that runs; empty while there is none.
    pub container: String,
    /// Ready, its gate included.
    pub ready: bool,
    /// Its gate, when it has one: true lets traffic in.
    pub gate: Option<bool>,
    /// A traffic component may still send it traffic.
    pub protected: bool,
    /// On its way out.
    pub deleting: bool,
    /// Why its container does not run; empty when it does, or starts as usual.
    pub broken: String,
}

impl PodSeen {
    /// From a pod, and the cells of the nodes.
    pub fn of(pod: &Pod, cells: &BTreeMap<String, String>) -> PodSeen {
        let is_true = |kind: &str| {
            pod.status.conditions.iter().find(|c| c.r#type == kind).is_some_and(|c| c.status == "True")
        };
        let status = pod.status.container_statuses.first();
        PodSeen {
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            app: pod.metadata.labels.get("app").cloned().unwrap_or_default(),
            cell: cells.get(&pod.spec.node_name).cloned().unwrap_or_default(),
            ip: pod.status.pod_ip.clone(),
            image: pod.spec.containers.first().map(|c| c.image.clone()).unwrap_or_default(),
            container: status.map(|s| s.container_id.clone()).unwrap_or_default(),
            ready: is_true("Ready"),
            gate: drain::gate(pod).map(is_true),
            protected: drain::protections(pod).next().is_some(),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            broken: broken(pod),
        }
    }

    /// Whether requests may be sent to it.
    pub fn in_service(&self) -> bool {
        self.ready && !self.deleting
    }

    /// The tag of its image: the version it is to run.
    pub fn version(&self) -> &str {
        version_of(&self.image)
    }
}

/// The tag of an image.
pub(crate) fn version_of(image: &str) -> &str {
    image.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("", |(_, tag)| tag)
}

/// A container that exited with an error, or waits after it did. While its node still speaks of the image before, nothing is
/// known of the present one: a process that was asked to make room ends with an error code, too.
fn broken(pod: &Pod) -> String {
    let Some(status) = pod.status.container_statuses.first() else { return String::new() };
    let wanted = pod.spec.containers.first().map(|c| c.image.as_str()).unwrap_or_default();
    if version_of(&status.image) != version_of(wanted) {
        return String::new();
    }
    if let Some(end) = status.state.terminated.as_ref().filter(|t| t.exit_code != 0) {
        return format!("exited with code {}", end.exit_code);
    }
    let waits = status.state.waiting.as_ref().map(|w| w.reason.as_str());
    match waits {
        None | Some("" | "ContainerCreating" | "PodInitializing") => String::new(),
        Some(reason) => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(pod: serde_json::Value) -> PodSeen {
        let cells = [("n1".to_owned(), "CellA".to_owned())].into();
        PodSeen::of(&serde_json::from_value(pod).unwrap(), &cells)
    }

    #[test]
    fn a_pod_is_in_service_while_it_is_ready_and_stays() {
        let pod = |deleting: Option<&str>| {
            seen(json!({
                "metadata": {"name": "a", "uid": "u", "labels": {"app": "shop"}, "deletionTimestamp": deleting,
                             "finalizers": ["prot.podopslifecycle.kusionstack.io/shop"]},
                "spec": {"nodeName": "n1", "readinessGates": [{"conditionType": "InPlaceUpdateReady"}],
                         "containers": [{"name": "c", "image": "knarr.dev/shop:v2"}]},
                "status": {"podIP": "127.9.64.1", "conditions": [
                    {"type": "Ready", "status": "True"}, {"type": "InPlaceUpdateReady", "status": "False"}]},
            }))
        };
        let there = pod(None);
        assert!(there.in_service() && there.protected);
        assert_eq!((there.gate, there.version(), &*there.cell), (Some(false), "v2", "CellA"));
        assert!(!pod(Some("2026-11-28T12:00:00Z")).in_service());
    }

    #[test]
    fn a_container_that_cannot_start_is_told_from_one_that_starts() {
        let of = |state: serde_json::Value| {
            seen(json!({"status": {"containerStatuses": [{"name": "c", "state": state}]}})).broken
        };
        assert_eq!(of(json!({"waiting": {"reason": "ContainerCreating"}})), "");
        assert_eq!(of(json!({"waiting": {"reason": "CrashLoopBackOff"}})), "CrashLoopBackOff");
        assert_eq!(of(json!({"terminated": {"exitCode": 1}})), "exited with code 1");
        assert_eq!(of(json!({"terminated": {"exitCode": 0}})), "");
        assert_eq!(of(json!({"running": {}})), "");
    }

    #[test]
    fn the_end_of_the_process_before_is_no_failure_of_the_present_one() {
        let status =
            |image: &str| json!({"name": "c", "image": image, "state": {"terminated": {"exitCode": 143}}});
        let of = |image: &str| {
            let spec = json!({"containers": [{"name": "c", "image": "knarr.dev/shop:v3"}]});
            seen(json!({"spec": spec, "status": {"containerStatuses": [status(image)]}})).broken
        };
        assert_eq!(of("knarr.dev/shop:v2"), "");
        assert_eq!(of("knarr.dev/shop:v3"), "exited with code 143");
    }
}
