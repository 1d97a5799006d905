//! One decision: the scheduler's core, with devices as one more filter and one more score.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api_meta::Requirement;
use sched_core::{Decision, Hints, NodeFact, NodeTerm, PodFact, Snapshot};
use sched_device::{BestFit, DeviceSet, Node, Policy, Rating, Shape};
use sched_plugins::Rules;

use crate::policy::AnyPolicy;

/// Core and devices together; the only owner of both.
///
/// The core judges everything but devices, and chooses among the nodes that the policy over devices likes equally well; so a
/// cluster without devices is placed by the core alone.
pub(super) struct Placer {
    core: Core,
    pub(super) snapshot: Snapshot,
    policy: Option<AnyPolicy>,
    pub(super) nodes: BTreeMap<Arc<str>, Node>,
    taken: HashMap<Arc<str>, (Arc<str>, Shape, DeviceSet)>,
}

/// The scheduler's rules, asked about one pod; all that is used of an engine.
type Core = Box<dyn FnMut(&mut Snapshot, &PodFact) -> Decision>;

/// Where a pod goes, or why it does not.
pub(super) enum Verdict {
    /// To this node.
    Place(Arc<str>),
    /// Nowhere for now: the sentence, and what may change it.
    Refused(String, Hints),
}

impl Placer {
    pub(super) fn new(policy: Option<AnyPolicy>) -> Placer {
        let mut engine = Rules::upstream().engine();
        Placer {
            core: Box::new(move |snapshot, pod| engine.decide(snapshot, pod)),
            snapshot: Snapshot::new(),
            policy,
            nodes: BTreeMap::new(),
            taken: HashMap::new(),
        }
    }

    /// Takes in a node. Its devices are those it had when it came first.
    pub(super) fn set_node(&mut self, fact: NodeFact, devices: Node) -> Hints {
        self.nodes.entry(fact.name.clone()).or_insert(devices);
        self.snapshot.set_node(fact)
    }

    pub(super) fn drop_node(&mut self, name: &str) {
        self.nodes.remove(name);
        self.snapshot.drop_node(name);
    }

    /// Decides where a pod goes. Changes nothing.
    pub(super) fn decide(&mut self, pod: &PodFact, shape: &Shape) -> Verdict {
        let free = match (self.core)(&mut self.snapshot, pod) {
            Decision::Bind(placement) => placement.node,
            Decision::Refused(refusal) => return Verdict::Refused(refusal.message(), refusal.wake),
        };
        let tiers = self.tiers(shape);
        if tiers.values().any(|names| names.len() == self.nodes.len()) {
            return Verdict::Place(free);
        }
        for names in tiers.into_values().rev() {
            if let Decision::Bind(placement) = (self.core)(&mut self.snapshot, &among(pod, names)) {
                return Verdict::Place(placement.node);
            }
        }
        let reason =
            format!("0/{} nodes are available: no node with room has the devices.", self.nodes.len());
        Verdict::Refused(reason, Hints::NODE_ADDED | Hints::NODE_ROOM | Hints::POD_REMOVED)
    }

    /// Nodes whose devices do, by the score the policy gives them.
    fn tiers(&self, shape: &Shape) -> BTreeMap<i64, Vec<String>> {
        let mut tiers = BTreeMap::<i64, Vec<String>>::new();
        for (name, node) in self.nodes.iter().filter(|(_, n)| fits(n, shape)) {
            let score = self.policy.as_ref().map_or(0, |p| p.rate(node, shape).score);
            tiers.entry(score).or_default().push(name.to_string());
        }
        tiers
    }

    /// Puts a pod on a node; its devices are those the policy takes there. A pod that stays where it was may find none free.
    pub(super) fn put(&mut self, pod: &Arc<PodFact>, node: &Arc<str>, shape: &Shape) -> Hints {
        if let Some(devices) = self.nodes.get_mut(node).filter(|n| fits(n, shape)) {
            let policy: &dyn Policy = self.policy.as_deref().unwrap_or(&BestFit);
            let Rating { devices: on, .. } = policy.rate(devices, shape);
            devices.put(shape, on);
            self.taken.insert(pod.uid.clone(), (node.clone(), *shape, on));
        }
        let mut placed = PodFact::clone(pod);
        placed.node = Some(node.clone());
        self.snapshot.place(Arc::new(placed))
    }

    /// Takes a pod away.
    pub(super) fn take(&mut self, uid: &str) -> Hints {
        if let Some((node, shape, on)) = self.taken.remove(uid)
            && let Some(devices) = self.nodes.get_mut(&node)
        {
            devices.take(&shape, on);
        }
        self.snapshot.remove(uid)
    }
}

/// CPU is the core's to judge: it counts more than the sum that is kept here.
fn fits(node: &Node, shape: &Shape) -> bool {
    node.fits(&Shape { cpu_milli: 0, ..*shape })
}

/// The same pod, for these nodes alone.
fn among(pod: &PodFact, names: Vec<String>) -> PodFact {
    let mut demand = (*pod.demand).clone();
    let only = Requirement::In("metadata.name".to_owned(), names);
    match &mut demand.node_terms {
        Some(terms) => terms.iter_mut().for_each(|t| t.names.push(only.clone())),
        none => *none = Some(vec![NodeTerm { names: vec![only], ..NodeTerm::default() }]),
    }
    PodFact { demand: Arc::new(demand), ..pod.clone() }
}
