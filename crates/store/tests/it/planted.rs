//! Faults planted on purpose: the crash run must find every one of them, or its silence means nothing.

use store::{Engine, EngineError, Record, RedbEngine, Replayed, Revision, SimDisk, Sink};

use crate::run;
use crate::world::World;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Nothing.
    Nothing,
    /// Each sync answers at once and happens with the next one.
    AckBeforeSync,
    /// The disk says it has synced and has not.
    SyncIsALie,
    /// Removing old records also removes the one after the last of them.
    TruncatesTooMuch,
    /// Replay leaves out the newest record.
    ForgetsTheNewest,
    /// The end of history is not remembered, so that revisions can be given out twice.
    ForgetsTheFloor,
    /// A batch that was written is answered as refused for lack of room.
    DeniesASync,
    /// Watchers lose an event when many come at once.
    DropsWhenBusy,
    /// Bookmarks run ahead of what was delivered.
    BookmarksEarly,
}

/// An engine with the fault in it.
pub(crate) struct Faulty {
    inner: RedbEngine,
    planted: Planted,
    held: Vec<Record>,
    syncs: u64,
}

impl Faulty {
    pub(crate) fn open(disk: &SimDisk, planted: Planted) -> Result<Faulty, EngineError> {
        if planted == Planted::SyncIsALie {
            disk.lie_about_syncs();
        }
        Ok(Faulty { inner: RedbEngine::open(disk.clone())?, planted, held: Vec::new(), syncs: 0 })
    }
}

impl Engine for Faulty {
    fn replay(&mut self, sink: Sink<'_>) -> Result<(), EngineError> {
        if self.planted != Planted::ForgetsTheNewest {
            return self.inner.replay(sink);
        }
        let mut items = Vec::new();
        self.inner.replay(&mut |item| {
            items.push(item);
            Ok(())
        })?;
        if items.len() > 2 && matches!(items.last(), Some(Replayed::Record(_))) {
            items.pop();
        }
        items.into_iter().try_for_each(sink)
    }

    fn append(&mut self, batch: &[Record]) -> Result<(), EngineError> {
        if self.planted == Planted::AckBeforeSync {
            self.held.extend_from_slice(batch);
            return Ok(());
        }
        self.inner.append(batch)
    }

    fn truncate(&mut self, dropped: &[Revision], floor: Revision) -> Result<(), EngineError> {
        match self.planted {
            Planted::TruncatesTooMuch => {
                let next = dropped.iter().max().map(|r| Revision(r.0 + 1));
                self.inner.truncate(&[dropped, next.as_slice()].concat(), floor)
            }
            Planted::ForgetsTheFloor => self.inner.truncate(dropped, Revision(0)),
            _ => self.inner.truncate(dropped, floor),
        }
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.syncs += 1;
        if self.planted == Planted::AckBeforeSync && !self.syncs.is_multiple_of(3) {
            return Ok(());
        }
        if !self.held.is_empty() {
            self.inner.append(&std::mem::take(&mut self.held))?;
        }
        self.inner.sync()?;
        if self.planted == Planted::DeniesASync && self.syncs.is_multiple_of(7) {
            return Err(EngineError::Full);
        }
        Ok(())
    }

    fn get(&mut self, revision: Revision) -> Result<Option<Record>, EngineError> {
        self.inner.get(revision)
    }
}

fn is_found(planted: Planted) {
    let found = (0..100).find_map(|seed| {
        let life = std::panic::AssertUnwindSafe(|| run(World::new(seed, SimDisk::new(seed), planted).live()));
        match std::panic::catch_unwind(life) {
            Ok(Ok(_)) => None,
            Ok(Err(why)) => Some(format!("seed {seed}: {why}")),
            Err(_) => Some(format!("seed {seed}: a panic")),
        }
    });
    println!("{planted:?}: {}", found.unwrap_or_else(|| panic!("{planted:?} was not found")));
}

#[test]
fn an_answer_before_the_sync_is_found() {
    is_found(Planted::AckBeforeSync);
}

#[test]
fn a_disk_that_does_not_sync_is_found() {
    is_found(Planted::SyncIsALie);
}

#[test]
fn a_removal_of_too_much_is_found() {
    is_found(Planted::TruncatesTooMuch);
}

#[test]
fn a_forgotten_record_is_found() {
    is_found(Planted::ForgetsTheNewest);
}

#[test]
fn a_forgotten_end_of_history_is_found() {
    is_found(Planted::ForgetsTheFloor);
}

#[test]
fn a_denied_sync_is_found() {
    is_found(Planted::DeniesASync);
}

#[test]
fn an_event_dropped_under_load_is_found() {
    is_found(Planted::DropsWhenBusy);
}

#[test]
fn an_early_bookmark_is_found() {
    is_found(Planted::BookmarksEarly);
}
