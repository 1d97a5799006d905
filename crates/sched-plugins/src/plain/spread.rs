//! PodTopologySpread: pods of one kind are spread over hosts, zones and other domains.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched_core::{
    Clause, Demand, Group, Hints, NodeInfo, PodFact, Policy, Rejection, Slot, Spread, Unsatisfiable,
};

use super::normalize::SCORE_MAX;
use super::{Begin, Column, Cycle, Plugin, Score};
use crate::Weights;
use crate::logarithm::ln_fixed;
use crate::rules::{DefaultSpread, HOSTNAME};

pub(crate) struct PodTopologySpread {
    defaults: Vec<DefaultSpread>,
}

impl PodTopologySpread {
    pub(crate) fn new(defaults: Vec<DefaultSpread>) -> PodTopologySpread {
        PodTopologySpread { defaults }
    }

    fn soft(&self, pod: &PodFact) -> Vec<Soft> {
        if !pod.demand.spread.is_empty() {
            let own = pod.demand.spread.iter().filter(|s| s.unsatisfiable == Unsatisfiable::ScheduleAnyway);
            return own.map(Soft::of).collect();
        }
        let Some(owner) = &pod.kin.owner else { return Vec::new() };
        let defaults = self.defaults.iter().map(|d| Soft {
            topology: d.topology.clone(),
            max_skew: d.max_skew,
            group: Group::Owner(owner.clone()),
            affinity_policy: Policy::Honor,
            taints_policy: Policy::Ignore,
        });
        defaults.collect()
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let hard = Hard::all_of(cycle);
        if hard.is_empty() {
            return Begin::Skip;
        }
        let check = move |slot, _: &NodeInfo| hard.iter().find_map(|h| h.reject(slot));
        Begin::Check { only: None, check: Box::new(check) }
    }

    fn score<'a>(&'a self, cycle: Cycle<'a>, feasible: &[Slot]) -> Option<Score<'a>> {
        let soft = self.soft(cycle.pod);
        if soft.is_empty() {
            return None;
        }
        // With the defaults a node without zone is still spread over by host.
        let all_keys = !cycle.pod.demand.spread.is_empty();
        let field = Field::new(cycle, &soft, feasible, all_keys);
        let rate = move |slot, _: &NodeInfo| field.rate(slot);
        Some(Score { rate: Box::new(rate), normalize: even_out })
    }

    fn weight(&self, weights: &Weights) -> i64 {
        weights.pod_topology_spread
    }

    fn wake(&self) -> Hints {
        Hints::POD_ADDED | Hints::POD_REMOVED | Hints::POD_CHANGED | Hints::NODE_LABELS | Hints::NODE_TAINTS
    }
}

/// A constraint that must be kept, with the pods counted per domain.
struct Hard<'a> {
    spread: &'a Spread,
    column: Column<'a>,
    counts: Vec<Option<i64>>,
    self_counts: i64,
    min: i64,
}

impl<'a> Hard<'a> {
    fn all_of(cycle: Cycle<'a>) -> Vec<Hard<'a>> {
        let demand = &*cycle.pod.demand;
        let must = demand.spread.iter().filter(|s| s.unsatisfiable == Unsatisfiable::DoNotSchedule);
        let must: Vec<&Spread> = must.collect();
        let has_all = |node: &NodeInfo| must.iter().all(|s| node.fact.labels.contains_key(&*s.topology));
        let built = must.iter().map(|spread| {
            let column = cycle.column(&spread.topology);
            let policies = (spread.affinity_policy, spread.taints_policy);
            let eligible = |node: &NodeInfo| has_all(node) && includes(policies, demand, node);
            let group = Group::Living(spread.pods.clone());
            let counts = per_domain(cycle, &group, &column, eligible);
            let domains = counts.iter().flatten().count();
            let least = counts.iter().flatten().copied().min().unwrap_or(0);
            Hard {
                spread,
                column,
                self_counts: i64::from(counts_itself(cycle, &spread.pods)),
                min: if domains < spread.min_domains { 0 } else { least },
                counts,
            }
        });
        built.collect()
    }

    fn reject(&self, slot: Slot) -> Option<Rejection> {
        const UNEVEN: &str = "node(s) didn't match pod topology spread constraints";
        const UNLABELLED: &str =
            "node(s) didn't match pod topology spread constraints (missing required label)";
        let Some(domain) = self.column.domain(slot) else { return Some(Rejection::lasting(UNLABELLED)) };
        let here = self.counts[domain].unwrap_or(0);
        let skew = here + self.self_counts - self.min;
        (skew > self.spread.max_skew).then(|| Rejection::resolvable(UNEVEN))
    }
}

fn counts_itself(cycle: Cycle<'_>, clause: &Clause) -> bool {
    clause.matches(&cycle.pod.kin.namespace, &cycle.pod.kin.labels, cycle.snapshot.namespaces())
}

/// Whether a node takes part, by the policies for node affinity and for taints.
fn includes(policies: (Policy, Policy), demand: &Demand, node: &NodeInfo) -> bool {
    (policies.0 == Policy::Ignore || demand.fits_labels(&node.fact))
        && (policies.1 == Policy::Ignore || demand.repelled_by(&node.fact).is_none())
}

/// Pods of the group per domain that at least one eligible node is in.
fn per_domain(
    cycle: Cycle<'_>,
    group: &Group,
    column: &Column<'_>,
    eligible: impl Fn(&NodeInfo) -> bool,
) -> Vec<Option<i64>> {
    let pods = cycle.counts(group);
    let mut counts = vec![None; column.domains()];
    for (slot, node) in cycle.snapshot.nodes() {
        if let Some(domain) = column.domain(slot)
            && eligible(node)
        {
            *counts[domain].get_or_insert(0) += pods.get(&slot).map_or(0, |n| i64::from(*n));
        }
    }
    counts
}

/// A constraint that only scores.
struct Soft {
    topology: Arc<str>,
    max_skew: i64,
    group: Group,
    affinity_policy: Policy,
    taints_policy: Policy,
}

impl Soft {
    fn of(s: &Spread) -> Soft {
        Soft {
            topology: s.topology.clone(),
            max_skew: s.max_skew,
            group: Group::Living(s.pods.clone()),
            affinity_policy: s.affinity_policy,
            taints_policy: s.taints_policy,
        }
    }
}

/// The soft constraints of one cycle, ready to rate nodes.
struct Field<'a> {
    parts: Vec<Part<'a>>,
    all_keys: bool,
}

