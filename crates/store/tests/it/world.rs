//! A store that is written, watched and cut off, and an oracle that knows what must be there afterwards.

use std::sync::Arc;

use stdx::{Rng, SeededRng};
use store::{
    Body, Cursor, Error, Event, Expect, Key, KeyRange, Limits, Op, Revision, SimDisk, Store, Window,
};

use crate::model::{FirstByte, Model, change_of, delete, listed, put, range, row_of};
use crate::planted::{Faulty, Planted};

const STEPS: usize = 80;

/// Someone who watches, and remembers how far.
struct Watcher {
    range: KeyRange,
    cursor: Option<Cursor>,
    position: Revision,
}

pub(crate) struct World {
    rng: SeededRng,
    disk: SimDisk,
    planted: Planted,
    model: Model,
    watchers: Vec<Watcher>,
    window: Window,
    /// Operations whose outcome is not known.
    open: Vec<Op>,
    /// The newest revision that anybody has been shown.
    seen: Revision,
    /// Commits, crashes, events delivered, watches compacted.
    counts: [u64; 4],
}

fn ranges() -> Vec<KeyRange> {
    vec![range("pods", None), range("leases", None)]
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl World {
    pub(crate) fn new(seed: u64, disk: SimDisk, planted: Planted) -> World {
        let rng = SeededRng::new(seed ^ 0xfeed);
        let window = Window { events_max: 5 + (rng.next_u64() % 60) as usize, ..Window::default() };
        let watched = [range("pods", None), range("pods", Some("a")), range("leases", Some("b"))];
        let watchers =
            watched.into_iter().map(|range| Watcher { range, cursor: None, position: Revision(0) }).collect();
        let (model, open) = (Model::default(), Vec::new());
        World { rng, disk, planted, model, watchers, window, open, seen: Revision(0), counts: [0; 4] }
    }

    fn below(&self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }

    /// Lives through a number of steps and crashes; says what was wrong, if anything.
    pub(crate) async fn live(mut self) -> Result<[u64; 4], String> {
        let mut store = self.open()?;
        for _ in 0..STEPS {
            if self.below(6) == 0 {
                self.disk.crash_in(self.below(40));
            } else if self.below(20) == 0 {
                self.disk.fail_sync_in(self.below(3));
            }
            let alive = self.write(&store).await?;
            if self.below(3) > 0 {
                self.watch(&store)?;
            }
            if self.below(4) == 0 {
                self.read_the_past(&store)?;
            }
            if !alive || self.below(25) == 0 {
                store = self.restart(store)?;
            }
        }
        self.watch(&store)?;
        self.compare(&store)?;
        Ok(self.counts)
    }

    fn open(&self) -> Result<Store, String> {
        loop {
            let limits = Limits { window: self.window, cursor_batch_max: 4, ..Limits::default().inline() };
            let opened = Faulty::open(&self.disk, self.planted)
                .map_err(Error::from)
                .and_then(|engine| Store::open(Box::new(engine), Arc::new(FirstByte), limits));
            match opened {
                Ok(store) => return Ok(store),
                // Cut off again while it recovered.
                Err(_) if self.disk.is_down() => self.disk.restart(),
                Err(why) => return Err(format!("the store does not open: {why}")),
            }
        }
    }

    fn op(&self) -> Op {
        let (resource, namespace) = [("pods", "a"), ("pods", "b"), ("leases", "b")][self.below(3) as usize];
        let key = Key::new(resource, namespace, &format!("n{}", self.below(6)));
        let there = self.model.state_at(self.model.head()).get(&key).map(|(r, _)| *r);
        let expect = match (self.below(5), there) {
            (0, _) => Expect::Absent,
            (1 | 2, Some(r)) => Expect::At(r),
            (3, _) => Expect::At(Revision(self.below(self.model.head().0 + 2))),
            _ => Expect::Any,
        };
        let body: Vec<u8> =
            (0..self.below(3000) / 8).flat_map(|_| self.rng.next_u64().to_le_bytes()).collect();
        match self.below(4) {
            0 => delete(&key, expect),
            1 => Op::Delete { key, expect, last: Some(Body::pack(&body)) },
            _ => put(&key, &body, expect),
        }
    }

    /// Writes a batch and checks its outcomes; says whether the store still works.
    async fn write(&mut self, store: &Store) -> Result<bool, String> {
        let ops: Vec<Op> = (0..1 + self.below(5)).map(|_| self.op()).collect();
        let outcomes = store.write_many(ops.clone()).await;
        if outcomes.iter().any(|o| matches!(o, Err(Error::Unknown(_)))) {
            self.open = ops;
            return Ok(false);
        }
        if outcomes.iter().all(|o| matches!(o, Err(Error::Full))) {
            // Nothing was written, says the store; the oracle takes its word and will see.
            return Ok(true);
        }
        let mut state = self.model.state_at(self.model.head());
        for (op, outcome) in ops.iter().zip(outcomes) {
            match (self.model.apply(&mut state, op), outcome) {
                (Some(expected), Ok(got)) => {
                    ensure(expected == got, || format!("revision {got} was given, {expected} is next"))?;
                    self.seen = got;
                    self.counts[0] += 1;
                }
                (None, Err(Error::Conflict { .. })) => {}
                (Some(r), Err(why)) => return Err(format!("a write that holds ({r}) was refused: {why}")),
                (None, Ok(r)) => return Err(format!("a write that does not hold became {r}")),
                (None, Err(why)) => return Err(why.to_string()),
            }
        }
        Ok(true)
    }

    /// Lets every watcher catch up and compares what it got with the log.
    fn watch(&mut self, store: &Store) -> Result<(), String> {
        for i in 0..self.watchers.len() {
            let Watcher { range, cursor, position } = &mut self.watchers[i];
            let (range, from) = (range.clone(), *position);
            let opened = match cursor.take() {
                Some(cursor) => Ok(cursor),
                None => store.watch(range.clone(), from),
            };
            match opened.and_then(|mut cursor| drain(&mut cursor).map(|events| (cursor, events))) {
                Ok((cursor, events)) => self.delivered(i, from, cursor, events)?,
                Err(Error::Compacted { oldest }) => {
                    let kept = self.model.head().0 - from.0 <= self.window.events_max as u64;
                    ensure(oldest > from && !kept, || format!("compacted {oldest} at {from} without need"))?;
                    self.watchers[i].position = store.revision();
                    self.counts[3] += 1;
                }
                Err(why) => return Err(why.to_string()),
            }
        }
        Ok(())
    }

    fn delivered(
        &mut self,
        i: usize,
        from: Revision,
        cursor: Cursor,
        mut events: Vec<Arc<Event>>,
    ) -> Result<(), String> {
        if self.planted == Planted::DropsWhenBusy && events.len() > 4 {
            events.remove(2);
        }
        let early = if self.planted == Planted::BookmarksEarly { 1 } else { 0 };
        let to = Revision(cursor.position().0 + early);
        let got: Vec<_> = events.iter().map(|e| change_of(e)).collect();
        let expected = self.model.events(&self.watchers[i].range, from, to);
        ensure(got == expected, || {
            let revisions = |changes: &[(Revision, crate::model::Change)]| {
                changes.iter().map(|(r, _)| r.0).collect::<Vec<_>>()
            };
            format!(
                "a watch from {from} to {to} got {:?}, the log has {:?}",
                revisions(&got),
                revisions(&expected)
            )
        })?;
        ensure(to <= self.model.head(), || {
            format!("a bookmark at {to}, the newest is {}", self.model.head())
        })?;
        self.seen = self.seen.max(to);
        self.counts[2] += got.len() as u64;
        self.watchers[i].position = to;
        // Now and then a client comes back with nothing but its revision.
        self.watchers[i].cursor = (!self.rng.next_u64().is_multiple_of(3)).then_some(cursor);
        Ok(())
    }

    /// A list at a past revision is the state of that revision, or is refused when it is out of the window.
    fn read_the_past(&mut self, store: &Store) -> Result<(), String> {
        let at = Revision(self.below(self.model.head().0 + 1));
        match listed(store, &ranges(), Some(at)) {
            Ok(state) => ensure(state == self.model.state_at(at), || {
                format!("the list at {at} is not the state at {at}")
            }),
            Err(Error::Compacted { .. }) => {
                let kept = self.model.head().0 - at.0 <= self.window.events_max as u64;
                ensure(!kept, || format!("the list at {at} was refused without need"))
            }
            Err(why) => Err(why.to_string()),
        }
    }

    /// Cuts the power, starts again, and settles what was open.
    fn restart(&mut self, store: Store) -> Result<Store, String> {
        for watcher in &mut self.watchers {
            watcher.cursor = None;
        }
        drop(store);
        self.disk.restart();
        self.counts[1] += 1;
        let store = self.open()?;
        let head = store.revision();
        ensure(head >= self.seen, || {
            format!("revision {} was shown, after the crash the newest is {head}", self.seen)
        })?;
        let mut after = self.model.clone();
        let mut state = self.model.state_at(self.model.head());
        for op in std::mem::take(&mut self.open) {
            after.apply(&mut state, &op);
        }
        if head == after.head() {
            self.model = after;
        }
        self.compare(&store)?;
        Ok(store)
    }

    /// The store is exactly what the oracle says.
    fn compare(&self, store: &Store) -> Result<(), String> {
        let (head, expected) = (store.revision(), self.model.head());
        ensure(head == expected, || format!("the newest revision is {head}, acknowledged was {expected}"))?;
        let state = listed(store, &ranges(), None).map_err(|e| e.to_string())?;
        ensure(state == self.model.state_at(expected), || {
            format!("the objects at {expected} are not those written")
        })?;
        for (key, (revision, body)) in &state {
            let stored = store.get(key).ok_or_else(|| format!("{key:?} is listed but not there"))?;
            ensure(stored.revision == *revision && stored.row == row_of(key, body), || {
                format!("{key:?} differs")
            })?;
        }
        Ok(())
    }
}

fn drain(cursor: &mut Cursor) -> Result<Vec<Arc<Event>>, Error> {
    let mut all = Vec::new();
    loop {
        let events = cursor.try_next()?;
        if events.is_empty() {
            return Ok(all);
        }
        all.extend(events);
    }
}
