//! The rules written down plainly: every node is asked about every rule, every pod is looked at for every count, nothing is
//! remembered. Slow and easy to check by eye; [`Engine`](crate::Engine) must give the same decisions, and is held to it.
//!
//! Nothing here is shared with the fast evaluation but the settings and the words of the snapshot.

mod balanced;
mod fit;
mod images;
mod node_affinity;
mod node_name;
mod normalize;
mod pod_affinity;
mod ports;
mod spread;
mod survey;
mod taints;
mod unschedulable;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use sched_core::{
    Carried, Decision, Group, Hints, NodeInfo, Nominations, Placement, PodFact, Reason, Refusal, Rejected,
    Rejection, Resolvable, Slot, Snapshot,
};

use crate::{Rules, Weights};
pub use survey::{Survey, Surveyed};

/// One look at one pod.
#[derive(Clone, Copy)]
struct Cycle<'a> {
    snapshot: &'a Snapshot,
    pod: &'a PodFact,
}

/// Number of pods per node; nodes without any are left out.
type Counts = BTreeMap<Slot, u32>;

impl<'a> Cycle<'a> {
    /// Pods of a group per node.
    fn counts(self, group: &Group) -> Counts {
        let mut counts = Counts::new();
        for (slot, node) in self.snapshot.nodes() {
            let pods = node.facts().filter(|p| group.counts(p, self.snapshot.namespaces())).count();
            if pods > 0 {
                counts.insert(slot, u32::try_from(pods).expect("pods of a node are counted in 32 bits"));
            }
        }
        counts
    }

    /// The terms that placed pods carry, with the nodes of those pods.
    fn carried(self) -> BTreeMap<Carried, Counts> {
        let mut all: BTreeMap<Carried, Counts> = BTreeMap::new();
        for (slot, node) in self.snapshot.nodes() {
            for carried in node.facts().flat_map(|p| Carried::by(&p.demand)) {
                *all.entry(carried).or_default().entry(slot).or_default() += 1;
            }
        }
        all
    }

    /// The values of a label as domains.
    fn column(self, key: &str) -> Column<'a> {
        let mut column = Column { ids: BTreeMap::new(), of: BTreeMap::new() };
        for (slot, node) in self.snapshot.nodes() {
            if let Some(value) = node.fact.labels.get(key) {
                let next = column.ids.len();
                let id = *column.ids.entry(value.as_str()).or_insert(next);
                column.of.insert(slot, id);
            }
        }
        column
    }
}

/// Which value each node has of one label, as a number.
struct Column<'a> {
    ids: BTreeMap<&'a str, usize>,
    of: BTreeMap<Slot, usize>,
}

impl Column<'_> {
    fn domain(&self, slot: Slot) -> Option<usize> {
        self.of.get(&slot).copied()
    }

    fn domains(&self) -> usize {
        self.ids.len()
    }
}

/// A rule of placement.
trait Plugin: Send + Sync {
    /// Its name in kube-scheduler.
    fn name(&self) -> &'static str;

    /// Its filter for this pod.
    fn filter<'a>(&'a self, _cycle: Cycle<'a>) -> Begin<'a> {
        Begin::Skip
    }

    /// Its score for this pod; nothing when it has no opinion.
    fn score<'a>(&'a self, _cycle: Cycle<'a>, _feasible: &[Slot]) -> Option<Score<'a>> {
        None
    }

    /// How much its score weighs.
    fn weight(&self, _weights: &Weights) -> i64 {
        0
    }

    /// Changes after which a pod it refused may fit.
    fn wake(&self) -> Hints {
        Hints::NONE
    }
}

/// Judges one node; a rejection says why not.
type Check<'a> = Box<dyn Fn(Slot, &NodeInfo) -> Option<Rejection> + 'a>;
/// Rates one node, before normalisation.
type Rate<'a> = Box<dyn Fn(Slot, &NodeInfo) -> i64 + 'a>;

/// How a rule begins a cycle.
enum Begin<'a> {
    /// It has nothing to say about this pod.
    Skip,
    /// No node will do, whatever it is.
    Refuse(Rejection),
    /// It judges node by node; only the named nodes can do, if any are named.
    Check { only: Option<BTreeSet<String>>, check: Check<'a> },
}

/// How a rule scores.
struct Score<'a> {
    rate: Rate<'a>,
    /// Brings the raw scores of all feasible nodes into 0..=100.
    normalize: fn(&mut [i64]),
}

