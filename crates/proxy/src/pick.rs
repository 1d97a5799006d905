//! Choosing an endpoint: pure, over numbers.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use stdx::Time;

/// The candidate with the fewest open requests; those with equally many take turns. `open` gives none for candidates that
/// are not eligible. One pass, nothing allocated.
pub(crate) fn least_open(count: usize, turn: usize, open: impl Fn(usize) -> Option<usize>) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    for step in 0..count {
        let index = (turn % count + step) % count;
        let Some(open) = open(index) else { continue };
        if best.is_none_or(|(least, _)| open < least) {
            best = Some((open, index));
        }
        if open == 0 {
            break;
        }
    }
    best.map(|(_, index)| index)
}

/// Which endpoint each client stays with. Bounded: when full, what has run out goes, then who was idle longest.
pub(crate) struct Sticky {
    clients: HashMap<Ipv4Addr, (SocketAddrV4, Time)>,
    clients_max: usize,
}

impl Sticky {
    /// Remembers up to so many clients.
    pub(crate) fn new(clients_max: usize) -> Sticky {
        Sticky { clients: HashMap::new(), clients_max }
    }

    /// Where the client was less than `timeout` ago.
    pub(crate) fn endpoint_of(&self, client: Ipv4Addr, now: Time, timeout: Duration) -> Option<SocketAddrV4> {
        let (endpoint, used) = self.clients.get(&client)?;
        (now.since(*used) < timeout).then_some(*endpoint)
    }

    /// Remembers where the client went.
    pub(crate) fn remember(
        &mut self,
        client: Ipv4Addr,
        endpoint: SocketAddrV4,
        now: Time,
        timeout: Duration,
    ) {
        if self.clients.len() >= self.clients_max && !self.clients.contains_key(&client) {
            self.make_room(now, timeout);
        }
        self.clients.insert(client, (endpoint, now));
    }

    /// A quarter goes at once, so that this does not happen for each new client.
    fn make_room(&mut self, now: Time, timeout: Duration) {
        self.clients.retain(|_, (_, used)| now.since(*used) < timeout);
        if self.clients.len() < self.clients_max {
            return;
        }
        let by_age: BTreeMap<(Time, Ipv4Addr), ()> =
            self.clients.iter().map(|(client, (_, used))| ((*used, *client), ())).collect();
        for ((_, client), ()) in by_age.into_iter().take(self.clients_max.div_ceil(4)) {
            self.clients.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_is_taken_and_equals_take_turns() {
        let open = [2, 1, 1, 5];
        let turns: Vec<_> = (0..6).map(|turn| least_open(4, turn, |i| Some(open[i])).unwrap()).collect();
        assert_eq!(turns, [1, 1, 2, 1, 1, 1]);
        let all_idle: Vec<_> = (0..6).map(|turn| least_open(3, turn, |_| Some(0)).unwrap()).collect();
        assert_eq!(all_idle, [0, 1, 2, 0, 1, 2]);
        assert_eq!(least_open(3, 7, |i| (i == 2).then_some(9)), Some(2));
        assert_eq!(least_open(3, 7, |_| None), None);
        assert_eq!(least_open(0, 7, |_| Some(0)), None);
    }

    #[test]
    fn a_client_stays_until_its_time_is_over() {
        let (client, endpoint) = (Ipv4Addr::new(127, 4, 64, 1), SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));
        let (at, timeout) = (Time::from_secs, Duration::from_secs(10));
        let mut sticky = Sticky::new(4);
        sticky.remember(client, endpoint, at(100), timeout);
        assert_eq!(sticky.endpoint_of(client, at(109), timeout), Some(endpoint));
        assert_eq!(sticky.endpoint_of(client, at(110), timeout), None);
        assert_eq!(sticky.endpoint_of(Ipv4Addr::LOCALHOST, at(101), timeout), None);
    }

    #[test]
    fn memory_for_clients_is_bounded_and_the_longest_idle_are_forgotten_first() {
        let endpoint = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let client = |n: u8| Ipv4Addr::new(127, 4, 64, n);
        let timeout = Duration::from_secs(1000);
        let mut sticky = Sticky::new(8);
        for n in 0..100 {
            sticky.remember(client(n), endpoint, Time::from_secs(i64::from(n)), timeout);
            assert!(sticky.clients.len() <= 8);
        }
        let now = Time::from_secs(100);
        assert_eq!(sticky.endpoint_of(client(99), now, timeout), Some(endpoint));
        assert_eq!(sticky.endpoint_of(client(0), now, timeout), None);
    }
}
