//! PodUnavailableBudgets: a pod that serves is deleted, evicted, changed or resized only while its budget allows it.
//!
//! Who is let through takes one from `status.unavailableAllowed` and is noted there; the budget's controller counts anew
//! what it sees. As OpenKruise's webhook, it judges everybody, controllers as well; a budget of which nothing must stay
//! available (its workload is gone) protects nothing.

use std::sync::Arc;
use std::time::Duration;

use api_meta::{LabelSelector, OwnerReference, Reason, Status, StatusDetails};
use api_workload::PodUnavailableBudget;
use api_workload::unavailable_budget::{
    NO_PROTECT, Operation, PodUnavailableBudgetSpec, UNAVAILABLE_LABEL_PREFIX,
};
use serde::Deserialize;
use serde_json::{Value, json};
use stdx::Time;
use store::{Key, KeyRange};

use crate::pipeline::metadata;
use crate::refuse::{Outcome, Refusal, cause, forbidden, internal};
use crate::registry::Served;
use crate::server::{ApiServer, Call};
use crate::stored;
use crate::verbs::{Change, Retry, change};

const BUDGETS: &str = "podunavailablebudgets.policy.kruise.io";
/// How long a pod that was let through is not asked again (OpenKruise: twenty seconds).
const NOTED_MAX: Duration = Duration::from_secs(20);
/// Pods that a budget notes at a time (OpenKruise: 2000).
const NOTED_COUNT_MAX: usize = 2_000;
/// When a refused request is worth another try.
const WAIT_SECS: i32 = 5;

/// Whether the namespace of a request has any budget.
pub(crate) fn is_any(call: &Call) -> bool {
    let namespace = Some(call.target.namespace.as_str().into());
    call.server.store.count(&KeyRange { resource: BUDGETS.into(), namespace }) > 0
}

/// Lets an operation on a pod through, at its budgets' cost.
pub(crate) async fn admit(
    call: &Call,
    pods: &Served,
    pod: &Value,
    operation: Operation,
    dry_run: bool,
) -> Outcome<()> {
    if !is_serving(pod) || pod["metadata"]["annotations"][NO_PROTECT] == "true" {
        return Ok(());
    }
    for budget in covering(&call.server, pod, operation)? {
        spend(call, pods, &budget, pod, operation, dry_run).await?;
    }
    Ok(())
}

/// What a change of a pod is, if it can take it out of service.
pub(crate) fn operation(subresource: &str, new: &Value, old: &Value) -> Option<Operation> {
    let marks = |pod: &Value| -> Vec<String> {
        let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
        labels.filter(|(k, _)| k.starts_with(UNAVAILABLE_LABEL_PREFIX)).map(|(k, _)| k.clone()).collect()
    };
    match subresource {
        "resize" => (new["spec"] != old["spec"]).then_some(Operation::Resize),
        "" => {
            let is_marked = marks(new).iter().any(|mark| !marks(old).contains(mark));
            (is_marked || images(new) != images(old)).then_some(Operation::Update)
        }
        _ => None,
    }
}

/// Of a pod's spec only images change the process; other mutable fields (tolerations, deadlines) do not.
fn images(pod: &Value) -> Vec<&Value> {
    let lists = ["initContainers", "containers"].map(|l| pod["spec"][l].as_array());
    lists.into_iter().flatten().flatten().map(|c| &c["image"]).collect()
}

fn is_serving(pod: &Value) -> bool {
    let is_ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
    let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
    super::protect::is_active(pod)
        && pod["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(is_ready))
        && !labels.into_iter().any(|(k, _)| k.starts_with(UNAVAILABLE_LABEL_PREFIX))
}

/// The budgets that protect a pod against an operation.
fn covering(server: &ApiServer, pod: &Value, operation: Operation) -> Outcome<Vec<Value>> {
    let namespace = metadata::text(pod, "namespace");
    let range = KeyRange { resource: BUDGETS.into(), namespace: Some(namespace.into()) };
    if server.store.count(&range) == 0 {
        return Ok(Vec::new());
    }
    let page = server.store.list(&range, None, None, 0, None).map_err(internal)?;
    let mut found = Vec::new();
    for item in &page.items {
        let object = stored::decode(item)?;
        let Ok(budget) = PodUnavailableBudget::deserialize(&object) else { continue };
        // One with mistakes protects nothing; its controller says so.
        let Ok(spec) = budget.read_spec() else { continue };
        if spec.protects(operation) && covers(server, &spec, pod)? {
            found.push(object);
        }
    }
    Ok(found)
}

fn covers(server: &ApiServer, spec: &PodUnavailableBudgetSpec, pod: &Value) -> Outcome<bool> {
    if spec.ignored_pod_selector.as_ref().is_some_and(|s| selects(s, pod)) {
        return Ok(false);
    }
    if let Some(selector) = &spec.selector {
        return Ok(selects(selector, pod));
    }
    let Some(target) = &spec.target_ref else { return Ok(false) };
    let is_target = |o: &OwnerReference| {
        let group = |v: &str| v.split_once('/').map_or("", |(g, _)| g).to_owned();
        o.kind == target.kind && o.name == target.name && group(&o.api_version) == group(&target.api_version)
    };
    let Some(owner) = owner(pod) else { return Ok(false) };
    if is_target(&owner) {
        return Ok(true);
    }
    let set = match owner.kind.as_str() {
        "ReplicaSet" => "replicasets.apps",
        "CloneSet" => "clonesets.apps.kruise.io",
        "InPlaceSet" => "inplacesets.apps.cafe.cloud.alipay.com",
        _ => return Ok(false),
    };
    let key = Key::new(set, metadata::text(pod, "namespace"), owner.name.as_str());
    let Some(found) = server.store.get(&key) else { return Ok(false) };
    Ok(self::owner(&stored::decode(&found)?).is_some_and(|o| is_target(&o)))
}

fn owner(object: &Value) -> Option<OwnerReference> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|o| o["controller"] == true)?;
    OwnerReference::deserialize(owner).ok()
}

