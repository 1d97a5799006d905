//! Pods that wait: ready ones by priority, refused ones until something changes, failed ones until their pause is over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use stdx::Time;

use crate::{Hints, PodFact};

/// First pause after a failed attempt.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A refused pod is tried again after so long even if no hint said so, as kube-scheduler does.
const REFUSED_MAX: Duration = Duration::from_secs(300);

/// The waiting pods. Times are arguments; nothing happens by itself.
#[derive(Default)]
pub struct Queue {
    pods: BTreeMap<Arc<str>, Waiting>,
    /// Highest priority first, then the longest waiting.
    ready: BTreeSet<(Reverse<i32>, Time, u64, Arc<str>)>,
    /// By the end of the pause.
    paused: BTreeSet<(Time, Arc<str>)>,
    /// By the time at which they are tried again anyway.
    refused: BTreeSet<(Time, Arc<str>)>,
    /// The refused ones by what wakes them: few sets, many pods.
    sleepers: BTreeMap<Hints, BTreeSet<Arc<str>>>,
    arrivals: u64,
}

struct Waiting {
    pod: Arc<PodFact>,
    /// When it came into the queue first.
    since: Time,
    arrival: u64,
    attempts: u32,
    place: Place,
    /// What would wake it while refused.
    wake: Hints,
    /// End of the pause it has to keep even when woken.
    pause_ends: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    Paused,
    Refused(Time),
    Gated,
    InFlight,
}

/// A pod taken out to be decided about.
#[derive(Clone, Debug)]
pub struct Popped {
    /// The pod.
    pub pod: Arc<PodFact>,
    /// How often it has been tried, this time included.
    pub attempts: u32,
    /// When it came into the queue first.
    pub since: Time,
}

