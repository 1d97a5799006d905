//! All of the board in parts, and what has changed between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_meta::ObjectKey;
use serde::Serialize;
use serde_json::{Value, json};
use stdx::Time;

use super::app::{self, host, millis};
use super::facts::{AppFact, EventFact, PodFact};
use super::observed::Observed;
use super::pods::{self, PodView};
use super::{AppView, nodes};

/// Applications shown; further ones, in the order of their keys, are counted.
const APPS_MAX: usize = 32;
/// Pods drawn of all applications together.
const PODS_MAX: usize = 600;
/// Events shown.
const EVENTS_MAX: usize = 30;
/// Events that are older say nothing about the present.
const EVENT_FRESH_SECS: i64 = 900;

/// The board: JSON objects under their keys. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts(pub BTreeMap<String, Arc<Value>>);

/// What has to be redrawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Change {
    /// Parts that are new or other than before.
    pub set: BTreeMap<String, Arc<Value>>,
    /// Keys of parts that are no more.
    pub gone: Vec<String>,
}

impl Change {
    /// What turns `before` into `after`.
    pub fn between(before: &Parts, after: &Parts) -> Change {
        let is_new = |(key, value): &(&String, &Arc<Value>)| {
            let old = before.0.get(*key);
            old.is_none_or(|old| !Arc::ptr_eq(old, value) && old != *value)
        };
        let gone = before.0.keys().filter(|k| !after.0.contains_key(*k));
        Change {
            set: after.0.iter().filter(is_new).map(|(k, v)| (k.clone(), v.clone())).collect(),
            gone: gone.cloned().collect(),
        }
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.gone.is_empty()
    }
}

impl Parts {
    /// The board of what is seen at `now`. Depends on `now` only through drains that are overdue and events that grow old.
    pub fn of(seen: &Observed, now: Time) -> Parts {
        let owners = seen.owners();
        let mut by_app: BTreeMap<&ObjectKey, Vec<PodView>> = BTreeMap::new();
        let mut members = BTreeSet::new();
        for (key, pod) in &seen.pods {
            if let Some(app) = seen.app_of(pod, &owners) {
                members.insert(key);
                by_app.entry(&app.key).or_default().push(tile(seen, app, pod, now));
            }
        }
        let mut out = BTreeMap::new();
        let mut room = PODS_MAX;
        let mut used = BTreeSet::new();
        let mut busy = BTreeSet::new();
        for (key, app) in seen.apps.iter().take(APPS_MAX) {
            used.extend(app.release.cells.iter().map(|c| c.name.as_str()));
            let tiles = by_app.get(key).map_or(&[][..], Vec::as_slice);
            let shown = tiles.len().min(room);
            room -= shown;
            let all: Vec<&PodView> = tiles.iter().collect();
            busy.extend(all.iter().take(shown).map(|p| p.node.as_str()));
            let view: AppView = app::view(seen, app, &all, tiles.len() - shown);
            put(&mut out, format!("app/{key}"), &view);
            for pod in &tiles[..shown] {
                put(&mut out, format!("pod/{}/{}", key.namespace, pod.name), pod);
            }
        }
        for cell in nodes::view(seen, &busy, &used) {
            put(&mut out, format!("nodes/{}", cell.cell), &cell);
        }
        put(&mut out, "events".to_owned(), &events(seen, &owners, &members, now));
        put(&mut out, "cluster".to_owned(), &cluster(seen));
        Parts(out)
    }

    /// The same, holding parts that are equal to those of `before` in common with it, so that comparing again is cheap.
    pub fn sharing(mut self, before: &Parts) -> Parts {
        for (key, part) in &mut self.0 {
            if let Some(old) = before.0.get(key).filter(|old| *old == part) {
                *part = old.clone();
            }
        }
        self
    }
}

fn put(out: &mut BTreeMap<String, Arc<Value>>, key: String, part: &impl Serialize) {
    let value = serde_json::to_value(part).expect("views have string keys and finite numbers");
    out.insert(key, Arc::new(value));
}

