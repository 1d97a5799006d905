//! The brake: what suddenly lost most of its objects is doubted before anything is removed because of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stdx::Time;

/// A list that shows fewer than half of what was known, and lost more than this many, is doubted.
pub const LOSS_MIN: usize = 10;
/// How long a doubted list holds destructive actions when nothing confirms it.
pub const DOUBT: Duration = Duration::from_secs(30);

/// A watch that reports more than this many unannounced deletions within [`VANISH_WINDOW`], and more than half of what was
/// there, is doubted as well. Higher than [`LOSS_MIN`]: people and test suites do delete a dozen objects in a row.
pub const VANISHED_MIN: usize = 50;
/// The time within which deletions count as one.
pub const VANISH_WINDOW: Duration = Duration::from_secs(10);

/// Doubts mirrors that suddenly became empty: an API server restored from an old copy, a broken proxy, a lost selector,
/// somebody who deletes everything.
#[derive(Default)]
pub struct Brake {
    doubted: BTreeMap<usize, Doubt>,
    vanished: BTreeMap<usize, VecDeque<Time>>,
}

struct Doubt {
    until: Time,
    before: usize,
    gone: usize,
    how: &'static str,
}

impl Brake {
    /// Trusts everything.
    pub fn new() -> Brake {
        Brake::default()
    }

    /// A mirror was listed again: of `before` objects known, `gone` were missing. A list that loses nothing more confirms
    /// the one before it.
    pub fn relisted(&mut self, feed: usize, before: usize, gone: usize, now: Time) {
        if gone > LOSS_MIN && gone * 2 > before {
            self.doubted.insert(feed, Doubt { until: now + DOUBT, before, gone, how: "in one list" });
        } else {
            self.doubted.remove(&feed);
        }
    }

    /// A watch told of the end of an object that nobody had announced: neither we had deleted it nor was it seen
    /// terminating. `left` objects remain.
    pub fn vanished(&mut self, feed: usize, left: usize, now: Time) {
        let times = self.vanished.entry(feed).or_default();
        while times.front().is_some_and(|at| *at + VANISH_WINDOW <= now) {
            times.pop_front();
        }
        times.push_back(now);
        let gone = times.len();
        if gone > VANISHED_MIN && gone > left {
            let doubt = Doubt { until: now + DOUBT, before: left + gone, gone, how: "in ten seconds" };
            self.doubted.insert(feed, doubt);
        }
    }

    /// Why destructive actions that depend on a mirror must wait, and until when.
    pub fn holds(&mut self, feed: usize, collection: &str, now: Time) -> Option<(String, Time)> {
        let doubt = self.doubted.get(&feed)?;
        if doubt.until <= now {
            self.doubted.remove(&feed);
            return None;
        }
        let reason = format!(
            "{} of {} {collection} vanished {}: waiting for a second look before anything is removed",
            doubt.gone, doubt.before, doubt.how
        );
        Some((reason, doubt.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Time = Time::from_secs(1000);

    #[test]
    fn the_brake_holds_when_most_objects_vanish_at_once() {
        let mut brake = Brake::new();
        brake.relisted(0, 20, 10, T0);
        assert!(brake.holds(0, "pods", T0).is_none(), "half is not most");
        brake.relisted(0, 12, 11, T0);
        assert!(brake.holds(0, "pods", T0).is_some());
        assert!(brake.holds(1, "pods", T0).is_none());
        assert!(brake.holds(0, "pods", T0 + DOUBT).is_none());
    }

    #[test]
    fn a_second_list_releases_the_brake() {
        let mut brake = Brake::new();
        brake.relisted(0, 100, 100, T0);
        brake.relisted(0, 0, 0, T0);
        assert!(brake.holds(0, "pods", T0).is_none());
    }

    #[test]
    fn the_brake_holds_when_a_watch_loses_most_objects_unannounced() {
        let mut brake = Brake::new();
        (0..60).for_each(|n| brake.vanished(0, 100 - n, T0));
        let (why, until) = brake.holds(0, "replicasets.apps", T0).expect("held");
        assert!(why.contains("vanished in ten seconds"), "{why}");
        assert_eq!(until, T0 + DOUBT);
    }

    #[test]
    fn deletions_one_by_one_over_time_are_believed() {
        let mut brake = Brake::new();
        (0..90_u32).for_each(|n| brake.vanished(0, 100 - n as usize, T0 + VANISH_WINDOW / 40 * n));
        assert!(brake.holds(0, "pods", T0).is_none());
    }
}
