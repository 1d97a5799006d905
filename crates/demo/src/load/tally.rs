//! Counts outcomes between two ticks, and in all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Zero;
use super::line::{End, Failure, Line, Tick};
use super::pool::Pool;
use super::request::Outcome;

/// Failures listed one by one in one tick; further ones are only counted.
const LISTED_MAX: usize = 10_000;
/// A request that was begun later than this after it was due is late.
const LATE: Duration = Duration::from_millis(10);

/// The counts.
pub(super) struct Tally {
    zero: Zero,
    /// Begin of the present tick.
    at: i64,
    tick: Tick,
    latencies_us: Vec<u32>,
    versions: BTreeMap<String, u64>,
    failures: Vec<Failure>,
    open: u64,
    sum: End,
}

impl Tally {
    pub(super) fn new(zero: Zero) -> Tally {
        Tally {
            zero,
            at: zero.micros,
            tick: Tick::default(),
            latencies_us: Vec::new(),
            versions: BTreeMap::new(),
            failures: Vec::new(),
            open: 0,
            sum: End::default(),
        }
    }

    /// A request is due.
    pub(super) fn begin(&mut self) {
        self.open += 1;
        self.tick.sent += 1;
        self.sum.sent += 1;
    }

    /// It has its outcome.
    pub(super) fn end(&mut self, due: Instant, at: Instant, outcome: Outcome) {
        self.open -= 1;
        let is_late = outcome.sent.is_none_or(|s| s.saturating_duration_since(due) >= LATE);
        self.tick.late += u64::from(is_late);
        let Some((kind, detail)) = outcome.failure else {
            self.tick.ok += 1;
            let latency = at.saturating_duration_since(due).as_micros();
            self.latencies_us.push(u32::try_from(latency).unwrap_or(u32::MAX));
            *self.versions.entry(outcome.version).or_default() += 1;
            return;
        };
        self.tick.failed += 1;
        if self.failures.len() >= LISTED_MAX {
            self.sum.unlisted += 1;
            return;
        }
        self.failures.push(Failure {
            due: self.zero.micros_of(due),
            end: self.zero.micros_of(at),
            kind,
            status: outcome.status,
            endpoint: outcome.endpoint,
            proxy: outcome.proxy,
            detail,
        });
    }

    /// Requests without an outcome.
    pub(super) fn open(&self) -> u64 {
        self.open
    }

    /// Closes the present tick and begins the next: its failures, then its figures.
    pub(super) fn tick(&mut self, pool: &Pool, now: i64) -> Vec<Line> {
        let mut tick = std::mem::take(&mut self.tick);
        self.latencies_us.sort_unstable();
        (tick.at, tick.until) = (self.at, now);
        tick.open = self.open;
        tick.connections = pool.counts().0;
        tick.p50_us = percentile(&self.latencies_us, 50);
        tick.p99_us = percentile(&self.latencies_us, 99);
        tick.max_us = percentile(&self.latencies_us, 100);
        tick.versions = std::mem::take(&mut self.versions);
        self.latencies_us.clear();
        self.at = now;
        self.sum.ok += tick.ok;
        self.sum.failed += tick.failed;
        self.sum.late += tick.late;
        let failures = std::mem::take(&mut self.failures).into_iter().map(Line::Failure);
        failures.chain([Line::Tick(tick)]).collect()
    }

    /// The last tick and the sums.
    pub(super) fn close(&mut self, pool: &Pool, now: i64) -> (Vec<Line>, End) {
        let lines = self.tick(pool, now);
        (lines, End { at: now, opened: pool.counts().1, ..self.sum.clone() })
    }
}

/// The smallest value that `percent` of 100 values do not exceed (nearest rank); 0 when there are none.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100);
    rank.checked_sub(1).and_then(|i| sorted.get(i)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let all: Vec<u32> = (1..=200).collect();
        assert_eq!([50, 99, 100].map(|p| percentile(&all, p)), [100, 198, 200]);
        assert_eq!((percentile(&[7], 1), percentile(&[], 99)), (7, 0));
    }

    #[test]
    fn latency_counts_from_when_a_request_was_due_not_from_when_it_was_sent() {
        let zero = Zero { instant: Instant::now(), micros: 0 };
        let mut tally = Tally::new(zero);
        let ms = |n| zero.instant + Duration::from_millis(n);
        tally.begin();
        tally.end(ms(10), ms(400), Outcome { sent: Some(ms(380)), ..Outcome::default() });
        let lines = tally.tick(&Pool::new(1), 1_000_000);
        let [Line::Tick(tick)] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((tick.max_us, tick.late, tick.ok), (390_000, 1, 1));
    }

    #[test]
    fn a_tick_counts_only_what_happened_in_it() {
        let zero = Zero { instant: Instant::now(), micros: 0 };
        let (mut tally, pool) = (Tally::new(zero), Pool::new(1));
        tally.begin();
        tally.begin();
        tally.end(zero.instant, zero.instant, Outcome::default());
        tally.tick(&pool, 10);
        let failure = Some((super::super::FailureKind::Timeout, String::new()));
        tally.end(zero.instant, zero.instant, Outcome { failure, ..Outcome::default() });
        let (lines, end) = tally.close(&pool, 20);
        let [Line::Failure(_), Line::Tick(tick)] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((tick.at, tick.until, tick.sent, tick.failed, tick.open), (10, 20, 0, 1, 0));
        assert_eq!((end.sent, end.ok, end.failed), (2, 1, 1));
    }
}
