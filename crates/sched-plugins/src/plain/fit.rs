//! NodeResourcesFit: requests fit into what is left; emptier nodes are liked better.

use sched_core::{Demand, Hints, NodeInfo, Reason, Rejection, Resolvable, Slot};

use super::{Begin, Cycle, Plugin, Score};
use crate::Weights;

use super::normalize::{self, SCORE_MAX};

pub(crate) struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        Begin::Check { only: None, check: Box::new(move |_, node| shortage(&cycle.pod.demand, node)) }
    }

    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[Slot]) -> Option<Score<'a>> {
        let rate = Box::new(move |_, node: &NodeInfo| least_allocated(&cycle.pod.demand, node));
        Some(Score { rate, normalize: normalize::keep })
    }

    fn wake(&self) -> Hints {
        Hints::NODE_ROOM | Hints::POD_REMOVED | Hints::POD_CHANGED
    }

    fn weight(&self, weights: &Weights) -> i64 {
        weights.resources_fit
    }
}

fn shortage(demand: &Demand, node: &NodeInfo) -> Option<Rejection> {
    let mut found = Rejection { reasons: Vec::new(), resolvable: Resolvable::ByRemovingPods };
    if i64::try_from(node.pods.len()).is_ok_and(|n| n >= node.fact.pods_max) {
        found.reasons.push(Reason::Fixed("Too many pods"));
    }
    let (want, taken, have) = (&demand.requests, &node.requested, &node.fact.allocatable);
    let mut compare = |want: i64, taken: i64, have: i64, reason: &dyn Fn() -> Reason| {
        if want > 0 && want > have.saturating_sub(taken) {
            found.reasons.push(reason());
            if want > have {
                found.resolvable = Resolvable::No;
            }
        }
    };
    compare(want.cpu_milli, taken.cpu_milli, have.cpu_milli, &|| Reason::Fixed("Insufficient cpu"));
    compare(want.memory, taken.memory, have.memory, &|| Reason::Fixed("Insufficient memory"));
    compare(want.ephemeral_storage, taken.ephemeral_storage, have.ephemeral_storage, &|| {
        Reason::Fixed("Insufficient ephemeral-storage")
    });
    for (name, amount) in &want.extended {
        let reason = || Reason::Made(format!("Insufficient {name}").into());
        compare(*amount, taken.extended(name), have.extended(name), &reason);
    }
    (!found.reasons.is_empty()).then_some(found)
}

/// Mean over CPU and memory of the part that would stay free, in hundredths, rounded down at each step.
fn least_allocated(demand: &Demand, node: &NodeInfo) -> i64 {
    let have = &node.fact.allocatable;
    let parts = [
        free_part(have.cpu_milli, node.scored_cpu_milli.saturating_add(demand.scored_cpu_milli)),
        free_part(have.memory, node.scored_memory.saturating_add(demand.scored_memory)),
    ];
    let (sum, count) = parts.iter().flatten().fold((0, 0), |(sum, count), part| (sum + part, count + 1));
    if count == 0 { 0 } else { sum / count }
}

/// Nothing when the node has none of it at all.
fn free_part(have: i64, taken: i64) -> Option<i64> {
    if have == 0 {
        return None;
    }
    Some(if taken > have { 0 } else { scaled(have - taken, have) })
}

fn scaled(part: i64, whole: i64) -> i64 {
    let hundredths = i128::from(part) * i128::from(SCORE_MAX) / i128::from(whole);
    i64::try_from(hundredths).unwrap_or(SCORE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_part_rounds_down_and_never_below_zero() {
        assert_eq!(free_part(3, 1), Some(66));
        assert_eq!(free_part(3, 4), Some(0));
        assert_eq!(free_part(0, 4), None);
        assert_eq!(free_part(i64::MAX, 0), Some(100));
    }
}
