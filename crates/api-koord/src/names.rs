//! Every label, annotation and resource name, once. Koordinator's are under its domains, ours under `knarr.dev/`.

/// Pod label: the quality of service, see [`crate::Qos`].
pub const QOS: &str = "koordinator.sh/qosClass";
/// Pod label: the tier, before the numeric priority; see [`crate::Tier`].
pub const PRIORITY_CLASS: &str = "koordinator.sh/priority-class";
/// Pod label: order within the tier, a whole number.
pub const SUB_PRIORITY: &str = "koordinator.sh/priority";

/// Thousandths of a CPU for batch pods.
pub const BATCH_CPU: &str = "kubernetes.io/batch-cpu";
/// Bytes for batch pods.
pub const BATCH_MEMORY: &str = "kubernetes.io/batch-memory";
/// Thousandths of a CPU for pods of the middle tier.
pub const MID_CPU: &str = "kubernetes.io/mid-cpu";
/// Bytes for pods of the middle tier.
pub const MID_MEMORY: &str = "kubernetes.io/mid-memory";
/// Pod annotation: what each container asks of tier resources, for those who cannot see the pod.
pub const EXTENDED_RESOURCE_SPEC: &str = "node.koordinator.sh/extended-resource-spec";

/// Pod annotation: how CPUs shall be bound.
pub const RESOURCE_SPEC: &str = "scheduling.koordinator.sh/resource-spec";
/// Pod annotation: the CPUs that were given.
pub const RESOURCE_STATUS: &str = "scheduling.koordinator.sh/resource-status";
/// Pod annotation: what NUMA topology the pod asks for.
pub const NUMA_TOPOLOGY_SPEC: &str = "scheduling.koordinator.sh/numa-topology-spec";
/// Node label: how CPUs are bound here, whatever pods prefer.
pub const NODE_BIND_POLICY: &str = "node.koordinator.sh/cpu-bind-policy";
/// Node label: which NUMA node is filled first.
pub const NUMA_STRATEGY: &str = "node.koordinator.sh/numa-allocate-strategy";
/// Node label: how allocations follow NUMA nodes.
pub const NUMA_POLICY: &str = "node.koordinator.sh/numa-topology-policy";
/// Annotation of a NodeResourceTopology: its CPUs.
pub const CPU_TOPOLOGY: &str = "node.koordinator.sh/cpu-topology";
/// Annotation of a NodeResourceTopology: CPUs that others gave to pods.
pub const POD_CPU_ALLOCS: &str = "node.koordinator.sh/pod-cpu-allocs";
/// Annotation of a NodeResourceTopology: pools of pods without CPUs of their own.
pub const CPU_SHARED_POOLS: &str = "node.koordinator.sh/cpu-shared-pools";
/// Annotation of a NodeResourceTopology: pools of best-effort pods.
pub const BE_CPU_SHARED_POOLS: &str = "node.koordinator.sh/be-cpu-shared-pools";
/// Annotation of a NodeResourceTopology: what the kubelet's CPU manager does.
pub const KUBELET_CPU_POLICY: &str = "kubelet.koordinator.sh/cpu-manager-policy";
/// Node annotation: CPUs and resources kept from pods.
pub const NODE_RESERVATION: &str = "node.koordinator.sh/reservation";
/// Node annotation: how many times its resources are counted.
pub const AMPLIFICATION: &str = "node.koordinator.sh/resource-amplification-ratio";
/// Node annotation: CPUs of system daemons.
pub const SYSTEM_QOS: &str = "node.koordinator.sh/system-qos-resource";

/// Pod annotation (ours): the application whose threads are kept apart; default: label `app.kubernetes.io/name`.
pub const CPU_APPLICATION: &str = "knarr.dev/cpu-application";
/// Label that names the application where [`CPU_APPLICATION`] is absent.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// Pod annotation (ours): the class of the application, such as `core`.
pub const CPU_CLASS: &str = "knarr.dev/cpu-class";
/// Pod annotation (ours): `Allow`, `Avoid` or `Forbid` two threads of the application on one physical core.
pub const CPU_STACKING: &str = "knarr.dev/cpu-stacking";
/// Pod annotation (ours): `Any` or `One`: how many sockets its CPUs may span.
pub const CPU_SOCKETS: &str = "knarr.dev/cpu-sockets";
/// Pod annotation (ours): `None` or `Cores`: whether whole physical cores are its own.
pub const CPU_EXCLUSIVE: &str = "knarr.dev/cpu-exclusive";
/// Pod annotation (ours): applications, and classes as `class:NAME`, with which it shares no physical core; comma-separated.
pub const CPU_EXCLUDES: &str = "knarr.dev/cpu-excludes";
/// Pod annotation (ours): `Busy` or `Idle`, when that is known better than it can be measured.
pub const CPU_LOAD: &str = "knarr.dev/cpu-load";
/// Node annotation (ours): `AllThreads` (default) or `OneThread`: whether online pods leave every second thread to best effort.
pub const CPU_COLOCATION: &str = "knarr.dev/cpu-colocation";
/// Node annotation (ours): how many pods may hold one logical CPU; 1 when absent.
pub const CPU_HOLDERS_MAX: &str = "knarr.dev/cpu-holders-max";

