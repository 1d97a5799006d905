//! Every rule's word about every node: for people who ask why.

use std::collections::BTreeSet;

use sched_core::{PodFact, Reason, Rejection, Slot, Snapshot};

use super::{Begin, Cycle, Plain, node_affinity};

/// What the rules say about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Said before any node is looked at; then no node will do.
    pub upfront: Option<Reason>,
    /// The known nodes, in the order of their slots.
    pub nodes: Vec<Surveyed>,
}

/// What the rules say about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// The node.
    pub slot: Slot,
    /// Everything that is against it, rule by rule in the order in which they are asked. A decision stops at the first.
    pub against: Vec<(&'static str, Rejection)>,
    /// Weighted score of each rule that has an opinion; empty unless the node will do.
    pub scores: Vec<(&'static str, i64)>,
}

impl Surveyed {
    /// Whether the node will do.
    pub fn does(&self) -> bool {
        self.against.is_empty()
    }

    /// Sum of the weighted scores.
    pub fn score(&self) -> i64 {
        self.scores.iter().map(|(_, score)| score).sum()
    }
}

impl Plain {
    /// Asks every rule about every node. The pod may be placed: it is then judged beside itself, so take it off first.
    pub fn survey(&self, snapshot: &Snapshot, pod: &PodFact) -> Survey {
        let cycle = Cycle { snapshot, pod };
        let (mut checks, mut only, mut upfront) = (Vec::new(), None::<BTreeSet<String>>, None);
        for plugin in &self.plugins {
            match plugin.filter(cycle) {
                Begin::Skip => {}
                Begin::Refuse(rejection) => upfront = upfront.or(rejection.reasons.into_iter().next()),
                Begin::Check { only: names, check } => {
                    only = only.or(names);
                    checks.push((plugin.name(), check));
                }
            }
        }
        let mut nodes: Vec<Surveyed> = Vec::with_capacity(snapshot.len());
        for (slot, node) in snapshot.nodes() {
            let unnamed = only.as_ref().is_some_and(|names| !names.contains(&*node.fact.name));
            let unnamed = unnamed.then(|| ("NodeAffinity", Rejection::lasting(node_affinity::NOT_NAMED)));
            // Who is not named is refused by that rule already.
            let asked = checks.iter().filter(|(rule, _)| unnamed.is_none() || *rule != "NodeAffinity");
            let against = asked.filter_map(|(rule, check)| Some((*rule, check(slot, node)?)));
            let against: Vec<_> = against.collect();
            let against = unnamed.into_iter().chain(against).collect();
            nodes.push(Surveyed { slot, against, scores: Vec::new() });
        }
        if upfront.is_none() {
            self.rate_survey(cycle, &mut nodes);
        }
        Survey { upfront, nodes }
    }

    fn rate_survey(&self, cycle: Cycle<'_>, nodes: &mut [Surveyed]) {
        let feasible: Vec<Slot> = nodes.iter().filter(|n| n.does()).map(|n| n.slot).collect();
        let parts = self.parts(cycle, &feasible);
        for (at, node) in nodes.iter_mut().filter(|n| n.does()).enumerate() {
            node.scores = parts.iter().map(|(rule, values)| (*rule, values[at])).collect();
        }
    }
}
