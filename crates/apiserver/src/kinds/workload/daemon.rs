//! DaemonSet.

use serde_json::{Value, json};

use super::super::check::{Findings, Path, default, given, text};
use super::super::names;
use super::super::show::{age_of, containers, count};
use super::shared::{
    Words, always_restarts, default_template, is_zero, selector_and_template, status_numbers, warnings,
};
use crate::registry::{Column, Facts};

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(in super::super) static DAEMON_SET: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        if !spec["updateStrategy"].is_object() {
            spec["updateStrategy"] = json!({});
        }
        let strategy = &mut spec["updateStrategy"];
        default(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            if given(strategy, "rollingUpdate").is_none() {
                strategy["rollingUpdate"] = json!({});
            }
            default(&mut strategy["rollingUpdate"], "maxUnavailable", 1);
            default(&mut strategy["rollingUpdate"], "maxSurge", 0);
        }
        default(spec, "revisionHistoryLimit", 10);
        default_template(v);
        // Upstream keeps the number apart and writes it out with every version of the object.
        if given(&v["metadata"]["annotations"], TEMPLATE_GENERATION).is_none() {
            v["metadata"]["annotations"][TEMPLATE_GENERATION] = "0".into();
        }
    },
    prepare_create: |v, _| {
        let given = text(&v["metadata"]["annotations"], TEMPLATE_GENERATION).parse::<i64>().unwrap_or(0);
        v["metadata"]["annotations"][TEMPLATE_GENERATION] = given.max(1).to_string().into();
    },
    prepare_update: |new, old, context| {
        if context.subresource == "status" {
            return;
        }
        let was = text(&old["metadata"]["annotations"], TEMPLATE_GENERATION).parse::<i64>().unwrap_or(0);
        let changed = new["spec"]["template"] != old["spec"]["template"];
        let next = if changed { was + 1 } else { was };
        if next > 0 {
            new["metadata"]["annotations"][TEMPLATE_GENERATION] = next.to_string().into();
        }
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        daemon_set(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |new, old, context| {
        let mut found = Findings::default();
        if context.subresource == "status" {
            let all = [
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
            ];
            status_numbers(&mut found, &new["status"], &all);
            return found.causes;
        }
        found.immutable(&Path::Root("spec.selector"), &new["spec"]["selector"], &old["spec"]["selector"]);
        daemon_set(&mut found, &new["spec"]);
        found.causes
    },
    warnings,
    columns: &DAEMON_COLUMNS,
    row: |v, now| {
        let (names, images) = containers(&v["spec"]["template"]["spec"]);
        let status = &v["status"];
        vec![
            v["metadata"]["name"].clone(),
            count(status, "desiredNumberScheduled"),
            count(status, "currentNumberScheduled"),
            count(status, "numberReady"),
            count(status, "updatedNumberScheduled"),
            count(status, "numberAvailable"),
            names::show_labels(&v["spec"]["template"]["spec"], "nodeSelector").into(),
            age_of(v, now).into(),
            names.into(),
            images.into(),
            names::show_selector(&v["spec"]["selector"]).into(),
        ]
    },
    ..Facts::PLAIN
};

static DAEMON_COLUMNS: [Column; 11] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Desired", "integer", "", 0),
    Column::new("Current", "integer", "", 0),
    Column::new("Ready", "integer", "", 0),
    Column::new("Up-to-date", "integer", "", 0),
    Column::new("Available", "integer", "", 0),
    Column::new("Node Selector", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("Containers", "string", "", 1),
    Column::new("Images", "string", "", 1),
    Column::new("Selector", "string", "", 1),
];

fn daemon_set(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    selector_and_template(found, spec, Words { name: "daemonset" });
    always_restarts(found, spec);
    found.non_negative(&path, spec, "minReadySeconds");
    let at = path.field("updateStrategy");
    let strategy = &spec["updateStrategy"];
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => match given(strategy, "rollingUpdate") {
            None => found.required(&at.field("rollingUpdate"), ""),
            Some(rolling) => daemon_rolling(found, &at.field("rollingUpdate"), rolling),
        },
        other => {
            let shown = json!({"Type": other, "RollingUpdate": Value::Null});
            found.not_supported(&at, shown, &["RollingUpdate", "OnDelete"]);
        }
    }
    found.non_negative(&path, spec, "revisionHistoryLimit");
}

fn daemon_rolling(found: &mut Findings, path: &Path<'_>, rolling: &Value) {
    for name in ["maxUnavailable", "maxSurge"] {
        names::count_or_percent(found, path, rolling, name);
        names::not_above_hundred(found, path, rolling, name);
    }
    match (is_zero(&rolling["maxUnavailable"]), is_zero(&rolling["maxSurge"])) {
        (true, true) => found.required(&path.field("maxUnavailable"), "cannot be 0 when maxSurge is 0"),
        (false, false) => {
            let why = "may not be set when maxUnavailable is non-zero";
            found.invalid(&path.field("maxSurge"), rolling["maxSurge"].clone(), why);
        }
        _ => {}
    }
}
