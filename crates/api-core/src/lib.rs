//! Thin typed views of the built-in kinds: the fields that thinkers, the scheduler and nodes read.
//!
//! Views are partial. They are read from the wire and never written back: writes are patches or creations.
//! What is absent: validation, defaults (the API server's work) and every field nobody here reads.

mod apps;
mod core;
pub mod drain;
pub mod lost;
mod pod;
mod policy;
mod statefulset;

pub use apps::{
    ControllerRevision, Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSet,
    ReplicaSetSpec, ReplicaSetStatus, RollingUpdateDeployment,
};
pub use core::{
    ConfigMap, EndpointSlice, Endpoints, Lease, LeaseSpec, Namespace, NamespaceSpec, NamespaceStatus, Node,
    NodeSpec, NodeStatus, PersistentVolumeClaim, Service, ServiceAccount, ServicePort, ServiceSpec, Taint,
};
pub use pod::{
    Affinity, Container, ContainerPort, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, EnvVar, ExecAction, HttpGetAction, NodeAffinity, NodeSelector,
    NodeSelectorTerm, Pod, PodAffinity, PodAffinityTerm, PodIp, PodReadinessGate, PodSchedulingGroup,
    PodSpec, PodStatus, PodTemplateSpec, PreferredSchedulingTerm, Probe, ResourceRequirements,
    TcpSocketAction, Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
pub use policy::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
pub use statefulset::{StatefulSet, StatefulSetSpec};
