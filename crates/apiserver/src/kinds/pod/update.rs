//! What of a pod may change, and through which door.

use api_meta::Cause;
use serde_json::{Value, json};

use super::super::check::{Findings, Path, each_mut, entries, given, int, list, put, remove, text};
use super::super::names;
use super::{qos, validate};
use crate::registry::Context;

const ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const RESIZE_ALLOWED: &str = "only cpu and memory resources are mutable";

/// Each door lets through only its own part.
pub(super) fn prepare(new: &mut Value, old: &Value, context: &Context<'_>) {
    match context.subresource {
        "" => {
            let kept = old["spec"]["ephemeralContainers"].clone();
            put(&mut new["spec"], "ephemeralContainers", kept);
        }
        "status" => status(new, old),
        "ephemeralcontainers" => {
            let ours = remove(&mut new["spec"], "ephemeralContainers");
            new["spec"] = old["spec"].clone();
            put(&mut new["spec"], "ephemeralContainers", ours);
            put(new, "status", old["status"].clone());
        }
        "resize" => resize(new, old),
        _ => {}
    }
}

fn status(new: &mut Value, old: &Value) {
    // The class never changes, and the generation that was seen is the kubelet's word.
    let class = old["status"]["qosClass"].clone();
    if let Some(status) = new.get_mut("status").filter(|s| s.is_object()) {
        put(status, "qosClass", class);
    }
}

/// Of a resized pod only the resources and resize policies of its containers are taken.
fn resize(new: &mut Value, old: &Value) {
    let wanted = new["spec"].take();
    new["spec"] = old["spec"].clone();
    put(new, "status", old["status"].clone());
    if given(&wanted, "resources").is_some() {
        put(&mut new["spec"], "resources", wanted["resources"].clone());
    }
    for name in ["containers", "initContainers"] {
        for container in each_mut(&mut new["spec"], name) {
            let own = text(container, "name").to_owned();
            let Some(theirs) = list(&wanted, name).iter().find(|c| text(c, "name") == own) else { continue };
            for part in ["resources", "resizePolicy"] {
                put(container, part, theirs[part].clone());
            }
        }
    }
}

/// Findings about a change.
pub(super) fn validate(new: &Value, old: &Value, context: &Context<'_>) -> Vec<Cause> {
    let mut found = Findings::default();
    match context.subresource {
        "status" => check_status(&mut found, new, old),
        "ephemeralcontainers" => ephemeral(&mut found, new, old),
        "resize" => {
            validate::pod(&mut found, new);
            check_resize(&mut found, new, old);
        }
        "binding" => {}
        _ => {
            validate::pod(&mut found, new);
            whole(&mut found, new, old);
        }
    }
    found.causes
}

fn whole(found: &mut Findings, new: &Value, old: &Value) {
    let spec = Path::Root("spec");
    if !same_names(found, new, old) {
        return;
    }
    deadline(found, &new["spec"], &old["spec"]);
    gates(found, &new["spec"], &old["spec"]);
    let is_gated = !list(&old["spec"], "schedulingGates").is_empty();
    if is_gated {
        node_selector(found, &new["spec"], &old["spec"]);
    }
    tolerations(found, &new["spec"], &old["spec"]);
    let mut munged = new["spec"].clone();
    forget(&mut munged, &old["spec"], is_gated);
    if munged != old["spec"] {
        found.forbidden(&spec, ALLOWED);
    }
}

/// Containers may neither come nor go.
fn same_names(found: &mut Findings, new: &Value, old: &Value) -> bool {
    let mut same = true;
    for name in ["containers", "initContainers"] {
        let names =
            |v: &Value| list(&v["spec"], name).iter().map(|c| text(c, "name").to_owned()).collect::<Vec<_>>();
        if names(new).len() != names(old).len() {
            found.forbidden(&Path::Root("spec").field(name), "pod updates may not add or remove containers");
            same = false;
        }
    }
    same
}

/// Puts back everything that may change, so that what is left to differ may not.
fn forget(new: &mut Value, old: &Value, is_gated: bool) {
    for name in ["containers", "initContainers"] {
        let olds = list(old, name);
        for (i, container) in each_mut(new, name).enumerate() {
            put(container, "image", olds.get(i).map_or(Value::Null, |o| o["image"].clone()));
        }
    }
    for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        put(new, name, old[name].clone());
    }
    let was_negative = int(old, "terminationGracePeriodSeconds").is_some_and(|n| n < 0);
    if was_negative && int(new, "terminationGracePeriodSeconds") == Some(1) {
        put(new, "terminationGracePeriodSeconds", old["terminationGracePeriodSeconds"].clone());
    }
    if is_gated {
        put(new, "nodeSelector", old["nodeSelector"].clone());
        let node = old["affinity"]["nodeAffinity"].clone();
        if given(new, "affinity").is_some() || !node.is_null() {
            let mut affinity = new["affinity"].take();
            if affinity.is_null() {
                affinity = json!({});
            }
            put(&mut affinity, "nodeAffinity", node);
            let empty = affinity.as_object().is_some_and(serde_json::Map::is_empty);
            put(
                new,
                "affinity",
                if empty && given(old, "affinity").is_none() { Value::Null } else { affinity },
            );
        }
    }
}

