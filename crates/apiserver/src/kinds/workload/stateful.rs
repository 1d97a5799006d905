//! StatefulSet.

use api_meta::Cause;
use serde_json::{Value, json};

use super::super::check::{
    Findings, Path, default, each_mut, given, given_mut, int, list, put, remove, text,
};
use super::super::show::{age_of, containers};
use super::super::{names, storage};
use super::shared::{
    OVER, Words, always_restarts, at_most, default_template, selector_and_template, status_numbers, warnings,
};
use crate::registry::{Column, Context, Facts};

pub(in super::super) static STATEFUL_SET: Facts = Facts {
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
            storage::default_claim(claim);
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
    let claims = path.field("volumeClaimTemplates");
    for (i, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
        super::super::storage::claim_spec(found, &claims.index(i).field("spec"), &claim["spec"]);
    }
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
