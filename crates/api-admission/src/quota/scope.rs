//! Scopes: which objects a quota is about.

use serde_json::{Value, json};

use super::Counted;
use crate::pod::{is_best_effort, list, text};

/// Whether an object is in all scopes of a quota.
pub(super) fn matches_all(quota: &Value, counted: &Counted<'_>) -> bool {
    let spec = &quota["spec"];
    let named = list(spec, "scopes").map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
    let selected = list(&spec["scopeSelector"], "matchExpressions").cloned();
    named.chain(selected).all(|scope| matches(&scope, counted))
}

/// Scopes are about pods, but for the class of attributes of claims; objects of other kinds are in none.
fn matches(scope: &Value, counted: &Counted<'_>) -> bool {
    let spec = &counted.object["spec"];
    let (is_pod, is_claim) = (counted.resource == "pods", counted.resource == "persistentvolumeclaims");
    match text(scope, "scopeName") {
        "Terminating" => is_pod && has_deadline(spec),
        "NotTerminating" => is_pod && !has_deadline(spec),
        "BestEffort" => is_pod && is_best_effort(spec),
        "NotBestEffort" => is_pod && !is_best_effort(spec),
        "PriorityClass" => is_pod && selects(scope, text(spec, "priorityClassName")),
        "CrossNamespacePodAffinity" => is_pod && reaches_other_namespaces(spec),
        "VolumeAttributesClass" => is_claim && selects(scope, text(spec, "volumeAttributesClassName")),
        _ => false,
    }
}

fn has_deadline(spec: &Value) -> bool {
    spec["activeDeadlineSeconds"].as_i64().is_some_and(|s| s >= 0)
}

/// A class by its name; an empty one is none.
fn selects(scope: &Value, class: &str) -> bool {
    let is_listed = list(scope, "values").any(|v| v == class);
    match text(scope, "operator") {
        "In" => !class.is_empty() && is_listed,
        "NotIn" => !is_listed,
        "DoesNotExist" => class.is_empty(),
        _ => !class.is_empty(),
    }
}

fn reaches_other_namespaces(spec: &Value) -> bool {
    let reaches =
        |term: &Value| list(term, "namespaces").next().is_some() || !term["namespaceSelector"].is_null();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let of = &spec["affinity"][*kind];
        let preferred =
            list(of, "preferredDuringSchedulingIgnoredDuringExecution").map(|p| &p["podAffinityTerm"]);
        list(of, "requiredDuringSchedulingIgnoredDuringExecution").chain(preferred).any(reaches)
    })
}
