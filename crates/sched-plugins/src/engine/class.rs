//! Classes: pods that no rule can tell apart. What is worked out for one of them holds for all.
//!
//! A class keeps, for every node, what that node alone means to it: one number, zero when the node does not do. When a pod
//! of the class comes, the class follows the nodes that changed since the last one; the others are not looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_meta::Requirement;
use sched_core::{
    ColumnId, Demand, Fence, FenceId, Group, Kin, KinId, NodeTerm, PodFact, Policy, Reason, Refusal, Room,
    Slot, Snapshot, TaintEffect, TaintFact, TallyId, Topology, Unsatisfiable,
};

use super::cell::Ask;
use super::images::Liked;
use crate::rules::{DefaultSpread, HOSTNAME, Rules};

/// Pods with equal demand and kin.
pub(crate) struct Class {
    pub(crate) demand: Arc<Demand>,
    pub(crate) kin: Arc<Kin>,
    pub(crate) ask: Ask,
    /// The nodes that the demand names, when it names some: pods of DaemonSets do. Then there are no cells.
    pub(crate) pinned: Option<BTreeSet<String>>,
    /// By slot: zero when the node does not do for itself, else one more than its weighted local scores.
    pub(crate) cells: Vec<i16>,
    /// How many cells are not zero.
    pub(crate) open: usize,
    /// Untolerated soft taints by slot, once any node has some.
    pub(crate) soft_taints: Option<Vec<u8>>,
    /// Numbers within the snapshot.
    pub(crate) numbers: Option<Numbers>,
    /// The last refusal.
    pub(crate) proof: Option<Proof>,
    /// What images on nodes are worth to it, once any node told of images.
    pub(crate) liked: Option<Liked>,
    /// When it was used last.
    pub(crate) used: u64,
    seen: u64,
}

/// Why the class was refused, and until when that stands.
pub(crate) struct Proof {
    pub(crate) refusal: Refusal,
    /// The snapshot's generation when it was found.
    pub(crate) generation: u64,
    /// Nodes were refused for what they are alone, all of them.
    pub(crate) is_local: bool,
    /// Sending others away was found not to help either; why.
    pub(crate) futile: Option<BTreeMap<Reason, usize>>,
}

/// What the snapshot keeps for the class.
pub(crate) struct Numbers {
    epoch: u64,
    pub(crate) kin: KinId,
    /// Nodes that are open to the class: not cordoned, no taint against it, labels as it asks. Absent when pinned.
    pub(crate) fence: Option<FenceId>,
    pub(crate) hard: Vec<Hard>,
    pub(crate) soft: Vec<Soft>,
    /// All soft constraints' labels must be there for a node to take part.
    pub(crate) soft_all_keys: bool,
    pub(crate) near: Vec<TallyId>,
    pub(crate) apart: Vec<TallyId>,
    pub(crate) inclined: Vec<(i64, TallyId)>,
    pub(crate) wishes: Vec<(i64, FenceId)>,
}

/// A spread constraint that must be kept.
pub(crate) struct Hard {
    pub(crate) column: ColumnId,
    pub(crate) fence: Option<FenceId>,
    pub(crate) tally: TallyId,
    pub(crate) max_skew: i64,
    pub(crate) min_domains: usize,
    /// Domains that at least one eligible node is in, and the state of node objects they were found in.
    pub(crate) present: (u64, Vec<u32>),
}

/// A spread constraint that only scores.
pub(crate) struct Soft {
    /// Whether the node has the label at all, and in which domain it is.
    pub(crate) column: ColumnId,
    /// Pods by domain; by node for hosts.
    pub(crate) tally: TallyId,
    pub(crate) is_host: bool,
    pub(crate) max_skew: i64,
}

impl Class {
    pub(crate) fn new(pod: &PodFact, rules: &Rules) -> Class {
        Class {
            demand: pod.demand.clone(),
            kin: pod.kin.clone(),
            ask: Ask::of(&pod.demand, &rules.weights),
            pinned: named_nodes(&pod.demand),
            cells: Vec::new(),
            open: 0,
            soft_taints: None,
            numbers: None,
            proof: None,
            liked: None,
            used: 0,
            seen: u64::MAX,
        }
    }

    /// Looks up what the snapshot keeps for the class, unless that is known.
    pub(crate) fn resolve(&mut self, snapshot: &mut Snapshot, rules: &Rules) {
        if self.numbers.as_ref().is_some_and(|n| n.epoch == snapshot.epoch()) {
            return;
        }
        let demand = self.demand.clone();
        let fence = self.pinned.is_none().then(|| snapshot.fence_of(open_to(&demand)));
        let (soft, soft_all_keys) = self.soft(snapshot, &rules.default_spread);
        self.numbers = Some(Numbers {
            kin: snapshot.kin_of(&self.kin, false),
            fence,
            hard: hard(&demand, snapshot),
            soft,
            soft_all_keys,
            near: near(&demand, snapshot),
            apart: demand
                .apart
                .iter()
                .map(|t| term_tally(snapshot, vec![t.pods.clone()], &t.topology))
                .collect(),
            inclined: demand
                .inclined
                .iter()
                .map(|w| (w.weight, term_tally(snapshot, vec![w.term.pods.clone()], &w.term.topology)))
                .collect(),
            wishes: demand.node_wishes.iter().map(|(weight, term)| (*weight, wish(snapshot, term))).collect(),
            epoch: snapshot.epoch(),
        });
    }

