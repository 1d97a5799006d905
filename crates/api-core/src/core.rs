//! Nodes, namespaces, services and other kinds outside apps.

use std::collections::BTreeMap;

use api_meta::{Condition, Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::Time;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: NodeSpec,
    /// Observed state.
    pub status: NodeStatus,
}

impl Object for Node {
    const RESOURCE: Resource = Resource::cluster("", "v1", "nodes", "Node");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// Desired state of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// Cordoned.
    pub unschedulable: bool,
    /// Taints.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub taints: Vec<Taint>,
    /// Addresses of its pods.
    #[serde(rename = "podCIDR", skip_serializing_if = "String::is_empty")]
    pub pod_cidr: String,
    /// Identity at the provider.
    #[serde(rename = "providerID", skip_serializing_if = "String::is_empty")]
    pub provider_id: String,
}

/// A taint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    /// Key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub effect: String,
    /// When it was put on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_added: Option<Time>,
}

/// Observed state of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// All it has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub capacity: BTreeMap<String, Value>,
    /// What pods may use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub allocatable: BTreeMap<String, Value>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub conditions: Vec<Condition>,
    /// Addresses, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub addresses: Vec<Value>,
    /// Images it holds, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub images: Vec<Value>,
    /// Versions, as on the wire.
    pub node_info: Value,
    /// Unused by Kubernetes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: NamespaceSpec,
    /// Observed state.
    pub status: NamespaceStatus,
}

impl Object for Namespace {
    const RESOURCE: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// Desired state of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceSpec {
    /// Who must act before it may go.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub finalizers: Vec<String>,
}

/// Observed state of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub conditions: Vec<Condition>,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: ServiceSpec,
}

impl Object for Service {
    const RESOURCE: Resource = Resource::namespaced("", "v1", "services", "Service");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// Desired state of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Its pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub selector: BTreeMap<String, String>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub ports: Vec<ServicePort>,
    /// Address; `None` when headless.
    #[serde(rename = "clusterIP", skip_serializing_if = "String::is_empty")]
    pub cluster_ip: String,
    /// Addresses.
    #[serde(
        rename = "clusterIPs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::pod::null_is_default"
    )]
    pub cluster_ips: Vec<String>,
    /// `ClusterIP`, `NodePort`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub r#type: String,
    /// Unready pods are served too.
    pub publish_not_ready_addresses: bool,
    /// `None` or `ClientIP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session_affinity: String,
    /// `IPv4`, `IPv6`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub ip_families: Vec<String>,
    /// `Cluster` or `Local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_traffic_policy: Option<String>,
    /// Preference for close endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<String>,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Number at the service.
    pub port: i32,
    /// Number or name at the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<Value>,
    /// Number at nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_port: Option<i32>,
    /// Protocol inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// Part of the endpoints of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address_type: String,
    /// Endpoints, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub endpoints: Vec<Value>,
    /// Ports, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub ports: Vec<Value>,
}

impl Object for EndpointSlice {
    const RESOURCE: Resource =
        Resource::namespaced("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// The endpoints of a service in the older form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoints {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Addresses by ports, as on the wire.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub subsets: Vec<Value>,
}

impl Object for Endpoints {
    const RESOURCE: Resource = Resource::namespaced("", "v1", "endpoints", "Endpoints");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// A lease: heartbeats and leadership.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lease {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Holder and times.
    pub spec: LeaseSpec,
}

impl Object for Lease {
    const RESOURCE: Resource = Resource::namespaced("coordination.k8s.io", "v1", "leases", "Lease");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// Holder and times of a lease.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// Holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_identity: Option<String>,
    /// Validity after a renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_duration_seconds: Option<i32>,
    /// When the holder took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acquire_time: Option<Time>,
    /// Last renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_time: Option<Time>,
    /// Changes of holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_transitions: Option<i32>,
}

/// A claim of storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaim {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state, as on the wire.
    pub spec: Value,
    /// Observed state, as on the wire.
    pub status: Value,
}

impl Object for PersistentVolumeClaim {
    const RESOURCE: Resource =
        Resource::namespaced("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// An identity for pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccount {
    /// Metadata.
    pub metadata: ObjectMeta,
}

impl Object for ServiceAccount {
    const RESOURCE: Resource = Resource::namespaced("", "v1", "serviceaccounts", "ServiceAccount");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// Named texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Texts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub data: BTreeMap<String, String>,
}

impl Object for ConfigMap {
    const RESOURCE: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}
