//! What depends on where other pods are: verdicts and pulls by domain, from the counts that the snapshot keeps up.

use sched_core::{Column, ColumnId, Pull, Snapshot, Whose};

use super::class::{Class, Hard, Numbers};

/// How much a required affinity of a placed pod pulls when scoring (upstream's hardPodAffinityWeight).
const REQUIRED_WEIGHT: i64 = 1;

/// A verdict on nodes by their domain.
pub(crate) struct Filter<'a> {
    column: &'a Column,
    /// Whether nodes of a domain do, by domain plus one; first those without domain.
    does: Vec<bool>,
    pub(crate) kind: Kind,
}

/// Which rule a verdict is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A spread constraint.
    Spread,
    /// Required affinity.
    Near,
    /// Required anti-affinity.
    Apart,
    /// Required anti-affinity of placed pods.
    Against,
}

/// Domain plus one of the node at a place.
#[inline]
pub(crate) fn id_of(column: &Column, at: usize) -> usize {
    column.ids().get(at).map_or(0, |id| *id as usize)
}

impl Filter<'_> {
    /// Calls `take` with each node that does not do.
    pub(crate) fn each_failing(&self, mut take: impl FnMut(usize)) {
        for (id, _) in self.does.iter().enumerate().filter(|(_, does)| !**does) {
            self.column.members(id).iter().for_each(|slot| take(*slot as usize));
        }
    }

    #[inline]
    pub(crate) fn does(&self, at: usize) -> bool {
        self.does[self.id(at)]
    }

    /// Whether the node is in some domain.
    pub(crate) fn is_labelled(&self, at: usize) -> bool {
        self.id(at) != 0
    }

    #[inline]
    fn id(&self, at: usize) -> usize {
        id_of(self.column, at)
    }
}

/// The verdicts for one pod of the class, in the order in which they are asked.
pub(crate) fn filters<'a>(snapshot: &'a Snapshot, class: &mut Class) -> Vec<Filter<'a>> {
    let numbers = class.numbers.as_mut().expect("resolved before");
    let mut out = Vec::new();
    for i in 0..numbers.hard.len() {
        out.push(spread(snapshot, numbers, i));
    }
    near(snapshot, numbers, &mut out);
    for id in &numbers.apart {
        let tally = snapshot.tally(*id);
        if tally.total() > 0 {
            let mut does = all_do(snapshot, tally.column());
            tally.each(|domain, _| does[domain + 1] = false);
            out.push(Filter { column: snapshot.column(tally.column()), does, kind: Kind::Apart });
        }
    }
    against(snapshot, numbers, &mut out);
    out
}

fn all_do(snapshot: &Snapshot, column: ColumnId) -> Vec<bool> {
    vec![true; snapshot.column(column).domains() + 1]
}

fn spread<'a>(snapshot: &'a Snapshot, numbers: &mut Numbers, i: usize) -> Filter<'a> {
    let hard = &mut numbers.hard[i];
    find_present(snapshot, hard);
    let (column, tally) = (snapshot.column(hard.column), snapshot.tally(hard.tally));
    let mut counts = vec![0_u32; column.domains()];
    tally.each(|domain, pods| counts[domain] = pods);
    let present = &hard.present.1;
    let least = present.iter().map(|d| counts[*d as usize]).min().unwrap_or(0);
    let min = if present.len() < hard.min_domains { 0 } else { i64::from(least) };
    let itself = i64::from(snapshot.is_counted(numbers.kin, hard.tally));
    let limit = hard.max_skew + min - itself;
    let mut does = Vec::with_capacity(counts.len() + 1);
    does.push(false);
    does.extend(counts.iter().map(|pods| i64::from(*pods) <= limit));
    Filter { column, does, kind: Kind::Spread }
}

