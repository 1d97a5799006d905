//! Disruption budgets of Kubernetes and OpenKruise, judged from the mirrors and the ledger.
//!
//! Their status is not read for the counts: it is written by another controller, later than our grants. What it alone
//! knows is which pods somebody else was allowed to evict: those count as gone.

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::{Pod, PodDisruptionBudget, ReplicaSet};
use api_meta::{IntOrPercent, LabelSelector, ObjectKey, OwnerReference, Round, Selector};
use api_workload::unavailable_budget::{NO_PROTECT, Operation, TargetReference, UNAVAILABLE_LABEL_PREFIX};
use api_workload::{CloneSet, InPlaceSet, PodUnavailableBudget, PodUnavailableBudgetSpec};
use reconcile::{Cache, Risk, World};
use stdx::Time;

use crate::census::{is_available, workload};
use crate::ledger::Ledger;

/// How long an eviction that a budget remembers counts while its pod does not go (kube-controller-manager: two minutes).
pub(crate) const EVICTED_MAX: Duration = Duration::from_secs(120);
/// The same for a PodUnavailableBudget's deletions (OpenKruise: twenty seconds).
pub(crate) const DISRUPTED_MAX: Duration = Duration::from_secs(20);

/// A budget in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `Kind namespace/name`.
    pub name: String,
    /// Pods that its shares are of.
    pub total: i32,
    /// Pods that serve now.
    pub available: i32,
    /// Pods that must serve.
    pub desired: i32,
}

impl Standing {
    /// Pods that may go now.
    pub fn allowed(&self) -> i32 {
        self.available - self.desired
    }

    /// Why one more pod may not go.
    pub fn refusal(&self) -> String {
        let Standing { name, total, available, desired } = self;
        format!(
            "{name}: {available} of {total} pods are available and {desired} must stay; waits until one more is"
        )
    }
}

/// Whether a namespace has any budget at all.
pub(crate) fn is_any(world: &World, namespace: &str) -> bool {
    world.cache::<PodDisruptionBudget>().in_namespace(namespace).next().is_some()
        || world.cache::<PodUnavailableBudget>().in_namespace(namespace).next().is_some()
}

/// The first budget that one more disruption of an available pod would break.
pub(crate) fn broken_by(
    world: &World,
    pod: &Pod,
    risk: Risk,
    ledger: &Ledger,
    now: Time,
) -> Option<Standing> {
    let of_kubernetes = disruption_budgets(world, pod).map(|b| stand(world, b, ledger, now));
    let of_kruise =
        unavailable_budgets(world, pod, risk).map(|(b, spec)| judge(world, b, &spec, ledger, now));
    of_kubernetes.flatten().chain(of_kruise).find(|standing| standing.desired > 0 && standing.allowed() < 1)
}

fn disruption_budgets<'a>(world: &'a World, pod: &'a Pod) -> impl Iterator<Item = &'a PodDisruptionBudget> {
    let all = world.cache::<PodDisruptionBudget>().in_namespace(&pod.metadata.namespace);
    all.map(|b| &**b)
        .filter(|b| selector(b.spec.selector.as_ref()).is_some_and(|s| s.matches(&pod.metadata.labels)))
}

fn selector(selector: Option<&LabelSelector>) -> Option<Selector> {
    // One that cannot be read selects nothing; the API server refuses it.
    selector?.selector().ok()
}

/// A PodDisruptionBudget in numbers; nothing when its selector cannot be read.
pub(crate) fn stand(
    world: &World,
    budget: &PodDisruptionBudget,
    ledger: &Ledger,
    now: Time,
) -> Option<Standing> {
    let selector = selector(budget.spec.selector.as_ref())?;
    let pods: Vec<&Pod> = world
        .cache::<Pod>()
        .in_namespace(&budget.metadata.namespace)
        .map(|p| &**p)
        .filter(|p| selector.matches(&p.metadata.labels))
        .collect();
    let evicted = |pod: &Pod| {
        let at = budget.status.disrupted_pods.get(&pod.metadata.name);
        at.is_some_and(|at| now.since(*at) < EVICTED_MAX)
    };
    let available = pods.iter().filter(|p| is_available(p, ledger) && !evicted(p)).count();
    let total = match budget.spec.min_available {
        Some(IntOrPercent::Int(_)) => number(pods.iter().filter(|p| p.is_active()).count()),
        _ => total(world, &pods),
    };
    let desired = match (budget.spec.max_unavailable, budget.spec.min_available) {
        (Some(max), _) => (total - max.of(total, Round::Up)).max(0),
        (None, Some(min)) => min.of(total, Round::Up),
        (None, None) => 0,
    };
    let name = format!("PodDisruptionBudget {}", budget.metadata.key());
    Some(Standing { name, total, available: number(available), desired })
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// What the owners of the pods want together; pods of owners whose wish is unknown count one by one.
fn total(world: &World, pods: &[&Pod]) -> i32 {
    let mut owners: BTreeMap<String, i32> = BTreeMap::new();
    let mut others = 0;
    for pod in pods {
        match workload(world, pod) {
            Some(owner) if owner.wanted.is_some() => {
                owners.insert(owner.uid, owner.wanted.unwrap_or(0));
            }
            _ => others += i32::from(pod.is_active()),
        }
    }
    owners.values().sum::<i32>() + others
}

/// The PodUnavailableBudgets that protect a pod against such an action.
fn unavailable_budgets<'a>(
    world: &'a World,
    pod: &'a Pod,
    risk: Risk,
) -> impl Iterator<Item = (&'a PodUnavailableBudget, PodUnavailableBudgetSpec)> {
    let operation = if risk == Risk::Restart { Operation::Update } else { Operation::Delete };
    let all = world.cache::<PodUnavailableBudget>().in_namespace(&pod.metadata.namespace);
    all.filter_map(move |budget| {
        let spec = budget.read_spec().ok()?;
        (spec.protects(operation) && covers(world, &spec, pod)).then_some((&**budget, spec))
    })
}

