//! LimitRanges of a namespace, and whether a claim may grow (LimitRanger, PersistentVolumeClaimResize).

use api_admission::limits;
use serde_json::Value;
use store::{Key, KeyRange};

use super::protect;
use crate::pipeline::metadata;
use crate::refuse::{Outcome, forbidden};
use crate::registry::Served;
use crate::server::ApiServer;
use crate::stored;

const RANGES: &str = "limitranges";

/// The ranges of a namespace, by name; most have none, which costs one look.
fn ranges(server: &ApiServer, namespace: &str) -> Outcome<Vec<Value>> {
    let range = KeyRange { resource: RANGES.into(), namespace: Some(namespace.into()) };
    if server.store.count(&range) == 0 {
        return Ok(Vec::new());
    }
    protect::list(server, RANGES, Some(namespace))?.iter().map(|s| stored::decode(s)).collect()
}

/// Fills in what a namespace gives to containers that say nothing.
pub(super) fn complete(server: &ApiServer, pod: &mut Value) -> Outcome<()> {
    let ranges = ranges(server, metadata::text(pod, "namespace"))?;
    if !ranges.is_empty() {
        limits::complete(pod, &ranges);
    }
    Ok(())
}

/// Refuses a pod or a claim that is smaller or larger than its namespace allows.
pub(super) fn judge(server: &ApiServer, served: &Served, object: &Value) -> Outcome<()> {
    let is_pod = match &*served.storage_key {
        "pods" => true,
        "persistentvolumeclaims" => false,
        _ => return Ok(()),
    };
    let ranges = ranges(server, metadata::text(object, "namespace"))?;
    let why = match is_pod {
        _ if ranges.is_empty() => None,
        true => limits::judge_pod(object, &ranges),
        false => limits::judge_claim(object, &ranges),
    };
    why.map_or(Ok(()), |why| Err(forbidden(&served.resource, metadata::text(object, "name"), &why)))
}

/// Refuses that a claim grows which cannot.
pub(super) fn judge_growth(server: &ApiServer, served: &Served, new: &Value, old: &Value) -> Outcome<()> {
    let size = |claim: &Value| {
        let size = claim["spec"]["resources"]["requests"]["storage"].as_str();
        size.and_then(|s| s.parse::<api_meta::Quantity>().ok()).unwrap_or_default()
    };
    if size(new) <= size(old) {
        return Ok(());
    }
    let refused = |why: &str| Err(forbidden(&served.resource, metadata::text(new, "name"), why));
    if old["status"]["phase"] != "Bound" {
        return refused("Only bound persistent volume claims can be expanded");
    }
    let name = class(new);
    let found = server.store.get(&Key::new("storageclasses.storage.k8s.io", "", name));
    let found = found.filter(|_| !name.is_empty() && name == class(old));
    let allows = match found {
        Some(found) => stored::decode(&found)?["allowVolumeExpansion"] == true,
        None => false,
    };
    if allows {
        return Ok(());
    }
    refused(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    )
}

fn class(claim: &Value) -> &str {
    let older = claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    older.or(claim["spec"]["storageClassName"].as_str()).unwrap_or_default()
}
