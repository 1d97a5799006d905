//! Rebuilding the state from what the disk kept.
//!
//! The disk keeps one record per revision: every live version, and every record of the window of history with the version
//! it replaced. Records are loaded in order of revision; those up to the floor are bare state, those above it are events.

use std::sync::Arc;

use crate::{Body, Event, Key, Mvcc, Revision, Row, Stored, Window};

/// One change as it rests on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its revision.
    pub revision: Revision,
    /// Which object.
    pub key: Key,
    /// Whether the object is gone.
    pub is_delete: bool,
    /// The new version; absent of a deletion that shows the version before it.
    pub body: Option<Body>,
}

impl Record {
    /// The record of an event.
    pub fn of(event: &Event) -> Record {
        let same = event.is_delete && event.before.as_ref().is_some_and(|b| b.body == event.after.body);
        Record {
            revision: event.revision,
            key: event.after.key.clone(),
            is_delete: event.is_delete,
            body: (!same).then(|| event.after.body.clone()),
        }
    }
}

/// Records that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A revision is missing, doubled or out of order.
    #[error("expected revision {expected}, found {found}")]
    Gap {
        /// What should come next.
        expected: Revision,
        /// What came.
        found: Revision,
    },
    /// A put without a body, or a deletion of nothing.
    #[error("record {revision} makes no sense")]
    Senseless {
        /// Which one.
        revision: Revision,
    },
}

/// A store being rebuilt.
#[derive(Debug)]
pub struct Restore {
    mvcc: Mvcc,
    last: Revision,
}

impl Restore {
    /// Starts with nothing; `floor` is where the kept history begins.
    pub fn new(window: Window, floor: Revision) -> Restore {
        Restore { mvcc: Mvcc::starting_at(window, floor), last: Revision(0) }
    }

    /// Takes the next record; `row` makes the index row of its body.
    ///
    /// # Errors
    /// When it does not follow from the ones before it.
    pub fn load(&mut self, record: Record, row: impl FnOnce(&Key, &Body) -> Row) -> Result<(), RestoreError> {
        let expected = Revision(self.last.0.max(self.mvcc.head.0) + 1);
        let found = record.revision;
        let in_window = found > self.mvcc.history.floor;
        if found <= self.last || (in_window && found != expected) {
            return Err(RestoreError::Gap { expected, found });
        }
        self.last = found;
        let before = self.mvcc.get(&record.key);
        let senseless = RestoreError::Senseless { revision: found };
        if record.is_delete && before.is_none() {
            // A deletion at the floor whose object is already forgotten says nothing new.
            return if in_window { Err(senseless) } else { Ok(()) };
        }
        let body =
            record.body.or_else(|| before.as_ref().filter(|_| record.is_delete).map(|b| b.body.clone()));
        let body = body.ok_or(senseless)?;
        let key = before.as_ref().map_or_else(|| self.mvcc.interned(record.key), |b| b.key.clone());
        let mut row = match &before {
            Some(before) if record.is_delete => before.row.clone(),
            _ => row(&key, &body),
        };
        self.mvcc.share(&mut row, before.as_deref());
        let after = Arc::new(Stored { key, revision: found, row, body });
        let event = Arc::new(Event { revision: found, before, after, is_delete: record.is_delete });
        if in_window {
            self.mvcc.publish(event);
        } else {
            self.mvcc.settle(event);
        }
        Ok(())
    }

