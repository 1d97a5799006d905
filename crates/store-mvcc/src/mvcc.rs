//! The state machine: proposals, commits, reads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::history::History;
use crate::list::{self, Filter, Page};
use crate::row::Common;
use crate::table::{Local, Table};
use crate::{Event, Expect, Interest, Key, KeyRange, Op, Revision, Row, Stored, Window};

/// A precondition that did not hold; the world is unchanged.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// What is at the key instead, if anything.
    pub current: Option<Arc<Stored>>,
}

/// What came of a proposal. Nobody may learn any of it before `persist` is durable.
#[derive(Debug, Default)]
pub struct Ready {
    /// One per operation, in their order.
    pub outcomes: Vec<Result<Revision, Rejected>>,
    /// Changes to make durable, in order of revision.
    pub persist: Vec<Arc<Event>>,
}

/// What a commit made visible.
#[derive(Debug, Default)]
pub struct Published {
    /// The changes, in order of revision.
    pub events: Vec<Arc<Event>>,
    /// What is followed and was touched by them, each once.
    pub touched: Vec<Interest>,
    /// Records that no read can reach any more.
    pub dropped: Vec<Revision>,
}

/// A revision that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It lies before the window of history.
    #[error("the oldest revision still known is {oldest}")]
    Compacted {
        /// The oldest revision that can be served.
        oldest: Revision,
    },
    /// It lies in the future.
    #[error("the newest revision is {head}")]
    Future {
        /// The newest revision.
        head: Revision,
    },
}

/// A stretch of the event log.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// Events of the range, in order.
    pub events: Vec<Arc<Event>>,
    /// Nothing of the range up to here is missing from `events` and what came before.
    pub complete_to: Revision,
}

/// Sizes, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Newest committed revision.
    pub head: Revision,
    /// Everything up to here has left the window of history.
    pub floor: Revision,
    /// Live objects.
    pub objects: usize,
    /// Bytes of live objects, about.
    pub object_bytes: usize,
    /// Events in the window.
    pub history_events: usize,
    /// Bytes that nothing else keeps alive, about.
    pub history_bytes: usize,
}

/// Revisions, key index and history of the whole store.
#[derive(Debug)]
pub struct Mvcc {
    pub(crate) tables: BTreeMap<Arc<str>, Table>,
    pub(crate) history: History,
    /// Newest committed revision.
    pub(crate) head: Revision,
    /// Proposed but not yet durable, by key; `None` is a deletion.
    overlay: BTreeMap<Key, (Revision, Option<Arc<Stored>>)>,
    in_flight: VecDeque<Arc<Event>>,
    /// What index rows have in common.
    common: Common,
    /// Where the history began when this state was made: earlier events of any resource are unknown.
    base: Revision,
}

impl Mvcc {
    /// An empty store.
    pub fn new(window: Window) -> Mvcc {
        Mvcc::starting_at(window, Revision(0))
    }

    pub(crate) fn starting_at(window: Window, floor: Revision) -> Mvcc {
        Mvcc {
            tables: BTreeMap::new(),
            history: History::new(window, floor),
            head: floor,
            overlay: BTreeMap::new(),
            in_flight: VecDeque::new(),
            common: Common::default(),
            base: floor,
        }
    }

    /// Checks each operation against the state as it will be, and gives revisions to those that hold.
    pub fn propose(&mut self, ops: impl IntoIterator<Item = Op>) -> Ready {
        let mut ready = Ready::default();
        for op in ops {
            let outcome = self.propose_one(op).inspect(|event| ready.persist.push(event.clone()));
            ready.outcomes.push(outcome.map(|event| event.revision));
        }
        ready
    }

    fn propose_one(&mut self, op: Op) -> Result<Arc<Event>, Rejected> {
        let (key, expect) = match &op {
            Op::Put { key, expect, .. } | Op::Delete { key, expect, .. } => (key, *expect),
        };
        let before = self.newest(key);
        let holds = match (expect, &before) {
            (Expect::Any, Some(_)) | (Expect::Absent, None) => true,
            (Expect::Any, None) => matches!(op, Op::Put { .. }),
            (Expect::At(revision), Some(stored)) => stored.revision == revision,
            (Expect::Absent, Some(_)) | (Expect::At(_), None) => false,
        };
        match (op, before) {
            (op @ Op::Put { .. }, before) if holds => Ok(self.accept_put(op, before)),
            (Op::Delete { last, .. }, Some(before)) if holds => {
                let body = last.unwrap_or_else(|| before.body.clone());
                let key = before.key.clone();
                let row = before.row.clone();
                Ok(self.accept(key, row, body, Some(before), true))
            }
            (_, current) => Err(Rejected { current }),
        }
    }

