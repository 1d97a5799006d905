//! Koordinator's words for CPUs and NUMA: what pods ask, what nodes say, what was given.

use std::collections::BTreeMap;

use api_core::{Node, Pod};
use serde::{Deserialize, Deserializer, Serialize};

use crate::apart::word;
use crate::{Qos, Tier, Unreadable, json, names};

/// How logical CPUs are chosen from physical cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BindPolicy {
    /// What the scheduler is set to; [`BindPolicy::FullPCPUs`] unless it is.
    #[default]
    Default,
    /// Whole physical cores, as few as possible.
    FullPCPUs,
    /// One thread of each core, as far as possible.
    SpreadByPCPUs,
    /// No CPUs of its own: the shared pool of one NUMA node.
    ConstrainedBurst,
}

/// With whom a pod would rather not share. Counts among pods that say the same, and gives way when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ExclusivePolicy {
    /// Nobody in particular.
    #[default]
    None,
    /// No physical core with another such pod.
    PCPULevel,
    /// No NUMA node with another such pod.
    NUMANodeLevel,
}

/// What a pod asks ([`names::RESOURCE_SPEC`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceSpec {
    /// Must be so, or the pod stays pending.
    #[serde(rename = "requiredCPUBindPolicy", deserialize_with = "empty_is_none")]
    pub required_bind: Option<BindPolicy>,
    /// Shall be so.
    #[serde(rename = "preferredCPUBindPolicy", deserialize_with = "empty_is_none")]
    pub preferred_bind: Option<BindPolicy>,
    /// With whom it would rather not share.
    #[serde(rename = "preferredCPUExclusivePolicy", deserialize_with = "empty_is_none")]
    pub preferred_exclusive: Option<ExclusivePolicy>,
}

impl ResourceSpec {
    /// Reads a pod's annotation.
    pub fn of(pod: &Pod) -> Result<ResourceSpec, Unreadable> {
        json(&pod.metadata.annotations, names::RESOURCE_SPEC)
    }
}

/// How allocations follow NUMA nodes; Kubernetes' topology manager has the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NumaPolicy {
    /// As few as possible.
    BestEffort,
    /// As few as the machine could ever do it with, or not at all.
    Restricted,
    /// One, or not at all.
    SingleNUMANode,
}

/// Whether pods within one NUMA node and pods across several keep apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NumaExclusive {
    /// As far as possible.
    Preferred,
    /// Always.
    Required,
}

/// What a pod asks of NUMA nodes ([`names::NUMA_TOPOLOGY_SPEC`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NumaSpec {
    /// The policy; must not differ from that of the node.
    #[serde(rename = "numaTopologyPolicy", deserialize_with = "empty_is_none")]
    pub policy: Option<NumaPolicy>,
    /// Keeping apart. Required when a policy is asked for and this is absent.
    #[serde(rename = "singleNUMANodeExclusive", deserialize_with = "empty_is_none")]
    pub exclusive: Option<NumaExclusive>,
}

impl NumaSpec {
    /// Reads a pod's annotation.
    pub fn of(pod: &Pod) -> Result<NumaSpec, Unreadable> {
        json(&pod.metadata.annotations, names::NUMA_TOPOLOGY_SPEC)
    }
}

/// An empty word means the same as none.
fn empty_is_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(from)?.filter(|v| v != "");
    value.map(|v| T::deserialize(v).map_err(serde::de::Error::custom)).transpose()
}

/// What was given ([`names::RESOURCE_STATUS`]), written onto the pod before it is bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceStatus {
    /// CPUs as a Linux list: `0-3,8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpuset: String,
    /// Resources taken from NUMA nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numa_node_resources: Vec<NumaResources>,
}

impl ResourceStatus {
    /// Reads a pod's annotation.
    pub fn of(pod: &Pod) -> Result<ResourceStatus, Unreadable> {
        json(&pod.metadata.annotations, names::RESOURCE_STATUS)
    }
}

/// Resources of one NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NumaResources {
    /// The NUMA node.
    pub node: i32,
    /// How much of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, serde_json::Value>,
}

