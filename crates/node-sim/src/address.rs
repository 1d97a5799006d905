//! Addresses of simulated nodes and pods: 10.0.0.0/10 for nodes, a block of 10.128.0.0/9 per node for its pods.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const NODES: u32 = u32::from_be_bytes([10, 0, 0, 0]);
const PODS: u32 = u32::from_be_bytes([10, 128, 0, 0]);
/// Addresses for pods altogether.
const PODS_ALL: u32 = 1 << 23;

/// The address of the node with this number.
pub(crate) fn of_node(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(NODES + 1 + number)
}

/// How many addresses each of `nodes` nodes gets: a power of two that holds `pods`, as far as the range goes.
pub(crate) fn block_size(nodes: u32, pods: u32) -> u32 {
    let wanted = pods.saturating_add(2).next_power_of_two().max(256);
    let share = PODS_ALL / nodes.max(1).next_power_of_two();
    wanted.min(share)
}

/// The addresses of one node's pods: given out in turn, so that a freed one is not taken again at once.
#[derive(Debug)]
pub(crate) struct Block {
    first: u32,
    size: u32,
    next: u32,
    taken: BTreeSet<u32>,
}

impl Block {
    pub(crate) fn new(node: u32, size: u32) -> Block {
        Block { first: PODS + node * size, size, next: 1, taken: BTreeSet::new() }
    }

    /// Takes a free address; nothing when all are taken.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        // Neither the first nor the last address of a block is a host.
        let hosts = self.size.saturating_sub(2);
        let free = (0..hosts).map(|i| 1 + (self.next - 1 + i) % hosts).find(|i| !self.taken.contains(i))?;
        self.taken.insert(free);
        self.next = 1 + free % hosts;
        Some(Ipv4Addr::from_bits(self.first + free))
    }

    /// Takes the address a pod has had before; addresses from elsewhere are left alone.
    pub(crate) fn keep(&mut self, address: Ipv4Addr) {
        if let Some(i) = self.place(address) {
            self.taken.insert(i);
            self.next = 1 + i % self.size.saturating_sub(2).max(1);
        }
    }

    /// Gives an address back.
    pub(crate) fn free(&mut self, address: Ipv4Addr) {
        if let Some(i) = self.place(address) {
            self.taken.remove(&i);
        }
    }

    fn place(&self, address: Ipv4Addr) -> Option<u32> {
        address.to_bits().checked_sub(self.first).filter(|i| *i > 0 && *i < self.size - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_in_turn_and_never_twice() {
        let mut block = Block::new(2, 256);
        let first = block.take().unwrap();
        assert_eq!(first.to_string(), "10.128.2.1");
        block.free(first);
        assert_eq!(block.take().unwrap().to_string(), "10.128.2.2");
        let rest: BTreeSet<Ipv4Addr> = std::iter::from_fn(|| block.take()).collect();
        assert_eq!(rest.len(), 253);
        assert!(rest.contains(&first));
    }

    #[test]
    fn an_address_from_before_is_kept() {
        let mut block = Block::new(0, 256);
        block.keep("10.128.0.7".parse().unwrap());
        block.keep("192.168.0.7".parse().unwrap());
        assert_eq!(block.take().unwrap().to_string(), "10.128.0.8");
    }

    #[test]
    fn ten_thousand_nodes_have_room_for_their_pods() {
        assert_eq!(block_size(10_000, 110), 256);
        assert_eq!(block_size(10, 110), 256);
        assert_eq!(block_size(100, 1000), 1024);
    }
}
