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
        let row = match &before {
            Some(before) if record.is_delete => before.row.clone(),
            _ => row(&key, &body),
        };
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
