//! Why no node will do: each node is given to the first rule that is against it, with its reasons.

use std::collections::BTreeMap;

use sched_core::{
    Hints, NodeInfo, PodFact, Reason, Refusal, Rejected, Rejection, Resolvable, Slot, Snapshot,
};

use super::Extra;
use super::beside::Barred;
use super::cell::{Against, Short};
use super::class::{Class, shrugs_at_cordons};
use super::volumes::{Upfront, Wanted};
use super::wide::{Filter, Kind};

/// What is against one node; cheap to compare, put into words once per group.
#[derive(Clone, Copy, PartialEq)]
enum Cause<'a> {
    NotNamed,
    Cordoned,
    Taint(&'a str),
    Labels,
    Ports,
    Room(Short),
    Uneven,
    Unlabelled,
    Near,
    Apart,
    Against,
}

/// Rules in the order in which they are asked, with what may help those they refuse.
const RULES: [(&str, Hints); 11] = [
    ("NodeUnschedulable", Hints::NODE_TAINTS),
    ("TaintToleration", Hints::NODE_TAINTS),
    ("NodeAffinity", Hints::NODE_LABELS),
    ("NodePorts", Hints::POD_REMOVED),
    ("NodeResourcesFit", FIT),
    ("VolumeRestrictions", Hints::POD_REMOVED.with(Hints::CLAIM)),
    ("NodeVolumeLimits", Hints::POD_REMOVED.with(Hints::CLAIM).with(Hints::LIMITS)),
    ("VolumeBinding", PLACES.with(Hints::LIMITS)),
    ("VolumeZone", PLACES),
    ("PodTopologySpread", SPREAD),
    ("InterPodAffinity", AFFINITY),
];
const FIT: Hints = Hints::NODE_ROOM.with(Hints::POD_REMOVED).with(Hints::POD_CHANGED);
const PLACES: Hints = Hints::CLAIM.with(Hints::VOLUME).with(Hints::CLASS).with(Hints::NODE_LABELS);
const PODS: Hints =
    Hints::POD_ADDED.with(Hints::POD_REMOVED).with(Hints::POD_CHANGED).with(Hints::NODE_LABELS);
const SPREAD: Hints = PODS.with(Hints::NODE_TAINTS);
const AFFINITY: Hints = PODS.with(Hints::NAMESPACE);

/// The rule from which on verdicts depend on more than the node itself.
const FIRST_WIDE: usize = 9;
/// Rules about storage.
pub(crate) const VOLUME_RESTRICTIONS: usize = 5;
pub(crate) const NODE_VOLUME_LIMITS: usize = 6;
pub(crate) const VOLUME_BINDING: usize = 7;
pub(crate) const VOLUME_ZONE: usize = 8;
/// NodeAffinity, which also speaks for nodes that are not named.
const NODE_AFFINITY: usize = 2;

impl Cause<'_> {
    fn rule(self) -> usize {
        match self {
            Cause::Cordoned => 0,
            Cause::Taint(_) => 1,
            Cause::NotNamed | Cause::Labels => NODE_AFFINITY,
            Cause::Ports => 3,
            Cause::Room(_) => 4,
            Cause::Uneven | Cause::Unlabelled => FIRST_WIDE,
            Cause::Near | Cause::Apart | Cause::Against => FIRST_WIDE + 1,
        }
    }

    fn words(self, class: &Class) -> Rejection {
        match self {
            Cause::NotNamed => Rejection::lasting("node(s) didn't satisfy plugin(s) [NodeAffinity]"),
            Cause::Cordoned => Rejection::lasting("node(s) were unschedulable"),
            Cause::Taint(reason) => {
                Rejection { reasons: vec![Reason::Made(reason.into())], resolvable: Resolvable::No }
            }
            Cause::Labels => Rejection::lasting("node(s) didn't match Pod's node affinity/selector"),
            Cause::Ports => {
                Rejection::resolvable("node(s) didn't have free ports for the requested pod ports")
            }
            Cause::Room(short) => class.ask.words(short),
            Cause::Uneven => Rejection::resolvable("node(s) didn't match pod topology spread constraints"),
            Cause::Unlabelled => Rejection::lasting(
                "node(s) didn't match pod topology spread constraints (missing required label)",
            ),
            Cause::Near => Rejection::lasting("node(s) didn't match pod affinity rules"),
            Cause::Apart => Rejection::resolvable("node(s) didn't match pod anti-affinity rules"),
            Cause::Against => {
                Rejection::resolvable("node(s) didn't satisfy existing pods anti-affinity rules")
            }
        }
    }
}

