//! The one point that every destructive action passes: a brake for doubtful views, a fuse for speed, and a permit.

use std::collections::BTreeMap;
use std::time::Duration;

use stdx::Time;

use crate::{Action, Risk, Target};

/// A wish to do something dangerous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitRequest {
    /// Who wants it.
    pub controller: &'static str,
    /// How dangerous it is.
    pub risk: Risk,
    /// To which object.
    pub target: Target,
    /// In which namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// For which workload: the key it was planned for.
    pub workload: String,
}

impl PermitRequest {
    /// The request that an action needs; nothing when it endangers nobody.
    pub fn of(controller: &'static str, workload: &str, action: &Action) -> Option<PermitRequest> {
        let (Action::Patch { target, risk, .. } | Action::Delete { target, risk, .. }) = action else {
            return None;
        };
        (*risk != Risk::None).then(|| PermitRequest {
            controller,
            risk: *risk,
            target: target.clone(),
            namespace: target.key.namespace.clone(),
            workload: workload.to_owned(),
        })
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Granted,
    /// Not now.
    Held {
        /// Why, in the user's words.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// Who may refuse dangerous actions.
pub trait Permit: Send + Sync {
    /// Judges one request. Asked right before the action; quick and without I/O.
    fn ask(&self, request: &PermitRequest, now: Time) -> Verdict;
}

/// Grants everything.
pub struct AllowAll;

impl Permit for AllowAll {
    fn ask(&self, _: &PermitRequest, _: Time) -> Verdict {
        Verdict::Granted
    }
}

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

impl Risk {
    /// What such an action does, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Risk::None => "harmless changes",
            Risk::Restart => "restarts",
            Risk::RemovePod => "pod removals",
            Risk::Destroy => "removals of workloads",
        }
    }
}

/// A list that shows fewer than half of what was known, and lost more than this many, is doubted.
pub const LOSS_MIN: usize = 10;
/// How long a doubted list holds destructive actions when nothing confirms it.
pub const DOUBT: Duration = Duration::from_secs(30);

/// Doubts mirrors that suddenly became empty: an API server restored from an old copy, a broken proxy, a lost selector.
#[derive(Default)]
pub struct Brake {
    doubted: BTreeMap<usize, Doubt>,
}

struct Doubt {
    until: Time,
    before: usize,
    gone: usize,
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
            self.doubted.insert(feed, Doubt { until: now + DOUBT, before, gone });
        } else {
            self.doubted.remove(&feed);
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
            "{} of {} {collection} vanished in one list: waiting for a second look before anything is removed",
            doubt.gone, doubt.before
        );
        Some((reason, doubt.until))
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
}
