//! Growing waits between attempts at the same thing.

use std::time::Duration;

use stdx::Time;

/// Wait of the first repetition; doubles from here. Numbers as the kubelet's.
const FIRST_SECS: u16 = 10;
/// Longest wait.
const MAX_SECS: u16 = 300;
/// After so long without a failure the next one counts as the first.
const FORGIVEN: Duration = Duration::from_secs(600);

/// 0 s, 10 s, 20 s … 5 min between restarts; forgets after ten minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    wait_secs: u16,
    last: Time,
}

impl Backoff {
    /// The moment at which something that failed at `failed` may be tried again.
    pub fn until(&self, failed: Time) -> Time {
        if self.is_forgiven(failed) { failed } else { failed + self.wait() }
    }

    /// Notes that a failure of `failed` is being tried again `now`.
    pub fn advance(&mut self, failed: Time, now: Time) {
        self.wait_secs = if self.is_forgiven(failed) {
            FIRST_SECS
        } else {
            self.wait_secs.saturating_mul(2).min(MAX_SECS)
        };
        self.last = now;
    }

    /// The wait in force.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_secs.into())
    }

    fn is_forgiven(&self, failed: Time) -> bool {
        self.wait_secs == 0 || failed.since(self.last) > FORGIVEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_are_forgiven_after_ten() {
        let mut backoff = Backoff::default();
        let mut now = Time::from_secs(1000);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let next = backoff.until(now);
            waits.push(next.since(now).as_secs());
            now = next;
            backoff.advance(now, now);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        let late = now + Duration::from_secs(601);
        assert_eq!(backoff.until(late), late);
    }
}
