//! Fragmentation gradient descent: where the expected fragmentation grows least.

use super::{Policy, Rating, best_device, first, sigmoid};
use crate::{DeviceSet, Kind, Mix, Node, Shape};

/// FGD of "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC 2023).
#[derive(Clone, Debug)]
pub struct Fgd {
    mix: Mix,
}

impl Fgd {
    /// Against fragmentation for this mix.
    pub fn new(mix: Mix) -> Fgd {
        Fgd { mix }
    }

    fn score(&self, before: f64, node: &Node, shape: &Shape, on: DeviceSet) -> i64 {
        let after = self.mix.fragments(&node.room.after(shape, on), node.model);
        (100.0 * sigmoid(before - after)) as i64
    }
}

impl Policy for Fgd {
    fn name(&self) -> &'static str {
        "FGD"
    }

    fn rate(&self, node: &Node, shape: &Shape) -> Rating {
        let before = self.mix.fragments(&node.room, node.model);
        if shape.kind() != Kind::Share {
            let devices = first(&node.room, shape);
            return Rating { score: self.score(before, node, shape, devices), devices };
        }
        best_device(node, shape, |devices| self.score(before, node, shape, devices))
    }
}
