//! Defaults of a CafeDeployment, and what is wrong with one.

use std::collections::BTreeSet;

use api_meta::{Cause, IntOrPercent};
use serde_json::{Value, json};

use crate::defaults::{fill, object};
use crate::validate::Checks;

/// Seconds that a pod waits for room before its quota moves, when nothing else is asked for.
const RESCHEDULE_DELAY_DEFAULT: i32 = 30;

/// Fills in the defaults of a CafeDeployment.
pub fn default_cafedeployment(value: &mut Value) {
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return };
    fill(spec, "replicas", json!(1));
    fill(spec, "historyLimit", json!(20));
    fill(spec, "podSetType", json!("InPlaceSet"));
    if let Some(strategy) = object(spec, "strategy") {
        fill(strategy, "upgradeType", json!("Beta"));
        fill(strategy, "needWaitingForConfirm", json!(false));
        fill(strategy, "minReadySeconds", json!(0));
        fill(strategy, "pause", json!(false));
    }
    let Some(topology) = object(spec, "topology") else { return };
    fill(topology, "unitType", json!("Cell"));
    if let Some(auto) = topology.get_mut("autoReschedule").and_then(Value::as_object_mut) {
        fill(auto, "enable", json!(false));
        fill(auto, "initialDelaySeconds", json!(RESCHEDULE_DELAY_DEFAULT));
    }
}

/// Longest name: a dash and a hash of ten letters follow it in a label, which has 63 characters at most.
const NAME_MAX: usize = 52;

const SPEC_FIELDS: [&str; 10] = [
    "replicas",
    "selector",
    "template",
    "historyLimit",
    "podSetType",
    "serviceName",
    "volumeClaimTemplates",
    "traffic",
    "strategy",
    "topology",
];

/// Everything wrong with a CafeDeployment, defaults applied.
pub fn validate_cafedeployment(value: &Value) -> Vec<Cause> {
    let mut checks = Checks::of("cafedeployment");
    checks.known_fields(value, &SPEC_FIELDS);
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    if name.len() > NAME_MAX {
        let why = format!("must be at most {NAME_MAX} characters: with a revision's hash it becomes a label");
        checks.invalid("metadata.name", &value["metadata"]["name"], &why);
    }
    let spec = &value["spec"];
    checks.non_negative("spec.replicas", &spec["replicas"]);
    checks.non_negative("spec.historyLimit", &spec["historyLimit"]);
    checks.selector(spec);
    checks.template(&spec["template"]);
    let kinds = ["InPlaceSet", "CloneSet", "ReplicaSet", "StatefulSet"];
    checks.one_of("spec.podSetType", &spec["podSetType"], &kinds);
    checks.strategy(&spec["strategy"]);
    checks.topology(&spec["topology"]);
    checks.traffic(&spec["traffic"]);
    checks.done()
}

/// Everything wrong with a changed CafeDeployment; both with defaults applied.
pub fn validate_cafedeployment_update(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = crate::validate::unchanged(new, old, &["selector", "podSetType"]);
    causes.extend(validate_cafedeployment(new));
    causes
}

impl Checks {
    fn one_of(&mut self, field: &str, value: &Value, known: &[&str]) {
        if !value.is_null() && !known.iter().any(|k| value == k) {
            let known = known.iter().map(|k| format!("{k:?}")).collect::<Vec<_>>().join(", ");
            let message = format!("Unsupported value: {value}: supported values: {known}");
            self.add("FieldValueNotSupported", field, message);
        }
    }

    fn strategy(&mut self, strategy: &Value) {
        self.one_of("spec.strategy.upgradeType", &strategy["upgradeType"], &["Beta", "Batch"]);
        self.non_negative("spec.strategy.minReadySeconds", &strategy["minReadySeconds"]);
        let size = &strategy["batchSize"];
        self.non_negative("spec.strategy.batchSize", size);
        if *size == json!(0) {
            self.invalid("spec.strategy.batchSize", size, "must be greater than or equal to 1");
        }
    }

