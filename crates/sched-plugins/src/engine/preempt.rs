//! Preemption: on which node the fewest and least important pods would have to go so that a refused pod fits.
//!
//! As kube-scheduler does it: on each node that could be opened all pods of lower priority are taken off, then as many as
//! possible are put back, those whose budget would be broken first, more important ones first. Of the nodes the best is the one
//! with (1) the fewest broken budgets, (2) the least important first victim, (3) the least sum of priorities, (4) the fewest
//! victims, (5) the victim that started last. Nothing is evicted here: the plan is the caller's, and so is the snapshot's state,
//! which is as before when this returns.

use std::cmp::Reverse;
use std::sync::Arc;

use api_meta::Selector;
use sched_core::{Lifted, PodFact, Slot, Snapshot};
use stdx::Time;

use super::explain::Inquiry;
use super::{Engine, class::Class, wide};

/// So many nodes are looked into closely at least, or a tenth of all, as kube-scheduler does.
const CANDIDATES_MIN: usize = 100;

/// A PodDisruptionBudget.
#[derive(Clone, Debug)]
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

/// How bad a plan is: less is better, the order of names last.
type Badness = (usize, i32, i64, usize, Reverse<Time>, u32);

/// More important pods come first: higher priority, then older, then by identity.
fn importance(pod: &PodFact) -> (Reverse<i32>, Time, Arc<str>) {
    (Reverse(pod.demand.priority), pod.created, pod.uid.clone())
}

impl Engine {
    /// Finds out which pods of lower priority would have to go, and from which node, so that the pod fits. Nothing when the pod
    /// may not preempt, or when no node can be opened that way.
    pub fn preempt(
        &mut self,
        snapshot: &mut Snapshot,
        pod: &PodFact,
        budgets: &[Budget],
    ) -> Option<Preemption> {
        if !pod.demand.preempts || pod.node.is_some() || snapshot.is_empty() {
            return None;
        }
        snapshot.ranks();
        let mut class = self.classify(snapshot, pod);
        snapshot.settle();
        let slots = candidates(snapshot, pod, &mut class);
        let looked_at = CANDIDATES_MIN.max(slots.len() / 10);
        let mut best: Option<(Badness, Preemption)> = None;
        let mut found = 0;
        for slot in slots {
            let Some(plan) = open(snapshot, pod, &mut class, slot, budgets) else { continue };
            let badness = badness(&plan, snapshot.ranks()[slot.index()]);
            if best.as_ref().is_none_or(|(least, _)| badness < *least) {
                best = Some((badness, plan));
            }
            found += 1;
            if found >= looked_at {
                break;
            }
        }
        self.keep(pod, class);
        best.map(|(_, plan)| plan)
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

/// The nodes worth a look, those with the least important pods first. kube-scheduler begins anywhere; this order finds
/// better plans among as many nodes, and the same ones each time.
fn candidates(snapshot: &Snapshot, pod: &PodFact, class: &mut Class) -> Vec<Slot> {
    class.follow(snapshot);
    let filters = wide::filters(snapshot, class);
    let inquiry = Inquiry { snapshot, class, filters: &filters, extras: &[], pod };
    let mut slots = inquiry.openable();
    let ranks = snapshot.ranked().expect("asked for before");
    slots.sort_by_cached_key(|slot| {
        let node = snapshot.node(*slot);
        let lower = node.priorities.range(..pod.demand.priority);
        let highest = lower.clone().next_back().map(|(priority, _)| *priority);
        (highest, lower.map(|(_, pods)| *pods).sum::<u32>(), ranks[slot.index()])
    });
    slots
}

/// Takes pods off one node until the pod fits, puts back what can stay, and leaves everything as it was.
fn open(
    snapshot: &mut Snapshot,
    pod: &PodFact,
    class: &mut Class,
    slot: Slot,
    budgets: &[Budget],
) -> Option<Preemption> {
    let node = snapshot.node(slot).fact.name.clone();
    let lower = snapshot.node(slot).facts().filter(|p| p.demand.priority < pod.demand.priority);
    let mut lower: Vec<Arc<PodFact>> = lower.cloned().collect();
    lower.sort_by_cached_key(|p| importance(p));
    let mut gone: Vec<Lifted> = lower.iter().filter_map(|p| snapshot.lift(&p.uid)).collect();
    let mut victims = Vec::new();
    let mut violations = 0;
    let opens = suits(snapshot, class, slot);
    if opens {
        let (violating, others) = by_budget(&lower, budgets);
        for (pod, violates) in violating.iter().map(|p| (p, true)).chain(others.iter().map(|p| (p, false))) {
            let at = gone.iter().position(|l| l.pod.uid == pod.uid).expect("all lower ones were lifted");
            snapshot.restore(gone.swap_remove(at));
            if !suits(snapshot, class, slot) {
                gone.extend(snapshot.lift(&pod.uid));
                victims.push(pod.clone());
                violations += usize::from(violates);
            }
        }
    }
    for lifted in gone {
        snapshot.restore(lifted);
    }
    victims.sort_by_cached_key(|p| importance(p));
    (opens && !victims.is_empty()).then_some(Preemption { node, victims, violations })
}

/// Whether the node does for the class as things are.
fn suits(snapshot: &mut Snapshot, class: &mut Class, slot: Slot) -> bool {
    class.follow(snapshot);
    let cell = if class.pinned.is_some() { class.cell_of(snapshot, slot) } else { class.cells[slot.index()] };
    cell > 0 && wide::filters(snapshot, class).iter().all(|f| f.does(slot.index()))
}

/// Pods, most important first, whose going would break a budget when those before them go too; and the others.
fn by_budget(pods: &[Arc<PodFact>], budgets: &[Budget]) -> (Vec<Arc<PodFact>>, Vec<Arc<PodFact>>) {
    let mut allowed: Vec<i64> = budgets.iter().map(|b| b.allowed).collect();
    pods.iter().cloned().partition(|pod| {
        let mut violates = false;
        for (budget, left) in budgets.iter().zip(&mut allowed) {
            let protects = budget.namespace == pod.kin.namespace
                && !budget.selector.is_empty()
                && budget.selector.matches(&pod.kin.labels)
                && !budget.disrupted.iter().any(|name| **name == *pod.name);
            if protects {
                *left -= 1;
                violates |= *left < 0;
            }
        }
        violates
    })
}