/// How many pods wait where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Ready to be tried.
    pub ready: usize,
    /// In a pause after a failure.
    pub paused: usize,
    /// Refused, until something changes.
    pub refused: usize,
    /// Held by scheduling gates.
    pub gated: usize,
    /// Taken out, not yet bound or refused.
    pub in_flight: usize,
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Queue {
        Queue::default()
    }

    /// Takes in a pod or a change of it. A change that matters to the rules gives a refused pod another try at once.
    pub fn put(&mut self, pod: Arc<PodFact>, now: Time) {
        let uid = pod.uid.clone();
        let Some(old) = self.pods.get_mut(&uid) else {
            self.arrivals += 1;
            let place = if pod.gates().is_empty() { Place::Ready } else { Place::Gated };
            let waiting = Waiting {
                pod,
                since: now,
                arrival: self.arrivals,
                attempts: 0,
                place,
                wake: Hints::NONE,
                pause_ends: now,
            };
            self.pods.insert(uid.clone(), waiting);
            self.enlist(&uid);
            return;
        };
        let moved = old.pod.demand != pod.demand || old.pod.kin != pod.kin || old.pod.gates() != pod.gates();
        if !moved || old.place == Place::InFlight {
            old.pod = pod;
            return;
        }
        self.delist(&uid);
        if let Some(waiting) = self.pods.get_mut(&uid) {
            waiting.place = if pod.gates().is_empty() { Place::Ready } else { Place::Gated };
            waiting.pod = pod;
        }
        self.enlist(&uid);
    }

    /// Forgets a pod: bound by somebody, or gone.
    pub fn remove(&mut self, uid: &str) -> bool {
        self.delist(uid);
        self.pods.remove(uid).is_some()
    }

    /// Every pod in the queue or in flight, in no order that matters.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<PodFact>> {
        self.pods.values().map(|w| &w.pod)
    }

    /// Whether the pod is in the queue or in flight.
    pub fn holds(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// The pod as last heard of.
    pub fn pod(&self, uid: &str) -> Option<&Arc<PodFact>> {
        self.pods.get(uid).map(|w| &w.pod)
    }

    /// The next pod to try.
    pub fn pop(&mut self, now: Time) -> Option<Popped> {
        self.end_pauses(now);
        let (.., uid) = self.ready.pop_first()?;
        let waiting = self.pods.get_mut(&uid).expect("whatever is listed is held");
        waiting.place = Place::InFlight;
        waiting.attempts += 1;
        Some(Popped { pod: waiting.pod.clone(), attempts: waiting.attempts, since: waiting.since })
    }

    /// Puts a popped pod aside until one of `wake` happens.
    pub fn refuse(&mut self, uid: &str, wake: Hints, now: Time) {
        self.refuse_until(uid, wake, now + REFUSED_MAX, now);
    }

    /// As [`refuse`](Queue::refuse); tried again at `until` even if nothing happens.
    pub fn refuse_until(&mut self, uid: &str, wake: Hints, until: Time, now: Time) {
        let Some(waiting) = self.in_flight(uid) else { return };
        waiting.pause_ends = now + pause(waiting.attempts);
        waiting.wake = wake;
        waiting.place = Place::Refused(until.min(now + REFUSED_MAX));
        self.enlist(uid);
    }

    /// Puts a popped pod back after a failure that has nothing to do with the cluster's state.
    pub fn retry(&mut self, uid: &str, now: Time) {
        let Some(waiting) = self.in_flight(uid) else { return };
        waiting.pause_ends = now + pause(waiting.attempts);
        waiting.place = Place::Paused;
        self.enlist(uid);
    }

    /// Something changed: pods that wait for it are tried again, those whose pause is not over after it.
    pub fn wake(&mut self, hints: Hints, now: Time) {
        if hints == Hints::NONE || self.refused.is_empty() {
            return;
        }
        let touched = self.sleepers.iter().filter(|(wake, _)| wake.touches(hints));
        let woken: Vec<Arc<str>> = touched.flat_map(|(_, uids)| uids.iter().cloned()).collect();
        for uid in woken {
            self.rouse(&uid, now);
        }
    }

    /// Gives a refused pod another try, after its pause if that is not over.
    pub fn activate(&mut self, uid: &str, now: Time) {
        if self.pods.get(uid).is_some_and(|w| matches!(w.place, Place::Refused(_))) {
            self.rouse(uid, now);
        }
    }

    /// When the next pause ends or the next refused pod is due; nothing when only events can help.
    pub fn next_due(&self) -> Option<Time> {
        let first = |set: &BTreeSet<(Time, Arc<str>)>| set.first().map(|(t, _)| *t);
        match (first(&self.paused), first(&self.refused)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether a pod can be popped at `now`.
    pub fn is_ready(&self, now: Time) -> bool {
        !self.ready.is_empty() || self.next_due().is_some_and(|t| t <= now)
    }

    /// How many pods wait where.
    pub fn counts(&self) -> QueueCounts {
        let mut counts =
            QueueCounts { ready: self.ready.len(), paused: self.paused.len(), ..QueueCounts::default() };
        counts.refused = self.refused.len();
        for waiting in self.pods.values() {
            counts.gated += usize::from(waiting.place == Place::Gated);
            counts.in_flight += usize::from(waiting.place == Place::InFlight);
        }
        counts
    }

    fn end_pauses(&mut self, now: Time) {
        while let Some((_, uid)) = self.paused.first().filter(|(t, _)| *t <= now).cloned() {
            self.rouse(&uid, now);
        }
        while let Some((_, uid)) = self.refused.first().filter(|(t, _)| *t <= now).cloned() {
            self.rouse(&uid, now);
        }
    }

    fn rouse(&mut self, uid: &str, now: Time) {
        self.delist(uid);
        if let Some(waiting) = self.pods.get_mut(uid) {
            waiting.place = if waiting.pause_ends > now { Place::Paused } else { Place::Ready };
        }
        self.enlist(uid);
    }

    fn in_flight(&mut self, uid: &str) -> Option<&mut Waiting> {
        self.pods.get_mut(uid).filter(|w| w.place == Place::InFlight)
    }

    fn enlist(&mut self, uid: &str) {
        let Some((uid, w)) = self.pods.get_key_value(uid) else { return };
        let uid = uid.clone();
        match w.place {
            Place::Ready => {
                self.ready.insert((Reverse(w.pod.demand.priority), w.since, w.arrival, uid));
            }
            Place::Paused => {
                self.paused.insert((w.pause_ends, uid));
            }
            Place::Refused(until) => {
                self.sleepers.entry(w.wake).or_default().insert(uid.clone());
                self.refused.insert((until, uid));
            }
            Place::Gated | Place::InFlight => {}
        }
    }

    fn delist(&mut self, uid: &str) {
        let Some((uid, w)) = self.pods.get_key_value(uid) else { return };
        let uid = uid.clone();
        match w.place {
            Place::Ready => self.ready.remove(&(Reverse(w.pod.demand.priority), w.since, w.arrival, uid)),
            Place::Paused => self.paused.remove(&(w.pause_ends, uid)),
            Place::Refused(until) => {
                if let Some(uids) = self.sleepers.get_mut(&w.wake) {
                    uids.remove(&uid);
                    if uids.is_empty() {
                        self.sleepers.remove(&w.wake);
                    }
                }
                self.refused.remove(&(until, uid))
            }
            Place::Gated | Place::InFlight => false,
        };
    }
}

/// The pause after the n-th attempt: 1 s, 2 s, 4 s, 8 s, then 10 s.
fn pause(attempts: u32) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(10));
    doubled.min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Demand, Interner, Rare};

    fn pod(name: &str, priority: i32) -> Arc<PodFact> {
        let json =
            serde_json::json!({"metadata": {"name": name, "uid": name}, "spec": {"priority": priority}});
        Arc::new(Interner::default().project(&serde_json::from_value(json).unwrap()))
    }

    fn at(secs: i64) -> Time {
        Time::from_secs(secs)
    }

    fn pop(q: &mut Queue, secs: i64) -> Option<String> {
        q.pop(at(secs)).map(|p| p.pod.uid.to_string())
    }

    #[test]
    fn higher_priority_goes_first_then_the_longer_waiting() {
        let mut q = Queue::new();
        q.put(pod("late-high", 5), at(2));
        q.put(pod("a", 0), at(0));
        q.put(pod("b", 0), at(0));
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut q, 3)).collect();
        assert_eq!(order, ["late-high", "a", "b"]);
    }

    #[test]
    fn a_refused_pod_wakes_for_its_own_hints_only_and_not_before_its_pause() {
        let mut q = Queue::new();
        q.put(pod("a", 0), at(0));
        pop(&mut q, 0);
        q.refuse("a", Hints::NODE_ADDED, at(0));
        q.wake(Hints::POD_REMOVED, at(5));
        assert_eq!(pop(&mut q, 5), None);
        q.wake(Hints::NODE_ADDED, at(0));
        assert_eq!(pop(&mut q, 0), None, "the pause of one second is kept");
        assert_eq!(q.next_due(), Some(at(1)));
        assert_eq!(pop(&mut q, 1).as_deref(), Some("a"));
    }

    #[test]
    fn a_refused_pod_is_tried_again_after_five_minutes() {
        let mut q = Queue::new();
        q.put(pod("a", 0), at(0));
        pop(&mut q, 0);
        q.refuse("a", Hints::NONE, at(0));
        assert_eq!(pop(&mut q, 299), None);
        assert_eq!(pop(&mut q, 300).as_deref(), Some("a"));
    }

    #[test]
    fn an_activated_pod_is_tried_when_its_pause_is_over_and_one_to_be_asked_again_at_its_time() {
        let mut q = Queue::new();
        for name in ["a", "b"] {
            q.put(pod(name, 0), at(0));
            pop(&mut q, 0);
        }
        q.refuse("a", Hints::NONE, at(0));
        q.refuse_until("b", Hints::NONE, at(30), at(0));
        q.activate("a", at(0));
        assert_eq!((pop(&mut q, 0), pop(&mut q, 1).as_deref()), (None, Some("a")));
        assert_eq!((pop(&mut q, 29), pop(&mut q, 30).as_deref()), (None, Some("b")));
    }

    #[test]
    fn pauses_double_up_to_ten_seconds() {
        let secs: Vec<u64> = (1..=6).map(|n| pause(n).as_secs()).collect();
        assert_eq!(secs, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn gates_hold_a_pod_until_they_are_lifted() {
        let mut q = Queue::new();
        let mut gated = (*pod("a", 0)).clone();
        gated.rare = Some(Box::new(Rare { gates: vec!["wait".into()], ..Rare::default() }));
        q.put(Arc::new(gated.clone()), at(0));
        assert_eq!((pop(&mut q, 0), q.counts().gated), (None, 1));
        gated.rare = None;
        q.put(Arc::new(gated), at(1));
        assert_eq!(pop(&mut q, 1).as_deref(), Some("a"));
    }

    #[test]
    fn only_changes_that_rules_read_give_a_refused_pod_another_try() {
        let mut q = Queue::new();
        q.put(pod("a", 0), at(0));
        pop(&mut q, 0);
        q.refuse("a", Hints::NONE, at(0));
        q.put(pod("a", 0), at(2));
        assert_eq!(pop(&mut q, 2), None);
        let mut changed = (*pod("a", 0)).clone();
        changed.demand = Arc::new(Demand { priority: 3, ..Demand::default() });
        q.put(Arc::new(changed), at(2));
        assert_eq!(pop(&mut q, 2).as_deref(), Some("a"));
    }

    #[test]
    fn a_pod_in_flight_stays_there_when_it_changes_and_can_be_removed() {
        let mut q = Queue::new();
        q.put(pod("a", 0), at(0));
        pop(&mut q, 0);
        q.put(pod("a", 7), at(1));
        assert_eq!(q.counts().in_flight, 1);
        q.retry("a", at(1));
        assert_eq!(q.counts().paused, 1);
        assert!(q.remove("a") && !q.holds("a"));
        assert_eq!((q.counts(), q.next_due()), (QueueCounts::default(), None));
    }
}
