//! ImageLocality: nodes that hold large images the pod needs, and that many nodes hold, are liked.

use sched_core::{NodeInfo, Slot};

use super::{Cycle, Plugin, Score};
use crate::Weights;

/// Below so many bytes an image does not matter.
const LEAST: i64 = 23 << 20;
/// So many bytes per container are the most that matters.
const MOST: i64 = 1000 << 20;

pub(super) struct ImageLocality;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[Slot]) -> Option<Score<'a>> {
        let nodes: Vec<&NodeInfo> = cycle.snapshot.nodes().map(|(_, n)| n).collect();
        let size = |node: &NodeInfo, name: &str| node.fact.images.iter().find(|i| *i.0 == *name).map(|i| i.1);
        let wanted = &cycle.pod.demand.images;
        if !wanted.iter().any(|name| nodes.iter().any(|n| size(n, name).is_some())) {
            return None;
        }
        let rate = move |_, node: &NodeInfo| {
            let part = |name| -> i64 {
                let Some(bytes) = size(node, name) else { return 0 };
                let holders = nodes.iter().filter(|n| size(n, name).is_some()).count();
                let scaled = i128::from(bytes) * holders as i128 / nodes.len() as i128;
                i64::try_from(scaled).unwrap_or(i64::MAX)
            };
            let sum: i64 = wanted.iter().map(|name| part(name)).sum();
            let most = MOST * i64::try_from(cycle.pod.demand.containers.max(1)).unwrap_or(1);
            100 * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST)
        };
        Some(Score { rate: Box::new(rate), normalize: |_| {} })
    }

    fn weight(&self, weights: &Weights) -> i64 {
        weights.image_locality
    }
}
