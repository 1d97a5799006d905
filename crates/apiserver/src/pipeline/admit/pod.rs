//! Admission of pods: priority, runtime class, tolerations (Priority, RuntimeClass, DefaultTolerationSeconds).

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use store::{Key, KeyRange, Revision, Stored};

use super::account;
use crate::pipeline::metadata;
use crate::refuse::{Outcome, forbidden, internal};
use crate::registry::Served;
use crate::server::ApiServer;
use crate::stored;

/// Completes a new pod from what else exists.
pub(super) fn create(server: &ApiServer, served: &Served, pod: &mut Value) -> Outcome<()> {
    if !pod["spec"].is_object() {
        return Ok(());
    }
    account::create(server, served, pod)?;
    priority(server, served, pod)?;
    runtime_class(server, served, pod)?;
    tolerations(pod);
    Ok(())
}

/// Completes a changed pod.
pub(super) fn update(pod: &mut Value) {
    if pod["spec"].is_object() {
        tolerations(pod);
    }
}

fn spec_text<'a>(pod: &'a Value, key: &str) -> &'a str {
    pod["spec"][key].as_str().unwrap_or_default()
}

/// Classes of every cluster; they count even before they are stored.
pub(crate) const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
/// Where priority classes rest.
pub(super) const PRIORITY_CLASSES: &str = "priorityclasses.scheduling.k8s.io";

/// What a class means for a pod.
#[derive(Clone)]
struct Class {
    name: String,
    value: i64,
    preemption: String,
}

impl Class {
    fn of(object: &Value) -> Class {
        Class {
            name: metadata::text(object, "name").to_owned(),
            value: object["value"].as_i64().unwrap_or(0),
            preemption: object["preemptionPolicy"].as_str().unwrap_or("PreemptLowerPriority").to_owned(),
        }
    }

    fn none() -> Class {
        Class { name: String::new(), value: 0, preemption: "PreemptLowerPriority".to_owned() }
    }
}

/// The number behind `priorityClassName`, or that of the default class.
fn priority(server: &ApiServer, served: &Served, pod: &mut Value) -> Outcome<()> {
    let name = spec_text(pod, "priorityClassName").to_owned();
    let refused = |why: &str| forbidden(&served.resource, metadata::text(pod, "name"), why);
    let class = if name.is_empty() {
        default_class(server)?.unwrap_or_else(Class::none)
    } else {
        class(server, &name)?
            .ok_or_else(|| refused(&format!("no PriorityClass with name {name} was found")))?
    };
    if pod["spec"]["priority"].as_i64().is_some_and(|given| given != class.value) {
        return Err(refused(&format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed \
             {} from the given PriorityClass name",
            pod["spec"]["priority"], class.value
        )));
    }
    let preemption = spec_text(pod, "preemptionPolicy");
    if !preemption.is_empty() && preemption != class.preemption {
        return Err(refused(&format!(
            "the string value of PreemptionPolicy ({preemption}) must not be provided in pod spec; priority admission \
             controller computed {} from the given PriorityClass name",
            class.preemption
        )));
    }
    let spec = &mut pod["spec"];
    if !class.name.is_empty() {
        spec["priorityClassName"] = json!(class.name);
    }
    spec["priority"] = json!(class.value);
    if spec["preemptionPolicy"].is_null() {
        spec["preemptionPolicy"] = json!(class.preemption);
    }
    Ok(())
}

/// Refuses a second default class.
pub(super) fn judge_class(server: &ApiServer, served: &Served, class: &Value) -> Outcome<()> {
    let name = metadata::text(class, "name");
    if class["globalDefault"] != true {
        return Ok(());
    }
    match default_class(server)?.filter(|other| other.name != name) {
        None => Ok(()),
        Some(other) => {
            let other = other.name;
            let why =
                format!("PriorityClass {other} is already marked as default. Only one default can exist");
            Err(forbidden(&served.resource, name, &why))
        }
    }
}

fn class(server: &ApiServer, name: &str) -> Outcome<Option<Class>> {
    if let Some((_, value)) = SYSTEM_CLASSES.iter().find(|(n, _)| *n == name) {
        return Ok(Some(Class { name: name.to_owned(), value: *value, ..Class::none() }));
    }
    let found = server.store.get(&Key::new(PRIORITY_CLASSES, "", name));
    found.map(|s| stored::decode(&s).map(|c| Class::of(&c))).transpose()
}