/// Whether a pod gets CPUs of its own on any node: its label says LSE or LSR, it is production, and it does not ask for a pool.
/// A pod without the label gets none, even when it is Guaranteed: that is upstream's rule.
pub fn asks_for_cpus(pod: &Pod, spec: &ResourceSpec) -> bool {
    let pool = spec.required_bind.or(spec.preferred_bind) == Some(BindPolicy::ConstrainedBurst);
    Qos::labelled(pod).is_some_and(Qos::binds) && Tier::of(pod) == Tier::Prod && !pool
}

/// What a node says about binding ([`names::NODE_BIND_POLICY`], or its kubelet).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeBindPolicy {
    /// Nothing.
    #[default]
    None,
    /// Every pod that asks for CPUs gets whole physical cores.
    FullPCPUsOnly,
    /// Every pod that asks for CPUs gets one thread of each core.
    SpreadByPCPUs,
}

impl NodeBindPolicy {
    /// The node's label; a kubelet that gives whole cores only goes first.
    pub fn of(labels: &BTreeMap<String, String>, kubelet: &KubeletPolicy) -> NodeBindPolicy {
        match labels.get(names::NODE_BIND_POLICY).map(String::as_str) {
            _ if kubelet.is_full_cores_only() => NodeBindPolicy::FullPCPUsOnly,
            Some("FullPCPUsOnly") => NodeBindPolicy::FullPCPUsOnly,
            Some("SpreadByPCPUs") => NodeBindPolicy::SpreadByPCPUs,
            _ => NodeBindPolicy::None,
        }
    }
}

/// Which NUMA node is filled first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NumaStrategy {
    /// The fullest: keeps others empty.
    MostAllocated,
    /// The emptiest. `DistributeEvenly` is read as this, as upstream's CPU allocation does.
    #[default]
    LeastAllocated,
}

impl NumaStrategy {
    /// The node's label; `default` when it has none.
    pub fn of(labels: &BTreeMap<String, String>, default: NumaStrategy) -> NumaStrategy {
        match labels.get(names::NUMA_STRATEGY).map(String::as_str) {
            Some("MostAllocated") => NumaStrategy::MostAllocated,
            Some("LeastAllocated" | "DistributeEvenly") => NumaStrategy::LeastAllocated,
            _ => default,
        }
    }
}

/// The policy a node's label names.
pub fn numa_policy(labels: &BTreeMap<String, String>) -> Option<NumaPolicy> {
    let known = [
        ("BestEffort", NumaPolicy::BestEffort),
        ("Restricted", NumaPolicy::Restricted),
        ("SingleNUMANode", NumaPolicy::SingleNUMANode),
    ];
    word(labels, names::NUMA_POLICY, &known).ok().flatten()
}

/// The CPUs of a node ([`names::CPU_TOPOLOGY`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuDetails {
    /// One row for each logical CPU.
    pub detail: Vec<CpuDetail>,
}

/// One logical CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuDetail {
    /// The kernel's number.
    pub id: i32,
    /// Its physical core; unique on the node.
    pub core: i32,
    /// Its socket.
    pub socket: i32,
    /// Its NUMA node.
    pub node: i32,
}

/// CPUs that a pod holds by somebody else's decision ([`names::POD_CPU_ALLOCS`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCpuAlloc {
    /// Namespace of the pod.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// CPUs as a Linux list.
    pub cpuset: String,
    /// Given by the kubelet's CPU manager.
    pub managed_by_kubelet: bool,
}

/// A pool of one NUMA node ([`names::CPU_SHARED_POOLS`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SharedPool {
    /// Its socket.
    pub socket: i32,
    /// Its NUMA node.
    pub node: i32,
    /// CPUs as a Linux list.
    pub cpuset: String,
}

/// What the kubelet's CPU manager does ([`names::KUBELET_CPU_POLICY`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletPolicy {
    /// `none` or `static`.
    pub policy: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// CPUs it never gives, as a Linux list.
    #[serde(rename = "reservedCPUs")]
    pub reserved_cpus: String,
}

