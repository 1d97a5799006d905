//! The CPUs of a node: threads, physical cores, NUMA nodes, sockets.

use std::collections::{BTreeMap, BTreeSet};

use api_koord::cpu::CpuDetail;

use crate::set::{CPUS_MAX, CpuSet};

/// The shape of a machine. Nodes of one kind share one value.
///
/// A physical core is named by socket and core number, because kernels count cores from zero in each socket. A NUMA node may span
/// sockets (firmware that interleaves memory), so neither contains the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Threads by number; gaps where a CPU is off.
    threads: Vec<Option<Thread>>,
    /// Cores in order of their lowest thread's socket and core number.
    pub(crate) cores: Vec<Core>,
    /// NUMA nodes by their number.
    pub(crate) numas: Vec<Domain>,
    /// Sockets by their number.
    pub(crate) sockets: Vec<Domain>,
    all: CpuSet,
    first_threads: CpuSet,
    threads_per_core: usize,
}

/// Where a logical CPU is, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) core: usize,
    pub(crate) numa: usize,
    pub(crate) socket: usize,
}

/// A physical core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Core {
    pub(crate) cpus: CpuSet,
    pub(crate) numa: usize,
    pub(crate) socket: usize,
}

/// A NUMA node or a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain {
    /// The kernel's number.
    pub(crate) id: i32,
    pub(crate) cpus: CpuSet,
    /// Of a NUMA node: the socket of its lowest CPU.
    pub(crate) socket: usize,
}

/// CPUs that make no machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// Nothing is known of its CPUs.
    #[error("no CPUs")]
    Empty,
    /// A number that no CPU has here.
    #[error("CPU {0}: numbers go from 0 to {max}", max = CPUS_MAX - 1)]
    Number(i32),
    /// Two rows for one CPU.
    #[error("CPU {0} is there twice")]
    Twice(i32),
    /// The threads of a core are in two NUMA nodes.
    #[error("core {core} of socket {socket} is in two NUMA nodes")]
    Torn {
        /// The core's number.
        core: i32,
        /// Its socket's number.
        socket: i32,
    },
}

