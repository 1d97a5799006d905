//! The typed view of a CloneSet in its stored version.

use std::collections::BTreeMap;

use api_meta::{Cause, Condition, IntOrPercent, LabelSelector, Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{default_cloneset, validate_create};

/// A CloneSet (v1beta1). The desired state is kept as it came, because a cluster without our admission may hold
/// anything; [`CloneSet::read_spec`] gives it in whole and checked form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CloneSet {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state, as on the wire.
    pub spec: Value,
    /// Observed state.
    pub status: CloneSetStatus,
}

impl Object for CloneSet {
    const RESOURCE: Resource = Resource::namespaced("apps.kruise.io", "v1beta1", "clonesets", "CloneSet");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl CloneSet {
    /// The desired state with all defaults, or everything that is wrong with it.
    pub fn read_spec(&self) -> Result<CloneSetSpec, Vec<Cause>> {
        read_spec(&CloneSet::RESOURCE, &self.metadata, &self.spec, default_cloneset, validate_create)
    }
}

/// A desired state as it came, with defaults, checked and typed; or everything that is wrong with it.
pub(crate) fn read_spec<T: serde::de::DeserializeOwned>(
    resource: &Resource,
    meta: &ObjectMeta,
    spec: &Value,
    default: fn(&mut Value),
    validate: fn(&Value) -> Vec<Cause>,
) -> Result<T, Vec<Cause>> {
    let mut whole = serde_json::json!({
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "metadata": {"name": meta.name},
        "spec": spec,
    });
    without_nulls(&mut whole);
    default(&mut whole);
    let causes = validate(&whole);
    if !causes.is_empty() {
        return Err(causes);
    }
    serde_json::from_value(whole["spec"].take())
        .map_err(|e| vec![crate::validate::cause("FieldValueInvalid", "spec", e.to_string())])
}

/// Drops null members: clients written in Go send them for what is unset.
pub(crate) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Desired state, defaults applied.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CloneSetSpec {
    /// Pods wanted.
    pub replicas: i32,
    /// Its pods; immutable.
    pub selector: LabelSelector,
    /// Pod template, whole.
    pub template: Value,
    /// Claims made for each pod, whole.
    pub volume_claim_templates: Vec<Value>,
    /// How it scales.
    pub scale_strategy: ScaleStrategy,
    /// How it updates.
    pub update_strategy: UpdateStrategy,
    /// Unused revisions kept.
    pub revision_history_limit: i32,
    /// Time in readiness before a pod is available.
    pub min_ready_seconds: i32,
    /// Hooks.
    pub lifecycle: Lifecycle,
    /// Time without progress before the Progressing condition says so; off when absent.
    pub progress_deadline_seconds: Option<i32>,
}

/// How a CloneSet scales.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleStrategy {
    /// Pods to delete, by name.
    pub pods_to_delete: Vec<String>,
    /// Unavailable pods at which creation pauses; unlimited when absent. Shares round up.
    pub max_unavailable: Option<IntOrPercent>,
    /// Claims of a vanished pod are given to the next one.
    #[serde(rename = "enablePVCReuse")]
    pub enable_pvc_reuse: bool,
    /// Pods that wait for their preDelete hook no longer count.
    pub exclude_preparing_delete: bool,
}

/// How a CloneSet updates.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    /// By itself, or only when pods are deleted.
    pub r#type: UpdateType,
    /// Details.
    pub rolling_update: RollingUpdate,
}

/// Who starts the update of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum UpdateType {
    /// The controller.
    #[default]
    RollingUpdate,
    /// Whoever deletes the pod.
    OnDelete,
}

/// What is done to a pod that is updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum PodUpdatePolicy {
    /// It is deleted and made anew.
    #[default]
    ReCreate,
    /// It is changed where it is when the change allows that, and made anew otherwise.
    InPlaceIfPossible,
    /// It is changed where it is, or not at all.
    InPlaceOnly,
}

