//! Where a release stands: its groups, which of them have been started, and whether the last of these is done.
//!
//! ```text
//! Planned ──start──> Running ──all in service──> WaitingForConfirmation ──"true", start of the next──> Done
//!                                          └──────── no confirmation asked for ───────────────────────> Done
//! ```
//!
//! The table of groups lives in status and is written before any of them is started. What has been started lives in one
//! annotation, `RELEASE/GROUP`, written together with the removal of the confirmation: so a crash between any two writes
//! leaves either the group not started and still confirmed, or started and no longer confirmed, never in between. All
//! else follows from what is observed.

use api_workload::names::cafe as words;
use api_workload::{GroupCell, GroupPhase, GroupStatus, MovedQuota, ReleaseStatus, UpgradeType};
use serde::{Deserialize, Serialize};
use workload_kit::drain::Policy;

use super::groups;
use super::view::{Cell, Member, View};

/// Where a release stands.
pub(super) struct Release {
    /// What it is for.
    pub record: ReleaseStatus,
    /// Its groups, with the phases that follow from what is observed.
    pub groups: Vec<GroupStatus>,
    /// The last group that has been started.
    pub started: Option<usize>,
    /// The table is not in status yet: nothing is done before it is.
    pub is_new: bool,
    /// The pods of all groups that were started are in service.
    pub is_complete: bool,
    /// Why it must not go on.
    pub failure: Option<Failure>,
    /// It went back by itself, and why.
    pub rolled_back: Option<RolledBack>,
}

/// Why a release must not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// One word.
    pub reason: &'static str,
    /// A sentence that names the pod.
    pub message: String,
    /// The pod's own policy asks for going back.
    pub asks_back: bool,
}

/// What the annotation of a release says that went back by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RolledBack {
    pub from: String,
    pub to: String,
    pub reason: String,
    pub why: String,
}

impl Release {
    pub(super) fn of(view: &View<'_>) -> Release {
        let status = view.status();
        let old = status.release.clone().unwrap_or_default();
        let what = what(view);
        let how = how(view);
        let ended = status.groups.iter().all(|g| g.phase == GroupPhase::Done);
        let is_new = status.release.is_none() || old.what != what || (old.how != how && !ended);
        let mut release = Release {
            record: old,
            groups: status.groups.clone(),
            started: None,
            is_new,
            is_complete: false,
            failure: None,
            rolled_back: rolled_back(view),
        };
        release.started = release.started_in(view);
        release.judge(view);
        if is_new {
            release.replan(view, what, how);
            release.started = release.started_in(view);
            release.judge(view);
        }
        release
    }

    /// Every group is done.
    pub(super) fn is_finished(&self) -> bool {
        self.groups.iter().all(|g| g.phase == GroupPhase::Done)
    }

    /// Nothing that was planned has to wait for its first group.
    pub(super) fn has_begun(&self) -> bool {
        !self.is_new && (self.started.is_some() || self.groups.is_empty())
    }

    /// No further pod is changed or made, whatever the group still lacks. Going back is not stopped by broken pods.
    pub(super) fn is_frozen(&self, view: &View<'_>) -> bool {
        view.spec.strategy.pause || (self.failure.is_some() && !self.record.rollback)
    }

    /// The group that is under way or was last.
    pub(super) fn group(&self) -> Option<&GroupStatus> {
        self.groups.get(self.started?)
    }

    /// Pods of the cell that are at the update revision once all started groups are done.
    pub(super) fn goal(&self, cell: &Cell<'_>) -> i32 {
        let first = self.started.map_or(0, |s| s + 1);
        let later: i32 = self.groups.iter().skip(first).map(|g| pods_in(&g.cells, &cell.name)).sum();
        (cell.target - later).max(0)
    }

    /// Pods that the cell keeps once all started groups are done: those at the goal, and the old ones that are left.
    pub(super) fn total(&self, cell: &Cell<'_>, view: &View<'_>) -> i32 {
        self.goal(cell) + self.old_left(cell, view)
    }

    /// Old pods that the cell keeps once all started groups are done.
    pub(super) fn old_left(&self, cell: &Cell<'_>, view: &View<'_>) -> i32 {
        let old = (cell.kept() - cell.committed(view)).max(0);
        old.min(cell.target - self.goal(cell)).max(0)
    }

    /// Pods of the cell that stay available in every step.
    pub(super) fn minimum(&self, cell: &Cell<'_>, view: &View<'_>) -> i32 {
        if let Some(asked) = view.asked_minimum(cell) {
            return asked;
        }
        let largest = self.groups.iter().map(|g| pods_in(&g.cells, &cell.name)).max().filter(|l| *l > 0);
        let largest = largest.unwrap_or_else(|| {
            let share = i64::from(view.spec.batch_size()) * i64::from(cell.target);
            let total = i64::from(view.spec.replicas.max(1));
            i32::try_from((share + total - 1) / total).unwrap_or(i32::MAX)
        });
        (cell.target - largest).max(0)
    }

