//! What a release waits for, in the user's words: the first reason that keeps it from going on.

use api_core::drain;
use api_workload::names::cafe as words;
use api_workload::{GroupPhase, WaitsFor};
use workload_kit::drain::{Progress, progress};

use super::release::{Release, is_all_lost, is_confirmed};
use super::view::{Cell, Member, View};

/// The first reason that keeps the release from going on; nothing when it is settled.
pub(super) fn of(view: &View<'_>, release: &Release, settled: bool) -> Option<WaitsFor> {
    let (reason, message) = reason(view, release, settled)?;
    let before = view.status().waits_for.as_ref().filter(|w| w.reason == reason);
    let since = before.and_then(|w| w.since).or(Some(view.now.whole_secs()));
    Some(WaitsFor { reason: reason.to_owned(), message, since })
}

fn reason(view: &View<'_>, release: &Release, settled: bool) -> Option<(&'static str, String)> {
    if let Some(name) = view.seen.foreign.first() {
        return Some(("NameTaken", format!("another owner has a pod set named {name}: delete or rename it")));
    }
    if settled {
        return None;
    }
    if let Some(failure) = release.failure.as_ref().filter(|_| !release.record.rollback) {
        let group = release.group().map_or("", |g| g.name.as_str());
        let message = format!(
            "{}: the release is held in group {group}; mend the template, or roll back with annotation {}=previous",
            failure.message,
            words::ROLLBACK_TO
        );
        return Some((failure.reason, message));
    }
    if view.spec.strategy.pause {
        return Some(("Paused", "spec.strategy.pause is true".to_owned()));
    }
    if is_all_lost(view) {
        return Some(("CellLost", "no cell has a ready node".to_owned()));
    }
    if let Some(cell) = view.cells.iter().find(|c| !release.is_cell_complete(c, view)) {
        return Some(of_cell(view, release, cell));
    }
    let waiting = release.group().filter(|g| g.phase == GroupPhase::WaitingForConfirmation);
    if let Some(group) = waiting.filter(|_| release.asks(view) && !is_confirmed(view)) {
        let message =
            format!("group {} is in service: set annotation {}=true to go on", group.name, words::CONFIRMED);
        return Some(("Confirmation", message));
    }
    let lost = view.cells.iter().find(|c| c.is_lost && c.target > 0);
    if let Some(cell) = lost.filter(|_| release.is_finished()) {
        let message = format!("cell {} has no ready node: its pods follow when it is back", cell.name);
        return Some(("CellLost", message));
    }
    if release.is_finished() {
        let uneven = |c: &&Cell<'_>| c.count.current != c.target || c.committed(view) != c.target;
        let cell = view.cells.iter().find(uneven)?;
        let message =
            format!("cell {} has {} pods on the way to {}", cell.name, cell.count.current, cell.target);
        return Some(("Pods", message));
    }
    None
}

/// Why a cell does not have what the started groups ask of it.
fn of_cell(view: &View<'_>, release: &Release, cell: &Cell<'_>) -> (&'static str, String) {
    let group = release.group().map_or_else(|| "the release".to_owned(), |g| format!("group {}", g.name));
    let in_cell = if view.cells.len() > 1 { format!(" in cell {}", cell.name) } else { String::new() };
    let unplaced: Vec<&str> = names(cell, |m| m.unplaced_since.is_some());
    if !unplaced.is_empty() {
        return ("NoRoom", format!("no node{in_cell} has room for {}", listed(&unplaced)));
    }
    if let Some((name, who, drain)) = cell.members.iter().find_map(|m| draining(m, view)) {
        return match drain {
            Drain::Counted => ("Drain", format!("{who} still sends requests to pod {name}")),
            Drain::Waited => (
                "Drain",
                format!(
                    "the drain time of {who} for pod {name}: nobody counts requests, waited, not drained"
                ),
            ),
            Drain::Overdue => ("DrainOverdue", format!("{who} has not let go of pod {name}")),
        };
    }
    let behind: Vec<&str> = names(cell, |m| m.is_updated && !m.is_available);
    if let Some(member) = cell.members.iter().find(|m| m.is_updated && !m.is_available) {
        let why = why_not(member, view);
        return ("Pods", format!("{group}: not in service yet: {}: {why}", listed(&behind)));
    }
    let minimum = release.minimum(cell, view);
    if !view.is_replicaset() && cell.committed(view) < release.goal(cell) && cell.count.available <= minimum {
        let available = cell.count.available;
        let message = format!(
            "{available} pods are available{in_cell} and {minimum} must stay so: no further pod is taken out"
        );
        return ("CellMinimum", message);
    }
    let there = cell.count.updated_available;
    ("Pods", format!("{group}: {there} of {} pods{in_cell} are updated and in service", release.goal(cell)))
}

fn names<'c>(cell: &'c Cell<'_>, is: impl Fn(&Member) -> bool) -> Vec<&'c str> {
    cell.members.iter().filter(|m| is(m)).map(Member::name).collect()
}

/// How a pod's traffic comes to its end.
enum Drain {
    /// Its traffic counts what is open.
    Counted,
    /// Nobody counts: a time is waited.
    Waited,
    /// Its deadline has passed.
    Overdue,
}

/// The pod, who still has traffic for it, and how that ends.
fn draining(member: &Member, view: &View<'_>) -> Option<(String, String, Drain)> {
    let name = member.name().to_owned();
    let is_waited = member.pod.metadata.annotations.contains_key(crate::waiter::LEFT);
    match progress(&member.pod, view.now) {
        Progress::Draining { waits_for, .. } => {
            Some((name, waits_for.join(", "), if is_waited { Drain::Waited } else { Drain::Counted }))
        }
        Progress::Overdue { waits_for, .. } => Some((name, waits_for.join(", "), Drain::Overdue)),
        Progress::Free | Progress::InService => None,
    }
}

fn why_not(member: &Member, view: &View<'_>) -> String {
    if let Some(why) = member.failure() {
        return why;
    }
    if !member.is_ready {
        return "not ready".to_owned();
    }
    if !drain::is_back(&member.pod) {
        return "its traffic is not back".to_owned();
    }
    format!("ready for less than {} seconds", view.spec.strategy.min_ready_seconds)
}

/// Names in a sentence, the first ones only when there are many.
fn listed(names: &[&str]) -> String {
    const SHOWN_MAX: usize = 5;
    let shown = names.iter().take(SHOWN_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
