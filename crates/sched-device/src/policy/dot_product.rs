//! Dot product: where what is left points least in the direction of what is asked for.

use super::{CPU_SCALE, DEVICE_SCALE, Policy, Rating, tightest};
use crate::{Node, Shape};

/// The smaller the product of room and request, the better.
#[derive(Clone, Copy, Debug, Default)]
pub struct DotProd;

impl Policy for DotProd {
    fn name(&self) -> &'static str {
        "DotProd"
    }

    fn rate(&self, node: &Node, shape: &Shape) -> Rating {
        let cpu = (node.room.cpu_milli as f64 / CPU_SCALE) * (shape.cpu_milli as f64 / CPU_SCALE);
        let devices =
            (node.room.left_total() as f64 / DEVICE_SCALE) * (shape.milli_total() as f64 / DEVICE_SCALE);
        let score = (100.0 * (1.0 - (cpu + devices) / 2.0)) as i64;
        Rating { score, devices: tightest(&node.room, shape) }
    }
}
