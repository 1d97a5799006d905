//! The status of PodUnavailableBudgets: how many pods may become unavailable now.
//!
//! Who lets a pod go (admission) takes from `unavailableAllowed` and notes the pod; here the notes are forgotten once the
//! mirrors show the pod away, or after a while. The status is written only in the version seen, so that nothing taken
//! meanwhile comes back.

use std::sync::Arc;

use api_core::{Deployment, Pod, ReplicaSet, StatefulSet};
use api_meta::{Object, ObjectKey};
use api_workload::{CloneSet, InPlaceSet, PodUnavailableBudget, PodUnavailableBudgetSpec};
use reconcile::{Action, Note, Permission, Plan, Severity, Target, Thinker, Watch, World};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use stdx::Time;

use crate::budgets::{self, DISRUPTED_MAX};

/// Keeps the status of PodUnavailableBudgets.
pub struct Budgets;

/// A budget, its pods, and how many are wanted.
pub struct Observed {
    budget: Arc<PodUnavailableBudget>,
    spec: Result<PodUnavailableBudgetSpec, String>,
    pods: Vec<Arc<Pod>>,
    total: i32,
}

impl Thinker for Budgets {
    type Primary = PodUnavailableBudget;
    type Observed = Observed;
    const NAME: &'static str = "podunavailablebudget";

    fn watches() -> Vec<Watch> {
        vec![
            Watch::mapped::<Pod>(in_namespace_of),
            Watch::mapped::<Deployment>(in_namespace_of),
            Watch::mapped::<ReplicaSet>(in_namespace_of),
            Watch::mapped::<StatefulSet>(in_namespace_of),
            Watch::mapped::<CloneSet>(in_namespace_of),
            Watch::mapped::<InPlaceSet>(in_namespace_of),
        ]
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission {
                group: "policy.kruise.io",
                resource: "podunavailablebudgets/status",
                verbs: &["patch"],
            },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let budget = world.cache::<PodUnavailableBudget>().get(key)?.clone();
        let spec = match budget.read_spec() {
            Ok(spec) => spec,
            Err(causes) => {
                let told = causes.first().map(|c| format!("{}: {}", c.field, c.message)).unwrap_or_default();
                return Some(Observed { budget, spec: Err(told), pods: Vec::new(), total: 0 });
            }
        };
        let all = world.cache::<Pod>().in_namespace(&key.namespace);
        let pods: Vec<Arc<Pod>> = all.filter(|p| budgets::covers(world, &spec, p)).cloned().collect();
        let refs: Vec<&Pod> = pods.iter().map(|p| &**p).collect();
        let total = budgets::wanted(world, &spec, &key.namespace, &refs);
        Some(Observed { budget, spec: Ok(spec), pods, total })
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        let mut plan = Plan::new();
        let spec = match &seen.spec {
            Ok(spec) => spec,
            Err(why) => {
                plan.note(Note::new(Severity::Warning, "Invalid", format!("protects nothing: {why}")));
                return plan;
            }
        };
        let status = &seen.budget.status;
        let mut fresh = (*seen.budget).clone();
        let pods: BTreeMap<&str, &Pod> = seen.pods.iter().map(|p| (&*p.metadata.name, &**p)).collect();
        let is_new = |at: &Time| now.since(*at) < DISRUPTED_MAX;
        let is_staying = |name: &String| pods.get(&**name).is_some_and(|p| p.is_active());
        let is_serving = |name: &String| pods.get(&**name).is_some_and(|p| budgets::is_serving(p));
        fresh.status.disrupted_pods.retain(|name, at| is_new(at) && is_staying(name));
        fresh.status.unavailable_pods.retain(|name, at| is_new(at) && is_serving(name));
        let standing = budgets::count(&fresh, spec, seen.total, seen.pods.iter().map(|p| &**p), now);
        fresh.status.observed_generation = seen.budget.metadata.generation;
        fresh.status.unavailable_allowed = standing.allowed().max(0);
        fresh.status.current_available = standing.available;
        fresh.status.desired_available = standing.desired;
        fresh.status.total_replicas = standing.total;
        let noted = fresh.status.disrupted_pods.values().chain(fresh.status.unavailable_pods.values());
        noted.for_each(|at| plan.wake_at(*at + DISRUPTED_MAX));
        if fresh.status != *status {
            plan.act(Action::status(Target::at(&*seen.budget), patch(status, &fresh.status)));
        }
        plan
    }
}

/// A merge patch from one status to the other: notes that are forgotten are taken away by name.
fn patch(
    old: &api_workload::unavailable_budget::PodUnavailableBudgetStatus,
    new: &api_workload::unavailable_budget::PodUnavailableBudgetStatus,
) -> Value {
    let notes = |old: &BTreeMap<String, Time>, new: &BTreeMap<String, Time>| -> Map<String, Value> {
        let gone = old.keys().filter(|k| !new.contains_key(*k)).map(|k| (k.clone(), Value::Null));
        gone.chain(new.iter().map(|(k, v)| (k.clone(), json!(v)))).collect()
    };
    json!({
        "observedGeneration": new.observed_generation,
        "unavailableAllowed": new.unavailable_allowed,
        "currentAvailable": new.current_available,
        "desiredAvailable": new.desired_available,
        "totalReplicas": new.total_replicas,
        "disruptedPods": notes(&old.disrupted_pods, &new.disrupted_pods),
        "unavailablePods": notes(&old.unavailable_pods, &new.unavailable_pods),
    })
}

/// The budgets of a namespace: few, and a pod may be covered by way of its workload.
fn in_namespace_of<T: Object>(world: &World, object: &T) -> Vec<ObjectKey> {
    let budgets = world.cache::<PodUnavailableBudget>().in_namespace(&object.meta().namespace);
    budgets.map(|b| b.metadata.key()).collect()
}
