//! GPU clustering: like to like.

use super::{Policy, Rating, tightest};
use crate::{DeviceSet, Node, Shape};

/// Prefers nodes that host pods of the same kind (share, one device, two, ...) and no other; then those in use.
#[derive(Clone, Copy, Debug, Default)]
pub struct GpuClustering;

impl Policy for GpuClustering {
    fn name(&self) -> &'static str {
        "GpuClustering"
    }

    fn rate(&self, node: &Node, shape: &Shape) -> Rating {
        if shape.devices == 0 {
            return Rating { score: 0, devices: DeviceSet::NONE };
        }
        let used = 25 * (8000 - node.room.left_total()) / 8000;
        let company = match node.hosts(shape.kind()) {
            (true, false) => 75,
            (true, true) => 50,
            (false, false) => 25,
            (false, true) => 0,
        };
        Rating { score: used + company, devices: tightest(&node.room, shape) }
    }
}
