//! One look at one CafeDeployment.

use std::time::Duration;

use api_workload::names::cafe as words;
use api_workload::{CafeDeploymentSpec, GroupPhase, GroupStatus, PodSetType};
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::json;
use stdx::Time;
use workload_kit::drain::{Progress, progress};
use workload_kit::{podfact, revision};

use super::history::{self, WriteFirst};
use super::podset::difference;
use super::release::{Release, RolledBack, is_confirmed};
use super::view::View;
use super::{Observed, moves, status, steps};

/// How often a release looks at its nodes, which do not call it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Decides. Each step that another must follow is a plan of its own: revision, wish to go back, table, start of a group,
/// pod sets with status, question for confirmation.
pub fn plan(seen: &Observed, now: Time) -> Plan {
    if seen.cafe.metadata.is_terminating() {
        return Plan::new();
    }
    let spec = match &seen.spec {
        Ok(spec) if spec.pod_set_type == PodSetType::StatefulSet => {
            let message =
                "podSetType StatefulSet is not supported here yet: use InPlaceSet, CloneSet or ReplicaSet";
            return status::write(seen, &status::refused(seen, "NotSupported", message.to_owned(), now));
        }
        Ok(spec) => spec,
        Err(causes) => {
            let told: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
            return status::write(seen, &status::refused(seen, "Invalid", told.join("; "), now));
        }
    };
    match history::resolve(seen, spec) {
        Ok(update) => whole(&View::new(seen, spec, update, now)),
        Err(first) => revision_first(seen, *first),
    }
}

fn revision_first(seen: &Observed, first: WriteFirst) -> Plan {
    let mut plan = Plan::new();
    if first.collisions != seen.cafe.status.collision_count {
        let body = json!({"collisionCount": first.collisions});
        plan.act(Action::status(Target::at(&*seen.cafe), body));
    } else {
        plan.act(first.write);
    }
    plan
}

fn whole(view: &View<'_>) -> Plan {
    if let Some(plan) = wish_to_go_back(view) {
        return plan;
    }
    let release = Release::of(view);
    let told = status::of(view, &release);
    if release.is_new {
        return status::write(view.seen, &told);
    }
    if let Some(plan) = go_back_by_itself(view, &release) {
        return plan;
    }
    if let Some(next) = release.due(view) {
        return start(view, &release, next);
    }
    let mut plan = Plan::new();
    steps::of(view, &release).into_iter().for_each(|action| plan.act(action));
    if let Some(waits) = &told.waits_for {
        plan.note(Note::new(Severity::Why, "Release", waits.message.clone()));
    }
    let write = status::write(view.seen, &told);
    match write.is_quiet() {
        true => plan.extend(ask(view, &release)),
        false => plan.extend(write),
    }
    if plan.is_quiet() && status::is_settled(view, &release) {
        let surplus = history::tidy(view.seen, view.spec.history_limit, view.update_name());
        surplus.into_iter().for_each(|action| plan.act(action));
    }
    wake(view, &release, &mut plan);
    plan
}

/// The write that starts a group takes the confirmation away and says so, all at once.
fn start(view: &View<'_>, release: &Release, index: usize) -> Plan {
    let mut plan = Plan::new();
    let group = &release.groups[index];
    let mut annotations = json!({
        words::STARTED_GROUP: format!("{}/{index}", release.record.number),
        words::CONFIRMED: null,
    });
    if release.rolled_back.is_none() {
        annotations[words::ROLLED_BACK] = json!(null);
    }
    let message = format!("{}: {}", told(group), view.update_name());
    plan.act_noting(
        patch(view.seen, &json!({"metadata": {"annotations": annotations}})),
        Note::new(Severity::Normal, "GroupStarted", message),
    );
    plan
}

fn told(group: &GroupStatus) -> String {
    let cells: Vec<String> = group.cells.iter().map(|c| format!("{} {}", c.name, c.pods)).collect();
    format!("group {} ({})", group.name, cells.join(" + "))
}

/// Asks for confirmation, unless it has been given already.
fn ask(view: &View<'_>, release: &Release) -> Plan {
    let mut plan = Plan::new();
    let waits = release.group().is_some_and(|g| g.phase == GroupPhase::WaitingForConfirmation);
    let asked = view.annotation(words::CONFIRMED) == Some("false");
    if waits && release.asks(view) && !asked && !is_confirmed(view) {
        plan.act(patch(view.seen, &json!({"metadata": {"annotations": {words::CONFIRMED: "false"}}})));
    }
    plan
}