    /// The group to start now.
    pub(super) fn due(&self, view: &View<'_>) -> Option<usize> {
        let next = self.started.map_or(0, |s| s + 1);
        if self.is_new || next >= self.groups.len() || self.is_frozen(view) || is_all_lost(view) {
            return None;
        }
        let Some(last) = self.group() else { return Some(next) };
        let confirmed =
            last.phase != GroupPhase::WaitingForConfirmation || !self.asks(view) || is_confirmed(view);
        (self.is_complete && confirmed && last.phase != GroupPhase::Running).then_some(next)
    }

    /// Whether a person confirms each group: as the spec says, but not when the release went back by itself.
    pub(super) fn asks(&self, view: &View<'_>) -> bool {
        view.spec.strategy.need_waiting_for_confirm && self.rolled_back.is_none()
    }

    /// Whether a cell has all that the started groups ask of it. Pods on nodes that are gone are not waited for, nor a
    /// cell that is lost, nor, on the way back, pods that fail in the revision gone back to.
    pub(super) fn is_cell_complete(&self, cell: &Cell<'_>, view: &View<'_>) -> bool {
        if cell.is_lost || cell.target == 0 {
            return true;
        }
        let failing = |m: &&Member| m.is_updated && m.failure().is_some();
        let failing = if self.record.rollback { cell.members.iter().filter(failing).count() } else { 0 };
        let excused = cell.count.stranded + i32::try_from(failing).unwrap_or(i32::MAX);
        let needed = self.goal(cell).min(self.total(cell, view) - excused);
        let left = (cell.kept() - cell.committed(view)).max(0);
        let exchanged = !view.is_replicaset() || left <= self.old_left(cell, view);
        cell.count.updated_available >= needed && exchanged
    }

    /// The last started group: by the annotation when it speaks of this release, else by what status kept of the one before.
    fn started_in(&self, view: &View<'_>) -> Option<usize> {
        let mark = view.annotation(words::STARTED_GROUP).and_then(|text| text.split_once('/'));
        let of_this = mark.filter(|(number, _)| number.parse() == Ok(self.record.number));
        let marked = of_this.and_then(|(_, index)| index.parse::<usize>().ok());
        let kept = self.groups.iter().rposition(|g| is_over(g.phase));
        marked.filter(|i| *i < self.groups.len()).max(kept)
    }

    /// Works out the phases from what is observed.
    fn judge(&mut self, view: &View<'_>) {
        self.is_complete = !is_all_lost(view) && view.cells.iter().all(|c| self.is_cell_complete(c, view));
        let (now, last, asks) = (view.now.whole_secs(), self.groups.len().saturating_sub(1), self.asks(view));
        for i in 0..self.groups.len() {
            let phase = match self.started {
                Some(s) if i < s => GroupPhase::Done,
                Some(s) if i == s => match self.groups[i].phase {
                    over if is_over(over) => over,
                    _ if !self.is_complete => GroupPhase::Running,
                    _ if asks && i < last => GroupPhase::WaitingForConfirmation,
                    _ => GroupPhase::Done,
                },
                _ => GroupPhase::Planned,
            };
            self.count_group(i, view);
            let group = &mut self.groups[i];
            group.phase = phase;
            if phase != GroupPhase::Planned {
                group.started_at = group.started_at.or(Some(now));
            }
            if is_over(phase) {
                group.finished_at = group.finished_at.or(Some(now));
            }
        }
        self.failure = if self.is_finished() { None } else { failure(view) };
    }

    /// How many of a group's pods are updated and in service; left alone once it is over.
    fn count_group(&mut self, i: usize, view: &View<'_>) {
        if self.groups[i].finished_at.is_some() {
            return;
        }
        let (mut updated, mut ready) = (0, 0);
        for part in &self.groups[i].cells {
            let Some(cell) = view.cell(&part.name) else { continue };
            let later: i32 = self.groups.iter().skip(i).map(|g| pods_in(&g.cells, &part.name)).sum();
            let before = (cell.target - later).max(0);
            updated += (cell.count.updated - before).clamp(0, part.pods);
            ready += (cell.count.updated_available - before).clamp(0, part.pods);
        }
        self.groups[i].updated = updated;
        self.groups[i].ready = ready;
    }

