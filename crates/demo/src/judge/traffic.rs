//! What the load says about a stretch of time.

use std::collections::BTreeMap;

use crate::facts::{Chronicle, Micros};
use crate::load::{Failure, FailureKind};

/// Requests of a stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic<'a> {
    /// Requests that became due, exact to a tick.
    pub sent: u64,
    /// Requests that were answered, exact to a tick.
    pub ok: u64,
    /// Requests that were due in it and failed, exactly.
    pub failures: Vec<&'a Failure>,
}

/// The requests of a load that were due from `begin` until before `end`.
pub fn traffic<'a>(seen: &'a Chronicle, load: &'a str, begin: Micros, end: Micros) -> Traffic<'a> {
    let is_within = |at: Micros| (begin..end).contains(&at);
    let mut out = Traffic::default();
    for tick in seen.ticks(load).filter(|t| is_within(t.at.midpoint(t.until))) {
        out.sent += tick.sent;
        out.ok += tick.ok;
    }
    out.failures = seen.failures(load).filter(|f| is_within(f.due)).collect();
    out
}

/// One failure in words.
pub(super) fn words(failure: &Failure) -> String {
    let kind = match failure.kind {
        FailureKind::Connect => "could not connect",
        FailureKind::Closed => "connection closed",
        FailureKind::Status => "refused",
        FailureKind::Timeout => "no answer in time",
        FailureKind::Unsent => "never sent",
    };
    let status = failure.status.map(|s| format!(" {s}")).unwrap_or_default();
    let from = if failure.endpoint.is_empty() { String::new() } else { format!(" by {}", failure.endpoint) };
    let detail = if failure.proxy.is_empty() { &failure.detail } else { &failure.proxy };
    let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    format!("{kind}{status}{from}{detail}")
}

/// Failures in words, alike ones counted.
pub(super) fn summary(failures: &[&Failure]) -> String {
    let mut counts: BTreeMap<(FailureKind, Option<u16>), (usize, &Failure)> = BTreeMap::new();
    for failure in failures {
        counts.entry((failure.kind, failure.status)).or_insert((0, failure)).0 += 1;
    }
    let parts: Vec<String> = counts.values().map(|(n, first)| format!("{n} × {}", words(first))).collect();
    parts.join("; ")
}
