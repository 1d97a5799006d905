//! Who is away: pods by workload and cell, as the mirrors show them and the ledger knows better.
//!
//! A workload's pods are away when it wants them and they do not serve: wanted minus available. For the budgets of cells
//! and of the cluster, pods that have failed to serve for longer than [`OWN_TROUBLE`] are their own trouble: a workload
//! that crashes for days must not stop everybody's releases.

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::{Node, Pod, ReplicaSet, StatefulSet, drain};
use api_meta::{ObjectKey, OwnerReference};
use api_workload::{CloneSet, InPlaceSet};
use reconcile::World;
use serde_json::Value;
use stdx::Time;

use crate::ledger::Ledger;

/// Node label that names a cell.
pub const CELL: &str = "cafe.sofastack.io/cell";
/// Time after which a pod that does not serve, and that no operation holds, counts as broken by itself.
pub const OWN_TROUBLE: Duration = Duration::from_secs(120);

/// A workload that owns pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    /// Identity.
    pub uid: String,
    /// `Kind namespace/name`.
    pub name: String,
    /// Pods it wants; nothing for kinds whose wish is not known here.
    pub wanted: Option<i32>,
    /// Its own owner.
    pub parent: Option<OwnerReference>,
}

/// The workload that owns a pod; nothing for a pod on its own.
pub(crate) fn workload(world: &World, pod: &Pod) -> Option<Workload> {
    let owner = pod.metadata.controller()?;
    let key = ObjectKey::new(&*pod.metadata.namespace, &*owner.name);
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    let found = match (group, owner.kind.as_str()) {
        ("apps", "ReplicaSet") => {
            world.cache::<ReplicaSet>().get(&key).map(|s| (&s.metadata, s.spec.replicas.unwrap_or(1)))
        }
        ("apps", "StatefulSet") => {
            world.cache::<StatefulSet>().get(&key).map(|s| (&s.metadata, s.spec.replicas.unwrap_or(1)))
        }
        ("apps.kruise.io", "CloneSet") => {
            world.cache::<CloneSet>().get(&key).map(|s| (&s.metadata, replicas(&s.spec)))
        }
        (api_workload::names::cafe::GROUP, "InPlaceSet") => {
            world.cache::<InPlaceSet>().get(&key).map(|s| (&s.metadata, replicas(&s.spec)))
        }
        _ => None,
    };
    let found = found.filter(|(meta, _)| meta.uid == owner.uid);
    Some(Workload {
        uid: owner.uid.clone(),
        name: format!("{} {key}", owner.kind),
        // A workload on its way out wants nothing: its pods go because somebody asked for it.
        wanted: found.map(|(meta, wanted)| if meta.is_terminating() { 0 } else { wanted }),
        parent: found.and_then(|(meta, _)| meta.controller().cloned()),
    })
}

fn replicas(spec: &Value) -> i32 {
    spec["replicas"].as_i64().map_or(1, |n| i32::try_from(n).unwrap_or(i32::MAX))
}

/// The cell of a pod's node; nothing while it has no node, or its node has no cell.
pub(crate) fn cell<'a>(world: &'a World, pod: &Pod) -> Option<&'a str> {
    if pod.spec.node_name.is_empty() {
        return None;
    }
    let node = world.cache::<Node>().get(&ObjectKey::new("", &*pod.spec.node_name))?;
    node.metadata.labels.get(CELL).map(String::as_str)
}

/// Whether a pod serves and stays: one that somebody has asked out of service is as good as away.
pub(crate) fn serves(pod: &Pod) -> bool {
    let is_asked_out = drain::takes_part(pod) && drain::requests(pod).next().is_some();
    pod.is_active() && pod.is_ready() && !is_asked_out
}

/// Whether the pod's node does not exist: then it cannot run, whatever its status still says.
pub(crate) fn has_lost_node(world: &World, pod: &Pod) -> bool {
    let node = &pod.spec.node_name;
    !node.is_empty() && world.cache::<Node>().get(&ObjectKey::new("", &**node)).is_none()
}

/// Whether a pod serves, and nothing that was granted is about to change that.
pub(crate) fn is_available(pod: &Pod, ledger: &Ledger) -> bool {
    serves(pod) && !ledger.holds(&pod.metadata.uid)
}

/// The pods of one workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Serving.
    pub available: i32,
    /// Not serving, by their own trouble.
    pub broken: i32,
    /// Neither ended nor terminating.
    pub active: i32,
    /// Terminating.
    pub terminating: i32,
}

impl Count {
    fn add(&mut self, pod: &Pod, ledger: &Ledger, now: Time) {
        if pod.is_finished() {
            return;
        }
        if pod.metadata.is_terminating() {
            self.terminating += 1;
            return;
        }
        self.active += 1;
        if is_available(pod, ledger) {
            self.available += 1;
        } else if is_broken(pod, ledger, now) {
            self.broken += 1;
        }
    }

