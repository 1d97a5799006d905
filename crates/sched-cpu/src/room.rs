//! How much of a node's CPUs is left, in nine counters: enough to pass over most nodes without looking at their CPUs.

use api_koord::apart::Sockets;
use api_koord::cpu::NumaPolicy;

use crate::ask::{Ask, Unit};
use crate::set::CpuSet;
use crate::topology::{Domain, Topology};

/// What is free of one kind of unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// On the whole node.
    all: u16,
    /// On the NUMA node that has most.
    numa: u16,
    /// On the socket that has most.
    socket: u16,
}

/// What is left of a node: 20 bytes. Computed for a pod without rules; a pod's own rules only take away from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// CPUs of the node.
    total: u16,
    /// Free threads.
    threads: Counts,
    /// Cores with a free thread.
    cores: Counts,
    /// Threads of cores that are wholly free.
    whole: Counts,
}

impl Room {
    pub(crate) fn of(topology: &Topology, free: &CpuSet) -> Room {
        let size = topology.threads_per_core();
        let (mut cores, mut whole) = (CpuSet::EMPTY, CpuSet::EMPTY);
        for core in &topology.cores {
            let left = core.cpus.and(*free);
            left.first().into_iter().for_each(|cpu| cores.insert(cpu));
            if left.len() == size {
                whole = whole.or(left);
            }
        }
        Room {
            total: narrow(topology.all().len()),
            threads: Counts::of(topology, free),
            cores: Counts::of(topology, &cores),
            whole: Counts::of(topology, &whole),
        }
    }

    /// Whether the ask may have room: never false where an allocation would succeed.
    pub fn may(&self, ask: &Ask) -> bool {
        let counts = match ask.unit() {
            Unit::Any => self.threads,
            Unit::One => self.cores,
            Unit::Whole => self.whole,
        };
        let one_numa = ask.numa == Some(NumaPolicy::SingleNUMANode);
        let most = if one_numa {
            counts.numa
        } else if ask.sockets == Sockets::One {
            counts.socket
        } else {
            counts.all
        };
        ask.cpus <= usize::from(most)
    }

    /// Free threads.
    pub fn free(&self) -> u16 {
        self.threads.all
    }

    /// How good a place it is for so many CPUs, 0 to 100: the share that stays free, as Koordinator's LeastAllocated; taken from 100
    /// it is MostAllocated.
    pub fn least_allocated(&self, cpus: usize) -> u8 {
        let left = usize::from(self.threads.all).saturating_sub(cpus);
        u8::try_from(left * 100 / usize::from(self.total).max(1)).unwrap_or(100)
    }
}

impl Counts {
    fn of(topology: &Topology, cpus: &CpuSet) -> Counts {
        let most = |domains: &[Domain]| domains.iter().map(|d| d.cpus.common(cpus)).max().unwrap_or(0);
        Counts {
            all: narrow(cpus.len()),
            numa: narrow(most(&topology.numas)),
            socket: narrow(most(&topology.sockets)),
        }
    }
}

/// A node has at most [`crate::CPUS_MAX`] CPUs, so nothing is lost.
fn narrow(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
