//! Preemption: on which node the fewest and least important pods would have to go so that a refused pod fits.
//!
//! As kube-scheduler does it: on each node that could be opened all pods of lower priority are taken off, then as many as
//! possible are put back, those whose budget would be broken first, more important ones first. Of the nodes the best is the one
//! with (1) the fewest broken budgets, (2) the least important first victim, (3) the least sum of priorities, (4) the fewest
//! victims, (5) the victim that started last. Nothing is evicted here: the plan is the caller's, and so is the snapshot's state,
//! which is as before when this returns.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use api_meta::Selector;
use sched_core::{
    Lifted, NO_VICTIMS, NOT_HELPFUL, Nominations, PodFact, Reason, Rejection, Resolvable, Slot, Snapshot,
};
use stdx::Time;

use super::beside::{self, Barred};
use super::explain::Inquiry;
use super::volumes::Wanted;
use super::{Engine, Extra, class::Class, wide};

/// So many nodes are looked into closely at least, or a tenth of all, as kube-scheduler does.
const CANDIDATES_MIN: usize = 100;

/// A PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Its namespace: it protects pods of this one alone.
    pub namespace: String,
    /// The pods it protects; none when it has no requirement.
    pub selector: Selector,
    /// How many may go now (`status.disruptionsAllowed`).
    pub allowed: i64,
    /// Names of pods that count as gone already (`status.disruptedPods`).
    pub disrupted: Vec<String>,
}

impl Budget {
    /// Whether the pod's going spends it.
    pub fn protects(&self, pod: &PodFact) -> bool {
        self.namespace == pod.kin.namespace
            && !self.selector.is_empty()
            && self.selector.matches(&pod.kin.labels)
            && !self.disrupted.iter().any(|name| **name == *pod.name)
    }
}

/// Where a pod could be after others have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// The node.
    pub node: Arc<str>,
    /// The pods that have to go, most important first.
    pub victims: Vec<Arc<PodFact>>,
    /// How many of them break a budget.
    pub violations: usize,
}

/// Why nobody is to be sent away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Futile {
    /// The pod may not preempt.
    Never,
    /// Pods it has sent away are still going on the node it waits for.
    Underway,
    /// It would help nowhere: number of nodes by reason.
    Nowhere(BTreeMap<Reason, usize>),
}

/// How bad a plan is: less is better, the order of names last.
type Badness = (usize, i32, i64, usize, Reverse<Time>, u32);

/// More important pods come first: higher priority, then older, then by identity.
fn importance(pod: &PodFact) -> (Reverse<i32>, Time, Arc<str>) {
    (Reverse(pod.demand.priority), pod.created, pod.uid.clone())
}

/// Who asks, by which rules, beside whom.
struct Attempt<'a> {
    pod: &'a PodFact,
    extras: &'a [&'a dyn Extra],
    beside: &'a Nominations,
    budgets: &'a [Budget],
}

impl Engine {
    /// Finds out which pods of lower priority would have to go, and from which node, so that the pod, which was refused, fits
    /// there: both with and without those who wait for that node, and by the extra rules too.
    ///
    /// # Errors
    /// When nobody is to be sent away; why.
    pub fn preempt(
        &mut self,
        snapshot: &mut Snapshot,
        pod: &PodFact,
        (extras, beside): (&[&dyn Extra], &Nominations),
        budgets: &[Budget],
    ) -> Result<Preemption, Futile> {
        if !pod.demand.preempts {
            return Err(Futile::Never);
        }
        if pod.node.is_some() || snapshot.is_empty() {
            return Err(Futile::Nowhere(BTreeMap::new()));
        }
        snapshot.ranks();
        let extras: Vec<&dyn Extra> = extras.iter().copied().filter(|e| e.concerns(pod)).collect();
        let mut class = self.classify(snapshot, pod);
        snapshot.settle();
        // Budgets decide who goes, not whether it helps: what helped nowhere helps nowhere until something happens.
        let is_bare = extras.is_empty() && beside.is_empty();
        let proven = class.proof.as_ref().filter(|p| is_bare && p.stands(snapshot)).map(|p| p.futile.clone());
        if let Some(Some(reasons)) = proven {
            self.keep(pod, class);
            return Err(Futile::Nowhere(reasons));
        }
        let found = Attempt { pod, extras: &extras, beside, budgets }.search(snapshot, &mut class);
        if let (true, Some(proof), Err(Futile::Nowhere(reasons))) = (is_bare, &mut class.proof, &found) {
            proof.futile = Some(reasons.clone());
        }
        self.keep(pod, class);
        found
    }
}

