//! An account of its own of who is where, so that the core's is not its own judge.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api_core::Pod;
use sched_core::{Amounts, NodeFact, PodFact};

const ZONE: &str = "topology.kubernetes.io/zone";

/// Nodes with what they hold, and pods with their places.
#[derive(Default)]
pub(super) struct Account {
    nodes: BTreeMap<Arc<str>, Entry>,
    pods: HashMap<Arc<str>, Placed>,
}

struct Entry {
    allocatable: Amounts,
    pods_max: i64,
    zone: Option<String>,
    used: Amounts,
    pods: i64,
}

/// A pod in its place.
pub(super) struct Placed {
    pub(super) node: Arc<str>,
    pub(super) fact: Arc<PodFact>,
    owner: Option<String>,
}

impl Account {
    pub(super) fn set_node(&mut self, fact: &NodeFact) {
        let zone = fact.labels.get(ZONE).cloned();
        let entry = self.nodes.entry(fact.name.clone()).or_insert_with(|| Entry {
            allocatable: Amounts::default(),
            pods_max: 0,
            zone: None,
            used: Amounts::default(),
            pods: 0,
        });
        (entry.allocatable, entry.pods_max, entry.zone) = (fact.allocatable.clone(), fact.pods_max, zone);
    }

    /// Forgets a node; its pods have lost their place and are returned.
    pub(super) fn drop_node(&mut self, name: &str) -> Vec<Arc<PodFact>> {
        self.nodes.remove(name);
        let mut lost: Vec<Arc<PodFact>> =
            self.pods.values().filter(|p| *p.node == *name).map(|p| p.fact.clone()).collect();
        lost.sort_by(|a, b| a.uid.cmp(&b.uid));
        lost.iter().for_each(|p| drop(self.pods.remove(&p.uid)));
        lost
    }

    pub(super) fn put(&mut self, pod: &Pod, fact: &Arc<PodFact>, node: &Arc<str>) {
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.used.add(&fact.demand.requests);
            entry.pods += 1;
        }
        let owner = pod.metadata.controller().map(|o| o.uid.clone());
        self.pods.insert(fact.uid.clone(), Placed { node: node.clone(), fact: fact.clone(), owner });
    }

    pub(super) fn take(&mut self, uid: &str) -> bool {
        let Some(placed) = self.pods.remove(uid) else { return false };
        if let Some(entry) = self.nodes.get_mut(&placed.node) {
            entry.used.sub(&placed.fact.demand.requests);
            entry.pods -= 1;
        }
        true
    }

    pub(super) fn place_of(&self, uid: &str) -> Option<&Placed> {
        self.pods.get(uid)
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn placed(&self) -> usize {
        self.pods.len()
    }

    /// Thousandths of cores in use, and there.
    pub(super) fn cpu(&self) -> (i64, i64) {
        let sum = |of: fn(&Entry) -> i64| -> i64 { self.nodes.values().map(of).sum() };
        (sum(|e| e.used.cpu_milli), sum(|e| e.allocatable.cpu_milli))
    }

    /// Share of CPU in use, by node.
    pub(super) fn uses(&self) -> impl Iterator<Item = (&Arc<str>, f64)> {
        let share = |e: &Entry| e.used.cpu_milli as f64 / e.allocatable.cpu_milli.max(1) as f64;
        self.nodes.iter().map(move |(name, e)| (name, share(e)))
    }

    /// Nodes that hold more than they have.
    pub(super) fn overcommitted(&self) -> usize {
        let over = |e: &Entry| {
            let (used, has) = (&e.used, &e.allocatable);
            e.pods > e.pods_max
                || used.cpu_milli > has.cpu_milli
                || used.memory > has.memory
                || used.ephemeral_storage > has.ephemeral_storage
                || used.extended.iter().any(|(name, amount)| *amount > has.extended(name))
        };
        self.nodes.values().filter(|e| over(e)).count()
    }

    /// Greatest difference in pods of one owner between two zones; nothing where there are fewer than two zones.
    pub(super) fn zones_max(&self) -> Option<usize> {
        let mut zones: Vec<&str> = self.nodes.values().filter_map(|e| e.zone.as_deref()).collect();
        zones.sort_unstable();
        zones.dedup();
        if zones.len() < 2 {
            return None;
        }
        let mut counts = BTreeMap::<(&str, &str), usize>::new();
        let mut owners = Vec::new();
        for pod in self.pods.values() {
            let zone = self.nodes.get(&pod.node).and_then(|e| e.zone.as_deref());
            if let (Some(owner), Some(zone)) = (pod.owner.as_deref(), zone) {
                *counts.entry((owner, zone)).or_default() += 1;
                owners.push(owner);
            }
        }
        let skew = |owner: &str| {
            let of = zones.iter().map(|z| counts.get(&(owner, *z)).copied().unwrap_or(0));
            of.clone().max().unwrap_or(0) - of.min().unwrap_or(0)
        };
        Some(owners.into_iter().map(skew).max().unwrap_or(0))
    }
}