/// Details of an update.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    /// What is done to each pod.
    pub pod_update_policy: PodUpdatePolicy,
    /// Pods kept at the old revision. Shares round up.
    pub partition: Option<IntOrPercent>,
    /// Pods that may be unavailable. Shares round up without surge, down with it.
    pub max_unavailable: Option<IntOrPercent>,
    /// Pods above replicas. Shares round up.
    pub max_surge: Option<IntOrPercent>,
    /// No update is started.
    pub paused: bool,
    /// Which pods come first.
    pub priority_strategy: PriorityStrategy,
    /// Which pods are spread over the whole update.
    pub scatter_strategy: Vec<ScatterTerm>,
    /// Details of changing pods where they are.
    pub in_place_update_strategy: InPlaceUpdateStrategy,
}

/// Which pods are updated first: by weight or by order, not both.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PriorityStrategy {
    /// By the last number in the value of the first label found, greatest first.
    pub order_priority: Vec<OrderPriority>,
    /// By the sum of weights, greatest first.
    pub weight_priority: Vec<WeightPriority>,
}

/// One label of an order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrderPriority {
    /// Label.
    pub ordered_key: String,
}

/// One weight.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightPriority {
    /// 0 to 100.
    pub weight: i32,
    /// Which pods it is for.
    pub match_selector: LabelSelector,
}

/// Pods with this label are spread evenly over the update.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScatterTerm {
    /// Label.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Details of changing pods where they are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InPlaceUpdateStrategy {
    /// Seconds between unready and the change.
    pub grace_period_seconds: i32,
}

/// Hooks in the life of a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// Put on by the user before a new pod counts as available.
    pub pre_normal: Option<LifecycleHook>,
    /// Taken off by the user before a pod is deleted.
    pub pre_delete: Option<LifecycleHook>,
    /// Taken off by the user before a pod is changed in place, put on again after it.
    pub in_place_update: Option<LifecycleHook>,
}

/// One hook: labels and finalizers on the pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LifecycleHook {
    /// Labels.
    pub labels_handler: BTreeMap<String, String>,
    /// Finalizers.
    pub finalizers_handler: Vec<String>,
    /// The pod is unready while the hook is awaited.
    pub mark_pod_not_ready: bool,
}

/// Observed state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CloneSetStatus {
    /// Generation seen.
    pub observed_generation: i64,
    /// Pods.
    pub replicas: i32,
    /// Ready pods.
    pub ready_replicas: i32,
    /// Available pods.
    pub available_replicas: i32,
    /// Pods at the update revision.
    pub updated_replicas: i32,
    /// Of these, ready.
    pub updated_ready_replicas: i32,
    /// Of these, available.
    pub updated_available_replicas: i32,
    /// Pods that shall be at the update revision: replicas minus partition.
    pub expected_updated_replicas: i32,
    /// The newest revision.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub update_revision: String,
    /// The revision all pods had last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// Hash collisions seen.
    pub collision_count: i32,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Its selector in text form, for the scale subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label_selector: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spec: Value) -> CloneSet {
        CloneSet { spec, ..CloneSet::default() }
    }

    #[test]
    fn a_minimal_spec_gets_openkruise_defaults() {
        let spec = set(serde_json::json!({
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}, "creationTimestamp": null},
                         "spec": {"containers": [{"name": "main", "image": "nginx"}]}},
        }))
        .read_spec()
        .unwrap();
        let update = &spec.update_strategy;
        assert_eq!((spec.replicas, spec.revision_history_limit, spec.min_ready_seconds), (1, 10, 0));
        assert_eq!((update.r#type, update.rolling_update.pod_update_policy), Default::default());
        assert_eq!(update.rolling_update.max_unavailable, Some(IntOrPercent::Percent(20)));
        assert_eq!(update.rolling_update.max_surge, Some(IntOrPercent::Int(0)));
        assert!(!spec.scale_strategy.enable_pvc_reuse);
    }

    #[test]
    fn a_scaffold_spec_is_refused_by_field() {
        let causes = set(serde_json::json!({"foo": "bar"})).read_spec().unwrap_err();
        let fields: Vec<_> = causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(fields, ["spec.foo", "spec.selector", "spec.template"]);
    }
}
