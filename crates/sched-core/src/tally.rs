//! Counts of pods per domain, kept up pod by pod, so that no decision walks over pods.
//!
//! ```text
//! pod placed ── its Kin ──▶ group tallies that count such pods        (spreading, the pod's own terms)
//!           └── its Demand ▶ carried tallies of the terms it brings   (anti-affinity of placed pods, symmetric scores)
//! ```
//!
//! Which tallies a pod concerns is worked out once per kin and once per demand, not per pod.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::column::{ColumnId, Columns};
use crate::fence::{FenceId, Fences};
use crate::{Clause, Demand, Kin, NamespaceLabels, PodFact, Slot, Term};

/// Which pods are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Pods of one controller that are not terminating.
    Owner(Arc<str>),
    /// Pods of a clause that are not terminating. With a selector that asks for nothing no pod is counted, though it matches all:
    /// so it is in kube-scheduler.
    Living(Clause),
    /// Pods that match all clauses, terminating ones included.
    All(Vec<Clause>),
}

impl Group {
    /// Whether the pod is counted.
    pub fn counts(&self, pod: &PodFact, namespaces: &NamespaceLabels) -> bool {
        self.counts_kin(&pod.kin, pod.terminating, namespaces)
    }

    /// Whether pods of a kin are counted.
    pub fn counts_kin(&self, kin: &Kin, terminating: bool, namespaces: &NamespaceLabels) -> bool {
        let matches = |c: &Clause| c.matches(&kin.namespace, &kin.labels, namespaces);
        match self {
            Group::Owner(uid) => !terminating && kin.owner.as_ref() == Some(uid),
            Group::Living(clause) => {
                let asks = clause.selector.as_ref().is_some_and(|s| !s.is_empty());
                !terminating && asks && matches(clause)
            }
            Group::All(clauses) => clauses.iter().all(matches),
        }
    }
}

/// How strongly a term pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pull {
    /// Required affinity.
    MustNear,
    /// Required anti-affinity.
    MustApart,
    /// Preference: above zero towards, below zero away.
    Inclined(i64),
}

/// A term that placed pods carry: it concerns pods that come later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Carried {
    /// How strongly.
    pub pull: Pull,
    /// Towards, or away from, what.
    pub term: Term,
}

impl Carried {
    /// The terms that pods of a demand carry.
    pub fn by(demand: &Demand) -> impl Iterator<Item = Carried> + '_ {
        let near = demand.near.iter().map(|t| Carried { pull: Pull::MustNear, term: t.clone() });
        let apart = demand.apart.iter().map(|t| Carried { pull: Pull::MustApart, term: t.clone() });
        let wishes = demand.inclined.iter();
        let inclined = wishes.map(|w| Carried { pull: Pull::Inclined(w.weight), term: w.term.clone() });
        near.chain(apart).chain(inclined)
    }

    /// Whether it concerns pods of a kin.
    pub fn concerns(&self, kin: &Kin, namespaces: &NamespaceLabels) -> bool {
        self.term.pods.matches(&kin.namespace, &kin.labels, namespaces)
    }
}

/// Whose pods a tally counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// Those of a group.
    Group(Group),
    /// Those that carry a term.
    Carriers(Carried),
}

/// What a tally counts: pods by domain, on the nodes of a fence alone if there is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TallyKey {
    pub(crate) whose: Whose,
    pub(crate) column: ColumnId,
    pub(crate) fence: Option<FenceId>,
}

/// Number of a tally; good until [`Snapshot::epoch`](crate::Snapshot::epoch) changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TallyId(u32);

/// Number of a kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KinId(u32);

/// Number of a demand that carries terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LoadId(u32);

/// Pods counted by domain.
#[derive(Debug)]
pub struct Tally {
    key: TallyKey,
    sums: Sums,
    total: u64,
    /// For a term's tally: how many demands carry it.
    carriers: u32,
    used: u64,
}

/// Counts by domain: a list while few domains have any, an array once many have.
#[derive(Debug)]
enum Sums {
    Few(BTreeMap<u32, u32>),
    Many(Vec<u32>),
}

/// A domain in this many makes the array the smaller form.
const MANY_SHARE: usize = 8;

