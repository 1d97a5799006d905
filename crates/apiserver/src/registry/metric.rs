//! Metrics of autoscalers in the older form that autoscaling/v1 keeps in annotations.

use serde_json::{Map, Value, json};

/// What a kind of metric calls its parts in the older form: (name in v2, name in v1).
const OBJECT: &[(&str, &str)] = &[
    ("describedObject", "target"),
    ("metric/name", "metricName"),
    ("metric/selector", "selector"),
    ("target/value", "targetValue"),
    ("target/averageValue", "averageValue"),
];
const PODS: &[(&str, &str)] = &[
    ("metric/name", "metricName"),
    ("metric/selector", "selector"),
    ("target/averageValue", "targetAverageValue"),
];
const RESOURCE: &[(&str, &str)] = &[
    ("name", "name"),
    ("container", "container"),
    ("target/averageUtilization", "targetAverageUtilization"),
    ("target/averageValue", "targetAverageValue"),
];
const EXTERNAL: &[(&str, &str)] = &[
    ("metric/name", "metricName"),
    ("metric/selector", "metricSelector"),
    ("target/value", "targetValue"),
    ("target/averageValue", "targetAverageValue"),
];

/// Where a metric of a type has its parts, and what they are called.
fn rule(kind: &str) -> Option<(&'static str, &'static [(&'static str, &'static str)])> {
    Some(match kind {
        "Object" => ("object", OBJECT),
        "Pods" => ("pods", PODS),
        "Resource" => ("resource", RESOURCE),
        "ContainerResource" => ("containerResource", RESOURCE),
        "External" => ("external", EXTERNAL),
        _ => return None,
    })
}

/// Metrics as the annotation has them: the type first, as upstream writes it.
pub(super) fn to_text(metrics: &[Value]) -> String {
    let all: Vec<String> = metrics.iter().map(one_to_text).collect();
    format!("[{}]", all.join(","))
}

fn one_to_text(metric: &Value) -> String {
    let kind = metric["type"].as_str().unwrap_or_default();
    let Some((part, names)) = rule(kind) else { return metric.to_string() };
    let mut old = Map::new();
    for (new_name, old_name) in names {
        let value = new_name.split('/').fold(&metric[part], |at, key| &at[key]);
        if !value.is_null() {
            old.insert((*old_name).to_owned(), value.clone());
        }
    }
    format!("{{\"type\":{},\"{part}\":{}}}", json!(kind), Value::Object(old))
}

/// Metrics from an annotation.
pub(super) fn from_tree(metrics: Vec<Value>) -> Vec<Value> {
    metrics.into_iter().map(one_from_tree).collect()
}

fn one_from_tree(metric: Value) -> Value {
    let kind = metric["type"].as_str().unwrap_or_default().to_owned();
    let Some((part, names)) = rule(&kind) else { return metric };
    let mut new = json!({});
    for (new_name, old_name) in names {
        let value = &metric[part][*old_name];
        if !value.is_null() {
            let place = new_name.split('/').fold(&mut new, |at, key| &mut at[key]);
            *place = value.clone();
        }
    }
    let target = &mut new["target"];
    let of_target =
        ["value", "averageValue", "averageUtilization"].into_iter().find(|k| target.get(*k).is_some());
    target["type"] = json!(match of_target {
        Some("value") => "Value",
        Some("averageUtilization") => "Utilization",
        _ => "AverageValue",
    });
    json!({"type": kind, part: new})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_survive_the_older_form() {
        let metrics = vec![
            json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}}),
            json!({"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "3"}}}),
        ];
        let text = to_text(&metrics);
        assert!(
            text.starts_with(
                "[{\"type\":\"Pods\",\"pods\":{\"metricName\":\"m\",\"targetAverageValue\":\"5\"}}"
            ),
            "{text}"
        );
        assert_eq!(from_tree(serde_json::from_str(&text).unwrap()), metrics);
    }
}
