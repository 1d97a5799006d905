//! Overlaps that nobody meant: found at once, whoever made them, and answered with the pods to move.
//!
//! The scheduler never allocates so; but two schedulers, a hand that edits annotations, a kubelet with CPUs of its own, and rules
//! that changed after pods were placed all do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use api_koord::Qos;
use api_koord::apart::{Exclusions, Exclusive, Stacking};

use crate::node::{CpuNode, Holder};
use crate::set::CpuSet;

/// Which rule does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// CPUs that the node does not have.
    Unknown,
    /// CPUs that are reserved, or that the node leaves to best effort.
    Closed,
    /// More pods on a logical CPU than may hold it.
    Overlap,
    /// A logical CPU of an LSE pod held by another.
    Lse,
    /// A core that a pod owns held by another.
    Owned,
    /// Applications that exclude each other on one core.
    Excluded,
    /// Two threads of an application that forbids it on one core.
    Stacked,
    /// Across sockets, where one was asked for.
    Sockets,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Unknown => "holds CPUs that the node does not have",
            Kind::Closed => "holds CPUs that are not for pods like it",
            Kind::Overlap => "holds CPUs that others hold",
            Kind::Lse => "shares CPUs of an LSE pod",
            Kind::Owned => "shares physical cores that are owned",
            Kind::Excluded => "shares physical cores with an application it excludes",
            Kind::Stacked => "has two threads of its application on a physical core",
            Kind::Sockets => "spans sockets",
        })
    }
}

/// One rule that one pod breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub kind: Kind,
    /// The pod that is to move.
    pub uid: Arc<str>,
    /// Pods that stay where they are and that it meets; none when it breaks the rule by itself.
    pub with: Vec<Arc<str>>,
    /// The CPUs it is about.
    pub cpus: CpuSet,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Every broken rule, by pod in order of importance, then by rule.
    pub findings: Vec<Finding>,
    /// Pods after whose leaving no rule is broken, most important first. Pods that somebody else placed are not among them: where only
    /// those are left to move, findings stay.
    pub moves: Vec<Arc<str>>,
}

/// A pod that does not run where it was told to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The pod.
    pub uid: Arc<str>,
    /// Where it should run.
    pub given: CpuSet,
    /// Where it does.
    pub runs_on: CpuSet,
}

impl CpuNode {
    /// Judges everybody on the node. Pods are kept from the most important down: placed by others, then higher priority, LSE before
    /// LSR, the older, the identity; who breaks a rule with one that is kept is to move.
    pub fn audit(&self, exclusions: &Exclusions) -> Audit {
        let mut pods: Vec<(&Arc<str>, &Holder)> =
            self.holders().iter().filter(|(_, h)| !h.cpus.is_empty()).collect();
        pods.sort_by_key(|(uid, h)| (!h.is_fixed, -i64::from(h.priority), h.qos, h.created, (*uid).clone()));
        let mut audit = Audit::default();
        let mut kept: Vec<(&Arc<str>, &Holder)> = Vec::new();
        for (uid, holder) in pods {
            let found = Judged { node: self, exclusions, uid, holder, kept: &kept }.findings();
            let is_clean = found.is_empty();
            audit.findings.extend(found);
            if is_clean || holder.is_fixed {
                kept.push((uid, holder));
            } else {
                audit.moves.push(uid.clone());
            }
        }
        audit
    }

    /// Pods whose cpuset on the machine is not the one they were given, pools included. `seen` is what cgroups say; a pod that is not
    /// there is not seen yet, which is no drift.
    pub fn drift(&self, seen: &BTreeMap<Arc<str>, CpuSet>) -> Vec<Drift> {
        let drifted = |(uid, runs_on): (&Arc<str>, &CpuSet)| {
            let given = self.runs_on(uid)?;
            (given != *runs_on).then(|| Drift { uid: uid.clone(), given, runs_on: *runs_on })
        };
        seen.iter().filter_map(drifted).collect()
    }
}

