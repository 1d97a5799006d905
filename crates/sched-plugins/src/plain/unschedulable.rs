//! NodeUnschedulable: cordoned nodes take only pods that tolerate it.

use sched_core::{Hints, Rejection, TaintEffect, TaintFact};

use super::{Begin, Cycle, Plugin};

pub(crate) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let cordon = TaintFact::new("node.kubernetes.io/unschedulable", "", TaintEffect::NoSchedule);
        if cycle.pod.demand.accepts(&cordon) {
            return Begin::Skip;
        }
        let check = |_, node: &sched_core::NodeInfo| {
            node.fact.unschedulable.then(|| Rejection::lasting("node(s) were unschedulable"))
        };
        Begin::Check { only: None, check: Box::new(check) }
    }

    fn wake(&self) -> Hints {
        Hints::NODE_TAINTS
    }
}
