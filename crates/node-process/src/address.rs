//! Addresses of process pods: 127.N.64.1 to 127.N.255.254, given out in turn.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The upper three quarters of one 127.N.0.0/16; the lowest quarter belongs to Services.
#[derive(Debug)]
pub(crate) struct Pool {
    first: u32,
    next: u32,
    taken: BTreeSet<u32>,
}

const SIZE: u32 = 192 << 8;

impl Pool {
    pub(crate) fn new(block: u8) -> Pool {
        Pool { first: u32::from_be_bytes([127, block, 64, 0]), next: 1, taken: BTreeSet::new() }
    }

    /// Takes a free address, not one that was in use a moment ago; nothing when all are taken.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        let usable = |i: &u32| !matches!(i & 0xff, 0 | 255);
        let turn = (0..SIZE).map(|i| (self.next + i) % SIZE);
        let free = turn.filter(usable).find(|i| !self.taken.contains(i))?;
        self.taken.insert(free);
        self.next = (free + 1) % SIZE;
        Some(Ipv4Addr::from_bits(self.first + free))
    }

    /// Takes the address of a pod that is there already.
    pub(crate) fn keep(&mut self, address: Ipv4Addr) {
        if let Some(i) = self.place(address) {
            self.taken.insert(i);
            self.next = self.next.max(i + 1) % SIZE;
        }
    }

    pub(crate) fn free(&mut self, address: Ipv4Addr) {
        if let Some(i) = self.place(address) {
            self.taken.remove(&i);
        }
    }

    fn place(&self, address: Ipv4Addr) -> Option<u32> {
        address.to_bits().checked_sub(self.first).filter(|i| *i < SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_start_above_the_services_and_come_in_turn() {
        let mut pool = Pool::new(77);
        let first = pool.take().unwrap();
        assert_eq!(first.to_string(), "127.77.64.1");
        pool.free(first);
        assert_eq!(pool.take().unwrap().to_string(), "127.77.64.2");
        pool.keep("127.77.64.254".parse().unwrap());
        assert_eq!(pool.take().unwrap().to_string(), "127.77.65.1");
    }
}
