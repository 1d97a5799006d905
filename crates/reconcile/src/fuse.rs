//! The fuse: how fast one controller may do what is dangerous.

use std::collections::BTreeMap;
use std::time::Duration;

use stdx::Time;

use crate::{Risk, Verdict};

/// How many actions of one risk a controller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// Per second over time.
    pub per_second: u32,
}

/// Rates of a fuse by risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Of [`Risk::Restart`].
    pub restart: Rate,
    /// Of [`Risk::RemovePod`].
    pub remove_pod: Rate,
    /// Of [`Risk::Destroy`].
    pub destroy: Rate,
}

/// Holds a controller that destroys faster than any release should: a token bucket per controller and risk.
pub struct Fuse {
    rates: Rates,
    buckets: BTreeMap<(&'static str, Risk), Bucket>,
}

struct Bucket {
    /// Millionths of a token.
    micro_tokens: u64,
    at: Time,
}

const MICRO: u64 = 1_000_000;

impl Fuse {
    /// A fuse with full buckets.
    pub fn new(rates: Rates) -> Fuse {
        Fuse { rates, buckets: BTreeMap::new() }
    }

    /// Takes a token for one action, or says how long to wait for it.
    pub fn ask(&mut self, controller: &'static str, risk: Risk, now: Time) -> Verdict {
        let rate = match risk {
            Risk::None => return Verdict::Granted,
            Risk::Restart => self.rates.restart,
            Risk::RemovePod => self.rates.remove_pod,
            Risk::Destroy => self.rates.destroy,
        };
        let full = u64::from(rate.burst) * MICRO;
        let bucket = self.buckets.entry((controller, risk)).or_insert(Bucket { micro_tokens: full, at: now });
        let passed = u64::try_from(now.since(bucket.at).as_micros()).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(u64::from(rate.per_second));
        bucket.micro_tokens = bucket.micro_tokens.saturating_add(gained).min(full);
        bucket.at = bucket.at.max(now);
        if bucket.micro_tokens >= MICRO {
            bucket.micro_tokens -= MICRO;
            return Verdict::Granted;
        }
        let missing = MICRO - bucket.micro_tokens;
        let wait = missing.div_ceil(u64::from(rate.per_second).max(1));
        Verdict::Held {
            reason: format!(
                "{controller} has used up its rate of {} actions at once and {} per second for {}",
                rate.burst,
                rate.per_second,
                risk.name()
            ),
            retry_after: Duration::from_micros(wait).max(Duration::from_millis(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Time = Time::from_secs(1000);
    const RATE: Rate = Rate { burst: 3, per_second: 2 };

    #[test]
    fn the_fuse_lets_a_burst_pass_and_then_a_rate() {
        let mut fuse = Fuse::new(Rates { restart: RATE, remove_pod: RATE, destroy: RATE });
        let mut ask = |now| fuse.ask("replicaset", Risk::RemovePod, now) == Verdict::Granted;
        assert_eq!([ask(T0), ask(T0), ask(T0), ask(T0)], [true, true, true, false]);
        let later = T0 + Duration::from_secs(1);
        assert_eq!([ask(later), ask(later), ask(later)], [true, true, false]);
    }

    #[test]
    fn the_fuse_counts_each_controller_and_risk_apart() {
        let mut fuse = Fuse::new(Rates { restart: RATE, remove_pod: RATE, destroy: RATE });
        (0..3).for_each(|_| assert_eq!(fuse.ask("a", Risk::Destroy, T0), Verdict::Granted));
        assert_ne!(fuse.ask("a", Risk::Destroy, T0), Verdict::Granted);
        assert_eq!(fuse.ask("a", Risk::Restart, T0), Verdict::Granted);
        assert_eq!(fuse.ask("b", Risk::Destroy, T0), Verdict::Granted);
        assert_eq!(fuse.ask("a", Risk::None, T0), Verdict::Granted);
    }
}