impl KubeletPolicy {
    /// Whether it refuses pods that do not get whole physical cores.
    pub fn is_full_cores_only(&self) -> bool {
        self.policy == "static" && self.options.get("full-pcpus-only").is_some_and(|v| v == "true")
    }
}

/// CPUs and resources kept from pods ([`names::NODE_RESERVATION`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeReservation {
    /// How much.
    pub resources: BTreeMap<String, serde_json::Value>,
    /// CPUs as a Linux list.
    #[serde(rename = "reservedCPUs")]
    pub reserved_cpus: String,
    /// `Default` takes them off what is allocatable, `ReservedCPUsOnly` does not.
    pub apply_policy: String,
}

/// CPUs of system daemons ([`names::SYSTEM_QOS`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SystemCpus {
    /// CPUs as a Linux list.
    pub cpuset: String,
    /// Whether nobody else may use them; so when absent.
    pub cpuset_exclusive: Option<bool>,
}

impl SystemCpus {
    /// Whether nobody else may use them.
    pub fn is_exclusive(&self) -> bool {
        self.cpuset_exclusive.unwrap_or(true)
    }
}

/// Whether online pods use all threads of a core, or leave every second one to best effort ([`names::CPU_COLOCATION`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colocation {
    /// Online uses every thread; best effort gets what the kernel leaves, at its lowest share.
    #[default]
    AllThreads,
    /// Online uses the first thread of each core, best effort the others.
    OneThread,
}

/// Everything a node and its NodeResourceTopology say about CPUs, as text still where it is a list of CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeWords {
    /// Its CPUs.
    pub details: Vec<CpuDetail>,
    /// How CPUs are bound here.
    pub bind: NodeBindPolicy,
    /// Which NUMA node is filled first.
    pub strategy: NumaStrategy,
    /// How allocations follow NUMA nodes.
    pub numa: Option<NumaPolicy>,
    /// CPUs that are given to nobody.
    pub reserved: Vec<String>,
    /// CPUs of system daemons.
    pub system: SystemCpus,
    /// Held by others' decision.
    pub held: Vec<PodCpuAlloc>,
    /// How online and best effort share cores.
    pub colocation: Colocation,
    /// How many pods may hold one logical CPU.
    pub holders_max: u8,
}

impl NodeWords {
    /// Reads a node and the annotations of its NodeResourceTopology. `strategy` is what the scheduler is set to.
    pub fn read(
        node: &Node,
        topology: &BTreeMap<String, String>,
        strategy: NumaStrategy,
    ) -> Result<NodeWords, Unreadable> {
        let (labels, annotations) = (&node.metadata.labels, &node.metadata.annotations);
        let kubelet: KubeletPolicy = json(topology, names::KUBELET_CPU_POLICY)?;
        let details: CpuDetails = json(topology, names::CPU_TOPOLOGY)?;
        let reservation: NodeReservation = json(annotations, names::NODE_RESERVATION)?;
        let modes = [("AllThreads", Colocation::AllThreads), ("OneThread", Colocation::OneThread)];
        let mut held: Vec<PodCpuAlloc> = json(topology, names::POD_CPU_ALLOCS)?;
        held.retain(|alloc| alloc.managed_by_kubelet);
        Ok(NodeWords {
            details: details.detail,
            bind: NodeBindPolicy::of(labels, &kubelet),
            strategy: NumaStrategy::of(labels, strategy),
            numa: numa_policy(labels),
            reserved: vec![reservation.reserved_cpus, kubelet.reserved_cpus],
            system: json(annotations, names::SYSTEM_QOS)?,
            held,
            colocation: word(annotations, names::CPU_COLOCATION, &modes)?.unwrap_or_default(),
            holders_max: holders_max(annotations)?,
        })
    }
}

