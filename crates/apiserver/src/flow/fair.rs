//! Who runs and who waits: seats of levels, queues of flows, turns. Pure: no clock, no task.
//!
//! Start-time fair queueing: every queue carries the virtual time at which its next request may begin, which grows by the seats that its
//! requests take; the least goes first. A queue that was empty begins at the present virtual time, so that silence saves nothing up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A waiting or running request.
pub(super) type Ticket = u64;

/// What a level may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Seats of its own.
    pub(super) seats: u32,
    /// Seats of its own that others may use while it does not.
    pub(super) lendable: u32,
    /// Most seats of others that it may use; nothing for no limit.
    pub(super) borrows_max: Option<u32>,
    /// Queues; none when requests are refused rather than queued.
    pub(super) queues: usize,
    /// Queues that a flow may use.
    pub(super) hand: usize,
    /// Most requests in a queue.
    pub(super) queue_length_max: usize,
}

/// What becomes of a new request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It runs.
    Runs,
    /// It waits for its turn.
    Waits,
    /// There is no seat, and the level does not queue.
    NoSeat,
    /// All queues of its flow are full.
    QueueFull,
}

/// A request that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: Ticket,
    width: u32,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Virtual time at which its next request may begin.
    turn: u64,
}

#[derive(Clone, Debug)]
struct Level {
    shape: Shape,
    /// Seats taken.
    busy: u32,
    queues: Vec<Queue>,
    /// Virtual time: the turn of the request that began last.
    now: u64,
}

/// All levels.
#[derive(Clone, Debug, Default)]
pub(super) struct Fair {
    levels: BTreeMap<Arc<str>, Level>,
}

impl Fair {
    /// Gives levels new shapes. Those that are no more end when their last request has ended. Gives who may run now.
    pub(super) fn reshape(&mut self, shapes: &BTreeMap<Arc<str>, Shape>) -> Vec<Ticket> {
        for (name, level) in &mut self.levels {
            if !shapes.contains_key(name) {
                level.shape.lendable = 0;
            }
        }
        for (name, shape) in shapes {
            let level = self.levels.entry(name.clone()).or_insert_with(|| Level::new(shape.clone()));
            level.shape = shape.clone();
            if level.queues.len() < shape.queues {
                level.queues.resize_with(shape.queues, Queue::default);
            }
        }
        self.levels.retain(|name, level| shapes.contains_key(name) || !level.is_idle());
        self.begin()
    }

    /// Takes in a request of a flow that wants so many seats; one that wants more than its level has gets all of them.
    pub(super) fn arrive(&mut self, level: &str, flow: u64, ticket: Ticket, width: u32) -> Arrival {
        let room = self.room(level);
        let Some(level) = self.levels.get_mut(level) else { return Arrival::NoSeat };
        let width = level.clipped(width);
        let Some(at) = level.choose(flow) else {
            // No queues: run or refuse.
            if !fits(level.busy, width, room) {
                return Arrival::NoSeat;
            }
            level.busy += width;
            return Arrival::Runs;
        };
        if level.waits() || !fits(level.busy, width, room) {
            if level.queues[at].waiting.len() >= level.shape.queue_length_max {
                return Arrival::QueueFull;
            }
            level.enqueue(at, Waiting { ticket, width });
            return Arrival::Waits;
        }
        level.take_turn(at, width);
        level.busy += width;
        Arrival::Runs
    }

    /// Takes back the seats of a request that ran; gives who runs now.
    pub(super) fn done(&mut self, level: &str, width: u32) -> Vec<Ticket> {
        if let Some(level) = self.levels.get_mut(level) {
            level.busy = level.busy.saturating_sub(width);
        }
        self.begin()
    }

    /// The seats a request takes that wants so many.
    pub(super) fn width(&self, level: &str, wanted: u32) -> u32 {
        self.levels.get(level).map_or(wanted, |level| level.clipped(wanted))
    }