/// Does what the annotation `rollback-to` asks for: the old template becomes the wanted one, and the wish is gone, at once.
fn wish_to_go_back(view: &View<'_>) -> Option<Plan> {
    let wish = view.annotation(words::ROLLBACK_TO).filter(|w| !w.is_empty())?;
    let done = json!({words::ROLLBACK_TO: null});
    let mut plan = Plan::new();
    let Some(found) = history::named(view.seen, wish, view.update_name()) else {
        let message =
            format!("{}={wish} names no revision that is kept: the wish is dropped", words::ROLLBACK_TO);
        plan.act_noting(
            patch(view.seen, &json!({"metadata": {"annotations": done}})),
            Note::new(Severity::Warning, "RevisionNotFound", message),
        );
        return Some(plan);
    };
    let message = format!("going back from {} to {}", view.update_name(), found.metadata.name);
    let body = back(view, &revision::template(found)?, done);
    plan.act_noting(patch(view.seen, &body), Note::new(Severity::Normal, "RollBack", message));
    Some(plan)
}

/// Goes back to the last good revision when a release fails and its owner asked for that.
fn go_back_by_itself(view: &View<'_>, release: &Release) -> Option<Plan> {
    let failure = release.failure.as_ref().filter(|_| !release.record.rollback)?;
    let asked = failure.asks_back || view.annotation(words::ON_FAILURE) == Some("RollBack");
    let good = &view.status().current_revision;
    let found = view.seen.revisions.iter().find(|r| r.metadata.name == *good)?;
    if !asked || *good == view.update_name() || view.spec.strategy.pause {
        return None;
    }
    let noted = RolledBack {
        from: view.update_name().to_owned(),
        to: good.clone(),
        reason: failure.reason.to_owned(),
        why: failure.message.clone(),
    };
    let annotations = json!({words::ROLLED_BACK: json!(noted).to_string()});
    let body = back(view, &revision::template(found)?, annotations);
    let message = format!("{}: going back from {} to {good}", failure.message, view.update_name());
    let mut plan = Plan::new();
    plan.act_noting(patch(view.seen, &body), Note::new(Severity::Warning, "RollBack", message));
    Some(plan)
}

fn back(view: &View<'_>, template: &serde_json::Value, annotations: serde_json::Value) -> serde_json::Value {
    let change = difference(&view.seen.cafe.spec["template"], template);
    json!({"metadata": {"annotations": annotations}, "spec": {"template": change}})
}

fn patch(seen: &Observed, body: &serde_json::Value) -> Action {
    let target = Target::at(&*seen.cafe);
    Action::Patch { target, subresource: "", form: Form::Merge, body: body.clone(), risk: Risk::None }
}

/// Looks again when time alone changes the answer.
fn wake(view: &View<'_>, release: &Release, plan: &mut Plan) {
    let settled = status::is_settled(view, release);
    if !settled || view.cells.iter().any(|c| c.is_lost && c.target > 0) {
        plan.wake_at(view.now + LOOK_EVERY);
    }
    let auto = view.spec.topology.auto_reschedule.enable;
    for member in view.cells.iter().flat_map(|c| &c.members) {
        let young = podfact::available_at(&member.pod, view.spec.strategy.min_ready_seconds);
        let overdue = match progress(&member.pod, view.now) {
            Progress::Draining { due, .. } => Some(due),
            _ => None,
        };
        let moves = moves::due_at(view, member).filter(|_| auto);
        for at in [young, overdue, moves].into_iter().flatten().filter(|at| *at > view.now) {
            plan.wake_at(at);
        }
    }
}

/// Only what a plan shows of a spec that is not stored yet; see [`super::preview`].
pub(super) fn preview(spec: &CafeDeploymentSpec, updated: &dyn Fn(&str) -> i32) -> super::groups::Table {
    let mut cells = super::groups::cells(spec);
    for cell in &mut cells {
        cell.updated = updated(&cell.name);
    }
    super::groups::table(&super::groups::Ask {
        replicas: spec.replicas,
        cells,
        batch_size: spec.batch_size(),
        upgrade_type: spec.strategy.upgrade_type,
    })
}
