//! The typed view of an InPlaceSet: pods that are changed where they are, with one knob.

use api_meta::{Cause, Condition, LabelSelector, Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::defaults::{fill, object};
use crate::names::cafe;
use crate::validate::Checks;

/// An InPlaceSet. The desired state is kept as it came; [`InPlaceSet::read_spec`] gives it in whole and checked form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InPlaceSet {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state, as on the wire.
    pub spec: Value,
    /// Observed state.
    pub status: InPlaceSetStatus,
}

impl Object for InPlaceSet {
    const RESOURCE: Resource = Resource::namespaced(cafe::GROUP, "v1alpha1", "inplacesets", "InPlaceSet");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl InPlaceSet {
    /// The desired state with all defaults, or everything that is wrong with it.
    pub fn read_spec(&self) -> Result<InPlaceSetSpec, Vec<Cause>> {
        crate::cloneset::read_spec(
            &InPlaceSet::RESOURCE,
            &self.metadata,
            &self.spec,
            default_inplaceset,
            validate_inplaceset,
        )
    }
}

/// Desired state, defaults applied.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InPlaceSetSpec {
    /// Pods wanted.
    pub replicas: i32,
    /// Its pods; immutable.
    pub selector: LabelSelector,
    /// Pod template, whole.
    pub template: Value,
    /// Time in readiness before a pod is available.
    pub min_ready_seconds: i32,
    /// How it updates.
    pub strategy: InPlaceSetStrategy,
}

/// How an InPlaceSet updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InPlaceSetStrategy {
    /// Pods that keep the old revision.
    pub partition: i32,
}

/// Observed state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InPlaceSetStatus {
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
    /// The revision all pods had last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// The newest revision.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub update_revision: String,
    /// Hash collisions seen.
    pub collision_count: i32,
    /// Its selector in text form, for the scale subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// Fills in the defaults of an InPlaceSet.
pub fn default_inplaceset(value: &mut Value) {
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return };
    fill(spec, "replicas", json!(1));
    fill(spec, "minReadySeconds", json!(0));
    if let Some(strategy) = object(spec, "strategy") {
        fill(strategy, "partition", json!(0));
    }
}

const SPEC_FIELDS: [&str; 5] = ["replicas", "selector", "template", "minReadySeconds", "strategy"];

/// Everything wrong with an InPlaceSet, defaults applied.
pub fn validate_inplaceset(value: &Value) -> Vec<Cause> {
    let mut checks = Checks::of("inplaceset");
    checks.known_fields(value, &SPEC_FIELDS);
    let spec = &value["spec"];
    checks.non_negative("spec.replicas", &spec["replicas"]);
    checks.selector(spec);
    checks.template(&spec["template"]);
    checks.non_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    checks.non_negative("spec.strategy.partition", &spec["strategy"]["partition"]);
    checks.done()
}

/// Everything wrong with a changed InPlaceSet; both with defaults applied.
pub fn validate_inplaceset_update(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = crate::validate::unchanged(new, old, &["selector"]);
    causes.extend(validate_inplaceset(new));
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spec: Value) -> InPlaceSet {
        InPlaceSet { spec, ..InPlaceSet::default() }
    }

    #[test]
    fn a_minimal_inplaceset_updates_every_pod() {
        let spec = set(json!({
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "m", "image": "x:1"}]}},
        }))
        .read_spec()
        .unwrap();
        assert_eq!((spec.replicas, spec.min_ready_seconds, spec.strategy.partition), (1, 0, 0));
    }

    #[test]
    fn mistakes_in_an_inplaceset_are_named_by_field() {
        let causes =
            set(json!({"replicas": -1, "strategy": {"partition": "10%"}, "foo": 1})).read_spec().unwrap_err();
        let fields: Vec<_> = causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(
            fields,
            ["spec.foo", "spec.replicas", "spec.selector", "spec.template", "spec.strategy.partition"]
        );
    }

    #[test]
    fn the_selector_of_an_inplaceset_never_changes() {
        let old = json!({"spec": {"selector": {"matchLabels": {"app": "a"}}}});
        let new = json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}});
        let causes = validate_inplaceset_update(&new, &old);
        assert_eq!(causes[0].field, "spec.selector");
        assert!(causes[0].message.contains("immutable"));
    }
}
