//! Everything that happens, in order, as text.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::machine::SimClock;

/// The log of one simulation; clones write to the same one.
#[derive(Clone)]
pub(crate) struct Log {
    clock: SimClock,
    text: Arc<Mutex<String>>,
}

impl Log {
    pub(crate) fn new(clock: SimClock) -> Log {
        Log { clock, text: Arc::default() }
    }

    /// Writes one line, after the time.
    pub(crate) fn line(&self, what: &str) {
        let at = self.clock.elapsed();
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(text, "{:>5}.{:06} {what}", at.as_secs(), at.subsec_micros());
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
