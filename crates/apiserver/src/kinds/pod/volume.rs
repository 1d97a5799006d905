//! Volumes of a pod.

use serde_json::Value;

use super::super::check::{Findings, Path, given, int, list, text};
use super::super::names;
use super::container::relative_path;
use super::env::{pod_field, resource_field};
use super::validate::Volumes;

/// Fields of a pod that a volume may show.
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Findings about all volumes; gives them by name.
pub(super) fn check<'a>(found: &mut Findings, path: &Path<'_>, spec: &'a Value) -> Volumes<'a> {
    let at = path.field("volumes");
    let mut all = Volumes::new();
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        let path = at.index(i);
        let name = text(volume, "name");
        if name.is_empty() {
            found.required(&path.field("name"), "");
        } else if !names::label(name).is_empty() {
            found.faults(&path.field("name"), name, names::label(name));
        } else if all.contains_key(name) {
            found.duplicate(&path.field("name"), name);
        }
        let kind = source(found, &path, volume);
        all.insert(name, kind);
    }
    all
}

/// Findings about the source of a volume; gives its kind.
fn source<'a>(found: &mut Findings, path: &Path<'_>, volume: &'a Value) -> &'a str {
    let mut first = "";
    for (kind, source) in volume.as_object().into_iter().flatten() {
        if kind == "name" || source.is_null() {
            continue;
        }
        // Upstream's name of one of them differs from the field's.
        let at = path.field(if kind == "gcePersistentDisk" { "persistentDisk" } else { kind });
        if !first.is_empty() {
            found.forbidden(&at, "may not specify more than 1 volume type");
            continue;
        }
        first = kind;
        one(found, &at, kind, source);
    }
    if first.is_empty() {
        found.required(path, "must specify a volume type");
    }
    first
}

fn one(found: &mut Findings, path: &Path<'_>, kind: &str, source: &Value) {
    let mut needs = |name: &str| {
        if text(source, name).is_empty() {
            found.required(&path.field(name), "");
        }
    };
    match kind {
        "secret" => {
            needs("secretName");
            mode(found, path, source, "defaultMode");
            items(found, path, source);
        }
        "configMap" => {
            needs("name");
            mode(found, path, source, "defaultMode");
            items(found, path, source);
        }
        "persistentVolumeClaim" => needs("claimName"),
        "hostPath" => host_path(found, path, source),
        "emptyDir" if super::resources::quantity(&source["sizeLimit"]).is_some_and(|q| q.milli() < 0) => {
            found.forbidden(&path.field("sizeLimit"), "SizeLimit field must be a valid resource quantity");
        }
        "downwardAPI" => {
            mode(found, path, source, "defaultMode");
            downward(found, path, source);
        }
        "projected" => projected(found, path, source),
        "nfs" => {
            needs("server");
            needs("path");
            if !text(source, "path").starts_with('/') {
                found.invalid(&path.field("path"), text(source, "path"), "must be an absolute path");
            }
        }
        "csi" => csi_driver(found, path, source),
        "ephemeral" => ephemeral(found, path, source),
        "image" => image(found, path, source),
        "iscsi" => ["targetPortal", "iqn"].into_iter().for_each(needs),
        "rbd" => {
            if list(source, "monitors").is_empty() {
                found.required(&path.field("monitors"), "");
            }
            if text(source, "image").is_empty() {
                found.required(&path.field("image"), "");
            }
        }
        "gcePersistentDisk" => needs("pdName"),
        "fc" => fibre(found, path, source),
        "awsElasticBlockStore" | "cinder" => needs("volumeID"),
        "azureDisk" => azure(found, path, source),
        "azureFile" => ["secretName", "shareName"].into_iter().for_each(needs),
        "glusterfs" => ["endpoints", "path"].into_iter().for_each(needs),
        "photonPersistentDisk" => needs("pdID"),
        "portworxVolume" => needs("volumeID"),
        "vsphereVolume" => needs("volumePath"),
        "cephfs" if list(source, "monitors").is_empty() => found.required(&path.field("monitors"), ""),
        "flexVolume" => needs("driver"),
        "gitRepo" => needs("repository"),
        _ => {}
    }
}

fn fibre(found: &mut Findings, path: &Path<'_>, source: &Value) {
    let (names, ids) = (list(source, "targetWWNs"), list(source, "wwids"));
    if names.is_empty() == ids.is_empty() {
        let why = "must specify either targetWWNs or wwids, but not both";
        match names.is_empty() {
            true => found.required(&path.field("targetWWNs"), why),
            false => found.invalid(&path.field("targetWWNs"), source["targetWWNs"].clone(), why),
        }
    } else if !names.is_empty() && given(source, "lun").is_none() {
        found.required(&path.field("lun"), "lun is required if targetWWNs is specified");
    }
}

fn azure(found: &mut Findings, path: &Path<'_>, source: &Value) {
    for name in ["diskName", "diskURI"].into_iter().filter(|name| text(source, name).is_empty()) {
        found.required(&path.field(name), "");
    }
    let uri = text(source, "diskURI");
    match text(source, "kind") {
        "Managed" if !uri.starts_with("/subscriptions") => found.not_supported(
            &path.field("diskURI"),
            uri,
            &["/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"],
        ),
        "Managed" => {}
        _ if !uri.starts_with("https://") => found.not_supported(
            &path.field("diskURI"),
            uri,
            &["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"],
        ),
        _ => {}
    }
}

