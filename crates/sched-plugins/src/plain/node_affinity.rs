//! NodeAffinity: node selectors and node affinity.

use std::collections::BTreeSet;

use api_meta::Requirement;
use sched_core::{Demand, Hints, NodeInfo, NodeTerm, Rejection, Slot};

use super::{Begin, Cycle, Plugin, Score};
use crate::Weights;

use super::normalize;

/// Said of nodes that no term names, when the terms name nodes.
pub(crate) const NOT_NAMED: &str = "node(s) didn't satisfy plugin(s) [NodeAffinity]";

pub(crate) struct NodeAffinity;

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let demand = &cycle.pod.demand;
        if demand.node_selector.is_empty() && demand.node_terms.is_none() {
            return Begin::Skip;
        }
        let only = named_nodes(demand);
        if only.as_ref().is_some_and(BTreeSet::is_empty) {
            return Begin::Refuse(Rejection::lasting("pod affinity terms conflict"));
        }
        let check = move |_, node: &NodeInfo| {
            (!cycle.pod.demand.fits_labels(&node.fact))
                .then(|| Rejection::lasting("node(s) didn't match Pod's node affinity/selector"))
        };
        Begin::Check { only, check: Box::new(check) }
    }

    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[Slot]) -> Option<Score<'a>> {
        let wishes = &cycle.pod.demand.node_wishes;
        if wishes.is_empty() {
            return None;
        }
        let rate = move |_, node: &NodeInfo| {
            wishes.iter().filter(|(_, term)| term.matches(&node.fact)).map(|(weight, _)| weight).sum()
        };
        Some(Score { rate: Box::new(rate), normalize: normalize::proportional })
    }

    fn weight(&self, weights: &Weights) -> i64 {
        weights.node_affinity
    }

    fn wake(&self) -> Hints {
        Hints::NODE_LABELS
    }
}

/// The nodes that the terms name, when every term names some: pods of DaemonSets do.
fn named_nodes(demand: &Demand) -> Option<BTreeSet<String>> {
    let terms = demand.node_terms.as_ref().filter(|t| !t.is_empty())?;
    terms.iter().map(names_of).try_fold(BTreeSet::new(), |mut all, names| {
        all.extend(names?);
        Some(all)
    })
}

fn names_of(term: &NodeTerm) -> Option<BTreeSet<String>> {
    let lists = term.names.iter().filter_map(|r| match r {
        Requirement::In(key, values) if key == "metadata.name" => Some(values.iter().cloned().collect()),
        _ => None,
    });
    lists.reduce(|a: BTreeSet<String>, b| a.intersection(&b).cloned().collect())
}
