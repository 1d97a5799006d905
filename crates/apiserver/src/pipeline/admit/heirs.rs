//! What would die with the objects of a definition: running pods and workloads that they own, over any number of steps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use store::KeyRange;

use super::protect::is_active;
use crate::pipeline::metadata;
use crate::refuse::{Outcome, internal};
use crate::server::ApiServer;
use crate::stored;

/// Built-in kinds that own pods, or are pods.
const BUILT_IN: [&str; 7] = [
    "pods",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.batch",
];
/// Objects named in a refusal.
const NAMES_MAX: usize = 3;

/// One object in the graph of owners.
struct Heir {
    uid: String,
    owners: Vec<String>,
    kind: String,
    name: String,
    /// Whether something that runs ends with it.
    is_alive: bool,
}

/// What would die, in words; nothing when nothing that runs would. A look at every pod and workload: definitions with
/// objects are deleted rarely.
pub(super) fn of(server: &ApiServer, definition: &Value) -> Outcome<Option<String>> {
    let own = metadata::text(definition, "name");
    let objects = heirs(server, own)?;
    if objects.is_empty() {
        return Ok(None);
    }
    let mut others = Vec::new();
    let customs = server.registry.snapshot();
    let mut kinds: BTreeSet<&str> =
        customs.all().filter(|s| s.is_custom()).map(|s| &*s.storage_key).collect();
    kinds.remove(own);
    for kind in kinds.into_iter().chain(BUILT_IN) {
        others.extend(heirs(server, kind)?);
    }
    let dying = closure(objects.iter().map(|o| o.uid.as_str()).collect(), &others);
    let alive: Vec<&Heir> = others.iter().filter(|o| o.is_alive && dying.contains(o.uid.as_str())).collect();
    Ok((!alive.is_empty()).then(|| describe(&objects, &alive)))
}

fn heirs(server: &ApiServer, resource: &str) -> Outcome<Vec<Heir>> {
    let range = KeyRange { resource: resource.into(), namespace: None };
    let page = server.store.list(&range, None, None, 0, None).map_err(internal)?;
    page.items.iter().map(|item| stored::decode(item).map(|o| heir(resource, &o))).collect()
}

fn heir(resource: &str, object: &Value) -> Heir {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let namespace = metadata::text(object, "namespace");
    let name = metadata::text(object, "name");
    let is_alive = match resource {
        "pods" => is_active(object),
        "deployments.apps" | "replicasets.apps" | "statefulsets.apps" => {
            object["spec"]["replicas"].as_i64().unwrap_or(1) > 0
        }
        _ => false,
    };
    Heir {
        uid: metadata::text(object, "uid").to_owned(),
        owners: owners.filter_map(|o| o["uid"].as_str().map(str::to_owned)).collect(),
        kind: object["kind"].as_str().unwrap_or_default().to_owned(),
        name: if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") },
        is_alive,
    }
}

/// Everything that dies with `dying`: all whose owners all die.
fn closure<'a>(mut dying: BTreeSet<&'a str>, others: &'a [Heir]) -> BTreeSet<&'a str> {
    let mut by_owner: BTreeMap<&str, Vec<&Heir>> = BTreeMap::new();
    for heir in others {
        heir.owners.iter().for_each(|owner| by_owner.entry(owner).or_default().push(heir));
    }
    let mut todo: Vec<&str> = dying.iter().copied().collect();
    while let Some(owner) = todo.pop() {
        for heir in by_owner.get(owner).into_iter().flatten() {
            if heir.owners.iter().all(|o| dying.contains(o.as_str())) && dying.insert(&heir.uid) {
                todo.push(&heir.uid);
            }
        }
    }
    dying
}

/// `3 CloneSets would go, and with them 12 Pods (shop/a, shop/b, shop/c, …)`
fn describe(objects: &[Heir], alive: &[&Heir]) -> String {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for heir in alive {
        kinds.entry(&heir.kind).or_default().push(&heir.name);
    }
    let told = kinds.iter().map(|(kind, names)| {
        let mut some: Vec<&str> = names.iter().copied().take(NAMES_MAX).collect();
        if names.len() > NAMES_MAX {
            some.push("…");
        }
        format!("{} ({})", counted(names.len(), kind), some.join(", "))
    });
    let told: Vec<String> = told.collect();
    let kind = objects.first().map_or("object", |o| &o.kind);
    format!("{} would go, and with it what runs: {}", counted(objects.len(), kind), told.join(" and "))
}

fn counted(count: usize, kind: &str) -> String {
    if count == 1 { format!("1 {kind}") } else { format!("{count} {kind}s") }
}
