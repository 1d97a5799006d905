//! What a pod asks of a node's CPUs, and why it may be refused.

use std::sync::Arc;

use api_core::Pod;
use api_koord::apart::{CpuRules, Exclusive, Identity, Load, Sockets, Stacking};
use api_koord::cpu::{
    BindPolicy, ExclusivePolicy, NodeBindPolicy, NumaExclusive, NumaPolicy, NumaSpec, ResourceSpec,
};
use api_koord::{Qos, Unreadable, requests};

use crate::node::NodeRules;
use crate::topology::Topology;

/// What a pod says, before any node is looked at. One value serves all pods of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wants {
    /// Thousandths of a CPU.
    pub milli: i64,
    /// It gets CPUs of its own on every node.
    pub binds: bool,
    /// How they are chosen.
    pub bind: BindPolicy,
    /// They must be chosen so.
    pub required: bool,
    /// Koordinator's exclusion, which gives way.
    pub exclusive: ExclusivePolicy,
    /// The NUMA policy it names.
    pub numa: Option<NumaPolicy>,
    /// Keeping apart within and across NUMA nodes.
    pub numa_exclusive: Option<NumaExclusive>,
    /// Quality of service.
    pub qos: Qos,
    /// It floats on the pool of one NUMA node (`ConstrainedBurst`).
    pub pooled: bool,
    /// Our rules.
    pub stacking: Option<Stacking>,
    /// How many sockets.
    pub sockets: Sockets,
    /// Whole cores of its own.
    pub owned: Exclusive,
    /// What it does with its threads.
    pub load: Option<Load>,
    /// Who it is.
    pub identity: Arc<Identity>,
}

impl Wants {
    /// Reads a pod. `default` is the bind policy the scheduler is set to.
    pub fn of(pod: &Pod, default: BindPolicy) -> Result<Wants, Unreadable> {
        let spec = ResourceSpec::of(pod)?;
        let numa = NumaSpec::of(pod)?;
        let rules = CpuRules::of(pod)?;
        let named = |policy: Option<BindPolicy>| policy.filter(|p| *p != BindPolicy::Default);
        let required = spec.required_bind.map(|p| named(Some(p)).unwrap_or(default));
        let bind = required.or(named(spec.preferred_bind)).unwrap_or(default);
        let milli = requests(pod).get("cpu");
        Ok(Wants {
            milli,
            binds: api_koord::cpu::asks_for_cpus(pod, &spec) && milli > 0,
            bind,
            required: required.is_some(),
            exclusive: spec.preferred_exclusive.unwrap_or_default(),
            numa: numa.policy,
            numa_exclusive: numa.exclusive,
            qos: Qos::of(pod),
            pooled: bind == BindPolicy::ConstrainedBurst,
            stacking: rules.stacking,
            sockets: rules.sockets,
            owned: rules.exclusive,
            load: rules.load,
            identity: Arc::new(rules.identity),
        })
    }

    /// What it asks of a node with these rules: `None` when it gets no CPUs of its own there. Checks are in upstream's order.
    pub(crate) fn resolve(&self, rules: &NodeRules, topology: &Topology) -> Result<Option<Ask>, Refusal> {
        if let (Some(node), Some(pod)) = (rules.numa, self.numa)
            && node != pod
        {
            return Err(Refusal::NumaConflict);
        }
        if self.milli == 0 || !(self.binds || rules.bind != NodeBindPolicy::None) {
            return Ok(None);
        }
        let cpus = usize::try_from(self.milli / 1000).unwrap_or(0);
        if self.milli % 1000 != 0 || cpus == 0 {
            return Err(Refusal::Fractional);
        }
        let (bind, required) = self.bind_on(rules.bind)?;
        if required && bind == BindPolicy::FullPCPUs && cpus % topology.threads_per_core() != 0 {
            return Err(Refusal::Misaligned);
        }
        self.ask(cpus, bind, required, rules, topology).map(Some)
    }

    /// The bind policy there, and whether it must hold: the node's word is an order, the pod's may be.
    fn bind_on(&self, node: NodeBindPolicy) -> Result<(BindPolicy, bool), Refusal> {
        let ordered = match node {
            NodeBindPolicy::None => return Ok((self.bind, self.required)),
            NodeBindPolicy::FullPCPUsOnly => BindPolicy::FullPCPUs,
            NodeBindPolicy::SpreadByPCPUs => BindPolicy::SpreadByPCPUs,
        };
        if self.required && self.bind != ordered {
            return Err(Refusal::BindConflict);
        }
        Ok((ordered, true))
    }

