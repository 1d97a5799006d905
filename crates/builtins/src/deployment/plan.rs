//! What a Deployment does next.

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::{Deployment, ReplicaSet};
use api_meta::{Condition, Object};
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::{Value, json};
use stdx::Time;

use crate::deployment::annotations::{self, DESIRED, REVISION};
use crate::deployment::sets::{Sets, new_set, next_name};
use crate::deployment::{Observed, observe, progress, recreate, rolling, scale, status};

/// What the steps have to say about progress, before the status is computed.
pub(crate) type News = Option<Condition>;

pub(crate) fn plan(seen: &Observed, now: Time) -> Plan {
    let deployment = &*seen.deployment;
    let mut plan = Plan::new();
    if observe::selector(deployment).is_none() {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        plan.note(Note::new(Severity::Warning, "SelectingAll", message));
        status::seen(deployment).into_iter().for_each(|a| plan.act(a));
        return plan;
    }
    let mut sets = Sets::of(seen, now);
    if deployment.metadata.is_terminating() {
        plan.extend(status::plain(&sets, now));
        return plan;
    }
    let mut steps = Plan::new();
    seen.claims.actions(deployment).into_iter().for_each(|a| steps.act(a));
    let mut news = dress_newest(&mut steps, &sets, now);
    // Sizes are fenced by the versions of the sets: a plan that writes to one for another reason leaves them for the next.
    let is_dressing = steps.actions.iter().any(|a| *a.resource() == ReplicaSet::RESOURCE);
    if deployment.spec.paused || is_scaled(&sets) {
        if !is_dressing {
            scale::steps(&mut sets, &mut steps);
        }
        if deployment.spec.paused {
            clean_history(&sets, &mut steps);
        }
        plan.extend(status::paused(&sets, news, now));
    } else {
        if !is_dressing {
            news = roll(&mut sets, seen, &mut steps, now).or(news);
        }
        if progress::is_complete(deployment, &deployment.status) {
            clean_history(&sets, &mut steps);
        }
        plan.extend(status::rolling(&sets, news, now));
    }
    // The status first: it tells what is seen, whatever becomes of the rest.
    plan.extend(steps);
    plan
}

/// A roll-out that waited because reports lag behind pods, or pods behind reports, looks again when nothing tells it to.
const TORN: Duration = Duration::from_secs(1);

fn roll(sets: &mut Sets<'_>, seen: &Observed, plan: &mut Plan, now: Time) -> News {
    if sets.are_torn() {
        plan.wake_at(now + TORN);
    }
    if is_recreating(sets.deployment) {
        recreate::steps(sets, seen, plan, now)
    } else {
        rolling::steps(sets, seen, plan, now)
    }
}

pub(crate) fn is_recreating(deployment: &Deployment) -> bool {
    deployment.spec.strategy.r#type == "Recreate"
}

/// Whether the wanted size has changed since the active sets were scaled last.
fn is_scaled(sets: &Sets<'_>) -> bool {
    let active = sets.all().filter(|m| m.size > 0);
    let remembered = active.filter_map(|m| annotations::number(&m.set, DESIRED));
    remembered.into_iter().any(|desired| desired != i64::from(sets.wanted))
}

/// Creates the set of the present template, at the size that is possible at once.
pub(crate) fn create_newest(sets: &Sets<'_>, seen: &Observed, plan: &mut Plan, now: Time) -> News {
    let deployment = sets.deployment;
    if seen.name_taken {
        return count_collision(deployment, plan);
    }
    let (size, name) = (sets.newest_size(), next_name(deployment));
    let creation = new_set(sets, size);
    if size > 0 {
        let message = format!("Scaled up replica set {name} from 0 to {size}");
        plan.act_noting(creation, Note::new(Severity::Normal, "ScalingReplicaSet", message));
    } else {
        plan.act(creation);
    }
    remember_revision(deployment, sets.next_revision(), plan);
    match &seen.failure {
        Some(failure) if failure.verb == reconcile::Verb::Create => {
            let message = format!("Failed to create new replica set {name:?}: {}", failure.message);
            progress::condition(deployment, "False", "ReplicaSetCreateError", message, now)
        }
        _ => {
            let message = format!("Created new replica set {name:?}");
            progress::condition(deployment, "True", "NewReplicaSetCreated", message, now)
        }
    }
}

/// The name of the next set belongs to something else: the next look tries another one.
fn count_collision(deployment: &Deployment, plan: &mut Plan) -> News {
    let count = deployment.status.collision_count.unwrap_or(0) + 1;
    plan.act(Action::status(Target::of(deployment), json!({ "collisionCount": count })));
    None
}

/// Keeps annotations and readiness time of the newest set in step with the Deployment.
fn dress_newest(plan: &mut Plan, sets: &Sets<'_>, now: Time) -> News {
    let (deployment, newest) = (sets.deployment, sets.newest.as_ref()?);
    let set = &*newest.set;
    let wanted = annotations::of_newest(deployment, &set.metadata.annotations, sets.next_revision());
    let mut body = json!({});
    if wanted != set.metadata.annotations {
        let before = &set.metadata.annotations;
        let changed: BTreeMap<_, _> = wanted.iter().filter(|(k, v)| before.get(*k) != Some(v)).collect();
        body["metadata"]["annotations"] = json!(changed);
    }
    if set.spec.min_ready_seconds != deployment.spec.min_ready_seconds {
        body["spec"]["minReadySeconds"] = json!(deployment.spec.min_ready_seconds);
    }
    if body != json!({}) {
        plan.act(merge(Target::of(set), body));
    }
    remember_revision(deployment, wanted.get(REVISION).and_then(|r| r.parse().ok()).unwrap_or(1), plan);
    if deployment.status.conditions.iter().any(|c| c.r#type == "Progressing") {
        return None;
    }
    let message = format!("Found new replica set {:?}", set.metadata.name);
    progress::condition(deployment, "True", "FoundNewReplicaSet", message, now)
}

/// Notes the revision on the Deployment itself.
fn remember_revision(deployment: &Deployment, revision: i64, plan: &mut Plan) {
    let revision = revision.to_string();
    if deployment.metadata.annotations.get(REVISION) != Some(&revision) {
        plan.act(merge(Target::of(deployment), json!({"metadata": {"annotations": {REVISION: revision}}})));
    }
}

/// Takes away empty old sets beyond the history limit, oldest revision first. Fenced by version: they must still be empty.
fn clean_history(sets: &Sets<'_>, plan: &mut Plan) {
    let limit = sets.deployment.spec.revision_history_limit.unwrap_or(10);
    let Ok(limit) = usize::try_from(limit) else { return };
    let mut old: Vec<&ReplicaSet> =
        sets.old.iter().map(|m| &*m.set).filter(|s| !s.metadata.is_terminating()).collect();
    old.sort_by_key(|set| annotations::revision(set));
    for set in old.iter().take(old.len().saturating_sub(limit)) {
        let is_empty = set.status.replicas == 0
            && set.spec.replicas == Some(0)
            && set.status.observed_generation >= set.metadata.generation;
        if is_empty {
            plan.act(Action::Delete {
                target: Target::at(*set),
                grace_seconds: None,
                propagation: None,
                risk: Risk::None,
            });
        }
    }
}

fn merge(target: Target, body: Value) -> Action {
    Action::Patch { target, subresource: "", form: Form::Merge, body, risk: Risk::None }
}