impl Tally {
    fn new(key: TallyKey) -> Tally {
        Tally { key, sums: Sums::Few(BTreeMap::new()), total: 0, carriers: 0, used: 0 }
    }

    /// The domains it counts by.
    pub fn column(&self) -> ColumnId {
        self.key.column
    }

    /// Whose pods it counts.
    pub fn whose(&self) -> &Whose {
        &self.key.whose
    }

    /// How many pods are counted in all domains together.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many pods are counted in one domain.
    pub fn count(&self, domain: usize) -> u32 {
        match &self.sums {
            Sums::Few(counts) => {
                u32::try_from(domain).ok().and_then(|d| counts.get(&d)).copied().unwrap_or(0)
            }
            Sums::Many(counts) => counts.get(domain).copied().unwrap_or(0),
        }
    }

    /// Calls `take` with each domain that has pods and their number, in rising order.
    pub fn each(&self, mut take: impl FnMut(usize, u32)) {
        match &self.sums {
            Sums::Few(counts) => counts.iter().for_each(|(d, n)| take(*d as usize, *n)),
            Sums::Many(counts) => {
                counts.iter().enumerate().filter(|(_, n)| **n > 0).for_each(|(d, n)| take(d, *n));
            }
        }
    }

    fn add(&mut self, domain: usize, pods: u32, domains: usize) {
        self.total += u64::from(pods);
        if let Sums::Few(counts) = &mut self.sums {
            let domain = u32::try_from(domain).expect("domains are numbered in 32 bits");
            *counts.entry(domain).or_default() += pods;
            if counts.len() <= domains / MANY_SHARE {
                return;
            }
            let mut many = vec![0; domains];
            counts.iter().for_each(|(d, n)| many[*d as usize] = *n);
            self.sums = Sums::Many(many);
            return;
        }
        let Sums::Many(counts) = &mut self.sums else { return };
        if counts.len() <= domain {
            counts.resize(domain + 1, 0);
        }
        counts[domain] += pods;
    }

    fn sub(&mut self, domain: usize, pods: u32) {
        const HELD: &str = "a pod is taken from where it was counted";
        self.total = self.total.checked_sub(u64::from(pods)).expect(HELD);
        match &mut self.sums {
            Sums::Few(counts) => {
                let domain = u32::try_from(domain).expect("domains are numbered in 32 bits");
                let count = counts.get_mut(&domain).expect(HELD);
                *count = count.checked_sub(pods).expect(HELD);
                if *count == 0 {
                    counts.remove(&domain);
                }
            }
            Sums::Many(counts) => counts[domain] = counts[domain].checked_sub(pods).expect(HELD),
        }
    }
}

/// Where pods are counted: what the nodes are, apart from their pods.
pub(crate) struct Ground<'a> {
    pub(crate) columns: &'a Columns,
    pub(crate) fences: &'a Fences,
    pub(crate) namespaces: &'a NamespaceLabels,
}

impl Ground<'_> {
    /// Domain of the node for a tally, and how many domains there are; nothing when the node does not count.
    fn domain(&self, key: &TallyKey, slot: Slot) -> Option<(usize, usize)> {
        if key.fence.is_some_and(|f| !self.fences.bits(f).has(slot)) {
            return None;
        }
        let column = self.columns.get(key.column);
        Some((column.domain(slot)?, column.domains()))
    }
}

struct KinEntry {
    kin: Arc<Kin>,
    terminating: bool,
    /// Its pods by node.
    places: BTreeMap<Slot, u32>,
    /// Group tallies that count it.
    counted: Vec<TallyId>,
    /// Carried tallies whose term concerns it.
    concerned: Vec<TallyId>,
}

struct Load {
    demand: Arc<Demand>,
    carried: Vec<TallyId>,
    pods: u32,
}

/// All tallies, and what is known of whom they concern.
#[derive(Default)]
pub(crate) struct Tallies {
    list: Vec<Option<Tally>>,
    free: Vec<TallyId>,
    ids: HashMap<TallyKey, TallyId>,
    kins: Slab<KinEntry>,
    kin_ids: HashMap<(usize, bool), KinId>,
    loads: Slab<Load>,
    load_ids: HashMap<usize, LoadId>,
    looks: u64,
    sweep_at: usize,
}