    fn accept_put(&mut self, op: Op, before: Option<Arc<Stored>>) -> Arc<Event> {
        let Op::Put { key, mut row, body, .. } = op else { unreachable!("the caller matched a put") };
        self.share(&mut row, before.as_deref());
        let key = before.as_ref().map_or_else(|| self.interned(key), |b| b.key.clone());
        self.accept(key, row, body, before, false)
    }

    fn accept(
        &mut self,
        key: Key,
        row: Row,
        body: crate::Body,
        before: Option<Arc<Stored>>,
        is_delete: bool,
    ) -> Arc<Event> {
        let revision = Revision(self.proposed().0 + 1);
        let after = Arc::new(Stored { key: key.clone(), revision, row, body });
        self.overlay.insert(key, (revision, (!is_delete).then(|| after.clone())));
        let event = Arc::new(Event { revision, before, after, is_delete });
        self.in_flight.push_back(event.clone());
        event
    }

    /// The newest version of a key, durable or not.
    fn newest(&self, key: &Key) -> Option<Arc<Stored>> {
        match self.overlay.get(key) {
            Some((_, proposed)) => proposed.clone(),
            None => self.get(key),
        }
    }

    /// The same key made of names that other objects already hold.
    pub(crate) fn interned(&self, key: Key) -> Key {
        let Some(table) = self.tables.get(&key.resource) else { return key };
        Key { resource: table.resource.clone(), namespace: table.interned(&key.namespace), name: key.name }
    }

    /// The same row made of texts that the version before and other objects already hold.
    pub(crate) fn share(&mut self, row: &mut Row, before: Option<&Stored>) {
        row.share(before.map(|b| &b.row), &mut self.common);
    }

    /// The newest revision given out, durable or not.
    fn proposed(&self) -> Revision {
        self.in_flight.back().map_or(self.head, |e| e.revision)
    }

    /// Makes everything proposed up to `through` visible: it is durable now.
    pub fn persisted(&mut self, through: Revision) -> Published {
        let mut published = Published::default();
        let durable = self.in_flight.partition_point(|e| e.revision <= through);
        published.events.extend(self.in_flight.drain(..durable));
        for event in &published.events {
            self.publish(event.clone());
        }
        published.touched = self.touched(&published.events);
        self.overlay.retain(|_, (revision, _)| *revision > through);
        published.dropped = self.shrink();
        published
    }