struct Part<'a> {
    column: Column<'a>,
    /// Pods per domain; of hosts, each node's own are taken instead.
    domains: Vec<i64>,
    hosts: Option<BTreeMap<Slot, i64>>,
    max_skew: i64,
    /// Weight of one pod: the logarithm of the number of domains, in 2^-32.
    weight: i64,
}

impl<'a> Field<'a> {
    fn new(cycle: Cycle<'a>, soft: &[Soft], feasible: &[Slot], all_keys: bool) -> Field<'a> {
        let labels = |slot: Slot| &cycle.snapshot.node(slot).fact.labels;
        let takes_part =
            |slot: Slot| !all_keys || soft.iter().all(|s| labels(slot).contains_key(&*s.topology));
        let scored: Vec<Slot> = feasible.iter().copied().filter(|s| takes_part(*s)).collect();
        let parts = soft.iter().map(|s| {
            let (column, counts) = (cycle.column(&s.topology), cycle.counts(&s.group));
            if &*s.topology == HOSTNAME {
                let hosts = counts.into_iter().map(|(slot, n)| (slot, i64::from(n))).collect();
                let weight = ln_fixed(scored.len() + 2);
                return Part {
                    column,
                    domains: Vec::new(),
                    hosts: Some(hosts),
                    max_skew: s.max_skew,
                    weight,
                };
            }
            let (open, size) = open_domains(&column, &scored);
            let mut domains = vec![0; column.domains()];
            for (slot, n) in counts {
                let node = cycle.snapshot.node(slot);
                if let Some(domain) = column.domain(slot).filter(|d| open[*d])
                    && takes_part(slot)
                    && includes((s.affinity_policy, s.taints_policy), &cycle.pod.demand, node)
                {
                    domains[domain] += i64::from(n);
                }
            }
            Part { column, domains, hosts: None, max_skew: s.max_skew, weight: ln_fixed(size + 2) }
        });
        Field { parts: parts.collect(), all_keys }
    }

    /// Higher is worse; -1 for nodes that take no part.
    fn rate(&self, slot: Slot) -> i64 {
        const HALF: i64 = 1 << 31;
        let mut sum = HALF;
        for part in &self.parts {
            let Some(domain) = part.column.domain(slot) else {
                if self.all_keys {
                    return -1;
                }
                continue;
            };
            let count = match &part.hosts {
                Some(hosts) => hosts.get(&slot).copied().unwrap_or(0),
                None => part.domains[domain],
            };
            sum = sum
                .saturating_add(count.saturating_mul(part.weight))
                .saturating_add((part.max_skew - 1) << 32);
        }
        sum >> 32
    }
}

/// Which domains the nodes are in, and how many; nodes without the label are one more.
fn open_domains(column: &Column<'_>, nodes: &[Slot]) -> (Vec<bool>, usize) {
    let mut open = vec![false; column.domains()];
    let mut unlabelled = false;
    for slot in nodes {
        match column.domain(*slot) {
            Some(domain) => open[domain] = true,
            None => unlabelled = true,
        }
    }
    let size = open.iter().filter(|o| **o).count() + usize::from(unlabelled);
    (open, size)
}

/// Turns "higher is worse" into 0..=100; nodes that take no part get 0.
fn even_out(scores: &mut [i64]) {
    let taking_part = || scores.iter().copied().filter(|s| *s >= 0);
    let (min, max) = (taking_part().min().unwrap_or(0), taking_part().max().unwrap_or(0));
    for s in scores.iter_mut() {
        *s = match *s {
            ..0 => 0,
            _ if max == 0 => SCORE_MAX,
            here => SCORE_MAX * (max + min - here) / max,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptier_domains_score_higher_and_outsiders_nothing() {
        let mut scores = [0, 5, 10, -1];
        even_out(&mut scores);
        assert_eq!(scores, [100, 50, 0, 0]);
        let mut none = [0, 0];
        even_out(&mut none);
        assert_eq!(none, [100, 100]);
    }
}
