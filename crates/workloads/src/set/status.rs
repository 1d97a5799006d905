//! Counts and conditions.

use std::time::Duration;

use api_core::drain;
use api_meta::{Cause, Condition, set_condition};
use api_workload::{CloneSetStatus, UpdateType};
use reconcile::{Action, Note, Plan, Severity, Verb};
use stdx::Time;
use workload_kit::drain::{Policy, Progress};
use workload_kit::{gate, inplace, podfact};

use super::Observed;
use super::view::{Member, View, listed, why};

/// A pod that is not ready for this long counts as stuck although its node has not given up.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// The status that follows from what is seen. `impossible` are pods that cannot be updated as asked.
pub(super) fn steps(view: &View<'_>, impossible: &[String]) -> Plan {
    let mut plan = Plan::new();
    let mut status = counts(view);
    status.conditions = view.seen.set.status.conditions.clone();
    failures(view, impossible, &mut status, &mut plan);
    stuck(view, &mut status, &mut plan);
    called_back(view, &mut status, &mut plan);
    progressing(view, &mut status, &mut plan);
    wake_when_available(view, &mut plan);
    if let Some(action) = write(view.seen, &status) {
        plan.act(action);
    }
    plan
}

/// The status of a set whose spec is wrong: nothing is done, and the mistakes are named.
pub(super) fn invalid(seen: &Observed, causes: &[Cause], now: Time) -> Plan {
    let mut plan = Plan::new();
    let told: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
    let message = told.join("; ");
    let mut status = seen.set.status.clone();
    status.observed_generation = seen.set.metadata.generation;
    put(&mut status, condition("FailedScale", "True", "InvalidSpec", message.clone(), now));
    plan.note(Note::new(Severity::Warning, "InvalidSpec", message));
    if let Some(action) = write(seen, &status) {
        plan.act(action);
    }
    plan
}

/// The whole status when anything in it changes.
fn write(seen: &Observed, status: &CloneSetStatus) -> Option<Action> {
    let set = &seen.set;
    let body = (set.form)(status);
    (body != (set.form)(&set.status)).then(|| Action::status(set.target(), body))
}

fn counts(view: &View<'_>) -> CloneSetStatus {
    let ready = |m: &Member| podfact::is_ready(&m.pod, 0, view.now);
    let count = |test: &dyn Fn(&Member) -> bool| {
        i32::try_from(view.members.iter().filter(|m| test(m)).count()).unwrap_or(i32::MAX)
    };
    let rolling = view.spec.update_strategy.r#type == UpdateType::RollingUpdate;
    let kept = if rolling { view.limits.partition } else { 0 };
    let mut status = CloneSetStatus {
        observed_generation: view.seen.set.metadata.generation,
        replicas: count(&|_| true),
        ready_replicas: count(&ready),
        available_replicas: count(&|m| m.is_available),
        updated_replicas: count(&|m| m.is_new),
        updated_ready_replicas: count(&|m| m.is_new && ready(m)),
        updated_available_replicas: count(&|m| m.is_new && m.is_available),
        expected_updated_replicas: view.spec.replicas - kept,
        update_revision: view.update_name().to_owned(),
        current_revision: view.history.current.metadata.name.clone(),
        collision_count: view.seen.set.status.collision_count,
        conditions: Vec::new(),
        label_selector: selector_text(view),
    };
    if status.updated_replicas == status.replicas && status.replicas == view.spec.replicas {
        status.current_revision.clone_from(&status.update_revision);
    }
    status
}

