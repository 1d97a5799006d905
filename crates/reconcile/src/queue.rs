//! The work queue as a state machine: which key is looked at next, and when a failed one is looked at again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use stdx::Time;

/// Shortest wait after a failure (as client-go's default rate limiter).
pub const BACKOFF_MIN: Duration = Duration::from_millis(5);
/// Longest wait after failures in a row; client-go waits up to 1000 s, which nobody who has just repaired something likes.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Keys that wait for a look. A key is never handed out twice at a time: one that is added while it is being worked on is
/// handed out again after [`Queue::done`].
pub struct Queue<K> {
    ready: VecDeque<K>,
    waiting: BTreeSet<K>,
    working: BTreeSet<K>,
    dirty: BTreeSet<K>,
    later: BTreeSet<(Time, K)>,
    due: BTreeMap<K, Time>,
    failures: BTreeMap<K, u32>,
}

impl<K> Default for Queue<K> {
    fn default() -> Queue<K> {
        Queue {
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            working: BTreeSet::new(),
            dirty: BTreeSet::new(),
            later: BTreeSet::new(),
            due: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }
}

impl<K: Clone + Ord> Queue<K> {
    /// An empty queue.
    pub fn new() -> Queue<K> {
        Queue::default()
    }

    /// Asks for a look as soon as possible.
    pub fn add(&mut self, key: K) {
        if self.working.contains(&key) {
            self.dirty.insert(key);
        } else if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Asks for a look at `at`; of several wishes the earliest counts.
    pub fn add_at(&mut self, key: K, at: Time) {
        match self.due.get(&key) {
            Some(known) if *known <= at => return,
            Some(known) => {
                self.later.remove(&(*known, key.clone()));
            }
            None => {}
        }
        self.due.insert(key.clone(), at);
        self.later.insert((at, key));
    }

    /// Asks for a look after a wait that doubles with each failure in a row; gives back when.
    pub fn add_after_failure(&mut self, key: K, now: Time) -> Time {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let wait =
            BACKOFF_MIN.saturating_mul(1_u32.checked_shl(*failures).unwrap_or(u32::MAX)).min(BACKOFF_MAX);
        *failures = (*failures + 1).min(31);
        let at = now + wait;
        self.add_at(key, at);
        at
    }

    /// How often in a row a key has failed.
    pub fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).copied().unwrap_or(0)
    }

    /// Forgets a key's failures: it has succeeded.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// The next key to look at; it counts as being worked on until [`Queue::done`].
    pub fn pop(&mut self, now: Time) -> Option<K> {
        self.mature(now);
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    /// Ends the work on a key.
    pub fn done(&mut self, key: &K) {
        self.working.remove(key);
        if self.dirty.remove(key) {
            self.add(key.clone());
        }
    }

    /// When the next delayed key is due.
    pub fn next_due(&self) -> Option<Time> {
        self.later.first().map(|(at, _)| *at)
    }

    /// How many keys wait for a look now.
    pub fn len(&self) -> usize {
        self.ready.len() + self.dirty.len()
    }

    /// Whether no key waits for a look now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn mature(&mut self, now: Time) {
        while let Some((at, _)) = self.later.first()
            && *at <= now
        {
            let (_, key) = self.later.pop_first().expect("first was there");
            self.due.remove(&key);
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Time = Time::from_secs(1000);

    #[test]
    fn a_key_waits_once_however_often_it_is_added() {
        let mut q = Queue::new();
        q.add("b");
        q.add("a");
        q.add("b");
        assert_eq!((q.pop(T0), q.pop(T0), q.pop(T0)), (Some("b"), Some("a"), None));
    }

    #[test]
    fn a_key_added_during_work_comes_again_after_it() {
        let mut q = Queue::new();
        q.add("a");
        assert_eq!(q.pop(T0), Some("a"));
        q.add("a");
        assert_eq!((q.pop(T0), q.len()), (None, 1));
        q.done(&"a");
        assert_eq!(q.pop(T0), Some("a"));
    }

    #[test]
    fn the_earliest_wish_counts() {
        let mut q = Queue::new();
        q.add_at("a", T0 + Duration::from_secs(9));
        q.add_at("a", T0 + Duration::from_secs(3));
        q.add_at("a", T0 + Duration::from_secs(5));
        assert_eq!(q.next_due(), Some(T0 + Duration::from_secs(3)));
        assert_eq!(q.pop(T0 + Duration::from_secs(2)), None);
        assert_eq!(q.pop(T0 + Duration::from_secs(3)), Some("a"));
        assert_eq!(q.next_due(), None);
    }

    #[test]
    fn waits_double_up_to_a_limit_and_start_anew_after_success() {
        let mut q = Queue::new();
        let wait = |q: &mut Queue<_>| q.add_after_failure("a", T0).since(T0);
        assert_eq!((wait(&mut q), wait(&mut q)), (BACKOFF_MIN, BACKOFF_MIN * 2));
        (0..40).for_each(|_| {
            wait(&mut q);
        });
        assert_eq!(wait(&mut q), BACKOFF_MAX);
        q.forget(&"a");
        assert_eq!(wait(&mut q), BACKOFF_MIN);
    }
}
