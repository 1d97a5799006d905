//! The cycle: filter all nodes, score those that are left, pick one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::{
    Decision, Demand, Group, Hints, NodeInfo, Placement, PodFact, Reason, Refusal, Rejection, Resolvable,
    Slot, Snapshot,
};

/// One look at one pod.
#[derive(Clone, Copy)]
pub struct Cycle<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// The pod.
    pub pod: &'a PodFact,
}

/// What a cycle is going to ask of the snapshot.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Topology keys.
    pub topologies: Vec<Arc<str>>,
    /// Groups of pods.
    pub groups: Vec<Group>,
}

/// What a rule's verdict and score depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// On the pod's [`Demand`] and the one node only: kept per demand and node until the node changes.
    Node,
    /// On other nodes too, or on the pod's name or labels.
    Cluster,
}

/// A rule of placement. Rules of scope `Node` are asked before the others.
pub trait Plugin: Send + Sync {
    /// Its name in kube-scheduler.
    fn name(&self) -> &'static str;

    /// What its answers depend on.
    fn scope(&self) -> Scope;

    /// What it will ask of the snapshot.
    fn needs(&self, _pod: &PodFact, _needs: &mut Needs) {}

    /// Its filter for this pod.
    fn filter<'a>(&'a self, _cycle: Cycle<'a>) -> Begin<'a> {
        Begin::Skip
    }

    /// Its score for this pod; nothing when it has no opinion. `feasible` is empty for rules of scope `Node`.
    fn score<'a>(&'a self, _cycle: Cycle<'a>, _feasible: &[Slot]) -> Option<Score<'a>> {
        None
    }

    /// How much its score weighs.
    fn weight(&self) -> i64 {
        1
    }

    /// Changes after which a pod it refused may fit.
    fn wake(&self) -> Hints {
        Hints::NONE
    }
}

/// Judges one node; a rejection says why not.
pub type Check<'a> = Box<dyn Fn(Slot, &NodeInfo) -> Option<Rejection> + 'a>;
/// Rates one node, before normalisation.
pub type Rate<'a> = Box<dyn Fn(Slot, &NodeInfo) -> i64 + 'a>;

/// How a rule begins a cycle.
pub enum Begin<'a> {
    /// It has nothing to say about this pod.
    Skip,
    /// No node will do, whatever it is.
    Refuse(Rejection),
    /// It judges node by node.
    Check {
        /// Only these nodes can do, if given.
        only: Option<BTreeSet<String>>,
        /// The judgement.
        check: Check<'a>,
    },
}

/// How a rule scores.
pub struct Score<'a> {
    /// Raw score of a node.
    pub rate: Rate<'a>,
    /// Brings the raw scores of all feasible nodes into 0..=100.
    pub normalize: fn(&mut [i64]),
}

/// Greatest number of demands whose answers are kept.
const CLASSES_MAX: usize = 128;

/// The rules with what is remembered of their answers.
pub struct Engine {
    plugins: Vec<Box<dyn Plugin>>,
    classes: HashMap<usize, Class>,
    looks: u64,
}

/// Answers of node-scoped rules for one demand.
struct Class {
    /// Keeps the address that is the key from being used again.
    _demand: Arc<Demand>,
    cells: Vec<Cell>,
    /// `rates` raw scores per slot.
    raw: Vec<i64>,
    used: u64,
    /// The last refusal, and the snapshot it was true for.
    refused: Option<(u64, Refusal)>,
}

#[derive(Clone, Default)]
struct Cell {
    generation: u64,
    verdict: Option<Box<(usize, Rejection)>>,
}

/// What one cycle collects about refusals.
#[derive(Default)]
struct Why {
    reasons: BTreeMap<Reason, usize>,
    preemption: BTreeMap<Reason, usize>,
    rules: BTreeSet<usize>,
}

impl Engine {
    /// An engine with these rules, in the order in which they are asked within their scope.
    pub fn new(mut plugins: Vec<Box<dyn Plugin>>) -> Engine {
        plugins.sort_by_key(|p| p.scope() == Scope::Cluster);
        Engine { plugins, classes: HashMap::new(), looks: 0 }
    }

    /// Decides where the pod goes. Changes nothing but what is remembered.
    pub fn decide(&mut self, snapshot: &mut Snapshot, pod: &PodFact) -> Decision {
        let mut needs = Needs::default();
        for plugin in &self.plugins {
            plugin.needs(pod, &mut needs);
        }
        snapshot.index(&needs);
        let snapshot = &*snapshot;
        if snapshot.is_empty() {
            return Decision::Refused(self.refusal(snapshot, pod, Why::default(), None));
        }
        self.looks += 1;
        let mut class = self.take_class(&pod.demand);
        let decision = match &class.refused {
            Some((generation, refusal)) if *generation == snapshot.generation() => {
                Decision::Refused(refusal.clone())
            }
            _ => self.look(Cycle { snapshot, pod }, &mut class),
        };
        // What rules of node scope refused everywhere is refused for every pod of the same demand.
        if let Decision::Refused(refusal) = &decision
            && refusal.rules.iter().all(|name| self.is_local(name))
        {
            class.refused = Some((snapshot.generation(), refusal.clone()));
        }
        self.put_class(&pod.demand, class);
        decision
    }

