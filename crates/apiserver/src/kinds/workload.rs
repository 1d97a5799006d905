//! Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, ControllerRevision.

use api_meta::Cause;
use serde_json::{Value, json};
use stdx::Time;

use super::check::{
    Findings, Path, default, each_mut, entries, given, given_mut, int, list, put, remove, text,
};
use super::show::{age_of, containers, count};
use super::{names, pod};
use crate::registry::{Cell, Column, Context, Facts, Generation};

/// What is the same for all kinds that have a selector and a template.
#[derive(Clone, Copy)]
struct Words {
    /// As in `empty selector is invalid for deployment`.
    name: &'static str,
}

/// Selector and template, which must fit each other.
fn selector_and_template(found: &mut Findings, spec: &Value, words: Words) {
    let path = Path::Root("spec");
    let at = path.field("selector");
    match given(spec, "selector") {
        None => found.required(&at, ""),
        Some(selector) => {
            names::selector(found, &at, selector);
            if names::is_empty_selector(selector) {
                found.invalid(
                    &at,
                    selector.clone(),
                    &format!("empty selector is invalid for {}", words.name),
                );
            }
        }
    }
    template(found, spec);
}

fn template(found: &mut Findings, spec: &Value) {
    let at = Path::Root("spec.template");
    let labels = &spec["template"]["metadata"]["labels"];
    let selector = &spec["selector"];
    if selector.is_null() {
        mismatch(found, labels);
    } else if !names::is_empty_selector(selector) {
        match names::selects(selector, labels) {
            Some(true) => {}
            Some(false) => mismatch(found, labels),
            None => found.invalid(&Path::Root("spec.selector"), selector.clone(), "invalid label selector"),
        }
    }
    pod::validate_template(found, &at, &spec["template"]);
}

fn mismatch(found: &mut Findings, labels: &Value) {
    let at = Path::Root("spec.template.metadata.labels");
    found.invalid(&at, labels.clone(), "`selector` does not match template `labels`");
}

/// Templates of what keeps pods running must restart them.
fn always_restarts(found: &mut Findings, spec: &Value) {
    let policy = text(&spec["template"]["spec"], "restartPolicy");
    if policy != "Always" {
        found.not_supported(&Path::Root("spec.template.spec.restartPolicy"), policy, &["Always"]);
    }
    let deadline = &spec["template"]["spec"]["activeDeadlineSeconds"];
    if !deadline.is_null() {
        let at = Path::Root("spec.template.spec.activeDeadlineSeconds");
        found.forbidden(&at, "activeDeadlineSeconds in ReplicaSet is not Supported");
    }
}

fn default_template(v: &mut Value) {
    if let Some(template) = v.get_mut("spec").and_then(|s| given_mut(s, "template")) {
        pod::default_template(template);
    }
}

fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    pod::template_warnings("spec.template", &new["spec"]["template"], old.map(|o| &o["spec"]["template"]))
}

fn status_numbers(found: &mut Findings, status: &Value, numbers: &[&str]) {
    for name in numbers {
        found.non_negative(&Path::Root("status"), status, name);
    }
}

/// A part of the status that cannot be more than the whole.
fn at_most(found: &mut Findings, status: &Value, part: &str, whole: &str, why: &str) {
    let (p, w) = (int(status, part).unwrap_or(0), int(status, whole).unwrap_or(0));
    if p > w {
        found.invalid(&Path::Root("status").field(part), p, why);
    }
}

const OVER: &str = "cannot be greater than status.replicas";

// --- Deployment ---------------------------------------------------------------------------------------------------

