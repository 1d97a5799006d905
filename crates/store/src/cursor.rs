//! Watch cursors: each pulls from the shared event log at its own pace.

use std::sync::Arc;

use store_mvcc::{Event, Interest, KeyRange, Revision, Tail, Unavailable};
use tokio::sync::watch;

use crate::Error;
use crate::handle::Shared;

/// A place in the event log of one range. Never skips: it gives every event, or says that history no longer reaches back to it.
pub struct Cursor {
    shared: Arc<Shared>,
    range: KeyRange,
    position: Revision,
    moved: watch::Receiver<Revision>,
    /// What alone is looked at.
    interest: Option<Interest>,
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Some(interest) = &self.interest {
            self.shared.unfollow(interest);
        }
    }
}

impl Cursor {
    pub(crate) fn open(shared: Arc<Shared>, range: KeyRange, from: Revision) -> Result<Cursor, Error> {
        // Subscribed before the first look, so that no change falls between the two.
        let moved = shared.subscribe(&range.resource);
        shared.read().events_after(&range, from, 0)?;
        Ok(Cursor { shared, range, position: from, moved, interest: None })
    }

    pub(crate) fn open_touching(
        shared: Arc<Shared>,
        range: KeyRange,
        interest: Interest,
        from: Revision,
    ) -> Result<Cursor, Error> {
        let moved = shared.follow(&interest, from);
        let cursor = Cursor { shared, range, position: from, moved, interest: Some(interest) };
        cursor.tail(0)?;
        Ok(cursor)
    }

    fn tail(&self, limit: usize) -> Result<Tail, Unavailable> {
        let state = self.shared.read();
        match &self.interest {
            Some(interest) => state.events_touching(interest, &self.range, self.position, limit),
            None => state.events_after(&self.range, self.position, limit),
        }
    }

    /// The next events, at least one; waits for them. Safe to drop while it waits.
    ///
    /// # Errors
    /// `Compacted` when events that were not given yet are gone; `Closed` when the store has ended and everything was given.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        loop {
            self.moved.mark_unchanged();
            let events = self.try_next()?;
            if !events.is_empty() {
                return Ok(events);
            }
            if self.moved.changed().await.is_err() {
                let last = self.try_next()?;
                return if last.is_empty() { Err(Error::Closed) } else { Ok(last) };
            }
        }
    }

    /// Whether something was written to the resource since the last look at it; cheap, without a lock of the state. Before the
    /// first look it may say no although there are events.
    pub fn has_news(&self) -> bool {
        self.moved.has_changed().unwrap_or(true)
    }

    /// The events that are there, perhaps none; does not wait.
    ///
    /// # Errors
    /// `Compacted` when events that were not given yet are gone.
    pub fn try_next(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        // Before the look, so that what comes during it is news again.
        self.moved.mark_unchanged();
        let tail = self.tail(self.shared.limits.cursor_batch_max)?;
        self.position = tail.complete_to;
        Ok(tail.events)
    }

    /// Everything of the range up to here has been given; what a bookmark may say once those events are delivered.
    pub fn position(&self) -> Revision {
        self.position
    }
}
