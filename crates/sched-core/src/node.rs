//! Nodes: what they say of themselves, and what is on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::Node;

use crate::amounts::quantity;
use crate::{Amounts, HostPort, PodFact};

/// What the scheduler keeps of a node object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFact {
    /// Name.
    pub name: Arc<str>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints in their order on the node.
    pub taints: Vec<TaintFact>,
    /// Cordoned.
    pub unschedulable: bool,
    /// What pods may use.
    pub allocatable: Amounts,
    /// How many pods it takes.
    pub pods_max: i64,
}

/// A taint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaintFact {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
    /// Effect.
    pub effect: TaintEffect,
    /// The sentence said of a pod it keeps away, made once.
    pub reason: Arc<str>,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaintEffect {
    /// Keeps new pods away.
    NoSchedule,
    /// Makes new pods prefer other nodes.
    PreferNoSchedule,
    /// Keeps new pods away and evicts those that are there.
    NoExecute,
}

impl TaintEffect {
    /// Reads the word on the wire.
    pub fn parse(text: &str) -> Option<TaintEffect> {
        Some(match text {
            "NoSchedule" => TaintEffect::NoSchedule,
            "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
            "NoExecute" => TaintEffect::NoExecute,
            _ => return None,
        })
    }

    /// Whether it keeps new pods away.
    pub fn repels(self) -> bool {
        self != TaintEffect::PreferNoSchedule
    }
}

impl TaintFact {
    /// A taint with its sentence, in the words of kube-scheduler up to 1.34: later ones leave key and value out.
    pub fn new(key: &str, value: &str, effect: TaintEffect) -> TaintFact {
        let reason = format!("node(s) had untolerated taint {{{key}: {value}}}").into();
        TaintFact { key: key.to_owned(), value: value.to_owned(), effect, reason }
    }
}

impl NodeFact {
    /// The projection of a node.
    pub fn of(node: &Node) -> NodeFact {
        let taints = node.spec.taints.iter();
        NodeFact {
            name: node.metadata.name.as_str().into(),
            labels: node.metadata.labels.clone(),
            taints: taints
                .filter_map(|t| Some(TaintFact::new(&t.key, &t.value, TaintEffect::parse(&t.effect)?)))
                .collect(),
            unschedulable: node.spec.unschedulable,
            allocatable: Amounts::read(&node.status.allocatable),
            pods_max: node.status.allocatable.get("pods").and_then(quantity).map_or(0, |q| q.units()),
        }
    }
}

/// A node with its pods.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// What it says of itself; of a node that is not (yet, or any more) known only the name.
    pub fact: NodeFact,
    /// Whether its object is there. Pods may be bound to a node before it is seen or after it went.
    pub known: bool,
    /// Its pods by identity.
    pub pods: BTreeMap<Arc<str>, Arc<PodFact>>,
    /// Sum of their requests.
    pub requested: Amounts,
    /// Sum of their CPU as scored.
    pub scored_cpu_milli: i64,
    /// Sum of their memory as scored.
    pub scored_memory: i64,
    /// Ports in use, with how many pods use them.
    pub ports: BTreeMap<HostPort, u32>,
    /// Changes with everything above; never the same for two states of any node.
    pub generation: u64,
}

impl NodeInfo {
    pub(crate) fn put(&mut self, pod: Arc<PodFact>) {
        let demand = &pod.demand;
        self.requested.add(&demand.requests);
        self.scored_cpu_milli += demand.scored_cpu_milli;
        self.scored_memory += demand.scored_memory;
        for port in &demand.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
        self.pods.insert(pod.uid.clone(), pod);
    }

    pub(crate) fn take(&mut self, uid: &str) -> Option<Arc<PodFact>> {
        let pod = self.pods.remove(uid)?;
        let demand = &pod.demand;
        self.requested.sub(&demand.requests);
        self.scored_cpu_milli -= demand.scored_cpu_milli;
        self.scored_memory -= demand.scored_memory;
        for port in &demand.ports {
            if let Some(users) = self.ports.get_mut(port) {
                *users -= 1;
                if *users == 0 {
                    self.ports.remove(port);
                }
            }
        }
        Some(pod)
    }

    /// Whether it has a pod of lower priority than `priority`.
    pub fn has_lower_priority(&self, priority: i32) -> bool {
        self.pods.values().any(|p| p.demand.priority < priority)
    }
}
