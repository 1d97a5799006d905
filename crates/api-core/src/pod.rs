//! Pods and their templates (core/v1).

use std::collections::BTreeMap;

use api_meta::{Condition, LabelSelector, MatchExpression, Object, ObjectMeta, Quantity, Resource};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use stdx::Time;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: PodSpec,
    /// Observed state.
    pub status: PodStatus,
}

impl Object for Pod {
    const RESOURCE: Resource = Resource::namespaced("", "v1", "pods", "Pod");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// What a workload makes pods from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplateSpec {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state of its pods.
    pub spec: PodSpec,
}

/// Desired state of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Node it is bound to; empty while unscheduled.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// Who schedules it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheduler_name: String,
    /// Containers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub containers: Vec<Container>,
    /// Containers that run before the others; those with restartPolicy Always keep running.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub init_containers: Vec<Container>,
    /// Volumes, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub volumes: Vec<Value>,
    /// Labels the node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub node_selector: BTreeMap<String, String>,
    /// Attraction and repulsion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Taints it accepts.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub tolerations: Vec<Toleration>,
    /// How it spreads.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Further conditions of readiness.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub readiness_gates: Vec<PodReadinessGate>,
    /// While there are any, it is not scheduled.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub scheduling_gates: Vec<Value>,
    /// The group it is scheduled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduling_group: Option<PodSchedulingGroup>,
    /// `Always`, `OnFailure` or `Never`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub restart_policy: String,
    /// Seconds between TERM and KILL; 30 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    /// Seconds it may be active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// Priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Name of its priority.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub priority_class_name: String,
    /// `Never` or `PreemptLowerPriority`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preemption_policy: Option<String>,
    /// Uses the network of its node.
    pub host_network: bool,
    /// Host name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Subdomain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subdomain: String,
    /// Identity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// Resources of the sandbox itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub overhead: BTreeMap<String, String>,
    /// Resources of the whole pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

/// The group a pod is scheduled with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSchedulingGroup {
    /// Its PodGroup, in the pod's namespace.
    pub pod_group_name: String,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Name, unique in the pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Entry point; the image's own when empty.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub command: Vec<String>,
    /// Arguments; the image's own when both are empty.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub args: Vec<String>,
    /// Working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Variables.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub env: Vec<EnvVar>,
    /// Variables from elsewhere, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub env_from: Vec<Value>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub ports: Vec<ContainerPort>,
    /// Requests and limits.
    pub resources: ResourceRequirements,
    /// Restarted when it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// Not ready while it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// The others wait until it has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// Hooks, as on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Value>,
    /// Mounts, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub volume_mounts: Vec<Value>,
    /// `Always` makes an init container a sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// When to pull.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_pull_policy: String,
    /// File of the last words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub termination_message_path: String,
    /// What a resize restarts.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub resize_policy: Vec<Value>,
}

/// A variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Literal value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Source, as on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<Value>,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Number.
    pub container_port: i32,
    /// Number on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<i32>,
    /// Address on the node.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
}

/// Requests and limits, as quantities in text form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRequirements {
    /// What is set aside.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub requests: BTreeMap<String, Value>,
    /// What may be used.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub limits: BTreeMap<String, Value>,
    /// Dynamic resources, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub claims: Vec<Value>,
}

/// A probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// Success is 200-399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetAction>,
    /// Success is a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocketAction>,
    /// Success is exit code 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// gRPC health, as on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Value>,
    /// Wait before the first; 0 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<i32>,
    /// Time between; 10 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<i32>,
    /// Longest wait; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
    /// Successes in a row; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<i32>,
    /// Failures in a row; 3 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<i32>,
    /// Grace when this probe kills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
}

/// An HTTP probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpGetAction {
    /// Path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Number or name.
    pub port: Value,
    /// Host; the pod's address when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// `HTTP` or `HTTPS`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// Headers, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub http_headers: Vec<Value>,
}

/// A TCP probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpSocketAction {
    /// Number or name.
    pub port: Value,
    /// Host; the pod's address when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

/// A command probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecAction {
    /// Command and arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub command: Vec<String>,
}

/// A further condition of readiness.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodReadinessGate {
    /// Type of the condition.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition_type: String,
}

/// A taint that is accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Taint; all when empty with `Exists`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// `Equal` (also when empty), `Exists`, `Lt` or `Gt`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub operator: String,
    /// Value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Effect; all when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub effect: String,
    /// For how long a NoExecute taint is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// Attraction and repulsion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// To nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<NodeAffinity>,
    /// To pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_affinity: Option<PodAffinity>,
    /// Away from pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// Attraction to nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAffinity {
    /// Must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
    /// Should.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub preferred_during_scheduling_ignored_during_execution: Vec<PreferredSchedulingTerm>,
}

/// Alternatives of which one must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// Alternatives.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// Requirements that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// On labels.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub match_expressions: Vec<MatchExpression>,
    /// On fields: `metadata.name`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub match_fields: Vec<MatchExpression>,
}

/// A wish.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PreferredSchedulingTerm {
    /// 1 to 100.
    pub weight: i32,
    /// Requirements.
    pub preference: NodeSelectorTerm,
}

/// Attraction to, or repulsion from, pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinity {
    /// Must.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub required_during_scheduling_ignored_during_execution: Vec<PodAffinityTerm>,
    /// Should.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub preferred_during_scheduling_ignored_during_execution: Vec<WeightedPodAffinityTerm>,
}

