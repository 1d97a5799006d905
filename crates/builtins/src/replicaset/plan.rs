//! What a ReplicaSet does next.

use std::sync::Arc;
use std::time::Duration;

use api_core::{Pod, ReplicaSet};
use api_meta::Object;
use reconcile::{Action, Note, Plan, Risk, Severity, Target};
use serde_json::{Value, json};
use stdx::Time;

use crate::kit::{self, Leave, fence};
use crate::replicaset::{Observed, status};

/// Pods created or deleted in one plan (as upstream).
pub(crate) const BURST: usize = 500;

/// The operation under which surplus pods are asked out of service.
const SCALE_IN: &str = "scale-in";

/// The pods of a set that count, by state.
pub(crate) struct Census {
    /// Neither ended nor terminating.
    pub active: Vec<Arc<Pod>>,
    /// Terminating and not ended.
    pub terminating: i32,
    /// Pods wanted.
    pub wanted: usize,
    /// Active pods that are to go: those that are on their way out already come first, so that no other has to.
    pub doomed: Vec<Arc<Pod>>,
}

impl Census {
    fn of(seen: &Observed, now: Time) -> Census {
        let kept = &seen.claims.kept;
        let mut census = Census {
            doomed: Vec::new(),
            active: kept.iter().chain(&seen.claims.adopted).filter(|p| p.is_active()).cloned().collect(),
            terminating: kit::count(kept.iter().filter(|p| p.metadata.is_terminating() && !p.is_finished())),
            wanted: usize::try_from(seen.set.spec.replicas.unwrap_or(1)).unwrap_or(0),
        };
        let surplus = census.active.len().saturating_sub(census.wanted).min(BURST);
        if surplus > 0 && !seen.set.metadata.is_terminating() {
            census.doomed = kit::doomed_first(&census.active, &seen.crowds, now);
            census.doomed.sort_by_key(|pod| !kit::is_asked(pod, SCALE_IN));
            census.doomed.truncate(surplus);
        }
        census
    }
}

pub(crate) fn plan(seen: &Observed, now: Time) -> Plan {
    let census = Census::of(seen, now);
    let mut plan = Plan::new();
    // The status first: it tells what is seen, whatever becomes of the rest.
    if let Some(patch) = status::patch(seen, &census, now) {
        plan.act(Action::Patch {
            target: Target::of(&*seen.set),
            subresource: "status",
            form: reconcile::Form::Merge,
            body: patch,
            risk: Risk::None,
        });
    }
    wake_for_availability(seen, &census, now, &mut plan);
    if seen.set.metadata.is_terminating() {
        return plan;
    }
    seen.claims.actions(&*seen.set).into_iter().for_each(|a| plan.act(a));
    if census.active.len() < census.wanted {
        create(seen, census.wanted - census.active.len(), &mut plan);
    }
    keep(&census, &mut plan);
    delete(&census, now, &mut plan);
    plan
}

fn create(seen: &Observed, missing: usize, plan: &mut Plan) {
    let set = &*seen.set;
    let meta = &set.metadata;
    let names = (0..).map(|slot| kit::pod_name(&meta.name, &meta.uid, &meta.resource_version, slot));
    for name in names.filter(|n| !seen.taken.contains(n)).take(missing.min(BURST)) {
        let note = Note::new(Severity::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
        plan.act_noting(Action::Create { resource: Pod::RESOURCE, body: pod(set, &name) }, note);
    }
}

/// A pod of the set's template.
fn pod(set: &ReplicaSet, name: &str) -> Value {
    let template = &set.spec.template;
    let mut metadata = json!({
        "name": name,
        "generateName": format!("{}-", set.metadata.name),
        "namespace": set.metadata.namespace,
        "ownerReferences": [kit::owner_reference(set)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field).filter(|v| !v.is_null()) {
            metadata[field] = value.clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// Takes the request back from pods that are to stay after all.
fn keep(census: &Census, plan: &mut Plan) {
    let is_doomed = |pod: &Pod| census.doomed.iter().any(|doomed| doomed.metadata.uid == pod.metadata.uid);
    let asked = census.active.iter().filter(|pod| kit::is_asked(pod, SCALE_IN));
    for pod in asked.filter(|pod| !is_doomed(pod)) {
        plan.actions.extend(Leave::withdrawn(pod, SCALE_IN));
    }
}

/// Deletes pods that nobody sends traffic to, and asks the others out of service first.
fn delete(census: &Census, now: Time, plan: &mut Plan) {
    for pod in &census.doomed {
        match Leave::of(pod, SCALE_IN, now) {
            Leave::Free => remove(pod, plan),
            Leave::Ask => plan.act(Leave::ask(pod, SCALE_IN, now)),
            Leave::Waits(due) => due.into_iter().for_each(|at| plan.wake_at(at)),
            Leave::Held(by) => {
                let name = &pod.metadata.name;
                let message = format!(
                    "pod {name} is not deleted: its drain is overdue and waits for {}",
                    by.join(", ")
                );
                plan.note(Note::new(Severity::Why, "DrainOverdue", message));
            }
        }
    }
}

fn remove(pod: &Pod, plan: &mut Plan) {
    let message = format!("Deleted pod: {}", pod.metadata.name);
    let action =
        Action::Delete { target: fence(pod), grace_seconds: None, propagation: None, risk: Risk::RemovePod };
    plan.act_noting(action, Note::new(Severity::Normal, "SuccessfulDelete", message));
}

/// A ready pod becomes available by the passing of time alone.
fn wake_for_availability(seen: &Observed, census: &Census, now: Time, plan: &mut Plan) {
    let wait = Duration::from_secs(u64::try_from(seen.set.spec.min_ready_seconds).unwrap_or(0));
    let ready_at = |pod: &Pod| pod.condition("Ready").filter(|c| c.status == "True")?.last_transition_time;
    let times = census.active.iter().filter_map(|p| ready_at(p)).map(|at| at + wait);
    for at in times.filter(|at| *at > now) {
        plan.wake_at(at);
    }
}