    fn soft(&self, snapshot: &mut Snapshot, defaults: &[DefaultSpread]) -> (Vec<Soft>, bool) {
        let demand = &self.demand;
        if demand.spread.is_empty() {
            // With the defaults a node without zone is still spread over by host.
            let Some(owner) = &self.kin.owner else { return (Vec::new(), false) };
            let group = Group::Owner(owner.clone());
            let one = |d: &DefaultSpread| {
                let fence = Fence::of_spread(demand, &[], Policy::Honor, Policy::Ignore);
                soft_part(snapshot, &d.topology, group.clone(), fence, d.max_skew)
            };
            return (defaults.iter().map(one).collect(), false);
        }
        let own: Vec<_> =
            demand.spread.iter().filter(|s| s.unsatisfiable == Unsatisfiable::ScheduleAnyway).collect();
        let keys: Vec<Arc<str>> = own.iter().map(|s| s.topology.clone()).collect();
        let parts = own.iter().map(|s| {
            let fence = Fence::of_spread(demand, &keys, s.affinity_policy, s.taints_policy);
            soft_part(snapshot, &s.topology, Group::Living(s.pods.clone()), fence, s.max_skew)
        });
        (parts.collect(), true)
    }

    /// Takes in what changed of images; costs nothing while no node tells of any.
    pub(crate) fn follow_images(&mut self, snapshot: &Snapshot) {
        self.liked = if snapshot.images().is_empty() {
            None
        } else {
            Some(Liked::follow(self.liked.take(), &self.demand, snapshot))
        };
    }

    /// Whether the last refusal still stands, as far as can be said without a look.
    pub(crate) fn is_proven(&self, snapshot: &Snapshot) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.stands(snapshot))
    }

    /// Takes in what changed of nodes since the class was here last.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot) {
        let numbers = self.numbers.as_ref().expect("resolved before");
        let Some(fence) = numbers.fence else { return };
        let slots = snapshot.slots();
        self.cells.resize(slots, 0);
        let (open, rooms) = (snapshot.fenced(fence), snapshot.rooms());
        if let Some(soft) = &mut self.soft_taints {
            soft.resize(slots, 0);
        }
        match snapshot.changes(self.seen) {
            Some(changes) => {
                for change in changes {
                    let at = change.slot.index();
                    let cell = self.cell(snapshot, change.slot, open.has(change.slot), &rooms[at]);
                    self.open = self.open + usize::from(cell > 0) - usize::from(self.cells[at] > 0);
                    self.cells[at] = cell;
                    if change.object {
                        self.note_soft_taints(snapshot, change.slot);
                    }
                }
            }
            None => self.start(snapshot, fence),
        }
        self.seen = snapshot.moment();
    }

    fn start(&mut self, snapshot: &Snapshot, fence: FenceId) {
        self.cells.iter_mut().for_each(|c| *c = 0);
        self.soft_taints = None;
        let rooms = snapshot.rooms();
        self.open = 0;
        for slot in snapshot.fenced(fence).iter() {
            let cell = self.cell(snapshot, slot, true, &rooms[slot.index()]);
            self.open += usize::from(cell > 0);
            self.cells[slot.index()] = cell;
        }
        for slot in snapshot.softly_tainted().iter() {
            self.note_soft_taints(snapshot, slot);
        }
    }

    #[inline]
    fn cell(&self, snapshot: &Snapshot, slot: Slot, is_open: bool, room: &Room) -> i16 {
        if !is_open || !self.ask.fits(room) {
            return 0;
        }
        if self.ask.is_rare() && !self.ask.fits_rare(&self.demand, snapshot.node(slot)) {
            return 0;
        }
        i16::try_from(1 + self.ask.rate(room)).expect("weights are limited so that scores fit")
    }

    /// What a single node is to the class, worked out now: for pinned classes.
    pub(crate) fn cell_of(&self, snapshot: &Snapshot, slot: Slot) -> i16 {
        let node = snapshot.node(slot);
        let is_open = node.known && open_to_node(&self.demand, node);
        self.cell(snapshot, slot, is_open, &snapshot.rooms()[slot.index()])
    }

    fn note_soft_taints(&mut self, snapshot: &Snapshot, slot: Slot) {
        let count = soft_taints(&self.demand, snapshot, slot);
        if count == 0 && self.soft_taints.is_none() {
            return;
        }
        let slots = snapshot.slots();
        let row = self.soft_taints.get_or_insert_with(|| vec![0; slots]);
        row[slot.index()] = u8::try_from(count).unwrap_or(u8::MAX);
    }
}

