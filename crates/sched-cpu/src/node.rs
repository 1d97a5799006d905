//! The CPUs of one node and who holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_koord::apart::{Exclusions, Exclusive, Identity, Load, Stacking};
use api_koord::cpu::{
    Colocation, ExclusivePolicy, NodeBindPolicy, NodeWords, NumaPolicy, NumaResources, NumaStrategy,
    ResourceStatus,
};
use api_koord::{Qos, Ratio};
use serde_json::json;
use stdx::Time;

use crate::ask::{Ask, Refusal, Wants};
use crate::eligible::{Ignored, View};
use crate::room::Room;
use crate::set::{CpuSet, CpuSetError};
use crate::topology::{Topology, TopologyError};

/// What a node says about its CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRules {
    /// How CPUs are bound here.
    pub bind: NodeBindPolicy,
    /// Which NUMA node is filled first.
    pub strategy: NumaStrategy,
    /// How allocations follow NUMA nodes.
    pub numa: Option<NumaPolicy>,
    /// How online and best effort share cores.
    pub colocation: Colocation,
    /// How many pods may hold one logical CPU.
    pub holders_max: u8,
    /// CPUs that no pod gets: reserved, or of system daemons.
    pub closed: CpuSet,
}

impl Default for NodeRules {
    /// No rules: each CPU to one pod, the emptiest NUMA node first.
    fn default() -> NodeRules {
        NodeRules {
            bind: NodeBindPolicy::None,
            strategy: NumaStrategy::LeastAllocated,
            numa: None,
            colocation: Colocation::AllThreads,
            holders_max: 1,
            closed: CpuSet::EMPTY,
        }
    }
}

/// A pod that holds CPUs, or a share of one NUMA node's pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// Its CPUs; empty for who floats on a pool.
    pub cpus: CpuSet,
    /// Quality of service.
    pub qos: Qos,
    /// Koordinator's exclusion.
    pub exclusive: ExclusivePolicy,
    /// Whole cores of its own.
    pub owned: Exclusive,
    /// Two threads of its application on one core.
    pub stacking: Stacking,
    /// Its CPUs must be of one socket.
    pub one_socket: bool,
    /// What it does with its threads.
    pub load: Option<Load>,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// The NUMA node on whose pool it floats, by the kernel's number, and thousandths of a CPU.
    pub pooled: Option<(i32, i64)>,
    /// Its priority: who is to move when two must part.
    pub priority: i32,
    /// When it was made.
    pub created: Time,
    /// Placed by somebody else (the kubelet's CPU manager): it cannot be moved by us.
    pub is_fixed: bool,
}

impl Holder {
    /// A pod that was given these CPUs for this ask.
    pub fn of(name: &str, ask: &Ask, cpus: CpuSet) -> Holder {
        Holder {
            name: name.into(),
            cpus,
            qos: ask.qos,
            exclusive: ask.exclusive,
            owned: ask.owned,
            stacking: ask.stacking,
            one_socket: ask.sockets == api_koord::apart::Sockets::One,
            load: ask.load,
            identity: ask.identity.clone(),
            pooled: None,
            priority: 0,
            created: Time::default(),
            is_fixed: false,
        }
    }

    /// A pod of the shared pools: no CPUs of its own.
    pub fn floating(name: &str, qos: Qos, pooled: Option<(i32, i64)>) -> Holder {
        Holder {
            name: name.into(),
            cpus: CpuSet::EMPTY,
            qos,
            exclusive: ExclusivePolicy::None,
            owned: Exclusive::None,
            stacking: Stacking::Allow,
            one_socket: false,
            load: None,
            identity: Arc::default(),
            pooled,
            priority: 0,
            created: Time::default(),
            is_fixed: false,
        }
    }
}

/// CPUs that a pod shall get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The logical CPUs.
    pub cpus: CpuSet,
    /// How many on each NUMA node, by the kernel's number.
    pub numa: Vec<(i32, usize)>,
    /// Physical cores of which it gets two threads or more.
    pub stacked: usize,
}

impl Allocation {
    /// The annotation `scheduling.koordinator.sh/resource-status`, written onto the pod before it is bound. NUMA nodes are named
    /// only under a NUMA policy, as upstream does: node agents then constrain memory too.
    pub fn status(&self, ask: &Ask) -> ResourceStatus {
        let numa = |(node, cpus): &(i32, usize)| NumaResources {
            node: *node,
            resources: BTreeMap::from([("cpu".to_owned(), json!(cpus.to_string()))]),
        };
        ResourceStatus {
            cpuset: self.cpus.to_string(),
            numa_node_resources: if ask.numa.is_some() {
                self.numa.iter().map(numa).collect()
            } else {
                Vec::new()
            },
        }
    }
}