impl Topology {
    /// From the rows of a NodeResourceTopology, in any order.
    pub fn new(details: &[CpuDetail]) -> Result<Topology, TopologyError> {
        let mut rows: Vec<&CpuDetail> = details.iter().collect();
        rows.sort_by_key(|d| d.id);
        let numbers = |of: fn(&CpuDetail) -> i32| -> Vec<i32> {
            details.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let (numa_ids, socket_ids) = (numbers(|d| d.node), numbers(|d| d.socket));
        let at = |ids: &[i32], id: i32| ids.binary_search(&id).expect("every number was collected");
        let mut cores: BTreeMap<(usize, i32), (Core, &CpuDetail)> = BTreeMap::new();
        let mut all = CpuSet::EMPTY;
        for row in rows {
            let cpu = number(row.id)?;
            if all.contains(cpu) {
                return Err(TopologyError::Twice(row.id));
            }
            all.insert(cpu);
            let (numa, socket) = (at(&numa_ids, row.node), at(&socket_ids, row.socket));
            let new = || (Core { cpus: CpuSet::EMPTY, numa, socket }, row);
            let (core, first) = cores.entry((socket, row.core)).or_insert_with(new);
            if first.node != row.node {
                return Err(TopologyError::Torn { core: row.core, socket: row.socket });
            }
            core.cpus.insert(cpu);
        }
        let cores: Vec<Core> = cores.into_values().map(|(core, _)| core).collect();
        Topology::of(cores, &numa_ids, &socket_ids, all)
    }

    fn of(
        cores: Vec<Core>,
        numa_ids: &[i32],
        socket_ids: &[i32],
        all: CpuSet,
    ) -> Result<Topology, TopologyError> {
        let last = all.iter().last().ok_or(TopologyError::Empty)?;
        let mut threads = vec![None; usize::from(last) + 1];
        let empty = |id: &i32| Domain { id: *id, cpus: CpuSet::EMPTY, socket: usize::MAX };
        let mut numas: Vec<Domain> = numa_ids.iter().map(empty).collect();
        let mut sockets: Vec<Domain> = socket_ids.iter().map(empty).collect();
        for (i, core) in cores.iter().enumerate() {
            for cpu in core.cpus.iter() {
                threads[usize::from(cpu)] = Some(Thread { core: i, numa: core.numa, socket: core.socket });
            }
            numas[core.numa].cpus = numas[core.numa].cpus.or(core.cpus);
            numas[core.numa].socket = numas[core.numa].socket.min(core.socket);
            sockets[core.socket].cpus = sockets[core.socket].cpus.or(core.cpus);
            sockets[core.socket].socket = core.socket;
        }
        let threads_per_core = cores.iter().map(|c| c.cpus.len()).max().unwrap_or(1);
        let first_threads = cores.iter().filter_map(|c| c.cpus.first()).collect();
        Ok(Topology { threads, cores, numas, sockets, all, first_threads, threads_per_core })
    }

    /// A machine of `sockets` × `numas` each × `cores` each × `threads` each, numbered as Linux does: first threads of all cores,
    /// then the second ones.
    ///
    /// # Panics
    /// When the machine has more than [`CPUS_MAX`] CPUs, or none.
    pub fn regular(sockets: usize, numas: usize, cores: usize, threads: usize) -> Topology {
        let total = sockets * numas * cores;
        let number = |n: usize| i32::try_from(n).expect("a machine has few CPUs");
        let row = |i: usize| CpuDetail {
            id: number(i),
            core: number(i % total),
            node: number(i % total / cores),
            socket: number(i % total / (cores * numas)),
        };
        let rows: Vec<CpuDetail> = (0..total * threads).map(row).collect();
        Topology::new(&rows).expect("a regular machine is a machine")
    }

    /// All CPUs.
    pub fn all(&self) -> CpuSet {
        self.all
    }

    /// The lowest thread of each core.
    pub fn first_threads(&self) -> CpuSet {
        self.first_threads
    }

    /// Threads of the widest core. A core that has fewer, because some are off, never counts as whole.
    pub fn threads_per_core(&self) -> usize {
        self.threads_per_core
    }

    /// How many physical cores there are.
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// The physical cores that hold any of these CPUs, with all their threads.
    pub fn widened(&self, cpus: &CpuSet) -> CpuSet {
        let cores: BTreeSet<usize> = cpus.iter().filter_map(|cpu| Some(self.thread(cpu)?.core)).collect();
        cores.into_iter().fold(CpuSet::EMPTY, |sum, core| sum.or(self.cores[core].cpus))
    }

    /// NUMA nodes that hold any of these CPUs, by the kernel's number, with how many.
    pub fn numa_counts(&self, cpus: &CpuSet) -> Vec<(i32, usize)> {
        let counts = self.numas.iter().map(|n| (n.id, n.cpus.common(cpus)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// How many sockets hold any of these CPUs.
    pub fn sockets_of(&self, cpus: &CpuSet) -> usize {
        self.sockets.iter().filter(|s| s.cpus.meets(cpus)).count()
    }

    /// How many physical cores hold two or more of these CPUs.
    pub fn stacked(&self, cpus: &CpuSet) -> usize {
        self.cores.iter().filter(|c| c.cpus.common(cpus) > 1).count()
    }

    pub(crate) fn thread(&self, cpu: u16) -> Option<Thread> {
        self.threads.get(usize::from(cpu)).copied().flatten()
    }

    /// CPUs of the largest of some domains.
    pub(crate) fn widest(domains: &[Domain]) -> usize {
        domains.iter().map(|d| d.cpus.len()).max().unwrap_or(0)
    }
}

fn number(id: i32) -> Result<u16, TopologyError> {
    u16::try_from(id).ok().filter(|n| usize::from(*n) < CPUS_MAX).ok_or(TopologyError::Number(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i32, core: i32, socket: i32, node: i32) -> CpuDetail {
        CpuDetail { id, core, socket, node }
    }

    #[test]
    fn a_regular_machine_is_numbered_as_linux_does() {
        let t = Topology::regular(2, 1, 2, 2);
        assert_eq!((t.all().to_string(), t.first_threads().to_string()), ("0-7".into(), "0-3".into()));
        assert_eq!(t.widened(&"1,6".parse().unwrap()).to_string(), "1-2,5-6");
        assert_eq!(t.numa_counts(&"1,6".parse().unwrap()), [(0, 1), (1, 1)]);
        assert_eq!((t.sockets_of(&"0,1".parse().unwrap()), t.stacked(&"0,4,1".parse().unwrap())), (1, 1));
    }

    #[test]
    fn cores_counted_anew_in_each_socket_are_different_cores() {
        let t = Topology::new(&[row(0, 0, 0, 0), row(1, 0, 1, 1), row(2, 0, 0, 0), row(3, 0, 1, 1)]).unwrap();
        assert_eq!((t.cores(), t.threads_per_core()), (2, 2));
    }

    #[test]
    fn a_numa_node_over_two_sockets_is_allowed_a_core_over_two_numa_nodes_is_not() {
        assert!(Topology::new(&[row(0, 0, 0, 0), row(1, 0, 1, 0)]).is_ok());
        assert_eq!(
            Topology::new(&[row(0, 5, 0, 0), row(1, 5, 0, 1)]),
            Err(TopologyError::Torn { core: 5, socket: 0 })
        );
        assert_eq!(Topology::new(&[]), Err(TopologyError::Empty));
        assert_eq!(Topology::new(&[row(1024, 0, 0, 0)]), Err(TopologyError::Number(1024)));
        assert_eq!(Topology::new(&[row(1, 0, 0, 0), row(1, 1, 0, 0)]), Err(TopologyError::Twice(1)));
    }

    #[test]
    fn a_core_with_a_thread_off_is_there_but_never_whole() {
        let t = Topology::new(&[row(0, 0, 0, 0), row(1, 1, 0, 0), row(3, 1, 0, 0)]).unwrap();
        assert_eq!((t.threads_per_core(), t.cores()), (2, 2));
        assert_eq!(t.thread(2), None);
    }
}
