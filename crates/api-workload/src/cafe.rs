//! The typed view of a CafeDeployment: pods in several cells, released by groups over all of them.

use std::collections::BTreeMap;

use api_meta::{Cause, Condition, IntOrPercent, LabelSelector, Object, ObjectMeta, Resource, Round};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::Time;

use crate::cafe_rules::{default_cafedeployment, validate_cafedeployment};
use crate::names::cafe;

/// A CafeDeployment. The desired state is kept as it came; [`CafeDeployment::read_spec`] gives it in whole and checked form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CafeDeployment {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state, as on the wire.
    pub spec: Value,
    /// Observed state.
    pub status: CafeDeploymentStatus,
}

impl Object for CafeDeployment {
    const RESOURCE: Resource =
        Resource::namespaced(cafe::GROUP, "v1alpha1", "cafedeployments", "CafeDeployment");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl CafeDeployment {
    /// The desired state with all defaults, or everything that is wrong with it.
    pub fn read_spec(&self) -> Result<CafeDeploymentSpec, Vec<Cause>> {
        crate::cloneset::read_spec(
            &CafeDeployment::RESOURCE,
            &self.metadata,
            &self.spec,
            default_cafedeployment,
            validate_cafedeployment,
        )
    }
}

/// Desired state, defaults applied.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CafeDeploymentSpec {
    /// Pods wanted over all cells.
    pub replicas: i32,
    /// Its pods; immutable.
    pub selector: LabelSelector,
    /// Pod template, whole.
    pub template: Value,
    /// Unused revisions kept.
    pub history_limit: i32,
    /// Kind of the pod sets; immutable.
    pub pod_set_type: PodSetType,
    /// Governing Service of StatefulSets.
    pub service_name: String,
    /// Claims of StatefulSets, whole.
    pub volume_claim_templates: Vec<Value>,
    /// Traffic components that must serve a pod before it counts as updated; those that ever protected it when empty.
    pub traffic: Vec<String>,
    /// How it is released.
    pub strategy: CafeStrategy,
    /// Where its pods are.
    pub topology: Topology,
}

impl CafeDeploymentSpec {
    /// Pods of a group over all cells.
    pub fn batch_size(&self) -> i32 {
        let quarter = IntOrPercent::Percent(25).of(self.replicas, Round::Up);
        self.strategy.batch_size.unwrap_or(quarter).max(1)
    }
}

/// Kind of the pod sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PodSetType {
    /// `InPlaceSet` of this group.
    #[default]
    InPlaceSet,
    /// OpenKruise's.
    CloneSet,
    /// Kubernetes', one for each cell and revision.
    ReplicaSet,
    /// Kubernetes'.
    StatefulSet,
}

/// How a CafeDeployment is released.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CafeStrategy {
    /// Whether a beta group comes first.
    pub upgrade_type: UpgradeType,
    /// Pods of a group over all cells; see [`CafeDeploymentSpec::batch_size`].
    pub batch_size: Option<i32>,
    /// A person confirms each group but the last.
    pub need_waiting_for_confirm: bool,
    /// Time in readiness before a pod is available.
    pub min_ready_seconds: i32,
    /// No further pod is changed.
    pub pause: bool,
}

/// Whether a beta group comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpgradeType {
    /// One pod of each cell comes first.
    #[default]
    Beta,
    /// All groups are cut alike.
    Batch,
}

/// Where the pods of a CafeDeployment are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Topology {
    /// What draws a cell.
    pub unit_type: UnitType,
    /// The cells.
    pub values: Vec<String>,
    /// Fixed shares by cell; shares in percent round down.
    pub unit_replicas: BTreeMap<String, IntOrPercent>,
    /// What becomes of pods that their cell has no room for.
    pub auto_reschedule: AutoReschedule,
}

/// What draws a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UnitType {
    /// The node label `cafe.sofastack.io/cell`.
    #[default]
    Cell,
    /// The node label `cafe.sofastack.io/zone`, or Kubernetes' own where that is absent.
    Zone,
    /// Nothing: pods go anywhere.
    None,
}

/// What becomes of pods that their cell has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoReschedule {
    /// Their quota moves to another cell.
    pub enable: bool,
    /// Seconds of waiting before it moves.
    pub initial_delay_seconds: i32,
}