/// The default class as it was among these versions of all classes, which hardly ever change while pods come and go.
#[derive(Default)]
pub(crate) struct DefaultClass(Mutex<(Vec<Revision>, Option<Class>)>);

/// The class marked as default, the lowest if there are several.
fn default_class(server: &ApiServer) -> Outcome<Option<Class>> {
    let range = KeyRange { resource: PRIORITY_CLASSES.into(), namespace: None };
    let page = server.store.list(&range, None, None, 0, None).map_err(internal)?;
    let mut known = server.default_class.0.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.0.iter().copied().eq(page.items.iter().map(|stored| stored.revision)) {
        *known = (page.items.iter().map(|stored| stored.revision).collect(), marked(&page.items)?);
    }
    Ok(known.1.clone())
}

fn marked(classes: &[Arc<Stored>]) -> Outcome<Option<Class>> {
    let mut found: Option<Class> = None;
    for stored in classes {
        // Hardly ever is one marked: what cannot be is not decoded.
        const MARK: &[u8] = b"\"globalDefault\":true";
        if !stored::unpack(stored)?.windows(MARK.len()).any(|w| w == MARK) {
            continue;
        }
        let object = stored::decode(stored)?;
        let class = Class::of(&object);
        if object["globalDefault"] == Value::Bool(true)
            && found.as_ref().is_none_or(|f| class.value < f.value)
        {
            found = Some(class);
        }
    }
    Ok(found)
}

/// What a runtime class adds: overhead, and where its pods can run.
fn runtime_class(server: &ApiServer, served: &Served, pod: &mut Value) -> Outcome<()> {
    let name = spec_text(pod, "runtimeClassName").to_owned();
    let given = pod["spec"]["overhead"].clone();
    let pod_name = metadata::text(pod, "name").to_owned();
    let refused = |why: &str| forbidden(&served.resource, &pod_name, &format!("pod rejected: {why}"));
    if name.is_empty() {
        return if given.as_object().is_some_and(|o| !o.is_empty()) {
            Err(refused("Pod Overhead set without corresponding RuntimeClass defined Overhead"))
        } else {
            Ok(())
        };
    }
    let found = server.store.get(&Key::new("runtimeclasses.node.k8s.io", "", &name));
    let Some(found) = found else { return Err(refused(&format!("RuntimeClass {name:?} not found"))) };
    let class = stored::decode(&found)?;
    let overhead = &class["overhead"]["podFixed"];
    let has_overhead = overhead.as_object().is_some_and(|o| !o.is_empty());
    if !given.is_null() && given != *overhead {
        let why = if has_overhead {
            "Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        } else {
            "Pod Overhead set without corresponding RuntimeClass defined Overhead"
        };
        return Err(refused(why));
    }
    for (key, value) in class["scheduling"]["nodeSelector"].as_object().into_iter().flatten() {
        let own = &pod["spec"]["nodeSelector"][key];
        if !own.is_null() && own != value {
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
            );
            return Err(refused(&why));
        }
        pod["spec"]["nodeSelector"][key] = value.clone();
    }
    let extra = class["scheduling"]["tolerations"].as_array().cloned().unwrap_or_default();
    if !extra.is_empty() {
        let own = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
        let new = extra.into_iter().filter(|t| !own.contains(t)).collect::<Vec<_>>();
        pod["spec"]["tolerations"] = own.iter().cloned().chain(new).collect();
    }
    if has_overhead {
        pod["spec"]["overhead"] = overhead.clone();
    }
    Ok(())
}

/// Pods tolerate an unready or unreachable node for five minutes unless they say otherwise.
fn tolerations(pod: &mut Value) {
    const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    let empty = Vec::new();
    let list = pod["spec"]["tolerations"].as_array().unwrap_or(&empty);
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
    if missing.is_empty() {
        return;
    }
    match pod["spec"]["tolerations"].as_array_mut() {
        Some(list) => list.extend(missing),
        None => pod["spec"]["tolerations"] = Value::Array(missing),
    }
}
