//! HorizontalPodAutoscaler.

use serde_json::{Value, json};
use stdx::Time;

use super::check::{Findings, Path, default, given, given_mut, int, list, text};
use super::show::{age_of, count, plain};
use crate::registry::{Cell, Column, Facts, Generation};

pub(super) static AUTOSCALER: Facts = Facts {
    generation: Generation::None,
    default: default_autoscaler,
    validate_create: |v, _| {
        let mut found = Findings::default();
        autoscaler(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |v, _, context| {
        let mut found = Findings::default();
        if context.subresource == "status" {
            for name in ["currentReplicas", "desiredReplicas"] {
                found.non_negative(&Path::Root("status"), &v["status"], name);
            }
        } else {
            autoscaler(&mut found, &v["spec"]);
        }
        found.causes
    },
    columns: &COLUMNS,
    row,
    ..Facts::PLAIN
};

static COLUMNS: [Column; 7] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Reference", "string", "", 0),
    Column::new("Targets", "string", "", 0),
    Column::new("MinPods", "string", "", 0),
    Column::new("MaxPods", "string", "", 0),
    Column::new("Replicas", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn default_autoscaler(v: &mut Value) {
    let is_old = text(v, "apiVersion") == "autoscaling/v1";
    let has_hidden = v["metadata"]["annotations"].get("autoscaling.alpha.kubernetes.io/metrics").is_some();
    let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
    default(spec, "minReplicas", 1);
    if is_old {
        if !has_hidden {
            default(spec, "targetCPUUtilizationPercentage", 80);
        }
        return;
    }
    if list(spec, "metrics").is_empty() {
        spec["metrics"] = json!([{"type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]);
    }
    if let Some(behavior) = given_mut(spec, "behavior") {
        default_behavior(behavior);
    }
}

/// Both directions get what `GenerateHPAScaleUpRules` and `…ScaleDownRules` of upstream give.
fn default_behavior(behavior: &mut Value) {
    let up = json!([
        {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
    let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
    for (direction, policies, window) in [("scaleUp", up, Some(0)), ("scaleDown", down, None)] {
        if given(behavior, direction).is_none() {
            behavior[direction] = json!({});
        }
        let rules = &mut behavior[direction];
        default(rules, "selectPolicy", "Max");
        if let Some(secs) = window {
            default(rules, "stabilizationWindowSeconds", secs);
        }
        if list(rules, "policies").is_empty() {
            rules["policies"] = policies;
        }
    }
}

fn autoscaler(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    let (min, max) = (int(spec, "minReplicas"), int(spec, "maxReplicas").unwrap_or(0));
    if let Some(n) = min.filter(|n| *n < 1) {
        found.invalid(&path.field("minReplicas"), n, "must be greater than or equal to 1");
    }
    if max < 1 {
        found.required(&path.field("maxReplicas"), "must be set and greater than 0");
    }
    if min.is_some_and(|n| max < n) {
        found.invalid(&path.field("maxReplicas"), max, "must be greater than or equal to `minReplicas`");
    }
    target(found, &path.field("scaleTargetRef"), &spec["scaleTargetRef"]);
    metrics(found, &path, spec, min);
    let at = path.field("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = given(&spec["behavior"], direction) {
            scaling(found, &at.field(direction), rules);
        }
    }
}

fn target(found: &mut Findings, at: &Path<'_>, target: &Value) {
    if text(target, "kind").is_empty() {
        found.required(&at.field("kind"), "");
    }
    if text(target, "name").is_empty() {
        found.required(&at.field("name"), "");
    }
    let (version, kind) = (text(target, "apiVersion"), text(target, "kind"));
    let is_core = version == "v1" && kind == "ReplicationController";
    if !version.contains('/') && !is_core {
        found.invalid(&at.field("apiVersion"), version, "apiVersion must specify API group");
    }
}

const KINDS: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn metrics(found: &mut Findings, path: &Path<'_>, spec: &Value, min: Option<i64>) {
    let at = path.field("metrics");
    let mut has_outside = false;
    for (i, metric) in list(spec, "metrics").iter().enumerate() {
        let here = at.index(i);
        let kind = text(metric, "type");
        has_outside |= matches!(kind, "Object" | "External");
        if kind.is_empty() {
            found.required(&here.field("type"), "must specify a metric source type");
            continue;
        }
        let Some((_, field)) = KINDS.iter().find(|(k, _)| *k == kind) else {
            // Upstream says it twice.
            found.not_supported(&here.field("type"), kind, &KINDS.map(|(k, _)| k));
            found.not_supported(&here.field("type"), kind, &KINDS.map(|(k, _)| k));
            continue;
        };
        match given(metric, field) {
            None => {
                found.required(&here.field(field), "must populate information for the given metric source")
            }
            Some(source) => metric_target(found, &here.field(field), field, source),
        }
        for (_, other) in KINDS.iter().filter(|(_, f)| f != field) {
            if given(metric, other).is_some() {
                found.forbidden(&here.field(other), "must populate the given metric source only");
            }
        }
    }
    if min == Some(0) && !has_outside {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        found.forbidden(&at, why);
    }
}

fn metric_target(found: &mut Findings, at: &Path<'_>, field: &str, source: &Value) {
    let is_resource = matches!(field, "resource" | "containerResource");
    if is_resource && text(source, "name").is_empty() {
        found.required(&at.field("name"), "must specify a resource name");
    }
    if !is_resource && text(&source["metric"], "name").is_empty() {
        found.required(&at.field("metric").field("name"), "must specify a metric name");
    }
    if field == "containerResource" && text(source, "container").is_empty() {
        found.required(&at.field("container"), "must specify a container");
    }
    if field == "object" {
        let (about, at) = (&source["describedObject"], at.field("describedObject"));
        ["kind", "name"].into_iter().filter(|name| text(about, name).is_empty()).for_each(|name| {
            found.required(&at.field(name), "");
        });
    }
    let target = &source["target"];
    let path = at.field("target");
    amounts(found, &path, field, target);
    let kind = text(target, "type");
    if kind.is_empty() {
        found.required(&path.field("type"), "must specify a metric target type");
    } else if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        found.invalid(&path.field("type"), kind, "must be either Utilization, Value, or AverageValue");
    }
    if is_resource {
        let (share, amount) = (int(target, "averageUtilization"), given(target, "averageValue"));
        match (share, amount) {
            (None, None) => found.required(
                &path.field("averageUtilization"),
                "must set either a target raw value or a target utilization",
            ),
            (Some(_), Some(_)) => found.forbidden(
                &path.field("averageValue"),
                "may not set both a target raw value and a target utilization",
            ),
            (Some(n), None) if n < 1 => {
                found.invalid(&path.field("averageUtilization"), n, "must be greater than 0")
            }
            _ => {}
        }
    }
}

/// Amounts of a target: positive, and the ones that its source wants.
fn amounts(found: &mut Findings, path: &Path<'_>, field: &str, target: &Value) {
    for name in ["value", "averageValue"] {
        if let Some(value) = given(target, name)
            && super::pod::quantity(value).is_some_and(|q| q.milli() <= 0)
        {
            found.invalid(&path.field(name), value.clone(), "must be positive");
        }
    }
    let has = |name: &str| given(target, name).is_some();
    match (field, has("value"), has("averageValue")) {
        ("object" | "external", false, false) => found.required(
            &path.field("averageValue"),
            "must set either a target value for metric or a per-pod target",
        ),
        ("external", true, true) => {
            let why = "may not set both a target value for metric and a per-pod target";
            found.forbidden(&path.field("value"), why);
        }
        ("pods", _, false) => {
            found.required(&path.field("averageValue"), "must specify a positive target averageValue");
        }
        _ => {}
    }
}

const WINDOW_SECS_MAX: i64 = 3600;
const PERIOD_SECS_MAX: i64 = 1800;

fn scaling(found: &mut Findings, at: &Path<'_>, rules: &Value) {
    if let Some(n) = int(rules, "stabilizationWindowSeconds") {
        let here = at.field("stabilizationWindowSeconds");
        if n < 0 {
            found.invalid(&here, n, "must be greater than or equal to zero");
        } else if n > WINDOW_SECS_MAX {
            found.invalid(&here, n, &format!("must be less than or equal to {WINDOW_SECS_MAX}"));
        }
    }
    if let Some(tolerance) = given(rules, "tolerance")
        && super::pod::quantity(tolerance).is_some_and(|q| q.milli() < 0)
    {
        found.invalid(&at.field("tolerance"), tolerance.clone(), "must be greater than or equal to 0");
    }
    let select = text(rules, "selectPolicy");
    if !select.is_empty() {
        found.one_of(&at.field("selectPolicy"), select, &["Disabled", "Max", "Min"]);
    }
    let policies = at.field("policies");
    if list(rules, "policies").is_empty() {
        found.required(&policies, "must specify at least one Policy");
    }
    for (i, policy) in list(rules, "policies").iter().enumerate() {
        let here = policies.index(i);
        found.one_of(&here.field("type"), text(policy, "type"), &["Percent", "Pods"]);
        let (value, period) = (int(policy, "value").unwrap_or(0), int(policy, "periodSeconds").unwrap_or(0));
        if value <= 0 {
            found.invalid(&here.field("value"), value, "must be greater than zero");
        }
        if period <= 0 {
            found.invalid(&here.field("periodSeconds"), period, "must be greater than zero");
        } else if period > PERIOD_SECS_MAX {
            let why = format!("must be less than or equal to {PERIOD_SECS_MAX}");
            found.invalid(&here.field("periodSeconds"), period, &why);
        }
    }
}

fn row(v: &Value, now: Time) -> Vec<Cell> {
    let spec = &v["spec"];
    let reference =
        format!("{}/{}", text(&spec["scaleTargetRef"], "kind"), text(&spec["scaleTargetRef"], "name"));
    let min = int(spec, "minReplicas").map_or_else(|| "<unset>".to_owned(), |n| n.to_string());
    vec![
        v["metadata"]["name"].clone(),
        reference.into(),
        targets(v).into(),
        min.into(),
        count(spec, "maxReplicas"),
        count(&v["status"], "currentReplicas"),
        age_of(v, now).into(),
    ]
}

/// Metrics shown in a cell at most.
const SHOWN_MAX: usize = 2;

fn targets(v: &Value) -> String {
    let metrics = list(&v["spec"], "metrics");
    if let Some(share) = int(&v["spec"], "targetCPUUtilizationPercentage").filter(|_| metrics.is_empty()) {
        let now = int(&v["status"], "currentCPUUtilizationPercentage");
        return format!("cpu: {}/{share}%", now.map_or_else(|| "<unknown>".to_owned(), |n| format!("{n}%")));
    }
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let currents = list(&v["status"], "currentMetrics");
    let all: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(i, m)| target_text(m, currents.get(i).unwrap_or(&Value::Null)))
        .collect();
    if all.len() > SHOWN_MAX {
        return format!("{} + {} more...", all[..SHOWN_MAX].join(", "), all.len() - SHOWN_MAX);
    }
    all.join(", ")
}

fn target_text(metric: &Value, current: &Value) -> String {
    let kind = text(metric, "type");
    let field = KINDS.iter().find(|(k, _)| *k == kind).map_or("", |(_, f)| *f);
    let (target, now) = (&metric[field]["target"], &current[field]["current"]);
    let pair = |name: &str, unit: &str| {
        let is = given(now, name).map_or_else(|| "<unknown>".to_owned(), |v| format!("{}{unit}", plain(v)));
        format!("{is}/{}{unit}", plain(&target[name]))
    };
    let shown = if given(target, "averageUtilization").is_some() {
        pair("averageUtilization", "%")
    } else if given(target, "averageValue").is_some() {
        let suffix = if kind == "Object" || kind == "External" { " (avg)" } else { "" };
        format!("{}{suffix}", pair("averageValue", ""))
    } else {
        pair("value", "")
    };
    match kind {
        "Resource" | "ContainerResource" => format!("{}: {shown}", text(&metric[field], "name")),
        _ => shown,
    }
}
