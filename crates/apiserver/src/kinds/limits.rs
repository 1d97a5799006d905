//! LimitRange and ResourceQuota.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::check::{Findings, Path, each_mut, entries, given, list, text};
use super::names;
use super::pod::{quantity, resource_value};
use super::show::{age_of, plain};
use crate::registry::{Column, Facts, Generation};

pub(super) static LIMIT_RANGE: Facts = Facts {
    generation: Generation::None,
    create_on_update: true,
    default: |v| {
        let Some(spec) = v.get_mut("spec") else { return };
        for item in each_mut(spec, "limits").filter(|i| text(i, "type") == "Container") {
            // What is missing follows from the other end of the range.
            fill(item, "default", "max");
            fill(item, "defaultRequest", "default");
            fill(item, "defaultRequest", "min");
        }
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        limit_range(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |v, _, _| {
        let mut found = Findings::default();
        limit_range(&mut found, &v["spec"]);
        found.causes
    },
    columns: &super::policy::CREATED_COLUMNS,
    row: super::policy::created_row,
    ..Facts::PLAIN
};

fn fill(item: &mut Value, name: &str, from: &str) {
    let source = item[from].as_object().cloned().unwrap_or_default();
    if source.is_empty() {
        return;
    }
    if !item[name].is_object() {
        item[name] = Value::Object(Map::new());
    }
    let target = item[name].as_object_mut().expect("made above");
    for (key, value) in source {
        target.entry(key).or_insert(value);
    }
}

fn limit_range(found: &mut Findings, spec: &Value) {
    let at = Path::Root("spec.limits");
    let mut seen = BTreeSet::new();
    for (i, item) in list(spec, "limits").iter().enumerate() {
        let path = at.index(i);
        let kind = text(item, "type");
        limit_type(found, &path.field("type"), kind);
        if !seen.insert(kind) {
            found.duplicate(&path.field("type"), kind);
        }
        if kind == "Pod" {
            for name in ["default", "defaultRequest"] {
                if entries(item, name).next().is_some() {
                    let why = format!("may not be specified when `type` is '{kind}'");
                    found.forbidden(&path.field(name), &why);
                }
            }
        }
        let has = |name: &str| given(&item[name], "storage").is_some();
        if kind == "PersistentVolumeClaim" && !has("min") && !has("max") {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            found.required(&path.field("limits"), why);
        }
        let keys: BTreeSet<&str> = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
            .iter()
            .flat_map(|n| entries(item, n).map(|(k, _)| k))
            .collect();
        for key in keys {
            bounds(found, &path, item, key);
        }
    }
}

fn limit_type(found: &mut Findings, at: &Path<'_>, kind: &str) {
    let faults = names::qualified(kind);
    if !faults.is_empty() {
        found.faults(at, kind, faults);
        return;
    }
    if !kind.contains('/') && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") {
        found.invalid(at, kind, "must be a standard limit type or fully qualified");
    }
}

fn bounds(found: &mut Findings, path: &Path<'_>, item: &Value, key: &str) {
    let get = |name: &str| (item[name].get(key).map(plain).unwrap_or_default(), quantity(&item[name][key]));
    let (max, min, default, request, ratio) =
        (get("max"), get("min"), get("default"), get("defaultRequest"), get("maxLimitRequestRatio"));
    let mut above =
        |name: &str, (a, qa): &(String, _), (b, qb): &(String, _), words: (&str, &str), shown: &str| {
            if let (Some(qa), Some(qb)) = (qa, qb)
                && qa > qb
            {
                let why = format!("{} value {a} is greater than {} value {b}", words.0, words.1);
                found.invalid(&path.field(name).key(key), shown, &why);
            }
        };
    above("min", &min, &max, ("min", "max"), &min.0);
    above("defaultRequest", &min, &request, ("min", "default request"), &request.0);
    above("defaultRequest", &request, &max, ("default request", "max"), &request.0);
    above("defaultRequest", &request, &default, ("default request", "default limit"), &request.0);
    above("default", &min, &default, ("min", "default"), &min.0);
    above("default", &default, &max, ("default", "max"), &default.0);
    if let Some(q) = ratio.1
        && q.milli() < 1000
    {
        let why = format!("ratio {} is less than 1", ratio.0);
        found.invalid(&path.field("maxLimitRequestRatio").key(key), ratio.0.as_str(), &why);
    }
    if let (Some(asked), Some(max), Some(min)) = (ratio.1, max.1, min.1)
        && min.milli() > 0
    {
        let widest = max.milli() as f64 / min.milli() as f64;
        if asked.milli() as f64 / 1000.0 > widest {
            let why = format!("ratio {} is greater than max/min = {widest:.6}", ratio.0);
            found.invalid(&path.field("maxLimitRequestRatio").key(key), ratio.0.as_str(), &why);
        }
    }
}

// --- ResourceQuota ------------------------------------------------------------------------------------------------

pub(super) static QUOTA: Facts = Facts {
    generation: Generation::None,
    validate_create: |v, _| {
        let mut found = Findings::default();
        quota(&mut found, v);
        found.causes
    },
    validate_update: |new, old, context| {
        let mut found = Findings::default();
        if context.subresource == "status" {
            for name in ["hard", "used"] {
                let at = Path::Root("status").field(name).to_string();
                amounts(&mut found, &Path::Root(&at), &new["status"], name);
            }
            return found.causes;
        }
        quota(&mut found, new);
        for name in ["scopes", "scopeSelector"] {
            found.immutable(&Path::Root("spec").field(name), &new["spec"][name], &old["spec"][name]);
        }
        found.causes
    },
    columns: &QUOTA_COLUMNS,
    row: |v, now| {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in entries(&v["status"], "hard") {
            let used = v["status"]["used"].get(name).map_or_else(|| "0".to_owned(), plain);
            let shown = format!("{name}: {used}/{}", plain(hard));
            if name.starts_with("limits.") { limits.push(shown) } else { requests.push(shown) }
        }
        vec![
            v["metadata"]["name"].clone(),
            requests.join(", ").into(),
            limits.join(", ").into(),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

static QUOTA_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Request", "string", "", 0),
    Column::new("Limit", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

fn amounts(found: &mut Findings, at: &Path<'_>, of: &Value, name: &str) {
    for (resource, value) in entries(of, name) {
        quota_resource(found, &at.key(resource), resource);
        let is_counted = resource.starts_with("count/")
            || matches!(
                resource,
                "pods"
                    | "services"
                    | "replicationcontrollers"
                    | "resourcequotas"
                    | "secrets"
                    | "configmaps"
                    | "persistentvolumeclaims"
                    | "services.nodeports"
                    | "services.loadbalancers"
            );
        resource_value(found, &at.key(resource), if is_counted { "pods" } else { resource }, value);
    }
}

fn quota_resource(found: &mut Findings, at: &Path<'_>, name: &str) {
    const KNOWN: [&str; 18] = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
    ];
    found.faults(at, name, names::qualified(name));
    let is_known = KNOWN.contains(&name) || name == "services.loadbalancers" || name.contains("hugepages-");
    if !name.contains('/') && !is_known {
        found.invalid(at, name, "must be a standard resource for quota");
    }
}

/// Whether a scope says anything about a resource that Kubernetes itself counts.
fn fits(scope: &Value, resource: &str) -> bool {
    let is_pods = matches!(resource, "pods" | "count/pods");
    let is_compute = ["cpu", "memory", "ephemeral-storage"].iter().any(|r| {
        resource == *r
            || resource.strip_prefix("requests.") == Some(*r)
            || resource.strip_prefix("limits.") == Some(*r)
    });
    let is_standard = !resource.contains('/') && !resource.contains("hugepages-");
    match scope.as_str().unwrap_or_default() {
        _ if !is_standard => true,
        "BestEffort" => is_pods,
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => is_pods || is_compute,
        _ => true,
    }
}

fn quota(found: &mut Findings, v: &Value) {
    let spec = &v["spec"];
    let path = Path::Root("spec");
    amounts(found, &path.field("hard"), spec, "hard");
    let at = path.field("scopes");
    let scopes = list(spec, "scopes");
    for scope in scopes {
        if !SCOPES.contains(&scope.as_str().unwrap_or_default()) {
            found.invalid(&at, spec["scopes"].clone(), "unsupported scope");
        }
        for _ in entries(spec, "hard").filter(|(r, _)| !fits(scope, r)) {
            found.invalid(&at, spec["scopes"].clone(), "unsupported scope applied to resource");
        }
    }
    let has = |s: &str| scopes.iter().any(|x| x == s);
    if has("BestEffort") && has("NotBestEffort") || has("Terminating") && has("NotTerminating") {
        found.invalid(&at, spec["scopes"].clone(), "conflicting scopes");
    }
    let at = path.field("scopeSelector");
    let at = at.field("matchExpressions");
    for one in list(&spec["scopeSelector"], "matchExpressions") {
        let scope = text(one, "scopeName");
        if !SCOPES.contains(&scope) {
            found.invalid(&at.field("scopeName"), scope, "unsupported scope");
        }
        let values = list(one, "values");
        match text(one, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                found.required(&at.field("values"), why);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                found.invalid(&at.field("values"), Value::Array(values.to_vec()), why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => found.invalid(&at.field("operator"), other, "not a valid selector operator"),
        }
        let is_plain = matches!(
            scope,
            "BestEffort" | "NotBestEffort" | "Terminating" | "NotTerminating" | "CrossNamespacePodAffinity"
        );
        if is_plain && text(one, "operator") != "Exists" {
            let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                       ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                       ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            found.invalid(&at.field("operator"), text(one, "operator"), why);
        }
    }
}
