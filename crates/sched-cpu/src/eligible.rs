//! Which threads an ask may have at all: everything that hard rules take away, and what soft ones would rather not touch.

use api_koord::Qos;
use api_koord::apart::{Exclusions, Exclusive, Load, Sockets, Stacking};
use api_koord::cpu::{ExclusivePolicy, NumaStrategy};

use crate::accumulate;
use crate::ask::{Ask, Unit};
use crate::domain::{self, NumaUse};
use crate::node::{CpuNode, Holder, Tally};
use crate::set::CpuSet;
use crate::topology::Topology;

/// Rules that are left out, to find the one that is to blame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ignored {
    pub(crate) exclusions: bool,
    pub(crate) stacking: bool,
    pub(crate) owned: bool,
}

/// A node as one ask sees it.
pub(crate) struct View<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) strategy: NumaStrategy,
    /// Holders of each CPU.
    pub(crate) refs: Vec<u8>,
    /// What it may have.
    eligible: CpuSet,
    /// What it could have on an empty node.
    pub(crate) open: CpuSet,
    /// Cores with a thread of its own application.
    own: CpuSet,
    /// Cores or NUMA nodes that Koordinator's exclusive policies would rather leave.
    pub(crate) conflict: CpuSet,
    /// Cores where threads of the opposite load run, and none of its own.
    pub(crate) paired: CpuSet,
    /// Cores where threads of its own load run.
    pub(crate) alike: CpuSet,
    /// Taken first.
    pub(crate) preferred: CpuSet,
    /// Who uses NUMA nodes alone and who across.
    pub(crate) numa_use: NumaUse,
}

/// One way to choose, from the one that pleases most to the one that is just allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// No two threads of the application on one core.
    apart: bool,
    /// Within one socket.
    pub(crate) one_socket: bool,
}

