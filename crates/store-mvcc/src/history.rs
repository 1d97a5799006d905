//! The window of past events: bounded by number and by bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Event, Revision, Stored};

/// How much of the past is kept for watches that resume and lists of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Most events kept.
    pub events_max: usize,
    /// Most bytes that nothing but events keeps alive.
    pub bytes_max: usize,
}

impl Default for Window {
    fn default() -> Window {
        Window { events_max: 100_000, bytes_max: 32 << 20 }
    }
}

/// Bytes of a version beside its body and row: map entry, allocations, counters.
const VERSION_OVERHEAD_BYTES: usize = 320;
/// Bytes of an event beside the versions it keeps alive.
const EVENT_OVERHEAD_BYTES: usize = 96;

/// Bytes that one version occupies, about; texts that it has in common with others are left out.
pub(crate) fn weight(stored: &Stored) -> usize {
    VERSION_OVERHEAD_BYTES + stored.body.packed().len() + stored.key.name.len() + stored.row.weight()
}

/// Bytes that an event alone keeps alive: the version it replaced, and the last state of what it deleted. The version it made is
/// live, or else the one that a later event replaced.
fn event_weight(event: &Event) -> usize {
    let last = if event.is_delete { weight(&event.after) } else { 0 };
    EVENT_OVERHEAD_BYTES + event.before.as_deref().map_or(0, weight) + last
}

/// Events in order, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    window: Window,
    /// Everything up to here has left the window.
    pub(crate) floor: Revision,
}

impl History {
    pub(crate) fn new(window: Window, floor: Revision) -> History {
        History { events: VecDeque::new(), bytes: 0, window, floor }
    }

    pub(crate) fn push(&mut self, event: Arc<Event>) {
        self.bytes += event_weight(&event);
        self.events.push_back(event);
    }

    /// Takes out the oldest event if the window is overfull.
    pub(crate) fn pop_excess(&mut self) -> Option<Arc<Event>> {
        if self.events.len() <= self.window.events_max && self.bytes <= self.window.bytes_max {
            return None;
        }
        let event = self.events.pop_front()?;
        self.bytes -= event_weight(&event);
        self.floor = event.revision;
        Some(event)
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
