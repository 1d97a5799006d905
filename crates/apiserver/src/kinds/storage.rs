//! PersistentVolumeClaim, PersistentVolume, StorageClass, and their relatives.

use api_meta::Cause;
use serde_json::{Value, json};

use super::check::{Findings, Path, default, entries, flag, given, list, put, text};
use super::names;
use super::pod::quantity;
use super::show::{age_of, plain, unset_if_empty};
use crate::registry::{Column, Context, Facts, Generation};

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Adds a finalizer that admission adds upstream (StorageObjectInUseProtection).
fn protect(v: &mut Value, finalizer: &str) {
    let mut all = list(&v["metadata"], "finalizers").to_vec();
    if !all.iter().any(|f| f == finalizer) {
        all.push(finalizer.into());
        v["metadata"]["finalizers"] = Value::Array(all);
    }
}

/// `RWO,ROX` of a list of access modes.
fn short_modes(modes: &[Value]) -> String {
    let mut out = Vec::new();
    for (mode, short) in [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ] {
        if modes.iter().any(|m| m == mode) {
            out.push(short);
        }
    }
    out.join(",")
}

fn class_of(v: &Value) -> &str {
    match text(&v["metadata"]["annotations"], "volume.beta.kubernetes.io/storage-class") {
        "" => text(&v["spec"], "storageClassName"),
        class => class,
    }
}

fn phase(v: &Value) -> &str {
    if given(&v["metadata"], "deletionTimestamp").is_some() {
        "Terminating"
    } else {
        text(&v["status"], "phase")
    }
}

// --- PersistentVolumeClaim ----------------------------------------------------------------------------------------

pub(super) static CLAIM: Facts = Facts {
    generation: Generation::None,
    default: default_claim,
    prepare_create: |v, _| {
        put(v, "status", json!({"phase": "Pending"}));
        protect(v, "kubernetes.io/pvc-protection");
        copy_sources(v);
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        claim_spec(&mut found, &Path::Root("spec"), &v["spec"]);
        found.causes
    },
    validate_update: claim_update,
    columns: &CLAIM_COLUMNS,
    row: |v, now| {
        let (spec, status) = (&v["spec"], &v["status"]);
        let is_bound = !text(spec, "volumeName").is_empty();
        let capacity = if is_bound { plain(&status["capacity"]["storage"]) } else { String::new() };
        let capacity = if is_bound && capacity.is_empty() { "0".to_owned() } else { capacity };
        let modes = if is_bound { short_modes(list(status, "accessModes")) } else { String::new() };
        vec![
            v["metadata"]["name"].clone(),
            phase(v).into(),
            text(spec, "volumeName").into(),
            capacity.into(),
            modes.into(),
            class_of(v).into(),
            unset_if_empty(text(spec, "volumeAttributesClassName")),
            age_of(v, now).into(),
            unset_if_empty(text(spec, "volumeMode")),
        ]
    },
    ..Facts::PLAIN
};

static CLAIM_COLUMNS: [Column; 9] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Status", "string", "", 0),
    Column::new("Volume", "string", "", 0),
    Column::new("Capacity", "string", "", 0),
    Column::new("Access Modes", "string", "", 0),
    Column::new("StorageClass", "string", "", 0),
    Column::new("VolumeAttributesClass", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("VolumeMode", "string", "", 1),
];

