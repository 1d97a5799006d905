//! A node: what is left of it, device by device.

use std::collections::BTreeMap;

use crate::{Kind, Model, Shape, WHOLE};

/// Greatest number of devices of one node.
pub const DEVICES_MAX: usize = 16;

/// A node with more devices than this crate looks at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} devices on one node: at most {DEVICES_MAX} are supported")]
pub struct TooManyDevices(pub usize);

/// Some devices of one node, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceSet(u16);

impl DeviceSet {
    /// No device.
    pub const NONE: DeviceSet = DeviceSet(0);

    /// The set with one more device.
    pub fn with(self, device: usize) -> DeviceSet {
        DeviceSet(self.0 | 1 << device)
    }

    /// The devices, lowest index first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..DEVICES_MAX).filter(move |d| self.0 & 1 << d != 0)
    }

    /// How many devices.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What is left of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// CPU in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in MiB.
    pub memory_mib: i64,
    left: [u16; DEVICES_MAX],
    devices: u8,
}

impl Room {
    /// What is left of each device, in thousandths.
    pub fn left(&self) -> &[u16] {
        &self.left[..usize::from(self.devices)]
    }

    /// What is left of all devices, in thousandths.
    pub fn left_total(&self) -> i64 {
        self.left().iter().map(|l| i64::from(*l)).sum()
    }

    /// Devices of which everything is left.
    pub fn idle(&self) -> usize {
        self.left().iter().filter(|l| **l == WHOLE).count()
    }

    /// The room after a pod was put on these devices. It must fit: see [`Node::fits`] and the policies.
    pub fn after(&self, shape: &Shape, on: DeviceSet) -> Room {
        let mut room = *self;
        room.cpu_milli -= shape.cpu_milli;
        room.memory_mib -= shape.memory_mib;
        on.iter().for_each(|d| room.left[d] -= shape.milli);
        room
    }

    fn before(&self, shape: &Shape, on: DeviceSet) -> Room {
        let mut room = *self;
        room.cpu_milli += shape.cpu_milli;
        room.memory_mib += shape.memory_mib;
        on.iter().for_each(|d| room.left[d] += shape.milli);
        room
    }

    /// Devices with at least this much left.
    pub fn fitting(&self, milli: u16) -> usize {
        self.left().iter().filter(|l| **l >= milli).count()
    }
}

/// A node with what its pods have taken.
#[derive(Clone, Debug)]
pub struct Node {
    /// Model of its devices.
    pub model: Option<Model>,
    /// What is left.
    pub room: Room,
    /// What there was at first.
    pub whole: Room,
    /// Greatest number of pods.
    pub pods_max: u32,
    pods: u32,
    kinds: BTreeMap<Kind, u32>,
}

impl Node {
    /// An empty node.
    ///
    /// # Errors
    /// When it has more than [`DEVICES_MAX`] devices.
    pub fn new(
        cpu_milli: i64,
        memory_mib: i64,
        devices: usize,
        model: Option<Model>,
        pods_max: u32,
    ) -> Result<Node, TooManyDevices> {
        let count = u8::try_from(devices).ok().filter(|d| usize::from(*d) <= DEVICES_MAX);
        let count = count.ok_or(TooManyDevices(devices))?;
        let room = Room { cpu_milli, memory_mib, left: [WHOLE; DEVICES_MAX], devices: count };
        Ok(Node { model, room, whole: room, pods_max, pods: 0, kinds: BTreeMap::new() })
    }

    /// Whether the pod may go here: CPU, memory, number of pods, model, and enough devices with enough left.
    pub fn fits(&self, shape: &Shape) -> bool {
        let room = &self.room;
        shape.cpu_milli <= room.cpu_milli
            && shape.memory_mib <= room.memory_mib
            && self.pods < self.pods_max
            && has_devices(room, self.model, shape)
    }

    /// Puts a pod on these devices.
    pub fn put(&mut self, shape: &Shape, on: DeviceSet) {
        self.room = self.room.after(shape, on);
        self.pods += 1;
        *self.kinds.entry(shape.kind()).or_default() += 1;
    }

    /// Takes a pod away that was put on these devices.
    pub fn take(&mut self, shape: &Shape, on: DeviceSet) {
        self.room = self.room.before(shape, on);
        self.pods -= 1;
        if let Some(count) = self.kinds.get_mut(&shape.kind()) {
            *count -= 1;
            if *count == 0 {
                self.kinds.remove(&shape.kind());
            }
        }
    }

    /// How many pods it has.
    pub fn pods(&self) -> u32 {
        self.pods
    }

    /// Whether what is left is within what there was, on every device and of every resource.
    pub fn is_sound(&self) -> bool {
        let (room, whole) = (&self.room, &self.whole);
        (0..=whole.cpu_milli).contains(&room.cpu_milli)
            && (0..=whole.memory_mib).contains(&room.memory_mib)
            && room.left().iter().all(|l| *l <= WHOLE)
            && self.pods <= self.pods_max
    }

    /// Whether it has pods of this kind, and whether it has pods with devices of another.
    pub(crate) fn hosts(&self, kind: Kind) -> (bool, bool) {
        let other = self.kinds.keys().any(|k| *k != kind && *k != Kind::Plain);
        (self.kinds.contains_key(&kind), other)
    }
}

/// Whether a node's devices are of an admitted model, and enough of them have enough left. CPU-only pods need none.
pub(crate) fn has_devices(room: &Room, model: Option<Model>, shape: &Shape) -> bool {
    shape.devices == 0 || shape.models.admit(model) && room.fitting(shape.milli) >= usize::from(shape.devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(devices: u8, milli: u16) -> Shape {
        Shape { cpu_milli: 1000, memory_mib: 10, devices, milli, ..Shape::default() }
    }

    #[test]
    fn parts_do_not_add_up_over_devices() {
        let mut node = Node::new(8000, 100, 2, None, 10).unwrap();
        node.put(&shape(1, 600), DeviceSet::NONE.with(0));
        node.put(&shape(1, 600), DeviceSet::NONE.with(1));
        assert_eq!(node.room.left_total(), 800);
        assert!(!node.fits(&shape(1, 500)) && node.fits(&shape(1, 400)) && node.fits(&shape(2, 400)));
    }

    #[test]
    fn what_is_taken_away_comes_back() {
        let mut node = Node::new(8000, 100, 2, None, 10).unwrap();
        let on = DeviceSet::NONE.with(0).with(1);
        node.put(&shape(2, 1000), on);
        assert!(node.is_sound() && node.room.idle() == 0);
        node.take(&shape(2, 1000), on);
        assert_eq!((node.room, node.pods(), node.hosts(Kind::Devices(2))), (node.whole, 0, (false, false)));
    }

    #[test]
    fn the_number_of_pods_is_a_limit_of_its_own() {
        let mut node = Node::new(8000, 100, 0, None, 1).unwrap();
        assert!(node.fits(&shape(0, 0)));
        node.put(&shape(0, 0), DeviceSet::NONE);
        assert!(!node.fits(&shape(0, 0)));
    }

    #[test]
    fn a_node_with_too_many_devices_is_refused() {
        assert_eq!(Node::new(1, 1, 17, None, 1).err(), Some(TooManyDevices(17)));
    }
}
