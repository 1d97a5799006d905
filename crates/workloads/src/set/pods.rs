//! The bodies of pods and volume claims.

use api_core::{PersistentVolumeClaim, Pod};
use api_meta::Object;
use api_workload::names;
use reconcile::{Action, Note, Plan, Severity};
use serde_json::{Map, Value, json};
use workload_kit::lifecycle::State;
use workload_kit::revision;

use super::history::owner_reference;
use super::view::View;

/// Pods that one plan creates at most; the next look creates the next ones.
pub(super) const CREATE_MAX: usize = 500;

/// Name of the pod with this id.
pub(super) fn name(set: &str, id: &str) -> String {
    format!("{set}-{id}")
}

/// Topology keys that a template spreads over.
pub(super) fn topologies(template: &Value) -> Vec<String> {
    let constraints = template["spec"]["topologySpreadConstraints"].as_array();
    let keys = constraints.into_iter().flatten().filter_map(|c| c["topologyKey"].as_str());
    keys.map(str::to_owned).collect()
}

/// Creates the pod with this id at a revision, its missing claims first.
pub(super) fn create(
    view: &View<'_>,
    revision_name: &str,
    template: &Value,
    id: &str,
) -> (Vec<Action>, Plan) {
    let claims = claims_of(view, id);
    let is_missing = |body: &&Value| {
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        view.claims.iter().all(|c| c.metadata.name != name)
    };
    let missing = claims.iter().map(|(_, body)| body).filter(is_missing);
    let first = missing
        .map(|body| Action::Create { resource: PersistentVolumeClaim::RESOURCE, body: body.clone() })
        .collect();
    let mut plan = Plan::new();
    let body = pod_body(view, revision_name, template, id, &claims);
    let note = format!("succeed to create pod {}", name(&view.seen.set.metadata.name, id));
    plan.act_noting(
        Action::Create { resource: Pod::RESOURCE, body },
        Note::new(Severity::Normal, "SuccessfulCreate", note),
    );
    (first, plan)
}

/// The claims of a pod: (name of the volume, body).
fn claims_of(view: &View<'_>, id: &str) -> Vec<(String, Value)> {
    let set = &view.seen.set.metadata;
    let templates = &view.spec.volume_claim_templates;
    let claim = |template: &Value| {
        let volume = template["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut body = template.clone();
        body["apiVersion"] = json!("v1");
        body["kind"] = json!("PersistentVolumeClaim");
        let meta = &mut body["metadata"];
        meta["name"] = json!(format!("{volume}-{}-{id}", set.name));
        meta["namespace"] = json!(set.namespace);
        for (key, value) in &view.spec.selector.match_labels {
            meta["labels"][key] = json!(value);
        }
        meta["labels"][names::INSTANCE_ID_LABEL] = json!(id);
        meta["ownerReferences"] = json!([owner_reference(&view.seen.set)]);
        if let Some(map) = body.as_object_mut() {
            map.remove("status");
        }
        (volume, body)
    };
    templates.iter().map(claim).collect()
}

fn pod_body(
    view: &View<'_>,
    revision_name: &str,
    template: &Value,
    id: &str,
    claims: &[(String, Value)],
) -> Value {
    let set = &view.seen.set.metadata;
    let from = &template["metadata"];
    let mut labels = from["labels"].as_object().cloned().unwrap_or_default();
    for (key, value) in revision::labels(revision_name) {
        labels.insert(key.to_owned(), json!(value));
    }
    labels.insert(names::INSTANCE_ID_LABEL.to_owned(), json!(id));
    labels.insert(names::LIFECYCLE_STATE_LABEL.to_owned(), json!(State::PreparingNormal.as_str()));
    let mut annotations = from["annotations"].as_object().cloned().unwrap_or_default();
    annotations.insert(names::LIFECYCLE_TIMESTAMP.to_owned(), json!(view.now));
    let mut metadata = json!({
        "name": name(&set.name, id),
        "namespace": set.namespace,
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [owner_reference(&view.seen.set)],
    });
    if let Some(finalizers) = from["finalizers"].as_array() {
        metadata["finalizers"] = json!(finalizers);
    }
    let mut spec = template["spec"].as_object().cloned().unwrap_or_default();
    add_gates(view, &mut spec);
    add_volumes(&mut spec, claims);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// The in-place gate always; the shared one when a hook takes pods out of service.
fn add_gates(view: &View<'_>, spec: &mut Map<String, Value>) {
    let lifecycle = &view.spec.lifecycle;
    let marks = [&lifecycle.in_place_update, &lifecycle.pre_delete]
        .into_iter()
        .any(|hook| hook.as_ref().is_some_and(|h| h.mark_pod_not_ready));
    let mut gates = spec.get("readinessGates").and_then(Value::as_array).cloned().unwrap_or_default();
    for (gate, wanted) in [(names::KRUISE_READY, marks), (names::INPLACE_READY, true)] {
        if wanted && gates.iter().all(|g| g["conditionType"] != gate) {
            gates.push(json!({ "conditionType": gate }));
        }
    }
    spec.insert("readinessGates".to_owned(), json!(gates));
}

/// A volume per claim, in place of one of the same name.
fn add_volumes(spec: &mut Map<String, Value>, claims: &[(String, Value)]) {
    if claims.is_empty() {
        return;
    }
    let mut volumes: Vec<Value> = claims
        .iter()
        .map(|(volume, body)| {
            json!({"name": volume, "persistentVolumeClaim": {"claimName": body["metadata"]["name"]}})
        })
        .collect();
    let own = spec.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
    volumes.extend(own.into_iter().filter(|v| claims.iter().all(|(name, _)| v["name"] != json!(name))));
    spec.insert("volumes".to_owned(), json!(volumes));
}
