//! Stage: built-in admission. Refuses or completes what is written, by what else exists.

use serde_json::{Value, json};
use store::{Key, Stored};

use crate::pipeline::metadata;
use crate::refuse::{Outcome, cause, forbidden, forbidden_because, not_found};
use crate::registry::Served;
use crate::server::{ApiServer, Call};
use crate::stored;

const NAMESPACES: api_meta::Resource = api_meta::Resource::cluster("", "v1", "namespaces", "Namespace");

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Admits a new object, which may be completed.
pub(crate) fn create(call: &Call, served: &Served, object: &mut Value) -> Outcome<()> {
    namespace_for_create(call, served, metadata::text(object, "name"))?;
    match &*served.storage_key {
        "pods" => pod(call, served, object),
        "namespaces" => {
            namespace_label(object);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Admits a change.
pub(crate) fn update(_call: &Call, served: &Served, new: &mut Value, _old: &Value) -> Outcome<()> {
    if &*served.storage_key == "namespaces" {
        namespace_label(new);
    }
    Ok(())
}

/// Admits a deletion.
pub(crate) fn delete(served: &Served, name: &str) -> Outcome<()> {
    if &*served.storage_key == "namespaces" && IMMORTAL.contains(&name) {
        return Err(forbidden(&served.resource, name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// Every namespace carries its name as a label.
fn namespace_label(object: &mut Value) {
    const LABEL: &str = "kubernetes.io/metadata.name";
    let name = metadata::text(object, "name").to_owned();
    if !name.is_empty() {
        object["metadata"]["labels"][LABEL] = Value::String(name);
    }
}

/// Refuses new objects in namespaces that are missing or going.
pub(crate) fn namespace_for_create(call: &Call, served: &Served, name: &str) -> Outcome<()> {
    let namespace = call.namespace(served);
    if namespace.is_empty() {
        return Ok(());
    }
    let key = Key::new("namespaces", "", namespace);
    let Some(found) = call.server.store.get(&key) else {
        return Err(not_found(&NAMESPACES, namespace));
    };
    if !is_going(&found)? {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let about = format!("namespace {namespace} is being terminated");
    let causes = vec![cause("NamespaceTerminating", "metadata.namespace", about)];
    Err(forbidden_because(&served.resource, name, &why, causes))
}

fn is_going(namespace: &Stored) -> Outcome<bool> {
    const MARK: &[u8] = b"\"deletionTimestamp\":";
    let plain = stored::unpack(namespace)?;
    // Cheap look first: few namespaces are going, and the mark within a label's value is told apart below.
    if !plain.windows(MARK.len()).any(|w| w == MARK) {
        return Ok(false);
    }
    stored::decode(namespace).map(|object| metadata::is_terminating(&object))
}

fn pod(call: &Call, served: &Served, pod: &mut Value) -> Outcome<()> {
    if !pod["spec"].is_object() {
        return Ok(());
    }
    service_account(pod);
    priority(&call.server, served, pod)?;
    tolerations(pod);
    Ok(())
}

/// Pods run as the account `default` unless they say otherwise.
fn service_account(pod: &mut Value) {
    let is_mirror = pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some();
    let spec = &mut pod["spec"];
    if is_mirror {
        return;
    }
    if spec["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
        spec["serviceAccountName"] = json!("default");
    }
    spec["serviceAccount"] = spec["serviceAccountName"].clone();
}

/// Classes that exist without being created.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// The number behind `priorityClassName`, or that of the default class.
fn priority(server: &ApiServer, served: &Served, pod: &mut Value) -> Outcome<()> {
    let name = pod["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let pod_name = metadata::text(pod, "name").to_owned();
    let class = if name.is_empty() { default_class(server)? } else { class(server, &name)? };
    let (class_name, value, policy) = match class {
        Some(class) => class,
        None if name.is_empty() => (String::new(), 0, "PreemptLowerPriority".to_owned()),
        None => {
            let why = format!("no PriorityClass with name {name} was found");
            return Err(forbidden(&served.resource, &pod_name, &why));
        }
    };
    let spec = &mut pod["spec"];
    if spec["priority"].as_i64().is_some_and(|given| given != value) {
        let why = format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed \
             {value} from the given PriorityClass name",
            spec["priority"]
        );
        return Err(forbidden(&served.resource, &pod_name, &why));
    }
    if !class_name.is_empty() {
        spec["priorityClassName"] = json!(class_name);
    }
    spec["priority"] = json!(value);
    if spec["preemptionPolicy"].is_null() {
        spec["preemptionPolicy"] = json!(policy);
    }
    Ok(())
}

type Class = (String, i64, String);

fn class(server: &ApiServer, name: &str) -> Outcome<Option<Class>> {
    if let Some((_, value)) = SYSTEM_CLASSES.iter().find(|(n, _)| *n == name) {
        return Ok(Some((name.to_owned(), *value, "PreemptLowerPriority".to_owned())));
    }
    let key = Key::new("priorityclasses.scheduling.k8s.io", "", name);
    let found = server.store.get(&key);
    found.map(|s| stored::decode(&s).map(|c| parts(&c))).transpose()
}

fn parts(class: &Value) -> Class {
    let policy = class["preemptionPolicy"].as_str().unwrap_or("PreemptLowerPriority");
    (metadata::text(class, "name").to_owned(), class["value"].as_i64().unwrap_or(0), policy.to_owned())
}

/// The class marked as default, the lowest if there are several.
fn default_class(server: &ApiServer) -> Outcome<Option<Class>> {
    let range = store::KeyRange { resource: "priorityclasses.scheduling.k8s.io".into(), namespace: None };
    if server.store.count(&range) == 0 {
        return Ok(None);
    }
    let page = server.store.list(&range, None, None, 0, None).map_err(crate::refuse::internal)?;
    let mut found: Option<Class> = None;
    for stored in &page.items {
        let object = stored::decode(stored)?;
        let class = parts(&object);
        if object["globalDefault"] == Value::Bool(true) && found.as_ref().is_none_or(|f| class.1 < f.1) {
            found = Some(class);
        }
    }
    Ok(found)
}

/// Pods tolerate an unready or unreachable node for five minutes unless they say otherwise (DefaultTolerationSeconds).
fn tolerations(pod: &mut Value) {
    const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    let list = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let covers = |key: &str| {
        list.iter().any(|t| {
            let of_key = t["key"].as_str().unwrap_or_default();
            let effect = t["effect"].as_str().unwrap_or_default();
            (of_key == key || of_key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        })
    };
    let missing: Vec<Value> = KEYS
        .iter()
        .filter(|key| !covers(key))
        .map(|key| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}))
        .collect();
    if !missing.is_empty() {
        let all: Vec<Value> = list.into_iter().chain(missing).collect();
        pod["spec"]["tolerations"] = Value::Array(all);
    }
}

/// Whether a kind's objects may still be created at all.
pub(crate) fn is_open(served: &Served) -> bool {
    !matches!(&served.origin, crate::registry::Origin::Custom { is_terminating: true, .. })
}
