//! Whether a roll-out is complete, moves on, or is stuck: condition `Progressing`.

use std::time::Duration;

use api_core::{Deployment, DeploymentStatus};
use api_meta::Condition;
use stdx::Time;

use crate::deployment::sets::Sets;

pub(crate) const AVAILABLE: &str = "NewReplicaSetAvailable";
pub(crate) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// Upstream writes the largest number for "no deadline".
fn deadline(deployment: &Deployment) -> Option<Duration> {
    let secs = deployment.spec.progress_deadline_seconds.unwrap_or(600);
    (secs != i32::MAX).then(|| Duration::from_secs(u64::try_from(secs).unwrap_or(0)))
}

/// A `Progressing` condition; nothing without a deadline.
pub(crate) fn condition(
    deployment: &Deployment,
    status: &str,
    reason: &str,
    message: String,
    now: Time,
) -> Option<Condition> {
    deadline(deployment)?;
    Some(Condition {
        r#type: "Progressing".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_update_time: Some(now),
        last_transition_time: Some(now),
        ..Condition::default()
    })
}

/// Puts a condition in as upstream does: same status and reason change nothing; the same status keeps its time.
pub(crate) fn set(conditions: &mut Vec<Condition>, mut new: Condition) {
    if let Some(old) = conditions.iter().find(|c| c.r#type == new.r#type) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time;
        }
    }
    conditions.retain(|c| c.r#type != new.r#type);
    conditions.push(new);
}

/// Whether every wanted pod is new and available, and no old one is left.
pub(crate) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn has_moved(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    new.updated_replicas > old.updated_replicas
        || new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}

fn progressing(status: &DeploymentStatus) -> Option<&Condition> {
    status.conditions.iter().find(|c| c.r#type == "Progressing")
}

/// Judges the roll-out: fills in `Progressing` of the new status.
pub(crate) fn judge(sets: &Sets<'_>, new: &mut DeploymentStatus, now: Time) {
    let deployment = sets.deployment;
    if deadline(deployment).is_none() {
        new.conditions.retain(|c| c.r#type != "Progressing");
        return;
    }
    let current = progressing(&deployment.status).cloned();
    let was_complete =
        new.replicas == new.updated_replicas && current.as_ref().is_some_and(|c| c.reason == AVAILABLE);
    if was_complete {
        return;
    }
    let subject = match &sets.newest {
        Some(newest) => format!("ReplicaSet {:?}", newest.set.metadata.name),
        None => format!("Deployment {:?}", deployment.metadata.name),
    };
    if is_complete(deployment, new) {
        let message = format!("{subject} has successfully progressed.");
        let done = condition(deployment, "True", AVAILABLE, message, now);
        done.into_iter().for_each(|c| set(&mut new.conditions, c));
    } else if has_moved(&deployment.status, new) {
        let message = format!("{subject} is progressing.");
        let Some(mut moved) = condition(deployment, "True", "ReplicaSetUpdated", message, now) else {
            return;
        };
        if let Some(old) = current.filter(|c| c.status == "True") {
            moved.last_transition_time = old.last_transition_time;
        }
        new.conditions.retain(|c| c.r#type != "Progressing");
        new.conditions.push(moved);
    } else if is_timed_out(deployment, new, now) {
        let message = format!("{subject} has timed out progressing.");
        let stuck = condition(deployment, "False", TIMED_OUT, message, now);
        stuck.into_iter().for_each(|c| set(&mut new.conditions, c));
    }
}

fn is_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Time) -> bool {
    match progressing(status) {
        None => false,
        Some(c) if c.reason == AVAILABLE => false,
        Some(c) if c.reason == TIMED_OUT => true,
        Some(_) => deadline_at(deployment, status).is_some_and(|at| at < now),
    }
}

/// When the roll-out counts as stuck if nothing moves; nothing when it is complete, stuck already, or has no deadline.
pub(crate) fn deadline_at(deployment: &Deployment, status: &DeploymentStatus) -> Option<Time> {
    let current = progressing(status)?;
    if matches!(current.reason.as_str(), AVAILABLE | TIMED_OUT) || deployment.spec.paused {
        return None;
    }
    Some(current.last_update_time? + deadline(deployment)?)
}

/// The condition of a pause that begins or ends; it stops the clock of the deadline.
pub(crate) fn pause(deployment: &Deployment, now: Time) -> Option<Condition> {
    let current = progressing(&deployment.status);
    if current.is_some_and(|c| c.reason == TIMED_OUT) {
        return None;
    }
    let is_marked = current.is_some_and(|c| c.reason == PAUSED);
    match (deployment.spec.paused, is_marked) {
        (true, false) => condition(deployment, "Unknown", PAUSED, "Deployment is paused".to_owned(), now),
        (false, true) => {
            condition(deployment, "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned(), now)
        }
        _ => None,
    }
}
