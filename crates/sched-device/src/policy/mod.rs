//! Policies: which of the nodes that fit a pod likes best, and which of their devices it gets. One file each.

mod best_fit;
mod clustering;
mod dot_product;
mod fgd;
mod knarr;
mod packing;

use crate::{DeviceSet, Node, Room, Shape};

pub use best_fit::BestFit;
pub use clustering::GpuClustering;
pub use dot_product::DotProd;
pub use fgd::Fgd;
pub use knarr::Knarr;
pub use packing::GpuPacking;

/// How much a policy likes a node, and the devices it would take there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rating {
    /// The higher the better; comparable among nodes for one pod alone.
    pub score: i64,
    /// Devices taken; as many as the shape asks for.
    pub devices: DeviceSet,
}

/// A policy. Pure: node, shape and what it was made of decide the answer.
pub trait Policy {
    /// Its name, as on the command line.
    fn name(&self) -> &'static str;

    /// Rates a node on which the shape fits.
    fn rate(&self, node: &Node, shape: &Shape) -> Rating;
}

impl Policy for Box<dyn Policy> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn rate(&self, node: &Node, shape: &Shape) -> Rating {
        (**self).rate(node, shape)
    }
}

/// Cores and devices by which the published policies scale: the largest node of the trace.
const CPU_SCALE: f64 = 128_000.0;
const DEVICE_SCALE: f64 = 8000.0;

/// As many fitting devices as asked for, those with least left first, lowest index first among equals.
pub(crate) fn tightest(room: &Room, shape: &Shape) -> DeviceSet {
    let mut set = DeviceSet::NONE;
    if shape.devices == 0 {
        return set;
    }
    let mut fitting: Vec<(u16, usize)> =
        room.left().iter().enumerate().filter(|(_, l)| **l >= shape.milli).map(|(d, l)| (*l, d)).collect();
    fitting.sort_unstable();
    for (_, device) in fitting.into_iter().take(usize::from(shape.devices)) {
        set = set.with(device);
    }
    set
}

/// As many fitting devices as asked for, lowest index first.
pub(crate) fn first(room: &Room, shape: &Shape) -> DeviceSet {
    let fitting = room.left().iter().enumerate().filter(|(_, l)| **l >= shape.milli);
    fitting.take(usize::from(shape.devices)).fold(DeviceSet::NONE, |set, (d, _)| set.with(d))
}

/// The one device that scores best for a shape that takes one; the first among equals.
fn best_device(node: &Node, shape: &Shape, score: impl Fn(DeviceSet) -> i64) -> Rating {
    let left = node.room.left();
    let mut best: Option<Rating> = None;
    for (device, here) in left.iter().enumerate().filter(|(_, l)| **l >= shape.milli) {
        // Devices with as much left are as good; the first one stands for them.
        if left[..device].contains(here) {
            continue;
        }
        let devices = DeviceSet::NONE.with(device);
        let score = score(devices);
        if best.is_none_or(|b| score > b.score) {
            best = Some(Rating { score, devices });
        }
    }
    best.expect("the shape fits, so one device has enough left")
}

/// The sigmoid of a difference of fragmentation, in devices.
fn sigmoid(milli: f64) -> f64 {
    1.0 / (1.0 + (-milli / 1000.0).exp())
}
