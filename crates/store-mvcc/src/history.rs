//! The window of past events: bounded by number and by bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Event, Revision, Stored};

/// How much of the past is kept for watches that resume and lists of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Most events kept.
    pub events_max: usize,
    /// Most bytes kept alive by events, both versions of each counted.
    pub bytes_max: usize,
}

impl Default for Window {
    fn default() -> Window {
        Window { events_max: 100_000, bytes_max: 64 << 20 }
    }
}

/// Bytes of a version beside its body and row: map entry, allocations, counters.
const VERSION_OVERHEAD_BYTES: usize = 160;

/// Bytes that one version occupies, about.
pub(crate) fn weight(stored: &Stored) -> usize {
    let pairs =
        |pairs: &[(Box<str>, Box<str>)]| pairs.iter().map(|(k, v)| 32 + k.len() + v.len()).sum::<usize>();
    VERSION_OVERHEAD_BYTES
        + stored.body.packed().len()
        + stored.key.name.len()
        + stored.row.uid.len()
        + pairs(&stored.row.labels)
        + pairs(&stored.row.fields)
}

fn event_weight(event: &Event) -> usize {
    weight(&event.after) + event.before.as_deref().map_or(0, weight)
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
