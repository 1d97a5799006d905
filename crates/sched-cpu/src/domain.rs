//! Which NUMA nodes and sockets an allocation may span.

use api_koord::apart::Sockets;
use api_koord::cpu::{NumaExclusive, NumaPolicy, NumaStrategy};

use crate::ask::{Ask, Unit};
use crate::eligible::{Attempt, View};
use crate::node::Holder;
use crate::set::CpuSet;
use crate::topology::{Domain, Topology};

/// How many pods use each NUMA node alone, and how many across several.
pub(crate) struct NumaUse(Vec<(u32, u32)>);

impl NumaUse {
    pub(crate) fn of<'a>(topology: &Topology, holders: impl Iterator<Item = &'a Holder>) -> NumaUse {
        let mut used = vec![(0, 0); topology.numas.len()];
        for holder in holders {
            let met: Vec<usize> =
                (0..used.len()).filter(|n| topology.numas[*n].cpus.meets(&holder.cpus)).collect();
            for numa in &met {
                let (alone, across) = &mut used[*numa];
                *(if met.len() == 1 { alone } else { across }) += 1;
            }
        }
        NumaUse(used)
    }

    /// Whether a pod that uses NUMA nodes so keeps apart from those here. A node where both kinds are counts as used across, as
    /// upstream has it.
    fn suits(&self, numa: usize, across: bool) -> bool {
        let (alone, shared) = self.0[numa];
        if across { alone == 0 || shared > 0 } else { shared == 0 }
    }
}

/// What there is to choose from.
#[derive(Clone, Copy)]
pub(crate) struct Supply {
    /// Threads that may be taken.
    pub(crate) free: CpuSet,
    /// Threads by which it is counted how full a domain is.
    pub(crate) room: CpuSet,
    /// What one core gives.
    pub(crate) unit: Unit,
}

/// The CPUs within which the allocation is made: enough of the free ones are there. `None`: the policies allow none that suffices.
pub(crate) fn choose(view: &View<'_>, ask: &Ask, attempt: Attempt, supply: Supply) -> Option<CpuSet> {
    let kept_apart = matches!(ask.numa, Some(NumaPolicy::Restricted | NumaPolicy::SingleNUMANode))
        .then_some(ask.numa_exclusive)
        .flatten();
    let tries: &[bool] = match kept_apart {
        Some(NumaExclusive::Required) => &[true],
        Some(NumaExclusive::Preferred) => &[true, false],
        None => &[false],
    };
    tries.iter().find_map(|apart| Search { view, ask, supply, apart: *apart }.run(attempt))
}

struct Search<'v, 'a> {
    view: &'v View<'a>,
    ask: &'v Ask,
    supply: Supply,
    /// Pods within a NUMA node and pods across several keep apart.
    apart: bool,
}

impl Search<'_, '_> {
    fn run(&self, attempt: Attempt) -> Option<CpuSet> {
        let all = self.view.topology.all();
        let enough = |set: &CpuSet| self.supply.free.common(set) >= self.ask.cpus;
        let Some(policy) = self.ask.numa else {
            return self.without_policy(attempt).into_iter().find(enough);
        };
        let sockets = self.sockets();
        let scopes: Vec<CpuSet> =
            if attempt.one_socket { sockets } else { sockets.into_iter().chain([all]).collect() };
        let fewest = self.fewest()?;
        let spans = match policy {
            NumaPolicy::SingleNUMANode => 1..=1,
            NumaPolicy::Restricted => fewest..=fewest,
            NumaPolicy::BestEffort => fewest..=self.view.topology.numas.len(),
        };
        for span in spans {
            if let Some(found) = scopes.iter().find_map(|scope| self.window(*scope, span)) {
                return Some(found);
            }
        }
        // NUMA nodes across sockets can be in the way of windows, never of this.
        (policy == NumaPolicy::BestEffort).then(|| scopes.into_iter().find(enough)).flatten()
    }

