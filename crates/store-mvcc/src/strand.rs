//! Strands of the event log: the changes that touch objects with one value of one field.
//!
//! A thousand watchers that each want the pods of one node would each be woken by every change of every pod, and look at it. So the
//! value that somebody follows has a log of its own beside that of its resource, with the same events in the same order: those whose
//! object has the value before or after. Whoever follows it is woken by these alone. A value that nobody follows costs nothing.
//! A strand reaches back no further than somebody has asked: a thousand watchers that begin at the end of the log look through nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::{Event, Revision};

/// What is followed: one value of one field of the index rows of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interest {
    /// Which resource.
    pub resource: Arc<str>,
    /// A field of its rows.
    pub field: Arc<str>,
    /// The value.
    pub value: Arc<str>,
}

/// The strands of one resource.
#[derive(Debug, Default)]
pub(crate) struct Strands {
    by_field: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Strand>>,
}

#[derive(Debug, Default)]
struct Strand {
    followers: usize,
    log: VecDeque<Arc<Event>>,
    /// Events of this strand up to here are gone, or were never looked for.
    dropped: Revision,
}

impl Strand {
    /// Takes in what is left of the log above `from`, as far as it is older than what is here.
    fn reach(&mut self, log: &VecDeque<Arc<Event>>, from: Revision, touches: impl Fn(&Event) -> bool) {
        if from >= self.dropped {
            return;
        }
        let start = log.partition_point(|e| e.revision <= from);
        let end = log.partition_point(|e| e.revision <= self.dropped);
        for event in log.range(start..end).rev().filter(|e| touches(e)) {
            self.log.push_front(event.clone());
        }
        self.dropped = from;
    }
}

/// The values that a change touches: of the object as it is, and as it was when that is another one.
fn values<'e>(event: &'e Event, field: &str) -> impl Iterator<Item = &'e str> {
    let now = event.after.row.field(field);
    let was =
        event.before.as_ref().and_then(|before| before.row.field(field)).filter(|was| Some(*was) != now);
    now.into_iter().chain(was)
}

impl Strands {
    /// One more follows and wants what came after `from`; `log` is what is left of the resource's log, complete above `dropped`.
    pub(crate) fn follow(
        &mut self,
        interest: &Interest,
        log: &VecDeque<Arc<Event>>,
        dropped: Revision,
        from: Revision,
    ) {
        let strands = self.by_field.entry(interest.field.clone()).or_default();
        let strand = strands.entry(interest.value.clone()).or_insert_with(|| {
            let newest = log.back().map_or(dropped, |event| event.revision);
            Strand { followers: 0, log: VecDeque::new(), dropped: newest }
        });
        strand.followers += 1;
        let touches = |event: &Event| values(event, &interest.field).any(|v| *v == *interest.value);
        strand.reach(log, from.max(dropped), touches);
    }

    /// One less follows.
    pub(crate) fn unfollow(&mut self, interest: &Interest) {
        let Some(strands) = self.by_field.get_mut(&interest.field) else { return };
        if let Some(strand) = strands.get_mut(&interest.value) {
            strand.followers -= 1;
            if strand.followers == 0 {
                strands.remove(&interest.value);
            }
        }
        if strands.is_empty() {
            self.by_field.remove(&interest.field);
        }
    }

    /// Takes in a change.
    pub(crate) fn note(&mut self, event: &Arc<Event>) {
        self.each(event, |strand| strand.log.push_back(event.clone()));
    }

    /// Forgets the oldest change of the resource.
    pub(crate) fn forget(&mut self, event: &Event) {
        self.each(event, |strand| {
            // A strand that is younger than the change, or was begun again, does not have it.
            if strand.log.front().is_some_and(|first| first.revision == event.revision) {
                strand.log.pop_front();
                strand.dropped = event.revision;
            }
        });
    }

    fn each(&mut self, event: &Event, mut act: impl FnMut(&mut Strand)) {
        for (field, strands) in &mut self.by_field {
            for value in values(event, field) {
                if let Some(strand) = strands.get_mut(value) {
                    act(strand);
                }
            }
        }
    }

