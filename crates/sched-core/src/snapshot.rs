//! The cluster as decisions see it, changed one object at a time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use api_meta::ObjectKey;

use crate::column::{Column, ColumnId, Columns, Topology};
use crate::fence::{Fence, FenceId, Fences, Marks};
use crate::images::Images;
use crate::journal::{Entry, Journal};
use crate::tally::{Ground, Group, KinId, Tallies, Tally, TallyId, TallyKey, Whose};
use crate::{
    Bits, ClaimFact, ClassFact, Hints, Kin, LimitsFact, NodeFact, NodeInfo, Placed, PodFact, Room,
    VolumeFact, VolumePlan, Volumes,
};

/// Number of a node within a snapshot; reused after the node has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// Its place in arrays by node.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot of a place in arrays by node.
    #[inline]
    pub fn at(index: usize) -> Slot {
        Slot(u32::try_from(index).expect("slots are numbered in 32 bits"))
    }
}

/// Greatest number of counts of pod groups kept up; beyond it the half that was asked for longest ago is dropped.
const TALLIES_MAX: usize = 4096;
/// Greatest number of conditions on nodes kept up; beyond it they are all worked out anew when asked for.
const FENCES_MAX: usize = 4096;
/// Fewest changes of nodes that are remembered for those who follow.
const CHANGES_MIN: usize = 1024;

/// Labels of namespaces by name.
pub type NamespaceLabels = BTreeMap<String, BTreeMap<String, String>>;

/// Nodes, placed pods and what is counted of them. One writer changes it; whoever derives something from it follows its
/// [changes](Snapshot::changes).
#[derive(Default)]
pub struct Snapshot {
    nodes: Vec<NodeInfo>,
    rooms: Vec<Room>,
    /// Pods per node, capped: for breaking ties.
    crowd: Vec<i16>,
    marks: Marks,
    known_count: usize,
    by_name: HashMap<Arc<str>, Slot>,
    free: Vec<Slot>,
    /// Place of each node in the order of names, once asked for.
    ranks: Option<Vec<u32>>,
    pods: HashMap<Arc<str>, Held>,
    namespaces: NamespaceLabels,
    volumes: Volumes,
    images: Images,
    columns: Columns,
    fences: Fences,
    tallies: Tallies,
    changes: Changes,
    /// When each kind of change happened last.
    happened: [u64; Hints::KINDS],
    generation: u64,
    objects: u64,
    epoch: u64,
    pub(crate) journal: Journal,
}

/// Where a pod is. The top bit says that it is only assumed there.
#[derive(Clone, Copy)]
struct Held(u32);

const ASSUMED: u32 = 1 << 31;

impl Held {
    fn new(slot: Slot, assumed: bool) -> Held {
        Held(slot.0 | if assumed { ASSUMED } else { 0 })
    }

    fn slot(self) -> Slot {
        Slot(self.0 & !ASSUMED)
    }

    fn is_assumed(self) -> bool {
        self.0 & ASSUMED != 0
    }
}

/// A pod taken off its node for a while.
#[derive(Clone, Debug)]
pub struct Lifted {
    /// The pod.
    pub pod: Arc<PodFact>,
    node: Arc<str>,
    assumed: bool,
}

/// The nodes that changed lately.
#[derive(Default)]
struct Changes {
    list: VecDeque<Change>,
    /// How many have been forgotten.
    base: u64,
}

/// A node changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub slot: Slot,
    /// Its object changed, not only its pods.
    pub object: bool,
}

impl Changes {
    fn push(&mut self, change: Change, keep: usize) {
        self.list.push_back(change);
        if self.list.len() > keep.max(CHANGES_MIN) {
            self.list.pop_front();
            self.base += 1;
        }
    }
}

impl Snapshot {
    /// An empty cluster.
    pub fn new() -> Snapshot {
        Snapshot::default()
    }

    /// How many nodes are known.
    pub fn len(&self) -> usize {
        self.known_count
    }