fn holders_max(annotations: &BTreeMap<String, String>) -> Result<u8, Unreadable> {
    let Some(text) = annotations.get(names::CPU_HOLDERS_MAX) else { return Ok(1) };
    let wrong = || Unreadable::new(names::CPU_HOLDERS_MAX, "must be a whole number from 1 to 255");
    text.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(annotations: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap()
    }

    #[test]
    fn what_a_pod_asks_is_read_and_empty_words_are_none() {
        let text = r#"{"preferredCPUBindPolicy":"SpreadByPCPUs","requiredCPUBindPolicy":"","preferredCPUExclusivePolicy":"PCPULevel"}"#;
        let spec = ResourceSpec::of(&pod(json!({names::RESOURCE_SPEC: text}))).unwrap();
        assert_eq!(spec.preferred_bind, Some(BindPolicy::SpreadByPCPUs));
        assert_eq!((spec.required_bind, spec.preferred_exclusive), (None, Some(ExclusivePolicy::PCPULevel)));
        assert!(
            ResourceSpec::of(&pod(json!({names::RESOURCE_SPEC: r#"{"preferredCPUBindPolicy":"Odd"}"#})))
                .is_err()
        );
        let numa = r#"{"numaTopologyPolicy":"SingleNUMANode","singleNUMANodeExclusive":"Preferred"}"#;
        let numa = NumaSpec::of(&pod(json!({names::NUMA_TOPOLOGY_SPEC: numa}))).unwrap();
        assert_eq!(numa.policy, Some(NumaPolicy::SingleNUMANode));
        assert_eq!(numa.exclusive, Some(NumaExclusive::Preferred));
    }

    #[test]
    fn cpus_are_bound_for_labelled_production_only() {
        let asks = |qos: &str, priority: i32| {
            let pod: Pod = serde_json::from_value(
                json!({"metadata": {"labels": {"koordinator.sh/qosClass": qos}}, "spec": {"priority": priority}}),
            )
            .unwrap();
            asks_for_cpus(&pod, &ResourceSpec::default())
        };
        assert!(asks("LSR", 9500) && asks("LSE", 9999));
        assert!(!asks("LS", 9500) && !asks("LSR", 5500) && !asks("", 9500));
    }

    #[test]
    fn a_node_speaks_through_labels_annotations_and_its_topology() {
        let node: Node = serde_json::from_value(json!({"metadata": {
            "labels": {names::NUMA_STRATEGY: "MostAllocated", names::NUMA_POLICY: "Restricted"},
            "annotations": {
                names::NODE_RESERVATION: r#"{"reservedCPUs":"0-1"}"#,
                names::SYSTEM_QOS: r#"{"cpuset":"2"}"#,
                names::CPU_COLOCATION: "OneThread",
                names::CPU_HOLDERS_MAX: "2",
            },
        }}))
        .unwrap();
        let topology = BTreeMap::from([
            (
                names::CPU_TOPOLOGY.to_owned(),
                r#"{"detail":[{"id":0,"core":0,"socket":0,"node":0}]}"#.to_owned(),
            ),
            (
                names::KUBELET_CPU_POLICY.to_owned(),
                r#"{"policy":"static","options":{"full-pcpus-only":"true"},"reservedCPUs":"3"}"#.to_owned(),
            ),
            (
                names::POD_CPU_ALLOCS.to_owned(),
                r#"[{"uid":"a","cpuset":"4","managedByKubelet":true},{"uid":"b","cpuset":"5"}]"#.to_owned(),
            ),
        ]);
        let words = NodeWords::read(&node, &topology, NumaStrategy::LeastAllocated).unwrap();
        assert_eq!(
            (words.bind, words.strategy),
            (NodeBindPolicy::FullPCPUsOnly, NumaStrategy::MostAllocated)
        );
        assert_eq!((words.numa, words.colocation), (Some(NumaPolicy::Restricted), Colocation::OneThread));
        assert_eq!(
            (words.reserved.as_slice(), words.holders_max),
            (&["0-1".to_owned(), "3".to_owned()][..], 2)
        );
        assert!(words.system.is_exclusive());
        assert_eq!(words.held.len(), 1, "what the scheduler gave is read from the pods");
    }
}
