//! What a Deployment reports.

use std::time::Duration;

use api_core::{Deployment, DeploymentStatus};
use api_meta::Condition;
use reconcile::{Action, Plan, Target};
use serde_json::{Value, json};
use stdx::Time;

use crate::deployment::plan::News;
use crate::deployment::progress;
use crate::deployment::sets::{Sets, replica_failure};
use crate::kit;

/// The status in the course of a roll-out, and when to look at its deadline.
pub(crate) fn rolling(sets: &Sets<'_>, news: News, now: Time) -> Plan {
    let mut new = counted(sets, now);
    let resumed = progress::pause(sets.deployment, now);
    resumed.into_iter().chain(news).for_each(|c| progress::set(&mut new.conditions, c));
    progress::judge(sets, &mut new, now);
    new.conditions.retain(|c| c.r#type != "ReplicaFailure");
    if let Some(failure) = replica_failure(sets) {
        new.conditions.push(kept_or_new(sets.deployment, failure, now));
    }
    let mut plan = written(sets.deployment, &new);
    if let Some(at) = progress::deadline_at(sets.deployment, &new) {
        plan.wake_at(at + Duration::from_secs(1));
    }
    plan
}

/// The status while paused, or while only the size changes.
pub(crate) fn paused(sets: &Sets<'_>, news: News, now: Time) -> Plan {
    let mut new = counted(sets, now);
    let paused = progress::pause(sets.deployment, now);
    paused.or(news).into_iter().for_each(|c| progress::set(&mut new.conditions, c));
    written(sets.deployment, &new)
}

/// The status of a Deployment that is going away.
pub(crate) fn plain(sets: &Sets<'_>, now: Time) -> Plan {
    written(sets.deployment, &counted(sets, now))
}

/// That the present generation was seen, and nothing else.
pub(crate) fn seen(deployment: &Deployment) -> Option<Action> {
    let generation = deployment.metadata.generation;
    (deployment.status.observed_generation < generation)
        .then(|| Action::status(Target::of(deployment), json!({ "observedGeneration": generation })))
}

fn counted(sets: &Sets<'_>, now: Time) -> DeploymentStatus {
    let deployment = sets.deployment;
    let all = || sets.all().map(|m| &m.set.status);
    let available = sets.available();
    let sizes: i32 = sets.all().map(super::sets::Member::size_now).sum();
    let mut conditions = deployment.status.conditions.clone();
    let floor = sets.budget.available_min(sets.wanted);
    progress::set(&mut conditions, availability(available >= floor, now));
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: all().map(|s| s.replicas).sum(),
        updated_replicas: sets.newest.as_ref().map_or(0, |m| m.set.status.replicas),
        ready_replicas: all().map(|s| s.ready_replicas).sum(),
        available_replicas: available,
        unavailable_replicas: (sizes - available).max(0),
        terminating_replicas: Some(all().map(|s| s.terminating_replicas.unwrap_or(0)).sum()),
        conditions,
        collision_count: deployment.status.collision_count,
    }
}

fn availability(is_available: bool, now: Time) -> Condition {
    let (status, reason, message) = if is_available {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    Condition {
        r#type: "Available".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_update_time: Some(now),
        last_transition_time: Some(now),
        ..Condition::default()
    }
}

/// The failure of a set as the Deployment's own; unchanged while it says the same.
fn kept_or_new(deployment: &Deployment, failure: Condition, now: Time) -> Condition {
    let old = deployment.status.conditions.iter().find(|c| c.r#type == failure.r#type);
    match old.filter(|o| o.status == failure.status && o.reason == failure.reason) {
        Some(old) => old.clone(),
        None => Condition { last_update_time: Some(now), ..failure },
    }
}

/// The patch that brings the stored status to `new`; an empty plan when it is.
fn written(deployment: &Deployment, new: &DeploymentStatus) -> Plan {
    let mut plan = Plan::new();
    if let Some(change) = kit::difference(&wire(&deployment.status), &wire(new)) {
        plan.act(Action::status(Target::of(deployment), change));
    }
    plan
}

/// The status as upstream writes it, but for `collisionCount`, which has its own patch.
fn wire(status: &DeploymentStatus) -> Value {
    let generation = status.observed_generation;
    json!({
        "observedGeneration": if generation == 0 { Value::Null } else { json!(generation) },
        "replicas": kit::counted(status.replicas),
        "updatedReplicas": kit::counted(status.updated_replicas),
        "readyReplicas": kit::counted(status.ready_replicas),
        "availableReplicas": kit::counted(status.available_replicas),
        "unavailableReplicas": kit::counted(status.unavailable_replicas),
        "terminatingReplicas": status.terminating_replicas,
        "conditions": if status.conditions.is_empty() { Value::Null } else { json!(status.conditions) },
    })
}