fn selects(selector: &LabelSelector, pod: &Value) -> bool {
    let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
    let labels: std::collections::BTreeMap<String, String> =
        labels.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect();
    selector.selector().is_ok_and(|s| s.matches(&labels))
}

/// Takes one from a budget and notes the pod in it.
async fn spend(
    call: &Call,
    pods: &Served,
    budget: &Value,
    pod: &Value,
    operation: Operation,
    dry_run: bool,
) -> Outcome<()> {
    let version = metadata_version(budget);
    let budgets: &Arc<Served> = match call.snapshot.get("policy.kruise.io", &version, "podunavailablebudgets")
    {
        Some(served) => served,
        // The definition is going, and its objects with it.
        None => return Ok(()),
    };
    let now = call.server.env.now();
    let name = metadata::text(pod, "name");
    let how = Change {
        name: metadata::text(budget, "name"),
        subresource: "status",
        manager: "kube-apiserver",
        retry: Retry::Again,
        dry_run,
        uid: None,
    };
    let spent = change(call, budgets, how, |old| {
        let mut new = old.clone();
        metadata::of(&mut new).remove("resourceVersion");
        let status = &old["status"];
        let is_noted =
            ["disruptedPods", "unavailablePods"].iter().any(|list| is_fresh(&status[*list][name], now));
        let is_judged = status["observedGeneration"].as_i64().unwrap_or(0)
            >= old["metadata"]["generation"].as_i64().unwrap_or(0);
        if is_noted || (is_judged && status["desiredAvailable"].as_i64().unwrap_or(0) == 0) {
            return Ok(new);
        }
        check(pods, old, name, operation, is_judged)?;
        let list = match operation {
            Operation::Delete | Operation::Evict => "disruptedPods",
            Operation::Update | Operation::Resize => "unavailablePods",
        };
        new["status"][list][name] = json!(now.to_string());
        new["status"]["unavailableAllowed"] = json!(status["unavailableAllowed"].as_i64().unwrap_or(0) - 1);
        Ok(new)
    });
    // A change of a budget is a change within a change: never of a pod, so it goes no deeper.
    Box::pin(spent).await.map(drop)
}

fn metadata_version(budget: &Value) -> String {
    let version = budget["apiVersion"].as_str().unwrap_or_default();
    version.split_once('/').map_or(version, |(_, v)| v).to_owned()
}

fn is_fresh(noted: &Value, now: Time) -> bool {
    let at = noted.as_str().and_then(|t| t.parse::<Time>().ok());
    at.is_some_and(|at| now.since(at) < NOTED_MAX)
}

/// Whether a budget has something left.
fn check(pods: &Served, budget: &Value, pod: &str, operation: Operation, is_judged: bool) -> Outcome<()> {
    let status = &budget["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let noted = ["disruptedPods", "unavailablePods"].map(|l| status[l].as_object().map_or(0, |m| m.len()));
    let name = metadata::text(budget, "name");
    let why = if !is_judged {
        format!("the unavailable budget {name} has not been counted yet")
    } else if noted.iter().sum::<usize>() >= NOTED_COUNT_MAX {
        format!("the unavailable budget {name} has {NOTED_COUNT_MAX} pods on their way out")
    } else if count("unavailableAllowed") < 1 {
        format!(
            "the unavailable budget {name} keeps {} of {} pods available and {} are: no more may become unavailable now",
            count("desiredAvailable"),
            count("totalReplicas"),
            count("currentAvailable"),
        )
    } else {
        return Ok(());
    };
    Err(refusal(pods, pod, operation, why))
}

fn refusal(pods: &Served, pod: &str, operation: Operation, why: String) -> Box<Refusal> {
    if operation != Operation::Evict {
        return forbidden(&pods.resource, pod, &why);
    }
    let causes = vec![cause("DisruptionBudget", "", why)];
    let details = StatusDetails { causes, retry_after_seconds: Some(WAIT_SECS), ..StatusDetails::default() };
    let message = "Cannot evict pod as it would violate the pod's unavailable budget.";
    Status::failure(Reason::TooManyRequests, message).with_details(details).into()
}
