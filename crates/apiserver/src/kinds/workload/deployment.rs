//! Deployment.

use serde_json::{Value, json};

use super::super::check::{Findings, Path, default, given, int, put, text};
use super::super::names;
use super::super::show::{age_of, containers, count};
use super::shared::{
    OVER, Words, always_restarts, at_most, default_template, is_zero, selector_and_template, status_numbers,
    warnings,
};
use crate::registry::{Column, Facts};

pub(in super::super) static DEPLOYMENT: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        default(spec, "replicas", 1);
        default(spec, "revisionHistoryLimit", 10);
        default(spec, "progressDeadlineSeconds", 600);
        default_rolling(spec);
        default_template(v);
    },
    prepare_update: |new, old, context| {
        // Annotations are copied to the ReplicaSets, so a change of them is work for the controller too.
        if context.subresource.is_empty() && new["metadata"]["annotations"] != old["metadata"]["annotations"]
        {
            let generation = int(&old["metadata"], "generation").unwrap_or(0) + 1;
            put(&mut new["metadata"], "generation", generation.into());
        }
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        deployment(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |new, old, context| {
        let mut found = Findings::default();
        if context.subresource == "status" {
            deployment_status(&mut found, new);
            return found.causes;
        }
        deployment(&mut found, &new["spec"]);
        found.immutable(&Path::Root("spec.selector"), &new["spec"]["selector"], &old["spec"]["selector"]);
        found.causes
    },
    warnings,
    columns: &DEPLOYMENT_COLUMNS,
    row: |v, now| {
        let (names, images) = containers(&v["spec"]["template"]["spec"]);
        let wanted = int(&v["spec"], "replicas").unwrap_or(0);
        let ready = int(&v["status"], "readyReplicas").unwrap_or(0);
        vec![
            v["metadata"]["name"].clone(),
            format!("{ready}/{wanted}").into(),
            count(&v["status"], "updatedReplicas"),
            count(&v["status"], "availableReplicas"),
            age_of(v, now).into(),
            names.into(),
            images.into(),
            names::show_selector(&v["spec"]["selector"]).into(),
        ]
    },
    ..Facts::PLAIN
};

static DEPLOYMENT_COLUMNS: [Column; 8] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Ready", "string", "", 0),
    Column::new("Up-to-date", "string", "", 0),
    Column::new("Available", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("Containers", "string", "", 1),
    Column::new("Images", "string", "", 1),
    Column::new("Selector", "string", "", 1),
];

fn default_rolling(spec: &mut Value) {
    if !spec["strategy"].is_object() {
        spec["strategy"] = json!({});
    }
    let strategy = &mut spec["strategy"];
    default(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        if given(strategy, "rollingUpdate").is_none() {
            strategy["rollingUpdate"] = json!({});
        }
        default(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
        default(&mut strategy["rollingUpdate"], "maxSurge", "25%");
    }
}

fn deployment(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    found.non_negative(&path, spec, "replicas");
    selector_and_template(found, spec, Words { name: "deployment" });
    always_restarts(found, spec);
    strategy(found, &path.field("strategy"), &spec["strategy"]);
    for name in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        found.non_negative(&path, spec, name);
    }
    let min_ready = int(spec, "minReadySeconds").unwrap_or(0);
    if let Some(n) = int(spec, "progressDeadlineSeconds").filter(|n| *n <= min_ready) {
        found.invalid(&path.field("progressDeadlineSeconds"), n, "must be greater than minReadySeconds");
    }
}

fn strategy(found: &mut Findings, path: &Path<'_>, strategy: &Value) {
    let rolling = given(strategy, "rollingUpdate");
    let at = path.field("rollingUpdate");
    match (text(strategy, "type"), rolling) {
        ("Recreate", Some(_)) => {
            found.forbidden(&at, "may not be specified when strategy `type` is 'Recreate'");
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => found.required(&at, "this should be defaulted and never be nil"),
        ("RollingUpdate", Some(rolling)) => {
            for name in ["maxUnavailable", "maxSurge"] {
                names::count_or_percent(found, &at, rolling, name);
            }
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                let shown = rolling["maxUnavailable"].clone();
                found.invalid(&at.field("maxUnavailable"), shown, "may not be 0 when `maxSurge` is 0");
            }
            names::not_above_hundred(found, &at, rolling, "maxUnavailable");
        }
        (other, _) => {
            let shown = json!({"Type": other, "RollingUpdate": Value::Null});
            found.not_supported(path, shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

fn deployment_status(found: &mut Findings, v: &Value) {
    let status = &v["status"];
    let all = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "collisionCount",
    ];
    status_numbers(found, status, &all);
    for part in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        at_most(found, status, part, "replicas", OVER);
    }
    at_most(found, status, "availableReplicas", "readyReplicas", "cannot be greater than readyReplicas");
}

#[cfg(test)]
mod tests {
    use api_meta::Cause;
    use stdx::Time;

    use super::super::super::check::remove;
    use super::*;
    use crate::registry::Context;

    fn messages(causes: Vec<Cause>) -> Vec<String> {
        causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }

    const CONTEXT: Context<'_> =
        Context { now: Time::from_secs(0), namespace: "d", subresource: "", user: "u" };

    fn deployed(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
        let mut v = json!({"metadata": {"name": "a"},
            "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}});
        change(&mut v);
        (DEPLOYMENT.default)(&mut v);
        messages((DEPLOYMENT.validate_create)(&v, &CONTEXT))
    }

    #[test]
    fn a_plain_deployment_is_fine() {
        assert_eq!(deployed(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn mistakes_are_named_as_upstream_does() {
        assert_eq!(
            deployed(
                |v| v["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}})
            ),
            [
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
            ]
        );
        assert_eq!(
            deployed(|v| drop(remove(&mut v["spec"], "selector"))),
            [
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`"
            ]
        );
        assert_eq!(
            deployed(|v| v["spec"]["selector"] =
                json!({"matchExpressions": [{"key": "app", "operator": "Like", "values": ["a"]}]})),
            [
                "spec.selector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator",
                "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Like\",\"values\":[\"a\"]}]}: invalid label selector"
            ]
        );
    }
}
