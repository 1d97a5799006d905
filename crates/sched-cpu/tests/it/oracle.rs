//! A plain, slow, obviously right judge: does a set of CPUs keep every hard rule for an ask?

use std::collections::BTreeMap;

use api_koord::Qos;
use api_koord::apart::{Exclusions, Exclusive, Sockets, Stacking};
use api_koord::cpu::{Colocation, CpuDetail, NumaExclusive, NumaPolicy};
use sched_cpu::{Ask, CpuNode, CpuSet, Holder};

/// The machine row by row, as the test made it.
pub(crate) struct Machine(pub(crate) Vec<CpuDetail>);

impl Machine {
    fn row(&self, cpu: u16) -> Option<&CpuDetail> {
        self.0.iter().find(|d| d.id == i32::from(cpu))
    }

    fn core(&self, cpu: u16) -> (i32, i32) {
        self.row(cpu).map_or((-1, -1), |d| (d.socket, d.core))
    }

    fn threads(&self, core: (i32, i32)) -> usize {
        self.0.iter().filter(|d| (d.socket, d.core) == core).count()
    }

    fn widest_core(&self) -> usize {
        self.0.iter().map(|d| self.threads((d.socket, d.core))).max().unwrap_or(1)
    }

    fn numas(&self, cpus: &CpuSet) -> Vec<i32> {
        let mut list: Vec<i32> = cpus.iter().filter_map(|c| self.row(c)).map(|d| d.node).collect();
        list.sort_unstable();
        list.dedup();
        list
    }

    fn sockets(&self, cpus: &CpuSet) -> usize {
        let mut list: Vec<i32> = cpus.iter().filter_map(|c| self.row(c)).map(|d| d.socket).collect();
        list.sort_unstable();
        list.dedup();
        list.len()
    }

    fn is_first(&self, cpu: u16) -> bool {
        let core = self.core(cpu);
        self.0.iter().filter(|d| (d.socket, d.core) == core).all(|d| d.id >= i32::from(cpu))
    }

    /// The fewest NUMA nodes that could hold so many CPUs of this form with nobody on the machine.
    fn fewest_numas(&self, node: &CpuNode, ask: &Ask, one_each: bool) -> usize {
        let mut sizes: BTreeMap<i32, usize> = BTreeMap::new();
        let mut cores: BTreeMap<(i32, i32), usize> = BTreeMap::new();
        for detail in &self.0 {
            let cpu = u16::try_from(detail.id).unwrap();
            if self.is_open(node, cpu) {
                *cores.entry(self.core(cpu)).or_default() += 1;
            }
        }
        for (core, open) in cores {
            let numa = self.0.iter().find(|d| (d.socket, d.core) == core).unwrap().node;
            let size = match (ask.full && ask.required, one_each) {
                (true, _) if open == self.widest_core() => open,
                (true, _) => 0,
                (_, true) => 1,
                _ => open,
            };
            *sizes.entry(numa).or_default() += size;
        }
        let mut sizes: Vec<usize> = sizes.into_values().collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        (1..=sizes.len()).find(|k| sizes[..*k].iter().sum::<usize>() >= ask.cpus).unwrap_or(usize::MAX)
    }

    fn is_open(&self, node: &CpuNode, cpu: u16) -> bool {
        let rules = node.rules();
        !rules.closed.contains(cpu) && (rules.colocation == Colocation::AllThreads || self.is_first(cpu))
    }

    /// Whether the set keeps every hard rule, judged CPU by CPU and holder by holder.
    pub(crate) fn is_lawful(&self, node: &CpuNode, ask: &Ask, graph: &Exclusions, cpus: &CpuSet) -> bool {
        let per_core = |core: (i32, i32)| cpus.iter().filter(|c| self.core(*c) == core).count();
        let one_each = ask.stacking == Stacking::Forbid || (!ask.full && ask.required);
        let whole = ask.full && ask.required;
        cpus.len() == ask.cpus
            && cpus.iter().all(|c| self.row(c).is_some() && self.is_open(node, c))
            && cpus.iter().all(|c| !one_each || per_core(self.core(c)) == 1)
            && cpus.iter().all(|c| !whole || per_core(self.core(c)) == self.widest_core())
            && (ask.sockets == Sockets::Any || self.sockets(cpus) <= 1)
            && cpus.iter().all(|c| self.holders_agree(node, ask, graph, c))
            && self.numas_agree(node, ask, cpus)
    }

    fn holders_agree(&self, node: &CpuNode, ask: &Ask, graph: &Exclusions, cpu: u16) -> bool {
        let here = || node.holders().values().filter(|h| h.cpus.contains(cpu));
        let max = usize::from(node.rules().holders_max);
        let same_core =
            |h: &&Holder| h.cpus.iter().any(|c| self.core(c) == self.core(cpu) && self.row(c).is_some());
        here().count() < max
            && here().all(|h| h.qos != Qos::Lse && ask.qos != Qos::Lse)
            && node.holders().values().filter(same_core).all(|h| {
                let same = h.identity.is_same_application(&ask.identity);
                let forbidden = h.stacking == Stacking::Forbid || ask.stacking == Stacking::Forbid;
                h.owned == Exclusive::None
                    && ask.owned == Exclusive::None
                    && !graph.part(&h.identity, &ask.identity)
                    && !(same && forbidden)
            })
    }

    fn numas_agree(&self, node: &CpuNode, ask: &Ask, cpus: &CpuSet) -> bool {
        let spans = self.numas(cpus);
        let one_each = ask.stacking == Stacking::Forbid || (!ask.full && ask.required);
        // Who would rather not be stacked may be counted one thread a core, and then needs more NUMA nodes.
        let counted: &[bool] =
            if ask.stacking == Stacking::Avoid && !ask.full { &[true, false] } else { &[one_each] };
        let few = match ask.numa {
            None | Some(NumaPolicy::BestEffort) => return true,
            Some(NumaPolicy::SingleNUMANode) => spans.len() == 1,
            Some(NumaPolicy::Restricted) => {
                counted.iter().any(|one| spans.len() <= self.fewest_numas(node, ask, *one))
            }
        };
        few && (ask.numa_exclusive != Some(NumaExclusive::Required) || self.keeps_apart(node, &spans))
    }

    fn keeps_apart(&self, node: &CpuNode, spans: &[i32]) -> bool {
        spans.iter().all(|numa| {
            let here = || node.holders().values().map(|h| self.numas(&h.cpus)).filter(|n| n.contains(numa));
            let (alone, across) =
                (here().filter(|n| n.len() == 1).count(), here().filter(|n| n.len() > 1).count());
            if spans.len() > 1 { alone == 0 || across > 0 } else { across == 0 }
        })
    }
}
