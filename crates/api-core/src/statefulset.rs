//! StatefulSets (apps/v1), as far as budgets ask about them.

use api_meta::{LabelSelector, Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};

/// A StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSet {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: StatefulSetSpec,
}

impl Object for StatefulSet {
    const RESOURCE: Resource = Resource::namespaced("apps", "v1", "statefulsets", "StatefulSet");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// Desired state of a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetSpec {
    /// Pods wanted; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Its pods.
    pub selector: LabelSelector,
}