impl Attempt<'_> {
    fn search(&self, snapshot: &mut Snapshot, class: &mut Class) -> Result<Preemption, Futile> {
        let barred = beside::barred(snapshot, self.pod, class, self.extras, self.beside);
        if self.is_underway(snapshot, class, &barred) {
            return Err(Futile::Underway);
        }
        let openable = self.openable(snapshot, class, &barred);
        let mut reasons = BTreeMap::new();
        note(&mut reasons, NOT_HELPFUL, snapshot.len() - openable.len());
        let slots = candidates(snapshot, self.pod, &openable);
        note(&mut reasons, NO_VICTIMS, openable.len() - slots.len());
        let looked_at = CANDIDATES_MIN.max(openable.len() / 10);
        let mut best: Option<(Badness, Preemption)> = None;
        let (mut found, mut unbroken) = (0, false);
        for slot in slots {
            let plan = match self.open(snapshot, class, slot) {
                Ok(plan) => plan,
                Err(rejection) => {
                    rejection.reasons.into_iter().for_each(|reason| note(&mut reasons, reason, 1));
                    continue;
                }
            };
            unbroken |= plan.violations == 0;
            let badness = badness(&plan, snapshot.ranks()[slot.index()]);
            if best.as_ref().is_none_or(|(least, _)| badness < *least) {
                best = Some((badness, plan));
            }
            found += 1;
            // As long as every plan breaks a budget it goes on looking.
            if found >= looked_at && unbroken {
                break;
            }
        }
        best.map(|(_, plan)| plan).ok_or(Futile::Nowhere(reasons))
    }

    /// Whether those it has sent away are still going: then nobody else goes meanwhile, unless that node will not do anyway.
    fn is_underway(&self, snapshot: &Snapshot, class: &mut Class, barred: &Barred) -> bool {
        let own = self.beside.node_of(&self.pod.uid).and_then(|node| snapshot.find(node));
        let Some((slot, node)) = own else { return false };
        let against = match barred.get(&slot) {
            Some(against) => Some(against.clone()),
            None => beside::verdict(snapshot, self.pod, class, self.extras, slot),
        };
        let is_open = against.is_none_or(|(_, words)| words.resolvable == Resolvable::ByRemovingPods);
        is_open && node.facts().any(|p| p.preempted && p.demand.priority < self.pod.demand.priority)
    }

    fn openable(&self, snapshot: &Snapshot, class: &mut Class, barred: &Barred) -> Vec<Slot> {
        class.follow(snapshot);
        let filters = wide::filters(snapshot, class);
        let wanted = Wanted::of(snapshot, self.pod).ok().flatten();
        let (extras, pod) = (self.extras, self.pod);
        Inquiry { snapshot, class, filters: &filters, extras, pod, barred, wanted: wanted.as_ref() }
            .openable()
    }

    /// Takes pods off one node until the pod fits, puts back what can stay, and leaves everything as it was.
    fn open(&self, snapshot: &mut Snapshot, class: &mut Class, slot: Slot) -> Result<Preemption, Rejection> {
        let node = snapshot.node(slot).fact.name.clone();
        let priority = self.pod.demand.priority;
        let lower = snapshot.node(slot).facts().filter(|p| p.demand.priority < priority);
        let mut lower: Vec<Arc<PodFact>> = lower.cloned().collect();
        lower.sort_by_cached_key(|p| importance(p));
        let mut gone: Vec<Lifted> = lower.iter().filter_map(|p| snapshot.lift(&p.uid)).collect();
        let mut plan = Preemption { node, victims: Vec::new(), violations: 0 };
        let against = self.against(snapshot, class, slot);
        if against.is_none() {
            let (violating, others) = by_budget(&lower, self.budgets);
            let violating = violating.iter().map(|p| (p, true));
            for (pod, violates) in violating.chain(others.iter().map(|p| (p, false))) {
                let at = gone.iter().position(|l| l.pod.uid == pod.uid).expect("all lower ones were lifted");
                snapshot.restore(gone.swap_remove(at));
                if self.against(snapshot, class, slot).is_some() {
                    gone.extend(snapshot.lift(&pod.uid));
                    plan.victims.push(pod.clone());
                    plan.violations += usize::from(violates);
                }
            }
        }
        for lifted in gone {
            snapshot.restore(lifted);
        }
        if let Some(against) = against {
            return Err(against);
        }
        if plan.victims.is_empty() {
            // It fits with everybody there after all: nobody goes for that.
            return Err(Rejection { reasons: vec![NO_VICTIMS], resolvable: Resolvable::No });
        }
        plan.victims.sort_by_cached_key(|p| importance(p));
        Ok(plan)
    }

    /// What is against the node as things are: first beside those who wait for it, then without them.
    fn against(&self, snapshot: &mut Snapshot, class: &mut Class, slot: Slot) -> Option<Rejection> {
        let node = snapshot.node(slot).fact.name.clone();
        let ahead = self.beside.ahead(&node, self.pod);
        let ask = |snapshot: &Snapshot, class: &mut Class| {
            beside::verdict(snapshot, self.pod, class, self.extras, slot).map(|(_, words)| words)
        };
        if !ahead.is_empty()
            && let Some(words) = beside::with(snapshot, &node, &ahead, |snapshot| ask(snapshot, class))
        {
            return Some(words);
        }
        ask(snapshot, class)
    }
}

