//! When requests are due: at even distances from the start, decided before the first is sent.

use std::time::Duration;

/// The due times of a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    rate: f64,
}

impl Schedule {
    /// So many requests per second; `rate` is above 0.
    pub fn new(rate: f64) -> Schedule {
        Schedule { rate }
    }

    /// When request `k` (from 0) is due, counted from the start. Each is computed by itself: errors do not add up.
    pub fn due(&self, k: u64) -> Duration {
        Duration::from_secs_f64(k as f64 / self.rate)
    }

    /// How many requests are due within `elapsed`, the first of them at once.
    pub fn due_by(&self, elapsed: Duration) -> u64 {
        let guess = (elapsed.as_secs_f64() * self.rate) as u64;
        // The guess is off by one at most; the due times themselves decide.
        let first = guess.saturating_sub(1);
        (first..first + 3).find(|k| self.due(*k) > elapsed).unwrap_or(first + 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_distances_and_none_is_left_out() {
        for rate in [1.0, 7.0, 333.3, 2000.0, 100_000.0] {
            let schedule = Schedule::new(rate);
            for k in 0..5000 {
                let due = schedule.due(k);
                assert_eq!(schedule.due_by(due), k + 1, "request {k} at rate {rate} is due at {due:?}");
            }
        }
    }

    #[test]
    fn an_hour_has_as_many_requests_as_its_rate_says() {
        assert_eq!(Schedule::new(2000.0).due_by(Duration::from_secs(3600)), 7_200_001);
    }
}
