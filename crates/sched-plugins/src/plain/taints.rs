//! TaintToleration: taints keep pods away that do not tolerate them.

use sched_core::{Hints, NodeInfo, Reason, Rejection, Resolvable, Slot, TaintEffect};

use super::{Begin, Cycle, Plugin, Score};
use crate::Weights;

use super::normalize;

pub(crate) struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let check = move |_, node: &NodeInfo| {
            let taint = cycle.pod.demand.repelled_by(&node.fact)?;
            let reasons = vec![Reason::Made(taint.reason.clone())];
            Some(Rejection { reasons, resolvable: Resolvable::No })
        };
        Begin::Check { only: None, check: Box::new(check) }
    }

    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[Slot]) -> Option<Score<'a>> {
        let rate = move |_, node: &NodeInfo| {
            let soft = node.fact.taints.iter().filter(|t| t.effect == TaintEffect::PreferNoSchedule);
            i64::try_from(soft.filter(|t| !cycle.pod.demand.accepts(t)).count()).unwrap_or(i64::MAX)
        };
        Some(Score { rate: Box::new(rate), normalize: normalize::reversed })
    }

    fn weight(&self, weights: &Weights) -> i64 {
        weights.taint_toleration
    }

    fn wake(&self) -> Hints {
        Hints::NODE_TAINTS
    }
}
