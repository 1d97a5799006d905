//! How often in a row a key may change something.

use std::time::Duration;

use stdx::Time;

/// Rounds at once.
const BURST: u32 = 300;
/// Afterwards, one round per this time: fast enough for a large roll-out, slow enough for a planner gone wrong.
const STEP: Duration = Duration::from_millis(50);

/// The rounds a key has left.
pub(crate) struct Pace {
    left: u32,
    at: Time,
}

impl Pace {
    /// All of them.
    pub(crate) fn new(now: Time) -> Pace {
        Pace { left: BURST, at: now }
    }

    /// Takes a round; says when to come back when there is none.
    pub(crate) fn step(&mut self, now: Time) -> Option<Time> {
        let gained = now.since(self.at).as_millis() / STEP.as_millis();
        if gained > 0 {
            self.left = self.left.saturating_add(u32::try_from(gained).unwrap_or(BURST)).min(BURST);
            self.at = now;
        }
        if self.left == 0 {
            return Some(self.at + STEP);
        }
        self.left -= 1;
        if self.left == 0 {
            tracing::debug!("the object does not settle; its controller is slowed down");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_never_settles_is_slowed_down_not_stopped() {
        let start = Time::from_secs(1000);
        let mut pace = Pace::new(start);
        assert!((0..BURST).all(|_| pace.step(start).is_none()));
        assert_eq!(pace.step(start), Some(start + STEP));
        assert_eq!(pace.step(start + STEP), None);
        assert!(pace.step(start + STEP).is_some());
    }
}
