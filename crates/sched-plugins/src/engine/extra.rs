//! Rules of others beside the built-in ones.

use sched_core::{Hints, NodeInfo, PodFact, Rejection, Slot, Snapshot};

use super::row::Row;

/// A rule of somebody else's, asked for every node that all built-in rules allow. It keeps what it knows of nodes itself, by
/// slot or by name: the snapshot need not know of it.
pub trait Extra {
    /// Its name, for scores and refusals.
    fn name(&self) -> &'static str;

    /// Whether it has anything to say about the pod.
    fn concerns(&self, pod: &PodFact) -> bool;

    /// Why the node does not do.
    fn check(&self, _pod: &PodFact, _slot: Slot, _node: &NodeInfo) -> Option<Rejection> {
        None
    }

    /// Whether it scores.
    fn rates(&self) -> bool {
        true
    }

    /// Raw score of a node.
    fn rate(&self, _pod: &PodFact, _slot: Slot, _node: &NodeInfo) -> i64 {
        0
    }

    /// Brings the raw scores of all feasible nodes into range; they are in range already unless it says otherwise.
    fn normalize(&self, _raws: &mut [i64]) {}

    /// How much its score weighs.
    fn weight(&self) -> i64 {
        1
    }

    /// Changes after which a pod it refused may fit.
    fn wake(&self) -> Hints {
        Hints::NODE_ADDED | Hints::NODE_ROOM | Hints::POD_REMOVED | Hints::POD_CHANGED
    }
}

/// Takes out the nodes that some extra rule is against.
pub(crate) fn narrow(row: &mut Row, snapshot: &Snapshot, pod: &PodFact, extras: &[&dyn Extra]) {
    if extras.is_empty() {
        return;
    }
    let refused = |slot: &Slot| extras.iter().any(|e| e.check(pod, *slot, snapshot.node(*slot)).is_some());
    let refused: Vec<Slot> = row.scores().map(|(slot, _)| slot).filter(refused).collect();
    refused.into_iter().for_each(|slot| row.take_out(slot));
}

/// Scores of extra rules, beside the row because they may be of any size.
pub(crate) struct Scores {
    slots: Vec<Slot>,
    parts: Vec<(&'static str, Vec<i64>)>,
}

/// The weighted scores of the extra rules that rate; nothing when none does.
pub(crate) fn rate(row: &Row, snapshot: &Snapshot, pod: &PodFact, extras: &[&dyn Extra]) -> Option<Scores> {
    let raters = extras.iter().filter(|e| e.rates() && e.weight() != 0);
    let mut scores = Scores { slots: Vec::new(), parts: Vec::new() };
    for extra in raters {
        if scores.slots.is_empty() {
            scores.slots.extend(row.scores().map(|(slot, _)| slot));
        }
        let mut raws: Vec<i64> =
            scores.slots.iter().map(|slot| extra.rate(pod, *slot, snapshot.node(*slot))).collect();
        extra.normalize(&mut raws);
        scores
            .parts
            .push((extra.name(), raws.into_iter().map(|raw| raw.saturating_mul(extra.weight())).collect()));
    }
    (!scores.parts.is_empty()).then_some(scores)
}

impl Scores {
    /// The sums of built-in and extra scores.
    pub(crate) fn totals<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = (Slot, i64)> + 'a {
        row.scores().enumerate().map(|(at, (slot, score))| {
            let extra = self.parts.iter().map(|(_, values)| values[at]);
            (slot, extra.fold(score, i64::saturating_add))
        })
    }

    /// What each rule said of a node.
    pub(crate) fn scores(&self, slot: Slot) -> impl Iterator<Item = (&'static str, i64)> + '_ {
        let at = self.slots.binary_search(&slot).expect("the chosen node was rated");
        self.parts.iter().map(move |(rule, values)| (*rule, values[at]))
    }
}