    fn is_local(&self, name: &str) -> bool {
        self.plugins.iter().any(|p| p.name() == name && p.scope() == Scope::Node)
    }

    fn look(&self, cycle: Cycle<'_>, class: &mut Class) -> Decision {
        let (mut checks, mut only) = (Vec::new(), None::<BTreeSet<String>>);
        for (i, plugin) in self.plugins.iter().enumerate() {
            match plugin.filter(cycle) {
                Begin::Skip => {}
                Begin::Refuse(rejection) => {
                    return Decision::Refused(self.refused_upfront(cycle, i, rejection));
                }
                Begin::Check { only: names, check } => {
                    if let Some(names) = names {
                        only = Some(
                            only.map_or_else(|| names.clone(), |o| o.intersection(&names).cloned().collect()),
                        );
                        checks.push((i, check, true));
                    } else {
                        checks.push((i, check, false));
                    }
                }
            }
        }
        let mut why = Why::default();
        let feasible = self.feasible(cycle, class, &checks, only.as_ref(), &mut why);
        if feasible.is_empty() {
            return Decision::Refused(self.refusal(cycle.snapshot, cycle.pod, why, None));
        }
        Decision::Bind(self.pick(cycle, class, &feasible))
    }

    /// The nodes that pass every filter; the reasons of the others are added to `why`.
    fn feasible(
        &self,
        cycle: Cycle<'_>,
        class: &mut Class,
        checks: &[(usize, Check<'_>, bool)],
        only: Option<&BTreeSet<String>>,
        why: &mut Why,
    ) -> Vec<Slot> {
        let split = checks.partition_point(|(i, ..)| self.plugins[*i].scope() == Scope::Node);
        let (local, wide) = checks.split_at(split);
        let rates = self.local_rates(cycle);
        class.fit_to(cycle.snapshot.slots(), rates.len());
        let mut feasible = Vec::with_capacity(cycle.snapshot.len());
        let mut absent = 0;
        for (slot, node) in cycle.snapshot.nodes() {
            if only.is_some_and(|names| !names.contains(&*node.fact.name)) {
                absent += 1;
                continue;
            }
            let cell = &mut class.cells[slot.index()];
            if cell.generation != node.generation {
                cell.generation = node.generation;
                cell.verdict =
                    local.iter().find_map(|(i, check, _)| check(slot, node).map(|r| Box::new((*i, r))));
                if cell.verdict.is_none() {
                    for (n, (_, score)) in rates.iter().enumerate() {
                        class.raw[slot.index() * rates.len() + n] = (score.rate)(slot, node);
                    }
                }
            }
            if let Some(verdict) = &cell.verdict {
                why.reject(verdict.0, &verdict.1, node, &cycle.pod.demand);
                continue;
            }
            match wide.iter().find_map(|(i, check, _)| check(slot, node).map(|r| (*i, r))) {
                Some((i, rejection)) => why.reject(i, &rejection, node, &cycle.pod.demand),
                None => feasible.push(slot),
            }
        }
        self.absent(absent, checks, why);
        feasible
    }

    fn absent(&self, nodes: usize, checks: &[(usize, Check<'_>, bool)], why: &mut Why) {
        if nodes == 0 {
            return;
        }
        let names: Vec<&str> =
            checks.iter().filter(|(.., narrows)| *narrows).map(|(i, ..)| self.plugins[*i].name()).collect();
        let reason = format!("node(s) didn't satisfy plugin(s) [{}]", names.join(" "));
        *why.reasons.entry(Reason::Made(reason.into())).or_default() += nodes;
        *why.preemption.entry(NOT_HELPFUL).or_default() += nodes;
        why.rules.extend(checks.iter().filter(|(.., narrows)| *narrows).map(|(i, ..)| *i));
    }

    fn local_rates<'a>(&'a self, cycle: Cycle<'a>) -> Vec<(usize, Score<'a>)> {
        let local = self.plugins.iter().enumerate().filter(|(_, p)| p.scope() == Scope::Node);
        local.filter_map(|(i, p)| Some((i, p.score(cycle, &[])?))).collect()
    }

    /// The best of the feasible nodes: highest score, then fewest pods, then name.
    fn pick(&self, cycle: Cycle<'_>, class: &Class, feasible: &[Slot]) -> Placement {
        let snapshot = cycle.snapshot;
        let local = self.local_rates(cycle);
        let mut parts: Vec<(usize, Vec<i64>)> = Vec::new();
        for (n, (i, score)) in local.iter().enumerate() {
            let mut values: Vec<i64> =
                feasible.iter().map(|s| class.raw[s.index() * local.len() + n]).collect();
            (score.normalize)(&mut values);
            parts.push((*i, values));
        }
        for (i, plugin) in self.plugins.iter().enumerate().filter(|(_, p)| p.scope() == Scope::Cluster) {
            let Some(score) = plugin.score(cycle, feasible) else { continue };
            let mut values: Vec<i64> = feasible.iter().map(|s| (score.rate)(*s, snapshot.node(*s))).collect();
            (score.normalize)(&mut values);
            parts.push((i, values));
        }
        let mut totals = vec![0; feasible.len()];
        for (i, values) in &parts {
            let weight = self.plugins[*i].weight();
            totals.iter_mut().zip(values).for_each(|(total, value)| *total += weight * value);
        }
        let top = totals.iter().copied().max().unwrap_or(0);
        let rank = |at: usize| {
            let node = snapshot.node(feasible[at]);
            (node.pods.len(), &node.fact.name)
        };
        let ties = (0..feasible.len()).filter(|at| totals[*at] == top);
        let at = ties.min_by_key(|at| rank(*at)).expect("the greatest of some totals is one of them");
        let mut scores: Vec<(usize, i64)> =
            parts.iter().map(|(i, v)| (*i, v[at] * self.plugins[*i].weight())).collect();
        scores.sort_unstable();
        Placement {
            node: snapshot.node(feasible[at]).fact.name.clone(),
            score: top,
            scores: scores.into_iter().map(|(i, s)| (self.plugins[i].name(), s)).collect(),
            feasible: feasible.len(),
            nodes: snapshot.len(),
        }
    }

    fn refused_upfront(&self, cycle: Cycle<'_>, plugin: usize, rejection: Rejection) -> Refusal {
        let mut why = Why::default();
        why.rules.insert(plugin);
        why.preemption.insert(NOT_HELPFUL, cycle.snapshot.len());
        self.refusal(cycle.snapshot, cycle.pod, why, rejection.reasons.into_iter().next())
    }

    fn refusal(&self, snapshot: &Snapshot, pod: &PodFact, why: Why, upfront: Option<Reason>) -> Refusal {
        let mut wake = Hints::NODE_ADDED;
        for i in &why.rules {
            wake |= self.plugins[*i].wake();
        }
        Refusal {
            nodes: snapshot.len(),
            upfront,
            reasons: why.reasons,
            preemption: why.preemption,
            never_preempts: !pod.demand.preempts,
            rules: why.rules.iter().map(|i| self.plugins[*i].name()).collect(),
            wake,
        }
    }

    /// What is remembered of a demand. A demand that no other pod shares is not worth remembering.
    fn take_class(&mut self, demand: &Arc<Demand>) -> Class {
        let kept = self.classes.remove(&address(demand));
        kept.unwrap_or_else(|| Class {
            _demand: demand.clone(),
            cells: Vec::new(),
            raw: Vec::new(),
            used: 0,
            refused: None,
        })
    }

    fn put_class(&mut self, demand: &Arc<Demand>, mut class: Class) {
        // One owner is the pod, one the interner, one the class.
        if Arc::strong_count(demand) <= 3 {
            return;
        }
        class.used = self.looks;
        self.classes.insert(address(demand), class);
        if self.classes.len() > CLASSES_MAX {
            let oldest = self.classes.iter().min_by_key(|(_, c)| c.used).map(|(k, _)| *k);
            oldest.and_then(|k| self.classes.remove(&k));
        }
    }
}

fn address(demand: &Arc<Demand>) -> usize {
    Arc::as_ptr(demand) as usize
}

const NOT_HELPFUL: Reason = Reason::Fixed("Preemption is not helpful for scheduling");
const NO_VICTIMS: Reason = Reason::Fixed("No preemption victims found for incoming pod");
/// Upstream would try to preempt here; this scheduler does not yet, and says so.
const NOT_TRIED: Reason =
    Reason::Fixed("node(s) with lower-priority pods, which this scheduler does not preempt");

impl Why {
    fn reject(&mut self, plugin: usize, rejection: &Rejection, node: &NodeInfo, demand: &Demand) {
        self.rules.insert(plugin);
        for reason in &rejection.reasons {
            count(&mut self.reasons, reason);
        }
        let preemption = match rejection.resolvable {
            Resolvable::No => NOT_HELPFUL,
            Resolvable::ByRemovingPods if node.has_lower_priority(demand.priority) => NOT_TRIED,
            Resolvable::ByRemovingPods => NO_VICTIMS,
        };
        count(&mut self.preemption, &preemption);
    }
}

fn count(counts: &mut BTreeMap<Reason, usize>, reason: &Reason) {
    match counts.get_mut(reason) {
        Some(n) => *n += 1,
        None => {
            counts.insert(reason.clone(), 1);
        }
    }
}

impl Class {
    fn fit_to(&mut self, slots: usize, rates: usize) {
        if self.cells.len() < slots {
            self.cells.resize(slots, Cell::default());
        }
        self.raw.resize(self.cells.len() * rates, 0);
    }
}
