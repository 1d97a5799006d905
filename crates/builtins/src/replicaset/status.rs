//! What a ReplicaSet reports.

use std::collections::BTreeSet;

use api_meta::{Condition, Requirement, Selector, set_condition};
use reconcile::Verb;
use serde_json::{Value, json};
use stdx::Time;

use crate::kit;
use crate::replicaset::Observed;
use crate::replicaset::plan::Census;

/// The merge patch that brings the status up to date; nothing when it is.
pub(crate) fn patch(seen: &Observed, census: &Census, now: Time) -> Option<Value> {
    let set = &*seen.set;
    let labels = template_labels(&set.spec.template);
    let active = || census.active.iter();
    // A pod that is about to be deleted is there, but nobody may count on it any more.
    let doomed: BTreeSet<&str> = census.doomed.iter().map(|pod| &*pod.metadata.uid).collect();
    let staying = || active().filter(|pod| !doomed.contains(&*pod.metadata.uid));
    let mut conditions = set.status.conditions.clone();
    match failure(seen) {
        Some(new) if conditions.iter().all(|c| c.r#type != "ReplicaFailure") => {
            set_condition(&mut conditions, Condition { last_transition_time: Some(now), ..new });
        }
        Some(_) => {}
        None => conditions.retain(|c| c.r#type != "ReplicaFailure"),
    }
    let new = json!({
        "replicas": active().len(),
        "fullyLabeledReplicas": kit::counted(kit::count(active().filter(|p| labels.matches(&p.metadata.labels)))),
        "readyReplicas": kit::counted(kit::count(staying().filter(|p| p.is_ready()))),
        "availableReplicas":
            kit::counted(kit::count(staying().filter(|p| p.is_available(set.spec.min_ready_seconds, now)))),
        "terminatingReplicas": census.terminating,
        "observedGeneration": kit_generation(set.metadata.generation),
        "conditions": if conditions.is_empty() { Value::Null } else { json!(conditions) },
    });
    let status = &set.status;
    let old = json!({
        "replicas": status.replicas,
        "fullyLabeledReplicas": kit::counted(status.fully_labeled_replicas),
        "readyReplicas": kit::counted(status.ready_replicas),
        "availableReplicas": kit::counted(status.available_replicas),
        "terminatingReplicas": status.terminating_replicas,
        "observedGeneration": kit_generation(status.observed_generation),
        "conditions": if status.conditions.is_empty() { Value::Null } else { json!(status.conditions) },
    });
    kit::difference(&old, &new).map(|change| json!({ "status": change }))
}

fn kit_generation(generation: i64) -> Value {
    if generation == 0 { Value::Null } else { json!(generation) }
}

/// The condition that a failed creation or deletion calls for.
fn failure(seen: &Observed) -> Option<Condition> {
    let failure = seen.failure.as_ref()?;
    let reason = match failure.verb {
        Verb::Create => "FailedCreate",
        Verb::Delete => "FailedDelete",
        Verb::Require | Verb::Patch => return None,
    };
    Some(Condition {
        r#type: "ReplicaFailure".to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: failure.message.clone(),
        ..Condition::default()
    })
}

fn template_labels(template: &Value) -> Selector {
    let labels = template["metadata"]["labels"].as_object().into_iter().flatten();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    Selector(labels.map(|(key, value)| Requirement::In(key.clone(), vec![text(value)])).collect())
}