/// Whether a budget protects a pod at all.
pub(crate) fn covers(world: &World, spec: &PodUnavailableBudgetSpec, pod: &Pod) -> bool {
    let labels = &pod.metadata.labels;
    if pod.metadata.annotations.get(NO_PROTECT).is_some_and(|v| v == "true")
        || selector(spec.ignored_pod_selector.as_ref()).is_some_and(|s| s.matches(labels))
    {
        return false;
    }
    match (&spec.selector, &spec.target_ref) {
        (Some(labels_of), _) => selector(Some(labels_of)).is_some_and(|s| s.matches(labels)),
        (None, Some(target)) => {
            let own = pod.metadata.controller();
            let parent = workload(world, pod).and_then(|w| w.parent);
            own.into_iter().chain(&parent).any(|owner| is_named(owner, target))
        }
        (None, None) => false,
    }
}

fn is_named(owner: &OwnerReference, target: &TargetReference) -> bool {
    let group = |v: &str| v.split_once('/').map_or("", |(g, _)| g).to_owned();
    owner.kind == target.kind
        && owner.name == target.name
        && group(&owner.api_version) == group(&target.api_version)
}

/// A PodUnavailableBudget in numbers.
fn judge(
    world: &World,
    budget: &PodUnavailableBudget,
    spec: &PodUnavailableBudgetSpec,
    ledger: &Ledger,
    now: Time,
) -> Standing {
    let pods = pods_of(world, budget, spec);
    let total = wanted(world, spec, &budget.metadata.namespace, &pods);
    let pods = pods.into_iter().filter(|p| !ledger.holds(&p.metadata.uid));
    count(budget, spec, total, pods, now)
}

/// A PodUnavailableBudget in numbers, over its pods and what their workload wants.
pub(crate) fn count<'a>(
    budget: &PodUnavailableBudget,
    spec: &PodUnavailableBudgetSpec,
    total: i32,
    pods: impl Iterator<Item = &'a Pod>,
    now: Time,
) -> Standing {
    let status = &budget.status;
    let is_noted = |pod: &Pod| {
        let noted = status.disrupted_pods.get(&pod.metadata.name);
        let noted = noted.or(status.unavailable_pods.get(&pod.metadata.name));
        noted.is_some_and(|at| now.since(*at) < DISRUPTED_MAX)
    };
    let available = number(pods.filter(|p| is_serving(p) && !is_noted(p)).count());
    let desired = match (spec.max_unavailable, spec.min_available) {
        (Some(max), _) => (total - max.of(total, Round::Up)).max(0),
        (None, Some(min)) => min.of(total, Round::Up),
        (None, None) => 0,
    };
    Standing { name: format!("PodUnavailableBudget {}", budget.metadata.key()), total, available, desired }
}

/// The pods that a budget covers.
pub(crate) fn pods_of<'a>(
    world: &'a World,
    budget: &'a PodUnavailableBudget,
    spec: &PodUnavailableBudgetSpec,
) -> Vec<&'a Pod> {
    let all = world.cache::<Pod>().in_namespace(&budget.metadata.namespace);
    all.map(|p| &**p).filter(|p| covers(world, spec, p)).collect()
}

/// Whether a pod serves, as OpenKruise counts: labels may take it out.
pub(crate) fn is_serving(pod: &Pod) -> bool {
    pod.is_active()
        && pod.is_ready()
        && !pod.metadata.labels.keys().any(|k| k.starts_with(UNAVAILABLE_LABEL_PREFIX))
}

/// Pods wanted: as the budget says; of the target by name, even when it has no pod; else what the pods' owners want.
pub(crate) fn wanted(world: &World, spec: &PodUnavailableBudgetSpec, namespace: &str, pods: &[&Pod]) -> i32 {
    if let Some(total) = spec.protect_total_replicas {
        return total;
    }
    let Some(target) = &spec.target_ref else { return total(world, pods) };
    let key = ObjectKey::new(namespace, &*target.name);
    let count = |spec: &serde_json::Value| {
        spec["replicas"].as_i64().map_or(1, |n| i32::try_from(n).unwrap_or(i32::MAX))
    };
    let found = match target.kind.as_str() {
        "CloneSet" => find(world.cache::<CloneSet>(), &key, |s| count(&s.spec)),
        "InPlaceSet" => find(world.cache::<InPlaceSet>(), &key, |s| count(&s.spec)),
        "ReplicaSet" => find(world.cache::<ReplicaSet>(), &key, |s| s.spec.replicas.unwrap_or(1)),
        _ => None,
    };
    found.unwrap_or_else(|| total(world, pods))
}

fn find<T: api_meta::Object>(cache: &Cache<T>, key: &ObjectKey, count: impl Fn(&T) -> i32) -> Option<i32> {
    cache.get(key).map(|set| count(set))
}