/// Defaults of a claim, wherever it stands.
pub(super) fn default_claim(v: &mut Value) {
    if let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) {
        default(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = v.get_mut("status").filter(|s| s.is_object()) {
        default(status, "phase", "Pending");
    }
}

/// `dataSource` and `dataSourceRef` say the same where the older can.
fn copy_sources(v: &mut Value) {
    let Some(spec) = v.get_mut("spec") else { return };
    let (old, new) = (spec["dataSource"].clone(), spec["dataSourceRef"].clone());
    if !old.is_null() && new.is_null() {
        spec["dataSourceRef"] = old;
    } else if old.is_null() && !new.is_null() && text(&new, "namespace").is_empty() {
        let kind = (text(&new, "apiGroup"), text(&new, "kind"));
        if matches!(kind, ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")) {
            spec["dataSource"] = new;
        }
    }
}

/// Findings about a claim's spec, wherever it stands.
pub(super) fn claim_spec(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    access_modes(found, path, spec);
    if let Some(selector) = given(spec, "selector") {
        names::selector(found, &path.field("selector"), selector);
    }
    let at = path.field("resources");
    match given(&spec["resources"]["requests"], "storage") {
        None => found.required(&at.key("storage"), ""),
        Some(value) => {
            if quantity(value).is_some_and(|q| q.milli() <= 0) {
                found.invalid(&at.key("storage"), value.clone(), "must be greater than zero");
            }
        }
    }
    for name in ["storageClassName", "volumeAttributesClassName"] {
        let class = text(spec, name);
        if !class.is_empty() {
            found.faults(&path.field(name), class, names::subdomain(class));
        }
    }
    let mode = text(spec, "volumeMode");
    if !mode.is_empty() {
        found.one_of(&path.field("volumeMode"), mode, &["Block", "Filesystem"]);
    }
}

fn access_modes(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("accessModes");
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        found.required(&at, "at least 1 access mode is required");
    }
    for mode in modes {
        found.one_of(&at, mode.as_str().unwrap_or_default(), &MODES);
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        found.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
}

const CLAIM_FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

fn claim_update(new: &Value, old: &Value, context: &Context<'_>) -> Vec<Cause> {
    let mut found = Findings::default();
    if context.subresource == "status" {
        if list(&new["spec"], "accessModes").is_empty() {
            found.required(&Path::Root("Spec.accessModes"), "");
        }
        return found.causes;
    }
    claim_spec(&mut found, &Path::Root("spec"), &new["spec"]);
    let (mut now, was) = (new["spec"].clone(), &old["spec"]);
    // A claim that is not bound may be bound by hand, once.
    if text(was, "volumeName").is_empty() {
        put(&mut now, "volumeName", was["volumeName"].clone());
    }
    let is_bound = text(&old["status"], "phase") == "Bound";
    if is_bound {
        let kept = was["resources"]["requests"].clone();
        put(&mut now["resources"], "requests", kept);
        put(&mut now, "volumeAttributesClassName", was["volumeAttributesClassName"].clone());
    }
    if now != *was {
        found.forbidden(&Path::Root("spec"), CLAIM_FIXED);
    }
    shrink(&mut found, new, old);
    found.causes
}

fn shrink(found: &mut Findings, new: &Value, old: &Value) {
    let storage = |v: &Value| quantity(&v["resources"]["requests"]["storage"]);
    let (Some(now), Some(was)) = (storage(&new["spec"]), storage(&old["spec"])) else { return };
    let capacity = quantity(&old["status"]["capacity"]["storage"]);
    if now < was && capacity.is_some_and(|c| now < c || now == c && was != c) {
        let at = Path::Root("spec.resources.requests.storage");
        found.forbidden(&at, "field can not be less than status.capacity");
    }
}

// --- PersistentVolume ---------------------------------------------------------------------------------------------

pub(super) static VOLUME: Facts = Facts {
    generation: Generation::None,
    default: |v| {
        if let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) {
            default(spec, "persistentVolumeReclaimPolicy", "Retain");
            default(spec, "volumeMode", "Filesystem");
            super::pod::default_host_path(spec);
        }
        if let Some(status) = v.get_mut("status").filter(|s| s.is_object()) {
            default(status, "phase", "Pending");
        }
    },
    prepare_create: |v, context| {
        let status = json!({"phase": "Pending", "lastPhaseTransitionTime": context.now.to_string()});
        put(v, "status", status);
        protect(v, "kubernetes.io/pv-protection");
    },
    prepare_update: |new, old, context| {
        if context.subresource == "status" && new["status"]["phase"] != old["status"]["phase"] {
            let untouched =
                new["status"]["lastPhaseTransitionTime"] == old["status"]["lastPhaseTransitionTime"];
            if untouched || new["status"]["lastPhaseTransitionTime"].is_null() {
                new["status"]["lastPhaseTransitionTime"] = context.now.to_string().into();
            }
        }
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        volume(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |new, old, context| {
        let mut found = Findings::default();
        if context.subresource != "status" {
            volume(&mut found, &new["spec"]);
            volume_update(&mut found, &new["spec"], &old["spec"]);
        }
        found.causes
    },
    columns: &VOLUME_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        let claim = given(spec, "claimRef")
            .map(|c| format!("{}/{}", text(c, "namespace"), text(c, "name")))
            .unwrap_or_default();
        vec![
            v["metadata"]["name"].clone(),
            plain(&spec["capacity"]["storage"]).into(),
            short_modes(list(spec, "accessModes")).into(),
            text(spec, "persistentVolumeReclaimPolicy").into(),
            phase(v).into(),
            claim.into(),
            class_of(v).into(),
            unset_if_empty(text(spec, "volumeAttributesClassName")),
            text(&v["status"], "reason").into(),
            age_of(v, now).into(),
            unset_if_empty(text(spec, "volumeMode")),
        ]
    },
    ..Facts::PLAIN
};

static VOLUME_COLUMNS: [Column; 11] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Capacity", "string", "", 0),
    Column::new("Access Modes", "string", "", 0),
    Column::new("Reclaim Policy", "string", "", 0),
    Column::new("Status", "string", "", 0),
    Column::new("Claim", "string", "", 0),
    Column::new("StorageClass", "string", "", 0),
    Column::new("VolumeAttributesClass", "string", "", 0),
    Column::new("Reason", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("VolumeMode", "string", "", 1),
];

/// Fields of a volume's spec that are no source.
const NO_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn sources(spec: &Value) -> Vec<(&str, &Value)> {
    let all = spec.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v));
    all.filter(|(k, v)| !v.is_null() && !NO_SOURCE.contains(k)).collect()
}

