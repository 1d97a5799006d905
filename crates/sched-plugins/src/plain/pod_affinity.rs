//! InterPodAffinity: pods go near or stay away from other pods, by topology domain.

use sched_core::{Clause, Group, Hints, NodeInfo, Pull, Rejection, Slot, Term};

use super::{Begin, Column, Counts, Cycle, Plugin, Score, normalize};
use crate::Weights;

/// How much a required affinity of a placed pod pulls when scoring (upstream's hardPodAffinityWeight).
const REQUIRED_WEIGHT: i64 = 1;

pub(crate) struct InterPodAffinity;

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let demand = &cycle.pod.demand;
        let near = Near::new(cycle);
        let apart: Vec<Pulls<'a>> =
            demand.apart.iter().map(|t| Pulls::of(cycle, t, &cycle.counts(&one(&t.pods)), 1)).collect();
        let against = carried_against(cycle);
        if near.is_none() && apart.is_empty() && against.is_empty() {
            return Begin::Skip;
        }
        let check = move |slot, _: &NodeInfo| {
            if near.as_ref().is_some_and(|n| !n.holds(slot)) {
                return Some(Rejection::lasting("node(s) didn't match pod affinity rules"));
            }
            if apart.iter().any(|w| w.at(slot) > 0) {
                return Some(Rejection::resolvable("node(s) didn't match pod anti-affinity rules"));
            }
            let kept_away = against.iter().any(|w| w.at(slot) > 0);
            kept_away
                .then(|| Rejection::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"))
        };
        Begin::Check { only: None, check: Box::new(check) }
    }

    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[Slot]) -> Option<Score<'a>> {
        let own = cycle.pod.demand.inclined.iter();
        let mut pulls: Vec<Pulls<'a>> =
            own.map(|w| Pulls::of(cycle, &w.term, &cycle.counts(&one(&w.term.pods)), w.weight)).collect();
        for (carried, counts) in cycle.carried() {
            let weight = match carried.pull {
                Pull::MustNear => REQUIRED_WEIGHT,
                Pull::MustApart => continue,
                Pull::Inclined(weight) => weight,
            };
            if concerns(cycle, &carried.term) {
                pulls.push(Pulls::of(cycle, &carried.term, &counts, weight));
            }
        }
        pulls.retain(|w| w.by_domain.iter().any(|n| *n != 0));
        if pulls.is_empty() {
            return None;
        }
        let rate = move |slot, _: &NodeInfo| pulls.iter().map(|w| w.at(slot)).sum();
        Some(Score { rate: Box::new(rate), normalize: normalize::stretched })
    }

    fn weight(&self, weights: &Weights) -> i64 {
        weights.inter_pod_affinity
    }

    fn wake(&self) -> Hints {
        Hints::POD_ADDED | Hints::POD_REMOVED | Hints::POD_CHANGED | Hints::NODE_LABELS | Hints::NAMESPACE
    }
}

fn one(clause: &Clause) -> Group {
    Group::All(vec![clause.clone()])
}

/// A pod satisfies required affinity only if it matches all terms at once.
fn all_near(terms: &[Term]) -> Group {
    Group::All(terms.iter().map(|t| t.pods.clone()).collect())
}

fn concerns(cycle: Cycle<'_>, term: &Term) -> bool {
    term.pods.matches(&cycle.pod.kin.namespace, &cycle.pod.kin.labels, cycle.snapshot.namespaces())
}

/// Required anti-affinity of placed pods that the pod would break.
fn carried_against<'a>(cycle: Cycle<'a>) -> Vec<Pulls<'a>> {
    let all = cycle.carried().into_iter();
    let against = all.filter(|(c, _)| c.pull == Pull::MustApart && concerns(cycle, &c.term));
    against.map(|(c, counts)| Pulls::of(cycle, &c.term, &counts, 1)).collect()
}

/// Pods counted per domain of a term, times a weight.
struct Pulls<'a> {
    column: Column<'a>,
    by_domain: Vec<i64>,
}

impl<'a> Pulls<'a> {
    fn of(cycle: Cycle<'a>, term: &Term, counts: &Counts, weight: i64) -> Pulls<'a> {
        let column = cycle.column(&term.topology);
        let mut by_domain = vec![0; column.domains()];
        for (slot, n) in counts {
            if let Some(domain) = column.domain(*slot) {
                by_domain[domain] += weight * i64::from(*n);
            }
        }
        Pulls { column, by_domain }
    }

    /// Zero where the node has no such domain.
    fn at(&self, slot: Slot) -> i64 {
        self.column.domain(slot).map_or(0, |d| self.by_domain[d])
    }
}

/// Required affinity of the pod.
struct Near<'a> {
    terms: Vec<Pulls<'a>>,
    /// Nobody matches yet, and the pod matches its own terms: the first of a group may go anywhere.
    is_first: bool,
}

impl<'a> Near<'a> {
    fn new(cycle: Cycle<'a>) -> Option<Near<'a>> {
        let near = &cycle.pod.demand.near;
        if near.is_empty() {
            return None;
        }
        let counts = cycle.counts(&all_near(near));
        let terms: Vec<Pulls<'a>> = near.iter().map(|t| Pulls::of(cycle, t, &counts, 1)).collect();
        let nobody = terms.iter().all(|w| w.by_domain.iter().all(|n| *n == 0));
        let is_first = nobody && near.iter().all(|t| concerns(cycle, t));
        Some(Near { terms, is_first })
    }

    fn holds(&self, slot: Slot) -> bool {
        if self.terms.iter().any(|w| w.column.domain(slot).is_none()) {
            return false;
        }
        self.is_first || self.terms.iter().all(|w| w.at(slot) > 0)
    }
}