fn mode(found: &mut Findings, path: &Path<'_>, v: &Value, name: &str) {
    if let Some(n) = int(v, name).filter(|n| !(0..=0o777).contains(n)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        found.invalid(&path.field(name), n, why);
    }
}

/// `hostPath` of a volume, also of a persistent one.
pub(in super::super) fn host_path(found: &mut Findings, path: &Path<'_>, source: &Value) {
    const TYPES: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    let value = text(source, "path");
    if value.is_empty() {
        found.required(&path.field("path"), "");
        return;
    }
    if value.split('/').any(|part| part == "..") {
        found.invalid(&path.field("path"), value, "must not contain '..'");
    }
    found.one_of(&path.field("type"), text(source, "type"), &TYPES);
}

fn items(found: &mut Findings, path: &Path<'_>, source: &Value) {
    let at = path.field("items");
    for (i, item) in list(source, "items").iter().enumerate() {
        let path = at.index(i);
        if text(item, "key").is_empty() {
            found.required(&path.field("key"), "");
        }
        item_path(found, &path, item);
        mode(found, &path, item, "mode");
    }
}

fn item_path(found: &mut Findings, path: &Path<'_>, item: &Value) {
    let value = text(item, "path");
    let at = path.field("path");
    if value.is_empty() {
        found.required(&at, "");
    }
    relative_path(found, &at, value);
    if value.starts_with("..") && !value.starts_with("../") {
        found.invalid(&at, value, "must not start with '..'");
    }
}

fn downward(found: &mut Findings, path: &Path<'_>, source: &Value) {
    // Upstream names the source, not the item.
    for item in list(source, "items") {
        item_path(found, path, item);
        match (given(item, "fieldRef"), given(item, "resourceFieldRef")) {
            (Some(_), Some(_)) => found.invalid(
                path,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            ),
            (Some(field), None) => pod_field(found, &path.field("fieldRef"), field, &FIELDS),
            (None, Some(field)) => resource_field(found, &path.field("resourceFieldRef"), field, true),
            (None, None) => found.required(path, "one of fieldRef and resourceFieldRef is required"),
        }
        mode(found, path, item, "mode");
    }
}

fn projected(found: &mut Findings, path: &Path<'_>, source: &Value) {
    mode(found, path, source, "defaultMode");
    let (whole, at) = (path, path.field("sources"));
    let mut paths = std::collections::BTreeSet::new();
    for (i, one) in list(source, "sources").iter().enumerate() {
        let path = at.index(i);
        let kinds: Vec<(&String, &Value)> =
            one.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()).collect();
        for (n, (kind, source)) in kinds.into_iter().enumerate() {
            let at = path.field(kind);
            if n > 0 {
                found.forbidden(&path, "may not specify more than 1 volume type per source");
                continue;
            }
            projection(found, whole, &at, kind, source);
            for item in list(source, "items") {
                let to = text(item, "path");
                if !to.is_empty() && !paths.insert(to.to_owned()) {
                    found.invalid(whole, text(source, "name"), "conflicting duplicate paths");
                }
            }
        }
    }
}

/// `whole` is the volume's source, in whose name upstream speaks of the path of a token.
fn projection(found: &mut Findings, whole: &Path<'_>, path: &Path<'_>, kind: &str, source: &Value) {
    match kind {
        "secret" | "configMap" => {
            if text(source, "name").is_empty() {
                found.required(&path.field("name"), "");
            }
            items(found, path, source);
        }
        "downwardAPI" => downward(found, path, source),
        "serviceAccountToken" => token(found, whole, path, source),
        "clusterTrustBundle" => {
            let has_name = given(source, "name").is_some();
            if has_name == given(source, "signerName").is_some() {
                found.required(path, "either name or signerName must be specified");
            }
            item_path(found, path, source);
        }
        _ => {}
    }
}

fn token(found: &mut Findings, whole: &Path<'_>, path: &Path<'_>, source: &Value) {
    let at = path.field("expirationSeconds");
    let secs = int(source, "expirationSeconds").unwrap_or(3600);
    if secs < 600 {
        found.invalid(&at, secs, "may not specify a duration less than 10 minutes");
    }
    if secs > 1 << 32 {
        found.invalid(&at, secs, "may not specify a duration larger than 2^32 seconds");
    }
    item_path(found, whole, source);
}

/// The driver of a CSI volume, also of a persistent one.
pub(in super::super) fn csi_driver(found: &mut Findings, path: &Path<'_>, source: &Value) {
    let driver = text(source, "driver");
    let at = path.field("driver");
    if driver.is_empty() {
        found.required(&at, "");
    } else if driver.len() > 63 {
        found.too_long(&at, 63);
    } else {
        found.faults(&at, driver, names::subdomain(&driver.to_lowercase()));
    }
}

fn ephemeral(found: &mut Findings, path: &Path<'_>, source: &Value) {
    let at = path.field("volumeClaimTemplate");
    match given(source, "volumeClaimTemplate") {
        None => found.required(&at, ""),
        Some(template) => super::super::storage::claim_spec(found, &at.field("spec"), &template["spec"]),
    }
}

fn image(found: &mut Findings, path: &Path<'_>, source: &Value) {
    if text(source, "reference").is_empty() {
        found.required(&path.field("reference"), "");
    }
    found.required_one_of(
        &path.field("pullPolicy"),
        text(source, "pullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
}