pub(super) static DEPLOYMENT: Facts = Facts {
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

fn is_zero(v: &Value) -> bool {
    v == 0 || v.as_str().and_then(|s| s.strip_suffix('%')).is_some_and(|d| d.parse() == Ok(0))
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

// --- ReplicaSet ---------------------------------------------------------------------------------------------------

pub(super) static REPLICA_SET: Facts = Facts {
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

// --- ReplicationController ----------------------------------------------------------------------------------------

pub(super) static REPLICATION_CONTROLLER: Facts = Facts {
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

// --- StatefulSet --------------------------------------------------------------------------------------------------

pub(super) static STATEFUL_SET: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        default(spec, "podManagementPolicy", "OrderedReady");
        if !spec["updateStrategy"].is_object() {
            spec["updateStrategy"] = json!({});
        }
        let strategy = &mut spec["updateStrategy"];
        if text(strategy, "type").is_empty() {
            default(strategy, "type", "RollingUpdate");
        }
        if text(strategy, "type") == "RollingUpdate" {
            if given(strategy, "rollingUpdate").is_none() {
                strategy["rollingUpdate"] = json!({});
            }
            default(&mut strategy["rollingUpdate"], "partition", 0);
        }
        default(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
        default(&mut spec["persistentVolumeClaimRetentionPolicy"], "whenDeleted", "Retain");
        default(&mut spec["persistentVolumeClaimRetentionPolicy"], "whenScaled", "Retain");
        default(spec, "replicas", 1);
        default(spec, "revisionHistoryLimit", 10);
        for claim in each_mut(spec, "volumeClaimTemplates") {
            put(claim, "apiVersion", "v1".into());
            put(claim, "kind", "PersistentVolumeClaim".into());
            super::storage::default_claim(claim);
        }
        default_template(v);
    },
    prepare_create: |v, _| drop_max_unavailable(v, None),
    prepare_update: |new, old, _| drop_max_unavailable(new, Some(old)),
    validate_create: |v, _| {
        let mut found = Findings::default();
        stateful_name(&mut found, v);
        stateful_set(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: stateful_update,
    warnings,
    columns: &STATEFUL_COLUMNS,
    row: |v, now| {
        let (names, images) = containers(&v["spec"]["template"]["spec"]);
        let wanted = int(&v["spec"], "replicas").unwrap_or(0);
        let ready = int(&v["status"], "readyReplicas").unwrap_or(0);
        vec![
            v["metadata"]["name"].clone(),
            format!("{ready}/{wanted}").into(),
            age_of(v, now).into(),
            names.into(),
            images.into(),
        ]
    },
    ..Facts::PLAIN
};

static STATEFUL_COLUMNS: [Column; 5] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Ready", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("Containers", "string", "", 1),
    Column::new("Images", "string", "", 1),
];

/// The feature is off by default upstream: the field goes unless the object had it.
fn drop_max_unavailable(new: &mut Value, old: Option<&Value>) {
    let had = old.is_some_and(|o| !o["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"].is_null());
    if !had && let Some(rolling) = given_mut(&mut new["spec"]["updateStrategy"], "rollingUpdate") {
        remove(rolling, "maxUnavailable");
    }
}

fn stateful_name(found: &mut Findings, v: &Value) {
    let name = text(&v["metadata"], "name");
    let at = Path::Root("metadata.name");
    if name.contains('.') {
        found.invalid(&at, name, "must not contain dots");
    } else if name.len() > 63 {
        found.invalid(&at, name, "must be no more than 63 characters");
    }
}

fn stateful_set(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    let policy = text(spec, "podManagementPolicy");
    match policy {
        "" => found.required(&path.field("podManagementPolicy"), ""),
        "OrderedReady" | "Parallel" => {}
        other => {
            let why = "must be 'OrderedReady' or 'Parallel'";
            found.invalid(&path.field("podManagementPolicy"), other, why);
        }
    }
    stateful_strategy(found, &path.field("updateStrategy"), &spec["updateStrategy"]);
    let at = path.field("persistentVolumeClaimRetentionPolicy");
    let retention = &spec["persistentVolumeClaimRetentionPolicy"];
    for name in ["whenDeleted", "whenScaled"] {
        found.one_of(&at.field(name), text(retention, name), &["Retain", "Delete"]);
    }
    found.non_negative(&path, spec, "replicas");
    found.non_negative(&path, spec, "minReadySeconds");
    if let Some(ordinals) = given(spec, "ordinals") {
        found.non_negative(&path.field("ordinals"), ordinals, "start");
    }
    let service = text(spec, "serviceName");
    if !service.is_empty() {
        found.faults(&path.field("serviceName"), service, names::label(service));
    }
    selector_and_template(found, &with_claims(spec), Words { name: "statefulset" });
    always_restarts(found, spec);
    found.non_negative(&path, spec, "revisionHistoryLimit");
}

/// The spec with the volumes that its pods will have of its claims.
fn with_claims(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let claims: Vec<String> =
        list(&spec, "volumeClaimTemplates").iter().map(|c| text(&c["metadata"], "name").to_owned()).collect();
    let pod = &mut spec["template"]["spec"];
    let mut volumes: Vec<Value> = list(pod, "volumes")
        .iter()
        .filter(|v| !claims.iter().any(|c| c == text(v, "name")))
        .cloned()
        .collect();
    volumes.extend(claims.iter().map(|c| json!({"name": c, "persistentVolumeClaim": {"claimName": c}})));
    if !claims.is_empty() {
        pod["volumes"] = Value::Array(volumes);
    }
    spec
}

fn stateful_strategy(found: &mut Findings, path: &Path<'_>, strategy: &Value) {
    let rolling = given(strategy, "rollingUpdate");
    let at = path.field("rollingUpdate");
    match (text(strategy, "type"), rolling) {
        ("", _) => found.required(path, ""),
        ("OnDelete", Some(rolling)) => {
            let shown =
                json!({"Partition": rolling["partition"], "MaxUnavailable": rolling["maxUnavailable"]});
            found.invalid(&at, shown, "only allowed for updateStrategy 'RollingUpdate'");
        }
        ("OnDelete", None) | ("RollingUpdate", None) => {}
        ("RollingUpdate", Some(rolling)) => {
            found.non_negative(&at, rolling, "partition");
            names::count_or_percent(found, &at, rolling, "maxUnavailable");
        }
        (_, _) => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            found.invalid(path, strategy.clone(), why);
        }
    }
}

const STATEFUL_FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

fn stateful_update(new: &Value, old: &Value, context: &Context<'_>) -> Vec<Cause> {
    const OPEN: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let mut found = Findings::default();
    if context.subresource == "status" {
        let status = &new["status"];
        let all = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
        status_numbers(&mut found, status, &all);
        for part in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
            at_most(&mut found, status, part, "replicas", OVER);
        }
        return found.causes;
    }
    let fixed = |v: &Value| {
        let mut spec = v["spec"].clone();
        OPEN.iter().for_each(|name| drop(remove(&mut spec, name)));
        spec
    };
    if fixed(new) != fixed(old) {
        found.forbidden(&Path::Root("spec"), STATEFUL_FIXED);
        return found.causes;
    }
    stateful_set(&mut found, &new["spec"]);
    found.causes
}

// --- DaemonSet ----------------------------------------------------------------------------------------------------

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) static DAEMON_SET: Facts = Facts {
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

// --- ControllerRevision -------------------------------------------------------------------------------------------

pub(super) static CONTROLLER_REVISION: Facts = Facts {
    generation: Generation::None,
    validate_create: |v, _| {
        let mut found = Findings::default();
        revision(&mut found, v);
        found.causes
    },
    validate_update: |new, old, _| {
        let mut found = Findings::default();
        revision(&mut found, new);
        if new["data"] != old["data"] {
            found.invalid(&Path::Root("data"), new["data"].clone(), "field is immutable");
        }
        found.causes
    },
    columns: &REVISION_COLUMNS,
    row: |v, now| {
        let owner =
            list(&v["metadata"], "ownerReferences").iter().find(|o| o["controller"] == Value::Bool(true));
        let owner = owner.map_or_else(|| "<none>".to_owned(), |o| qualified_owner(o));
        vec![v["metadata"]["name"].clone(), owner.into(), count(v, "revision"), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

static REVISION_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Controller", "string", "", 0),
    Column::new("Revision", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

/// `statefulset.apps/web`.
fn qualified_owner(owner: &Value) -> String {
    let kind = text(owner, "kind").to_lowercase();
    let group = text(owner, "apiVersion").split_once('/').map(|(g, _)| format!(".{g}")).unwrap_or_default();
    format!("{kind}{group}/{}", text(owner, "name"))
}

fn revision(found: &mut Findings, v: &Value) {
    if v["data"].is_null() {
        found.required(&Path::Root("data"), "data is mandatory");
    }
    found.non_negative(&Path::Root(""), v, "revision");
}

#[cfg(test)]
mod tests {
    use super::*;

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