/// A wish.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedPodAffinityTerm {
    /// 1 to 100.
    pub weight: i32,
    /// Term.
    pub pod_affinity_term: PodAffinityTerm,
}

/// Pods within a topology domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinityTerm {
    /// Which pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// In which namespaces; the pod's own when empty.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub namespaces: Vec<String>,
    /// In namespaces with which labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Node label that names the domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topology_key: String,
    /// Labels whose value must equal the pod's.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub match_label_keys: Vec<String>,
    /// Labels whose value must differ.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub mismatch_label_keys: Vec<String>,
}

/// How pods spread over domains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySpreadConstraint {
    /// Greatest difference of counts.
    pub max_skew: i32,
    /// Node label that names the domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topology_key: String,
    /// `DoNotSchedule` or `ScheduleAnyway`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub when_unsatisfiable: String,
    /// Which pods are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Fewer domains count as a minimum of 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_domains: Option<i32>,
    /// `Honor` (default) or `Ignore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity_policy: Option<String>,
    /// `Honor` or `Ignore` (default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_taints_policy: Option<String>,
    /// Labels whose value must equal the pod's.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub match_label_keys: Vec<String>,
}

/// Observed state of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub conditions: Vec<Condition>,
    /// Why it is in this phase.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where preemption made room.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nominated_node_name: String,
    /// Address.
    #[serde(rename = "podIP", skip_serializing_if = "String::is_empty")]
    pub pod_ip: String,
    /// Addresses.
    #[serde(
        rename = "podIPs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::pod::null_is_default"
    )]
    pub pod_ips: Vec<PodIp>,
    /// Address of the node.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
    /// When the node took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// Containers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub container_statuses: Vec<ContainerStatus>,
    /// Init containers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// `Guaranteed`, `Burstable` or `BestEffort`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub qos_class: String,
    /// State of a resize.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resize: String,
    /// Generation the node has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// An address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodIp {
    /// Address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
}

/// Observed state of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Now.
    pub state: ContainerState,
    /// Before the last restart.
    pub last_state: ContainerState,
    /// Passed its readiness probe.
    pub ready: bool,
    /// Restarts.
    pub restart_count: i32,
    /// Image it runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Digest of the image it runs.
    #[serde(rename = "imageID", skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// Identity of the running instance.
    #[serde(rename = "containerID", skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// Passed its startup probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<bool>,
    /// Resources in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Resources set aside.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub allocated_resources: BTreeMap<String, Value>,
}

/// One of three states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerState {
    /// Not yet running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<ContainerStateWaiting>,
    /// Running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<ContainerStateRunning>,
    /// Ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<ContainerStateTerminated>,
}

/// Why it does not run yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStateWaiting {
    /// One word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Since when it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStateRunning {
    /// Start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStateTerminated {
    /// Exit code.
    pub exit_code: i32,
    /// Signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// One word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Last words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// End.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Identity of the instance.
    #[serde(rename = "containerID", skip_serializing_if = "String::is_empty")]
    pub container_id: String,
}

/// Reads null as the empty value: clients written in Go send null for empty lists and maps.
pub(crate) fn null_is_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

impl Pod {
    /// A condition of the pod.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|c| c.r#type == kind)
    }

    /// Whether condition `Ready` is True.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|c| c.status == "True")
    }

    /// Whether it has been ready for `min_ready_seconds` and is not terminating.
    pub fn is_available(&self, min_ready_seconds: i32, now: Time) -> bool {
        if min_ready_seconds == 0 {
            return self.is_ready();
        }
        let since =
            self.condition("Ready").filter(|c| c.status == "True").and_then(|c| c.last_transition_time);
        since.is_some_and(|t| now.since(t).as_secs() >= u64::try_from(min_ready_seconds).unwrap_or(0))
    }

    /// Whether it has ended for good.
    pub fn is_finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether it counts for its workload: neither ended nor terminating.
    pub fn is_active(&self) -> bool {
        !self.is_finished() && !self.metadata.is_terminating()
    }
}

impl ResourceRequirements {
    /// The amount requested of one resource; nothing when absent or unreadable.
    pub fn request(&self, name: &str) -> Option<Quantity> {
        quantity(self.requests.get(name)?)
    }

    /// The limit of one resource; nothing when absent or unreadable.
    pub fn limit(&self, name: &str) -> Option<Quantity> {
        quantity(self.limits.get(name)?)
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(n) => n.to_string().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_unknown_fields_are_accepted() {
        let text = r#"{"metadata":{"name":"a","labels":null},"spec":{"containers":null,"novel":1},"status":{"podIP":"1.2.3.4"}}"#;
        let pod: Pod = serde_json::from_str(text).unwrap();
        assert_eq!((pod.metadata.name.as_str(), pod.status.pod_ip.as_str()), ("a", "1.2.3.4"));
    }

    #[test]
    fn available_needs_time_in_readiness() {
        let ready = Condition {
            r#type: "Ready".into(),
            status: "True".into(),
            last_transition_time: Some(Time::from_secs(100)),
            ..Condition::default()
        };
        let pod =
            Pod { status: PodStatus { conditions: vec![ready], ..PodStatus::default() }, ..Pod::default() };
        assert!(pod.is_available(0, Time::from_secs(100)));
        assert!(!pod.is_available(10, Time::from_secs(109)));
        assert!(pod.is_available(10, Time::from_secs(110)));
    }
}
