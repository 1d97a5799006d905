//! What a pod asks of a node: the parsed, shareable part of its specification. Pods of one template share one `Demand`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_meta::{Labels, Requirement, Selector};
use serde::{Deserialize, Serialize};

use crate::{Amounts, NodeFact, TaintEffect, TaintFact};

/// Everything the rules read of a pod apart from its name, labels and owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Demand {
    /// What it requests, init containers, sidecars, overhead and resizes included.
    pub requests: Amounts,
    /// CPU and memory for scoring: containers that request none count as 100m and 200 MiB, as kube-scheduler does.
    pub scored_cpu_milli: i64,
    /// See `scored_cpu_milli`.
    pub scored_memory: i64,
    /// Labels the node must have.
    pub node_selector: Selector,
    /// Alternatives of which the node must satisfy one; absent when anything will do.
    pub node_terms: Option<Vec<NodeTerm>>,
    /// Wishes about nodes.
    pub node_wishes: Vec<(i64, NodeTerm)>,
    /// Taints it accepts.
    pub tolerances: Vec<Tolerance>,
    /// Ports it takes on its node.
    pub ports: Vec<HostPort>,
    /// How it spreads; empty means the scheduler's defaults apply.
    pub spread: Vec<Spread>,
    /// Pods it must be near.
    pub near: Vec<Term>,
    /// Pods it must not be near.
    pub apart: Vec<Term>,
    /// Pods it would like to be near (weight above zero) or far from (below zero).
    pub inclined: Vec<PreferredTerm>,
    /// Priority.
    pub priority: i32,
    /// Whether it may preempt others.
    pub preempts: bool,
    /// Images its containers run and its volumes are, each as often as it is named.
    #[serde(default)]
    pub images: Box<[Arc<str>]>,
    /// How many containers it has, those that come first included.
    #[serde(default)]
    pub containers: usize,
}

/// A term of node affinity: all requirements must hold; an empty term matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeTerm {
    /// On labels.
    pub labels: Vec<Requirement>,
    /// On `metadata.name`.
    pub names: Vec<Requirement>,
    /// Could not be read, so it matches nothing.
    pub broken: bool,
}

struct NameField<'a>(&'a str);

impl Labels for NameField<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        (key == "metadata.name").then_some(self.0)
    }
}

impl NodeTerm {
    /// Whether the node satisfies it.
    pub fn matches(&self, node: &NodeFact) -> bool {
        if self.broken || (self.labels.is_empty() && self.names.is_empty()) {
            return false;
        }
        self.labels.iter().all(|r| r.matches(&node.labels))
            && self.names.iter().all(|r| r.matches(&NameField(&node.name)))
    }
}

/// A toleration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tolerance {
    /// Key; all when empty.
    pub key: String,
    /// Value that must be equal; any when absent.
    pub value: Option<String>,
    /// Effect; all when absent.
    pub effect: Option<TaintEffect>,
}

impl Tolerance {
    /// Whether it accepts the taint.
    pub fn accepts(&self, taint: &TaintFact) -> bool {
        self.effect.is_none_or(|e| e == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && self.value.as_ref().is_none_or(|v| *v == taint.value)
    }
}

/// A port taken on the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// Number.
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Address; `0.0.0.0` takes all of them.
    pub ip: String,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub fn clashes(&self, other: &HostPort) -> bool {
        const ALL: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == ALL || other.ip == ALL)
    }
}

/// Pods chosen by namespace and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Clause {
    /// In which namespaces.
    pub namespaces: Namespaces,
    /// With which labels; nothing matches when absent.
    pub selector: Option<Selector>,
}

impl Clause {
    /// Whether it chooses a pod of namespace `namespace` with these labels. `known` are the labels of namespaces.
    pub fn matches(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        known: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> bool {
        self.namespaces.contains(namespace, known)
            && self.selector.as_ref().is_some_and(|s| s.matches(labels))
    }
}

/// A set of namespaces: named ones and those with certain labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Namespaces {
    /// By name.
    pub names: BTreeSet<String>,
    /// By label; an empty selector means all.
    pub selector: Option<Selector>,
}

impl Namespaces {
    /// One namespace.
    pub fn one(name: &str) -> Namespaces {
        Namespaces { names: BTreeSet::from([name.to_owned()]), selector: None }
    }

    /// Whether `name` is in the set. A namespace not yet known has no labels.
    pub fn contains(&self, name: &str, known: &BTreeMap<String, BTreeMap<String, String>>) -> bool {
        if self.names.contains(name) {
            return true;
        }
        let Some(selector) = &self.selector else { return false };
        selector.is_empty() || known.get(name).is_some_and(|labels| selector.matches(labels))
    }
}

/// A term of pod affinity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term {
    /// Which pods.
    pub pods: Clause,
    /// Node label that names the domain.
    pub topology: Arc<str>,
}

/// A wish about pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PreferredTerm {
    /// 1 to 100 for attraction, -1 to -100 for repulsion.
    pub weight: i64,
    /// Which pods, in which domain.
    pub term: Term,
}

/// What happens when a spread constraint cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unsatisfiable {
    /// The pod waits.
    DoNotSchedule,
    /// The constraint only scores.
    ScheduleAnyway,
}

/// Whether nodes that the pod cannot use anyway count as domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Policy {
    /// Only usable nodes count.
    Honor,
    /// All nodes count.
    Ignore,
}

/// A topology spread constraint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spread {
    /// Greatest difference between a domain and the emptiest one.
    pub max_skew: i64,
    /// Node label that names the domain.
    pub topology: Arc<str>,
    /// What to do when it cannot be kept.
    pub unsatisfiable: Unsatisfiable,
    /// Which pods count (in the pod's own namespace).
    pub pods: Clause,
    /// With fewer domains the emptiest counts as zero.
    pub min_domains: usize,
    /// Node affinity and selector.
    pub affinity_policy: Policy,
    /// Taints.
    pub taints_policy: Policy,
}

impl Demand {
    /// Whether node selector and required node affinity hold.
    pub fn fits_labels(&self, node: &NodeFact) -> bool {
        self.node_selector.matches(&node.labels)
            && self.node_terms.as_ref().is_none_or(|terms| terms.iter().any(|t| t.matches(node)))
    }

    /// The first taint of the node that keeps the pod away.
    pub fn repelled_by<'a>(&self, node: &'a NodeFact) -> Option<&'a TaintFact> {
        node.taints.iter().find(|t| t.effect.repels() && !self.accepts(t))
    }

    /// Whether some toleration accepts the taint.
    pub fn accepts(&self, taint: &TaintFact) -> bool {
        self.tolerances.iter().any(|t| t.accepts(taint))
    }

    /// Its terms about other pods, wishes included.
    pub fn terms(&self) -> impl Iterator<Item = &Term> {
        self.near.iter().chain(&self.apart).chain(self.inclined.iter().map(|w| &w.term))
    }

    /// Whether pods placed with it matter to pods that come later, beyond the room they take.
    pub fn carries(&self) -> bool {
        !(self.near.is_empty() && self.apart.is_empty() && self.inclined.is_empty())
    }
}