fn volume(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    if list(spec, "accessModes").is_empty() {
        found.required(&path.field("accessModes"), "");
    }
    for mode in list(spec, "accessModes") {
        found.one_of(&path.field("accessModes"), mode.as_str().unwrap_or_default(), &MODES);
    }
    let capacity = path.field("capacity");
    match entries(spec, "capacity").count() {
        0 => {
            found.required(&capacity, "");
            found.not_supported(&capacity, spec["capacity"].clone(), &["storage"]);
        }
        1 if given(&spec["capacity"], "storage").is_some() => {}
        _ => {
            let shown = spec["capacity"].clone();
            found.not_supported(&capacity, shown, &["storage"]);
        }
    }
    for (name, value) in entries(spec, "capacity") {
        if quantity(value).is_some_and(|q| q.milli() <= 0) {
            found.invalid(&capacity.key(name), value.clone(), "must be greater than zero");
        }
    }
    found.required_one_of(
        &path.field("persistentVolumeReclaimPolicy"),
        text(spec, "persistentVolumeReclaimPolicy"),
        &["Delete", "Recycle", "Retain"],
    );
    match sources(spec).as_slice() {
        [] => found.required(&path, "must specify a volume type"),
        [(kind, source)] => {
            let at = path.field(kind);
            match *kind {
                "hostPath" => {
                    super::pod::host_path(found, &at, source);
                    let is_recycled = text(spec, "persistentVolumeReclaimPolicy") == "Recycle";
                    if is_recycled && text(source, "path") == "/" {
                        let why = "may not be 'recycle' for a hostPath mount of '/'";
                        found.forbidden(&path.field("persistentVolumeReclaimPolicy"), why);
                    }
                }
                "csi" => {
                    super::pod::csi_driver(found, &at, source);
                    if text(source, "volumeHandle").is_empty() {
                        found.required(&at.field("volumeHandle"), "");
                    }
                }
                "local" => {
                    if text(source, "path").is_empty() {
                        found.required(&at.field("path"), "");
                    }
                    if given(spec, "nodeAffinity").is_none() {
                        found.required(&path.field("nodeAffinity"), "Local volume requires node affinity");
                    }
                }
                _ => {}
            }
        }
        [_, rest @ ..] => {
            for (kind, _) in rest {
                found.forbidden(&path.field(kind), "may not specify more than 1 volume type");
            }
        }
    }
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        found.faults(&path.field("storageClassName"), class, names::subdomain(class));
    }
    if let Some(required) = given(&spec["nodeAffinity"], "required") {
        let at = path.field("nodeAffinity");
        super::pod::node_selector(found, &at.field("required"), required);
    }
    let mode = text(spec, "volumeMode");
    found.one_of(&path.field("volumeMode"), mode, &["Block", "Filesystem"]);
}