fn deadline(found: &mut Findings, new: &Value, old: &Value) {
    let at = Path::Root("spec.activeDeadlineSeconds");
    match (int(new, "activeDeadlineSeconds"), int(old, "activeDeadlineSeconds")) {
        (Some(n), Some(o)) if n > o => {
            found.invalid(&at, n, "must be less than or equal to previous value");
        }
        (None, Some(_)) => {
            found.invalid(&at, Value::Null, "must not update from a positive integer to nil value")
        }
        _ => {}
    }
}

fn gates(found: &mut Findings, new: &Value, old: &Value) {
    let at = Path::Root("spec.schedulingGates");
    for (i, gate) in list(new, "schedulingGates").iter().enumerate() {
        if !list(old, "schedulingGates").contains(gate) {
            let why =
                format!("only deletion is allowed, but found new scheduling gate '{}'", text(gate, "name"));
            found.forbidden(&at.index(i).field("name"), &why);
        }
    }
}

fn node_selector(found: &mut Findings, new: &Value, old: &Value) {
    let kept = entries(old, "nodeSelector").all(|(k, v)| new["nodeSelector"].get(k) == Some(v));
    if !kept {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        found.invalid(&Path::Root("spec.nodeSelector"), new["nodeSelector"].clone(), why);
    }
}

fn tolerations(found: &mut Findings, new: &Value, old: &Value) {
    let bare = |t: &Value| {
        let mut t = t.clone();
        remove(&mut t, "tolerationSeconds");
        t
    };
    let news: Vec<Value> = list(new, "tolerations").iter().map(bare).collect();
    if !list(old, "tolerations").iter().all(|t| news.contains(&bare(t))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        found.forbidden(&Path::Root("spec.tolerations"), why);
    }
}

fn check_status(found: &mut Findings, new: &Value, old: &Value) {
    let status = &new["status"];
    let at = Path::Root("status.podIPs");
    for (i, ip) in list(status, "podIPs").iter().enumerate() {
        let ip = text(ip, "ip");
        found.faults(&at.index(i), ip, names::ip(ip));
    }
    let at = Path::Root("status.conditions");
    for (i, condition) in list(status, "conditions").iter().enumerate() {
        let kind = text(condition, "type");
        found.faults(&at.index(i).field("type"), kind, names::qualified(kind));
    }
    let (now, was) = (text(status, "nominatedNodeName"), text(&old["status"], "nominatedNodeName"));
    if !now.is_empty() && now != was {
        found.faults(&Path::Root("status.nominatedNodeName"), now, names::subdomain(now));
    }
    restarts(found, new, old);
}

/// A container that never restarts may not come back from its end.
fn restarts(found: &mut Findings, new: &Value, old: &Value) {
    let policy = text(&new["spec"], "restartPolicy");
    if policy == "Always" {
        return;
    }
    let at = Path::Root("status.containerStatuses");
    for (i, now) in list(&new["status"], "containerStatuses").iter().enumerate() {
        let name = text(now, "name");
        let was = list(&old["status"], "containerStatuses").iter().find(|c| text(c, "name") == name);
        let Some(ended) = was.and_then(|w| given(&w["state"], "terminated")) else { continue };
        let may_restart = policy == "OnFailure" && int(ended, "exitCode").unwrap_or(0) != 0;
        if given(&now["state"], "terminated").is_none() && !may_restart {
            found.forbidden(&at.index(i).field("state"), "may not be transitioned to non-terminated state");
        }
    }
}

fn ephemeral(found: &mut Findings, new: &Value, old: &Value) {
    validate::pod(found, new);
    let at = Path::Root("spec.ephemeralContainers");
    let news = list(&new["spec"], "ephemeralContainers");
    for was in list(&old["spec"], "ephemeralContainers") {
        let name = text(was, "name");
        match news.iter().find(|c| text(c, "name") == name) {
            None => {
                found.forbidden(&at, &format!("existing ephemeral containers {name:?} may not be removed\n"))
            }
            Some(now) if now != was => {
                found.forbidden(&at, &format!("existing ephemeral containers {name:?} may not be changed\n"));
            }
            Some(_) => {}
        }
    }
}

fn check_resize(found: &mut Findings, new: &Value, old: &Value) {
    let spec = Path::Root("spec");
    if qos::class(&new["spec"]) != text(&old["status"], "qosClass") {
        let why = "Pod QOS Class may not change as a result of resizing";
        found.invalid(&spec, text(&old["status"], "qosClass"), why);
    }
    for name in ["containers", "initContainers"] {
        let at = spec.field(name);
        for (i, container) in list(&new["spec"], name).iter().enumerate() {
            let Some(was) = list(&old["spec"], name).get(i) else { continue };
            for part in ["requests", "limits"] {
                let path = at.index(i).field("resources").field(part).to_string();
                removed(found, &path, &container["resources"], &was["resources"], part);
            }
        }
    }
}

/// Memory and CPU may change; nothing may be taken away, and nothing else may change.
fn removed(found: &mut Findings, path: &str, new: &Value, old: &Value, part: &str) {
    let path = Path::Root(path);
    for (resource, was) in entries(old, part) {
        match new[part].get(resource) {
            None => found.forbidden(&path, &format!("resource {part} cannot be removed")),
            Some(now) if now != was && !matches!(resource, "cpu" | "memory") => {
                found.forbidden(&Path::Root("spec"), RESIZE_ALLOWED);
            }
            Some(_) => {}
        }
    }
}
