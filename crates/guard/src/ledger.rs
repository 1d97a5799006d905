//! What was granted and does not show yet: the mirrors are always a little late, a budget must not be.
//!
//! ```text
//! granted ──> Pending ──done at r──> Done(r) ──mirror at r shows the pod away──> forgotten: the mirror counts it
//!                │  └──no answer──> Unknown ──shown, or a minute passed──> forgotten
//!                └──refused, not tried──> forgotten
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::Pod;
use api_meta::ObjectKey;
use reconcile::{Outcome, Risk, World};
use stdx::Time;

use crate::census;

/// How long a grant counts whose outcome nobody knows: longer than any request takes.
pub const UNKNOWN_MAX: Duration = Duration::from_secs(60);
/// How long a done restart counts while the pod still looks ready: its node stops the container after the write shows.
pub const EFFECT_MAX: Duration = Duration::from_secs(30);
/// How long a grant counts that is never settled: only a bug, or an executor that died, leaves one.
pub const PENDING_MAX: Duration = Duration::from_secs(600);

/// Grants by the pod's identity.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: ObjectKey,
    grants: Vec<Grant>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    risk: Risk,
    at: Time,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pending,
    Done { revision: Option<u64>, seen: Option<Time> },
    Unknown { since: Time },
}

impl Ledger {
    /// Whether something granted for this pod may not show yet.
    pub fn holds(&self, uid: &str) -> bool {
        self.entries.contains_key(uid)
    }

    /// How many pods it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether everything granted shows.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes a grant.
    pub fn grant(&mut self, uid: &str, key: &ObjectKey, risk: Risk, now: Time) {
        let entry = self
            .entries
            .entry(uid.to_owned())
            .or_insert_with(|| Entry { key: key.clone(), grants: Vec::new() });
        entry.grants.push(Grant { risk, at: now, fate: Fate::Pending });
    }

    /// Notes what became of the oldest pending grant of this risk.
    pub fn settle(&mut self, uid: &str, risk: Risk, outcome: Outcome, now: Time) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let pending = |g: &Grant| g.risk == risk && g.fate == Fate::Pending;
        let Some(number) = entry.grants.iter().position(pending) else { return };
        match outcome {
            Outcome::Undone => {
                entry.grants.remove(number);
            }
            Outcome::Done(revision) => entry.grants[number].fate = Fate::Done { revision, seen: None },
            Outcome::Unknown => entry.grants[number].fate = Fate::Unknown { since: now },
        }
        if entry.grants.is_empty() {
            self.entries.remove(uid);
        }
    }

    /// Forgets what the mirrors show by now.
    pub fn observe(&mut self, world: &World, now: Time) {
        self.entries.retain(|uid, entry| {
            let pod = world.cache::<Pod>().get(&entry.key).filter(|p| p.metadata.uid == *uid);
            let Some(pod) = pod else { return false };
            entry.grants.retain_mut(|grant| !grant.shows(pod, now));
            !entry.grants.is_empty()
        });
    }
}

impl Grant {
    /// Whether the mirror's view of the pod counts it by itself, or the grant is too old to count.
    fn shows(&mut self, pod: &Pod, now: Time) -> bool {
        match &mut self.fate {
            Fate::Pending => now.since(self.at) >= PENDING_MAX,
            // The pod may have been away for another reason before: only time tells.
            Fate::Unknown { since } => pod.metadata.is_terminating() || now.since(*since) >= UNKNOWN_MAX,
            Fate::Done { revision, seen } => {
                if revision.is_some_and(|r| pod.metadata.revision() < r) {
                    return false;
                }
                // The answer to a deletion names no version, and the deletion always shows in the end.
                if revision.is_none() {
                    return !pod.is_active();
                }
                if !census::serves(pod) {
                    return true;
                }
                let seen = *seen.get_or_insert(now);
                now.since(seen) >= EFFECT_MAX
            }
        }
    }
}
