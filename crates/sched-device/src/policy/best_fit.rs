//! Best fit: where least is left.

use super::{CPU_SCALE, DEVICE_SCALE, Policy, Rating, tightest};
use crate::{Node, Shape};

/// Least CPU and devices left after the pod, by halves. The published scheduler then stretches the scores over 0..=100,
/// which keeps their order: no two whole scores between 0 and 100 fall together.
#[derive(Clone, Copy, Debug, Default)]
pub struct BestFit;

impl Policy for BestFit {
    fn name(&self) -> &'static str {
        "BestFit"
    }

    fn rate(&self, node: &Node, shape: &Shape) -> Rating {
        let cpu = (node.room.cpu_milli - shape.cpu_milli) as f64 / CPU_SCALE;
        let devices = (node.room.left_total() - shape.milli_total()) as f64 / DEVICE_SCALE;
        let score = (100.0 * (1.0 - 0.5 * cpu - 0.5 * devices)) as i64;
        Rating { score, devices: tightest(&node.room, shape) }
    }
}