    /// Where to look without a NUMA policy, first to last. The taking knows whole cores and stays within a socket by itself where it
    /// can; it is only led where one socket is an order, and near CPUs that are preferred.
    fn without_policy(&self, attempt: Attempt) -> Vec<CpuSet> {
        let mut places = self.near_preferred();
        let one = attempt.one_socket && self.ask.sockets == Sockets::One;
        if one || !places.is_empty() {
            let calm = self.supply.free.minus(self.view.conflict);
            let sockets = self.sockets();
            places.extend(sockets.iter().filter(|s| calm.common(s) >= self.ask.cpus));
            places.extend(sockets);
        }
        if !one {
            places.push(self.view.topology.all());
        }
        places
    }

    /// NUMA nodes of CPUs that are preferred, the one with most of them first: what is added to these stays near.
    fn near_preferred(&self) -> Vec<CpuSet> {
        let held = |n: &&Domain| n.cpus.common(&self.view.preferred);
        let mut numas: Vec<&Domain> = self.view.topology.numas.iter().filter(|n| held(n) > 0).collect();
        numas.sort_by_key(|n| (usize::MAX - held(n), n.id));
        // A NUMA node over several sockets is no way around one socket.
        numas.retain(|n| self.view.topology.sockets_of(&n.cpus) == 1);
        numas.into_iter().map(|n| n.cpus).collect()
    }

    /// Sockets in the order in which they are filled; those with CPUs that are preferred first.
    fn sockets(&self) -> Vec<CpuSet> {
        let mut sockets: Vec<&Domain> = self.view.topology.sockets.iter().collect();
        sockets.sort_by_key(|s| {
            (
                usize::MAX - s.cpus.common(&self.view.preferred),
                self.fill(self.supply.room.common(&s.cpus)),
                s.id,
            )
        });
        sockets.into_iter().map(|s| s.cpus).collect()
    }

    fn fill(&self, free: usize) -> usize {
        filling(self.view.strategy, free)
    }

    /// How few NUMA nodes could ever hold it, on an empty machine. `None`: not all of them together.
    fn fewest(&self) -> Option<usize> {
        let open = self.view.reduced(self.view.open, self.supply.unit);
        let mut sizes: Vec<usize> = self.view.topology.numas.iter().map(|n| n.cpus.common(&open)).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = 0;
        let enough = |size: &usize| {
            sum += size;
            sum >= self.ask.cpus
        };
        sizes.iter().position(enough).map(|i| i + 1)
    }

    /// So many NUMA nodes of a scope that are enough together: neighbours in the order in which they are filled; failing that, in the
    /// order of what they can give. The largest ones are neighbours there, so none is overlooked.
    fn window(&self, scope: CpuSet, span: usize) -> Option<CpuSet> {
        let numas = &self.view.topology.numas;
        let suits = |n: &usize| !self.apart || self.view.numa_use.suits(*n, span > 1);
        let free = |n: &usize| numas[*n].cpus.and(scope).common(&self.supply.free);
        let room = |n: &usize| numas[*n].cpus.and(scope).common(&self.supply.room);
        let mut usable: Vec<usize> = (0..numas.len()).filter(suits).filter(|n| free(n) > 0).collect();
        usable.sort_by_key(|n| (self.fill(room(n)), numas[*n].id));
        let first = self.best_window(&usable, span);
        usable.sort_by_key(|n| (self.fill(free(n)), numas[*n].id));
        let found = first.or_else(|| self.best_window(&usable, span))?;
        Some(found.and(scope))
    }

    /// Among neighbours that are enough: most preferred CPUs, then enough without what is disliked, then the first.
    fn best_window(&self, usable: &[usize], span: usize) -> Option<CpuSet> {
        let numas = &self.view.topology.numas;
        let joined = |window: &[usize]| window.iter().fold(CpuSet::EMPTY, |sum, n| sum.or(numas[*n].cpus));
        let calm = self.supply.free.minus(self.view.conflict);
        let enough = |cpus: &CpuSet| cpus.common(&self.supply.free) >= self.ask.cpus;
        let order = |cpus: &CpuSet| {
            (usize::MAX - cpus.common(&self.view.preferred), cpus.common(&calm) < self.ask.cpus)
        };
        usable.windows(span).map(joined).filter(enough).min_by_key(order)
    }
}

/// A key that sorts what is filled first to the front.
pub(crate) fn filling(strategy: NumaStrategy, free: usize) -> usize {
    match strategy {
        NumaStrategy::MostAllocated => free,
        NumaStrategy::LeastAllocated => usize::MAX - free,
    }
}
