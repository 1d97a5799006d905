//! Namespace, Node, ConfigMap, Secret, ServiceAccount, Event.

use std::collections::BTreeSet;

use api_meta::Cause;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stdx::Time;

use super::check::{Findings, Path, default, entries, flag, given, int, list, object_mut, put, remove, text};
use super::names;
use super::show::{age_of, none_if_empty, since};
use crate::pipeline::metadata;
use crate::registry::{Cell, Column, Context, Facts, Generation, Names, StatusRule};

// --- Namespace ----------------------------------------------------------------------------------------------------

pub(super) static NAMESPACE: Facts = Facts {
    generation: Generation::None,
    names: Names::Label,
    selectable: &["status.phase"],
    field: |v, _| text(&v["status"], "phase").to_owned(),
    prepare_create: |v, _| {
        let mut finalizers: Vec<Value> = list(&v["spec"], "finalizers").to_vec();
        if !finalizers.iter().any(|f| f == "kubernetes") {
            finalizers.push(json!("kubernetes"));
        }
        v["spec"] = json!({"finalizers": finalizers});
        v["status"] = json!({"phase": "Active"});
    },
    prepare_update: |new, old, context| {
        if context.subresource == "finalize" {
            // The whole object comes through this door but for its status.
            put(new, "status", old["status"].clone());
        } else {
            let kept = old["spec"]["finalizers"].clone();
            put(&mut new["spec"], "finalizers", kept);
        }
        if list(&new["spec"], "finalizers").is_empty() {
            remove(&mut new["spec"], "finalizers");
        }
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        let at = Path::Root("spec.finalizers");
        list(&v["spec"], "finalizers").iter().for_each(|f| namespace_finalizer(&mut found, &at, f));
        found.causes
    },
    validate_update: |new, _, context| {
        let mut found = Findings::default();
        if context.subresource == "finalize" {
            let at = Path::Root("spec.finalizers");
            let all = list(&new["spec"], "finalizers").iter().enumerate();
            all.for_each(|(i, f)| namespace_finalizer(&mut found, &at.index(i), f));
        }
        if context.subresource == "status" {
            let is_going = given(&new["metadata"], "deletionTimestamp").is_some();
            let phase = text(&new["status"], "phase");
            if is_going && phase != "Terminating" {
                found.invalid(
                    &Path::Root("status.Phase"),
                    phase,
                    "may only be 'Terminating' if `deletionTimestamp` is not empty",
                );
            } else if !is_going && phase != "Active" {
                found.invalid(
                    &Path::Root("status.Phase"),
                    phase,
                    "may only be 'Active' if `deletionTimestamp` is empty",
                );
            }
        }
        found.causes
    },
    columns: &NAMESPACE_COLUMNS,
    row: |v, now| {
        vec![v["metadata"]["name"].clone(), text(&v["status"], "phase").into(), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

fn namespace_finalizer(found: &mut Findings, at: &Path<'_>, finalizer: &Value) {
    let name = finalizer.as_str().unwrap_or_default();
    found.faults(at, name, names::qualified(name));
    found.faults(at, name, metadata::finalizer_fault(name).map(str::to_owned).into_iter().collect());
}

static NAMESPACE_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Status", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

// --- Node ---------------------------------------------------------------------------------------------------------

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) static NODE: Facts = Facts {
    generation: Generation::None,
    // A node brings its status along when it registers.
    status: StatusRule::Open,
    selectable: &["spec.unschedulable"],
    field: |v, _| flag(&v["spec"], "unschedulable").to_string(),
    default: |v| {
        if let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) {
            let one = text(spec, "podCIDR").to_owned();
            let first = list(spec, "podCIDRs").first().and_then(Value::as_str).unwrap_or_default().to_owned();
            if !one.is_empty() && first != one {
                put(spec, "podCIDRs", json!([one]));
            } else if one.is_empty() && !first.is_empty() {
                put(spec, "podCIDR", first.into());
            }
        }
        let capacity = v["status"]["capacity"].clone();
        if capacity.is_object() && given(&v["status"], "allocatable").is_none() {
            v["status"]["allocatable"] = capacity;
        }
    },
    prepare_create: |v, _| {
        // Until its conditions are known, nothing is to be placed there (TaintNodesByCondition).
        let taints = list(&v["spec"], "taints");
        let has = taints.iter().any(|t| text(t, "key") == NOT_READY && text(t, "effect") == "NoSchedule");
        if !has {
            let mut all = taints.to_vec();
            all.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
            object_mut(v, "spec").insert("taints".into(), Value::Array(all));
        }
    },
    prepare_update: |new, old, context| {
        if context.subresource.is_empty() {
            put(new, "status", old["status"].clone());
        }
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        node(&mut found, v);
        found.causes
    },
    validate_update: node_update,
    columns: &NODE_COLUMNS,
    row: node_row,
    ..Facts::PLAIN
};

static NODE_COLUMNS: [Column; 10] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Status", "string", "", 0),
    Column::new("Roles", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("Version", "string", "", 0),
    Column::new("Internal-IP", "string", "", 1),
    Column::new("External-IP", "string", "", 1),
    Column::new("OS-Image", "string", "", 1),
    Column::new("Kernel-Version", "string", "", 1),
    Column::new("Container-Runtime", "string", "", 1),
];

fn node_row(v: &Value, now: Time) -> Vec<Cell> {
    const ROLE: &str = "node-role.kubernetes.io/";
    let status = &v["status"];
    let ready = list(status, "conditions").iter().find(|c| text(c, "type") == "Ready");
    let mut state = match ready.map(|c| text(c, "status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if flag(&v["spec"], "unschedulable") {
        state.push_str(",SchedulingDisabled");
    }
    let roles: BTreeSet<&str> = entries(&v["metadata"], "labels")
        .filter_map(|(k, v)| match k.strip_prefix(ROLE) {
            Some(role) => Some(role).filter(|r| !r.is_empty()),
            None if k == "kubernetes.io/role" => v.as_str().filter(|r| !r.is_empty()),
            None => None,
        })
        .collect();
    let roles: Vec<&str> = roles.into_iter().collect();
    let address = |kind: &str| {
        let found = list(status, "addresses").iter().find(|a| text(a, "type") == kind);
        none_if_empty(found.map_or("", |a| text(a, "address")))
    };
    let info = |name: &str| -> Cell {
        match text(&status["nodeInfo"], name) {
            "" => "<unknown>".into(),
            text => text.into(),
        }
    };
    vec![
        v["metadata"]["name"].clone(),
        state.into(),
        none_if_empty(&roles.join(",")),
        age_of(v, now).into(),
        text(&status["nodeInfo"], "kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn node(found: &mut Findings, v: &Value) {
    let at = Path::Root("metadata.taints");
    let mut seen = BTreeSet::new();
    for (i, taint) in list(&v["spec"], "taints").iter().enumerate() {
        let path = at.index(i);
        let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        found.faults(&path.field("key"), key, names::qualified(key));
        found.faults(&path.field("value"), value, names::label_value(value));
        if effect.is_empty() {
            found.required(&path.field("effect"), "");
        } else {
            super::pod::taint_effect(found, &path.field("effect"), effect);
        }
        if !seen.insert((key, effect)) {
            let shown =
                json!({"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint["timeAdded"]});
            found.add(
                &path,
                "FieldValueDuplicate",
                format!("Duplicate value: {shown}: taints must be unique by key and effect pair"),
            );
        }
    }
    let at = Path::Root("spec.podCIDRs");
    for (i, cidr) in list(&v["spec"], "podCIDRs").iter().enumerate() {
        let cidr = cidr.as_str().unwrap_or_default();
        found.faults(&at.index(i), cidr, names::cidr(cidr));
    }
    let ranges = list(&v["spec"], "podCIDRs");
    let is_six = |cidr: &Value| cidr.as_str().is_some_and(|c| c.contains(':'));
    if ranges.len() > 2 || matches!(ranges, [a, b] if is_six(a) == is_six(b)) {
        let shown = v["spec"]["podCIDRs"].clone();
        found.invalid(&at, shown, "may specify no more than one CIDR for each IP family");
    }
    for name in ["capacity", "allocatable"] {
        let path = Path::Root("status");
        let path = path.field(name);
        for (resource, value) in entries(&v["status"], name) {
            super::pod::resource_value(found, &path.field(resource), resource, value);
        }
    }
}

fn node_update(new: &Value, old: &Value, context: &Context<'_>) -> Vec<Cause> {
    let mut found = Findings::default();
    // Upstream judges a changed node twice, its labels with it, and once when only the status is written.
    for _ in 0..if context.subresource == "status" { 1 } else { 2 } {
        names::labels(&mut found, &Path::Root("metadata"), &new["metadata"], "labels");
        node(&mut found, new);
    }
    let (spec, was) = (&new["spec"], &old["spec"]);
    let first = |s: &Value| text(s, "podCIDR").to_owned();
    if !first(was).is_empty() && first(spec) != first(was) {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        found.forbidden(&Path::Root("spec.podCIDRs"), why);
    }
    if !text(was, "providerID").is_empty() && text(spec, "providerID") != text(was, "providerID") {
        let why = "node updates may not change providerID except from \"\" to valid";
        found.forbidden(&Path::Root("spec.providerID"), why);
    }
    found.causes
}

// --- ConfigMap ----------------------------------------------------------------------------------------------------

/// Contents of a ConfigMap or Secret together.
const CONTENT_BYTES_MAX: usize = 1 << 20;

pub(super) static CONFIG_MAP: Facts = Facts {
    generation: Generation::None,
    validate_create: |v, _| {
        let mut found = Findings::default();
        config_map(&mut found, v);
        found.causes
    },
    validate_update: |new, old, _| {
        let mut found = Findings::default();
        frozen(&mut found, new, old, &["data", "binaryData"]);
        config_map(&mut found, new);
        found.causes
    },
    columns: &CONFIG_MAP_COLUMNS,
    row: |v, now| {
        let count = entries(v, "data").count() + entries(v, "binaryData").count();
        vec![v["metadata"]["name"].clone(), count.into(), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

static CONFIG_MAP_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Data", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

/// What is marked immutable stays so, with its contents.
fn frozen(found: &mut Findings, new: &Value, old: &Value, parts: &[&str]) {
    const WHY: &str = "field is immutable when `immutable` is set";
    if !flag(old, "immutable") {
        return;
    }
    if !flag(new, "immutable") {
        found.forbidden(&Path::Root("immutable"), WHY);
    }
    for part in parts {
        if new[*part] != old[*part] {
            found.forbidden(&Path::Root(part), WHY);
        }
    }
}

fn config_map(found: &mut Findings, v: &Value) {
    let mut size = 0;
    let data = Path::Root("data");
    for (key, value) in entries(v, "data") {
        found.faults(&data.key(key), key, names::config_key(key));
        if given(&v["binaryData"], key).is_some() {
            found.invalid(&data.key(key), key, "duplicate of key present in binaryData");
        }
        size += value.as_str().map_or(0, str::len);
    }
    let binary = Path::Root("binaryData");
    for (key, value) in entries(v, "binaryData") {
        found.faults(&binary.key(key), key, names::config_key(key));
        size += value.as_str().map_or(0, |s| s.len() / 4 * 3);
    }
    if size > CONTENT_BYTES_MAX {
        // The path of nothing, as upstream prints it.
        found.too_long(&Path::Root("[]"), CONTENT_BYTES_MAX);
    }
}

// --- Secret -------------------------------------------------------------------------------------------------------

pub(super) static SECRET: Facts = Facts {
    generation: Generation::None,
    selectable: &["type"],
    field: |v, _| text(v, "type").to_owned(),
    default: |v| {
        if let Value::Object(plain) = remove(v, "stringData") {
            for (key, value) in plain {
                let coded = STANDARD.encode(value.as_str().unwrap_or_default());
                object_mut(v, "data").insert(key, coded.into());
            }
        }
        default(v, "type", "Opaque");
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        secret(&mut found, v);
        found.causes
    },
    validate_update: |new, old, _| {
        let mut found = Findings::default();
        found.immutable(&Path::Root("type"), &new["type"], &old["type"]);
        frozen(&mut found, new, old, &["data"]);
        secret(&mut found, new);
        found.causes
    },
    columns: &SECRET_COLUMNS,
    row: |v, now| {
        vec![
            v["metadata"]["name"].clone(),
            text(v, "type").into(),
            entries(v, "data").count().into(),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

static SECRET_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Type", "string", "", 0),
    Column::new("Data", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn secret(found: &mut Findings, v: &Value) {
    let data = Path::Root("data");
    let mut size = 0;
    for (key, value) in entries(v, "data") {
        found.faults(&data.key(key), key, names::config_key(key));
        size += value.as_str().map_or(0, |s| s.len() / 4 * 3);
    }
    if size > CONTENT_BYTES_MAX {
        found.too_long(&data, CONTENT_BYTES_MAX);
    }
    match text(v, "type") {
        "kubernetes.io/service-account-token" => {
            const KEY: &str = "kubernetes.io/service-account.name";
            if text(&v["metadata"]["annotations"], KEY).is_empty() {
                found.required(&Path::Root("metadata.annotations").key(KEY), "");
            }
        }
        "kubernetes.io/dockercfg" => json_key(found, v, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json_key(found, v, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" => {
            let has = |k: &str| given(&v["data"], k).is_some();
            if !has("username") && !has("password") {
                found.required(&data.key("username"), "");
                found.required(&data.key("password"), "");
            }
        }
        "kubernetes.io/ssh-auth" if text(&v["data"], "ssh-privatekey").is_empty() => {
            found.required(&data.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if given(&v["data"], key).is_none() {
                    found.required(&data.key(key), "");
                }
            }
        }
        _ => {}
    }
}

/// A key whose contents must be JSON; they are never shown.
fn json_key(found: &mut Findings, v: &Value, key: &str) {
    let data = Path::Root("data");
    let Some(coded) = given(&v["data"], key).and_then(Value::as_str) else {
        found.required(&data.key(key), "");
        return;
    };
    let plain = STANDARD.decode(coded).unwrap_or_default();
    if let Err(e) = api_schema::decode_json(&plain) {
        found.invalid(&data.key(key), "<secret contents redacted>", &e.to_string());
    }
}

// --- ServiceAccount -----------------------------------------------------------------------------------------------

pub(super) static SERVICE_ACCOUNT: Facts = Facts {
    generation: Generation::None,
    columns: &NAME_AGE,
    row: |v, now| vec![v["metadata"]["name"].clone(), age_of(v, now).into()],
    ..Facts::PLAIN
};

pub(super) static NAME_AGE: [Column; 2] =
    [Column::new("Name", "string", "name", 0), Column::new("Age", "string", "", 0)];

// --- Event --------------------------------------------------------------------------------------------------------

pub(super) static EVENT: Facts = Facts {
    generation: Generation::None,
    create_on_update: true,
    selectable: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
    field: event_field,
    validate_create: |v, _| event(v),
    validate_update: |v, _, _| event(v),
    columns: &EVENT_COLUMNS,
    row: event_row,
    ..Facts::PLAIN
};

static EVENT_COLUMNS: [Column; 10] = [
    Column::new("Last Seen", "string", "", 0),
    Column::new("Type", "string", "", 0),
    Column::new("Reason", "string", "", 0),
    Column::new("Object", "string", "", 0),
    Column::new("Subobject", "string", "", 1),
    Column::new("Source", "string", "", 1),
    Column::new("Message", "string", "", 0),
    Column::new("First Seen", "string", "", 1),
    Column::new("Count", "string", "", 1),
    Column::new("Name", "string", "name", 1),
];

fn event_field(v: &Value, name: &str) -> String {
    let value = match name.strip_prefix("involvedObject.") {
        Some(part) => text(&v["involvedObject"], part),
        None if name == "source" => match text(&v["source"], "component") {
            "" => text(v, "reportingComponent"),
            component => component,
        },
        None => text(v, name),
    };
    value.to_owned()
}

/// The first name under which a thing is there: events have two shapes.
fn either<'a>(v: &'a Value, core: &str, new: &str) -> &'a Value {
    if v[core].is_null() { &v[new] } else { &v[core] }
}

fn event_row(v: &Value, now: Time) -> Vec<Cell> {
    let about = either(v, "involvedObject", "regarding");
    let source = either(v, "source", "deprecatedSource");
    let moment = |core: &str, new: &str| either(v, core, new).as_str().map(str::to_owned);
    let first =
        moment("firstTimestamp", "deprecatedFirstTimestamp").or_else(|| moment("eventTime", "eventTime"));
    let first = first.map_or_else(|| "<unknown>".to_owned(), |t| since(now, &t));
    let mut last = match moment("lastTimestamp", "deprecatedLastTimestamp") {
        Some(t) => since(now, &t),
        None => first.clone(),
    };
    let mut count = either(v, "count", "deprecatedCount").as_i64().filter(|n| *n != 0).unwrap_or(1);
    if let Some(series) = given(v, "series") {
        last = since(now, text(series, "lastObservedTime"));
        count = int(series, "count").unwrap_or(count);
    }
    let kind = text(about, "kind").to_lowercase();
    let target = match text(about, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let pick = |a: &str, b: &str| if a.is_empty() { b.to_owned() } else { a.to_owned() };
    let reporter = either(v, "reportingComponent", "reportingController").as_str().unwrap_or_default();
    let component = pick(text(source, "component"), reporter);
    let instance = pick(text(source, "host"), text(v, "reportingInstance"));
    let from = if instance.is_empty() { component } else { format!("{component}, {instance}") };
    vec![
        last.into(),
        text(v, "type").into(),
        text(v, "reason").into(),
        target.into(),
        text(about, "fieldPath").into(),
        from.into(),
        either(v, "message", "note").as_str().unwrap_or_default().trim().into(),
        first.into(),
        count.into(),
        v["metadata"]["name"].clone(),
    ]
}

fn event(v: &Value) -> Vec<Cause> {
    let mut found = Findings::default();
    let (own, about) = (text(&v["metadata"], "namespace"), text(&v["involvedObject"], "namespace"));
    // What is about a cluster-wide object lives in the namespace `default`.
    let is_fine = if about.is_empty() { matches!(own, "" | "default") } else { own == about };
    if !is_fine {
        found.invalid(&Path::Root("involvedObject.namespace"), about, "does not match event.namespace");
    }
    found.causes
}
