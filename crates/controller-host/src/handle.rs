//! What others may ask of a running host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use api_meta::ObjectKey;
use reconcile::Note;

use crate::metrics::Metrics;

/// Asks a running host; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) whys: Arc<Whys>,
}

impl Handle {
    /// Its counters in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.metrics.text()
    }

    /// What a controller last said about a key, in its order: why it waits, what it warns of.
    pub fn why(&self, controller: &str, key: &ObjectKey) -> Vec<Note> {
        let all = self.whys.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .find(|((c, k), _)| *c == controller && k == key)
            .map(|(_, n)| n.clone())
            .unwrap_or_default()
    }
}

/// The standing notes of every key.
#[derive(Default)]
pub(crate) struct Whys(Mutex<BTreeMap<(&'static str, ObjectKey), Vec<Note>>>);

impl Whys {
    /// Puts the notes of a key in place of its former ones, which come back.
    pub(crate) fn replace(&self, controller: &'static str, key: &ObjectKey, notes: Vec<Note>) -> Vec<Note> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (controller, key.clone());
        let before = if notes.is_empty() { all.remove(&id) } else { all.insert(id, notes) };
        before.unwrap_or_default()
    }

    /// Forgets a key.
    pub(crate) fn clear(&self, controller: &'static str, key: &ObjectKey) {
        self.replace(controller, key, Vec::new());
    }
}
