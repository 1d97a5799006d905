//! What pods without CPUs of their own float on: recomputed whole whenever anybody's CPUs change.

use api_koord::Qos;
use api_koord::cpu::{Colocation, NumaStrategy, SharedPool};

use crate::ask::Refusal;
use crate::node::CpuNode;
use crate::set::CpuSet;

/// The part of a pool that lies on one NUMA node of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The socket, by the kernel's number.
    pub socket: i32,
    /// The NUMA node, by the kernel's number.
    pub node: i32,
    /// Its CPUs.
    pub cpus: CpuSet,
}

/// The pools of a node. Every LS and BE pod's cpuset follows from them, so a change of one pod's CPUs is a change for all of those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// For LS and Burstable pods: outside everybody's CPUs.
    pub shared: Vec<Pool>,
    /// For BE pods: outside the CPUs of LSE pods and of owned cores.
    pub best_effort: Vec<Pool>,
}

impl Pools {
    /// All CPUs of the shared pools, or those of one NUMA node.
    pub fn shared_on(&self, numa: Option<i32>) -> CpuSet {
        let wanted = self.shared.iter().filter(|p| numa.is_none_or(|n| n == p.node));
        wanted.fold(CpuSet::EMPTY, |sum, p| sum.or(p.cpus))
    }

    /// All CPUs of the best-effort pools.
    pub fn best_effort_cpus(&self) -> CpuSet {
        self.best_effort.iter().fold(CpuSet::EMPTY, |sum, p| sum.or(p.cpus))
    }

    /// As the annotations `cpu-shared-pools` and `be-cpu-shared-pools` of a NodeResourceTopology carry them.
    pub fn words(pools: &[Pool]) -> Vec<SharedPool> {
        let word = |p: &Pool| SharedPool { socket: p.socket, node: p.node, cpuset: p.cpus.to_string() };
        pools.iter().map(word).collect()
    }
}

impl CpuNode {
    /// The pools that follow from who holds what.
    pub fn pools(&self) -> Pools {
        let topology = self.topology();
        let given = topology.all().minus(self.rules().closed);
        let held = self.holders().values().fold(CpuSet::EMPTY, |sum, h| sum.or(h.cpus));
        let (lse, owned) = (self.tally().lse, self.tally().owned);
        let online = self.rules().open(topology);
        let for_best_effort = match self.rules().colocation {
            Colocation::AllThreads => given,
            Colocation::OneThread => given.minus(topology.first_threads()),
        };
        Pools {
            shared: self.split(online.minus(held).minus(owned)),
            best_effort: self.split(for_best_effort.minus(lse).minus(owned)),
        }
    }

    fn split(&self, cpus: CpuSet) -> Vec<Pool> {
        let topology = self.topology();
        let mut out = Vec::new();
        for socket in &topology.sockets {
            for numa in &topology.numas {
                let part = cpus.and(socket.cpus).and(numa.cpus);
                if !part.is_empty() {
                    out.push(Pool { socket: socket.id, node: numa.id, cpus: part });
                }
            }
        }
        out
    }

    /// The NUMA node on whose shared pool a pod of `ConstrainedBurst` shall float: one with room for it beside those who float there
    /// already, in the node's order of filling. Units: thousandths of a CPU.
    pub fn pool_for(&self, milli: i64) -> Result<i32, Refusal> {
        let pools = self.pools();
        let left = |node: i32| {
            let size =
                i64::try_from(pools.shared_on(Some(node)).len()).unwrap_or(i64::MAX).saturating_mul(1000);
            let floating = self.holders().values().filter_map(|h| h.pooled).filter(|(n, _)| *n == node);
            floating.fold(size, |left, (_, milli)| left.saturating_sub(milli))
        };
        let mut nodes: Vec<(i64, i32)> = self.topology().numas.iter().map(|n| (left(n.id), n.id)).collect();
        nodes.retain(|(left, _)| *left >= milli);
        nodes.sort_by_key(|(left, id)| match self.rules().strategy {
            NumaStrategy::MostAllocated => (*left, *id),
            NumaStrategy::LeastAllocated => (-*left, *id),
        });
        nodes.first().map(|(_, id)| *id).ok_or(Refusal::NotEnough)
    }

    /// The CPUs that a pod of this class runs on, given what it holds: what a node agent writes into its cpuset.
    pub fn runs_on(&self, uid: &str) -> Option<CpuSet> {
        let holder = self.holders().get(uid)?;
        if !holder.cpus.is_empty() {
            return Some(holder.cpus);
        }
        let pools = self.pools();
        Some(match holder.qos {
            Qos::Be => pools.best_effort_cpus(),
            _ => pools.shared_on(holder.pooled.map(|(node, _)| node)),
        })
    }
}
