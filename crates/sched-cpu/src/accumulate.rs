//! The choice of threads among those that are free and suffice, in Koordinator's order.
//!
//! Whole cores: the NUMA node that has enough wholly free cores, then such a socket, then sockets from the fullest of free cores,
//! the rest core by core. One thread of each: within a NUMA node, then within a socket. What is left over: near what is taken.
//! Soft preferences (Koordinator's exclusive policies) hold in a first pass and give way in a second. Ours: where pods tell what they
//! do with their threads, a busy one goes beside an idle one.
//!
//! Source of the order: koordinator a7a1b76, plugin NodeNUMAResource.

use std::collections::BTreeSet;

use crate::ask::Ask;
use crate::domain::filling;
use crate::eligible::View;
use crate::set::CpuSet;
use crate::topology::{Domain, Topology};

/// Exactly as many CPUs as are asked for, of those that are free. How full NUMA nodes and sockets are is counted over `room`: threads
/// that are left out only to keep the pod's own apart are not taken by anybody.
///
/// # Panics
/// When fewer are free: the caller has counted.
pub(crate) fn take(view: &View<'_>, ask: &Ask, free: CpuSet, room: CpuSet) -> CpuSet {
    let size = view.topology.threads_per_core();
    let mut taking = Taking { view, free, room, taken: CpuSet::EMPTY, need: ask.cpus };
    let preferred = free.and(view.preferred);
    if !preferred.is_empty() {
        let preferred = if ask.full && ask.required { whole(view.topology, preferred) } else { preferred };
        let count = preferred.len().min(ask.cpus);
        let mut first = Taking { view, free: preferred, room, taken: CpuSet::EMPTY, need: count };
        first.run(ask.full, size);
        let kept = first.taken;
        taking.take(kept.iter());
    }
    taking.run(ask.full, size);
    assert_eq!(taking.need, 0, "enough CPUs were counted before");
    taking.taken
}

/// The threads of cores that are wholly in the set.
fn whole(topology: &Topology, cpus: CpuSet) -> CpuSet {
    let full = topology.cores.iter().map(|c| c.cpus).filter(|c| c.minus(cpus).is_empty());
    full.filter(|c| c.len() == topology.threads_per_core()).fold(CpuSet::EMPTY, CpuSet::or)
}

struct Taking<'v, 'a> {
    view: &'v View<'a>,
    free: CpuSet,
    room: CpuSet,
    taken: CpuSet,
    need: usize,
}

/// CPUs of one NUMA node or socket, in the order in which they are taken.
struct Row {
    cpus: Vec<u16>,
}

impl Taking<'_, '_> {
    fn run(&mut self, full: bool, size: usize) {
        if full || size == 1 {
            self.whole_cores(size);
        }
        if !full {
            self.within(&self.view.topology.numas);
            self.within(&self.view.topology.sockets);
        }
        for skips in [true, false] {
            if self.need == 0 {
                return;
            }
            let cpus = self.near(skips);
            let count = cpus.len().min(self.need);
            self.take(cpus.into_iter().take(count));
        }
    }

    fn take(&mut self, cpus: impl IntoIterator<Item = u16>) {
        for cpu in cpus {
            self.taken.insert(cpu);
            self.need -= 1;
        }
        self.free = self.free.minus(self.taken);
        self.room = self.room.minus(self.taken);
    }

    /// What may be taken, or what is counted, in a pass that skips what is disliked or does not.
    fn seen(&self, cpus: CpuSet, skips: bool) -> CpuSet {
        if skips { cpus.minus(self.view.conflict) } else { cpus }
    }

    /// Takes what is needed from the first row that has enough.
    fn take_from(&mut self, rows: Vec<Row>) {
        let need = self.need;
        if let Some(row) = rows.into_iter().find(|row| row.cpus.len() >= need) {
            self.take(row.cpus.into_iter().take(need));
        }
    }

    fn whole_cores(&mut self, size: usize) {
        let topology = self.view.topology;
        for (domains, skips) in
            [(&topology.numas, true), (&topology.numas, false), (&topology.sockets, false)]
        {
            if self.need > 0 && self.need <= Topology::widest(domains) {
                self.take_from(self.whole_rows(domains, skips));
            }
        }
        if self.need == 0 {
            return;
        }
        // Nobody holds it alone: whole sockets first, those with most free cores, then single cores from where fewest are left.
        let mut rows = self.whole_rows(&topology.sockets, false);
        rows.sort_by_key(|row| usize::MAX - row.cpus.len());
        let mut left = Vec::new();
        for row in rows {
            if row.cpus.len() <= self.need {
                self.take(row.cpus);
            } else {
                left.push(row);
            }
        }
        left.sort_by_key(|row| row.cpus.len());
        for row in left {
            for core in row.cpus.chunks(size).filter(|core| core.len() == size) {
                if self.need >= size {
                    self.take(core.iter().copied());
                }
            }
        }
    }