impl<'a> View<'a> {
    pub(crate) fn of(
        node: &'a CpuNode,
        ask: &Ask,
        exclusions: &Exclusions,
        gone: Option<&str>,
        ignored: Ignored,
    ) -> View<'a> {
        let topology = &**node.topology();
        let others = || node.holders().iter().filter(|(uid, _)| Some(&***uid) != gone).map(|(_, h)| h);
        let counted;
        let tally = match gone {
            None => node.tally(),
            Some(_) => {
                counted = Tally::of(topology, node.rules(), others());
                &counted
            }
        };
        let held = gone.and_then(|uid| node.holders().get(uid));
        let open = node.rules().open(topology);
        let mut view = View {
            topology,
            strategy: node.rules().strategy,
            refs: tally.refs.clone(),
            eligible: if ignored.owned {
                tally.free.or(tally.owned.and(open).minus(tally.lse))
            } else {
                tally.free
            },
            open,
            own: CpuSet::EMPTY,
            conflict: CpuSet::EMPTY,
            paired: CpuSet::EMPTY,
            alike: CpuSet::EMPTY,
            preferred: held.map_or(CpuSet::EMPTY, |h| h.cpus),
            numa_use: NumaUse::of(topology, others()),
        };
        if ignored.owned {
            let max = node.rules().holders_max;
            let is_full = |cpu: &u16| tally.refs[usize::from(*cpu)] >= max;
            view.eligible = view.eligible.minus(topology.all().iter().filter(is_full).collect());
        }
        others().filter(|h| !h.cpus.is_empty()).for_each(|h| view.meet(ask, h, exclusions, ignored));
        view.paired = view.paired.minus(view.alike);
        view
    }

    /// Takes one holder into account.
    fn meet(&mut self, ask: &Ask, holder: &Holder, exclusions: &Exclusions, ignored: Ignored) {
        let cores = self.topology.widened(&holder.cpus);
        let is_own = ask.identity.is_same_application(&holder.identity);
        let excluded = !ignored.exclusions && exclusions.part(&ask.identity, &holder.identity);
        let stacked = !ignored.stacking
            && is_own
            && (ask.stacking == Stacking::Forbid || holder.stacking == Stacking::Forbid);
        if excluded || stacked || ask.owned == Exclusive::Cores {
            self.eligible = self.eligible.minus(cores);
        } else if ask.qos == Qos::Lse {
            self.eligible = self.eligible.minus(holder.cpus);
        }
        if is_own {
            self.own = self.own.or(cores);
        }
        self.conflict = self.conflict.or(self.disliked(ask, holder, cores));
        match (ask.load, holder.load) {
            (Some(mine), Some(theirs)) if mine == theirs => self.alike = self.alike.or(cores),
            (Some(Load::Busy), Some(Load::Idle)) | (Some(Load::Idle), Some(Load::Busy)) => {
                self.paired = self.paired.or(cores);
            }
            _ => {}
        }
    }

    /// What Koordinator's exclusive policy of the ask would rather leave to a holder with the same policy.
    fn disliked(&self, ask: &Ask, holder: &Holder, cores: CpuSet) -> CpuSet {
        match (ask.exclusive, holder.exclusive) {
            (ExclusivePolicy::PCPULevel, ExclusivePolicy::PCPULevel) => cores,
            (ExclusivePolicy::NUMANodeLevel, ExclusivePolicy::NUMANodeLevel) => {
                let met = self.topology.numas.iter().filter(|n| n.cpus.meets(&holder.cpus));
                met.fold(CpuSet::EMPTY, |sum, n| sum.or(n.cpus))
            }
            _ => CpuSet::EMPTY,
        }
    }

    /// The CPUs, by the first attempt that succeeds.
    pub(crate) fn choose(&self, ask: &Ask) -> Option<CpuSet> {
        attempts(ask).iter().find_map(|attempt| self.attempt(ask, *attempt))
    }

    fn attempt(&self, ask: &Ask, attempt: Attempt) -> Option<CpuSet> {
        let mut free = self.eligible;
        let mut unit = ask.unit();
        if attempt.apart {
            free = free.minus(self.own);
            // Whole cores hold two threads of one pod by intent: there, apart means from other pods.
            unit = if ask.full { unit } else { Unit::One };
        }
        let free = self.reduced(free, unit);
        if free.len() < ask.cpus {
            return None;
        }
        // What is left out by the node's or the pod's order is as good as taken; what is left out as a wish is not.
        let room = if ask.required { free } else { self.eligible };
        let domain = domain::choose(self, ask, attempt, domain::Supply { free, room, unit })?;
        let cpus = accumulate::take(self, ask, free.and(domain), room.and(domain));
        (!attempt.one_socket || self.topology.sockets_of(&cpus) <= 1).then_some(cpus)
    }

    /// What each core may give: all its free threads, one, or all it has.
    pub(crate) fn reduced(&self, free: CpuSet, unit: Unit) -> CpuSet {
        let size = self.topology.threads_per_core();
        let left = self.topology.cores.iter().map(|core| core.cpus.and(free));
        match unit {
            Unit::Any => free,
            Unit::Whole => left.filter(|cpus| cpus.len() == size).fold(CpuSet::EMPTY, CpuSet::or),
            Unit::One => left.filter_map(|cpus| cpus.iter().min_by_key(|cpu| self.liking(*cpu))).collect(),
        }
    }

    /// Which thread of a core goes first: preferred ones, then the least held, then the lowest.
    fn liking(&self, cpu: u16) -> (bool, u8, u16) {
        (!self.preferred.contains(cpu), self.refs[usize::from(cpu)], cpu)
    }
}

/// Ways to choose, best first. Keeping the application's threads apart goes before filling a NUMA node, but not before staying within
/// a socket: an access across sockets costs more than a shared core.
fn attempts(ask: &Ask) -> Vec<Attempt> {
    let only_one = ask.sockets == Sockets::One;
    let all = |list: &[(bool, bool)]| -> Vec<Attempt> {
        let wanted = list.iter().filter(|(_, one)| *one || !only_one);
        wanted.map(|(apart, one)| Attempt { apart: *apart, one_socket: *one }).collect()
    };
    match ask.stacking {
        Stacking::Allow => vec![Attempt { apart: false, one_socket: only_one }],
        Stacking::Avoid => all(&[(true, true), (false, true), (true, false), (false, false)]),
        Stacking::Forbid => all(&[(true, true), (true, false)]),
    }
}
