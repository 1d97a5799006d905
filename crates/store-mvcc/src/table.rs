//! One resource: its live objects in list order and its part of the history.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::history::weight;
use crate::strand::Strands;
use crate::{Event, Interest, Key, Revision, Stored};

/// A key within one resource. Order of fields is the order of lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Local {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Local {
    pub(crate) fn of(key: &Key) -> Local {
        Local { namespace: key.namespace.clone(), name: key.name.clone() }
    }

    /// Sorts before every name of the namespace.
    pub(crate) fn first_of(namespace: &Arc<str>) -> Local {
        Local { namespace: namespace.clone(), name: "".into() }
    }
}

/// The objects of one resource.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) resource: Arc<str>,
    live: BTreeMap<Local, Arc<Stored>>,
    in_namespace: BTreeMap<Arc<str>, usize>,
    log: VecDeque<Arc<Event>>,
    /// Parts of the log that are followed on their own.
    pub(crate) strands: Strands,
    /// Events of this resource up to here are gone.
    pub(crate) dropped: Revision,
    /// Bytes of live versions, about.
    pub(crate) bytes: usize,
}

impl Table {
    pub(crate) fn new(resource: Arc<str>, dropped: Revision) -> Table {
        Table {
            resource,
            live: BTreeMap::new(),
            in_namespace: BTreeMap::new(),
            log: VecDeque::new(),
            strands: Strands::default(),
            dropped,
            bytes: 0,
        }
    }

    pub(crate) fn get(&self, local: &Local) -> Option<&Arc<Stored>> {
        self.live.get(local)
    }

    /// The table's own copy of a namespace's name, so that a million objects share one.
    pub(crate) fn interned(&self, namespace: &Arc<str>) -> Arc<str> {
        self.in_namespace.get_key_value(namespace).map_or_else(|| namespace.clone(), |(own, _)| own.clone())
    }

    pub(crate) fn put(&mut self, stored: Arc<Stored>) {
        self.bytes += weight(&stored);
        let local = Local::of(&stored.key);
        let namespace = local.namespace.clone();
        match self.live.insert(local, stored) {
            Some(old) => self.bytes -= weight(&old),
            None => *self.in_namespace.entry(namespace).or_default() += 1,
        }
    }

    pub(crate) fn remove(&mut self, local: &Local) {
        let Some(old) = self.live.remove(local) else { return };
        self.bytes -= weight(&old);
        if let Some(count) = self.in_namespace.get_mut(&local.namespace) {
            *count -= 1;
            if *count == 0 {
                self.in_namespace.remove(&local.namespace);
            }
        }
    }

    pub(crate) fn count(&self, namespace: Option<&Arc<str>>) -> usize {
        match namespace {
            Some(ns) => self.in_namespace.get(ns).copied().unwrap_or(0),
            None => self.live.len(),
        }
    }

    /// Live objects from `start` on, in order.
    pub(crate) fn live_from(&self, start: Bound<Local>) -> impl Iterator<Item = (&Local, &Arc<Stored>)> {
        self.live.range((start, Bound::Unbounded))
    }

    pub(crate) fn log_event(&mut self, event: Arc<Event>) {
        self.strands.note(&event);
        self.log.push_back(event);
    }

    /// Forgets the oldest event; `revision` says which one it is.
    pub(crate) fn forget(&mut self, revision: Revision) {
        let oldest = self.log.pop_front();
        debug_assert_eq!(
            oldest.as_ref().map(|e| e.revision),
            Some(revision),
            "history and table log drop in step"
        );
        if let Some(oldest) = oldest {
            self.strands.forget(&oldest);
        }
        self.dropped = revision;
    }

    /// One more follows the changes after `from` that touch a value.
    pub(crate) fn follow(&mut self, interest: &Interest, from: Revision) {
        self.strands.follow(interest, &self.log, self.dropped, from);
    }

    /// Events with a revision above `after`, oldest first.
    pub(crate) fn events_above(&self, after: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let start = self.log.partition_point(|e| e.revision <= after);
        self.log.range(start..)
    }
}