    /// Wholly free cores of each domain, domains in the order in which they are filled.
    fn whole_rows(&self, domains: &[Domain], skips: bool) -> Vec<Row> {
        let topology = self.view.topology;
        let usable = whole(topology, self.seen(self.free, skips));
        let room = self.seen(self.room, skips);
        let mut rows: Vec<((usize, usize, i32), Row)> = Vec::new();
        for domain in domains {
            let cpus = domain.cpus.and(usable);
            let mut cores: Vec<(u32, usize)> =
                self.cores_of(cpus).into_iter().map(|core| (self.held(core), core)).collect();
            cores.sort_unstable();
            let row =
                cores.into_iter().flat_map(|(_, core)| topology.cores[core].cpus.iter().collect::<Vec<_>>());
            let row = Row { cpus: row.collect() };
            rows.push((self.filled_first(domain, row.cpus.len(), room), row));
        }
        sorted(rows)
    }

    /// Order of domains: what is free there, then on their socket, then their number.
    fn filled_first(&self, domain: &Domain, count: usize, room: CpuSet) -> (usize, usize, i32) {
        let socket = self.view.topology.sockets[domain.socket].cpus.common(&room);
        let fill = |n| filling(self.view.strategy, n);
        (fill(count), fill(socket), domain.id)
    }

    /// Takes all within one domain: first one thread of each core that nobody dislikes, then any.
    fn within(&mut self, domains: &[Domain]) {
        for skips in [true, false] {
            if self.need > 0 && self.need <= Topology::widest(domains) {
                self.take_from(self.spread_rows(domains, skips));
            }
        }
    }

    fn spread_rows(&self, domains: &[Domain], skips: bool) -> Vec<Row> {
        let (free, room) = (self.seen(self.free, skips), self.seen(self.room, skips));
        let mut rows = Vec::new();
        for domain in domains {
            let mut cpus: Vec<u16> = free.and(domain.cpus).iter().collect();
            let order = self.filled_first(domain, domain.cpus.common(&room), room);
            cpus.sort_by_key(|cpu| (self.pairing(*cpu), self.view.refs[usize::from(*cpu)], *cpu));
            let (one_each, rest) = self.one_of_each(&cpus);
            let cpus =
                if skips { one_each } else { one_each.into_iter().chain(self.in_turns(&rest)).collect() };
            rows.push((order, Row { cpus }));
        }
        sorted(rows)
    }

    /// The rest, near what is taken: cores by the socket that has most of it, by socket and NUMA node in the order of filling, paired
    /// ones first, then those with fewest free threads; one thread of each in turn.
    fn near(&self, skips: bool) -> Vec<u16> {
        let topology = self.view.topology;
        let (free, room) = (self.seen(self.free, skips), self.seen(self.room, skips));
        let fill = |n| filling(self.view.strategy, n);
        let mut cores = Vec::new();
        for core in self.cores_of(free) {
            let at = &topology.cores[core];
            let (socket, numa) = (&topology.sockets[at.socket].cpus, &topology.numas[at.numa].cpus);
            let threads: Vec<u16> = at.cpus.and(free).iter().collect();
            let order = (
                usize::MAX - socket.common(&self.taken),
                fill(socket.common(&room)),
                fill(numa.common(&room)),
                threads.first().map(|cpu| self.pairing(*cpu)),
                threads.len(),
                at.socket,
                self.held(core),
                core,
            );
            cores.push((order, threads));
        }
        cores.sort();
        let mut flat = Vec::new();
        for (_, mut threads) in cores {
            threads.sort_by_key(|cpu| (self.view.refs[usize::from(*cpu)], *cpu));
            flat.extend(threads);
        }
        self.in_turns(&flat)
    }

    /// One thread of each core in turn, cores in order of their first appearance.
    fn in_turns(&self, cpus: &[u16]) -> Vec<u16> {
        let (mut out, mut left) = (Vec::new(), cpus.to_vec());
        while !left.is_empty() {
            let (turn, rest) = self.one_of_each(&left);
            out.extend(turn);
            left = rest;
        }
        out
    }

    /// The first thread of each core, and the others.
    fn one_of_each(&self, cpus: &[u16]) -> (Vec<u16>, Vec<u16>) {
        let mut met = BTreeSet::new();
        cpus.iter().copied().partition(|cpu| met.insert(self.core_of(*cpu)))
    }

    fn core_of(&self, cpu: u16) -> usize {
        self.view.topology.thread(cpu).expect("free CPUs are the machine's").core
    }

    fn cores_of(&self, cpus: CpuSet) -> BTreeSet<usize> {
        cpus.iter().map(|cpu| self.core_of(cpu)).collect()
    }

    /// How often the threads of a core are held.
    fn held(&self, core: usize) -> u32 {
        self.view.topology.cores[core]
            .cpus
            .iter()
            .map(|cpu| u32::from(self.view.refs[usize::from(cpu)]))
            .sum()
    }

    /// 0 beside the opposite load, 2 beside its own, 1 where nothing is known.
    fn pairing(&self, cpu: u16) -> u8 {
        if self.view.paired.contains(cpu) {
            0
        } else if self.view.alike.contains(cpu) {
            2
        } else {
            1
        }
    }
}

fn sorted<K: Ord>(mut rows: Vec<(K, Row)>) -> Vec<Row> {
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.into_iter().map(|(_, row)| row).collect()
}