    /// The rebuilt state, and the records that the window leaves unreachable.
    pub fn finish(mut self) -> (Mvcc, Vec<Revision>) {
        let dropped = self.mvcc.shrink();
        (self.mvcc, dropped)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{Expect, KeyRange, Op};

    fn op() -> impl Strategy<Value = Op> {
        let key = (0..2u8, 0..2u8, 0..4u8)
            .prop_map(|(r, ns, n)| Key::new(&format!("r{r}"), &format!("ns{ns}"), &format!("n{n}")));
        (key, any::<u8>(), 0..4u8).prop_map(|(key, content, what)| {
            let body = Body::pack(&[content]);
            match what {
                0 => Op::Delete { key, expect: Expect::Any, last: None },
                1 => Op::Delete { key, expect: Expect::Any, last: Some(body) },
                _ => Op::Put { key, row: Row::default(), body, expect: Expect::Any },
            }
        })
    }

    type Told = Vec<(u64, Key, bool, Body, Option<u64>)>;

    type Lists = Vec<Vec<(Key, u64, Body)>>;

    /// Everything that can be read of a state: events, objects, and objects at each past revision.
    fn told(mvcc: &Mvcc) -> (Told, Lists) {
        let ranges = ["r0", "r1"].map(|r| KeyRange { resource: r.into(), namespace: None });
        let mut events = Told::new();
        for range in &ranges {
            let from = mvcc.tables.get(&range.resource).map_or(mvcc.floor(), |t| t.dropped.max(mvcc.floor()));
            let tail = mvcc.events_after(range, from, usize::MAX).unwrap();
            events.extend(tail.events.iter().map(|e| {
                let before = e.before.as_ref().map(|b| b.revision.0);
                (e.revision.0, e.after.key.clone(), e.is_delete, e.after.body.clone(), before)
            }));
        }
        let lists = (mvcc.floor().0..=mvcc.head().0).map(|at| {
            let page = |r| mvcc.list(r, Some(Revision(at)), None, 0, None).unwrap().items;
            ranges.iter().flat_map(page).map(|s| (s.key.clone(), s.revision.0, s.body.clone())).collect()
        });
        (events, lists.collect())
    }

    proptest! {
        #[test]
        fn what_the_disk_keeps_rebuilds_the_same_state(
            batches in prop::collection::vec(prop::collection::vec(op(), 1..6), 0..30),
            events_max in 0..40usize,
        ) {
            let window = Window { events_max, ..Window::default() };
            let (mut mvcc, mut disk) = (Mvcc::new(window), BTreeMap::new());
            for batch in batches {
                let ready = mvcc.propose(batch);
                disk.extend(ready.persist.iter().map(|e| (e.revision, Record::of(e))));
                let Some(last) = ready.persist.last() else { continue };
                for revision in mvcc.persisted(last.revision).dropped {
                    prop_assert!(disk.remove(&revision).is_some(), "{} is dropped once", revision);
                }
            }
            let mut rebuilt = Restore::new(window, mvcc.floor());
            for record in disk.values() {
                rebuilt.load(record.clone(), |_, _| Row::default()).unwrap();
            }
            let (rebuilt, dropped) = rebuilt.finish();
            prop_assert!(dropped.is_empty());
            prop_assert_eq!(rebuilt.head(), mvcc.head());
            prop_assert_eq!(told(&rebuilt), told(&mvcc));
            let objects: usize = mvcc.stats().objects;
            prop_assert!(disk.len() <= objects + 2 * events_max, "the disk keeps what can be read, no more");
        }

        #[test]
        fn an_abandoned_batch_never_happened(before in prop::collection::vec(op(), 0..10), lost in prop::collection::vec(op(), 0..10)) {
            let mut mvcc = Mvcc::new(Window::default());
            let ready = mvcc.propose(before);
            mvcc.persisted(Revision(ready.persist.len() as u64));
            let (head, seen) = (mvcc.head(), told(&mvcc));
            mvcc.propose(lost);
            prop_assert_eq!(told(&mvcc), seen.clone(), "nothing proposed is visible");
            mvcc.abandon();
            let again = mvcc.propose([Op::Put { key: Key::new("r0", "x", "y"), row: Row::default(), body: Body::pack(b""), expect: Expect::Absent }]);
            prop_assert_eq!(again.persist[0].revision.0, head.0 + 1);
            prop_assert_eq!(told(&mvcc), seen);
        }
    }

    #[test]
    fn a_missing_record_is_refused() {
        let record = |n: u64| Record {
            revision: Revision(n),
            key: Key::new("a", "b", "c"),
            is_delete: false,
            body: Some(Body::pack(b"x")),
        };
        let mut state = Restore::new(Window::default(), Revision(2));
        state.load(record(2), |_, _| Row::default()).unwrap();
        state.load(record(3), |_, _| Row::default()).unwrap();
        let gap = state.load(record(5), |_, _| Row::default());
        assert_eq!(gap, Err(RestoreError::Gap { expected: Revision(4), found: Revision(5) }));
    }
}
