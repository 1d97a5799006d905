//! Writes down what happens in a copy: which pods are touched when, and how far availability sinks.

use std::collections::BTreeMap;

use api_core::{Pod, drain};
use api_meta::{IntOrPercent, ObjectKey};
use reconcile::{Action, Budget};
use serde_json::Value;
use stdx::Time;
use view::{Fate, Group, Low, ServiceEffect, Step};
use workload_kit::census::Limits;

use super::{Root, pods_of, root_of};
use crate::scene::{NODES, PODS, SERVICES, Scene, is_same};
use crate::words::{self, Deed};

const CELL_LABEL: &str = api_workload::names::cafe::CELL_LABEL;
const UNIT_LABEL: &str = api_workload::names::cafe::UNIT_LABEL;

/// What happened so far.
pub(super) struct Record {
    roots: Vec<Course>,
    /// Services by key with the counts of ready endpoints.
    services: BTreeMap<ObjectKey, Counts>,
    selectors: BTreeMap<ObjectKey, BTreeMap<String, String>>,
}

/// The course of one root.
#[derive(Default)]
struct Course {
    /// What became of each pod, in the order in which they were touched first.
    pods: Vec<Touched>,
    cells: BTreeMap<String, Counts>,
    groups: Vec<Group>,
}

/// A pod that was touched.
struct Touched {
    key: ObjectKey,
    at: Time,
    fate: Fate,
    cell: String,
    group: String,
    /// Whether it was in service, and was out of traffic before it was disturbed.
    served: bool,
    drained: bool,
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    now: i64,
    lowest: i64,
    last: i64,
}

impl Counts {
    fn see(&mut self, count: i64) {
        self.lowest = self.lowest.min(count);
        self.last = count;
    }
}

impl Record {
    /// How things stand before anything moves.
    pub(super) fn of(scene: &Scene, roots: &[Root]) -> Record {
        let mut record = Record {
            roots: roots.iter().map(|_| Course::default()).collect(),
            services: BTreeMap::new(),
            selectors: BTreeMap::new(),
        };
        for (key, service) in scene.list(&SERVICES) {
            let selector = strings(&service["spec"]["selector"]);
            if !selector.is_empty() {
                record.selectors.insert(key.clone(), selector);
            }
        }
        for (course, root) in record.roots.iter_mut().zip(roots) {
            for (cell, count) in available(scene, root) {
                course.cells.insert(cell, Counts { now: count, lowest: count, last: count });
            }
        }
        for (key, count) in endpoints(scene, &record.selectors) {
            record.services.insert(key, Counts { now: count, lowest: count, last: count });
        }
        record
    }

    /// Looks at the counts.
    pub(super) fn sample(&mut self, scene: &Scene, roots: &[Root]) {
        for (course, root) in self.roots.iter_mut().zip(roots) {
            let counts = available(scene, root);
            for cell in counts.keys() {
                course.cells.entry(cell.clone()).or_default();
            }
            // A new pod has no cell before it has a node.
            for touched in course.pods.iter_mut().filter(|t| t.cell.is_empty()) {
                touched.cell = scene.get(&PODS, &touched.key).map_or_else(String::new, |p| cell_of(scene, p));
            }
            for (cell, known) in &mut course.cells {
                known.see(counts.get(cell).copied().unwrap_or(0));
            }
            let object = scene.get(&root.resource, &root.key).unwrap_or(&Value::Null);
            let release = view::release(object).unwrap_or_default();
            if release.groups.len() >= course.groups.len() {
                course.groups = release.groups;
            }
        }
        for (key, count) in endpoints(scene, &self.selectors) {
            self.services.entry(key).or_default().see(count);
        }
    }

    /// An action was carried out, on a pod that was in service before if `served`.
    pub(super) fn note(&mut self, action: &Action, served: bool, scene: &Scene, roots: &[Root]) {
        let fate = match words::deed(action) {
            Deed::CreatePod => Fate::Create,
            Deed::LeaveTraffic => Fate::LeaveTraffic,
            Deed::InPlace(_) => Fate::Restart,
            Deed::MakeAnew => Fate::Recreate,
            Deed::DeletePod => Fate::Delete,
            Deed::Relabel => Fate::Relabel,
            Deed::EnterTraffic | Deed::Scale(_) | Deed::Other(_) | Deed::Books => return,
        };
        let key = action.key();
        let Some(object) = scene.get(&PODS, &key) else {
            return self.ended(&key, fate);
        };
        let Some(i) = root_of(scene, roots, object) else { return };
        let group = current_group(scene, &roots[i]);
        let pod: Pod = serde_json::from_value(object.clone()).unwrap_or_default();
        let out = drain::protections(&pod).next().is_none();
        match self.roots[i].pods.iter_mut().find(|t| t.key == key) {
            Some(known) => known.goes(fate, out),
            None => self.roots[i].pods.push(Touched {
                cell: cell_of(scene, object),
                group,
                at: scene.now,
                fate,
                served,
                drained: fate == Fate::LeaveTraffic && drain::takes_part(&pod),
                labels: pod.metadata.labels,
                key,
            }),
        }
    }

