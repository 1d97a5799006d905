//! Disruption budgets (policy/v1).

use std::collections::BTreeMap;

use api_meta::{Condition, IntOrPercent, LabelSelector, Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use stdx::Time;

/// How many pods of an application may be away at once by choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudget {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: PodDisruptionBudgetSpec,
    /// Observed state.
    pub status: PodDisruptionBudgetStatus,
}

impl Object for PodDisruptionBudget {
    const RESOURCE: Resource =
        Resource::namespaced("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// Desired state of a disruption budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudgetSpec {
    /// Its pods: all of the namespace when it is empty, none when it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Fewest healthy pods; shares are rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrPercent>,
    /// Most pods away; shares are rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
}

/// Observed state of a disruption budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudgetStatus {
    /// Generation seen.
    pub observed_generation: i64,
    /// Pods whose eviction was granted and that have not gone yet, by name, with the time of the grant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub disrupted_pods: BTreeMap<String, Time>,
    /// Evictions that may be granted now.
    pub disruptions_allowed: i32,
    /// Healthy pods.
    pub current_healthy: i32,
    /// Fewest healthy pods, as a number.
    pub desired_healthy: i32,
    /// Pods counted.
    pub expected_pods: i32,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::pod::null_is_default")]
    pub conditions: Vec<Condition>,
}
