//! Figures: counted while forwarding, without locks; sampled for rates.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use stdx::Time;

/// Answers are counted by their code, from 100 to 599; what is outside counts as 599.
const CODES: usize = 500;
/// Seconds over which rates are taken, short and long.
pub(crate) const RATE_SECONDS: [u64; 2] = [1, 5];

/// What passed through the ports of one Service.
pub(crate) struct Traffic {
    requests: AtomicU64,
    failed: AtomicU64,
    codes: [AtomicU64; CODES],
    samples: Mutex<VecDeque<(Time, u64)>>,
}

impl Traffic {
    /// Nothing yet.
    pub(crate) fn new() -> Traffic {
        Traffic {
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            codes: std::array::from_fn(|_| AtomicU64::new(0)),
            samples: Mutex::new(VecDeque::new()),
        }
    }

    /// A request, or a connection to a port that is not HTTP.
    pub(crate) fn begun(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The head of an answer. Codes from 500 on are failures, whoever gave them.
    pub(crate) fn answered(&self, code: StatusCode) {
        let index = usize::from(code.as_u16().saturating_sub(100)).min(CODES - 1);
        self.codes[index].fetch_add(1, Ordering::Relaxed);
        if code.is_server_error() {
            self.failed();
        }
    }

    /// Something failed that has no code: an answer broken off, a connection that found no endpoint.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests and failures so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Codes that were given, with how often.
    pub(crate) fn codes(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.codes.iter().map(|n| n.load(Ordering::Relaxed)).enumerate();
        counts.filter(|(_, n)| *n > 0).map(|(index, n)| (index + 100, n))
    }

    /// Remembers how many there were at this moment.
    pub(crate) fn sample(&self, now: Time) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now, self.requests.load(Ordering::Relaxed)));
        let keep = Duration::from_secs(RATE_SECONDS[1]);
        // One sample older than the window stays: the rate is taken from it.
        while samples.get(1).is_some_and(|(at, _)| now.since(*at) >= keep) {
            samples.pop_front();
        }
    }

    /// Requests per second over the last so many seconds, as far as remembered.
    pub(crate) fn rate(&self, seconds: u64) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((now, newest)) = samples.back().copied() else { return 0.0 };
        let window = Duration::from_secs(seconds);
        let start = samples.iter().rev().find(|(at, _)| now.since(*at) >= window).or_else(|| samples.front());
        let Some((since, oldest)) = start.copied().filter(|(at, _)| *at < now) else { return 0.0 };
        #[expect(clippy::cast_precision_loss, reason = "a rate for people; counts are far below 2^52")]
        let count = (newest - oldest) as f64;
        count / now.since(since).as_secs_f64()
    }
}

/// Drains of all Services.
#[derive(Default)]
pub(crate) struct Drains {
    started: AtomicU64,
    finished: AtomicU64,
    micros: AtomicU64,
}

impl Drains {
    /// A protected endpoint is not chosen any more.
    pub(crate) fn started(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// Its finalizer is off, so long after.
    pub(crate) fn finished(&self, length: Duration) {
        self.finished.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(length.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Started, finished, and how long the finished ones took together.
    pub(crate) fn totals(&self) -> (u64, u64, Duration) {
        let micros = Duration::from_micros(self.micros.load(Ordering::Relaxed));
        (self.started.load(Ordering::Relaxed), self.finished.load(Ordering::Relaxed), micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_once_and_by_code() {
        let traffic = Traffic::new();
        for code in [200, 200, 404, 502] {
            traffic.begun();
            traffic.answered(StatusCode::from_u16(code).unwrap());
        }
        assert_eq!(traffic.totals(), (4, 1));
        assert_eq!(traffic.codes().collect::<Vec<_>>(), [(200, 2), (404, 1), (502, 1)]);
    }

    #[test]
    fn rates_are_of_the_last_second_and_the_last_five() {
        let traffic = Traffic::new();
        let at = |quarter: i64| Time::from_micros(quarter * 250_000);
        assert!(traffic.rate(1).abs() < f64::EPSILON);
        for quarter in 0..100 {
            traffic.sample(at(quarter));
            let burst = if quarter < 95 { 25 } else { 100 };
            (0..burst).for_each(|_| traffic.begun());
        }
        assert!((traffic.rate(1) - 400.0).abs() < 1e-9, "{}", traffic.rate(1));
        assert!((traffic.rate(5) - 160.0).abs() < 1e-9, "{}", traffic.rate(5));
        assert!(traffic.samples.lock().unwrap().len() <= 22);
    }
}