/// The selector in text form, as the scale subresource gives it to autoscalers.
fn selector_text(view: &View<'_>) -> String {
    let selector = &view.spec.selector;
    let equal = selector.match_labels.iter().map(|(k, v)| (k.clone(), format!("{k}={v}")));
    let further = selector.match_expressions.iter().map(|e| {
        let mut values = e.values.clone();
        values.sort();
        let values = values.join(",");
        let text = match e.operator.as_str() {
            "In" => format!("{} in ({values})", e.key),
            "NotIn" => format!("{} notin ({values})", e.key),
            "DoesNotExist" => format!("!{}", e.key),
            _ => e.key.clone(),
        };
        (e.key.clone(), text)
    });
    let mut clauses: Vec<(String, String)> = equal.chain(further).collect();
    clauses.sort();
    clauses.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

/// FailedScale and FailedUpdate: why the last plan could not be carried out.
fn failures(view: &View<'_>, impossible: &[String], status: &mut CloneSetStatus, plan: &mut Plan) {
    let failure = view.seen.failure.as_ref();
    let is_update = failure.is_some_and(|f| f.verb == Verb::Patch);
    let told = |update: bool| {
        let failure = failure.filter(|_| is_update == update)?;
        Some(format!("{} {}: {}", verb(failure.verb), failure.resource, failure.message))
    };
    let names: Vec<&str> = impossible.iter().map(String::as_str).collect();
    let not_in_place = (!names.is_empty()).then(|| {
        let pods = listed(&names);
        format!("find Pod {pods} update strategy is InPlaceOnly but can not update in-place")
    });
    if let Some(message) = &not_in_place {
        plan.note(Note::new(Severity::Warning, "FailedUpdatePodInPlace", message.clone()));
    }
    for (kind, message) in
        [("FailedScale", told(false)), ("FailedUpdate", not_in_place.or_else(|| told(true)))]
    {
        match message {
            Some(message) => put(status, condition(kind, "True", "", message, view.now)),
            None => status.conditions.retain(|c| c.r#type != kind),
        }
    }
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Require => "look at",
        Verb::Create => "create",
        Verb::Patch => "change",
        Verb::Delete => "delete",
    }
}

/// PodsStuck: pods that will not become ready by waiting, by name.
fn stuck(view: &View<'_>, status: &mut CloneSetStatus, plan: &mut Plan) {
    let told: Vec<String> = view.members.iter().filter_map(|m| stuck_because(view, m, plan)).collect();
    if told.is_empty() {
        status.conditions.retain(|c| c.r#type != "PodsStuck");
        return;
    }
    let count = told.len();
    let texts: Vec<&str> = told.iter().map(String::as_str).collect();
    let message = format!("{count} of {} pods do not become ready: {}", view.members.len(), listed(&texts));
    plan.note(why("PodsStuck", message.clone()));
    put(status, condition("PodsStuck", "True", "PodsNotReady", message, view.now));
}

fn stuck_because(view: &View<'_>, member: &Member, plan: &mut Plan) -> Option<String> {
    let pod = &member.pod;
    let is_ready = podfact::is_ready(pod, 0, view.now);
    if is_ready && drain::is_back(pod) {
        return None;
    }
    let place = match pod.spec.node_name.as_str() {
        "" => String::new(),
        node => format!(" on {node}"),
    };
    if let Some(trouble) = podfact::trouble(pod) {
        return Some(format!("{}{place} ({trouble})", member.name()));
    }
    match &member.drain {
        Progress::Draining { .. } => return None,
        Progress::Overdue { waits_for, policy, .. }
            if *policy == Policy::Hold || gate::is_closed_to_leave(pod) =>
        {
            let waits_for = waits_for.join(" and ");
            return Some(format!("{}{place} (its drain is overdue: {waits_for})", member.name()));
        }
        Progress::Free | Progress::InService | Progress::Overdue { .. } => {}
    }
    let began = inplace::record(pod).and_then(Result::ok).and_then(|r| r.update_timestamp);
    let turned =
        pod.condition("Ready").filter(|c| c.status != "Unknown").and_then(|c| c.last_transition_time);
    let since = began.into_iter().chain(turned).chain(pod.metadata.creation_timestamp).max()?;
    if since + STUCK_AFTER > view.now {
        plan.wake_at(since + STUCK_AFTER);
        return None;
    }
    let what = if is_ready { "ready, but its traffic is not back" } else { "not ready" };
    Some(format!("{}{place} ({what} for {} s)", member.name(), STUCK_AFTER.as_secs()))
}

/// DrainOverdue: pods that stay at their revision because their traffic did not end in time; who releases goes back.
fn called_back(view: &View<'_>, status: &mut CloneSetStatus, plan: &mut Plan) {
    let names = view.refusing();
    if names.is_empty() {
        status.conditions.retain(|c| c.r#type != "DrainOverdue");
        return;
    }
    let message = format!(
        "the update to {} goes no further, because the traffic of {} did not end in time and {} is RollBack",
        view.update_name(),
        listed(&names),
        drain::DEADLINE_POLICY
    );
    plan.note(Note::new(Severity::Warning, "DrainOverdue", message.clone()));
    put(status, condition("DrainOverdue", "True", "DrainOverdue", message, view.now));
}

/// Progressing: only with a deadline, as in OpenKruise.
fn progressing(view: &View<'_>, status: &mut CloneSetStatus, plan: &mut Plan) {
    let deadline = view.spec.progress_deadline_seconds.filter(|s| *s != i32::MAX);
    let Some(seconds) = deadline else {
        status.conditions.retain(|c| c.r#type != "Progressing");
        return;
    };
    let deadline = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let (value, reason, message) = progress(view, status, deadline);
    put(status, condition("Progressing", value, reason, message, view.now));
    let since = status.conditions.iter().find(|c| c.r#type == "Progressing").and_then(|c| c.last_update_time);
    if let Some(since) = since.filter(|_| reason == "CloneSetUpdated") {
        plan.wake_at(since + deadline + Duration::from_secs(1));
    }
}

fn progress(
    view: &View<'_>,
    status: &CloneSetStatus,
    deadline: Duration,
) -> (&'static str, &'static str, String) {
    let replicas = view.spec.replicas;
    let is_whole = status.current_revision == status.update_revision
        && [status.replicas, status.updated_replicas, status.updated_available_replicas] == [replicas; 3];
    if is_whole {
        return ("True", "CloneSetAvailable", "CloneSet is available".to_owned());
    }
    if view.spec.update_strategy.rolling_update.paused {
        return ("True", "CloneSetPaused", "CloneSet is paused".to_owned());
    }
    let expected = status.expected_updated_replicas;
    if expected < replicas && expected <= status.updated_available_replicas {
        let message = "CloneSet has been paused due to partition ready";
        return ("True", "ProgressPartitionAvailable", message.to_owned());
    }
    let is_same_release = view.seen.set.status.update_revision == status.update_revision;
    let old = status.conditions.iter().find(|c| c.r#type == "Progressing").filter(|_| is_same_release);
    let is_over = old.is_some_and(|c| {
        let since = c.last_update_time.unwrap_or(view.now);
        c.reason == "ProgressDeadlineExceeded"
            || (c.reason == "CloneSetUpdated" && since + deadline < view.now)
    });
    if is_over {
        let message = format!("CloneSet revision {} has timed out progressing", status.update_revision);
        return ("False", "ProgressDeadlineExceeded", message);
    }
    ("True", "CloneSetUpdated", "CloneSet is progressing".to_owned())
}

fn condition(kind: &str, value: &str, reason: &str, message: String, now: Time) -> Condition {
    Condition {
        r#type: kind.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Some(now.whole_secs()),
        last_update_time: Some(now.whole_secs()),
        ..Condition::default()
    }
}

/// Puts a condition in place unless it says nothing new.
fn put(status: &mut CloneSetStatus, new: Condition) {
    let same = |c: &Condition| {
        c.r#type == new.r#type && c.status == new.status && c.reason == new.reason && c.message == new.message
    };
    if !status.conditions.iter().any(same) {
        set_condition(&mut status.conditions, new);
    }
}

/// Looks again when a ready pod has been ready for long enough.
fn wake_when_available(view: &View<'_>, plan: &mut Plan) {
    let young = view.members.iter().filter(|m| m.is_ready && !m.is_available);
    for at in young.filter_map(|m| podfact::available_at(&m.pod, view.spec.min_ready_seconds)) {
        plan.wake_at(at.max(view.now));
    }
}