    /// Forgets a request that waits, and gives who runs now that it is out of the way; nothing when it does not wait (any more).
    pub(super) fn give_up(&mut self, level: &str, ticket: Ticket) -> Option<Vec<Ticket>> {
        let queues = &mut self.levels.get_mut(level)?.queues;
        let found = queues.iter_mut().find_map(|queue| {
            let at = queue.waiting.iter().position(|w| w.ticket == ticket)?;
            queue.waiting.remove(at)
        });
        found.map(|_| self.begin())
    }

    /// Seats taken and requests waiting, by level.
    pub(super) fn figures(&self) -> impl Iterator<Item = (&Arc<str>, u32, u32, usize)> {
        self.levels.iter().map(|(name, level)| (name, level.shape.seats, level.busy, level.waiting()))
    }

    /// Lets everybody run who may.
    fn begin(&mut self) -> Vec<Ticket> {
        let mut out = Vec::new();
        let names: Vec<Arc<str>> =
            self.levels.iter().filter(|(_, l)| l.waits()).map(|(n, _)| n.clone()).collect();
        // Seats that are lent go around: each level takes one request at a time.
        loop {
            let before = out.len();
            for name in &names {
                let room = self.room(name);
                let Some(level) = self.levels.get_mut(name) else { continue };
                out.extend(level.next(room));
            }
            if out.len() == before {
                return out;
            }
        }
    }

    /// Seats that a level may use now: its own but for those lent out, and idle ones of others as far as they lend them.
    fn room(&self, name: &str) -> u32 {
        let Some(own) = self.levels.get(name) else { return 0 };
        let others = || self.levels.iter().filter(|(other, _)| &***other != name).map(|(_, level)| level);
        let idle = others().map(|l| l.shape.seats.saturating_sub(l.busy).min(l.shape.lendable)).sum::<u32>();
        let borrowed = others().map(|l| l.busy.saturating_sub(l.shape.seats)).sum::<u32>();
        // What others have borrowed came out of what all lend, and may have come out of what this one lends.
        let idle = idle.saturating_sub(borrowed);
        own.shape.seats + own.shape.borrows_max.map_or(idle, |max| idle.min(max))
    }
}

impl Level {
    fn new(shape: Shape) -> Level {
        Level { shape, busy: 0, queues: Vec::new(), now: 0 }
    }

    fn is_idle(&self) -> bool {
        self.busy == 0 && !self.waits()
    }

    fn waits(&self) -> bool {
        self.queues.iter().any(|q| !q.waiting.is_empty())
    }

    fn waiting(&self) -> usize {
        self.queues.iter().map(|q| q.waiting.len()).sum()
    }

    fn clipped(&self, width: u32) -> u32 {
        width.clamp(1, self.shape.seats.max(1))
    }

    /// The shortest queue of a flow's hand; nothing when the level has no queues.
    fn choose(&self, flow: u64) -> Option<usize> {
        let deck = self.shape.queues.min(self.queues.len());
        hand(flow, deck, self.shape.hand).into_iter().min_by_key(|at| self.queues[*at].waiting.len())
    }

    fn enqueue(&mut self, at: usize, waiting: Waiting) {
        let queue = &mut self.queues[at];
        if queue.waiting.is_empty() {
            queue.turn = queue.turn.max(self.now);
        }
        queue.waiting.push_back(waiting);
    }

    fn take_turn(&mut self, at: usize, width: u32) {
        let queue = &mut self.queues[at];
        self.now = queue.turn.max(self.now);
        queue.turn = self.now + u64::from(width);
    }

    /// The next in turn, if there is room for it. One that is too wide is waited for: others would starve it.
    fn next(&mut self, room: u32) -> Option<Ticket> {
        let waiting = self.queues.iter().enumerate().filter(|(_, q)| !q.waiting.is_empty());
        let (at, _) = waiting.min_by_key(|(at, q)| (q.turn, *at))?;
        let first = self.queues[at].waiting.front()?;
        if !fits(self.busy, first.width, room) {
            return None;
        }
        let Waiting { ticket, width } = *first;
        self.queues[at].waiting.pop_front();
        self.take_turn(at, width);
        self.busy += width;
        Some(ticket)
    }
}

