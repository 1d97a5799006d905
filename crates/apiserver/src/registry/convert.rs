//! Conversions of the built-in kinds that are served in shapes that differ.

use serde_json::{Value, json};

use super::metric;

/// Names of one thing in `v1` and in `events.k8s.io/v1`.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Events: one storage, two shapes.
pub(super) fn event(object: &mut Value, api_version: &str) -> Result<(), String> {
    let Some(map) = object.as_object_mut() else { return Ok(()) };
    let is_core = api_version == "v1";
    for (core, new) in EVENT_FIELDS {
        let (from, to) = if is_core { (new, core) } else { (core, new) };
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
    // What each shape writes even when it is empty.
    let always: &[(&str, Value)] = if is_core {
        &[
            ("involvedObject", json!({})),
            ("source", json!({})),
            ("firstTimestamp", Value::Null),
            ("lastTimestamp", Value::Null),
            ("eventTime", Value::Null),
            ("reportingComponent", json!("")),
            ("reportingInstance", json!("")),
        ]
    } else {
        &[
            ("regarding", json!({})),
            ("deprecatedSource", json!({})),
            ("deprecatedFirstTimestamp", Value::Null),
            ("deprecatedLastTimestamp", Value::Null),
            ("eventTime", Value::Null),
        ]
    };
    for (key, value) in always {
        if !map.contains_key(*key) {
            map.insert((*key).to_owned(), value.clone());
        }
    }
    if !is_core {
        for key in ["reportingController", "reportingInstance"] {
            if map.get(key).and_then(Value::as_str) == Some("") {
                map.remove(key);
            }
        }
    }
    Ok(())
}

/// Annotations that carry in autoscaling/v1 what that version has no fields for.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// Autoscalers: `autoscaling/v1` knows the processor alone.
pub(super) fn autoscaler(object: &mut Value, api_version: &str) -> Result<(), String> {
    if api_version == "autoscaling/v1" { autoscaler_to_v1(object) } else { autoscaler_to_v2(object) }
}

fn is_plain_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && (metric["resource"]["target"]["type"] == "Utilization" || !metric["resource"]["current"].is_null())
}

fn autoscaler_to_v1(object: &mut Value) -> Result<(), String> {
    let metrics = take_list(&mut object["spec"], "metrics");
    let (cpu, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_plain_cpu);
    if let Some(value) = cpu.first().map(|m| m["resource"]["target"]["averageUtilization"].clone()) {
        object["spec"]["targetCPUUtilizationPercentage"] = value;
    }
    annotate(object, METRICS, (!others.is_empty()).then(|| metric::to_text(&others)));
    let behavior = object["spec"].as_object_mut().and_then(|s| s.remove("behavior"));
    annotate(object, BEHAVIOR, behavior.map(|b| b.to_string()));
    if !object["status"].is_object() {
        return Ok(());
    }
    let current = take_list(&mut object["status"], "currentMetrics");
    let (cpu, others): (Vec<Value>, Vec<Value>) = current.into_iter().partition(is_plain_cpu);
    if let Some(value) = cpu.first().map(|m| m["resource"]["current"]["averageUtilization"].clone()) {
        object["status"]["currentCPUUtilizationPercentage"] = value;
    }
    annotate(object, CURRENT, (!others.is_empty()).then(|| Value::Array(others).to_string()));
    let conditions = take_list(&mut object["status"], "conditions");
    annotate(object, CONDITIONS, (!conditions.is_empty()).then(|| Value::Array(conditions).to_string()));
    for key in ["currentReplicas", "desiredReplicas"] {
        if object["status"][key].is_null() {
            object["status"][key] = json!(0);
        }
    }
    Ok(())
}

fn autoscaler_to_v2(object: &mut Value) -> Result<(), String> {
    let mut metrics = metric::from_tree(annotated(object, METRICS)?);
    let cpu = object["spec"].as_object_mut().and_then(|s| s.remove("targetCPUUtilizationPercentage"));
    if let Some(value) = cpu.filter(|v| !v.is_null()) {
        let target = json!({"type": "Utilization", "averageUtilization": value});
        metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    if !metrics.is_empty() {
        object["spec"]["metrics"] = Value::Array(metrics);
    }
    if let Some(text) = take_annotation(object, BEHAVIOR) {
        object["spec"]["behavior"] = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    }
    if !object["status"].is_object() {
        return Ok(());
    }
    let mut current = annotated(object, CURRENT)?;
    let cpu = object["status"].as_object_mut().and_then(|s| s.remove("currentCPUUtilizationPercentage"));
    if let Some(value) = cpu.filter(|v| !v.is_null()) {
        let current_value = json!({"averageUtilization": value});
        current.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "current": current_value}}));
    }
    object["status"]["currentMetrics"] = if current.is_empty() { Value::Null } else { Value::Array(current) };
    if object["status"]["currentReplicas"] == 0 {
        object["status"].as_object_mut().map(|s| s.remove("currentReplicas"));
    }
    let conditions = annotated(object, CONDITIONS)?;
    if !conditions.is_empty() {
        object["status"]["conditions"] = Value::Array(conditions);
    }
    Ok(())
}

fn take_list(of: &mut Value, key: &str) -> Vec<Value> {
    match of.as_object_mut().and_then(|m| m.remove(key)) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn annotate(object: &mut Value, key: &str, text: Option<String>) {
    if let Some(text) = text {
        object["metadata"]["annotations"][key] = Value::String(text);
    }
}

fn take_annotation(object: &mut Value, key: &str) -> Option<String> {
    let all = object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
    let value = all.remove(key)?;
    if all.is_empty() {
        object["metadata"].as_object_mut().map(|m| m.remove("annotations"));
    }
    value.as_str().map(str::to_owned)
}

fn annotated(object: &mut Value, key: &str) -> Result<Vec<Value>, String> {
    match take_annotation(object, key) {
        Some(text) => serde_json::from_str(&text).map_err(|e| format!("read annotation {key}: {e}")),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_survives_the_older_version() {
        let object = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
                {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "1"}}}
            ], "behavior": {"scaleUp": {}}}
        });
        let mut there = object.clone();
        autoscaler(&mut there, "autoscaling/v1").unwrap();
        assert_eq!(there["spec"]["targetCPUUtilizationPercentage"], 50);
        autoscaler(&mut there, "autoscaling/v2").unwrap();
        assert_eq!(there, object);
    }

    #[test]
    fn an_event_is_one_thing_in_two_shapes() {
        let mut object = json!({"involvedObject": {"name": "p"}, "message": "m", "count": 2, "source": {}});
        event(&mut object, "events.k8s.io/v1").unwrap();
        assert_eq!(object["regarding"]["name"], "p");
        assert_eq!(object["note"], "m");
        event(&mut object, "v1").unwrap();
        assert_eq!((object["message"].as_str(), object["count"].as_i64()), (Some("m"), Some(2)));
    }
}