/// What is asked about each node.
pub(crate) struct Inquiry<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) class: &'a Class,
    pub(crate) filters: &'a [Filter<'a>],
    pub(crate) extras: &'a [&'a dyn Extra],
    pub(crate) pod: &'a PodFact,
    /// What is against nodes beside those who wait for them.
    pub(crate) barred: &'a Barred,
    /// What the pod wants of storage.
    pub(crate) wanted: Option<&'a Wanted<'a>>,
}

/// A refusal, and whether it rests on rules that look at single nodes only.
pub(crate) struct Found {
    pub(crate) refusal: Refusal,
    pub(crate) is_local: bool,
}

/// By rule and words: how many nodes, and how many of them have pods of lower priority.
type Groups = BTreeMap<(usize, Rejection), (usize, usize)>;

impl Inquiry<'_> {
    /// Goes over all nodes once more, after none was found.
    pub(crate) fn explain(&self) -> Found {
        let shrugs = shrugs_at_cordons(&self.class.demand);
        let mut causes: Vec<(Cause<'_>, usize, usize)> = Vec::new();
        let mut groups = Groups::new();
        let mut last = 0;
        for (slot, node) in self.snapshot.nodes() {
            // What is against a node for such reasons is not alike among neighbours.
            if self.wanted.is_some() || self.barred.contains_key(&slot) {
                if let Some((rule, words)) = self.verdict(slot) {
                    self.count(rule, words, node, &mut groups);
                }
                continue;
            }
            let Some(cause) = self.against(slot, node, shrugs) else {
                self.ask_extras(slot, node, &mut groups);
                continue;
            };
            // Neighbours mostly fail alike.
            if causes.get(last).is_none_or(|c| c.0 != cause) {
                last = causes.iter().position(|c| c.0 == cause).unwrap_or_else(|| {
                    causes.push((cause, 0, 0));
                    causes.len() - 1
                });
            }
            causes[last].1 += 1;
            causes[last].2 += usize::from(node.has_lower_priority(self.class.demand.priority));
        }
        for (cause, nodes, outranked) in causes {
            let words = cause.words(self.class);
            let outranked = if words.resolvable == Resolvable::No { 0 } else { outranked };
            add(&mut groups, cause.rule(), words, (nodes, outranked));
        }
        self.found(groups)
    }

    /// Nodes that taking pods off could open: none of them is refused for what the pods there cannot change.
    pub(crate) fn openable(&self) -> Vec<Slot> {
        let opens = |slot: &Slot| {
            self.verdict(*slot).is_some_and(|(_, words)| words.resolvable == Resolvable::ByRemovingPods)
        };
        self.snapshot.nodes().map(|(slot, _)| slot).filter(opens).collect()
    }

    /// What is against one node: the number of the rule and its words; nothing when it does.
    pub(crate) fn verdict(&self, slot: Slot) -> Option<(usize, Rejection)> {
        if let Some(against) = self.barred.get(&slot) {
            return Some(against.clone());
        }
        let node = self.snapshot.node(slot);
        let cause = self.against(slot, node, shrugs_at_cordons(&self.class.demand));
        let cause = cause.map(|cause| (cause.rule(), cause.words(self.class)));
        if cause.as_ref().is_some_and(|(rule, _)| *rule < FIRST_WIDE) {
            return cause;
        }
        let storage = self.wanted.and_then(|wanted| wanted.against(node));
        storage.or(cause).or_else(|| self.extra_against(slot, node))
    }

    fn against<'b>(&'b self, slot: Slot, node: &'b NodeInfo, shrugs: bool) -> Option<Cause<'b>> {
        let (class, demand) = (self.class, &*self.class.demand);
        if class.pinned.as_ref().is_some_and(|names| !names.contains(&*node.fact.name)) {
            return Some(Cause::NotNamed);
        }
        if node.fact.unschedulable && !shrugs {
            return Some(Cause::Cordoned);
        }
        if let Some(taint) = demand.repelled_by(&node.fact) {
            return Some(Cause::Taint(&taint.reason));
        }
        let fence = class.numbers.as_ref().and_then(|n| n.fence);
        // Behind the fence are nodes whose labels match; the others may be kept out by their labels or by the above.
        if !fence.is_some_and(|f| self.snapshot.fenced(f).has(slot)) && !demand.fits_labels(&node.fact) {
            return Some(Cause::Labels);
        }
        match class.ask.against(demand, node, &self.snapshot.rooms()[slot.index()]) {
            Some(Against::Ports) => return Some(Cause::Ports),
            Some(Against::Room(short)) => return Some(Cause::Room(short)),
            None => {}
        }
        let filter = self.filters.iter().find(|f| !f.does(slot.index()))?;
        Some(match filter.kind {
            Kind::Spread if filter.is_labelled(slot.index()) => Cause::Uneven,
            Kind::Spread => Cause::Unlabelled,
            Kind::Near => Cause::Near,
            Kind::Apart => Cause::Apart,
            Kind::Against => Cause::Against,
        })
    }

    fn ask_extras(&self, slot: Slot, node: &NodeInfo, groups: &mut Groups) {
        if let Some((rule, words)) = self.extra_against(slot, node) {
            self.count(rule, words, node, groups);
        }
    }

    fn extra_against(&self, slot: Slot, node: &NodeInfo) -> Option<(usize, Rejection)> {
        let verdicts = self.extras.iter().enumerate();
        verdicts.filter_map(|(i, e)| Some((RULES.len() + i, e.check(self.pod, slot, node)?))).next()
    }

    fn count(&self, rule: usize, words: Rejection, node: &NodeInfo, groups: &mut Groups) {
        let outranked = words.resolvable == Resolvable::ByRemovingPods
            && node.has_lower_priority(self.class.demand.priority);
        add(groups, rule, words, (1, usize::from(outranked)));
    }

    fn found(&self, groups: Groups) -> Found {
        let rule = |i: usize| match RULES.get(i) {
            Some(rule) => *rule,
            None => (self.extras[i - RULES.len()].name(), self.extras[i - RULES.len()].wake()),
        };
        let is_local = groups.keys().all(|(i, _)| *i < FIRST_WIDE);
        let wake = groups.keys().fold(Hints::NODE_ADDED, |wake, (i, _)| wake | rule(*i).1);
        let groups = groups.into_iter().map(|((i, words), (nodes, outranked))| Rejected {
            rule: rule(i).0,
            reasons: words.reasons,
            resolvable: words.resolvable,
            nodes,
            outranked,
        });
        let mut refusal = refused(self.snapshot, self.pod);
        (refusal.groups, refusal.wake) = (groups.collect(), wake);
        Found { refusal, is_local }
    }
}

