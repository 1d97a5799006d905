//! OpenKruise's PodUnavailableBudget: typed view of the stored version, conversion, defaults and validation.
//!
//! | v1alpha1 annotation | v1beta1 field |
//! |---|---|
//! | `kruise.io/pub-protect-operations`: `DELETE,EVICT` | `protectOperations` |
//! | `pub.kruise.io/protect-total-replicas` | `protectTotalReplicas` |
//! | `knarr.dev/pub-ignored-pod-selector`, as JSON | `ignoredPodSelector` |
//!
//! OpenKruise loses the last one on its way to v1alpha1; here it survives.

use std::collections::BTreeMap;

use api_meta::{Cause, IntOrPercent, LabelSelector, Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stdx::Time;

use crate::validate::{Checks, cause};

/// API group.
pub const GROUP: &str = "policy.kruise.io";
/// Annotation of the older version that the newer one has as `protectOperations`.
pub const PROTECT_OPERATIONS: &str = "kruise.io/pub-protect-operations";
/// Annotation of the older version that the newer one has as `protectTotalReplicas`.
pub const PROTECT_TOTAL_REPLICAS: &str = "pub.kruise.io/protect-total-replicas";
/// Annotation of the older version that keeps the newer one's `ignoredPodSelector`.
pub const IGNORED_POD_SELECTOR: &str = "knarr.dev/pub-ignored-pod-selector";
/// Pod annotation: `true` takes a pod out of all budgets.
pub const NO_PROTECT: &str = "pub.kruise.io/no-protect";
/// Prefix of pod labels that mark a pod as unavailable.
pub const UNAVAILABLE_LABEL_PREFIX: &str = "unavailable-pod.kruise.io/";

/// A PodUnavailableBudget (v1beta1). [`PodUnavailableBudget::read_spec`] gives its desired state in checked form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodUnavailableBudget {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state, as on the wire.
    pub spec: Value,
    /// Observed state.
    pub status: PodUnavailableBudgetStatus,
}

impl Object for PodUnavailableBudget {
    const RESOURCE: Resource =
        Resource::namespaced(GROUP, "v1beta1", "podunavailablebudgets", "PodUnavailableBudget");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl PodUnavailableBudget {
    /// The desired state, or everything that is wrong with it.
    pub fn read_spec(&self) -> Result<PodUnavailableBudgetSpec, Vec<Cause>> {
        let resource = PodUnavailableBudget::RESOURCE;
        crate::cloneset::read_spec(&resource, &self.metadata, &self.spec, |_| {}, validate_budget)
    }
}

/// Desired state.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodUnavailableBudgetSpec {
    /// The pods it protects; either this or the target.
    pub selector: Option<LabelSelector>,
    /// The workload whose pods it protects.
    pub target_ref: Option<TargetReference>,
    /// Pods that may be unavailable; shares round up. Counts before the minimum.
    pub max_unavailable: Option<IntOrPercent>,
    /// Pods that stay available; shares round up.
    pub min_available: Option<IntOrPercent>,
    /// What it protects against; see [`PodUnavailableBudgetSpec::protects`].
    pub protect_operations: Vec<Operation>,
    /// Pods that shares are of; the workload's replicas when absent.
    pub protect_total_replicas: Option<i32>,
    /// Pods it does not protect.
    pub ignored_pod_selector: Option<LabelSelector>,
}

impl PodUnavailableBudgetSpec {
    /// Whether it protects against an operation: against all but resizing when none is named.
    pub fn protects(&self, operation: Operation) -> bool {
        match self.protect_operations.as_slice() {
            [] => operation != Operation::Resize,
            named => named.contains(&operation),
        }
    }
}

/// A workload by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetReference {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// What may take a pod out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// Its deletion.
    Delete,
    /// A change of its spec.
    Update,
    /// Its eviction.
    Evict,
    /// A change of its resources in place.
    Resize,
}

/// Observed state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodUnavailableBudgetStatus {
    /// Generation seen.
    pub observed_generation: i64,
    /// Pods whose deletion or eviction was allowed and is not seen yet.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disrupted_pods: BTreeMap<String, Time>,
    /// Pods whose change was allowed and that are not back yet.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable_pods: BTreeMap<String, Time>,
    /// Pods that may become unavailable now.
    pub unavailable_allowed: i32,
    /// Available pods.
    pub current_available: i32,
    /// Pods that stay available.
    pub desired_available: i32,
    /// Pods counted.
    pub total_replicas: i32,
}