    /// Whether no node is known.
    pub fn is_empty(&self) -> bool {
        self.known_count == 0
    }

    /// Changes whenever anything here does.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The [`generation`](Snapshot::generation) at which the object of some node changed last.
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// Changes whenever numbers of fences, columns and tallies lose their meaning.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The known nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (Slot, &NodeInfo)> {
        let all = self.nodes.iter().enumerate().filter(|(_, n)| n.known);
        all.map(|(i, n)| (Slot::at(i), n))
    }

    /// The nodes that are known or have pods.
    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter()
    }

    /// One more than the greatest slot in use.
    pub fn slots(&self) -> usize {
        self.nodes.len()
    }

    /// A node by slot.
    pub fn node(&self, slot: Slot) -> &NodeInfo {
        &self.nodes[slot.index()]
    }

    /// What fitting and rating read of all nodes, by slot.
    pub fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    /// Pods per node by slot, at most 32,767.
    pub fn crowd(&self) -> &[i16] {
        &self.crowd
    }

    /// The slots of known nodes.
    pub fn known(&self) -> &Bits {
        &self.marks.known
    }

    /// The slots of nodes with taints that make pods prefer others.
    pub fn softly_tainted(&self) -> &Bits {
        &self.marks.soft
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

    /// How many pods are placed or assumed.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// Where a pod is, and whether only assumed there.
    pub fn place_of(&self, uid: &str) -> Option<(&NodeInfo, bool)> {
        let held = self.pods.get(uid)?;
        Some((&self.nodes[held.slot().index()], held.is_assumed()))
    }

    /// How many changes of nodes there have been: where one who follows stands when up to date.
    pub fn moment(&self) -> u64 {
        self.changes.base + self.changes.list.len() as u64
    }

    /// The changes since a [moment](Snapshot::moment), oldest first; nothing when they are not remembered any more.
    pub fn changes(&self, since: u64) -> Option<impl Iterator<Item = Change> + '_> {
        let skip = usize::try_from(since.checked_sub(self.changes.base)?).ok()?;
        (skip <= self.changes.list.len()).then(|| self.changes.list.range(skip..).copied())
    }

    /// Whether a change of one of these kinds happened after `generation`.
    pub fn happened_since(&self, generation: u64, kinds: Hints) -> bool {
        kinds.each().any(|kind| self.happened[kind] > generation)
    }

    /// Place of each node in the order of names, by slot. Cheap unless nodes came or went.
    pub fn ranks(&mut self) -> &[u32] {
        let nodes = &self.nodes;
        self.ranks.get_or_insert_with(|| {
            let mut order: Vec<usize> = (0..nodes.len()).collect();
            order.sort_unstable_by(|a, b| nodes[*a].fact.name.cmp(&nodes[*b].fact.name));
            let mut ranks = vec![0; nodes.len()];
            for (rank, at) in order.into_iter().enumerate() {
                ranks[at] = u32::try_from(rank).expect("slots are numbered in 32 bits");
            }
            ranks
        })
    }

    /// The ranks, if nothing came or went since they were asked for last.
    pub fn ranked(&self) -> Option<&[u32]> {
        self.ranks.as_deref()
    }

    /// Takes in a node's object. Says what kind of change it was.
    pub fn set_node(&mut self, mut fact: NodeFact) -> Hints {
        let slot = self.slot_for(&fact.name);
        let other_images = self.nodes[slot.index()].fact.images != fact.images;
        if other_images {
            let before = std::mem::take(&mut self.nodes[slot.index()].fact.images);
            self.images.follow(slot, &before, &mut fact);
            // Images only score: whoever was refused is so still, and what is worked out of the node's other parts stands.
            self.nodes[slot.index()].fact.images = fact.images.clone();
            self.generation += 1;
        }
        let node = &self.nodes[slot.index()];
        if node.known && node.fact == fact {
            if other_images {
                self.journal.note(|| Entry::Node(fact));
            }
            return Hints::NONE;
        }
        let hints = if node.known { difference(&node.fact, &fact) } else { Hints::NODE_ADDED };
        if !node.known {
            self.known_count += 1;
        }
        self.journal.note(|| Entry::Node(fact.clone()));
        self.replace_object(slot, fact, true);
        self.note(hints)
    }

    /// Forgets a node's object. Its pods stay counted until they are removed.
    pub fn drop_node(&mut self, name: &str) {
        let Some(slot) = self.by_name.get(name).copied() else { return };
        let node = &self.nodes[slot.index()];
        if node.known {
            self.known_count -= 1;
        }
        let mut fact = NodeFact { name: node.fact.name.clone(), ..NodeFact::default() };
        self.journal.note(|| Entry::NodeGone(fact.name.clone()));
        let before = std::mem::take(&mut self.nodes[slot.index()].fact.images);
        self.images.follow(slot, &before, &mut fact);
        self.replace_object(slot, fact, false);
        self.free_if_empty(slot);
    }

    /// Takes in a pod that is bound, or a change of it; replaces what was assumed of it.
    pub fn place(&mut self, pod: Arc<PodFact>) -> Hints {
        let Some(node) = pod.node.clone() else { return Hints::NONE };
        let before = self.pods.get(&pod.uid).copied();
        if before.is_some_and(|held| self.confirm(held, &pod, &node)) {
            return Hints::NONE;
        }
        let freed = self.remove(&pod.uid);
        self.journal.note(|| Entry::Place(pod.clone()));
        self.insert(pod, &node, false);
        let hints = if before.is_none() { Hints::POD_ADDED } else { freed | Hints::POD_CHANGED };
        self.note(hints)
    }

    /// Whether the pod is on that node already and means the same to every rule; then only the name of its state changes.
    fn confirm(&mut self, held: Held, pod: &Arc<PodFact>, node: &Arc<str>) -> bool {
        let info = &mut self.nodes[held.slot().index()];
        if info.fact.name != *node {
            return false;
        }
        let Some(placed) = info.pods.iter_mut().find(|p| p.fact.uid == pod.uid) else { return false };
        if !same_weight(&placed.fact, pod) {
            return false;
        }
        // What is counted under the parts of the old state goes on under them: they are equal, and the old ones are held.
        let (kin, demand) = (placed.fact.kin.clone(), placed.fact.demand.clone());
        let shared = Arc::ptr_eq(&kin, &pod.kin) && Arc::ptr_eq(&demand, &pod.demand);
        placed.fact = if shared { pod.clone() } else { Arc::new(PodFact { kin, demand, ..(**pod).clone() }) };
        let uid = placed.fact.uid.clone();
        // Taken out first, so that the old copy of the name is not kept beside the new one.
        self.pods.remove(&uid);
        self.pods.insert(uid, Held::new(held.slot(), false));
        true
    }

    /// Counts a pod on a node before the API server has confirmed it.
    pub fn assume(&mut self, pod: Arc<PodFact>, node: &Arc<str>) {
        self.remove(&pod.uid);
        self.journal.note_assumed(&pod, node);
        self.insert(pod, node, true);
        self.note(Hints::POD_ADDED);
    }

    /// Takes an assumption back; does nothing once the pod is confirmed.
    pub fn forget(&mut self, uid: &str) -> Hints {
        match self.pods.get(uid) {
            Some(held) if held.is_assumed() => self.remove(uid),
            _ => Hints::NONE,
        }
    }

    /// Removes a pod that is gone or has ended.
    pub fn remove(&mut self, uid: &str) -> Hints {
        if !self.take_off(uid) {
            return Hints::NONE;
        }
        self.journal.note(|| Entry::Remove(uid.into()));
        self.note(Hints::POD_REMOVED)
    }

    fn take_off(&mut self, uid: &str) -> bool {
        let Some(held) = self.pods.remove(uid) else { return false };
        let slot = held.slot();
        let pod = self.nodes[slot.index()].take(uid).expect("a held pod is on the node of its slot");
        let ground = Ground { columns: &self.columns, fences: &self.fences, namespaces: &self.namespaces };
        self.tallies.count(pod.kin, pod.load, slot, false, &ground);
        pod.fact.claim_keys().for_each(|key| self.volumes.leave_claim(&key));
        self.changed(slot, false);
        self.free_if_empty(slot);
        true
    }

    /// Takes a pod off its node for a while, to see what would be without it. To whoever waits nothing has happened.
    pub fn lift(&mut self, uid: &str) -> Option<Lifted> {
        let held = *self.pods.get(uid)?;
        let pod = self.nodes[held.slot().index()].facts().find(|p| *p.uid == *uid)?.clone();
        let node = self.nodes[held.slot().index()].fact.name.clone();
        self.take_off(uid);
        Some(Lifted { pod, node, assumed: held.is_assumed() })
    }

    /// Puts a lifted pod back as it was.
    pub fn restore(&mut self, lifted: Lifted) {
        self.insert(lifted.pod, &lifted.node, lifted.assumed);
    }

    /// Puts a pod on a node for a while, to see what would be with it; [`lift`](Snapshot::lift) takes it off again. To whoever
    /// waits nothing has happened.
    pub fn lay(&mut self, pod: Arc<PodFact>, node: &Arc<str>) {
        self.insert(pod, node, true);
    }

    /// Claims and volumes, and who uses them.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Which nodes have which images.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Takes in a claim.
    pub fn set_claim(&mut self, fact: ClaimFact) -> Hints {
        let changed = self.volumes.set_claim(fact);
        self.note_if(changed, Hints::CLAIM)
    }

    /// Forgets a claim.
    pub fn drop_claim(&mut self, key: &ObjectKey) {
        self.volumes.drop_claim(key);
        self.generation += 1;
    }

    /// Takes in a volume.
    pub fn set_volume(&mut self, fact: VolumeFact) -> Hints {
        let changed = self.volumes.set_volume(fact);
        self.note_if(changed, Hints::VOLUME)
    }

    /// Forgets a volume.
    pub fn drop_volume(&mut self, name: &str) {
        self.volumes.drop_volume(name);
        self.generation += 1;
    }

    /// Takes in a class of storage.
    pub fn set_class(&mut self, fact: ClassFact) -> Hints {
        let changed = self.volumes.set_class(fact);
        self.note_if(changed, Hints::CLASS)
    }

    /// Forgets a class of storage.
    pub fn drop_class(&mut self, name: &str) {
        self.volumes.drop_class(name);
        self.generation += 1;
    }

    /// Takes in the limits of a node.
    pub fn set_limits(&mut self, fact: LimitsFact) -> Hints {
        let changed = self.volumes.set_limits(fact);
        self.note_if(changed, Hints::LIMITS)
    }

    /// Forgets the limits of a node: then it has none, which may help.
    pub fn drop_limits(&mut self, node: &str) -> Hints {
        self.volumes.drop_limits(node);
        self.note_if(true, Hints::LIMITS)
    }

    /// Counts volumes as set aside, and claims as being provided for, before the API server has confirmed it.
    pub fn assume_volumes(&mut self, plan: &VolumePlan) {
        self.volumes.assume(plan);
        self.generation += 1;
    }

    /// Takes that back. Once the mirrors show it, nothing is lost by it.
    pub fn revert_volumes(&mut self, plan: &VolumePlan) {
        self.volumes.revert(plan);
        self.generation += 1;
    }

    fn note_if(&mut self, changed: bool, hints: Hints) -> Hints {
        if !changed {
            return Hints::NONE;
        }
        self.generation += 1;
        self.note(hints)
    }

    /// Takes in a namespace's labels.
    pub fn set_namespace(&mut self, name: &str, labels: &BTreeMap<String, String>) -> Hints {
        if self.namespaces.get(name) == Some(labels) {
            return Hints::NONE;
        }
        self.namespaces.insert(name.to_owned(), labels.clone());
        self.journal.note(|| Entry::Namespace(name.to_owned(), labels.clone()));
        self.namespace_changed(name);
        self.note(Hints::NAMESPACE)
    }

    /// Forgets a namespace.
    pub fn drop_namespace(&mut self, name: &str) {
        if self.namespaces.remove(name).is_some() {
            self.journal.note(|| Entry::NamespaceGone(name.to_owned()));
            self.namespace_changed(name);
            self.note(Hints::NAMESPACE);
        }
    }

    /// The domains of a topology; built when asked for the first time, kept up from then on.
    pub fn column_of(&mut self, topology: &Topology) -> ColumnId {
        self.columns.add(topology, &self.nodes)
    }

    /// Makes columns readable by domain. Cheap unless labels of nodes changed.
    pub fn settle(&mut self) {
        self.columns.settle();
    }

    /// A column by number.
    pub fn column(&self, id: ColumnId) -> &Column {
        self.columns.get(id)
    }

    /// The number of a condition on nodes; worked out when asked for the first time, kept up from then on.
    pub fn fence_of(&mut self, fence: Fence) -> FenceId {
        if let Some(id) = self.fences.find(&fence) {
            return id;
        }
        for key in fence.reads() {
            self.columns.add(&Topology::Label(key.into()), &self.nodes);
        }
        self.fences.add(fence, &self.nodes, &self.marks, &self.columns)
    }

    /// The nodes a fence holds for.
    pub fn fenced(&self, id: FenceId) -> &Bits {
        self.fences.bits(id)
    }

    /// Makes room where too much is kept up. Ids may lose their meaning: [`epoch`](Snapshot::epoch) says so.
    pub fn tidy(&mut self) {
        if self.fences.len() > FENCES_MAX {
            self.fences = Fences::default();
            self.recount();
        }
        if self.tallies.len() > TALLIES_MAX {
            self.tallies.drop_oldest(TALLIES_MAX / 2);
            self.epoch += 1;
        }
    }

    /// The number of a group's counts by domain, on the nodes of a fence alone if one is given.
    pub fn tally_of(&mut self, group: Group, column: ColumnId, fence: Option<FenceId>) -> TallyId {
        let ground = Ground { columns: &self.columns, fences: &self.fences, namespaces: &self.namespaces };
        self.tallies.of_group(TallyKey { whose: Whose::Group(group), column, fence }, &ground)
    }

    /// Counts by number.
    pub fn tally(&self, id: TallyId) -> &Tally {
        self.tallies.get(id)
    }

    /// The number of a pod's kin; good while somebody holds the kin.
    pub fn kin_of(&mut self, kin: &Arc<Kin>, terminating: bool) -> KinId {
        let ground = Ground { columns: &self.columns, fences: &self.fences, namespaces: &self.namespaces };
        self.tallies.kin_of(kin, terminating, &ground)
    }

    /// Counts of the terms that placed pods carry and that concern pods of a kin.
    pub fn concerned(&self, kin: KinId) -> impl Iterator<Item = &Tally> {
        self.tallies.concerned(kin).iter().map(|id| self.tallies.get(*id))
    }

    /// Whether a group's counts would count pods of a kin.
    pub fn is_counted(&self, kin: KinId, tally: TallyId) -> bool {
        self.tallies.is_counted(kin, tally)
    }

    fn insert(&mut self, pod: Arc<PodFact>, node: &Arc<str>, assumed: bool) {
        let slot = self.slot_for(node);
        for term in pod.demand.terms() {
            self.columns.add(&Topology::Label(term.topology.clone()), &self.nodes);
        }
        let ground = Ground { columns: &self.columns, fences: &self.fences, namespaces: &self.namespaces };
        let kin = self.tallies.kin_of(&pod.kin, pod.terminating, &ground);
        let load = self.tallies.load_of(&pod.demand, &ground, |term| {
            let topology = Topology::Label(term.topology.clone());
            ground.columns.find(&topology).expect("added above")
        });
        self.tallies.count(kin, load, slot, true, &ground);
        pod.claim_keys().for_each(|key| self.volumes.use_claim(key));
        self.pods.insert(pod.uid.clone(), Held::new(slot, assumed));
        self.nodes[slot.index()].put(Placed { fact: pod, kin, load });
        self.changed(slot, false);
    }

    /// The pods of a node leave the counts before its object changes, and come back after.
    fn bump_pods(&mut self, slot: Slot, up: bool) {
        let ground = Ground { columns: &self.columns, fences: &self.fences, namespaces: &self.namespaces };
        for pod in &self.nodes[slot.index()].pods {
            self.tallies.bump(pod.kin, pod.load, slot, up, &ground);
        }
    }

    /// Replaces a node's object and all that is derived from it.
    fn replace_object(&mut self, slot: Slot, fact: NodeFact, known: bool) {
        self.bump_pods(slot, false);
        let node = &mut self.nodes[slot.index()];
        (node.fact, node.known) = (fact, known);
        self.marks.follow(slot, &self.nodes[slot.index()]);
        self.columns.follow(slot, &self.nodes[slot.index()]);
        self.fences.follow(slot, &self.nodes[slot.index()]);
        self.bump_pods(slot, true);
        self.changed(slot, true);
        self.objects = self.generation;
        if self.columns.renew(&self.nodes) {
            self.recount();
        }
    }

    /// Domains or fences have other numbers: whoever keeps numbers asks again.
    fn recount(&mut self) {
        self.epoch += 1;
        let ground = Ground { columns: &self.columns, fences: &self.fences, namespaces: &self.namespaces };
        let nodes = self.nodes.iter().enumerate();
        let pods = nodes.flat_map(|(at, n)| n.pods.iter().map(move |p| (Slot::at(at), p.kin, p.load)));
        self.tallies.reset(&ground, pods);
    }

    fn namespace_changed(&mut self, name: &str) {
        self.generation += 1;
        let ground = Ground { columns: &self.columns, fences: &self.fences, namespaces: &self.namespaces };
        self.tallies.namespace_changed(name, &ground);
    }

    fn slot_for(&mut self, name: &Arc<str>) -> Slot {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(NodeInfo::default());
            self.rooms.push(Room::default());
            self.crowd.push(0);
            Slot::at(self.nodes.len() - 1)
        });
        let fact = NodeFact { name: name.clone(), ..NodeFact::default() };
        self.nodes[slot.index()] = NodeInfo { fact, ..NodeInfo::default() };
        self.by_name.insert(name.clone(), slot);
        self.ranks = None;
        self.changed(slot, true);
        slot
    }

    fn free_if_empty(&mut self, slot: Slot) {
        let node = &self.nodes[slot.index()];
        if !node.known && node.pods.is_empty() {
            self.by_name.remove(&node.fact.name);
            self.nodes[slot.index()] = NodeInfo::default();
            self.free.push(slot);
            self.ranks = None;
        }
    }

    /// Notes that a node changed.
    fn changed(&mut self, slot: Slot, object: bool) {
        self.generation += 1;
        let node = &mut self.nodes[slot.index()];
        node.generation = self.generation;
        self.rooms[slot.index()] = node.room();
        self.crowd[slot.index()] = i16::try_from(node.pods.len()).unwrap_or(i16::MAX);
        self.changes.push(Change { slot, object }, self.nodes.len());
    }

    /// Notes which kinds of change just happened.
    fn note(&mut self, hints: Hints) -> Hints {
        for kind in hints.each() {
            self.happened[kind] = self.generation;
        }
        hints
    }
}

/// Whether both versions of a pod mean the same to every rule.
fn same_weight(a: &PodFact, b: &PodFact) -> bool {
    a.demand == b.demand && a.kin == b.kin && a.terminating == b.terminating
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
