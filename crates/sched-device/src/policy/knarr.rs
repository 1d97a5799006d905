//! The policy of profile `knarr`: fragmentation gradient descent with foresight about CPU.

use super::{Policy, Rating, best_device, tightest};
use crate::{DeviceSet, Mix, Node, Shape};

/// Steps along FGD's gradient, but on a waste that grows before CPU runs out: FGD sees that a node's idle devices lack CPU
/// only when not even one more typical pod fits. Differences below [`STEP_MILLI`] count as none, so that the first of almost
/// equal nodes is filled before the next one is touched; gradients compared to the last digit scatter pods and lose more than
/// they gain. See docs/adr/2026-11-28-simulate.md for the figures.
#[derive(Clone, Debug)]
pub struct Knarr {
    mix: Mix,
}

/// How much of the devices that lack CPU in the end counts as wasted now. Between 0.2 and 0.5 the results are alike.
const STARVED: f64 = 0.3;
/// Differences of waste that count, in thousandths of a device. Between 30 and 100 the results are alike.
const STEP_MILLI: f64 = 40.0;
/// Keeps a difference of exactly one step from being rounded below it.
const SLACK: f64 = 1e-6;

impl Knarr {
    /// Against waste for this mix.
    pub fn new(mix: Mix) -> Knarr {
        Knarr { mix }
    }

    fn score(&self, before: f64, node: &Node, shape: &Shape, on: DeviceSet) -> i64 {
        let after = self.mix.waste(&node.room.after(shape, on), node.model, STARVED);
        ((before - after + SLACK) / STEP_MILLI).floor() as i64
    }
}

impl Policy for Knarr {
    fn name(&self) -> &'static str {
        "knarr"
    }

    fn rate(&self, node: &Node, shape: &Shape) -> Rating {
        let before = self.mix.waste(&node.room, node.model, STARVED);
        if shape.devices != 1 {
            let devices = tightest(&node.room, shape);
            return Rating { score: self.score(before, node, shape, devices), devices };
        }
        best_device(node, shape, |devices| self.score(before, node, shape, devices))
    }
}