    /// A pod that was deleted on the spot.
    fn ended(&mut self, key: &ObjectKey, fate: Fate) {
        let all = self.roots.iter_mut().flat_map(|c| &mut c.pods);
        all.filter(|t| t.key == *key).for_each(|t| t.goes(fate, true));
    }

    /// The groups as the controller cut them.
    pub(super) fn groups(&self, i: usize) -> Vec<Group> {
        self.roots[i].groups.clone()
    }

    /// Pods that were touched first at the same moment and suffer the same are one step.
    pub(super) fn steps(&self, i: usize) -> Vec<Step> {
        let mut steps: Vec<(&Touched, Vec<&Touched>)> = Vec::new();
        for touched in &self.roots[i].pods {
            match steps.iter_mut().find(|(first, _)| first.goes_with(touched)) {
                Some((_, pods)) => pods.push(touched),
                None => steps.push((touched, vec![touched])),
            }
        }
        let step = |(number, (first, pods)): (usize, (&Touched, Vec<&Touched>))| {
            let mut cells: BTreeMap<&str, i64> = BTreeMap::new();
            pods.iter().for_each(|t| *cells.entry(&t.cell).or_default() += 1);
            let mut names: Vec<String> = pods.iter().map(|t| t.key.name.clone()).collect();
            names.sort();
            let cells = cells.into_iter().map(|(cell, n)| (cell.to_owned(), n)).collect();
            Step { number: number + 1, group: first.group.clone(), deed: first.fate, pods: names, cells }
        };
        steps.into_iter().enumerate().map(step).collect()
    }

    /// The lowest points, by cell where there are cells, and of all pods together.
    pub(super) fn lows(&self, i: usize, object: &Value) -> Vec<Low> {
        let course = &self.roots[i];
        if course.pods.is_empty() {
            return Vec::new();
        }
        let minima: BTreeMap<String, i64> = view::release(object)
            .map(|r| r.cells.into_iter().map(|c| (c.name, c.min_available)).collect())
            .unwrap_or_default();
        let low = |(cell, c): (&String, &Counts)| Low {
            cell: cell.clone(),
            now: c.now,
            lowest: c.lowest,
            minimum: if cell.is_empty() { minimum(object) } else { minima.get(cell).copied() },
            end: c.last,
        };
        // All pods together come last.
        let celled = course.cells.iter().filter(|(cell, _)| !cell.is_empty() && **cell != NO_CELL);
        celled.chain(course.cells.iter().filter(|(cell, _)| cell.is_empty())).map(low).collect()
    }

    /// The Services whose pods are touched.
    pub(super) fn services(&self, i: usize) -> Vec<ServiceEffect> {
        let touched = &self.roots[i].pods;
        let mut out = Vec::new();
        for (key, selector) in &self.selectors {
            let selects = |t: &&Touched| {
                t.key.namespace == key.namespace && selector.iter().all(|(k, v)| t.labels.get(k) == Some(v))
            };
            let mine: Vec<&Touched> = touched.iter().filter(selects).collect();
            if mine.is_empty() {
                continue;
            }
            let counts = self.services.get(key).copied().unwrap_or_default();
            let leaves = |t: &&&Touched| t.served && !matches!(t.fate, Fate::Relabel | Fate::Create);
            out.push(ServiceEffect {
                service: key.name.clone(),
                now: counts.now,
                lowest: counts.lowest,
                end: counts.last,
                leave: mine.iter().filter(leaves).count(),
                drained: mine.iter().filter(leaves).filter(|t| t.drained).count(),
            });
        }
        out
    }
}

impl Touched {
    fn goes_with(&self, other: &Touched) -> bool {
        (self.at, self.fate, &self.group) == (other.at, other.fate, &other.group)
    }

    /// A later deed counts when it is a graver one; who is disturbed while a component still protects it is not drained.
    fn goes(&mut self, fate: Fate, out: bool) {
        let disturbs = matches!(fate, Fate::Restart | Fate::Delete);
        self.drained &= !disturbs || out;
        if self.fate == Fate::Create || (self.fate == Fate::Recreate && fate == Fate::Delete) {
            return;
        }
        self.fate = self.fate.max(fate);
    }
}

/// Whether an action is about a pod that is in service.
pub(super) fn is_served(action: &Action, scene: &Scene) -> bool {
    is_same(action.resource(), &PODS) && scene.get(&PODS, &action.key()).is_some_and(is_ready)
}

