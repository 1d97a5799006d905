//! PodTopologySpread: pods of one kind are spread over hosts, zones and other domains.

use std::sync::Arc;

use sched_core::{
    Begin, Clause, Column, Cycle, Demand, Group, Hints, Needs, NodeInfo, Plugin, PodFact, Policy, Rejection,
    Scope, Score, Slot, Snapshot, Spread, Unsatisfiable,
};

use crate::normalize::SCORE_MAX;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// A constraint for pods that have none of their own. The pods counted are those of the same controller: kube-scheduler takes
/// the selectors of the pod's Services, ReplicaSet and StatefulSet, which are the same pods wherever there is a controller.
#[derive(Clone, Debug)]
pub struct DefaultSpread {
    /// Node label that names the domain.
    pub topology: Arc<str>,
    /// Greatest difference that is not scored against.
    pub max_skew: i64,
}

impl DefaultSpread {
    /// kube-scheduler's own.
    pub fn upstream() -> Vec<DefaultSpread> {
        let one = |topology: &str, max_skew| DefaultSpread { topology: topology.into(), max_skew };
        vec![one(HOSTNAME, 3), one(ZONE, 5)]
    }
}

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
        let Some(owner) = &pod.owner else { return Vec::new() };
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

    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn needs(&self, pod: &PodFact, needs: &mut Needs) {
        for s in &pod.demand.spread {
            needs.topologies.push(s.topology.clone());
            needs.groups.push(Group::Living(s.pods.clone()));
        }
        for soft in self.soft(pod) {
            needs.topologies.push(soft.topology);
        }
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
        let field = Field::new(cycle, soft, feasible, all_keys);
        let rate = move |slot, _: &NodeInfo| field.rate(slot);
        Some(Score { rate: Box::new(rate), normalize: even_out })
    }

    fn weight(&self) -> i64 {
        2
    }

    fn wake(&self) -> Hints {
        Hints::POD_ADDED | Hints::POD_REMOVED | Hints::POD_CHANGED | Hints::NODE_LABELS | Hints::NODE_TAINTS
    }
}

/// A constraint that must be kept, with the pods counted per domain.
struct Hard<'a> {
    spread: &'a Spread,
    column: std::borrow::Cow<'a, Column>,
    counts: Vec<Option<i64>>,
    self_counts: i64,
    min: i64,
}

impl<'a> Hard<'a> {
    fn all_of(cycle: Cycle<'a>) -> Vec<Hard<'a>> {
        let demand = &*cycle.pod.demand;
        let must = demand.spread.iter().filter(|s| s.unsatisfiable == Unsatisfiable::DoNotSchedule);
        let must: Vec<&Spread> = must.collect();
        let columns: Vec<_> = must.iter().map(|s| cycle.snapshot.column(&s.topology)).collect();
        let has_all = |slot| columns.iter().all(|c| c.domain(slot).is_some());
        let built = must.iter().zip(&columns).map(|(spread, column)| {
            let policies = (spread.affinity_policy, spread.taints_policy);
            let eligible = |slot, node: &NodeInfo| has_all(slot) && includes(policies, demand, node);
            let group = Group::Living(spread.pods.clone());
            let counts = per_domain(cycle.snapshot, &group, column, eligible);
            let domains = counts.iter().flatten().count();
            let least = counts.iter().flatten().copied().min().unwrap_or(0);
            Hard {
                spread,
                column: column.clone(),
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
    clause.matches(&cycle.pod.key.namespace, &cycle.pod.labels, cycle.snapshot.namespaces())
}

/// Whether a node takes part, by the policies for node affinity and for taints.
fn includes(policies: (Policy, Policy), demand: &Demand, node: &NodeInfo) -> bool {
    (policies.0 == Policy::Ignore || demand.fits_labels(&node.fact))
        && (policies.1 == Policy::Ignore || demand.repelled_by(&node.fact).is_none())
}

/// Pods of the group per domain that at least one eligible node is in.
fn per_domain(
    snapshot: &Snapshot,
    group: &Group,
    column: &Column,
    eligible: impl Fn(Slot, &NodeInfo) -> bool,
) -> Vec<Option<i64>> {
    let pods = snapshot.counts(group);
    let mut counts = vec![None; column.domains()];
    for (slot, node) in snapshot.nodes() {
        if let Some(domain) = column.domain(slot)
            && eligible(slot, node)
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
    column: std::borrow::Cow<'a, Column>,
    /// Pods per domain; of hosts, each node's own are taken instead.
    domains: Vec<i64>,
    hosts: Option<Vec<i64>>,
    max_skew: i64,
    /// Weight of one pod: the logarithm of the number of domains, in 2^-32.
    weight: i64,
}

impl<'a> Field<'a> {
    fn new(cycle: Cycle<'a>, soft: Vec<Soft>, feasible: &[Slot], all_keys: bool) -> Field<'a> {
        let columns: Vec<_> = soft.iter().map(|s| cycle.snapshot.column(&s.topology)).collect();
        let takes_part = |slot: Slot| !all_keys || columns.iter().all(|c| c.domain(slot).is_some());
        let scored: Vec<Slot> = feasible.iter().copied().filter(|s| takes_part(*s)).collect();
        let parts = soft.iter().zip(&columns).map(|(s, column)| {
            let counts = cycle.snapshot.counts(&s.group);
            if &*s.topology == HOSTNAME {
                let weight = ln_fixed(scored.len() + 2);
                let mut by_slot = vec![0; cycle.snapshot.slots()];
                for (slot, n) in counts.iter() {
                    by_slot[slot.index()] = i64::from(*n);
                }
                return Part {
                    column: column.clone(),
                    domains: Vec::new(),
                    hosts: Some(by_slot),
                    max_skew: s.max_skew,
                    weight,
                };
            }
            let (open, size) = open_domains(column, &scored);
            let mut domains = vec![0; column.domains()];
            for (slot, n) in counts.iter() {
                let node = cycle.snapshot.node(*slot);
                if let Some(domain) = column.domain(*slot).filter(|d| open[*d])
                    && takes_part(*slot)
                    && includes((s.affinity_policy, s.taints_policy), &cycle.pod.demand, node)
                {
                    domains[domain] += i64::from(*n);
                }
            }
            Part {
                column: column.clone(),
                domains,
                hosts: None,
                max_skew: s.max_skew,
                weight: ln_fixed(size + 2),
            }
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
                Some(hosts) => hosts[slot.index()],
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
fn open_domains(column: &Column, nodes: &[Slot]) -> (Vec<bool>, usize) {
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

/// Natural logarithm of a whole number in 2^-32, without floating point: the same on every machine.
fn ln_fixed(n: usize) -> i64 {
    /// ln 2 in 2^-62.
    const LN_2: u128 = 3_196_577_161_300_663_915;
    const ONE: u128 = 1 << 62;
    let n = n.max(1) as u64;
    let whole = n.ilog2();
    // Squaring a number between 1 and 2 doubles its logarithm: each overflow past 2 is one binary digit.
    let mut x = (u128::from(n) << 62) >> whole;
    let mut log2 = u128::from(whole) << 40;
    for bit in (0..40).rev() {
        x = (x * x) >> 62;
        if x >= 2 * ONE {
            x >>= 1;
            log2 |= 1 << bit;
        }
    }
    i64::try_from((log2 * LN_2) >> 70).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_is_right_to_nine_digits() {
        for n in [1_usize, 2, 3, 7, 100, 5002, 1 << 40] {
            let exact = (n as f64).ln() * 4_294_967_296.0;
            assert!((ln_fixed(n) as f64 - exact).abs() < 40.0, "ln({n})");
        }
    }

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