/// Smallest number of kins and loads worth sweeping.
const SWEEP_MIN: usize = 1024;

impl Tallies {
    pub(crate) fn get(&self, id: TallyId) -> &Tally {
        self.list[id.0 as usize].as_ref().expect("ids are good until the epoch changes")
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The carried tallies whose term concerns pods of a kin.
    pub(crate) fn concerned(&self, kin: KinId) -> &[TallyId] {
        &self.kin(kin).concerned
    }

    /// Whether the group of a tally counts pods of a kin.
    pub(crate) fn is_counted(&self, kin: KinId, tally: TallyId) -> bool {
        self.kin(kin).counted.contains(&tally)
    }

    fn kin(&self, id: KinId) -> &KinEntry {
        self.kins.get(id.0)
    }

    /// The tally of a group; counted from where pods of its kins are when it is new.
    pub(crate) fn of_group(&mut self, key: TallyKey, ground: &Ground<'_>) -> TallyId {
        self.looks += 1;
        let id = match self.ids.get(&key) {
            Some(id) => *id,
            None => {
                let id = self.add(key);
                self.enrol(id, ground);
                id
            }
        };
        self.tally_mut(id).used = self.looks;
        id
    }

    fn enrol(&mut self, id: TallyId, ground: &Ground<'_>) {
        let tally = self.list[id.0 as usize].as_mut().expect("just added");
        let Whose::Group(group) = tally.key.whose.clone() else { return };
        for entry in self.kins.each_mut() {
            if group.counts_kin(&entry.kin, entry.terminating, ground.namespaces) {
                entry.counted.push(id);
                count_places(tally, &entry.places, ground);
            }
        }
    }

    fn add(&mut self, key: TallyKey) -> TallyId {
        let tally = Some(Tally::new(key.clone()));
        let id = match self.free.pop() {
            Some(id) => {
                self.list[id.0 as usize] = tally;
                id
            }
            None => {
                self.list.push(tally);
                TallyId(u32::try_from(self.list.len() - 1).expect("fewer tallies than their limit"))
            }
        };
        self.ids.insert(key, id);
        id
    }

    fn tally_mut(&mut self, id: TallyId) -> &mut Tally {
        self.list[id.0 as usize].as_mut().expect("ids are good until the epoch changes")
    }

    /// The number of a pod's kin; held at least as long as somebody holds the kin itself.
    pub(crate) fn kin_of(&mut self, kin: &Arc<Kin>, terminating: bool, ground: &Ground<'_>) -> KinId {
        let at = (Arc::as_ptr(kin) as usize, terminating);
        if let Some(id) = self.kin_ids.get(&at) {
            return *id;
        }
        self.sweep();
        let mut entry = KinEntry {
            kin: kin.clone(),
            terminating,
            places: BTreeMap::new(),
            counted: Vec::new(),
            concerned: Vec::new(),
        };
        for (i, tally) in self.list.iter().enumerate() {
            let Some(tally) = tally else { continue };
            let id = TallyId(u32::try_from(i).expect("tallies are numbered in 32 bits"));
            match &tally.key.whose {
                Whose::Group(group) if group.counts_kin(kin, terminating, ground.namespaces) => {
                    entry.counted.push(id)
                }
                Whose::Carriers(carried) if carried.concerns(kin, ground.namespaces) => {
                    entry.concerned.push(id)
                }
                _ => {}
            }
        }
        let id = KinId(self.kins.put(entry));
        self.kin_ids.insert(at, id);
        id
    }

    /// The number of the terms a pod carries; none when it carries none.
    pub(crate) fn load_of(
        &mut self,
        demand: &Arc<Demand>,
        ground: &Ground<'_>,
        column: impl Fn(&Term) -> ColumnId,
    ) -> Option<LoadId> {
        if !demand.carries() {
            return None;
        }
        let at = Arc::as_ptr(demand) as usize;
        if let Some(id) = self.load_ids.get(&at) {
            return Some(*id);
        }
        self.sweep();
        let mut carried = Vec::new();
        for term in Carried::by(demand) {
            let key = TallyKey { column: column(&term.term), whose: Whose::Carriers(term), fence: None };
            let id = self.of_term(key, ground);
            // The same term twice pulls twice.
            carried.push(id);
            self.tally_mut(id).carriers += 1;
        }
        let id = LoadId(self.loads.put(Load { demand: demand.clone(), carried, pods: 0 }));
        self.load_ids.insert(at, id);
        Some(id)
    }

    fn of_term(&mut self, key: TallyKey, ground: &Ground<'_>) -> TallyId {
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let Whose::Carriers(carried) = key.whose.clone() else { unreachable!("called with carriers only") };
        let id = self.add(key);
        for entry in self.kins.each_mut() {
            if carried.concerns(&entry.kin, ground.namespaces) {
                entry.concerned.push(id);
            }
        }
        id
    }

    /// A pod was put on a node, or taken off it.
    pub(crate) fn count(
        &mut self,
        kin: KinId,
        load: Option<LoadId>,
        slot: Slot,
        up: bool,
        ground: &Ground<'_>,
    ) {
        let entry = self.kins.get_mut(kin.0);
        if up {
            *entry.places.entry(slot).or_default() += 1;
        } else {
            let count = entry.places.get_mut(&slot).expect("a pod is taken from where it was counted");
            *count -= 1;
            if *count == 0 {
                entry.places.remove(&slot);
            }
        }
        if let Some(load) = load {
            let load = self.loads.get_mut(load.0);
            load.pods = if up { load.pods + 1 } else { load.pods - 1 };
        }
        self.bump(kin, load, slot, up, ground);
    }

    /// A node is about to change its domains, or has done so: its pods leave the counts, or come back.
    pub(crate) fn bump(
        &mut self,
        kin: KinId,
        load: Option<LoadId>,
        slot: Slot,
        up: bool,
        ground: &Ground<'_>,
    ) {
        let entry = self.kins.get(kin.0);
        let carried = load.map(|l| self.loads.get(l.0));
        for id in entry.counted.iter().chain(carried.iter().flat_map(|l| &l.carried)) {
            let tally = self.list[id.0 as usize].as_mut().expect("listed tallies are there");
            let Some((domain, domains)) = ground.domain(&tally.key, slot) else { continue };
            if up {
                tally.add(domain, 1, domains);
            } else {
                tally.sub(domain, 1);
            }
        }
    }

    /// The labels of a namespace changed: whom terms and groups concern there is worked out anew.
    pub(crate) fn namespace_changed(&mut self, name: &str, ground: &Ground<'_>) {
        for entry in self.kins.each_mut().filter(|e| e.kin.namespace == name) {
            for (i, tally) in self.list.iter_mut().enumerate() {
                let Some(tally) = tally else { continue };
                let id = TallyId(u32::try_from(i).expect("tallies are numbered in 32 bits"));
                match tally.key.whose.clone() {
                    Whose::Carriers(carried) => {
                        enlist(&mut entry.concerned, id, carried.concerns(&entry.kin, ground.namespaces));
                    }
                    Whose::Group(group) => {
                        let counts = group.counts_kin(&entry.kin, entry.terminating, ground.namespaces);
                        match (enlist(&mut entry.counted, id, counts), counts) {
                            (true, true) => count_places(tally, &entry.places, ground),
                            (true, false) => uncount_places(tally, &entry.places, ground),
                            (false, _) => {}
                        }
                    }
                }
            }
        }
    }

    /// Drops the group tallies that were asked for longest ago, down to `keep`.
    pub(crate) fn drop_oldest(&mut self, keep: usize) {
        let groups = self.list.iter().flatten().filter(|t| matches!(t.key.whose, Whose::Group(_)));
        let mut used: Vec<u64> = groups.map(|t| t.used).collect();
        if used.len() <= keep {
            return;
        }
        used.sort_unstable_by(|a, b| b.cmp(a));
        let oldest = used[keep];
        self.drop_where(|t| matches!(t.key.whose, Whose::Group(_)) && t.used <= oldest);
    }

    /// Counts everything anew: domains or fences have other numbers now. Group tallies come back when asked for.
    pub(crate) fn reset(
        &mut self,
        ground: &Ground<'_>,
        nodes: impl Iterator<Item = (Slot, KinId, Option<LoadId>)>,
    ) {
        self.drop_where(|t| matches!(t.key.whose, Whose::Group(_)));
        for tally in self.list.iter_mut().flatten() {
            (tally.sums, tally.total) = (Sums::Few(BTreeMap::new()), 0);
        }
        for (slot, kin, load) in nodes {
            self.bump(kin, load, slot, true, ground);
        }
    }

    fn drop_where(&mut self, gone: impl Fn(&Tally) -> bool) {
        let mut dropped = Vec::new();
        for (i, place) in self.list.iter_mut().enumerate() {
            if place.as_ref().is_some_and(&gone) {
                let tally = place.take().expect("just seen");
                self.ids.remove(&tally.key);
                dropped.push(TallyId(u32::try_from(i).expect("tallies are numbered in 32 bits")));
            }
        }
        for entry in self.kins.each_mut() {
            entry.counted.retain(|id| dropped.binary_search(id).is_err());
            entry.concerned.retain(|id| dropped.binary_search(id).is_err());
        }
        self.free.extend(dropped);
    }

    /// Forgets kins and loads that no pod has and nobody else holds, once they have doubled.
    fn sweep(&mut self) {
        if self.kin_ids.len() + self.load_ids.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        // A kin has up to two entries, for its living and its terminating pods; both hold it.
        let mut holders: HashMap<usize, usize> = HashMap::new();
        for (at, _) in self.kin_ids.keys() {
            *holders.entry(*at).or_default() += 1;
        }
        let kins = &mut self.kins;
        self.kin_ids.retain(|(at, _), id| {
            let entry = kins.get(id.0);
            let idle = entry.places.is_empty() && Arc::strong_count(&entry.kin) <= holders[at];
            if idle {
                *holders.get_mut(at).expect("counted above") -= 1;
                kins.take(id.0);
            }
            !idle
        });
        let (loads, list) = (&mut self.loads, &mut self.list);
        self.load_ids.retain(|_, id| {
            let load = loads.get(id.0);
            let idle = load.pods == 0 && Arc::strong_count(&load.demand) == 1;
            if idle {
                for id in loads.take(id.0).carried {
                    list[id.0 as usize].as_mut().expect("listed tallies are there").carriers -= 1;
                }
            }
            !idle
        });
        self.drop_where(|t| matches!(t.key.whose, Whose::Carriers(_)) && t.carriers == 0);
        self.sweep_at = 2 * (self.kin_ids.len() + self.load_ids.len());
    }
}

/// Numbered values; numbers are used again.
struct Slab<T> {
    list: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { list: Vec::new(), free: Vec::new() }
    }
}

