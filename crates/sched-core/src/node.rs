//! Nodes: what they say of themselves, and what is on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::Node;
use serde::{Deserialize, Serialize};

use crate::amounts::quantity;
use crate::images::{ImageFact, images_of};
use crate::tally::{KinId, LoadId};
use crate::{Amounts, HostPort, PodFact};

/// What the scheduler keeps of a node object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Images it holds, each by all its names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageFact>,
}

/// A taint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
            images: images_of(&node.status.images),
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
    /// Its pods, in no order.
    pub pods: Vec<Placed>,
    /// Sum of their requests.
    pub requested: Amounts,
    /// Sum of their CPU as scored.
    pub scored_cpu_milli: i64,
    /// Sum of their memory as scored.
    pub scored_memory: i64,
    /// Ports in use, with how many pods use them.
    pub ports: BTreeMap<HostPort, u32>,
    /// Priorities of its pods, with how many have each.
    pub priorities: BTreeMap<i32, u32>,
    /// Changes with everything above; never the same for two states of any node.
    pub generation: u64,
}

/// A pod on a node.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The pod.
    pub fact: Arc<PodFact>,
    pub(crate) kin: KinId,
    pub(crate) load: Option<LoadId>,
}

/// What fitting and rating read of a node, side by side in one cache line: classes follow single nodes that changed, so the
/// figures of one node are read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Thousandths of a CPU that pods may use.
    pub cpu_milli: i64,
    /// Thousandths of a CPU requested by its pods.
    pub cpu_milli_taken: i64,
    /// Bytes that pods may use.
    pub memory: i64,
    /// Bytes requested by its pods.
    pub memory_taken: i64,
    /// CPU of its pods as scored.
    pub cpu_milli_scored: i64,
    /// Memory of its pods as scored.
    pub memory_scored: i64,
    /// How many pods it has.
    pub pods: u32,
    /// How many pods it takes.
    pub pods_max: u32,
}

impl NodeInfo {
    pub(crate) fn put(&mut self, pod: Placed) {
        let demand = &pod.fact.demand;
        self.requested.add(&demand.requests);
        self.scored_cpu_milli += demand.scored_cpu_milli;
        self.scored_memory += demand.scored_memory;
        for port in &demand.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
        *self.priorities.entry(demand.priority).or_default() += 1;
        self.pods.push(pod);
    }

    pub(crate) fn take(&mut self, uid: &str) -> Option<Placed> {
        let at = self.pods.iter().position(|p| *p.fact.uid == *uid)?;
        let pod = self.pods.swap_remove(at);
        let demand = &pod.fact.demand;
        self.requested.sub(&demand.requests);
        self.scored_cpu_milli -= demand.scored_cpu_milli;
        self.scored_memory -= demand.scored_memory;
        for port in &demand.ports {
            lower(&mut self.ports, port);
        }
        lower(&mut self.priorities, &demand.priority);
        Some(pod)
    }

    /// Its pods.
    pub fn facts(&self) -> impl Iterator<Item = &Arc<PodFact>> {
        self.pods.iter().map(|p| &p.fact)
    }

    /// Whether it has a pod of lower priority than `priority`.
    pub fn has_lower_priority(&self, priority: i32) -> bool {
        self.priorities.first_key_value().is_some_and(|(lowest, _)| *lowest < priority)
    }

    pub(crate) fn room(&self) -> Room {
        Room {
            cpu_milli: self.fact.allocatable.cpu_milli,
            cpu_milli_taken: self.requested.cpu_milli,
            memory: self.fact.allocatable.memory,
            memory_taken: self.requested.memory,
            cpu_milli_scored: self.scored_cpu_milli,
            memory_scored: self.scored_memory,
            pods: u32::try_from(self.pods.len()).unwrap_or(u32::MAX),
            pods_max: u32::try_from(self.fact.pods_max.max(0)).unwrap_or(u32::MAX),
        }
    }
}

fn lower<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