    fn touched(&self, events: &[Arc<Event>]) -> Vec<Interest> {
        let mut out = Vec::new();
        for event in events {
            let resource = &event.after.key.resource;
            let Some(table) = self.tables.get(resource) else { continue };
            let interest = |(field, value): (&Arc<str>, &Arc<str>)| Interest {
                resource: resource.clone(),
                field: field.clone(),
                value: value.clone(),
            };
            out.extend(table.strands.touched(event).map(interest));
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// Somebody follows the changes after `from` that touch a value; once for each of them, until [`Mvcc::unfollow`].
    pub fn follow(&mut self, interest: &Interest, from: Revision) {
        let (resource, base) = (&interest.resource, self.base);
        let table = self.tables.entry(resource.clone()).or_insert_with(|| Table::new(resource.clone(), base));
        table.follow(interest, from);
    }

    /// Somebody follows them no more.
    pub fn unfollow(&mut self, interest: &Interest) {
        if let Some(table) = self.tables.get_mut(&interest.resource) {
            table.strands.unfollow(interest);
        }
    }

    /// Forgets everything proposed that is not durable: it never happened, and nobody has seen it.
    pub fn abandon(&mut self) {
        self.overlay.clear();
        self.in_flight.clear();
    }

    pub(crate) fn publish(&mut self, event: Arc<Event>) {
        assert_eq!(event.revision.0, self.head.0 + 1, "revisions are committed in order without gaps");
        self.head = event.revision;
        self.settle(event.clone());
        if let Some(table) = self.tables.get_mut(&event.after.key.resource) {
            table.log_event(event.clone());
        }
        self.history.push(event);
    }

    /// Applies a change to the live objects alone.
    pub(crate) fn settle(&mut self, event: Arc<Event>) {
        let resource = &event.after.key.resource;
        let base = self.base;
        let table = self.tables.entry(resource.clone()).or_insert_with(|| Table::new(resource.clone(), base));
        if event.is_delete {
            table.remove(&Local::of(&event.after.key));
        } else {
            table.put(event.after.clone());
        }
    }

    /// Cuts the history to its window; gives the records that became unreachable.
    pub(crate) fn shrink(&mut self) -> Vec<Revision> {
        let mut dropped = Vec::new();
        while let Some(event) = self.history.pop_excess() {
            if let Some(table) = self.tables.get_mut(&event.after.key.resource) {
                table.forget(event.revision);
            }
            dropped.extend(event.before.as_ref().map(|b| b.revision));
            if event.is_delete {
                dropped.push(event.revision);
            }
        }
        dropped
    }

    /// The committed version at a key.
    pub fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.tables.get(&key.resource)?.get(&Local::of(key)).cloned()
    }

    /// A page of the committed state, now or at a past revision; `limit` 0 means no limit.
    ///
    /// # Errors
    /// When that revision is not within the window.
    pub fn list(
        &self,
        range: &KeyRange,
        at: Option<Revision>,
        after: Option<&Key>,
        limit: usize,
        filter: Option<Filter<'_>>,
    ) -> Result<Page, Unavailable> {
        list::page(self, range, at, after, limit, filter)
    }

    /// Events of the range with a revision above `from`, at most `limit` of them.
    ///
    /// # Errors
    /// When some of them have left the window.
    pub fn events_after(&self, range: &KeyRange, from: Revision, limit: usize) -> Result<Tail, Unavailable> {
        self.reaches(&range.resource, from)?;
        let events = self.tables.get(&range.resource).map(|table| table.events_above(from));
        Ok(self.tail(range, from, limit, events.into_iter().flatten()))
    }

    /// The same of the changes that touch a value which somebody follows; others may be among them when nobody has followed it since
    /// `from`.
    ///
    /// # Errors
    /// When some of them have left the window. That others have is no matter.
    pub fn events_touching(
        &self,
        interest: &Interest,
        range: &KeyRange,
        from: Revision,
        limit: usize,
    ) -> Result<Tail, Unavailable> {
        let strand = self.tables.get(&interest.resource).and_then(|t| t.strands.above(interest, from));
        match strand.filter(|(_, dropped)| from >= *dropped) {
            Some((events, _)) => Ok(self.tail(range, from, limit, events)),
            None => self.events_after(range, from, limit),
        }
    }

    fn tail<'e>(
        &self,
        range: &KeyRange,
        from: Revision,
        limit: usize,
        events: impl Iterator<Item = &'e Arc<Event>>,
    ) -> Tail {
        let mut tail = Tail { events: Vec::new(), complete_to: from.max(self.head) };
        for event in events.filter(|e| range.contains(&e.after.key)) {
            if tail.events.len() == limit {
                tail.complete_to = tail.events.last().map_or(from, |e| e.revision);
                break;
            }
            tail.events.push(event.clone());
        }
        tail
    }

    /// Whether all events of a resource above `from` are still there.
    pub(crate) fn reaches(&self, resource: &Arc<str>, from: Revision) -> Result<(), Unavailable> {
        let oldest = self.tables.get(resource).map_or(self.base, |t| t.dropped);
        if from < oldest { Err(Unavailable::Compacted { oldest }) } else { Ok(()) }
    }

    /// Newest committed revision.
    pub fn head(&self) -> Revision {
        self.head
    }

    /// Everything up to here has left the window of history.
    pub fn floor(&self) -> Revision {
        self.history.floor
    }

    /// Live objects of a range.
    pub fn count(&self, range: &KeyRange) -> usize {
        self.tables.get(&range.resource).map_or(0, |t| t.count(range.namespace.as_ref()))
    }

    /// Resources that have or had objects, with the number of live ones.
    pub fn resources(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.tables.iter().map(|(resource, table)| (resource, table.count(None)))
    }

    /// Sizes, for metrics.
    pub fn stats(&self) -> Stats {
        Stats {
            head: self.head,
            floor: self.history.floor,
            objects: self.tables.values().map(|t| t.count(None)).sum(),
            object_bytes: self.tables.values().map(|t| t.bytes).sum(),
            history_events: self.history.len(),
            history_bytes: self.history.bytes(),
        }
    }
}