/// Whether a request may run: there is room, or it is alone in a level that has any (one without seats is a jail).
fn fits(busy: u32, width: u32, room: u32) -> bool {
    busy + width <= room || (busy == 0 && room > 0)
}

/// So many different queues of a deck, dealt by the hash of a flow (shuffle sharding, as upstream deals them).
fn hand(mut flow: u64, deck: usize, size: usize) -> Vec<usize> {
    let mut cards: Vec<usize> = Vec::with_capacity(size);
    for dealt in 0..size.min(deck) {
        let left = (deck - dealt) as u64;
        let mut card = usize::try_from(flow % left).unwrap_or(0);
        flow /= left;
        let mut sorted = cards.clone();
        sorted.sort_unstable();
        for taken in sorted {
            if card >= taken {
                card += 1;
            }
        }
        cards.push(card);
    }
    cards
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn shape(seats: u32, lendable: u32) -> Shape {
        Shape { seats, lendable, borrows_max: None, queues: 8, hand: 2, queue_length_max: 5 }
    }

    fn shapes() -> BTreeMap<Arc<str>, Shape> {
        let none = Shape { queues: 0, ..shape(2, 0) };
        [("a", shape(4, 2)), ("b", shape(6, 5)), ("c", shape(1, 0)), ("rejecting", none)]
            .map(|(name, shape)| (Arc::from(name), shape))
            .into()
    }

    #[test]
    fn a_hand_has_different_queues() {
        for flow in [0, 1, 77, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            let dealt = hand(flow, 10, 6);
            assert_eq!(dealt.iter().collect::<BTreeSet<_>>().len(), 6);
            assert!(dealt.iter().all(|card| *card < 10));
        }
        assert_eq!(hand(5, 3, 6).len(), 3);
        assert!(hand(5, 0, 6).is_empty());
    }

    #[test]
    fn a_storm_of_one_flow_lets_another_have_its_turn() {
        let mut fair = Fair::default();
        let level = Shape { queues: 64, hand: 1, queue_length_max: 100, ..shape(1, 0) };
        fair.reshape(&[(Arc::from("a"), level)].into());
        assert_eq!(fair.arrive("a", 1, 0, 1), Arrival::Runs);
        for ticket in 1..=50 {
            assert_eq!(fair.arrive("a", 1, ticket, 1), Arrival::Waits);
        }
        assert_eq!(fair.arrive("a", 2, 100, 1), Arrival::Waits);
        let order: Vec<Ticket> = (0..3).flat_map(|_| fair.done("a", 1)).collect();
        assert!(order.contains(&100), "it runs among the first, not behind fifty: {order:?}");
    }

    #[test]
    fn a_level_keeps_what_it_does_not_lend() {
        let mut fair = Fair::default();
        fair.reshape(&[(Arc::from("storm"), shape(2, 0)), (Arc::from("leases"), shape(4, 1))].into());
        for ticket in 0..10 {
            fair.arrive("storm", ticket, ticket, 1);
        }
        let busy: BTreeMap<_, _> =
            fair.figures().map(|(name, _, busy, _)| (name.to_string(), busy)).collect();
        assert_eq!(busy["storm"], 3, "two of its own, one lent");
        for ticket in 10..13 {
            assert_eq!(fair.arrive("leases", ticket, ticket, 1), Arrival::Runs, "the other three were kept");
        }
    }

    #[test]
    fn a_level_without_seats_is_a_jail() {
        let mut fair = Fair::default();
        let jail = |seats| [(Arc::from("jail"), Shape { borrows_max: Some(0), ..shape(seats, 0) })].into();
        fair.reshape(&jail(0));
        assert_eq!(fair.arrive("jail", 1, 1, 1), Arrival::Waits);
        assert_eq!(fair.reshape(&jail(1)), [1]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arrive { level: usize, flow: u64, width: u32 },
        Done(prop::sample::Index),
        GiveUp(prop::sample::Index),
        Reshape(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..4usize, 0..5u64, 1..9u32).prop_map(|(level, flow, width)| Step::Arrive { level, flow, width }),
            5 => any::<prop::sample::Index>().prop_map(Step::Done),
            1 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
            1 => (1..9u32).prop_map(Step::Reshape),
        ]
    }

    /// What the caller of [`Fair`] knows.
    #[derive(Default)]
    struct World {
        fair: Fair,
        running: BTreeMap<Ticket, (&'static str, u32)>,
        waiting: BTreeMap<Ticket, (&'static str, u32)>,
    }

    impl World {
        fn started(&mut self, tickets: Vec<Ticket>) {
            for ticket in tickets {
                let was = self.waiting.remove(&ticket).expect("only who waits is started, and once");
                self.running.insert(ticket, was);
            }
        }

        fn check(&self) {
            for (name, _, busy, waiting) in self.fair.figures() {
                let of =
                    |all: &BTreeMap<Ticket, (&str, u32)>| all.values().filter(|(n, _)| *n == &**name).count();
                let seats: u32 = self.running.values().filter(|(n, _)| *n == &**name).map(|(_, w)| w).sum();
                assert_eq!((busy, waiting), (seats, of(&self.waiting)), "{name}");
                assert!(waiting == 0 || busy > 0, "{name}: nobody waits for nothing");
            }
        }
    }

    proptest! {
        #[test]
        fn seats_are_counted_nobody_is_lost_and_all_run_in_the_end(steps in prop::collection::vec(step(), 1..200)) {
            const NAMES: [&str; 4] = ["a", "b", "c", "rejecting"];
            let mut world = World::default();
            world.fair.reshape(&shapes());
            let mut total: u32 = shapes().values().map(|s| s.seats).sum();
            for (ticket, step) in steps.into_iter().enumerate() {
                let ticket = ticket as Ticket;
                match step {
                    Step::Arrive { level, flow, width } => {
                        let name = NAMES[level];
                        let width = world.fair.width(name, width);
                        match world.fair.arrive(name, flow, ticket, width) {
                            Arrival::Runs => drop(world.running.insert(ticket, (name, width))),
                            Arrival::Waits => drop(world.waiting.insert(ticket, (name, width))),
                            Arrival::NoSeat => prop_assert_eq!(name, "rejecting"),
                            Arrival::QueueFull => prop_assert!(world.waiting.values().filter(|(n, _)| *n == name).count() >= 5),
                        }
                        let taken: u32 = world.running.values().map(|(_, width)| width).sum();
                        // One request per level runs always, be it as wide as the level.
                        prop_assert!(taken <= 2 * total, "{taken} of {total}");
                    }
                    Step::Done(index) if !world.running.is_empty() => {
                        let at = *world.running.keys().nth(index.index(world.running.len())).unwrap();
                        let (name, width) = world.running.remove(&at).unwrap();
                        let started = world.fair.done(name, width);
                        world.started(started);
                    }
                    Step::GiveUp(index) if !world.waiting.is_empty() => {
                        let at = *world.waiting.keys().nth(index.index(world.waiting.len())).unwrap();
                        let (name, _) = world.waiting.remove(&at).unwrap();
                        let started = world.fair.give_up(name, at).expect("it waits");
                        world.started(started);
                        prop_assert!(world.fair.give_up(name, at).is_none());
                    }
                    Step::Reshape(seats) => {
                        let mut shapes = shapes();
                        shapes.get_mut("a").unwrap().seats = seats;
                        total = total.max(shapes.values().map(|s| s.seats).sum());
                        let started = world.fair.reshape(&shapes);
                        world.started(started);
                    }
                    _ => {}
                }
                world.check();
            }
            while let Some((ticket, (name, width))) = world.running.pop_first() {
                let _ = ticket;
                let started = world.fair.done(name, width);
                world.started(started);
                world.check();
            }
            prop_assert!(world.waiting.is_empty(), "all ran in the end");
        }
    }
}