/// Finds the domains that eligible nodes are in, unless no node's object has changed since.
fn find_present(snapshot: &Snapshot, hard: &mut Hard) {
    if hard.present.0 == snapshot.objects() {
        return;
    }
    let column = snapshot.column(hard.column);
    let mut seen = vec![false; column.domains()];
    let eligible = hard.fence.map_or(snapshot.known(), |f| snapshot.fenced(f));
    for domain in eligible.iter().filter_map(|slot| column.domain(slot)) {
        seen[domain] = true;
    }
    let list = seen.iter().enumerate().filter(|(_, s)| **s);
    let list = list.map(|(d, _)| u32::try_from(d).expect("domains are numbered in 32 bits"));
    hard.present = (snapshot.objects(), list.collect());
}

fn near<'a>(snapshot: &'a Snapshot, numbers: &Numbers, out: &mut Vec<Filter<'a>>) {
    let nobody = numbers.near.iter().all(|id| snapshot.tally(*id).total() == 0);
    // Nobody matches yet, and the pod matches its own terms: the first of a group may go anywhere.
    let is_first = nobody && numbers.near.iter().all(|id| snapshot.is_counted(numbers.kin, *id));
    for id in &numbers.near {
        let tally = snapshot.tally(*id);
        let column = snapshot.column(tally.column());
        let mut does = vec![is_first; column.domains() + 1];
        does[0] = false;
        tally.each(|domain, _| does[domain + 1] = true);
        out.push(Filter { column, does, kind: Kind::Near });
    }
}

/// Terms of placed pods that keep the pod away, one verdict per topology.
fn against<'a>(snapshot: &'a Snapshot, numbers: &Numbers, out: &mut Vec<Filter<'a>>) {
    let mut merged: Vec<(ColumnId, Vec<bool>)> = Vec::new();
    for tally in snapshot.concerned(numbers.kin).filter(|t| t.total() > 0) {
        if !matches!(tally.whose(), Whose::Carriers(c) if c.pull == Pull::MustApart) {
            continue;
        }
        let at = merged.iter().position(|(c, _)| *c == tally.column()).unwrap_or_else(|| {
            merged.push((tally.column(), all_do(snapshot, tally.column())));
            merged.len() - 1
        });
        let does = &mut merged[at].1;
        tally.each(|domain, _| does[domain + 1] = false);
    }
    out.extend(merged.into_iter().map(|(column, does)| Filter {
        column: snapshot.column(column),
        does,
        kind: Kind::Against,
    }));
}

/// How strongly other pods pull the pod, by domain plus one, one list per topology.
pub(crate) type Pulls<'a> = Vec<(&'a Column, Vec<i64>)>;

/// The pulls on one pod of the class; empty when nobody pulls.
pub(crate) fn pulls<'a>(snapshot: &'a Snapshot, class: &Class) -> Pulls<'a> {
    let numbers = class.numbers.as_ref().expect("resolved before");
    let own = numbers.inclined.iter().map(|(weight, id)| (*weight, snapshot.tally(*id)));
    let others = snapshot.concerned(numbers.kin).filter_map(|tally| {
        let Whose::Carriers(carried) = tally.whose() else { return None };
        match carried.pull {
            Pull::MustNear => Some((REQUIRED_WEIGHT, tally)),
            Pull::MustApart => None,
            Pull::Inclined(weight) => Some((weight, tally)),
        }
    });
    let mut merged: Vec<(ColumnId, Vec<i64>)> = Vec::new();
    for (weight, tally) in own.chain(others).filter(|(weight, t)| *weight != 0 && t.total() > 0) {
        let at = merged.iter().position(|(c, _)| *c == tally.column()).unwrap_or_else(|| {
            merged.push((tally.column(), vec![0; snapshot.column(tally.column()).domains() + 1]));
            merged.len() - 1
        });
        let by_domain = &mut merged[at].1;
        tally.each(|domain, pods| by_domain[domain + 1] += weight * i64::from(pods));
    }
    merged.into_iter().map(|(column, by_domain)| (snapshot.column(column), by_domain)).collect()
}
