//! NodeName: a pod that names its node goes there.

use sched_core::{NodeInfo, Rejection};

use super::{Begin, Cycle, Plugin};

pub(crate) struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let Some(name) = &cycle.pod.node else { return Begin::Skip };
        let check = move |_, node: &NodeInfo| {
            (node.fact.name != *name)
                .then(|| Rejection::lasting("node(s) didn't match the requested node name"))
        };
        Begin::Check { only: None, check: Box::new(check) }
    }
}
