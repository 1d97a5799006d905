//! Read your own writes: a key is held until the mirrors have seen what was written for it.

use std::collections::{BTreeMap, BTreeSet};

use stdx::Time;

/// What a mirror must have seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Mirror number `feed` has reached this version of its collection.
    Reached {
        /// Number of the mirror.
        feed: usize,
        /// Version of the collection.
        revision: u64,
    },
    /// Mirror number `feed` shows the object as terminating, or no longer.
    Gone {
        /// Number of the mirror.
        feed: usize,
        /// Identity of the object.
        uid: String,
    },
}

/// Which keys wait for which marks.
pub struct Expectations<K> {
    pending: BTreeMap<K, Pending>,
    waiters: BTreeMap<Mark, BTreeSet<K>>,
    deadlines: BTreeSet<(Time, K)>,
}

struct Pending {
    marks: BTreeSet<Mark>,
    until: Time,
}

impl<K> Default for Expectations<K> {
    fn default() -> Expectations<K> {
        Expectations { pending: BTreeMap::new(), waiters: BTreeMap::new(), deadlines: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Expectations<K> {
    /// Nothing is waited for.
    pub fn new() -> Expectations<K> {
        Expectations::default()
    }

    /// Holds a key until all marks are seen, at most until `until`. No marks: not held.
    pub fn expect(&mut self, key: K, marks: impl IntoIterator<Item = Mark>, until: Time) {
        let marks: BTreeSet<Mark> = marks.into_iter().collect();
        if marks.is_empty() {
            return;
        }
        for mark in &marks {
            self.waiters.entry(mark.clone()).or_default().insert(key.clone());
        }
        let pending =
            self.pending.entry(key.clone()).or_insert_with(|| Pending { marks: BTreeSet::new(), until });
        self.deadlines.remove(&(pending.until, key.clone()));
        pending.marks.extend(marks);
        pending.until = pending.until.max(until);
        self.deadlines.insert((pending.until, key));
    }

    /// Whether a key is held.
    pub fn holds(&self, key: &K) -> bool {
        self.pending.contains_key(key)
    }

    /// A mirror has reached a version; gives back the keys that are no longer held.
    pub fn reached(&mut self, feed: usize, revision: u64) -> Vec<K> {
        let range = Mark::Reached { feed, revision: 0 }..=Mark::Reached { feed, revision };
        let marks: Vec<Mark> = self.waiters.range(range).map(|(m, _)| m.clone()).collect();
        marks.iter().flat_map(|m| self.met(m)).collect()
    }

    /// A mirror shows an object as terminating or no longer; gives back the keys that are no longer held.
    pub fn gone(&mut self, feed: usize, uid: &str) -> Vec<K> {
        self.met(&Mark::Gone { feed, uid: uid.to_owned() })
    }

    /// Lets go of the keys whose time is over; gives them back with what they still waited for.
    pub fn overdue(&mut self, now: Time) -> Vec<(K, Vec<Mark>)> {
        let mut out = Vec::new();
        while let Some((until, _)) = self.deadlines.first()
            && *until <= now
        {
            let (_, key) = self.deadlines.pop_first().expect("first was there");
            out.push((key.clone(), self.forget(&key)));
        }
        out
    }

    /// When the next key's time is over.
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Lets go of a key; gives back what it still waited for.
    pub fn forget(&mut self, key: &K) -> Vec<Mark> {
        let Some(pending) = self.pending.remove(key) else { return Vec::new() };
        self.deadlines.remove(&(pending.until, key.clone()));
        for mark in &pending.marks {
            if let Some(keys) = self.waiters.get_mut(mark) {
                keys.remove(key);
                if keys.is_empty() {
                    self.waiters.remove(mark);
                }
            }
        }
        pending.marks.into_iter().collect()
    }

    fn met(&mut self, mark: &Mark) -> Vec<K> {
        let mut free = Vec::new();
        for key in self.waiters.remove(mark).unwrap_or_default() {
            let Some(pending) = self.pending.get_mut(&key) else { continue };
            pending.marks.remove(mark);
            if pending.marks.is_empty() {
                self.deadlines.remove(&(pending.until, key.clone()));
                self.pending.remove(&key);
                free.push(key);
            }
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Time = Time::from_secs(1000);
    const T9: Time = Time::from_secs(1009);

    fn reached(revision: u64) -> Mark {
        Mark::Reached { feed: 1, revision }
    }

    #[test]
    fn a_key_is_held_until_every_mark_is_seen() {
        let mut e = Expectations::new();
        e.expect("a", [reached(7), reached(9), Mark::Gone { feed: 1, uid: "u".into() }], T9);
        assert_eq!(e.reached(1, 8), Vec::<&str>::new());
        assert_eq!(e.reached(2, 99), Vec::<&str>::new());
        assert_eq!(e.gone(1, "u"), Vec::<&str>::new());
        assert!(e.holds(&"a"));
        assert_eq!(e.reached(1, 9), ["a"]);
        assert!(!e.holds(&"a"));
        assert_eq!(e.next_deadline(), None);
    }

    #[test]
    fn a_mark_that_never_comes_holds_only_so_long() {
        let mut e = Expectations::new();
        e.expect("a", [reached(7)], T9);
        assert!(e.overdue(T0).is_empty());
        assert_eq!(e.overdue(T9), [("a", vec![reached(7)])]);
        assert!(!e.holds(&"a"));
        assert!(e.reached(1, 7).is_empty());
    }

    #[test]
    fn no_marks_hold_nothing() {
        let mut e = Expectations::new();
        e.expect("a", [], T9);
        assert!(!e.holds(&"a"));
    }
}