fn note(reasons: &mut BTreeMap<Reason, usize>, reason: Reason, nodes: usize) {
    if nodes > 0 {
        *reasons.entry(reason).or_default() += nodes;
    }
}

fn badness(plan: &Preemption, rank: u32) -> Badness {
    // Priorities are counted from the lowest possible, so that more victims are never better.
    let weight = |p: &Arc<PodFact>| i64::from(p.demand.priority) - i64::from(i32::MIN);
    let first = plan.victims.first().map_or(i32::MIN, |p| p.demand.priority);
    let oldest = plan.victims.iter().filter(|p| p.demand.priority == first).map(|p| p.created).min();
    let sum = plan.victims.iter().map(weight).sum();
    (plan.violations, first, sum, plan.victims.len(), Reverse(oldest.unwrap_or_default()), rank)
}

/// Of these nodes the ones with pods of lower priority, those with the least important pods first. kube-scheduler begins
/// anywhere; this order finds better plans among as many nodes, and the same ones each time.
fn candidates(snapshot: &Snapshot, pod: &PodFact, openable: &[Slot]) -> Vec<Slot> {
    let lower = |slot: &&Slot| snapshot.node(**slot).has_lower_priority(pod.demand.priority);
    let mut slots: Vec<Slot> = openable.iter().filter(lower).copied().collect();
    let ranks = snapshot.ranked().expect("asked for before");
    slots.sort_by_cached_key(|slot| {
        let node = snapshot.node(*slot);
        let lower = node.priorities.range(..pod.demand.priority);
        let highest = lower.clone().next_back().map(|(priority, _)| *priority);
        (highest, lower.map(|(_, pods)| *pods).sum::<u32>(), ranks[slot.index()])
    });
    slots
}

/// Pods, most important first, whose going would break a budget when those before them go too; and the others.
fn by_budget(pods: &[Arc<PodFact>], budgets: &[Budget]) -> (Vec<Arc<PodFact>>, Vec<Arc<PodFact>>) {
    let mut allowed: Vec<i64> = budgets.iter().map(|b| b.allowed).collect();
    pods.iter().cloned().partition(|pod| {
        let mut violates = false;
        for (budget, left) in budgets.iter().zip(&mut allowed) {
            if budget.protects(pod) {
                *left -= 1;
                violates |= *left < 0;
            }
        }
        violates
    })
}