/// Gives a budget in another version. Versions are named `v1alpha1`, `v1beta1`, with or without the group.
pub fn convert_budget(mut value: Value, from: &str, to: &str) -> Result<Value, String> {
    let (from, to) = (version(from)?, version(to)?);
    if from == to {
        return Ok(value);
    }
    let root = value.as_object_mut().ok_or("a PodUnavailableBudget is an object")?;
    root.insert("apiVersion".to_owned(), json!(format!("{GROUP}/{to}")));
    let mut spec = part(root, "spec")?;
    let mut meta = part(root, "metadata")?;
    let mut annotations = part(&mut meta, "annotations")?;
    if to == "v1beta1" {
        to_fields(&mut annotations, &mut spec);
    } else {
        to_annotations(&mut spec, &mut annotations);
    }
    if !annotations.is_empty() {
        meta.insert("annotations".to_owned(), Value::Object(annotations));
    }
    root.insert("metadata".to_owned(), Value::Object(meta));
    root.insert("spec".to_owned(), Value::Object(spec));
    Ok(value)
}

fn version(text: &str) -> Result<&'static str, String> {
    match text.strip_prefix("policy.kruise.io/").unwrap_or(text) {
        "v1alpha1" => Ok("v1alpha1"),
        "v1beta1" => Ok("v1beta1"),
        other => Err(format!("PodUnavailableBudget has no version {other:?}")),
    }
}

fn part(map: &mut Map<String, Value>, key: &str) -> Result<Map<String, Value>, String> {
    match map.remove(key) {
        Some(Value::Object(object)) => Ok(object),
        None | Some(Value::Null) => Ok(Map::new()),
        Some(_) => Err(format!("{key}: is not an object")),
    }
}

/// What cannot be read stays an annotation, as in OpenKruise.
fn to_fields(annotations: &mut Map<String, Value>, spec: &mut Map<String, Value>) {
    let text = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(list) = text(annotations, PROTECT_OPERATIONS) {
        let named: Vec<&str> = list.split(',').map(str::trim).filter(|o| !o.is_empty()).collect();
        if !named.is_empty() {
            spec.insert("protectOperations".to_owned(), json!(named));
        }
        annotations.remove(PROTECT_OPERATIONS);
    }
    if let Some(total) = text(annotations, PROTECT_TOTAL_REPLICAS).and_then(|t| t.parse::<i32>().ok()) {
        spec.insert("protectTotalReplicas".to_owned(), json!(total));
        annotations.remove(PROTECT_TOTAL_REPLICAS);
    }
    let ignored =
        text(annotations, IGNORED_POD_SELECTOR).and_then(|t| serde_json::from_str::<Value>(&t).ok());
    if let Some(ignored) = ignored.filter(Value::is_object) {
        spec.insert("ignoredPodSelector".to_owned(), ignored);
        annotations.remove(IGNORED_POD_SELECTOR);
    }
}

fn to_annotations(spec: &mut Map<String, Value>, annotations: &mut Map<String, Value>) {
    if let Some(Value::Array(named)) = spec.remove("protectOperations") {
        let named: Vec<&str> = named.iter().filter_map(Value::as_str).collect();
        if !named.is_empty() {
            annotations.insert(PROTECT_OPERATIONS.to_owned(), json!(named.join(",")));
        }
    }
    if let Some(total) = spec.remove("protectTotalReplicas").filter(|t| !t.is_null()) {
        annotations.insert(PROTECT_TOTAL_REPLICAS.to_owned(), json!(total.to_string()));
    }
    if let Some(ignored) = spec.remove("ignoredPodSelector").filter(|t| !t.is_null()) {
        annotations.insert(IGNORED_POD_SELECTOR.to_owned(), json!(ignored.to_string()));
    }
}

const OPERATIONS: [&str; 4] = ["DELETE", "UPDATE", "EVICT", "RESIZE"];