/// Observed state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CafeDeploymentStatus {
    /// Generation seen.
    pub observed_generation: i64,
    /// The revision all pods had last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// The newest revision.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub update_revision: String,
    /// Hash collisions seen.
    pub collision_count: i32,
    /// Pods.
    pub replicas: i32,
    /// Ready pods.
    pub ready_replicas: i32,
    /// Available pods, back in traffic.
    pub available_replicas: i32,
    /// Pods at the update revision.
    pub updated_replicas: i32,
    /// Of these, ready.
    pub updated_ready_replicas: i32,
    /// Of these, available.
    pub updated_available_replicas: i32,
    /// Its selector in text form, for the scale subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Where it stands.
    pub phase: CafePhase,
    /// Groups started, of how many: `1/3`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// By cell, in the order of `spec.topology.values`; cells that are being left come last.
    pub cells: Vec<CellStatus>,
    /// The groups of the last release, in order.
    pub groups: Vec<GroupStatus>,
    /// What the groups were cut for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseStatus>,
    /// Quota moved away from full cells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedQuota>,
    /// What the release waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// Where a CafeDeployment stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CafePhase {
    /// All pods are as the spec says.
    #[default]
    Stable,
    /// A group is under way.
    RollingOut,
    /// A group is done; a person must confirm it.
    WaitingForConfirmation,
    /// `spec.strategy.pause` holds it.
    Paused,
    /// A group under way goes back to an older revision.
    RollingBack,
    /// It stopped because of a failure.
    Held,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CellStatus {
    /// Cell.
    pub name: String,
    /// The pod set that keeps its pods; for ReplicaSets the newest one.
    pub pod_set: String,
    /// Pods wanted here.
    pub replicas: i32,
    /// Pods.
    pub current: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods, back in traffic.
    pub available: i32,
    /// Pods at the update revision.
    pub updated: i32,
    /// Of these, available.
    pub updated_available: i32,
    /// Pods that stay available in every step.
    pub min_available: i32,
    /// None of its nodes is ready: nobody waits for it.
    pub lost: bool,
}

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupStatus {
    /// Number, from 0.
    pub index: i32,
    /// `beta`, `group-1`, …
    pub name: String,
    /// Its pods by cell.
    pub cells: Vec<GroupCell>,
    /// Where it stands.
    pub phase: GroupPhase,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When its pods were in service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Of its pods, how many are at the update revision.
    pub updated: i32,
    /// Of these, how many are in service.
    pub ready: i32,
}

/// Pods of a group in one cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupCell {
    /// Cell.
    pub name: String,
    /// Pods.
    pub pods: i32,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GroupPhase {
    /// Not started.
    #[default]
    Planned,
    /// Its pods are being changed.
    Running,
    /// Its pods are in service; a person must confirm that.
    WaitingForConfirmation,
    /// Its pods are in service, and confirmed where that is asked for.
    Done,
}

/// What the groups were cut for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseStatus {
    /// Counts releases.
    pub number: i64,
    /// Stands for revision and shares.
    pub what: String,
    /// Stands for the strategy.
    pub how: String,
    /// It goes back to an older revision.
    pub rollback: bool,
}

/// Quota that moved away from a full cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MovedQuota {
    /// Full cell.
    pub from: String,
    /// Cell that had room.
    pub to: String,
    /// Pods.
    pub pods: i32,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// What a release waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaitsFor {
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_minimal_cafedeployment_gets_careful_defaults() {
        let cafe = CafeDeployment {
            spec: json!({
                "replicas": 10,
                "selector": {"matchLabels": {"app": "a"}},
                "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "m", "image": "x:1"}]}},
                "topology": {"values": ["CellA", "CellB"]},
            }),
            ..CafeDeployment::default()
        };
        let spec = cafe.read_spec().unwrap();
        assert_eq!((spec.pod_set_type, spec.history_limit), (PodSetType::InPlaceSet, 20));
        assert_eq!((spec.strategy.upgrade_type, spec.batch_size()), (UpgradeType::Beta, 3));
        assert_eq!(spec.topology.unit_type, UnitType::Cell);
        assert!(!spec.strategy.need_waiting_for_confirm && !spec.topology.auto_reschedule.enable);
    }
}