    /// Pods wanted; all that were there where the workload's wish is not known.
    pub(crate) fn wanted(&self, workload: &Workload) -> i32 {
        workload.wanted.unwrap_or(self.active + self.terminating)
    }
}

/// The pods of a workload, counted.
pub(crate) fn count(world: &World, uid: &str, ledger: &Ledger, now: Time) -> Count {
    let mut count = Count::default();
    world.cache::<Pod>().owned_by(uid).for_each(|pod| count.add(pod, ledger, now));
    count
}

/// Not serving for long, and no operation holds it out of service.
fn is_broken(pod: &Pod, ledger: &Ledger, now: Time) -> bool {
    let is_held = drain::gate(pod).and_then(|g| pod.condition(g)).is_some_and(|c| c.status == "False");
    let is_asked_out = drain::requests(pod).next().is_some();
    if is_held || is_asked_out || ledger.holds(&pod.metadata.uid) {
        return false;
    }
    let since = pod.condition("Ready").and_then(|c| c.last_transition_time);
    let since = since.max(pod.metadata.creation_timestamp);
    since.is_some_and(|at| now.since(at) > OWN_TROUBLE)
}

/// How many pods are away in the cluster and its cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Pods, and pods away, of the whole cluster.
    pub cluster: Scope,
    /// The same by cell.
    pub cells: BTreeMap<String, Scope>,
}

/// The pods of a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Neither ended nor terminating.
    pub pods: i32,
    /// Wanted and not serving, their own trouble apart.
    pub away: i32,
}

#[derive(Default)]
struct Group<'a> {
    workload: Option<Workload>,
    count: Count,
    pods: Vec<&'a Pod>,
}

impl Census {
    /// Counts everything. Costs a look at every pod: only where a limit or a status needs it.
    pub fn of(world: &World, ledger: &Ledger, now: Time) -> Census {
        let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
        for pod in world.cache::<Pod>().iter() {
            let uid = pod
                .metadata
                .controller()
                .map_or_else(|| format!("pod/{}", pod.metadata.uid), |o| o.uid.clone());
            let group = groups
                .entry(uid)
                .or_insert_with(|| Group { workload: workload(world, pod), ..Group::default() });
            group.count.add(pod, ledger, now);
            group.pods.push(pod);
        }
        let mut census = Census::default();
        groups.values().for_each(|group| census.add(world, group, ledger, now));
        census.add_empty(world, &groups);
        census
    }

    fn add(&mut self, world: &World, group: &Group<'_>, ledger: &Ledger, now: Time) {
        let count = &group.count;
        let wanted = group.workload.as_ref().map_or(count.active + count.terminating, |w| count.wanted(w));
        let away = (wanted - count.available - count.broken).max(0);
        // Where the next pod will land is not known: a missing one counts wherever its workload is.
        let missing = (wanted - count.active - count.terminating).max(0);
        self.cluster.pods += count.active;
        self.cluster.away += away;
        let mut cells: BTreeMap<&str, Scope> = BTreeMap::new();
        for pod in &group.pods {
            let Some(cell) = cell(world, pod).filter(|_| !pod.is_finished()) else { continue };
            let scope = cells.entry(cell).or_default();
            scope.pods += i32::from(!pod.metadata.is_terminating());
            scope.away += i32::from(!is_available(pod, ledger) && !is_broken(pod, ledger, now));
        }
        for (name, scope) in cells {
            let total = self.cells.entry(name.to_owned()).or_default();
            total.pods += scope.pods;
            // No more are away in one cell than in all.
            total.away += (scope.away + missing).min(away);
        }
    }

    /// Workloads that have no pod at all and want some.
    fn add_empty(&mut self, world: &World, groups: &BTreeMap<String, Group<'_>>) {
        let sets = world.cache::<ReplicaSet>().iter().map(|s| (&s.metadata, s.spec.replicas.unwrap_or(1)));
        let sets = sets
            .chain(world.cache::<StatefulSet>().iter().map(|s| (&s.metadata, s.spec.replicas.unwrap_or(1))));
        let sets = sets.chain(world.cache::<CloneSet>().iter().map(|s| (&s.metadata, replicas(&s.spec))));
        let sets = sets.chain(world.cache::<InPlaceSet>().iter().map(|s| (&s.metadata, replicas(&s.spec))));
        let empty = sets.filter(|(meta, _)| !meta.is_terminating() && !groups.contains_key(&meta.uid));
        let missing: i32 = empty.map(|(_, wanted)| wanted.max(0)).sum();
        self.cluster.away += missing;
        self.cells.values_mut().for_each(|cell| cell.away += missing);
    }
}
