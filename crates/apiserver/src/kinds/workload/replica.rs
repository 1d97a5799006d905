//! ReplicaSet and ReplicationController.

use serde_json::Value;
use stdx::Time;

use super::super::check::{Findings, Path, default, entries, given, int};
use super::super::show::{age_of, containers, count};
use super::super::{names, pod};
use super::shared::{
    OVER, always_restarts, at_most, default_template, mismatch, status_numbers, template, warnings,
};
use crate::registry::{Cell, Column, Facts};

pub(in super::super) static REPLICA_SET: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        default(spec, "replicas", 1);
        default_template(v);
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        replica_set(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |new, old, context| {
        let mut found = Findings::default();
        if context.subresource == "status" {
            replica_status(&mut found, new);
            return found.causes;
        }
        replica_set(&mut found, &new["spec"]);
        found.immutable(&Path::Root("spec.selector"), &new["spec"]["selector"], &old["spec"]["selector"]);
        found.causes
    },
    warnings,
    selectable: &["status.replicas"],
    field: |v, _| int(&v["status"], "replicas").unwrap_or(0).to_string(),
    columns: &REPLICA_COLUMNS,
    row: |v, now| {
        let selector = names::show_selector(&v["spec"]["selector"]);
        replica_row(v, now, selector)
    },
    ..Facts::PLAIN
};

static REPLICA_COLUMNS: [Column; 8] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Desired", "integer", "", 0),
    Column::new("Current", "integer", "", 0),
    Column::new("Ready", "integer", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("Containers", "string", "", 1),
    Column::new("Images", "string", "", 1),
    Column::new("Selector", "string", "", 1),
];

fn replica_row(v: &Value, now: Time, selector: String) -> Vec<Cell> {
    let (names, images) = containers(&v["spec"]["template"]["spec"]);
    vec![
        v["metadata"]["name"].clone(),
        count(&v["spec"], "replicas"),
        count(&v["status"], "replicas"),
        count(&v["status"], "readyReplicas"),
        age_of(v, now).into(),
        names.into(),
        images.into(),
        selector.into(),
    ]
}

fn replica_set(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    found.non_negative(&path, spec, "replicas");
    found.non_negative(&path, spec, "minReadySeconds");
    let at = path.field("selector");
    match given(spec, "selector") {
        None => found.required(&at, ""),
        Some(selector) => {
            names::selector(found, &at, selector);
            if names::is_empty_selector(selector) {
                found.invalid(&at, selector.clone(), "empty selector is invalid for deployment");
            }
        }
    }
    if given(spec, "template").is_none() {
        found.required(&path.field("template"), "");
        return;
    }
    template(found, spec);
    always_restarts(found, spec);
}

fn replica_status(found: &mut Findings, v: &Value) {
    let status = &v["status"];
    let all =
        ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
    status_numbers(found, status, &all);
    for part in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        at_most(found, status, part, "replicas", OVER);
    }
    at_most(found, status, "availableReplicas", "readyReplicas", "cannot be greater than readyReplicas");
}

pub(in super::super) static REPLICATION_CONTROLLER: Facts = Facts {
    default: |v| {
        let labels = v["spec"]["template"]["metadata"]["labels"].clone();
        if labels.as_object().is_some_and(|l| !l.is_empty()) {
            if entries(&v["spec"], "selector").next().is_none() {
                v["spec"]["selector"] = labels.clone();
            }
            if entries(&v["metadata"], "labels").next().is_none() {
                v["metadata"]["labels"] = labels;
            }
        }
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        default(spec, "replicas", 1);
        default_template(v);
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        replication_controller(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |v, _, context| {
        let mut found = Findings::default();
        if context.subresource == "status" {
            replica_status(&mut found, v);
        } else {
            replication_controller(&mut found, &v["spec"]);
        }
        found.causes
    },
    warnings,
    selectable: &["status.replicas"],
    field: |v, _| int(&v["status"], "replicas").unwrap_or(0).to_string(),
    columns: &REPLICA_COLUMNS,
    row: |v, now| replica_row(v, now, names::show_labels(&v["spec"], "selector")),
    ..Facts::PLAIN
};

fn replication_controller(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    found.non_negative(&path, spec, "minReadySeconds");
    if entries(spec, "selector").next().is_none() {
        found.required(&path.field("selector"), "");
    }
    found.non_negative(&path, spec, "replicas");
    let Some(template) = given(spec, "template") else {
        found.required(&path.field("template"), "");
        return;
    };
    let labels = &template["metadata"]["labels"];
    let fits = entries(spec, "selector").all(|(k, v)| labels.get(k) == Some(v));
    if !fits {
        mismatch(found, labels);
    }
    pod::validate_template(found, &path.field("template"), template);
    always_restarts(found, spec);
}