const TAKEN: &str = "a number is good while its owner holds it";

impl<T> Slab<T> {
    fn get(&self, id: u32) -> &T {
        self.list[id as usize].as_ref().expect(TAKEN)
    }

    fn get_mut(&mut self, id: u32) -> &mut T {
        self.list[id as usize].as_mut().expect(TAKEN)
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.list.iter_mut().flatten()
    }

    fn put(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.list[id as usize] = Some(value);
            return id;
        }
        self.list.push(Some(value));
        u32::try_from(self.list.len() - 1).expect("numbered in 32 bits")
    }

    fn take(&mut self, id: u32) -> T {
        self.free.push(id);
        self.list[id as usize].take().expect(TAKEN)
    }
}

/// Puts an id into a list or takes it out; says whether that changed anything.
fn enlist(list: &mut Vec<TallyId>, id: TallyId, want: bool) -> bool {
    match (list.iter().position(|t| *t == id), want) {
        (None, true) => list.push(id),
        (Some(at), false) => drop(list.swap_remove(at)),
        _ => return false,
    }
    true
}

fn count_places(tally: &mut Tally, places: &BTreeMap<Slot, u32>, ground: &Ground<'_>) {
    for (slot, pods) in places {
        if let Some((domain, domains)) = ground.domain(&tally.key, *slot) {
            tally.add(domain, *pods, domains);
        }
    }
}

fn uncount_places(tally: &mut Tally, places: &BTreeMap<Slot, u32>, ground: &Ground<'_>) {
    for (slot, pods) in places {
        if let Some((domain, _)) = ground.domain(&tally.key, *slot) {
            tally.sub(domain, *pods);
        }
    }
}