fn tile(seen: &Observed, app: &AppFact, pod: &PodFact, now: Time) -> PodView {
    let (state, detail) = pods::state(pod, host(seen, &pod.node), now);
    let first = app.images.first();
    let image = first.and_then(|(name, _)| pod.images.get(name)).or_else(|| pod.images.values().next());
    PodView {
        app: app.key.to_string(),
        cell: cell_of(seen, app, pod),
        name: pod.key.name.clone(),
        node: pod.node.clone(),
        ip: pod.ip.clone(),
        state,
        detail,
        version: image.map_or("", |i| pods::version(i)).to_owned(),
        fresh: is_fresh(app, pod),
        restarts: pod.restarts,
        since: pod.since.map(millis),
    }
}

/// The cell that a pod is kept in: by its set, by its label, or else the cell of its node.
fn cell_of(seen: &Observed, app: &AppFact, pod: &PodFact) -> String {
    let cells = &app.release.cells;
    if let Some(cell) = cells.iter().find(|c| c.pod_set == pod.set && !c.pod_set.is_empty()) {
        return cell.name.clone();
    }
    let node = seen.nodes.get(&pod.node);
    let of_node = node.map(|n| [n.cell.as_str(), n.zone.as_str()]).unwrap_or_default();
    let names = [pod.cell.as_str(), of_node[0], of_node[1]];
    let known = names.iter().find(|n| cells.iter().any(|c| c.name == **n));
    known.or_else(|| names.iter().find(|n| !n.is_empty())).copied().unwrap_or_default().to_owned()
}

/// Whether a pod is of the revision being released. Before revisions are named, its images tell.
fn is_fresh(app: &AppFact, pod: &PodFact) -> bool {
    let newest = &app.release.update_revision;
    if !newest.is_empty() && !pod.revision.is_empty() {
        return pod.revision == *newest;
    }
    app.images.iter().all(|(name, image)| pod.images.get(name) == Some(image))
}

fn events(
    seen: &Observed,
    owners: &BTreeMap<ObjectKey, &ObjectKey>,
    members: &BTreeSet<&ObjectKey>,
    now: Time,
) -> Value {
    let concerns = |event: &EventFact| {
        let key = ObjectKey::new(&event.namespace, &event.about);
        match event.kind.as_str() {
            "CafeDeployment" => seen.apps.contains_key(&key),
            "Pod" => members.contains(&key),
            // Of a thousand nodes, those that host somebody who is shown.
            "Node" => members.iter().any(|m| seen.pods.get(*m).is_some_and(|p| p.node == event.about)),
            _ => owners.contains_key(&key),
        }
    };
    let is_fresh = |e: &EventFact| now.secs() - e.at.secs() <= EVENT_FRESH_SECS;
    let mut found: Vec<(&ObjectKey, &EventFact)> =
        seen.events.iter().filter(|(_, e)| is_fresh(e) && concerns(e)).collect();
    found.sort_by(|(a_key, a), (b_key, b)| b.at.cmp(&a.at).then_with(|| b_key.cmp(a_key)));
    let row = |(key, e): (&ObjectKey, &EventFact)| {
        json!({"id": key.to_string(), "at": millis(e.at), "kind": e.kind, "about": e.about, "reason": e.reason,
            "message": e.message, "count": e.count, "warning": e.is_warning})
    };
    found.into_iter().take(EVENTS_MAX).map(row).collect()
}

fn cluster(seen: &Observed) -> Value {
    let count = |is: fn(&super::NodeFact) -> bool| seen.nodes.values().filter(|n| is(n)).count();
    json!({
        "nodes": seen.nodes.len(),
        "ready": count(|n| n.is_ready == Some(true)),
        "process": count(|n| n.is_process),
        "pods": seen.pods.len(),
        "apps": seen.apps.len(),
    })
}
