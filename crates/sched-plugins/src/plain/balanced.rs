//! NodeResourcesBalancedAllocation: CPU and memory should fill up evenly.

use sched_core::{Demand, NodeInfo, Slot};

use super::{Cycle, Plugin, Score};
use crate::Weights;

use super::normalize::{self, SCORE_MAX};

pub(crate) struct NodeResourcesBalancedAllocation;

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[Slot]) -> Option<Score<'a>> {
        let requests = &cycle.pod.demand.requests;
        // Pods without requests have no opinion: they would all go to the same node.
        if requests.cpu_milli == 0 && requests.memory == 0 {
            return None;
        }
        let rate = Box::new(move |_, node: &NodeInfo| balance(&cycle.pod.demand, node));
        Some(Score { rate, normalize: normalize::keep })
    }

    fn weight(&self, weights: &Weights) -> i64 {
        weights.balanced_allocation
    }
}

/// How much evener the node is with the pod than without: 75 when it makes no difference, at most 100, at least 50.
fn balance(demand: &Demand, node: &NodeInfo) -> i64 {
    let (have, taken, more) = (&node.fact.allocatable, &node.requested, &demand.requests);
    if have.cpu_milli == 0 || have.memory == 0 {
        return 75;
    }
    let even = |cpu: i64, memory: i64| evenness((cpu, have.cpu_milli), (memory, have.memory));
    let without = even(taken.cpu_milli, taken.memory);
    let with = even(taken.cpu_milli.saturating_add(more.cpu_milli), taken.memory.saturating_add(more.memory));
    50 + (50 + with - without) / 2
}

/// `100 * (1 - |a - b| / 2)` of two fractions (part, whole) capped at one, rounded down, without leaving whole numbers.
fn evenness(a: (i64, i64), b: (i64, i64)) -> i64 {
    let capped = |(part, whole): (i64, i64)| (i128::from(part.min(whole)), i128::from(whole));
    let ((a, a_of), (b, b_of)) = (capped(a), capped(b));
    // Both products stay within 2^126.
    let gap = (a * b_of - b * a_of).unsigned_abs();
    let whole = (a_of * b_of).unsigned_abs();
    let hundred = u128::from(SCORE_MAX.unsigned_abs());
    // 100 * gap / (2 * whole), rounded up; in coarser units where the product would not fit.
    let (gap, whole) = if gap.leading_zeros() < 8 { (gap >> 7, whole >> 7) } else { (gap, whole) };
    let lost = (gap * hundred).div_ceil(2 * whole);
    SCORE_MAX - i64::try_from(lost).unwrap_or(SCORE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_use_scores_a_hundred_and_one_sided_use_half() {
        assert_eq!(evenness((1, 2), (2, 4)), 100);
        assert_eq!(evenness((2, 2), (0, 4)), 50);
        assert_eq!(evenness((9, 2), (0, 4)), 50);
        assert_eq!(evenness((1, 3), (0, 4)), 83);
        assert_eq!(evenness((i64::MAX, i64::MAX), (0, i64::MAX)), 50);
    }
}