struct Judged<'a> {
    node: &'a CpuNode,
    exclusions: &'a Exclusions,
    uid: &'a Arc<str>,
    holder: &'a Holder,
    kept: &'a [(&'a Arc<str>, &'a Holder)],
}

impl Judged<'_> {
    fn findings(&self) -> Vec<Finding> {
        let mut out = self.alone();
        out.extend(self.overlap());
        out.extend(self.met(Kind::Lse, |me, other| {
            let lse = me.qos == Qos::Lse || other.qos == Qos::Lse;
            if lse { me.cpus.and(other.cpus) } else { CpuSet::EMPTY }
        }));
        let on_cores = |cpus: &CpuSet| self.node.topology().widened(cpus);
        let mine = on_cores(&self.holder.cpus);
        let shared = |other: &Holder| mine.and(on_cores(&other.cpus));
        out.extend(self.met(Kind::Owned, |me, other| {
            let owned = me.owned == Exclusive::Cores || other.owned == Exclusive::Cores;
            if owned { shared(other) } else { CpuSet::EMPTY }
        }));
        out.extend(self.met(Kind::Excluded, |me, other| {
            if self.exclusions.part(&me.identity, &other.identity) { shared(other) } else { CpuSet::EMPTY }
        }));
        out.extend(self.met(Kind::Stacked, |me, other| {
            let forbids = me.stacking == Stacking::Forbid || other.stacking == Stacking::Forbid;
            let same = me.identity.is_same_application(&other.identity);
            if forbids && same { shared(other) } else { CpuSet::EMPTY }
        }));
        out
    }

    fn finding(&self, kind: Kind, cpus: CpuSet, with: Vec<Arc<str>>) -> Option<Finding> {
        (!cpus.is_empty()).then(|| Finding { kind, uid: self.uid.clone(), with, cpus })
    }

    /// What it breaks by itself.
    fn alone(&self) -> Vec<Finding> {
        let (topology, cpus) = (self.node.topology(), self.holder.cpus);
        let known = cpus.and(topology.all());
        // Whoever placed it outside our rules knows its own reserved CPUs.
        let open = if self.holder.is_fixed { topology.all() } else { self.node.rules().open(topology) };
        let crosses = self.holder.one_socket && topology.sockets_of(&cpus) > 1;
        let stacks = self.holder.stacking == Stacking::Forbid && topology.stacked(&cpus) > 0;
        let when = |broken: bool| if broken { cpus } else { CpuSet::EMPTY };
        let found = [
            (Kind::Unknown, cpus.minus(topology.all())),
            (Kind::Closed, known.minus(open)),
            (Kind::Stacked, when(stacks)),
            (Kind::Sockets, when(crosses)),
        ];
        found.into_iter().filter_map(|(kind, cpus)| self.finding(kind, cpus, Vec::new())).collect()
    }

    fn overlap(&self) -> Option<Finding> {
        let max = usize::from(self.node.rules().holders_max);
        let holders = |cpu: u16| self.kept.iter().filter(move |(_, h)| h.cpus.contains(cpu));
        let over: CpuSet = self.holder.cpus.iter().filter(|cpu| holders(*cpu).count() >= max).collect();
        let with = self.kept.iter().filter(|(_, h)| h.cpus.meets(&over)).map(|(uid, _)| (*uid).clone());
        self.finding(Kind::Overlap, over, with.collect())
    }

    /// What it breaks with pods that are kept.
    fn met(&self, kind: Kind, overlap: impl Fn(&Holder, &Holder) -> CpuSet) -> Option<Finding> {
        let (mut cpus, mut with) = (CpuSet::EMPTY, Vec::new());
        for (uid, other) in self.kept {
            let common = overlap(self.holder, other);
            if !common.is_empty() {
                cpus = cpus.or(common);
                with.push((*uid).clone());
            }
        }
        self.finding(kind, cpus, with)
    }
}