/// The plain evaluation of a set of rules.
pub struct Plain {
    plugins: Vec<Box<dyn Plugin>>,
    weights: Weights,
}

/// Nodes by what is against them: rule, reasons, whether removing pods could help.
type Groups = BTreeMap<(usize, Rejection), (usize, usize)>;
/// The nodes that the pod names, if it names any.
type Named = Option<BTreeSet<String>>;
/// The filters of rules, by number.
type Checks<'a> = Vec<(usize, Check<'a>)>;
/// What is against nodes beside those who wait for them.
type Barred = BTreeMap<Slot, (usize, Rejection)>;

impl Plain {
    /// The plain evaluation of these rules.
    pub fn new(rules: &Rules) -> Plain {
        let plugins: Vec<Box<dyn Plugin>> = vec![
            Box::new(unschedulable::NodeUnschedulable),
            Box::new(node_name::NodeName),
            Box::new(taints::TaintToleration),
            Box::new(node_affinity::NodeAffinity),
            Box::new(ports::NodePorts),
            Box::new(fit::NodeResourcesFit),
            Box::new(volumes::VolumeRestrictions),
            Box::new(volumes::NodeVolumeLimits),
            Box::new(volumes::VolumeBinding),
            Box::new(volumes::VolumeZone),
            Box::new(spread::PodTopologySpread::new(rules.default_spread.clone())),
            Box::new(pod_affinity::InterPodAffinity),
            Box::new(balanced::NodeResourcesBalancedAllocation),
            Box::new(images::ImageLocality),
        ];
        Plain { plugins, weights: rules.weights.clone() }
    }

    /// Decides where the pod goes, beside pods that wait for room; the snapshot is as before when this returns.
    pub fn decide_beside(&self, snapshot: &mut Snapshot, pod: &PodFact, beside: &Nominations) -> Decision {
        let mut barred = Barred::new();
        for node in beside.nodes_ahead(pod).cloned().collect::<Vec<_>>() {
            let ahead = beside.ahead(&node, pod);
            let Some((slot, _)) = snapshot.find(&node) else { continue };
            let ahead: Vec<_> = ahead.into_iter().filter(|p| snapshot.place_of(&p.uid).is_none()).collect();
            ahead.iter().for_each(|p| snapshot.lay(p.clone(), &node));
            let cycle = Cycle { snapshot, pod };
            if let Ok((checks, only)) = self.checks(cycle)
                && let Some(against) = self.against(&checks, only.as_ref(), slot, snapshot.node(slot))
            {
                barred.insert(slot, against);
            }
            ahead.iter().for_each(|p| drop(snapshot.lift(&p.uid)));
        }
        let own = beside.node_of(&pod.uid).and_then(|node| snapshot.find(node)).map(|(slot, _)| slot);
        self.decide_apart(snapshot, pod, &barred, own)
    }

    /// Decides where the pod goes.
    pub fn decide(&self, snapshot: &Snapshot, pod: &PodFact) -> Decision {
        self.decide_apart(snapshot, pod, &Barred::new(), None)
    }

    fn decide_apart(
        &self,
        snapshot: &Snapshot,
        pod: &PodFact,
        barred: &Barred,
        own: Option<Slot>,
    ) -> Decision {
        let cycle = Cycle { snapshot, pod };
        if snapshot.is_empty() {
            return Decision::Refused(self.refusal(cycle, Groups::new(), None));
        }
        let (checks, only) = match self.checks(cycle) {
            Ok(found) => found,
            Err((rule, rejection)) => {
                let upfront = rejection.reasons.into_iter().next().map(|reason| (rule, reason));
                return Decision::Refused(self.refusal(cycle, Groups::new(), upfront));
            }
        };
        let mut groups = Groups::new();
        let feasible = self.feasible(cycle, &checks, only.as_ref(), barred, &mut groups);
        if feasible.is_empty() {
            return Decision::Refused(self.refusal(cycle, groups, None));
        }
        match own.filter(|slot| feasible.contains(slot)) {
            Some(own) => Decision::Bind(self.pick(cycle, &[own])),
            None => Decision::Bind(self.pick(cycle, &feasible)),
        }
    }

