//! GPU packing: devices in use first, then used nodes, then idle nodes.

use super::{Policy, Rating, tightest};
use crate::{DeviceSet, Node, Shape, WHOLE};

/// Prefers devices that are shared already, then idle devices of used nodes, then idle nodes, small ones first.
#[derive(Clone, Copy, Debug, Default)]
pub struct GpuPacking;

impl Policy for GpuPacking {
    fn name(&self) -> &'static str {
        "GpuPacking"
    }

    fn rate(&self, node: &Node, shape: &Shape) -> Rating {
        if shape.devices == 0 {
            return Rating { score: 0, devices: DeviceSet::NONE };
        }
        let room = &node.room;
        let devices = tightest(room, shape);
        let idle = devices.iter().filter(|d| room.left()[*d] == WHOLE).count() as i64;
        let score = if room.idle() == room.left().len() {
            let all = room.idle() as i64;
            (33 - all).max(all)
        } else if idle > 0 {
            (50 - idle).max(33)
        } else {
            let left: i64 = devices.iter().map(|d| i64::from(room.left()[d]) * 100 / 1000).sum();
            (100 - left / 10).max(50)
        };
        Rating { score, devices }
    }
}
