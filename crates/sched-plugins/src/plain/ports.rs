//! NodePorts: two pods cannot take the same port of a node.

use sched_core::{Hints, NodeInfo, Rejection};

use super::{Begin, Cycle, Plugin};

pub(crate) struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let wanted = &cycle.pod.demand.ports;
        if wanted.is_empty() {
            return Begin::Skip;
        }
        let check = move |_, node: &NodeInfo| {
            let clash = wanted.iter().any(|w| node.ports.keys().any(|used| used.clashes(w)));
            clash.then(|| Rejection::resolvable("node(s) didn't have free ports for the requested pod ports"))
        };
        Begin::Check { only: None, check: Box::new(check) }
    }

    fn wake(&self) -> Hints {
        Hints::POD_REMOVED
    }
}
