//! Why a pod is where it is, why not elsewhere, and what would have to change: the scheduler's rules asked about a cluster as
//! it stands.
//!
//! ```text
//! nodes, pods, namespaces ──▶ Cluster ──(Engine: where to, or the refusal's words)──┐
//!                                └─────(Plain: every rule about every node)── needs ─┴─▶ Why
//! ```
//!
//! What is absent: the state in which a past decision was made (a decision log has it), and rules that live in objects not
//! given here.

mod needs;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::{Node, Pod};
use sched_core::{Decision, Interner, NodeFact, PodFact, Snapshot};
use sched_plugins::{Rules, Survey};
use serde::Serialize;

pub use needs::Change;

/// Changes named in an answer.
const CHANGES_MAX: usize = 3;

/// A cluster as the rules see it.
pub struct Cluster {
    rules: Rules,
    snapshot: Snapshot,
    interner: Interner,
}

/// What the rules say about one pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// Names of its scheduling gates: while there are any nothing is decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// The sentence of the scheduler's condition and event; absent when some node will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where it is, or would go now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub here: Option<Here>,
    /// Nodes that will not do, by what is against them; every rule counts.
    pub not_there: Vec<Group>,
    /// The smallest changes that would open nodes; empty when some node will do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// A node that does, with its scores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Here {
    /// The node.
    pub node: String,
    /// The pod is there already; otherwise it would go there now.
    pub is_there: bool,
    /// Sum of its weighted scores; absent when the rules would not have it there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    /// Weighted score of each rule that has an opinion.
    pub scores: BTreeMap<String, i64>,
    /// How many nodes would do, of all.
    pub feasible: usize,
    /// All.
    pub nodes: usize,
    /// The best of the others, with its score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<(String, i64)>,
}

/// Nodes that one rule refuses for the same reasons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The rule, by its name in kube-scheduler.
    pub rule: String,
    /// What it says.
    pub reasons: Vec<String>,
    /// How many nodes.
    pub nodes: usize,
    /// One of them: the first by name.
    pub example: String,
}

impl Cluster {
    /// An empty cluster judged by these rules.
    pub fn new(rules: Rules) -> Cluster {
        Cluster { rules, snapshot: Snapshot::new(), interner: Interner::default() }
    }

    /// An empty cluster judged as kube-scheduler does by default.
    pub fn of_upstream() -> Cluster {
        Cluster::new(Rules::upstream())
    }

    /// Takes in a node.
    pub fn node(&mut self, node: &Node) {
        self.snapshot.set_node(NodeFact::of(node));
    }

    /// Takes in a pod; counted while it is bound and has not ended.
    pub fn pod(&mut self, pod: &Pod) {
        if !pod.is_finished() {
            let fact = self.interner.project(pod);
            self.snapshot.place(Arc::new(fact));
        }
    }

    /// Takes in a namespace's labels.
    pub fn namespace(&mut self, name: &str, labels: &BTreeMap<String, String>) {
        self.snapshot.set_namespace(name, labels);
    }

    /// What the rules say about a pod, placed or not. A placed one is judged as if it were to be placed anew now.
    pub fn why(&mut self, pod: &Pod) -> Why {
        let mut fact = self.interner.project(pod);
        // Claims and volumes are not given: what the pod wants of storage is as if it were there.
        if let Some(rare) = &mut fact.rare {
            rare.claims.clear();
        }
        let there = fact.node.take();
        let lifted = self.snapshot.lift(&fact.uid);
        let decision = self.rules.engine().decide(&mut self.snapshot, &fact);
        let survey = self.rules.plain().survey(&self.snapshot, &fact);
        let mut why = Why {
            gates: fact.gates().to_vec(),
            here: self.here(&survey, &decision, there.as_deref()),
            not_there: self.groups(&survey),
            ..Why::default()
        };
        if let Decision::Refused(refusal) = &decision {
            why.message = Some(refusal.message());
            why.changes = self.changes(&fact, &survey);
        }
        if let Some(lifted) = lifted {
            self.snapshot.restore(lifted);
        }
        why
    }

    fn name(&self, slot: sched_core::Slot) -> &str {
        &self.snapshot.node(slot).fact.name
    }

    fn here(&self, survey: &Survey, decision: &Decision, there: Option<&str>) -> Option<Here> {
        let chosen = match decision {
            Decision::Bind(placement) => Some(&*placement.node),
            Decision::Refused(_) => None,
        };
        let node = there.or(chosen)?;
        let feasible = || survey.nodes.iter().filter(|n| n.does());
        let own = feasible().find(|n| self.name(n.slot) == node);
        let others = feasible().filter(|n| self.name(n.slot) != node);
        let next =
            others.min_by_key(|n| (-n.score(), self.snapshot.node(n.slot).pods.len(), self.name(n.slot)));
        let scores = own.iter().flat_map(|n| n.scores.iter()).map(|(rule, s)| ((*rule).to_owned(), *s));
        Some(Here {
            node: node.to_owned(),
            is_there: there.is_some(),
            score: own.map(sched_plugins::Surveyed::score),
            scores: scores.collect(),
            feasible: feasible().count(),
            nodes: survey.nodes.len(),
            next: next.map(|n| (self.name(n.slot).to_owned(), n.score())),
        })
    }

    /// Every node is in as many groups as there are rules against it.
    fn groups(&self, survey: &Survey) -> Vec<Group> {
        let mut order: Vec<&'static str> = Vec::new();
        let mut groups: BTreeMap<(usize, Vec<String>), (usize, &str)> = BTreeMap::new();
        for node in &survey.nodes {
            for (rule, rejection) in &node.against {
                let at = order.iter().position(|r| r == rule).unwrap_or_else(|| {
                    order.push(rule);
                    order.len() - 1
                });
                let reasons = rejection.reasons.iter().map(|r| r.as_str().to_owned()).collect();
                let (count, example) = groups.entry((at, reasons)).or_insert((0, self.name(node.slot)));
                *count += 1;
                *example = (*example).min(self.name(node.slot));
            }
        }
        let all = groups.into_iter().map(|((at, reasons), (nodes, example))| Group {
            rule: order[at].to_owned(),
            reasons,
            nodes,
            example: example.to_owned(),
        });
        let mut all: Vec<Group> = all.collect();
        all.sort_by(|a, b| b.nodes.cmp(&a.nodes).then_with(|| a.cmp(b)));
        all
    }

    fn changes(&self, pod: &PodFact, survey: &Survey) -> Vec<Change> {
        if survey.upfront.is_some() {
            return Vec::new();
        }
        let plain = self.rules.plain();
        let asked = needs::Asked { snapshot: &self.snapshot, plain: &plain, pod };
        let mut changes = asked.changes(survey);
        changes.truncate(CHANGES_MAX);
        changes
    }
}

#[cfg(test)]
mod tests;