    fn topology(&mut self, topology: &Value) {
        let unit = &topology["unitType"];
        self.one_of("spec.topology.unitType", unit, &["Cell", "Zone", "None"]);
        let values = topology["values"].as_array().map_or(&[][..], Vec::as_slice);
        if values.is_empty() && unit != "None" {
            self.required("spec.topology.values");
        }
        let mut seen = BTreeSet::new();
        for (i, value) in values.iter().enumerate() {
            let field = format!("spec.topology.values[{i}]");
            let name = value.as_str().unwrap_or_default();
            if !is_label_value(name) {
                let why = "must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit";
                self.invalid(&field, value, why);
            } else if !seen.insert(set_suffix(name)) {
                self.add(
                    "FieldValueDuplicate",
                    &field,
                    format!("Duplicate value: {name:?}: the pod sets of two cells would have one name"),
                );
            }
        }
        let cells: BTreeSet<&str> = values.iter().filter_map(Value::as_str).collect();
        for (cell, share) in topology["unitReplicas"].as_object().into_iter().flatten() {
            let field = format!("spec.topology.unitReplicas[{cell}]");
            if !cells.contains(cell.as_str()) {
                self.invalid(&field, share, "is not one of spec.topology.values");
            }
            match serde_json::from_value::<IntOrPercent>(share.clone()) {
                Ok(IntOrPercent::Int(0..) | IntOrPercent::Percent(0..=100)) => {}
                _ => self.invalid(&field, share, "must be a number of pods, or a share from 0% to 100%"),
            }
        }
        let delay = &topology["autoReschedule"]["initialDelaySeconds"];
        self.non_negative("spec.topology.autoReschedule.initialDelaySeconds", delay);
    }

    fn traffic(&mut self, traffic: &Value) {
        for (i, name) in traffic.as_array().map_or(&[][..], Vec::as_slice).iter().enumerate() {
            if !name.as_str().is_some_and(is_label_value) {
                self.invalid(
                    &format!("spec.traffic[{i}]"),
                    name,
                    "must be the name of a finalizer, without its prefix",
                );
            }
        }
    }
}

/// What a cell adds to the name of its pod set: lower case, and nothing that names may not contain.
pub fn set_suffix(cell: &str) -> String {
    cell.to_lowercase().replace('_', "-")
}

fn is_label_value(text: &str) -> bool {
    let is_end = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    bytes.len() <= 63 && is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cafe(change: impl FnOnce(&mut Value)) -> Value {
        let mut value = json!({"spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "m", "image": "x:1"}]}},
            "topology": {"values": ["CellA", "CellB"]},
        }});
        change(&mut value["spec"]);
        default_cafedeployment(&mut value);
        value
    }

    #[test]
    fn a_plain_cafedeployment_is_accepted_and_its_defaults_are_a_fixed_point() {
        let once = cafe(|_| {});
        let mut twice = once.clone();
        default_cafedeployment(&mut twice);
        assert_eq!(once, twice);
        assert_eq!(validate_cafedeployment(&once), []);
    }

    #[test]
    fn mistakes_in_a_cafedeployment_are_named_by_field() {
        let bad = cafe(|spec| {
            spec["strategy"] = json!({"batchSize": 0, "upgradeType": "Canary"});
            spec["topology"] =
                json!({"values": ["CellA", "cella", "-x"], "unitReplicas": {"CellC": 1, "CellA": "120%"}});
            spec["traffic"] = json!(["web", "a/b"]);
            spec["podSetType"] = json!("Deployment");
        });
        let told: String =
            validate_cafedeployment(&bad).iter().map(|c| format!("{}: {}\n", c.field, c.message)).collect();
        expect_test::expect![[r#"
            spec.podSetType: Unsupported value: "Deployment": supported values: "InPlaceSet", "CloneSet", "ReplicaSet", "StatefulSet"
            spec.strategy.upgradeType: Unsupported value: "Canary": supported values: "Beta", "Batch"
            spec.strategy.batchSize: Invalid value: 0: must be greater than or equal to 1
            spec.topology.values[1]: Duplicate value: "cella": the pod sets of two cells would have one name
            spec.topology.values[2]: Invalid value: "-x": must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
            spec.topology.unitReplicas[CellA]: Invalid value: "120%": must be a number of pods, or a share from 0% to 100%
            spec.topology.unitReplicas[CellC]: Invalid value: 1: is not one of spec.topology.values
            spec.traffic[1]: Invalid value: "a/b": must be the name of a finalizer, without its prefix
        "#]]
        .assert_eq(&told);
    }

    #[test]
    fn a_name_that_makes_no_label_is_refused() {
        let mut long = cafe(|_| {});
        long["metadata"]["name"] = json!("w".repeat(NAME_MAX + 1));
        assert_eq!(validate_cafedeployment(&long)[0].field, "metadata.name");
        long["metadata"]["name"] = json!("w".repeat(NAME_MAX));
        assert_eq!(validate_cafedeployment(&long), []);
    }

    #[test]
    fn selector_and_kind_of_pod_set_never_change() {
        let new = cafe(|spec| spec["podSetType"] = json!("CloneSet"));
        let causes = validate_cafedeployment_update(&new, &cafe(|_| {}));
        assert_eq!(causes.iter().map(|c| c.field.as_str()).collect::<Vec<_>>(), ["spec.podSetType"]);
        let free = cafe(|spec| spec["topology"] = json!({"unitType": "None"}));
        assert_eq!(validate_cafedeployment(&free), []);
    }
}
