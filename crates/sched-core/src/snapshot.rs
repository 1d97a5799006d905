//! The cluster as the cycle sees it, changed one object at a time.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::tally::{bump, carried_by};
use crate::{Carried, Column, Counts, Group, Hints, Needs, NodeFact, NodeInfo, PodFact};

/// Number of a node within a snapshot; reused after the node has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// Its place in arrays by node.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Greatest number of pod groups counted ahead of need; beyond it the longest unused is dropped.
const GROUPS_MAX: usize = 1024;

/// Labels of namespaces by name.
pub type NamespaceLabels = BTreeMap<String, BTreeMap<String, String>>;

/// Nodes, placed pods and what is counted of them.
#[derive(Default)]
pub struct Snapshot {
    nodes: Vec<NodeInfo>,
    by_name: HashMap<Arc<str>, Slot>,
    free: Vec<Slot>,
    known: usize,
    pods: HashMap<Arc<str>, Held>,
    namespaces: NamespaceLabels,
    groups: BTreeMap<Group, Counted>,
    owners: HashMap<Arc<str>, Counts>,
    carried: BTreeMap<Carried, Counts>,
    columns: BTreeMap<Arc<str>, Column>,
    generation: u64,
    looks: u64,
}

struct Held {
    slot: Slot,
    assumed: bool,
}

struct Counted {
    counts: Counts,
    used: u64,
}

impl Snapshot {
    /// An empty cluster.
    pub fn new() -> Snapshot {
        Snapshot::default()
    }

    /// How many nodes are known.
    pub fn len(&self) -> usize {
        self.known
    }

    /// Whether no node is known.
    pub fn is_empty(&self) -> bool {
        self.known == 0
    }

