//! The oracle: what the store must look like, kept as a plain list of everything that was committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::{Body, Event, Expect, Key, KeyRange, Op, Project, Revision, Row, Store, Stored};

/// One committed change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) is_delete: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) before: Option<Revision>,
}

/// Everything that was committed; entry `i` has revision `i + 1`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) log: Vec<Change>,
}

pub(crate) type State = BTreeMap<Key, (Revision, Vec<u8>)>;

impl Model {
    pub(crate) fn head(&self) -> Revision {
        Revision(self.log.len() as u64)
    }

    /// The live objects at a revision.
    pub(crate) fn state_at(&self, at: Revision) -> State {
        let mut state = State::new();
        for (i, change) in self.log.iter().take(at.0 as usize).enumerate() {
            if change.is_delete {
                state.remove(&change.key);
            } else {
                state.insert(change.key.clone(), (Revision(i as u64 + 1), change.body.clone()));
            }
        }
        state
    }

    /// Applies an operation; gives its revision if its precondition holds.
    pub(crate) fn apply(&mut self, state: &mut State, op: &Op) -> Option<Revision> {
        let (key, expect) = match op {
            Op::Put { key, expect, .. } | Op::Delete { key, expect, .. } => (key, *expect),
        };
        let current = state.get(key).cloned();
        let there = current.as_ref().map(|(r, _)| *r);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => there.is_none(),
            Expect::At(r) => there == Some(r),
        };
        let revision = Revision(self.log.len() as u64 + 1);
        let (is_delete, body) = match op {
            Op::Put { body, .. } => (false, body.unpack().unwrap().to_vec()),
            Op::Delete { last, .. } => {
                let (_, old) = current?;
                (true, last.as_ref().map_or(old, |b| b.unpack().unwrap().to_vec()))
            }
        };
        if !holds || (is_delete && expect == Expect::Absent) {
            return None;
        }
        if is_delete {
            state.remove(key);
        } else {
            state.insert(key.clone(), (revision, body.clone()));
        }
        self.log.push(Change { key: key.clone(), is_delete, body, before: there });
        Some(revision)
    }

    /// The events of a range above `from` up to `to`, as a watcher must see them.
    pub(crate) fn events(&self, range: &KeyRange, from: Revision, to: Revision) -> Vec<(Revision, Change)> {
        let all = self.log.iter().enumerate().map(|(i, c)| (Revision(i as u64 + 1), c.clone()));
        all.filter(|(r, c)| *r > from && *r <= to && range.contains(&c.key)).collect()
    }
}

/// An event as the oracle writes it; checks on the way that the event agrees with itself.
pub(crate) fn change_of(event: &Event) -> (Revision, Change) {
    let after = &event.after;
    assert_eq!(event.revision, after.revision, "the new version has the event's revision");
    assert!(event.before.as_ref().is_none_or(|b| b.key == after.key), "both versions are of one object");
    if !event.is_delete {
        check_row(after);
    }
    let change = Change {
        key: after.key.clone(),
        is_delete: event.is_delete,
        body: after.body.unpack().unwrap().to_vec(),
        before: event.before.as_ref().map(|b| b.revision),
    };
    (event.revision, change)
}

/// Labels are made from the body, so that every index row can be checked against it.
pub(crate) struct FirstByte;

impl Project for FirstByte {
    fn row(&self, key: &Key, body: &[u8]) -> Row {
        row_of(key, body)
    }
}

pub(crate) fn row_of(key: &Key, body: &[u8]) -> Row {
    let first = body.first().copied().unwrap_or(0).to_string();
    Row::new(&format!("uid-{}", key.name), [("first", &*first)], [])
}

pub(crate) fn check_row(stored: &Stored) {
    let body = stored.body.unpack().unwrap();
    assert_eq!(stored.row, row_of(&stored.key, &body), "the index row is the projection of the body");
}

pub(crate) fn put(key: &Key, body: &[u8], expect: Expect) -> Op {
    Op::Put { key: key.clone(), row: row_of(key, body), body: Body::pack(body), expect }
}

pub(crate) fn delete(key: &Key, expect: Expect) -> Op {
    Op::Delete { key: key.clone(), expect, last: None }
}

pub(crate) fn range(resource: &str, namespace: Option<&str>) -> KeyRange {
    KeyRange { resource: resource.into(), namespace: namespace.map(Arc::from) }
}

/// What the store lists of all resources of `ranges`, at a revision.
pub(crate) fn listed(
    store: &Store,
    ranges: &[KeyRange],
    at: Option<Revision>,
) -> Result<State, store::Error> {
    let mut state = State::new();
    for range in ranges {
        let mut after: Option<Key> = None;
        loop {
            let page = store.list(range, at, after.as_ref(), 3, None)?;
            for stored in &page.items {
                check_row(stored);
                let body = stored.body.unpack().unwrap().to_vec();
                let twice = state.insert(stored.key.clone(), (stored.revision, body));
                assert!(twice.is_none(), "{:?} is on two pages", stored.key);
                assert!(after.as_ref().is_none_or(|a| *a < stored.key), "pages are in key order");
                after = Some(stored.key.clone());
            }
            if !page.more {
                break;
            }
        }
    }
    Ok(state)
}
