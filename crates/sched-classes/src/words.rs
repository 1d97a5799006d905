//! What pods and nodes say in words of classes: read where objects arrive, so that no whole object is kept.

use std::sync::Arc;

use api_core::{Node, Pod};
use api_koord::cpu::{BindPolicy, ResourceStatus};
use api_koord::device::{self, DeviceAllocations, GpuAsk};
use api_koord::gang::{GangDefaults, GangWords, gang_of};
use api_koord::meet::Meeting;
use api_koord::{Tier, Unreadable, names};
use sched_cpu::Wants;

/// What one pod says. Pods that say nothing have none.
#[derive(Clone, Debug, PartialEq)]
pub struct PodWords {
    /// Its gang, as `namespace/name`.
    pub gang: Option<String>,
    /// What it says about that gang itself.
    pub gang_words: Option<GangWords>,
    /// What it asks of CPUs; absent when it says nothing about them.
    pub cpu: Option<Arc<Wants>>,
    /// CPUs it was given.
    pub cpu_given: ResourceStatus,
    /// What it asks of GPUs.
    pub gpu: Option<GpuAsk>,
    /// Devices it was given.
    pub devices_given: DeviceAllocations,
    /// Whom it meets on its node.
    pub meeting: Option<Arc<Meeting>>,
    /// It is of the tier that is not accounted.
    pub is_free: bool,
    /// A DaemonSet made it: real load does not keep it off its node.
    pub is_daemon: bool,
    /// A word that cannot be read: the pod waits until it is put right.
    pub unreadable: Option<Unreadable>,
}

/// Prefixes of labels and annotations that may concern us.
const PREFIXES: [&str; 7] = [
    "koordinator.sh/",
    "scheduling.koordinator.sh/",
    "gang.scheduling.koordinator.sh/",
    "pod-group.scheduling.sigs.k8s.io",
    "knarr.dev/cpu-",
    names::PROFILE,
    names::HOST,
];

impl PodWords {
    /// Reads a pod; nothing when it says nothing. `defaults` hold where its gang says nothing, `bind` where its CPUs say nothing.
    pub fn of(pod: &Pod, defaults: GangDefaults, bind: BindPolicy) -> Option<PodWords> {
        if !may_speak(pod) {
            return None;
        }
        let mut words = PodWords {
            gang: gang_of(pod),
            gang_words: GangWords::of_pod(pod, defaults),
            cpu: None,
            cpu_given: ResourceStatus::default(),
            gpu: None,
            devices_given: DeviceAllocations::default(),
            meeting: None,
            is_free: Tier::said(pod) == Some(Tier::Free),
            is_daemon: is_daemon(pod),
            unreadable: None,
        };
        if let Err(wrong) = words.read(pod, bind) {
            words.unreadable = Some(wrong);
        }
        words.says_anything().then_some(words)
    }

    fn read(&mut self, pod: &Pod, bind: BindPolicy) -> Result<(), Unreadable> {
        self.cpu_given = ResourceStatus::of(pod)?;
        self.devices_given = device::allocations(pod)?;
        self.gpu = GpuAsk::of(pod)?;
        self.meeting = Meeting::of(pod)?.map(Arc::new);
        let wants = Wants::of(pod, bind)?;
        let is_plain = !wants.binds && !wants.pooled && wants.numa.is_none();
        self.cpu = (!is_plain || self.holds_cpus()).then(|| Arc::new(wants));
        Ok(())
    }

    /// Whether it was given CPUs, or a share of one NUMA node's pool.
    pub fn holds_cpus(&self) -> bool {
        !self.cpu_given.cpuset.is_empty() || !self.cpu_given.numa_node_resources.is_empty()
    }

    fn says_anything(&self) -> bool {
        self.gang.is_some()
            || self.cpu.is_some()
            || self.gpu.is_some()
            || !self.devices_given.is_empty()
            || self.meeting.is_some()
            || self.is_free
            || self.is_daemon
            || self.unreadable.is_some()
    }
}

