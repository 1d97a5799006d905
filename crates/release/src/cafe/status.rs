//! What the CafeDeployment says of itself.

use api_meta::{Condition, LabelSelector, set_condition};
use api_workload::{CafeDeploymentStatus, CafePhase, CellStatus, GroupPhase};
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::json;
use stdx::Time;

use super::podset::difference;
use super::release::Release;
use super::view::{Cell, View};
use super::{Observed, waits};

/// The status that follows from what is observed.
pub(super) fn of(view: &View<'_>, release: &Release) -> CafeDeploymentStatus {
    let old = view.status();
    let settled = is_settled(view, release);
    let sum = |part: fn(&Cell<'_>) -> i32| view.cells.iter().map(part).sum::<i32>();
    let started = release.started.map_or(0, |s| s + 1);
    let total = release.groups.len();
    let mut status = CafeDeploymentStatus {
        observed_generation: view.seen.cafe.metadata.generation,
        current_revision: if settled { view.update_name().to_owned() } else { old.current_revision.clone() },
        update_revision: view.update_name().to_owned(),
        collision_count: old.collision_count,
        replicas: sum(|c| c.count.current),
        ready_replicas: sum(|c| c.count.ready),
        available_replicas: sum(|c| c.count.available),
        updated_replicas: sum(|c| c.count.updated),
        updated_ready_replicas: sum(|c| c.count.updated_ready),
        updated_available_replicas: sum(|c| c.count.updated_available),
        selector: selector_text(&view.spec.selector),
        phase: phase(view, release, settled),
        group: if total == 0 { String::new() } else { format!("{started}/{total}") },
        cells: view.cells.iter().map(|c| cell(c, view, release)).collect(),
        groups: release.groups.clone(),
        release: Some(release.record.clone()),
        moved: view.moved.clone(),
        waits_for: waits::of(view, release, settled),
        conditions: old.conditions.clone(),
    };
    let wanted = conditions(view, release, &status, settled);
    for condition in wanted {
        set_condition(&mut status.conditions, condition);
    }
    status
}

/// Everything is as the spec says: all groups are done, no cell has more or less than its share. Once this was so, pods
/// that come and go do not change it.
pub(super) fn is_settled(view: &View<'_>, release: &Release) -> bool {
    let is_even =
        |c: &Cell<'_>| c.kept() == c.target && c.committed(view) == c.target && c.count.current <= c.target;
    let status = view.status();
    let was = status.phase == CafePhase::Stable && status.release.as_ref() == Some(&release.record);
    let is_reached = |c: &Cell<'_>| was || c.count.updated == c.count.current;
    let all = view.cells.iter().all(|c| is_even(c) && is_reached(c));
    !release.is_new && release.is_finished() && all && (was || release.is_complete)
}

fn phase(view: &View<'_>, release: &Release, settled: bool) -> CafePhase {
    let waits = |phase: GroupPhase| phase == GroupPhase::WaitingForConfirmation;
    match () {
        () if settled => CafePhase::Stable,
        () if release.failure.is_some() && !release.record.rollback => CafePhase::Held,
        () if view.spec.strategy.pause => CafePhase::Paused,
        () if release.asks(view) && release.group().is_some_and(|g| waits(g.phase)) => {
            CafePhase::WaitingForConfirmation
        }
        () if release.record.rollback => CafePhase::RollingBack,
        () => CafePhase::RollingOut,
    }
}

fn cell(cell: &Cell<'_>, view: &View<'_>, release: &Release) -> CellStatus {
    CellStatus {
        name: cell.name.clone(),
        pod_set: cell.sets.first().map_or("", |s| s.name()).to_owned(),
        replicas: cell.target,
        current: cell.count.current,
        ready: cell.count.ready,
        available: cell.count.available,
        updated: cell.count.updated,
        updated_available: cell.count.updated_available,
        min_available: release.minimum(cell, view),
        lost: cell.is_lost,
    }
}

fn conditions(
    view: &View<'_>,
    release: &Release,
    status: &CafeDeploymentStatus,
    settled: bool,
) -> Vec<Condition> {
    let condition = |kind: &str, is: bool, reason: &str, message: String| Condition {
        r#type: kind.to_owned(),
        status: if is { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Some(view.now.whole_secs()),
        observed_generation: None,
        ..Condition::default()
    };
    let below: Vec<&str> =
        status.cells.iter().filter(|c| c.available < c.min_available).map(|c| c.name.as_str()).collect();
    let available = match below.as_slice() {
        [] => condition("Available", true, "CellMinimum", String::new()),
        cells => {
            let message = format!("too few pods are available in {}", cells.join(", "));
            condition("Available", false, "CellMinimum", message)
        }
    };
    let waits = status.waits_for.as_ref();
    let progressing = match waits {
        Some(w) => condition(
            "Progressing",
            status.phase == CafePhase::RollingOut || status.phase == CafePhase::RollingBack,
            &w.reason,
            w.message.clone(),
        ),
        None if settled => condition("Progressing", true, "Done", String::new()),
        None => condition("Progressing", true, "Group", String::new()),
    };
    let failed = match (&release.failure, &release.rolled_back) {
        (Some(failure), _) => condition("Failed", true, failure.reason, failure.message.clone()),
        (None, Some(back)) => {
            let message = format!("{}: went back from {} to {}", back.why, back.from, back.to);
            condition("Failed", true, &back.reason, message)
        }
        (None, None) => condition("Failed", false, "None", String::new()),
    };
    vec![available, progressing, failed, condition("Accepted", true, "Valid", String::new())]
}

/// The selector in the text form that scale clients read.
fn selector_text(selector: &LabelSelector) -> String {
    let mut parts: Vec<String> = selector.match_labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    for e in &selector.match_expressions {
        let values = e.values.join(",");
        parts.push(match e.operator.as_str() {
            "In" => format!("{} in ({values})", e.key),
            "NotIn" => format!("{} notin ({values})", e.key),
            "DoesNotExist" => format!("!{}", e.key),
            _ => e.key.clone(),
        });
    }
    parts.join(",")
}

/// The write that brings the stored status to this one, with notes on what it newly says; nothing when it is the same.
pub(super) fn write(seen: &Observed, status: &CafeDeploymentStatus) -> Plan {
    let mut plan = Plan::new();
    let old = &seen.cafe.status;
    let body = difference(&json!(old), &json!(status));
    if body == json!({}) {
        return plan;
    }
    let action = Action::Patch {
        target: Target::at(&*seen.cafe),
        subresource: "status",
        form: Form::Merge,
        body: json!({ "status": body }),
        risk: Risk::None,
    };
    let index = plan.actions.len();
    plan.act(action);
    for note in news(old, status) {
        plan.after.insert(plan.notes.len(), index);
        plan.note(note);
    }
    plan
}

/// What the new status says that the old one did not.
fn news(old: &CafeDeploymentStatus, new: &CafeDeploymentStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    let was_over = |index: i32| {
        let same = old.release == new.release;
        same && old.groups.iter().any(|g| g.index == index && g.finished_at.is_some())
    };
    let same = old.release.as_ref().map(|r| r.number) == new.release.as_ref().map(|r| r.number);
    for group in new.groups.iter().filter(|g| same && g.finished_at.is_some() && !was_over(g.index)) {
        let message = match group.phase {
            GroupPhase::WaitingForConfirmation => {
                format!("group {} is in service and waits for confirmation", group.name)
            }
            _ => format!("group {} is in service", group.name),
        };
        notes.push(Note::new(Severity::Normal, "GroupDone", message));
    }
    let failed = |s: &CafeDeploymentStatus| {
        s.conditions.iter().find(|c| c.r#type == "Failed" && c.status == "True").map(|c| c.message.clone())
    };
    if let Some(message) = failed(new).filter(|m| failed(old).as_ref() != Some(m)) {
        notes.push(Note::new(Severity::Warning, "ReleaseFailed", message));
    }
    if new.phase == CafePhase::Stable && old.phase != CafePhase::Stable {
        let message = format!("all pods are at {}", new.update_revision);
        notes.push(Note::new(Severity::Normal, "ReleaseDone", message));
    }
    for moved in new.moved.iter().filter(|m| !old.moved.contains(m)) {
        let message =
            format!("{} pods moved from cell {}, which has no room, to {}", moved.pods, moved.from, moved.to);
        notes.push(Note::new(Severity::Warning, "Rescheduled", message));
    }
    notes
}

/// The status of one that cannot be acted on: what it said before, and why.
pub(super) fn refused(seen: &Observed, reason: &str, message: String, now: Time) -> CafeDeploymentStatus {
    let mut status = seen.cafe.status.clone();
    status.observed_generation = seen.cafe.metadata.generation;
    let condition = Condition {
        r#type: "Accepted".to_owned(),
        status: "False".to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Some(now.whole_secs()),
        ..Condition::default()
    };
    set_condition(&mut status.conditions, condition);
    status
}