fn add(groups: &mut Groups, rule: usize, words: Rejection, nodes: (usize, usize)) {
    let counts = groups.entry((rule, words)).or_default();
    counts.0 += nodes.0;
    counts.1 += nodes.1;
}

/// A refusal that says nothing of single nodes.
pub(crate) fn refused(snapshot: &Snapshot, pod: &PodFact) -> Refusal {
    Refusal {
        nodes: snapshot.len(),
        upfront: None,
        groups: Vec::new(),
        never_preempts: !pod.demand.preempts,
        preempting: None,
        wake: Hints::NODE_ADDED,
    }
}

/// Storage is against all nodes at once.
pub(crate) fn upfront(snapshot: &Snapshot, pod: &PodFact, (rule, reason): Upfront) -> Refusal {
    Refusal { upfront: Some(reason), wake: Hints::NODE_ADDED | RULES[rule].1, ..refused(snapshot, pod) }
}

/// The demand names nodes in ways that exclude each other.
pub(crate) fn conflicting(snapshot: &Snapshot, pod: &PodFact) -> Refusal {
    let reason = Reason::Fixed("pod affinity terms conflict");
    let wake = Hints::NODE_ADDED | RULES[NODE_AFFINITY].1;
    Refusal { upfront: Some(reason), wake, ..refused(snapshot, pod) }
}
