//! Whether a node still speaks: its Lease, and what it says of itself.

use std::time::Duration;

use api_core::{Lease, Node};
use stdx::Time;

use crate::node::taints::ready;

/// Node annotation: the last word of a node that was late, and when the controller saw that it was: `WORD seen TIME`.
pub(crate) const LAST_HEARD: &str = "knarr.dev/last-heard";
/// How long a word counts when the Lease does not say (the kubelet's duration).
const DURATION: Duration = Duration::from_secs(40);
/// How long a new node may take to its first word (upstream's startup grace).
const STARTUP: Duration = Duration::from_secs(60);
/// When to look for the Lease of a node that has none yet.
const LEASE_AWAITED: Duration = Duration::from_secs(5);

/// What is heard of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It speaks; look again then.
    Speaks(Time),
    /// It is late: note its last word.
    Late(String),
    /// That is noted; judge then.
    Doubted(Time),
    /// It does not speak any more.
    Silent,
}

/// Judges a node at `now`.
pub(crate) fn hear(node: &Node, lease: Option<&Lease>, now: Time) -> Hearing {
    let (word, lasts) = last_word(node, lease);
    let half = lasts / 2;
    if now < word + half {
        let next = word + half;
        return Hearing::Speaks(if lease.is_some() { next } else { next.min(now + LEASE_AWAITED) });
    }
    let noted = node.metadata.annotations.get(LAST_HEARD).and_then(|text| read(text));
    let Some((_, seen)) = noted.filter(|(noted, _)| *noted == word) else {
        return Hearing::Late(format!("{} seen {}", word.to_micro_string(), now.to_micro_string()));
    };
    let judged = (word + lasts).max(seen + half);
    if now < judged { Hearing::Doubted(judged) } else { Hearing::Silent }
}

/// When the node was heard last, and how long that counts. A status that it wrote itself is a word like a renewal; one that
/// was written because it was silent is none.
fn last_word(node: &Node, lease: Option<&Lease>) -> (Time, Duration) {
    let said = ready(node).filter(|c| c.status != "Unknown").and_then(|c| c.last_transition_time);
    let renewed = lease.and_then(|l| l.spec.renew_time);
    let secs = lease.and_then(|l| l.spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
    let lasts = secs.filter(|s| *s > 0).map_or(DURATION, Duration::from_secs);
    match said.max(renewed) {
        Some(word) => (word, lasts),
        None => (node.metadata.creation_timestamp.unwrap_or_default(), lasts.max(STARTUP)),
    }
}

fn read(text: &str) -> Option<(Time, Time)> {
    let (word, seen) = text.split_once(" seen ")?;
    Some((word.parse().ok()?, seen.parse().ok()?))
}
