//! ImageLocality: what a node's images are worth to a class, kept until some node's images change.

use sched_core::{Demand, Snapshot};

use super::cell::SCORE_MAX;

/// Below so many bytes an image does not matter: a download of a second or two.
const BYTES_MIN: i64 = 23 << 20;
/// So many bytes per container are the most that matters.
const BYTES_MAX: i64 = 1000 << 20;

/// The scores of all nodes for one class.
pub(crate) struct Liked {
    /// The state of all images, and the number of nodes, they were worked out in.
    at: (u64, usize),
    /// Whether any node has any of the images.
    pub(crate) any: bool,
    /// Score by slot, 0 to 100; slots beyond have none.
    pub(crate) scores: Vec<i64>,
}

impl Liked {
    /// The scores as of now; worked out anew only when images or nodes have changed.
    pub(crate) fn follow(kept: Option<Liked>, demand: &Demand, snapshot: &Snapshot) -> Liked {
        let at = (snapshot.images().version(), snapshot.len());
        if let Some(kept) = kept.filter(|k| k.at == at) {
            return kept;
        }
        let mut liked = Liked { at, any: false, scores: Vec::new() };
        for nodes in demand.images.iter().filter_map(|name| snapshot.images().nodes_with(name)) {
            liked.any = true;
            liked.scores.resize(snapshot.slots(), 0);
            for (slot, bytes) in nodes {
                // An image that few nodes have draws less, so that not all pods go to these.
                let scaled = i128::from(*bytes) * nodes.len() as i128 / at.1.max(1) as i128;
                let sum = &mut liked.scores[slot.index()];
                *sum = sum.saturating_add(i64::try_from(scaled).unwrap_or(i64::MAX));
            }
        }
        let most = BYTES_MAX * i64::try_from(demand.containers.max(1)).unwrap_or(1);
        for sum in &mut liked.scores {
            *sum = SCORE_MAX * ((*sum).clamp(BYTES_MIN, most) - BYTES_MIN) / (most - BYTES_MIN);
        }
        liked
    }
}