    /// Changes whenever anything here does.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The known nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (Slot, &NodeInfo)> {
        let all = self.nodes.iter().enumerate().filter(|(_, n)| n.known);
        all.map(|(i, n)| (Slot(u32::try_from(i).expect("slots are numbered in 32 bits")), n))
    }

    /// One more than the greatest slot in use.
    pub fn slots(&self) -> usize {
        self.nodes.len()
    }

    /// A node by slot.
    pub fn node(&self, slot: Slot) -> &NodeInfo {
        &self.nodes[slot.index()]
    }

    /// A known node by name.
    pub fn find(&self, name: &str) -> Option<(Slot, &NodeInfo)> {
        let slot = *self.by_name.get(name)?;
        Some((slot, &self.nodes[slot.index()])).filter(|(_, n)| n.known)
    }

    /// Labels of namespaces.
    pub fn namespaces(&self) -> &NamespaceLabels {
        &self.namespaces
    }

    /// The terms that placed pods carry, with the nodes of those pods.
    pub fn carried(&self) -> &BTreeMap<Carried, Counts> {
        &self.carried
    }

    /// How many pods are placed or assumed.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// Where a pod is, and whether only assumed there.
    pub fn place_of(&self, uid: &str) -> Option<(&NodeInfo, bool)> {
        let held = self.pods.get(uid)?;
        Some((&self.nodes[held.slot.index()], held.assumed))
    }

    /// Takes in a node's object. Says what kind of change it was.
    pub fn set_node(&mut self, fact: NodeFact) -> Hints {
        let slot = self.slot_for(&fact.name);
        let node = &self.nodes[slot.index()];
        let hints = if node.known { difference(&node.fact, &fact) } else { Hints::NODE_ADDED };
        if node.known && node.fact == fact {
            return Hints::NONE;
        }
        if !node.known {
            self.known += 1;
        }
        for (key, column) in &mut self.columns {
            column.set(slot, fact.labels.get(&**key));
        }
        let generation = self.step();
        let node = &mut self.nodes[slot.index()];
        node.fact = fact;
        node.known = true;
        node.generation = generation;
        self.rebuild_worn_columns();
        hints
    }

    /// Forgets a node's object. Its pods stay counted until they are removed.
    pub fn drop_node(&mut self, name: &str) {
        let Some(slot) = self.by_name.get(name).copied() else { return };
        let generation = self.step();
        let node = &mut self.nodes[slot.index()];
        if node.known {
            self.known -= 1;
        }
        let name = node.fact.name.clone();
        node.fact = NodeFact { name, ..NodeFact::default() };
        node.known = false;
        node.generation = generation;
        for column in self.columns.values_mut() {
            column.set(slot, None);
        }
        self.free_if_empty(slot);
    }

    /// Takes in a pod that is bound, or a change of it; replaces what was assumed of it.
    pub fn place(&mut self, pod: Arc<PodFact>) -> Hints {
        let Some(node) = pod.node.clone() else { return Hints::NONE };
        let before = self.pods.get(&pod.uid).map(|h| (h.slot, h.assumed));
        if let Some((slot, assumed)) = before {
            let info = &self.nodes[slot.index()];
            let same =
                info.fact.name == node && info.pods.get(&pod.uid).is_some_and(|old| same_weight(old, &pod));
            if same {
                // Only the name of the state changes: nothing that a rule reads.
                if assumed {
                    self.pods.insert(pod.uid.clone(), Held { slot, assumed: false });
                }
                self.nodes[slot.index()].pods.insert(pod.uid.clone(), pod);
                return Hints::NONE;
            }
        }
        let freed = self.remove(&pod.uid);
        self.insert(pod, &node, false);
        if before.is_none() { Hints::POD_ADDED } else { freed | Hints::POD_CHANGED }
    }

    /// Counts a pod on a node before the API server has confirmed it.
    pub fn assume(&mut self, pod: Arc<PodFact>, node: &Arc<str>) {
        self.remove(&pod.uid);
        self.insert(pod, node, true);
    }

    /// Takes an assumption back; does nothing once the pod is confirmed.
    pub fn forget(&mut self, uid: &str) -> Hints {
        match self.pods.get(uid) {
            Some(held) if held.assumed => self.remove(uid),
            _ => Hints::NONE,
        }
    }

    /// Removes a pod that is gone or has ended.
    pub fn remove(&mut self, uid: &str) -> Hints {
        let Some(held) = self.pods.remove(uid) else { return Hints::NONE };
        let generation = self.step();
        let node = &mut self.nodes[held.slot.index()];
        node.generation = generation;
        let pod = node.take(uid).expect("a held pod is on the node of its slot");
        self.count(&pod, held.slot, false);
        self.free_if_empty(held.slot);
        Hints::POD_REMOVED
    }

    /// Takes in a namespace's labels.
    pub fn set_namespace(&mut self, name: &str, labels: &BTreeMap<String, String>) -> Hints {
        if self.namespaces.get(name) == Some(labels) {
            return Hints::NONE;
        }
        self.namespaces.insert(name.to_owned(), labels.clone());
        self.recount_by_namespace();
        Hints::NAMESPACE
    }

    /// Forgets a namespace.
    pub fn drop_namespace(&mut self, name: &str) {
        if self.namespaces.remove(name).is_some() {
            self.recount_by_namespace();
        }
    }

    /// Counts what a cycle is going to ask for, so that asking is cheap.
    pub fn index(&mut self, needs: &Needs) {
        self.looks += 1;
        for key in &needs.topologies {
            self.ensure_column(key);
        }
        for group in &needs.groups {
            if matches!(group, Group::Owner(_)) {
                continue;
            }
            if let Some(counted) = self.groups.get_mut(group) {
                counted.used = self.looks;
                continue;
            }
            let counted = Counted { counts: self.count_anew(group), used: self.looks };
            self.groups.insert(group.clone(), counted);
        }
        if self.groups.len() > GROUPS_MAX {
            let oldest = self.groups.iter().min_by_key(|(_, c)| c.used).map(|(g, _)| g.clone());
            oldest.and_then(|g| self.groups.remove(&g));
        }
    }

    /// Pods of a group per node. Cheap when indexed.
    pub fn counts(&self, group: &Group) -> Cow<'_, Counts> {
        let ready = match group {
            Group::Owner(uid) => return self.owners.get(uid).map_or_else(Cow::default, Cow::Borrowed),
            _ => self.groups.get(group),
        };
        ready.map_or_else(|| Cow::Owned(self.count_anew(group)), |c| Cow::Borrowed(&c.counts))
    }

    /// The domains of a topology key. Cheap when indexed.
    pub fn column(&self, key: &str) -> Cow<'_, Column> {
        self.columns.get(key).map_or_else(|| Cow::Owned(self.build_column(key)), Cow::Borrowed)
    }

    fn build_column(&self, key: &str) -> Column {
        Column::build(key, self.nodes().map(|(slot, n)| (slot, &n.fact)))
    }

    fn ensure_column(&mut self, key: &Arc<str>) {
        if !self.columns.contains_key(key) {
            let column = self.build_column(key);
            self.columns.insert(key.clone(), column);
        }
    }

    fn rebuild_worn_columns(&mut self) {
        let worn: Vec<Arc<str>> =
            self.columns.iter().filter(|(_, c)| c.is_worn()).map(|(key, _)| key.clone()).collect();
        for key in worn {
            let column = self.build_column(&key);
            self.columns.insert(key, column);
        }
    }

    fn count_anew(&self, group: &Group) -> Counts {
        let mut counts = Counts::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let n = node.pods.values().filter(|p| group.counts(p, &self.namespaces)).count();
            if n > 0 {
                let slot = Slot(u32::try_from(i).expect("slots are numbered in 32 bits"));
                counts.insert(slot, u32::try_from(n).expect("pods of a node are counted in 32 bits"));
            }
        }
        counts
    }

    fn recount_by_namespace(&mut self) {
        self.step();
        let stale: Vec<Group> = self.groups.keys().filter(|g| g.reads_namespaces()).cloned().collect();
        for group in stale {
            let counts = self.count_anew(&group);
            self.groups.insert(group, Counted { counts, used: self.looks });
        }
    }

    fn insert(&mut self, pod: Arc<PodFact>, node: &Arc<str>, assumed: bool) {
        let slot = self.slot_for(node);
        let generation = self.step();
        self.count(&pod, slot, true);
        self.pods.insert(pod.uid.clone(), Held { slot, assumed });
        let node = &mut self.nodes[slot.index()];
        node.generation = generation;
        node.put(pod);
    }

    fn count(&mut self, pod: &PodFact, slot: Slot, up: bool) {
        if let Some(owner) = pod.owner.as_ref().filter(|_| !pod.terminating) {
            let counts = self.owners.entry(owner.clone()).or_default();
            bump(counts, slot, up);
            if counts.is_empty() {
                self.owners.remove(owner);
            }
        }
        for (group, counted) in &mut self.groups {
            if group.counts(pod, &self.namespaces) {
                bump(&mut counted.counts, slot, up);
            }
        }
        for term in carried_by(pod) {
            self.ensure_column(&term.term.topology);
            let counts = self.carried.entry(term.clone()).or_default();
            bump(counts, slot, up);
            if counts.is_empty() {
                self.carried.remove(&term);
            }
        }
    }

    fn slot_for(&mut self, name: &Arc<str>) -> Slot {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(NodeInfo::default());
            Slot(u32::try_from(self.nodes.len() - 1).expect("slots are numbered in 32 bits"))
        });
        let fact = NodeFact { name: name.clone(), ..NodeFact::default() };
        self.nodes[slot.index()] = NodeInfo { fact, generation: self.step(), ..NodeInfo::default() };
        self.by_name.insert(name.clone(), slot);
        slot
    }

    fn free_if_empty(&mut self, slot: Slot) {
        let node = &self.nodes[slot.index()];
        if !node.known && node.pods.is_empty() {
            self.by_name.remove(&node.fact.name);
            self.nodes[slot.index()] = NodeInfo::default();
            self.free.push(slot);
        }
    }

    fn step(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }
}

/// Whether both versions of a pod mean the same to every rule.
fn same_weight(a: &PodFact, b: &PodFact) -> bool {
    a.demand == b.demand && a.labels == b.labels && a.owner == b.owner && a.terminating == b.terminating
}

fn difference(old: &NodeFact, new: &NodeFact) -> Hints {
    let mut hints = Hints::NONE;
    if old.allocatable != new.allocatable || old.pods_max != new.pods_max {
        hints |= Hints::NODE_ROOM;
    }
    if old.labels != new.labels {
        hints |= Hints::NODE_LABELS;
    }
    if old.taints != new.taints || old.unschedulable != new.unschedulable {
        hints |= Hints::NODE_TAINTS;
    }
    hints
}

#[cfg(test)]
mod tests;