/// Words of a node that describe no machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Its CPUs.
    #[error("cpu topology: {0}")]
    Topology(#[from] TopologyError),
    /// A list of CPUs.
    #[error("{0}")]
    List(#[from] CpuSetError),
}

/// The CPUs of one node, its rules and who holds what. Equal when these are equal, however they came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuNode {
    topology: Arc<Topology>,
    rules: NodeRules,
    holders: BTreeMap<Arc<str>, Holder>,
    tally: Tally,
}

/// What follows from the holders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Holders of each CPU, by number; saturates.
    pub(crate) refs: Vec<u8>,
    /// CPUs of LSE pods: nobody else's, however many holders are allowed.
    pub(crate) lse: CpuSet,
    /// All threads of cores that somebody owns.
    pub(crate) owned: CpuSet,
    /// What a pod without rules could get.
    pub(crate) free: CpuSet,
    room: Room,
}

impl CpuNode {
    /// A node that nobody uses yet.
    pub fn new(topology: Arc<Topology>, rules: NodeRules) -> CpuNode {
        let mut node = CpuNode { topology, rules, holders: BTreeMap::new(), tally: Tally::default() };
        node.recount();
        node
    }

    /// From what node and NodeResourceTopology say; pods of the kubelet's CPU manager hold their CPUs at once.
    pub fn read(words: &NodeWords) -> Result<CpuNode, NodeError> {
        let topology = Topology::new(&words.details)?;
        let mut closed = CpuSet::EMPTY;
        for list in &words.reserved {
            closed = closed.or(list.parse()?);
        }
        if words.system.is_exclusive() {
            closed = closed.or(words.system.cpuset.parse()?);
        }
        let rules = NodeRules {
            bind: words.bind,
            strategy: words.strategy,
            numa: words.numa,
            colocation: words.colocation,
            holders_max: words.holders_max,
            closed,
        };
        let mut node = CpuNode::new(Arc::new(topology), rules);
        for pod in &words.held {
            let name = format!("{}/{}", pod.namespace, pod.name);
            let mut holder = Holder::floating(&name, Qos::Lsr, None);
            holder.cpus = pod.cpuset.parse()?;
            holder.is_fixed = true;
            node.hold(pod.uid.as_str(), holder);
        }
        Ok(node)
    }

    /// Its shape.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Its rules.
    pub fn rules(&self) -> &NodeRules {
        &self.rules
    }

    /// Who holds what, by identity of the pod.
    pub fn holders(&self) -> &BTreeMap<Arc<str>, Holder> {
        &self.holders
    }