/// Soft taints of a node that the demand does not tolerate.
pub(crate) fn soft_taints(demand: &Demand, snapshot: &Snapshot, slot: Slot) -> usize {
    let taints = snapshot.node(slot).fact.taints.iter();
    taints.filter(|t| t.effect == TaintEffect::PreferNoSchedule && !demand.accepts(t)).count()
}

/// Whether the demand tolerates that a node is cordoned.
pub(crate) fn shrugs_at_cordons(demand: &Demand) -> bool {
    demand.accepts(&TaintFact::new("node.kubernetes.io/unschedulable", "", TaintEffect::NoSchedule))
}

fn open_to(demand: &Demand) -> Fence {
    Fence {
        uncordoned: !shrugs_at_cordons(demand),
        ..Fence::of_spread(demand, &[], Policy::Honor, Policy::Honor)
    }
}

fn open_to_node(demand: &Demand, node: &sched_core::NodeInfo) -> bool {
    (!node.fact.unschedulable || shrugs_at_cordons(demand))
        && demand.repelled_by(&node.fact).is_none()
        && demand.fits_labels(&node.fact)
}

fn wish(snapshot: &mut Snapshot, term: &NodeTerm) -> FenceId {
    snapshot.fence_of(Fence { terms: Some(vec![term.clone()]), ..Fence::default() })
}

fn hard(demand: &Demand, snapshot: &mut Snapshot) -> Vec<Hard> {
    let must: Vec<_> =
        demand.spread.iter().filter(|s| s.unsatisfiable == Unsatisfiable::DoNotSchedule).collect();
    let keys: Vec<Arc<str>> = must.iter().map(|s| s.topology.clone()).collect();
    let built = must.iter().map(|s| {
        let column = snapshot.column_of(&Topology::Label(s.topology.clone()));
        let fence = Fence::of_spread(demand, &keys, s.affinity_policy, s.taints_policy);
        let fence = unless_implied(snapshot, fence, &s.topology);
        Hard {
            column,
            fence,
            tally: snapshot.tally_of(Group::Living(s.pods.clone()), column, fence),
            max_skew: s.max_skew,
            min_domains: s.min_domains,
            present: (u64::MAX, Vec::new()),
        }
    });
    built.collect()
}

fn soft_part(snapshot: &mut Snapshot, key: &Arc<str>, group: Group, fence: Fence, max_skew: i64) -> Soft {
    let column = snapshot.column_of(&Topology::Label(key.clone()));
    let is_host = **key == *HOSTNAME;
    // Of hosts each node's own pods are taken, whether or not it is a node the pod could use.
    let tally = if is_host {
        let nodes = snapshot.column_of(&Topology::Node);
        snapshot.tally_of(group, nodes, None)
    } else {
        let fence = unless_implied(snapshot, fence, key);
        snapshot.tally_of(group, column, fence)
    };
    Soft { column, tally, is_host, max_skew }
}

/// The fence, unless it says no more than that the label `key` is there: then having a domain says it already.
fn unless_implied(snapshot: &mut Snapshot, fence: Fence, key: &Arc<str>) -> Option<FenceId> {
    let bare = Fence { keys: Vec::new(), ..fence.clone() } == Fence::default();
    let implied = bare && fence.keys.iter().all(|k| k == key);
    (!implied).then(|| snapshot.fence_of(fence))
}

/// A pod satisfies required affinity only if it matches all terms at once.
fn near(demand: &Demand, snapshot: &mut Snapshot) -> Vec<TallyId> {
    let all: Vec<_> = demand.near.iter().map(|t| t.pods.clone()).collect();
    demand.near.iter().map(|t| term_tally(snapshot, all.clone(), &t.topology)).collect()
}

fn term_tally(snapshot: &mut Snapshot, pods: Vec<sched_core::Clause>, key: &Arc<str>) -> TallyId {
    let column = snapshot.column_of(&Topology::Label(key.clone()));
    snapshot.tally_of(Group::All(pods), column, None)
}

/// The nodes that the terms name, when every term names some.
fn named_nodes(demand: &Demand) -> Option<BTreeSet<String>> {
    let terms = demand.node_terms.as_ref().filter(|t| !t.is_empty())?;
    terms.iter().map(names_of).try_fold(BTreeSet::new(), |mut all, names| {
        all.extend(names?);
        Some(all)
    })
}

fn names_of(term: &NodeTerm) -> Option<BTreeSet<String>> {
    let lists = term.names.iter().filter_map(|r| match r {
        Requirement::In(key, values) if key == "metadata.name" => Some(values.iter().cloned().collect()),
        _ => None,
    });
    lists.reduce(|a: BTreeSet<String>, b| a.intersection(&b).cloned().collect())
}
