//! One decision: the scheduler's core, with devices as one more rule beside its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sched_core::{
    Decision, Hints, NodeFact, NodeInfo, Nominations, PodFact, Reason, Rejection, Resolvable, Slot, Snapshot,
};
use sched_device::{BestFit, DeviceSet, Node, Policy, Rating, Shape};
use sched_plugins::{Engine, Extra, Preemption, Profile, Rules};

use crate::policy::AnyPolicy;

/// Core and devices together; the only owner of both.
///
/// The core judges everything but devices, and chooses among the nodes that the policy over devices likes equally well; so a
/// cluster without devices is placed by the core alone.
pub(super) struct Placer {
    /// By the name of the profile; pods that name none of them are the first one's.
    engines: Vec<(String, Engine)>,
    pub(super) snapshot: Snapshot,
    policy: Option<AnyPolicy>,
    pub(super) nodes: BTreeMap<Arc<str>, Node>,
    taken: HashMap<Arc<str>, (Arc<str>, Shape, DeviceSet)>,
}

/// Where a pod goes, or why it does not.
pub(super) enum Verdict {
    /// To this node.
    Place(Arc<str>),
    /// Nowhere for now: the sentence, and what may change it.
    Refused(String, Hints),
}

impl Placer {
    /// With a policy over devices, and the profiles of a scheduler; upstream's own when there are none.
    pub(super) fn new(policy: Option<AnyPolicy>, profiles: &[Profile]) -> Placer {
        let mut engines: Vec<(String, Engine)> =
            profiles.iter().map(|p| (p.name.clone(), p.rules.engine())).collect();
        if engines.is_empty() {
            engines.push((String::new(), Rules::upstream().engine()));
        }
        Placer { engines, snapshot: Snapshot::new(), policy, nodes: BTreeMap::new(), taken: HashMap::new() }
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
        let rule = DeviceRule { nodes: &self.nodes, policy: self.policy.as_deref(), shape: *shape };
        let engine = engine_of(&mut self.engines, pod);
        match engine.decide_with(&mut self.snapshot, pod, &[&rule]) {
            Decision::Bind(placement) => Verdict::Place(placement.node),
            Decision::Refused(refusal) => Verdict::Refused(refusal.message(), refusal.wake),
        }
    }

    /// Which pods of lower priority would have to go so that a refused pod fits; nothing for pods that want devices: a victim's may
    /// not be the right ones.
    pub(super) fn preempt(&mut self, pod: &PodFact, shape: &Shape) -> Option<Preemption> {
        if shape.devices > 0 {
            return None;
        }
        engine_of(&mut self.engines, pod)
            .preempt(&mut self.snapshot, pod, (&[], &Nominations::none()), &[])
            .ok()
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

/// The engine of the profile that the pod names, or the first.
fn engine_of<'a>(engines: &'a mut [(String, Engine)], pod: &PodFact) -> &'a mut Engine {
    let at = engines.iter().position(|(name, _)| **name == *pod.scheduler).unwrap_or(0);
    &mut engines[at].1
}

/// Devices as one more rule: nodes whose devices do, ranked by what the policy makes of them.
struct DeviceRule<'a> {
    nodes: &'a BTreeMap<Arc<str>, Node>,
    policy: Option<&'a dyn Policy>,
    shape: Shape,
}

/// More than all scores of the core together: the policy's opinion comes first.
const RANK: i64 = 1_000_000;

impl Extra for DeviceRule<'_> {
    fn name(&self) -> &'static str {
        "Devices"
    }

    fn concerns(&self, _: &PodFact) -> bool {
        self.policy.is_some() || self.shape.devices > 0
    }

    fn check(&self, _: &PodFact, _: Slot, node: &NodeInfo) -> Option<Rejection> {
        let does = self.nodes.get(&node.fact.name).is_some_and(|n| fits(n, &self.shape));
        let reasons = vec![Reason::Fixed("node(s) with room didn't have the devices")];
        (!does).then_some(Rejection { reasons, resolvable: Resolvable::No })
    }

    fn rates(&self) -> bool {
        self.policy.is_some()
    }

    fn rate(&self, _: &PodFact, _: Slot, node: &NodeInfo) -> i64 {
        let rated = self.policy.zip(self.nodes.get(&node.fact.name));
        rated.map_or(0, |(policy, devices)| policy.rate(devices, &self.shape).score)
    }

    /// Policies count in units of their own; only their order matters here.
    fn normalize(&self, raws: &mut [i64]) {
        let mut order = raws.to_vec();
        order.sort_unstable();
        order.dedup();
        for raw in raws {
            let rank = order.binary_search(raw).expect("every value is in the order made of them");
            *raw = i64::try_from(rank).unwrap_or(i64::MAX).saturating_mul(RANK);
        }
    }
}

/// CPU is the core's to judge: it counts more than the sum that is kept here.
fn fits(node: &Node, shape: &Shape) -> bool {
    node.fits(&Shape { cpu_milli: 0, ..*shape })
}
