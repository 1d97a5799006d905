//! What an application is doing and why it is held, in the words of the user.

use std::collections::BTreeMap;

use serde::Serialize;

use super::app::millis;
use super::facts::AppFact;
use super::pods::{PodView, State};
use crate::{Group, Release};

/// Notes told at most; the rest is counted.
const NOTES_MAX: usize = 4;

/// The news about an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// How urgent it is.
    pub tone: Tone,
    /// In a few words.
    pub title: String,
    /// In a sentence or two.
    pub text: String,
    /// What else stands in the way, one sentence each.
    pub notes: Vec<String>,
    /// Since when it waits, milliseconds since the epoch.
    pub since: Option<i64>,
}

/// How urgent news are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// All is as wanted.
    Calm,
    /// It is on its way.
    Work,
    /// It waits for a person.
    Ask,
    /// Less is there than is wanted.
    Warn,
    /// It is held by trouble.
    Bad,
}

/// Versions on both sides of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// The one that is left; the same as `to` when there is none.
    pub from: String,
    /// The one that is released.
    pub to: String,
}

/// The news about an application with these pods.
pub(super) fn told(app: &AppFact, versions: &Versions, pods: &[&PodView]) -> Told {
    let release = &app.release;
    let (tone, title, text) = main(app, versions);
    let since = release.waits_for.as_ref().and_then(|w| w.since).map(millis);
    let mut notes = notes(release, pods);
    notes.extend(app.went_back.as_ref().map(|why| format!("It went back by itself: {why}")));
    Told { tone, title, text, notes, since }
}

fn main(app: &AppFact, versions: &Versions) -> (Tone, String, String) {
    let release = &app.release;
    let to = &versions.to;
    if app.observed_generation < app.generation {
        return (Tone::Work, "A change has come".into(), "Its controller has not looked at it yet.".into());
    }
    match release.phase.as_str() {
        "WaitingForConfirmation" => {
            let who = if app.is_rollback { "The rollback waits" } else { "Waiting" };
            (Tone::Ask, format!("{who} for your confirmation"), confirmation(release, to))
        }
        "Paused" => (Tone::Ask, "Paused".into(), format!("{}. Continue to go on.", progress(app, to))),
        "Held" => (Tone::Bad, "Held".into(), held(app)),
        "RollingBack" => (Tone::Warn, format!("Rolling back to {to}"), progress_and_wait(app, to)),
        "RollingOut" => (Tone::Work, rolling_title(release, to), progress_and_wait(app, to)),
        _ => stable(app, to),
    }
}

fn stable(app: &AppFact, to: &str) -> (Tone, String, String) {
    let text =
        format!("{} of {} pods are available in {}.", app.available, app.replicas, cells(&app.release));
    if app.available < app.replicas {
        return (Tone::Warn, "Fewer pods than wanted".into(), text);
    }
    let tone = if app.went_back.is_some() { Tone::Warn } else { Tone::Calm };
    (tone, format!("All pods serve {to}"), text)
}

fn cells(release: &Release) -> String {
    match release.cells.len() {
        1 => "1 cell".to_owned(),
        n => format!("{n} cells"),
    }
}

fn rolling_title(release: &Release, to: &str) -> String {
    match current(release) {
        Some(group) => format!("Releasing {to}: {}", place(release, group)),
        None => format!("Releasing {to}"),
    }
}

/// `group-1, 2nd of 3`.
fn place(release: &Release, group: &Group) -> String {
    let at = release.groups.iter().position(|g| g.index == group.index).unwrap_or(0) + 1;
    format!("{} ({at} of {})", group.name, release.groups.len())
}

/// The group that runs or waits.
pub(super) fn current(release: &Release) -> Option<&Group> {
    release.groups.iter().find(|g| matches!(g.phase.as_str(), "Running" | "WaitingForConfirmation"))
}