/// A quick look that spares most pods the reading.
fn may_speak(pod: &Pod) -> bool {
    let meta = &pod.metadata;
    let mut keys = meta.labels.keys().chain(meta.annotations.keys());
    let in_band = pod.spec.priority.and_then(Tier::of_priority) == Some(Tier::Free);
    let speaks = |key: &String| PREFIXES.iter().any(|p| key.starts_with(p));
    let asks = |name: &String| name.starts_with("koordinator.sh/gpu") || name == names::NVIDIA_GPU;
    let resources =
        |c: &api_core::Container| c.resources.requests.keys().chain(c.resources.limits.keys()).any(asks);
    pod.spec.scheduling_group.is_some()
        || in_band
        || is_daemon(pod)
        || keys.any(speaks)
        || pod.spec.containers.iter().any(resources)
}

fn is_daemon(pod: &Pod) -> bool {
    pod.metadata.controller().is_some_and(|o| o.kind == "DaemonSet")
}

/// Labels of a node that concern us.
const NODE_LABELS: [&str; 3] = [names::NODE_BIND_POLICY, names::NUMA_STRATEGY, names::NUMA_POLICY];
/// Annotations of a node that concern us.
const NODE_ANNOTATIONS: [&str; 6] = [
    names::NODE_RESERVATION,
    names::AMPLIFICATION,
    names::SYSTEM_QOS,
    names::CPU_COLOCATION,
    names::CPU_HOLDERS_MAX,
    names::USAGE_THRESHOLDS,
];

/// What one node says: its labels and annotations that concern us, and nothing else of it. Nodes that say nothing have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeNotes(pub(crate) Node);

impl NodeNotes {
    /// Reads a node; nothing when it says nothing.
    pub fn of(node: &Node) -> Option<NodeNotes> {
        let (labels, annotations) = (&node.metadata.labels, &node.metadata.annotations);
        let mut notes = Node::default();
        for key in NODE_LABELS {
            notes.metadata.labels.extend(labels.get_key_value(key).map(|(k, v)| (k.clone(), v.clone())));
        }
        for key in NODE_ANNOTATIONS {
            let said = annotations.get_key_value(key).map(|(k, v)| (k.clone(), v.clone()));
            notes.metadata.annotations.extend(said);
        }
        let is_mute = notes.metadata.labels.is_empty() && notes.metadata.annotations.is_empty();
        (!is_mute).then_some(NodeNotes(notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn words(pod: Value) -> Option<PodWords> {
        PodWords::of(&serde_json::from_value(pod).unwrap(), GangDefaults::default(), BindPolicy::FullPCPUs)
    }

    #[test]
    fn a_pod_that_says_nothing_has_no_words() {
        let plain = json!({"metadata": {"labels": {"app": "a", "app.kubernetes.io/name": "a"}, "annotations": {"x": "y"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}}]}});
        assert_eq!(words(plain), None);
    }

    #[test]
    fn gang_cpus_and_devices_are_read_in_one_go() {
        let pod = json!({
            "metadata": {"namespace": "d", "labels": {"koordinator.sh/qosClass": "LSR", "pod-group.scheduling.sigs.k8s.io": "g"},
                "annotations": {"scheduling.koordinator.sh/resource-status": r#"{"cpuset":"0-1"}"#}},
            "spec": {"priority": 9500, "containers": [{"name": "c",
                "resources": {"requests": {"cpu": "2", "koordinator.sh/gpu": 50}}}]},
        });
        let words = words(pod).unwrap();
        assert_eq!(words.gang.as_deref(), Some("d/g"));
        assert!(words.cpu.as_ref().is_some_and(|w| w.binds) && words.holds_cpus() && words.gpu.is_some());
    }

    #[test]
    fn a_word_that_nobody_reads_is_kept_with_its_key() {
        let pod = json!({"metadata": {"annotations": {"knarr.dev/cpu-stacking": "Never"}}});
        assert_eq!(words(pod).unwrap().unreadable.unwrap().key, "knarr.dev/cpu-stacking");
    }

    #[test]
    fn a_node_keeps_its_words_about_cpus_and_nothing_else() {
        let node = |value: Value| NodeNotes::of(&serde_json::from_value(value).unwrap());
        assert_eq!(node(json!({"metadata": {"name": "n", "labels": {"zone": "a"}}})), None);
        let notes = node(
            json!({"metadata": {"name": "n", "labels": {"zone": "a", "node.koordinator.sh/cpu-bind-policy": "SpreadByPCPUs"}}}),
        );
        assert_eq!(notes.unwrap().0.metadata.labels.len(), 1);
    }
}