/// Pod annotation (ours): what the pod strains and when, such as `cpu-heavy,peak-night`.
pub const PROFILE: &str = "knarr.dev/profile";
/// Pod annotation (ours): `Avoid` or `Forbid` pods with a word of the profile in common on its node.
pub const PROFILE_APART: &str = "knarr.dev/profile-apart";
/// Pod annotation (ours): `Shared` or `Exclusive`: whether pods of other applications may be on its node.
pub const HOST: &str = "knarr.dev/host";
/// The root of every quota tree; it has no object that counts.
pub const ROOT_QUOTA: &str = "koordinator-root-quota";
/// The quota of system pods, outside the tree.
pub const SYSTEM_QUOTA: &str = "koordinator-system-quota";
/// The quota of pods that name none, outside the tree.
pub const DEFAULT_QUOTA: &str = "koordinator-default-quota";
/// Pod label: its quota.
pub const QUOTA_NAME: &str = "quota.scheduling.koordinator.sh/name";
/// Quota label: its parent; the root when absent.
pub const QUOTA_PARENT: &str = "quota.scheduling.koordinator.sh/parent";
/// Quota label: `true` when it has quotas below it.
pub const QUOTA_IS_PARENT: &str = "quota.scheduling.koordinator.sh/is-parent";
/// Quota label: `true` at the root of a tree of its own.
pub const QUOTA_IS_ROOT: &str = "quota.scheduling.koordinator.sh/is-root";
/// Quota label: its tree.
pub const QUOTA_TREE: &str = "quota.scheduling.koordinator.sh/tree-id";
/// Quota label: `true` leaves the total of the cluster's own tree as it is, whatever this tree has.
pub const QUOTA_BESIDE_DEFAULT: &str = "quota.scheduling.koordinator.sh/ignore-default-tree";
/// Quota label: `false` keeps what it does not use from others.
pub const QUOTA_LENT: &str = "quota.scheduling.koordinator.sh/allow-lent-resource";
/// Pod label: `false` protects the pod within its quota.
pub const QUOTA_PREEMPTIBLE: &str = "quota.scheduling.koordinator.sh/preemptible";
/// Quota label: `true` waives the checks of sums of minima.
pub const QUOTA_FORCE: &str = "quota.scheduling.koordinator.sh/allow-force-update";
/// Quota annotation: weight when unused resources are shared out.
pub const QUOTA_WEIGHT: &str = "quota.scheduling.koordinator.sh/shared-weight";
/// Quota annotation: what it may use now.
pub const QUOTA_RUNTIME: &str = "quota.scheduling.koordinator.sh/runtime";
/// Quota annotation: what is asked for.
pub const QUOTA_REQUEST: &str = "quota.scheduling.koordinator.sh/request";
/// Quota annotation: what the quotas and pods below ask for.
pub const QUOTA_CHILD_REQUEST: &str = "quota.scheduling.koordinator.sh/child-request";
/// Quota annotation: what is kept for it.
pub const QUOTA_GUARANTEED: &str = "quota.scheduling.koordinator.sh/guaranteed";
/// Quota annotation: what is given to it.
pub const QUOTA_ALLOCATED: &str = "quota.scheduling.koordinator.sh/allocated";
/// Quota annotation: what a tree of its own shares out.
pub const QUOTA_TOTAL: &str = "quota.scheduling.koordinator.sh/total-resource";
/// Quota annotation: namespaces whose pods belong to it.
pub const QUOTA_NAMESPACES: &str = "quota.scheduling.koordinator.sh/namespaces";
/// Quota annotation: resources of which the maximum may not fall below what is used.
pub const QUOTA_STRICT_KEYS: &str = "quota.scheduling.koordinator.sh/max-strict-check-resource-keys";

/// Pod label: its PodGroup (scheduler-plugins).
pub const POD_GROUP: &str = "pod-group.scheduling.sigs.k8s.io";
/// Pod label: its gang, the older word.
pub const POD_GROUP_NAME: &str = "pod-group.scheduling.sigs.k8s.io/name";
/// Pod label: the gang's minimum, the older word.
pub const POD_GROUP_MIN: &str = "pod-group.scheduling.sigs.k8s.io/min-available";
/// Annotation: match policy, the other word.
pub const POD_GROUP_MATCH: &str = "pod-group.scheduling.sigs.k8s.io/match-policy";
/// Pod annotation: its gang.
pub const GANG_NAME: &str = "gang.scheduling.koordinator.sh/name";
/// Pod annotation: how many must have a place.
pub const GANG_MIN: &str = "gang.scheduling.koordinator.sh/min-available";
/// Annotation: how many there will be.
pub const GANG_TOTAL: &str = "gang.scheduling.koordinator.sh/total-number";
/// Annotation: `Strict` or `NonStrict`.
pub const GANG_MODE: &str = "gang.scheduling.koordinator.sh/mode";
/// Pod annotation: how long a place is held, such as `30s`.
pub const GANG_WAIT: &str = "gang.scheduling.koordinator.sh/waiting-time";
/// Annotation: JSON list of gangs that start together.
pub const GANG_GROUPS: &str = "gang.scheduling.koordinator.sh/groups";
/// Annotation: who counts towards the minimum.
pub const GANG_MATCH: &str = "gang.scheduling.koordinator.sh/match-policy";

/// Pod annotation: the devices that were given.
pub const DEVICE_ALLOCATED: &str = "scheduling.koordinator.sh/device-allocated";
/// Node annotation: thresholds of usage for this node alone.
pub const USAGE_THRESHOLDS: &str = "scheduling.koordinator.sh/usage-thresholds";
/// Percent of one GPU's compute; above 100 a multiple of it.
pub const GPU_CORE: &str = "koordinator.sh/gpu-core";
/// Percent of one GPU's memory; above 100 a multiple of it.
pub const GPU_MEMORY_RATIO: &str = "koordinator.sh/gpu-memory-ratio";
/// Bytes of GPU memory.
pub const GPU_MEMORY: &str = "koordinator.sh/gpu-memory";
/// Percent of one GPU, compute and memory alike.
pub const GPU: &str = "koordinator.sh/gpu";
/// Whole GPUs, as their vendor's plugin names them.
pub const NVIDIA_GPU: &str = "nvidia.com/gpu";
