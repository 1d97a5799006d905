//! The arithmetic of a budget.

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::{Pod, PodDisruptionBudget};
use api_meta::{Condition, IntOrPercent, Round, set_condition};
use reconcile::{Action, Note, Plan, Severity, Target};
use serde_json::{Value, json};
use stdx::Time;

use crate::disruption::Observed;
use crate::kit;

/// How long a granted eviction may take to show before it counts as not done (upstream's timeout).
const DISRUPTION_LASTS: Duration = Duration::from_secs(120);
const ALLOWED: &str = "DisruptionAllowed";

pub(crate) fn plan(seen: &Observed, now: Time) -> Plan {
    let mut plan = Plan::new();
    if seen.budget.metadata.is_terminating() {
        return plan;
    }
    let new = match bounds(&seen.budget, seen) {
        Ok(bounds) => judged(seen, bounds, now, &mut plan),
        Err(why) => failed(&seen.budget, &why, now),
    };
    let old = status_of(&seen.budget);
    if let Some(mut change) = kit::difference(&old, &new) {
        if misses_pods(seen) {
            plan.note(unmanaged(seen));
        }
        restate_counts(&mut change, &new);
        plan.act(Action::status(Target::at(&*seen.budget), change));
    }
    plan
}

/// How many pods there should be, and how many of them must be healthy.
#[derive(Clone, Copy)]
struct Bounds {
    expected: i32,
    desired: i32,
}

fn bounds(budget: &PodDisruptionBudget, seen: &Observed) -> Result<Bounds, String> {
    let wanted = || seen.scale.wanted.ok_or_else(|| seen.scale.unknown.clone().unwrap_or_default());
    let spec = &budget.spec;
    let (expected, desired) = match (spec.max_unavailable, spec.min_available) {
        (Some(away), _) => {
            let expected = wanted()?;
            (expected, expected.saturating_sub(away.of(expected, Round::Up)).max(0))
        }
        // A plain number asks no controller: it also covers pods without one.
        (None, Some(IntOrPercent::Int(least))) => (kit::count(seen.pods.iter()), least),
        (None, Some(share)) => {
            let expected = wanted()?;
            (expected, share.of(expected, Round::Up))
        }
        (None, None) => (kit::count(seen.pods.iter()), 0),
    };
    Ok(Bounds { expected, desired })
}

fn judged(seen: &Observed, Bounds { expected, desired }: Bounds, now: Time, plan: &mut Plan) -> Value {
    let budget = &*seen.budget;
    let disrupted = disrupted(seen, now, plan);
    let is_leaving = |pod: &Pod| pod.metadata.is_terminating() || disrupted.contains_key(&pod.metadata.name);
    let healthy = kit::count(seen.pods.iter().filter(|p| p.is_ready() && !is_leaving(p)));
    let allowed = if expected <= 0 { 0 } else { healthy.saturating_sub(desired).max(0) };
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    json!({
        "observedGeneration": budget.metadata.generation,
        "disruptedPods": if disrupted.is_empty() { Value::Null } else { json!(disrupted) },
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": conditions(budget, budget.metadata.generation, (status, reason, ""), now),
    })
}

/// Nothing may be evicted while it is not known what is wanted; the rest stays as it was (upstream's fail-safe).
fn failed(budget: &PodDisruptionBudget, why: &str, now: Time) -> Value {
    let mut status = status_of(budget);
    status["disruptionsAllowed"] = json!(0);
    status["conditions"] =
        conditions(budget, budget.status.observed_generation, ("False", "SyncFailed", why), now);
    status
}

/// The granted evictions that still count: of pods that are there and not yet terminating, for so long.
fn disrupted(seen: &Observed, now: Time, plan: &mut Plan) -> BTreeMap<String, Time> {
    let mut kept = BTreeMap::new();
    let pods = seen.pods.iter().filter(|p| !p.metadata.is_terminating());
    for pod in pods {
        let name = &pod.metadata.name;
        let Some(granted) = seen.budget.status.disrupted_pods.get(name) else { continue };
        let until = *granted + DISRUPTION_LASTS;
        if until > now {
            plan.wake_at(until);
            kept.insert(name.clone(), *granted);
        } else {
            let message = "Pod was expected by PDB to be deleted but it wasn't";
            let note = Note::new(Severity::Warning, "NotDeleted", message);
            plan.note(Note { about: Some(Target::of(&**pod)), ..note });
        }
    }
    kept
}

/// `said` is status, reason and message.
fn conditions(budget: &PodDisruptionBudget, generation: i64, said: (&str, &str, &str), now: Time) -> Value {
    let (status, reason, message) = said;
    let mut all = budget.status.conditions.clone();
    set_condition(
        &mut all,
        Condition {
            r#type: ALLOWED.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: Some(generation),
            last_transition_time: Some(now),
            ..Condition::default()
        },
    );
    let mut list = json!(all);
    for condition in list.as_array_mut().into_iter().flatten().filter(|c| c["type"] == ALLOWED) {
        // Required by the API, also when there is nothing to say.
        condition["message"] = json!(message);
    }
    list
}

fn status_of(budget: &PodDisruptionBudget) -> Value {
    let status = &budget.status;
    let mut conditions = json!(status.conditions);
    for condition in conditions.as_array_mut().into_iter().flatten().filter(|c| c["message"].is_null()) {
        condition["message"] = json!("");
    }
    json!({
        "observedGeneration": status.observed_generation,
        "disruptedPods": if status.disrupted_pods.is_empty() { Value::Null } else { json!(status.disrupted_pods) },
        "disruptionsAllowed": status.disruptions_allowed,
        "currentHealthy": status.current_healthy,
        "desiredHealthy": status.desired_healthy,
        "expectedPods": status.expected_pods,
        "conditions": conditions,
    })
}

/// The API wants all counts once there is a status.
fn restate_counts(change: &mut Value, new: &Value) {
    for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        change[field] = new[field].clone();
    }
}

/// Whether the budget asks controllers about pods that have none.
fn misses_pods(seen: &Observed) -> bool {
    let spec = &seen.budget.spec;
    let asks = spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrPercent::Percent(_)));
    asks && !seen.scale.unmanaged.is_empty()
}

fn unmanaged(seen: &Observed) -> Note {
    let message = format!(
        "Pods selected by this PodDisruptionBudget were found to be unmanaged: {}. As a result, the status of the PDB \
         cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \
         \".spec.minAvailable\" field of the PDB to an integer value.",
        seen.scale.unmanaged.join(", ")
    );
    Note::new(Severity::Warning, "UnmanagedPods", message)
}