    /// The filters of all rules for this pod, and the nodes it names; or what is against all nodes at once.
    fn checks<'a>(&'a self, cycle: Cycle<'a>) -> Result<(Checks<'a>, Named), (usize, Rejection)> {
        let (mut checks, mut only) = (Vec::new(), None::<BTreeSet<String>>);
        for (i, plugin) in self.plugins.iter().enumerate() {
            match plugin.filter(cycle) {
                Begin::Skip => {}
                Begin::Refuse(rejection) => return Err((i, rejection)),
                Begin::Check { only: names, check } => {
                    only = only.or(names);
                    checks.push((i, check));
                }
            }
        }
        Ok((checks, only))
    }

    /// What is against one node: the number of the rule, and its words.
    fn against(
        &self,
        checks: &[(usize, Check<'_>)],
        only: Option<&BTreeSet<String>>,
        slot: Slot,
        node: &NodeInfo,
    ) -> Option<(usize, Rejection)> {
        if only.is_none_or(|names| names.contains(&*node.fact.name)) {
            return checks.iter().find_map(|(i, check)| check(slot, node).map(|r| (*i, r)));
        }
        Some((self.place_of("NodeAffinity"), Rejection::lasting(node_affinity::NOT_NAMED)))
    }

    fn feasible(
        &self,
        cycle: Cycle<'_>,
        checks: &[(usize, Check<'_>)],
        only: Option<&BTreeSet<String>>,
        barred: &Barred,
        groups: &mut Groups,
    ) -> Vec<Slot> {
        let mut feasible = Vec::new();
        for (slot, node) in cycle.snapshot.nodes() {
            let beside = barred.get(&slot).cloned();
            let against = beside.or_else(|| self.against(checks, only, slot, node));
            let Some(key) = against else {
                feasible.push(slot);
                continue;
            };
            let lower = key.1.resolvable == Resolvable::ByRemovingPods
                && node.facts().any(|p| p.demand.priority < cycle.pod.demand.priority);
            let counts = groups.entry(key).or_default();
            counts.0 += 1;
            counts.1 += usize::from(lower);
        }
        feasible
    }

    fn place_of(&self, rule: &str) -> usize {
        self.plugins.iter().position(|p| p.name() == rule).expect("asked for by its own name")
    }

    /// The best of the feasible nodes: highest score, then fewest pods, then name.
    fn pick(&self, cycle: Cycle<'_>, feasible: &[Slot]) -> Placement {
        let snapshot = cycle.snapshot;
        let parts = self.parts(cycle, feasible);
        let total = |at: usize| -> i64 { parts.iter().map(|(_, values)| values[at]).sum() };
        let best = (0..feasible.len()).min_by_key(|at| {
            let node = snapshot.node(feasible[*at]);
            (-total(*at), node.pods.len(), &node.fact.name)
        });
        let at = best.expect("called with some nodes");
        Placement {
            node: snapshot.node(feasible[at]).fact.name.clone(),
            score: total(at),
            scores: parts.iter().map(|(rule, values)| (*rule, values[at])).collect(),
            feasible: feasible.len(),
            nodes: snapshot.len(),
        }
    }

    /// Weighted scores of the feasible nodes, by rule.
    fn parts(&self, cycle: Cycle<'_>, feasible: &[Slot]) -> Vec<(&'static str, Vec<i64>)> {
        let mut parts: Vec<(&'static str, Vec<i64>)> = Vec::new();
        for plugin in &self.plugins {
            let weight = plugin.weight(&self.weights);
            if weight == 0 {
                continue;
            }
            let Some(score) = plugin.score(cycle, feasible) else { continue };
            let mut values: Vec<i64> =
                feasible.iter().map(|s| (score.rate)(*s, cycle.snapshot.node(*s))).collect();
            (score.normalize)(&mut values);
            parts.push((plugin.name(), values.into_iter().map(|v| v * weight).collect()));
        }
        parts
    }

    fn refusal(&self, cycle: Cycle<'_>, groups: Groups, upfront: Option<(usize, Reason)>) -> Refusal {
        let mut wake = Hints::NODE_ADDED;
        if let Some((rule, _)) = &upfront {
            wake |= self.plugins[*rule].wake();
        }
        for (rule, _) in groups.keys() {
            wake |= self.plugins[*rule].wake();
        }
        let groups = groups.into_iter().map(|((rule, rejection), (nodes, outranked))| Rejected {
            rule: self.plugins[rule].name(),
            reasons: rejection.reasons,
            resolvable: rejection.resolvable,
            nodes,
            outranked,
        });
        Refusal {
            nodes: cycle.snapshot.len(),
            upfront: upfront.map(|(_, reason)| reason),
            groups: groups.collect(),
            never_preempts: !cycle.pod.demand.preempts,
            preempting: None,
            wake,
        }
    }
}
