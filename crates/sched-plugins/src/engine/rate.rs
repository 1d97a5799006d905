//! The rules whose scores are brought into range over all nodes that do: what each says of a node, and which nodes it says the
//! same of.

use sched_core::Snapshot;

use super::class::{Class, soft_taints};
use super::row::{Part, Raw, Row, Sameness, Scale};
use super::spread;
use super::wide::{Pulls, id_of};
use crate::Weights;

/// A label with at most so many values divides nodes into groups that are worth going through one by one.
const BASE_DOMAINS_MAX: usize = 64;

/// All that rates nodes beyond what their cells say.
pub(crate) struct Rating<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) class: &'a Class,
    pub(crate) weights: &'a Weights,
}

impl<'a> Rating<'a> {
    /// Adds the scores of all rules but the local ones to the row; gives them in the order of their rules.
    pub(crate) fn rate(&self, row: &mut Row, pulls: Pulls<'a>) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        parts.extend(self.taints(row));
        parts.extend(self.wishes(row));
        parts.extend(self.spread(row));
        parts.extend(self.affinity(row, pulls));
        parts.extend(self.images(row));
        parts
    }

    fn taints(&self, row: &mut Row) -> Option<Part<'a>> {
        let (snapshot, class, weight) = (self.snapshot, self.class, self.weights.taint_toleration);
        if weight == 0 {
            return None;
        }
        let raw: Raw<'a> = match (&class.soft_taints, &class.pinned) {
            (Some(counts), _) => Box::new(|at| i64::from(counts[at])),
            (None, None) => Box::new(|_| 0),
            (None, Some(_)) => Box::new(move |at| {
                let taints = soft_taints(&class.demand, snapshot, sched_core::Slot::at(at));
                i64::try_from(taints).unwrap_or(i64::MAX)
            }),
        };
        let exceptions = snapshot.softly_tainted().iter().map(index).collect();
        Some(row.add(
            ("TaintToleration", weight, Scale::Reversed),
            raw,
            Some(Sameness { base: None, exceptions }),
        ))
    }

    fn wishes(&self, row: &mut Row) -> Option<Part<'a>> {
        let (wishes, weight) = (&self.class.numbers.as_ref()?.wishes, self.weights.node_affinity);
        if wishes.is_empty() || weight == 0 {
            return None;
        }
        let wishes: Vec<_> =
            wishes.iter().map(|(wish, fence)| (*wish, self.snapshot.fenced(*fence))).collect();
        let raw = move |at: usize| {
            let slot = sched_core::Slot::at(at);
            wishes.iter().filter(|(_, bits)| bits.has(slot)).map(|(wish, _)| *wish).sum::<i64>()
        };
        Some(row.add(("NodeAffinity", weight, Scale::Proportional), Box::new(raw), None))
    }

    fn spread(&self, row: &mut Row) -> Option<Part<'a>> {
        let (numbers, weight) = (self.class.numbers.as_ref()?, self.weights.pod_topology_spread);
        if numbers.soft.is_empty() || weight == 0 {
            return None;
        }
        let field = spread::Field::new(self.snapshot, numbers, row);
        let sameness = field.sameness(BASE_DOMAINS_MAX);
        let raw = Box::new(move |at| field.raw(at));
        Some(row.add(("PodTopologySpread", weight, Scale::Even), raw, sameness))
    }

    fn affinity(&self, row: &mut Row, pulls: Pulls<'a>) -> Option<Part<'a>> {
        let weight = self.weights.inter_pod_affinity;
        if pulls.is_empty() || weight == 0 {
            return None;
        }
        let base = pulls.iter().position(|(column, _)| column.domains() <= BASE_DOMAINS_MAX);
        let mut exceptions = Vec::new();
        for (column, by_id) in pulls.iter().enumerate().filter(|(i, _)| Some(*i) != base).map(|(_, p)| p) {
            for (id, _) in by_id.iter().enumerate().filter(|(_, pull)| **pull != 0) {
                exceptions.extend_from_slice(column.members(id));
            }
        }
        let sameness = Sameness { base: base.map(|i| pulls[i].0), exceptions };
        let raw = move |at| pulls.iter().map(|(column, by_id)| by_id[id_of(column, at)]).sum::<i64>();
        Some(row.add(("InterPodAffinity", weight, Scale::Stretched), Box::new(raw), Some(sameness)))
    }

    fn images(&self, row: &mut Row) -> Option<Part<'a>> {
        let (liked, weight) = (self.class.liked.as_ref().filter(|l| l.any)?, self.weights.image_locality);
        if weight == 0 {
            return None;
        }
        let scores = &liked.scores;
        let raw = |at: usize| scores.get(at).copied().unwrap_or(0);
        let liked = (0_u32..).zip(scores).filter(|(_, score)| **score != 0).map(|(at, _)| at);
        let sameness = Sameness { base: None, exceptions: liked.collect() };
        Some(row.add(("ImageLocality", weight, Scale::Plain), Box::new(raw), Some(sameness)))
    }
}

fn index(slot: sched_core::Slot) -> u32 {
    u32::try_from(slot.index()).expect("slots are numbered in 32 bits")
}
