//! Variables of containers, and the fields of a pod that variables and volumes may show.

use serde_json::Value;

use super::super::check::{Findings, Path, given, list, text};
use super::super::names;

/// Fields of a pod that a variable may show.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Resources that a variable may show.
const ENV_RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn env(found: &mut Findings, path: &Path<'_>, c: &Value) {
    let at = path.field("env");
    for (i, one) in list(c, "env").iter().enumerate() {
        let path = at.index(i);
        let name = text(one, "name");
        if name.is_empty() {
            found.required(&path.field("name"), "");
        } else {
            found.faults(&path.field("name"), name, names::env_name(name));
        }
        if let Some(from) = given(one, "valueFrom") {
            env_source(found, &path.field("valueFrom"), one, from);
        }
    }
}

fn env_source(found: &mut Findings, path: &Path<'_>, one: &Value, from: &Value) {
    let mut count = 0;
    if let Some(field) = given(from, "fieldRef") {
        count += 1;
        pod_field(found, &path.field("fieldRef"), field, &ENV_FIELDS);
    }
    if let Some(resource) = given(from, "resourceFieldRef") {
        count += 1;
        resource_field(found, &path.field("resourceFieldRef"), resource, false);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        let Some(key) = given(from, name) else { continue };
        count += 1;
        let at = path.field(name);
        let source = text(key, "name");
        found.faults(&at.field("name"), source, names::subdomain(source));
        match text(key, "key") {
            "" => found.required(&at.field("key"), ""),
            key => found.faults(&at.field("key"), key, names::config_key(key)),
        }
    }
    if given(from, "fileKeyRef").is_some() {
        count += 1;
    }
    if count == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        found.invalid(path, "", why);
    }
    if !text(one, "value").is_empty() && count != 0 {
        found.invalid(path, "", "may not be specified when `value` is not empty");
    } else if count > 1 {
        found.invalid(path, "", "may not have more than one field specified at a time");
    }
}

/// A field of the pod itself.
pub(super) fn pod_field(found: &mut Findings, path: &Path<'_>, field: &Value, allowed: &[&str]) {
    let at = path.field("fieldPath");
    let name = text(field, "fieldPath");
    if text(field, "apiVersion").is_empty() {
        found.required(&path.field("apiVersion"), "");
        return;
    }
    if name.is_empty() {
        found.required(&at, "");
        return;
    }
    if let Some((map, rest)) = name.split_once('[') {
        let key = rest.strip_suffix(']').unwrap_or(rest).trim_matches(['\'', '"']);
        match map {
            "metadata.annotations" => found.faults(path, key, names::qualified(&key.to_lowercase())),
            "metadata.labels" => found.faults(path, key, names::qualified(key)),
            _ => found.invalid(path, name, &format!("{map:?} does not support subscript")),
        }
        return;
    }
    const KNOWN: [&str; 11] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    if !KNOWN.contains(&name) {
        let why = format!("error converting fieldPath: field label not supported: {name}");
        found.invalid(&at, name, &why);
    } else if !allowed.contains(&name) {
        found.not_supported(&at, name, allowed);
    }
}

/// A resource of a container.
pub(super) fn resource_field(found: &mut Findings, path: &Path<'_>, field: &Value, is_volume: bool) {
    let resource = text(field, "resource");
    if is_volume && text(field, "containerName").is_empty() {
        found.required(&path.field("containerName"), "");
    } else if resource.is_empty() {
        found.required(&path.field("resource"), "");
    } else if !resource.contains(".hugepages-") {
        found.one_of(&path.field("resource"), resource, &ENV_RESOURCES);
    }
    let divisor = text(field, "divisor");
    let fits = match resource.rsplit('.').next() {
        Some("cpu") => matches!(divisor, "" | "0" | "1m" | "1"),
        _ => matches!(
            divisor,
            "" | "0"
                | "1"
                | "1k"
                | "1M"
                | "1G"
                | "1T"
                | "1P"
                | "1E"
                | "1Ki"
                | "1Mi"
                | "1Gi"
                | "1Ti"
                | "1Pi"
                | "1Ei"
        ),
    };
    if !fits {
        let what = if resource.ends_with("cpu") {
            "1m and 1 are"
        } else {
            "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are"
        };
        found.invalid(
            &path.field("divisor"),
            resource,
            &format!("only divisor's values {what} supported with this resource"),
        );
    }
}

pub(super) fn env_from(found: &mut Findings, path: &Path<'_>, c: &Value) {
    let at = path.field("envFrom");
    for (i, one) in list(c, "envFrom").iter().enumerate() {
        let path = at.index(i);
        let prefix = text(one, "prefix");
        if !prefix.is_empty() {
            found.faults(&path.field("prefix"), prefix, names::env_name(prefix));
        }
        let mut count = 0;
        for name in ["configMapRef", "secretRef"] {
            let Some(source) = given(one, name) else { continue };
            count += 1;
            match text(source, "name") {
                "" => found.required(&path.field(name).field("name"), ""),
                source => found.faults(&path.field(name).field("name"), source, names::subdomain(source)),
            }
        }
        // What is wrong with a source as a whole is said of the list.
        match count {
            0 => found.invalid(&at, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => found.invalid(&at, "", "may not have more than one field specified at a time"),
        }
    }
}