    /// How much of it is left: what a scan over many nodes looks at.
    pub fn room(&self) -> Room {
        self.tally.room
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What a pod asks here: `None` when it gets no CPUs of its own. Errors: it can never get them here.
    pub fn resolve(&self, wants: &Wants) -> Result<Option<Ask>, Refusal> {
        wants.resolve(&self.rules, &self.topology)
    }

    /// Whether a pod fits a node whose CPUs are counted `ratio` times. Units: thousandths of a CPU, `allocatable` as the node claims
    /// it (amplified), `requested` as its pods ask for it. A bound CPU is a whole real one, so it counts amplified.
    pub fn fits_amplified(
        &self,
        wants: &Wants,
        ratio: Ratio,
        allocatable: i64,
        requested: i64,
    ) -> Result<(), Refusal> {
        let binds = wants.binds || self.rules.bind != NodeBindPolicy::None;
        let asked = if binds { ratio.apply(wants.milli) } else { wants.milli };
        let held = self.holders.values().fold(CpuSet::EMPTY, |sum, h| sum.or(h.cpus)).len();
        let held = i64::try_from(held).unwrap_or(i64::MAX).saturating_mul(1000);
        // Holders that are not counted yet, or not any more, are left out, as upstream does.
        let requested = if requested >= held { requested - held + ratio.apply(held) } else { requested };
        if asked > 0 && asked > allocatable - requested { Err(Refusal::Amplified) } else { Ok(()) }
    }

    /// A necessary condition in a few comparisons: where it is false, [`CpuNode::allocate`] refuses. It knows nothing of other
    /// applications, so the other direction does not hold.
    pub fn may(&self, ask: &Ask) -> bool {
        self.tally.room.may(ask)
    }

    /// The CPUs that the pod gets. Nothing is held yet.
    pub fn allocate(&self, ask: &Ask, exclusions: &Exclusions) -> Result<Allocation, Refusal> {
        self.allocate_in_place_of(ask, exclusions, None)
    }

    /// The same, as if one holder were gone, whose CPUs are then taken first: a resize (the pod itself) or a pod that takes over
    /// what a reservation holds.
    pub fn allocate_in_place_of(
        &self,
        ask: &Ask,
        exclusions: &Exclusions,
        holder: Option<&str>,
    ) -> Result<Allocation, Refusal> {
        let view = View::of(self, ask, exclusions, holder, Ignored::default());
        match view.choose(ask) {
            Some(cpus) => Ok(self.allocation(cpus)),
            None => Err(self.why(ask, exclusions, holder)),
        }
    }

    fn allocation(&self, cpus: CpuSet) -> Allocation {
        Allocation { numa: self.topology.numa_counts(&cpus), stacked: self.topology.stacked(&cpus), cpus }
    }

    /// The rule without which there would be enough; when no single one is to blame, there is just not enough.
    fn why(&self, ask: &Ask, exclusions: &Exclusions, holder: Option<&str>) -> Refusal {
        let without = |ignored: Ignored, ask: &Ask| {
            View::of(self, ask, exclusions, holder, ignored).choose(ask).is_some()
        };
        let none = Ignored::default();
        let bind = if ask.full { "FullPCPUs" } else { "SpreadByPCPUs" };
        let trials = [
            (Refusal::Bind(bind), none, Ask { required: false, ..ask.clone() }),
            (Refusal::Excluded, Ignored { exclusions: true, ..none }, ask.clone()),
            (
                Refusal::Stacked,
                Ignored { stacking: true, ..none },
                Ask { stacking: Stacking::Allow, ..ask.clone() },
            ),
            (Refusal::Owned, Ignored { owned: true, ..none }, Ask { owned: Exclusive::None, ..ask.clone() }),
            (Refusal::Numa, none, Ask { numa: None, ..ask.clone() }),
            (Refusal::Sockets, none, Ask { sockets: api_koord::apart::Sockets::Any, ..ask.clone() }),
        ];
        let blamed = trials.into_iter().find(|(_, ignored, ask)| without(*ignored, ask));
        blamed.map_or(Refusal::NotEnough, |(why, ..)| why)
    }

    /// Holds CPUs for a pod; replaces what it held. CPUs that the node does not have count for nothing, and stay to be audited.
    pub fn hold(&mut self, uid: impl Into<Arc<str>>, holder: Holder) {
        self.holders.insert(uid.into(), holder);
        self.recount();
    }

    /// Gives back what a pod held.
    pub fn release(&mut self, uid: &str) -> Option<Holder> {
        let gone = self.holders.remove(uid)?;
        self.recount();
        Some(gone)
    }

    /// New rules of the node. What is held stays; [`CpuNode::audit`] says whether it still may.
    pub fn set_rules(&mut self, rules: NodeRules) {
        self.rules = rules;
        self.recount();
    }

    /// Counted anew from the holders, some dozens at most: there is no difference to keep track of.
    fn recount(&mut self) {
        self.tally = Tally::of(&self.topology, &self.rules, self.holders.values());
    }
}

impl Tally {
    pub(crate) fn of<'a>(
        topology: &Topology,
        rules: &NodeRules,
        holders: impl Iterator<Item = &'a Holder>,
    ) -> Tally {
        let last = topology.all().iter().last().map_or(0, usize::from);
        let mut tally = Tally { refs: vec![0; last + 1], ..Tally::default() };
        for holder in holders {
            for cpu in holder.cpus.iter() {
                if let Some(count) = tally.refs.get_mut(usize::from(cpu)) {
                    *count = count.saturating_add(1);
                }
            }
            if holder.qos == Qos::Lse {
                tally.lse = tally.lse.or(holder.cpus);
            }
            if holder.owned == Exclusive::Cores {
                tally.owned = tally.owned.or(topology.widened(&holder.cpus));
            }
        }
        let is_full = |cpu: &u16| tally.refs[usize::from(*cpu)] >= rules.holders_max;
        let full: CpuSet = topology.all().iter().filter(is_full).collect();
        tally.free = rules.open(topology).minus(full).minus(tally.lse).minus(tally.owned);
        tally.room = Room::of(topology, &tally.free);
        tally
    }
}

impl NodeRules {
    /// CPUs that online pods may hold on an empty node.
    pub(crate) fn open(&self, topology: &Topology) -> CpuSet {
        let threads = match self.colocation {
            Colocation::AllThreads => topology.all(),
            Colocation::OneThread => topology.first_threads(),
        };
        threads.minus(self.closed)
    }
}