    /// Cuts the groups anew. Groups of the same revision that are over are kept, and no second beta group follows them;
    /// another revision starts from the beginning.
    fn replan(&mut self, view: &View<'_>, what: String, how: String) {
        let goes_on = revision_of(&self.record.what) == view.update_name() && !self.is_finished();
        self.groups.retain(|g| goes_on && is_over(g.phase));
        let beta = view.spec.strategy.upgrade_type == UpgradeType::Beta && self.groups.is_empty();
        let number = 1 + self.groups.iter().filter(|g| g.name != "beta").count();
        let work =
            |c: &Cell<'_>| GroupCell { name: c.name.clone(), pods: (c.target - c.committed(view)).max(0) };
        let work: Vec<GroupCell> = view.cells.iter().map(work).collect();
        for group in groups::cut(&work, view.spec.batch_size(), beta, number) {
            let index = i32::try_from(self.groups.len()).unwrap_or(i32::MAX);
            self.groups.push(GroupStatus {
                index,
                name: group.name,
                cells: group.cells,
                ..GroupStatus::default()
            });
        }
        let rollback = if goes_on { self.record.rollback } else { goes_back(view) };
        self.record = ReleaseStatus { number: self.record.number + 1, what, how, rollback };
    }
}

fn is_over(phase: GroupPhase) -> bool {
    matches!(phase, GroupPhase::WaitingForConfirmation | GroupPhase::Done)
}

/// Whether no cell is left that could show whether a group is good.
pub(super) fn is_all_lost(view: &View<'_>) -> bool {
    let mut wanted = view.cells.iter().filter(|c| c.target > 0).peekable();
    wanted.peek().is_some() && wanted.all(|c| c.is_lost)
}

pub(super) fn is_confirmed(view: &View<'_>) -> bool {
    view.annotation(words::CONFIRMED) == Some("true")
}

fn pods_in(cells: &[GroupCell], name: &str) -> i32 {
    cells.iter().filter(|c| c.name == name).map(|c| c.pods).sum()
}

/// What a release is for, as text: `REVISION | CELL=PODS … | FROM>TO=PODS …`.
fn what(view: &View<'_>) -> String {
    let moved = |m: &MovedQuota| format!("{}>{}={}", m.from, m.to, m.pods);
    let moved: Vec<String> = view.moved.iter().map(moved).collect();
    format!("{} | {} | {}", view.update_name(), shares_text(&view.base), moved.join(" "))
}

fn how(view: &View<'_>) -> String {
    format!("{:?} {}", view.spec.strategy.upgrade_type, view.spec.batch_size())
}

fn shares_text(base: &[GroupCell]) -> String {
    base.iter().map(|c| format!("{}={}", c.name, c.pods)).collect::<Vec<_>>().join(" ")
}

fn revision_of(what: &str) -> &str {
    what.split(" | ").next().unwrap_or_default()
}

/// Whether a release was for these shares, before quota moved.
pub(super) fn is_of_shares(what: &str, base: &[GroupCell]) -> bool {
    what.split(" | ").nth(1) == Some(shares_text(base).as_str())
}

/// Whether the update revision is older than the one released last.
fn goes_back(view: &View<'_>) -> bool {
    let status = view.status();
    let last = revision_of(status.release.as_ref().map_or("", |r| r.what.as_str()));
    if last == view.update_name() || last.is_empty() {
        return false;
    }
    let made = |name: &str| {
        let found = view.seen.revisions.iter().find(|r| r.metadata.name == name);
        found.and_then(|r| r.metadata.creation_timestamp)
    };
    let older = matches!((made(view.update_name()), made(last)), (Some(a), Some(b)) if a < b);
    older || status.current_revision == view.update_name()
}

/// The first pod that stops the release: of the new revision and failing, or not let go of in time by its traffic.
fn failure(view: &View<'_>) -> Option<Failure> {
    let alive = view.cells.iter().filter(|c| !c.is_lost);
    let own = |c: &Cell<'_>| c.sets.first().map_or("", |s| s.update_revision.as_str()).to_owned();
    let mut members = alive.flat_map(|c| c.members.iter().map(move |m| (m, own(c))));
    members.find_map(|(m, revision)| {
        if !m.is_updated && Policy::of(&m.pod) == Policy::RollBack && m.is_given_back(&revision) {
            let message = format!("pod {}: its traffic has not ended within its deadline", m.name());
            return Some(Failure { reason: "DrainOverdue", message, asks_back: true });
        }
        if m.is_updated {
            let why = m.failure()?;
            let message = format!("pod {}: {why}", m.name());
            return Some(Failure { reason: "PodFailed", message, asks_back: false });
        }
        let (waits_for, policy) = m.overdue(view.now)?;
        let listed = waits_for.join(", ");
        (policy == Policy::RollBack && !m.is_stranded).then(|| Failure {
            reason: "DrainOverdue",
            message: format!("pod {}: traffic of {listed} has not ended within its deadline", m.name()),
            asks_back: true,
        })
    })
}

/// What the controller noted when it went back by itself; void once the template is another one.
fn rolled_back(view: &View<'_>) -> Option<RolledBack> {
    let noted: RolledBack = serde_json::from_str(view.annotation(words::ROLLED_BACK)?).ok()?;
    (noted.to == view.update_name()).then_some(noted)
}