    /// The strands that a change touches.
    pub(crate) fn touched<'s>(
        &'s self,
        event: &'s Event,
    ) -> impl Iterator<Item = (&'s Arc<str>, &'s Arc<str>)> {
        self.by_field.iter().flat_map(move |(field, strands)| {
            values(event, field).filter_map(move |value| Some((field, strands.get_key_value(value)?.0)))
        })
    }

    /// The events of a strand above a revision, and up to where older ones are gone; nothing when nobody follows it.
    pub(crate) fn above(
        &self,
        interest: &Interest,
        after: Revision,
    ) -> Option<(impl Iterator<Item = &Arc<Event>>, Revision)> {
        let strand = self.by_field.get(&interest.field)?.get(&interest.value)?;
        let start = strand.log.partition_point(|e| e.revision <= after);
        Some((strand.log.range(start..), strand.dropped))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Body, Expect, Key, KeyRange, Mvcc, Op, Row, Window};

    fn op() -> impl Strategy<Value = Op> {
        (0..6u8, prop::option::of(0..3u8), any::<bool>()).prop_map(|(name, node, is_delete)| {
            let key = Key::new("pods", "ns", &name.to_string());
            let node = node.map(|n| n.to_string());
            let row = Row::new("u", [], node.iter().map(|n| ("spec.nodeName", n.as_str())));
            match is_delete {
                true => Op::Delete { key, expect: Expect::Any, last: None },
                false => Op::Put { key, row, body: Body::pack(b"{}"), expect: Expect::Any },
            }
        })
    }

    proptest! {
        #[test]
        fn a_strand_is_the_log_of_what_touches_its_value(
            before in prop::collection::vec(op(), 0..30),
            after in prop::collection::vec(op(), 0..60),
            events_max in 0..40usize,
            asked in any::<prop::sample::Index>(),
        ) {
            let mut mvcc = Mvcc::new(Window { events_max, ..Window::default() });
            let interest = Interest { resource: "pods".into(), field: "spec.nodeName".into(), value: "1".into() };
            let range = KeyRange { resource: "pods".into(), namespace: None };
            let commit = |mvcc: &mut Mvcc, op: Op| {
                let ready = mvcc.propose([op]);
                ready.persist.last().map(|last| mvcc.persisted(last.revision))
            };
            before.into_iter().for_each(|op| drop(commit(&mut mvcc, op)));
            let begun = Revision(asked.index(mvcc.head().0 as usize + 1) as u64);
            mvcc.follow(&interest, begun);
            // Another one comes and wants more of the past.
            mvcc.follow(&interest, Revision(begun.0 / 2));
            let since = mvcc.head();
            let mut woken = Vec::new();
            for op in after {
                let published = commit(&mut mvcc, op);
                woken.extend(published.into_iter().filter(|p| p.touched.contains(&interest)).map(|_| mvcc.head()));
            }
            let from = Revision(asked.index(mvcc.head().0 as usize + 1) as u64);
            let touches = |e: &&Arc<Event>| values(e, "spec.nodeName").any(|v| v == "1");
            let revisions =
                |tail: &crate::Tail| tail.events.iter().filter(touches).map(|e| e.revision).collect::<Vec<_>>();
            match (mvcc.events_touching(&interest, &range, from, usize::MAX), mvcc.events_after(&range, from, usize::MAX)) {
                (Ok(strand), Ok(all)) => {
                    let wanted: Vec<Revision> = all.events.iter().filter(touches).map(|e| e.revision).collect();
                    prop_assert_eq!(revisions(&strand), wanted);
                    prop_assert_eq!(strand.complete_to, mvcc.head());
                    // Who asks for no more than was asked for when it began gets the strand alone.
                    prop_assert!(from.0 < begun.0 / 2 || strand.events.iter().all(|e| touches(&e)));
                }
                // Of a strand nothing may be missing where the log has gaps already; the other way round never.
                (strand, all) => prop_assert!(all.is_err(), "{strand:?}"),
            }
            let strand = mvcc.events_touching(&interest, &range, mvcc.floor().max(from), usize::MAX).unwrap();
            prop_assert!(revisions(&strand).iter().filter(|r| **r > since).all(|r| woken.contains(r)));
            mvcc.unfollow(&interest);
            mvcc.unfollow(&interest);
            prop_assert!(mvcc.tables.values().all(|table| table.strands.by_field.is_empty()));
        }
    }

    #[test]
    fn who_follows_is_told_of_coming_and_going() {
        let mut mvcc = Mvcc::new(Window::default());
        let on = |node: &'static str| Row::new("u", [], [("spec.nodeName", node)]);
        let interest = |value: &str| Interest {
            resource: "pods".into(),
            field: "spec.nodeName".into(),
            value: value.into(),
        };
        mvcc.follow(&interest("a"), Revision(0));
        let mut put = |row: Row| {
            let key = Key::new("pods", "ns", "p");
            let ready = mvcc.propose([Op::Put { key, row, body: Body::pack(b"{}"), expect: Expect::Any }]);
            mvcc.persisted(ready.persist[0].revision).touched
        };
        assert_eq!(put(Row::default()), []);
        assert_eq!(put(on("a")), [interest("a")]);
        assert_eq!(put(on("b")), [interest("a")], "it has gone from there");
        assert_eq!(put(on("c")), []);
    }
}
