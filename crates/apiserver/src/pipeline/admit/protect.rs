//! Deletion protection in OpenKruise's words: the label `policy.kruise.io/delete-protection`.
//!
//! | kind | `Always` | `Cascading`: refused while |
//! |---|---|---|
//! | Namespace | refused | active pods or bound claims are in it |
//! | CustomResourceDefinition | refused | objects of it live |
//! | Deployment, StatefulSet, ReplicaSet, CloneSet, InPlaceSet, CafeDeployment | refused | it wants replicas |
//! | Service, Ingress | refused | (not known) |
//!
//! Without a label a definition is protected while running pods or workloads would die with its objects (see
//! [`super::heirs`]); deleting one with objects that own nothing works as upstream, so that clients which tidy up after
//! themselves go on. [`Protection`] widens this to namespaces and workloads. What its owner has made is not protected by
//! default: the decision fell at the owner; nor is anything in a namespace that is going.

use std::sync::Arc;

use api_meta::Cause;
use serde_json::Value;
use store::{Key, KeyRange, Stored};

use super::heirs;
use crate::pipeline::metadata;
use crate::refuse::{Outcome, cause, forbidden, internal};
use crate::registry::Served;
use crate::server::{ApiServer, Call, Protection};
use crate::stored;

/// The label.
const LABEL: &str = "policy.kruise.io/delete-protection";
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
const WORKLOADS: [&str; 6] = [
    "deployments.apps",
    "statefulsets.apps",
    "replicasets.apps",
    "clonesets.apps.kruise.io",
    "inplacesets.apps.cafe.cloud.alipay.com",
    "cafedeployments.apps.cafe.cloud.alipay.com",
];
const DOORS: [&str; 2] = ["services", "ingresses.networking.k8s.io"];

/// How an object is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Always,
    /// As labelled.
    Cascading,
    /// Without a label.
    Default,
}

/// Refuses the deletion of a protected object.
pub(super) fn delete(call: &Call, served: &Served, current: &Stored) -> Outcome<()> {
    let key = &*served.storage_key;
    let label = current.row.labels().get(LABEL);
    let server = &call.server;
    let is_known =
        key == "namespaces" || key == DEFINITIONS || WORKLOADS.contains(&key) || DOORS.contains(&key);
    let mode = match label {
        _ if !is_known => return Ok(()),
        Some("Always") => Mode::Always,
        Some("Cascading") => Mode::Cascading,
        _ if is_default(server, key) => Mode::Default,
        _ => return Ok(()),
    };
    let object = stored::decode(current)?;
    if metadata::is_terminating(&object) || is_leaving(server, &object)? {
        return Ok(());
    }
    let reason = match (mode, key) {
        (Mode::Always, _) => Some("it may not be deleted".to_owned()),
        (_, "namespaces") => tenants(server, &object)?,
        (Mode::Cascading, DEFINITIONS) => objects(server, &object)?,
        (_, DEFINITIONS) => heirs::of(server, &object)?,
        // What an owner has made goes with the owner.
        (Mode::Default, _) if is_owned(&object) => None,
        (_, key) if WORKLOADS.contains(&key) => replicas(&object),
        _ => None,
    };
    let Some(reason) = reason else { return Ok(()) };
    let why = match mode {
        Mode::Always => format!("{reason} while it is labelled {LABEL}=Always: remove the label first"),
        Mode::Cascading => {
            format!("{reason}, and it is labelled {LABEL}=Cascading: remove those, or the label, first")
        }
        Mode::Default => {
            format!("{reason}; kinds like this are protected while they are in use: remove those first")
        }
    };
    Err(forbidden(&served.resource, metadata::text(&object, "name"), &why))
}

fn is_default(server: &ApiServer, key: &str) -> bool {
    match key {
        DEFINITIONS => true,
        "namespaces" => server.protects(Protection::Namespaces),
        key => WORKLOADS.contains(&key) && server.protects(Protection::Workloads),
    }
}

/// Whether the namespace of an object is going: the decision fell there.
fn is_leaving(server: &ApiServer, object: &Value) -> Outcome<bool> {
    let namespace = metadata::text(object, "namespace");
    if namespace.is_empty() {
        return Ok(false);
    }
    let found = server.store.get(&Key::new("namespaces", "", namespace));
    found.map_or(Ok(false), |n| super::is_going(&n))
}

fn is_owned(object: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().any(|o| o["controller"] == true)
}

pub(super) fn list(server: &ApiServer, resource: &str, namespace: Option<&str>) -> Outcome<Vec<Arc<Stored>>> {
    let range = KeyRange { resource: resource.into(), namespace: namespace.map(Into::into) };
    Ok(server.store.list(&range, None, None, 0, None).map_err(internal)?.items)
}

/// Whether a pod neither has ended nor is about to.
pub(super) fn is_active(pod: &Value) -> bool {
    !metadata::is_terminating(pod) && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// The active pods and bound claims of a namespace.
fn tenants(server: &ApiServer, namespace: &Value) -> Outcome<Option<String>> {
    let name = metadata::text(namespace, "name");
    let (mut pods, mut claims) = (0, 0);
    for pod in list(server, "pods", Some(name))? {
        pods += usize::from(is_active(&stored::decode(&pod)?));
    }
    for claim in list(server, "persistentvolumeclaims", Some(name))? {
        claims += usize::from(stored::decode(&claim)?["status"]["phase"] == "Bound");
    }
    Ok((pods + claims > 0).then(|| format!("{pods} active pods and {claims} bound claims are in it")))
}

/// The live objects of a definition.
fn objects(server: &ApiServer, definition: &Value) -> Outcome<Option<String>> {
    let mut live = 0;
    for object in list(server, metadata::text(definition, "name"), None)? {
        live += usize::from(!metadata::is_terminating(&stored::decode(&object)?));
    }
    Ok((live > 0).then(|| format!("{live} objects of it live")))
}

fn replicas(workload: &Value) -> Option<String> {
    let wanted = workload["spec"]["replicas"].as_i64().unwrap_or(1);
    (wanted > 0).then(|| format!("it wants {wanted} replicas"))
}

/// What is wrong with the label of a new object, or with a label that a change brings.
pub(crate) fn faults(served: &Served, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let key = &*served.storage_key;
    let value = &new["metadata"]["labels"][LABEL];
    let allowed: &[&str] = match key {
        "namespaces" | DEFINITIONS => &["Always", "Cascading"],
        key if WORKLOADS.contains(&key) => &["Always", "Cascading"],
        key if DOORS.contains(&key) => &["Always"],
        _ => return Vec::new(),
    };
    let is_new = old.is_none_or(|old| old["metadata"]["labels"][LABEL] != *value);
    match value.as_str() {
        // An empty value protects nothing, as no label does.
        Some(text) if is_new && !text.is_empty() && !allowed.contains(&text) => {
            let field = format!("metadata.labels[{LABEL}]");
            let supported = allowed.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(", ");
            let text = format!("Unsupported value: {text:?}: supported values: {supported}");
            vec![cause("FieldValueNotSupported", &field, text)]
        }
        _ => Vec::new(),
    }
}