    fn ask(
        &self,
        cpus: usize,
        bind: BindPolicy,
        required: bool,
        rules: &NodeRules,
        topology: &Topology,
    ) -> Result<Ask, Refusal> {
        let full = bind != BindPolicy::SpreadByPCPUs;
        let forbids = self.stacking == Some(Stacking::Forbid) && topology.threads_per_core() > 1;
        if full && required && forbids {
            return Err(Refusal::Contradiction);
        }
        // Who forbids stacking is spread, whatever it prefers; who is spread would rather not be stacked.
        let full = full && !forbids;
        let default = if full { Stacking::Allow } else { Stacking::Avoid };
        let keeps_apart = self.numa.map(|_| NumaExclusive::Required);
        Ok(Ask {
            cpus,
            full,
            required,
            exclusive: self.exclusive,
            numa: self.numa.or(rules.numa),
            numa_exclusive: self.numa_exclusive.or(keeps_apart),
            qos: self.qos,
            stacking: self.stacking.unwrap_or(default),
            sockets: self.sockets,
            owned: self.owned,
            load: self.load,
            identity: self.identity.clone(),
        })
    }
}

/// What a pod asks of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How many logical CPUs.
    pub cpus: usize,
    /// Whole physical cores first; otherwise one thread of each core first.
    pub full: bool,
    /// It must be so.
    pub required: bool,
    /// Koordinator's exclusion, which gives way.
    pub exclusive: ExclusivePolicy,
    /// How it follows NUMA nodes.
    pub numa: Option<NumaPolicy>,
    /// Keeping apart within and across NUMA nodes.
    pub numa_exclusive: Option<NumaExclusive>,
    /// Quality of service.
    pub qos: Qos,
    /// Two threads of the application on one core.
    pub stacking: Stacking,
    /// How many sockets.
    pub sockets: Sockets,
    /// Whole cores of its own.
    pub owned: Exclusive,
    /// What it does with its threads.
    pub load: Option<Load>,
    /// Who it is.
    pub identity: Arc<Identity>,
}

impl Ask {
    /// What one physical core can give.
    pub(crate) fn unit(&self) -> Unit {
        if self.full && self.required {
            Unit::Whole
        } else if self.stacking == Stacking::Forbid || (!self.full && self.required) {
            Unit::One
        } else {
            Unit::Any
        }
    }
}

/// What one physical core can give to an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Every eligible thread.
    Any,
    /// One thread at most.
    One,
    /// All its threads, or none.
    Whole,
}

/// Why a pod gets no CPUs of a node. The texts of the first eight are Koordinator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// Pod and node name different NUMA policies.
    #[error("node(s) NUMA Topology policy not match")]
    NumaConflict,
    /// Parts of a CPU cannot be bound.
    #[error("the requested CPUs must be integer")]
    Fractional,
    /// The node's CPUs are not known.
    #[error("node(s) invalid CPU Topology")]
    NoTopology,
    /// Pod and node name different bind policies.
    #[error("node(s) cpu bind policy conflicts with pod's required cpu bind policy")]
    BindConflict,
    /// Whole cores do not add up to what is asked.
    #[error("node(s) requested cpus not multiple cpus per core")]
    Misaligned,
    /// Too few free CPUs, whatever the rules.
    #[error("not enough cpus available to satisfy request")]
    NotEnough,
    /// Too few in the form that must be.
    #[error("insufficient CPUs to satisfy required cpu bind policy {0}")]
    Bind(&'static str),
    /// Bound CPUs count amplified, and then there are too few.
    #[error("Insufficient amplified cpu")]
    Amplified,
    /// The pod forbids stacking and requires whole cores.
    #[error("pod forbids two threads on a physical core and requires whole physical cores")]
    Contradiction,
    /// What is left is on cores of applications that are excluded.
    #[error("node(s) had too few physical cores free of excluded applications")]
    Excluded,
    /// What is left is on cores that the application has a thread of.
    #[error("node(s) had too few physical cores without a thread of the same application")]
    Stacked,
    /// What is left is on cores that others own, or that others use and the pod wants to own.
    #[error("node(s) had too few physical cores that nobody else holds")]
    Owned,
    /// No NUMA node, or not few enough of them, has that many.
    #[error("node(s) had too few free cpus within the NUMA nodes that the policy allows")]
    Numa,
    /// No socket has that many.
    #[error("node(s) had too few free cpus within one socket")]
    Sockets,
}

impl Refusal {
    /// Whether pods that leave could help; upstream's `Unschedulable` as against `UnschedulableAndUnresolvable`.
    pub fn is_resolvable(self) -> bool {
        !matches!(
            self,
            Refusal::NumaConflict
                | Refusal::Fractional
                | Refusal::NoTopology
                | Refusal::BindConflict
                | Refusal::Misaligned
                | Refusal::Contradiction
        )
    }
}
