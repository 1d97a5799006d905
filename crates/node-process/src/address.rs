//! Addresses of process pods: 127.N.64.1 to 127.N.255.254, given out in turn.
//!
//! Agents of one cluster that run beside each other take their addresses from shares of it that do not overlap.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The upper three quarters of one 127.N.0.0/16; the lowest quarter belongs to Services.
#[derive(Debug)]
pub(crate) struct Pool {
    first: u32,
    size: u32,
    next: u32,
    taken: BTreeSet<u32>,
}

const ROWS: u32 = 192;
/// Agents of one cluster that may run beside each other, each with a share of the addresses.
pub const SHARES: u8 = 16;

impl Pool {
    /// All addresses of a block, or one of its [`SHARES`] shares.
    ///
    /// # Panics
    /// When there is no such share.
    pub(crate) fn new(block: u8, share: Option<u8>) -> Pool {
        assert!(share.is_none_or(|s| s < SHARES), "share {share:?} of {SHARES}");
        let rows = share.map_or(ROWS, |_| ROWS / u32::from(SHARES));
        let first = u32::from_be_bytes([127, block, 64, 0]) + share.map_or(0, |s| u32::from(s) * (rows << 8));
        Pool { first, size: rows << 8, next: 1, taken: BTreeSet::new() }
    }

    /// Takes a free address, not one that was in use a moment ago; nothing when all are taken.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        let usable = |i: &u32| !matches!(i & 0xff, 0 | 255);
        let turn = (0..self.size).map(|i| (self.next + i) % self.size);
        let free = turn.filter(usable).find(|i| !self.taken.contains(i))?;
        self.taken.insert(free);
        self.next = (free + 1) % self.size;
        Some(Ipv4Addr::from_bits(self.first + free))
    }

    /// Takes the address of a pod that is there already.
    pub(crate) fn keep(&mut self, address: Ipv4Addr) {
        if let Some(i) = self.place(address) {
            self.taken.insert(i);
            self.next = self.next.max(i + 1) % self.size;
        }
    }

    pub(crate) fn free(&mut self, address: Ipv4Addr) {
        if let Some(i) = self.place(address) {
            self.taken.remove(&i);
        }
    }

    fn place(&self, address: Ipv4Addr) -> Option<u32> {
        address.to_bits().checked_sub(self.first).filter(|i| *i < self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_start_above_the_services_and_come_in_turn() {
        let mut pool = Pool::new(77, None);
        let first = pool.take().unwrap();
        assert_eq!(first.to_string(), "127.77.64.1");
        pool.free(first);
        assert_eq!(pool.take().unwrap().to_string(), "127.77.64.2");
        pool.keep("127.77.64.254".parse().unwrap());
        assert_eq!(pool.take().unwrap().to_string(), "127.77.65.1");
    }

    #[test]
    fn shares_do_not_overlap() {
        let mut firsts: Vec<Ipv4Addr> =
            (0..SHARES).map(|share| Pool::new(77, Some(share)).take().unwrap()).collect();
        assert_eq!(firsts[1].to_string(), "127.77.76.1");
        assert_eq!(firsts[15].to_string(), "127.77.244.1");
        firsts.dedup();
        assert_eq!(firsts.len(), usize::from(SHARES));
        let mut pool = Pool::new(77, Some(0));
        let all: BTreeSet<Ipv4Addr> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((all.len(), all.last().unwrap().to_string()), (12 * 254, "127.77.75.254".to_owned()));
    }
}