/// Everything wrong with a budget of either version.
pub fn validate_budget(value: &Value) -> Vec<Cause> {
    let from = value["apiVersion"].as_str().unwrap_or("v1beta1");
    let beta = match convert_budget(value.clone(), from, "v1beta1") {
        Ok(beta) => beta,
        Err(message) => return vec![cause("FieldValueInvalid", "spec", message)],
    };
    let spec = &beta["spec"];
    let mut checks = Checks::of("podunavailablebudget");
    match (spec["selector"].is_null(), spec["targetRef"].is_null()) {
        (true, true) => {
            checks.add("FieldValueRequired", "spec", "Required value: one of selector and targetRef")
        }
        (false, false) => {
            checks.add(
                "FieldValueForbidden",
                "spec",
                "Forbidden: selector and targetRef exclude one another",
            );
        }
        _ => {}
    }
    for key in ["selector", "ignoredPodSelector"] {
        checks.parsed_selector(&format!("spec.{key}"), &spec[key]);
    }
    for key in ["apiVersion", "kind", "name"] {
        let target = &spec["targetRef"];
        if !target.is_null() && target[key].as_str().is_none_or(str::is_empty) {
            checks.required(&format!("spec.targetRef.{key}"));
        }
    }
    let (max, min) = (&spec["maxUnavailable"], &spec["minAvailable"]);
    if max.is_null() && min.is_null() {
        let message = "Required value: one of maxUnavailable and minAvailable";
        checks.add("FieldValueRequired", "spec", message);
    }
    checks.budget("spec.maxUnavailable", max);
    checks.budget("spec.minAvailable", min);
    for operation in spec["protectOperations"].as_array().into_iter().flatten() {
        if !OPERATIONS.iter().any(|o| operation == o) {
            checks.invalid("spec.protectOperations", operation, "must be DELETE, UPDATE, EVICT or RESIZE");
        }
    }
    let total = &spec["protectTotalReplicas"];
    if !total.is_null() && total.as_i64().is_none_or(|n| n < 1) {
        checks.invalid("spec.protectTotalReplicas", total, "must be greater than or equal to 1");
    }
    checks.done()
}

impl Checks {
    fn parsed_selector(&mut self, field: &str, value: &Value) {
        if value.is_null() {
            return;
        }
        let parsed = serde_json::from_value::<LabelSelector>(value.clone());
        if !parsed.is_ok_and(|s| s.selector().is_ok()) {
            self.invalid(field, value, "invalid label selector");
        }
    }

    fn budget(&mut self, field: &str, value: &Value) {
        if value.is_null() {
            return;
        }
        let parsed = serde_json::from_value::<IntOrPercent>(value.clone());
        if !matches!(parsed, Ok(IntOrPercent::Int(0..) | IntOrPercent::Percent(0..=100))) {
            self.invalid(field, value, "must be a number of pods, or a share from 0% to 100%");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beta() -> Value {
        json!({
            "apiVersion": "policy.kruise.io/v1beta1", "kind": "PodUnavailableBudget",
            "metadata": {"name": "web", "annotations": {"a": "b"}},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": "20%",
                "protectOperations": ["DELETE", "EVICT"], "protectTotalReplicas": 10,
                "ignoredPodSelector": {"matchLabels": {"canary": "yes"}},
            },
        })
    }

    #[test]
    fn a_budget_survives_the_way_through_the_older_version() {
        let alpha = convert_budget(beta(), "v1beta1", "policy.kruise.io/v1alpha1").unwrap();
        assert_eq!(alpha["metadata"]["annotations"][PROTECT_OPERATIONS], "DELETE,EVICT");
        assert_eq!(alpha["metadata"]["annotations"][PROTECT_TOTAL_REPLICAS], "10");
        assert_eq!(alpha["spec"].as_object().unwrap().len(), 2);
        assert_eq!(convert_budget(alpha, "v1alpha1", "v1beta1").unwrap(), beta());
    }

    #[test]
    fn a_budget_protects_against_all_but_resizing_unless_it_names_operations() {
        let plain = PodUnavailableBudgetSpec::default();
        assert!(plain.protects(Operation::Update) && !plain.protects(Operation::Resize));
        let read = PodUnavailableBudget { spec: beta()["spec"].clone(), ..PodUnavailableBudget::default() }
            .read_spec();
        let spec = read.unwrap();
        assert!(spec.protects(Operation::Evict) && !spec.protects(Operation::Update));
        assert_eq!(spec.max_unavailable, Some(IntOrPercent::Percent(20)));
    }

    #[test]
    fn mistakes_in_a_budget_are_named_by_field() {
        let bad = json!({"apiVersion": "policy.kruise.io/v1alpha1", "metadata": {"annotations": {PROTECT_OPERATIONS: "DELETE,MOVE"}},
            "spec": {"targetRef": {"kind": "CloneSet"}, "minAvailable": "120%"}});
        let told: String =
            validate_budget(&bad).iter().map(|c| format!("{}: {}\n", c.field, c.message)).collect();
        expect_test::expect![[r#"
            spec.targetRef.apiVersion: Required value
            spec.targetRef.name: Required value
            spec.minAvailable: Invalid value: "120%": must be a number of pods, or a share from 0% to 100%
            spec.protectOperations: Invalid value: "MOVE": must be DELETE, UPDATE, EVICT or RESIZE
        "#]]
        .assert_eq(&told);
        assert_eq!(validate_budget(&json!({"spec": {}})).len(), 2);
    }
}