fn volume_update(found: &mut Findings, spec: &Value, was: &Value) {
    if sources(spec) != sources(was) {
        found.forbidden(
            &Path::Root("spec.persistentvolumesource"),
            "spec.persistentvolumesource is immutable after creation",
        );
    }
    found.immutable(&Path::Root("volumeMode"), &spec["volumeMode"], &was["volumeMode"]);
}

// --- StorageClass -------------------------------------------------------------------------------------------------

pub(super) static CLASS: Facts = Facts {
    generation: Generation::None,
    default: |v| {
        default(v, "reclaimPolicy", "Delete");
        default(v, "volumeBindingMode", "Immediate");
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        class(&mut found, v);
        found.causes
    },
    validate_update: |new, old, _| {
        let mut found = Findings::default();
        class(&mut found, new);
        for name in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            found.immutable(&Path::Root(name), &new[name], &old[name]);
        }
        found.causes
    },
    columns: &CLASS_COLUMNS,
    row: |v, now| {
        let annotation = |k: &str| text(&v["metadata"]["annotations"], k) == "true";
        let is_default = annotation("storageclass.kubernetes.io/is-default-class")
            || annotation("storageclass.beta.kubernetes.io/is-default-class");
        let name = text(&v["metadata"], "name");
        let shown = if is_default { format!("{name} (default)") } else { name.to_owned() };
        vec![
            shown.into(),
            text(v, "provisioner").into(),
            text(v, "reclaimPolicy").into(),
            text(v, "volumeBindingMode").into(),
            flag(v, "allowVolumeExpansion").into(),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

static CLASS_COLUMNS: [Column; 6] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Provisioner", "string", "", 0),
    Column::new("ReclaimPolicy", "string", "", 0),
    Column::new("VolumeBindingMode", "string", "", 0),
    Column::new("AllowVolumeExpansion", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn class(found: &mut Findings, v: &Value) {
    let root = Path::Root("");
    let provisioner = text(v, "provisioner");
    if provisioner.is_empty() {
        found.required(&root.field("provisioner"), "");
    } else {
        found.faults(&root.field("provisioner"), provisioner, names::qualified(&provisioner.to_lowercase()));
    }
    if entries(v, "parameters").any(|(key, _)| key.is_empty()) {
        found.invalid(&root.field("parameters"), "", "field can not be empty.");
    }
    let terms = root.field("allowedTopologies");
    for (i, term) in list(v, "allowedTopologies").iter().enumerate() {
        let term_at = terms.index(i);
        let at = term_at.field("matchLabelExpressions");
        for (i, one) in list(term, "matchLabelExpressions").iter().enumerate() {
            let at = at.index(i);
            if list(one, "values").is_empty() {
                found.required(&at.field("values"), "");
            }
            found.faults(&at.field("key"), text(one, "key"), names::qualified(text(one, "key")));
        }
    }
    found.one_of(&root.field("reclaimPolicy"), text(v, "reclaimPolicy"), &["Delete", "Retain"]);
    let mode = text(v, "volumeBindingMode");
    found.required_one_of(&root.field("volumeBindingMode"), mode, &["Immediate", "WaitForFirstConsumer"]);
}

// --- CSIDriver, CSINode, VolumeAttachment -------------------------------------------------------------------------

pub(super) static DRIVER: Facts = Facts {
    generation: Generation::Spec,
    needs_version: true,
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        default(spec, "attachRequired", true);
        default(spec, "podInfoOnMount", false);
        default(spec, "storageCapacity", false);
        default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        default(spec, "requiresRepublish", false);
        default(spec, "seLinuxMount", false);
        if list(spec, "volumeLifecycleModes").is_empty() {
            spec["volumeLifecycleModes"] = json!(["Persistent"]);
        }
    },
    columns: &DRIVER_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        let modes: Vec<&str> = list(spec, "volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
        let tokens: Vec<&str> = list(spec, "tokenRequests").iter().map(|t| text(t, "audience")).collect();
        vec![
            v["metadata"]["name"].clone(),
            spec["attachRequired"].as_bool().unwrap_or(true).into(),
            flag(spec, "podInfoOnMount").into(),
            flag(spec, "storageCapacity").into(),
            (if tokens.is_empty() { "<unset>".to_owned() } else { tokens.join(",") }).into(),
            flag(spec, "requiresRepublish").into(),
            modes.join(",").into(),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

static DRIVER_COLUMNS: [Column; 8] = [
    Column::new("Name", "string", "name", 0),
    Column::new("AttachRequired", "boolean", "", 0),
    Column::new("PodInfoOnMount", "boolean", "", 0),
    Column::new("StorageCapacity", "boolean", "", 0),
    Column::new("TokenRequests", "string", "", 0),
    Column::new("RequiresRepublish", "boolean", "", 0),
    Column::new("Modes", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

pub(super) static CSI_NODE: Facts = Facts {
    generation: Generation::None,
    needs_version: true,
    columns: &CSI_NODE_COLUMNS,
    row: |v, now| {
        let drivers = list(&v["spec"], "drivers").len();
        vec![v["metadata"]["name"].clone(), drivers.into(), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

static CSI_NODE_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Drivers", "integer", "", 0),
    Column::new("Age", "string", "", 0),
];

pub(super) static ATTACHMENT: Facts = Facts {
    generation: Generation::None,
    needs_version: true,
    columns: &ATTACHMENT_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        vec![
            v["metadata"]["name"].clone(),
            text(spec, "attacher").into(),
            text(&spec["source"], "persistentVolumeName").into(),
            text(spec, "nodeName").into(),
            flag(&v["status"], "attached").into(),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

static ATTACHMENT_COLUMNS: [Column; 6] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Attacher", "string", "", 0),
    Column::new("PV", "string", "", 0),
    Column::new("Node", "string", "", 0),
    Column::new("Attached", "boolean", "", 0),
    Column::new("Age", "string", "", 0),
];

pub(super) static CSI_CAPACITY: Facts = Facts {
    generation: Generation::None,
    needs_version: true,
    columns: &CAPACITY_COLUMNS,
    row: |v, _| {
        vec![v["metadata"]["name"].clone(), text(v, "storageClassName").into(), plain(&v["capacity"]).into()]
    },
    ..Facts::PLAIN
};

static CAPACITY_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("StorageClassName", "string", "", 0),
    Column::new("Capacity", "string", "", 0),
];

pub(super) static ATTRIBUTES_CLASS: Facts = Facts {
    generation: Generation::None,
    columns: &ATTRIBUTES_COLUMNS,
    row: |v, now| vec![v["metadata"]["name"].clone(), text(v, "driverName").into(), age_of(v, now).into()],
    ..Facts::PLAIN
};

static ATTRIBUTES_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("DriverName", "string", "", 0),
    Column::new("Age", "string", "", 0),
];
