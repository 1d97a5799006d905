//! One application: its counts, groups and cells, what it waits for and what a person may do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stdx::Time;

use super::facts::{AppFact, NodeFact};
use super::observed::{Kind, Observed};
use super::pods::{Host, PodView, State, version};
use super::told::{self, Told, Versions};
use crate::{Cell, Group};

/// Nodes listed in a cell; the rest is counted.
const CELL_NODES_MAX: usize = 24;

/// An application as the page draws it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its phase as its controller calls it.
    pub phase: String,
    /// Versions on both sides.
    pub versions: Versions,
    /// Pods wanted.
    pub want: i64,
    /// Of these, ready.
    pub ready: i64,
    /// Of these, available.
    pub available: i64,
    /// Of these, of the newest revision.
    pub updated: i64,
    /// What it is doing and why it waits.
    pub told: Told,
    /// The table of groups.
    pub groups: Vec<GroupView>,
    /// Its cells.
    pub cells: Vec<CellView>,
    /// What a person may do now: `confirm`, `pause`, `continue`, `rollback`.
    pub actions: Vec<&'static str>,
    /// Index of the group that waits for confirmation.
    pub waiting: Option<i64>,
    /// Pods that are not drawn, for want of room.
    pub hidden: usize,
}

/// A group of a release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupView {
    /// Its place.
    pub index: i64,
    /// Its name.
    pub name: String,
    /// `planned`, `running`, `waiting` or `done`.
    pub phase: &'static str,
    /// Pods from each cell.
    pub cells: Vec<(String, i64)>,
    /// All its pods.
    pub pods: i64,
    /// Of these, updated.
    pub updated: i64,
    /// Of these, updated and ready.
    pub ready: i64,
    /// When it began, milliseconds since the epoch.
    pub started: Option<i64>,
    /// When it was done, milliseconds since the epoch.
    pub finished: Option<i64>,
}

/// A cell of an application.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellView {
    /// Its name.
    pub name: String,
    /// None of its nodes answers.
    pub lost: bool,
    /// Pods wanted.
    pub want: i64,
    /// Of these, ready.
    pub ready: i64,
    /// Of these, available.
    pub available: i64,
    /// Of these, of the newest revision.
    pub updated: i64,
    /// How many must stay available.
    pub min: i64,
    /// Pods by state.
    pub states: BTreeMap<State, usize>,
    /// Nodes that have pods of the application: name, and whether they answer.
    pub nodes: Vec<(String, Option<bool>)>,
}

/// Milliseconds since the epoch.
pub(super) fn millis(at: Time) -> i64 {
    at.micros() / 1000
}

/// An application, with all its pods.
pub(super) fn view(seen: &Observed, app: &AppFact, pods: &[&PodView], hidden: usize) -> AppView {
    let release = &app.release;
    let versions = versions(app, pods);
    let waiting = told::current(release).filter(|g| g.phase == "WaitingForConfirmation").map(|g| g.index);
    AppView {
        namespace: app.key.namespace.clone(),
        name: app.key.name.clone(),
        phase: release.phase.clone(),
        want: app.replicas,
        ready: app.ready,
        available: app.available,
        updated: app.updated,
        told: told::told(app, &versions, pods),
        groups: release.groups.iter().map(group).collect(),
        cells: release.cells.iter().map(|c| cell(seen, c, pods)).collect(),
        actions: actions(app),
        waiting,
        versions,
        hidden,
    }
}

/// The version that is released and the one that is left, as most pods of each have it.
fn versions(app: &AppFact, pods: &[&PodView]) -> Versions {
    let from = most(pods.iter().filter(|p| !p.fresh));
    let to = most(pods.iter().filter(|p| p.fresh)).unwrap_or_else(|| wanted(app));
    Versions { from: from.unwrap_or_else(|| to.clone()), to }
}

fn most<'a>(pods: impl Iterator<Item = &'a &'a PodView>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods {
        *counts.entry(&pod.version).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, n)| *n).map(|(version, _)| version.to_owned())
}

/// The version of the template, which pods shall have while none has it.
fn wanted(app: &AppFact) -> String {
    app.images.first().map_or(String::new(), |(_, image)| version(image).to_owned())
}

fn group(group: &Group) -> GroupView {
    let phase = match group.phase.as_str() {
        "Running" => "running",
        "WaitingForConfirmation" => "waiting",
        "Done" => "done",
        _ => "planned",
    };
    GroupView {
        index: group.index,
        name: group.name.clone(),
        phase,
        cells: group.cells.clone(),
        pods: group.pods(),
        updated: group.updated,
        ready: group.ready,
        started: group.started_at.map(millis),
        finished: group.finished_at.map(millis),
    }
}

fn cell(seen: &Observed, cell: &Cell, pods: &[&PodView]) -> CellView {
    let mut states = BTreeMap::new();
    let mut nodes = BTreeSet::new();
    for pod in pods.iter().filter(|p| p.cell == cell.name) {
        *states.entry(pod.state).or_default() += 1;
        nodes.insert(pod.node.as_str());
    }
    let nodes = nodes.into_iter().filter(|n| !n.is_empty()).take(CELL_NODES_MAX);
    CellView {
        name: cell.name.clone(),
        lost: cell.lost,
        want: cell.replicas,
        ready: cell.ready,
        available: cell.available,
        updated: cell.updated,
        min: cell.min_available,
        states,
        nodes: nodes.map(|n| (n.to_owned(), answers(seen, n))).collect(),
    }
}

/// Whether a node answers, as far as is known.
fn answers(seen: &Observed, node: &str) -> Option<bool> {
    match host(seen, node) {
        Host::Known(node) => node.is_ready,
        Host::Gone => Some(false),
        Host::Unknown => None,
    }
}

/// What is known of a node.
pub(super) fn host<'a>(seen: &'a Observed, node: &str) -> Host<'a> {
    let found: Option<&NodeFact> = seen.nodes.get(node);
    match found {
        Some(node) => Host::Known(node),
        None if seen.known.contains(&Kind::Node) => Host::Gone,
        None => Host::Unknown,
    }
}

/// What a person may do to a release now.
fn actions(app: &AppFact) -> Vec<&'static str> {
    let phase = app.release.phase.as_str();
    let is_moving = !matches!(phase, "Stable" | "");
    let mut out = Vec::new();
    if phase == "WaitingForConfirmation" && !app.is_paused {
        out.push("confirm");
    }
    match app.is_paused {
        true => out.push("continue"),
        false if is_moving && phase != "Held" => out.push("pause"),
        false => {}
    }
    // A release that is over can be taken back too. Before the first change there is nothing to go back to.
    let goes_back = phase == "RollingBack" || is_moving && app.is_rollback;
    if !goes_back && app.generation > 1 {
        out.push("rollback");
    }
    out
}