/// Cell of pods that are in none.
const NO_CELL: &str = "(none)";

/// Available pods of a root by cell; under the empty name all of them.
fn available(scene: &Scene, root: &Root) -> BTreeMap<String, i64> {
    let object = scene.get(&root.resource, &root.key).unwrap_or(&Value::Null);
    let spec = &object["spec"];
    let wait = spec["minReadySeconds"].as_i64().or_else(|| spec["strategy"]["minReadySeconds"].as_i64());
    let mut out = BTreeMap::from([(String::new(), 0)]);
    for key in pods_of(scene, root) {
        let Some(pod) = scene.get(&PODS, &key) else { continue };
        let cell = match cell_of(scene, pod) {
            cell if cell.is_empty() => NO_CELL.to_owned(),
            cell => cell,
        };
        let is_available = is_ready(pod) && ready_for(pod, scene.now) >= wait.unwrap_or(0);
        let count = i64::from(is_available && pod["metadata"]["deletionTimestamp"].is_null());
        *out.entry(cell).or_default() += count;
        *out.entry(String::new()).or_default() += count;
    }
    out
}

/// Ready endpoints of Services.
fn endpoints(
    scene: &Scene,
    selectors: &BTreeMap<ObjectKey, BTreeMap<String, String>>,
) -> BTreeMap<ObjectKey, i64> {
    let mut out: BTreeMap<ObjectKey, i64> = selectors.keys().map(|key| (key.clone(), 0)).collect();
    for (key, pod) in scene.list(&PODS) {
        if !is_ready(pod) || !pod["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        for (service, selector) in selectors.iter().filter(|(s, _)| s.namespace == key.namespace) {
            let labels = &pod["metadata"]["labels"];
            if selector.iter().all(|(k, v)| labels[k] == *v) {
                *out.entry(service.clone()).or_default() += 1;
            }
        }
    }
    out
}

fn ready_condition(pod: &Value) -> Option<&Value> {
    pod["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn is_ready(pod: &Value) -> bool {
    ready_condition(pod).is_some() && pod["status"]["phase"] == "Running"
}

/// Seconds in readiness.
fn ready_for(pod: &Value, now: Time) -> i64 {
    let since = ready_condition(pod).and_then(|c| c["lastTransitionTime"].as_str()?.parse::<Time>().ok());
    since.map_or(0, |t| i64::try_from(now.since(t).as_secs()).unwrap_or(i64::MAX))
}

/// The cell a pod is kept in, else the one of its node.
fn cell_of(scene: &Scene, pod: &Value) -> String {
    if let Some(cell) = pod["metadata"]["labels"][UNIT_LABEL].as_str() {
        return cell.to_owned();
    }
    let node = ObjectKey::new("", pod["spec"]["nodeName"].as_str().unwrap_or_default());
    let cell = scene.get(&NODES, &node).and_then(|n| n["metadata"]["labels"][CELL_LABEL].as_str());
    cell.unwrap_or_default().to_owned()
}

/// The group that runs now.
fn current_group(scene: &Scene, root: &Root) -> String {
    let object = scene.get(&root.resource, &root.key).unwrap_or(&Value::Null);
    let release = view::release(object).unwrap_or_default();
    release.current().map(|g| g.name.clone()).unwrap_or_default()
}

/// Fewest available pods that the workload's own rules allow.
fn minimum(object: &Value) -> Option<i64> {
    let spec = &object["spec"];
    let replicas = i32::try_from(spec["replicas"].as_i64().unwrap_or(1)).ok()?;
    let share = |at: &Value, field: &str| serde_json::from_value::<IntOrPercent>(at[field].clone()).ok();
    match object["kind"].as_str()? {
        "Deployment" if spec["strategy"]["type"] == "Recreate" => Some(0),
        "Deployment" => {
            let rolling = &spec["strategy"]["rollingUpdate"];
            let quarter = IntOrPercent::Percent(25);
            let surge = share(rolling, "maxSurge").unwrap_or(quarter);
            let unavailable = share(rolling, "maxUnavailable").unwrap_or(quarter);
            Some(i64::from(Budget::rolling(replicas, surge, unavailable).available_min(replicas)))
        }
        "CloneSet" => {
            let rolling = &spec["updateStrategy"]["rollingUpdate"];
            let paused = rolling["paused"] == true;
            let limits = Limits::resolve(
                replicas,
                None,
                share(rolling, "maxSurge"),
                share(rolling, "maxUnavailable"),
                None,
                paused,
            );
            Some(i64::from((replicas - limits.unavailable).max(0)))
        }
        _ => None,
    }
}

fn strings(map: &Value) -> BTreeMap<String, String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}