fn confirmation(release: &Release, to: &str) -> String {
    let done = release.groups.iter().rfind(|g| matches!(g.phase.as_str(), "WaitingForConfirmation" | "Done"));
    let next = release.groups.iter().find(|g| g.phase == "Planned");
    let done = done.map(|g| format!("{} is done: {} of {} pods serve {to}.", g.name, g.ready, g.pods()));
    let next = next.map(|g| format!("Next is {}: {}.", g.name, share(g)));
    [done, next].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// `2 pods in CellA, 2 in CellB`.
fn share(group: &Group) -> String {
    let mut parts =
        group.cells.iter().filter(|(_, n)| *n > 0).enumerate().map(|(i, (cell, n))| match (i, n) {
            (0, 1) => format!("1 pod in {cell}"),
            (0, n) => format!("{n} pods in {cell}"),
            (_, n) => format!("{n} in {cell}"),
        });
    let first = parts.next().unwrap_or_else(|| "no pods".to_owned());
    parts.fold(first, |all, part| format!("{all}, {part}"))
}

fn progress(app: &AppFact, to: &str) -> String {
    format!("{} of {} pods have {to}", app.updated, app.replicas)
}

fn progress_and_wait(app: &AppFact, to: &str) -> String {
    let wait = app.release.waits_for.as_ref().map(|w| w.message.as_str()).filter(|m| !m.is_empty());
    let done = progress(app, to);
    // After a colon, because what is waited for may begin with a name.
    sentence(&wait.map_or(done.clone(), |message| format!("{done}: {message}")))
}

fn held(app: &AppFact) -> String {
    let messages = [app.release.waits_for.as_ref().map(|w| &w.message), app.failure.as_ref()];
    match messages.into_iter().flatten().find(|m| !m.is_empty()) {
        Some(message) => sentence(message),
        None => "Its controller gives no reason.".to_owned(),
    }
}

/// With a full stop at the end, and a capital at the start unless that is a name.
fn sentence(text: &str) -> String {
    let is_name = text.split(' ').next().is_some_and(|word| !word.chars().all(char::is_alphabetic));
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let head = if is_name { text.to_owned() } else { format!("{first}{}", letters.as_str()) };
    if text.ends_with(['.', '!', '?']) { head } else { format!("{head}.") }
}

/// Lost cells, then pods in trouble with the same reason counted together, those that concern most pods first.
fn notes(release: &Release, pods: &[&PodView]) -> Vec<String> {
    let lost = release.cells.iter().filter(|c| c.lost).map(|c| c.name.as_str());
    let mut out: Vec<String> = lost
        .clone()
        .map(|c| format!("{c} is lost: none of its nodes answers. It does not hold back the others."))
        .collect();
    let lost: Vec<&str> = lost.collect();
    let mut trouble: BTreeMap<(State, &str), Vec<&str>> = BTreeMap::new();
    for pod in pods.iter().filter(|p| !lost.contains(&p.cell.as_str())) {
        let is_late = pod.state == State::Draining && pod.detail.starts_with("overdue");
        if is_late || matches!(pod.state, State::Failing | State::Lost) {
            trouble.entry((pod.state, &pod.detail)).or_default().push(&pod.name);
        }
    }
    let mut trouble: Vec<_> = trouble.into_iter().collect();
    trouble.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    out.extend(trouble.into_iter().map(|((state, detail), names)| note(state, detail, &names)));
    let more = out.len().saturating_sub(NOTES_MAX);
    if more > 0 {
        out.truncate(NOTES_MAX);
        out.push(format!("and {more} more"));
    }
    out
}

fn note(state: State, detail: &str, names: &[&str]) -> String {
    let verb = match (state, names.len()) {
        (State::Failing, 1) => "fails",
        (State::Failing, _) => "fail",
        (State::Lost, 1) => "is lost",
        (State::Lost, _) => "are lost",
        (_, 1) => "drains",
        _ => "drain",
    };
    match names {
        [name] => format!("{name} {verb}: {detail}"),
        _ => format!("{} pods {verb}: {detail}", names.len()),
    }
}
