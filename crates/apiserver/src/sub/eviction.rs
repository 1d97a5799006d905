//! Eviction: a deletion that respects disruption budgets, and takes the pod out of service first.
//!
//! ```text
//! budgets allow ─> spent ─> no traffic component protects the pod ──────────────────────────> deleted, 201
//!                    └────> protected: asked out of service once, 429 "waits for …" ─ again ─┘ (or overdue and forced)
//! ```

use std::sync::Arc;
use std::time::Duration;

use api_admission::Kind;
use api_client::Response;
use api_core::{Pod, drain};
use api_meta::{LabelSelector, Reason, Status, StatusDetails};
use api_workload::unavailable_budget::Operation;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{KeyRange, Stored};

use crate::answer;
use crate::pipeline::{admit, decode, metadata};
use crate::refuse::{self, Outcome, Refusal, bad_request, cause, internal, method_not_allowed, not_found};
use crate::registry::Served;
use crate::server::Call;
use crate::stored;
use crate::verbs::delete::{Options, remove};
use crate::verbs::{Change, Retry, change, options};
use workload_kit::drain::{Policy, Progress, progress, request};

/// Pods that a budget remembers as on their way out.
const DISRUPTED_MAX: usize = 2_000;
/// When a budget that nobody has judged yet is worth another try.
const UNJUDGED_WAIT_SECS: i32 = 10;
/// When a pod that is leaving service is worth another look; clients built on client-go come back by themselves.
const LEAVING_WAIT_SECS: i32 = 1;
/// Id of the operation by which an eviction asks for a pod to be taken out of service.
const OPERATION: &str = "evict";

/// POST to `pods/x/eviction`.
pub(crate) async fn evict(call: &Call, pods: &Arc<Served>) -> Outcome<Response> {
    options::check(call, "CreateOptions")?;
    let accept = call.accepted()?;
    let schema = api_tables::tables().schema("policy", "v1", "Eviction");
    let expected =
        decode::Expected { group: "policy", version: "v1", kind: "Eviction", schema, is_custom: false };
    let mut eviction = decode::object(call, &expected)?;
    let name = &call.target.name;
    if metadata::text(&eviction, "name") != name {
        return Err(bad_request("name in URL does not match name in Eviction object"));
    }
    let kind = Kind { group: "policy".to_owned(), version: "v1".to_owned(), kind: "Eviction".to_owned() };
    admit::ask(call, pods, api_admission::Operation::Create, kind, &mut eviction).await?;
    let mut how = Options::from_tree(&eviction["deleteOptions"]);
    how.dry_run |= call.query.dry_run();
    let found = call.server.store.get(&call.key(pods)).ok_or_else(|| not_found(&pods.resource, name))?;
    let pod = stored::decode(&found)?;
    if how.uid.is_empty() {
        how.uid = metadata::text(&pod, "uid").to_owned();
    }
    if !goes_freely(&pod) {
        let leaving = Leaving::of(&pod, call.server.env.now());
        // Who was asked out of service before was paid for then; who still serves for all that was not.
        let is_paid = leaving.is_asked && (leaving.progress != Progress::Free || !is_ready(&pod));
        if !is_paid {
            pay(call, pods, &found, &pod, how.dry_run).await?;
        }
        if !how.dry_run {
            leaving.go_on(call, pods, name, &how.uid).await?;
        }
    }
    if !how.dry_run && !metadata::is_terminating(&pod) {
        mark(call, pods, name, &how.uid).await?;
    }
    remove(call, pods, name, &how).await?;
    answer::tree(201, accept.form, &refuse::tree(&refuse::success(201, None), None))
}

/// Takes from the budgets that cover a pod.
async fn pay(call: &Call, pods: &Arc<Served>, found: &Stored, pod: &Value, dry_run: bool) -> Outcome<()> {
    if let Some(budget) = budget(call, found)?
        && !is_spent_for(&budget, pod, call.server.env.now())
        && !unhealthy_may_go(&budget, pod)
    {
        spend(call, &budget, pod, dry_run).await?;
    }
    admit::unavailable::admit(call, pods, pod, Operation::Evict, dry_run).await
}

/// How far a pod is out of service.
struct Leaving {
    progress: Progress,
    /// Whether an eviction has asked for it before.
    is_asked: bool,
}

impl Leaving {
    /// A pod that cannot be read as one has no part in this.
    fn of(pod: &Value, now: stdx::Time) -> Leaving {
        let pod = Pod::deserialize(pod).unwrap_or_default();
        let is_asked = drain::takes_part(&pod) && drain::requests(&pod).any(|id| id == OPERATION);
        Leaving { progress: progress(&pod, now), is_asked }
    }

    /// Asks for the pod to be taken out of service, once, and refuses until it is.
    async fn go_on(&self, call: &Call, pods: &Arc<Served>, name: &str, uid: &str) -> Outcome<()> {
        let why = match &self.progress {
            Progress::Free | Progress::Overdue { policy: Policy::Force, .. } => return Ok(()),
            Progress::InService => format!("pod {name} is being taken out of service first"),
            Progress::Draining { waits_for, .. } => {
                format!("pod {name} is leaving service; traffic of {} is still open", waits_for.join(", "))
            }
            Progress::Overdue { waits_for, .. } => format!(
                "pod {name} is overdue leaving service: traffic of {} is still open, and its policy is to hold; annotation \
                 {}=Force lets it go",
                waits_for.join(", "),
                drain::DEADLINE_POLICY
            ),
        };
        if !self.is_asked {
            ask_out(call, pods, name, uid).await?;
        }
        let causes = vec![cause("DisruptionBudget", "", why)];
        let retry_after_seconds = Some(LEAVING_WAIT_SECS);
        let details = StatusDetails { causes, retry_after_seconds, ..StatusDetails::default() };
        let message = "Cannot evict pod before it has left service.";
        Err(Status::failure(Reason::TooManyRequests, message).with_details(details).into())
    }
}

/// Labels the pod; whoever keeps its gate sees it.
async fn ask_out(call: &Call, pods: &Arc<Served>, name: &str, uid: &str) -> Outcome<()> {
    let how = Change {
        name,
        subresource: "",
        manager: "kube-apiserver",
        retry: Retry::Again,
        dry_run: false,
        uid: Some(uid),
    };
    let labels = request(OPERATION, OPERATION, call.server.env.now());
    let asked = change(call, pods, how, |old| {
        let mut pod = old.clone();
        metadata::of(&mut pod).remove("resourceVersion");
        for (key, value) in labels["metadata"]["labels"].as_object().into_iter().flatten() {
            pod["metadata"]["labels"][key] = value.clone();
        }
        Ok(pod)
    });
    asked.await.map(drop)
}

/// Says in the pod's status why it goes.
async fn mark(call: &Call, pods: &Arc<Served>, name: &str, uid: &str) -> Outcome<()> {
    let now = call.server.env.now();
    let how = Change {
        name,
        subresource: "status",
        manager: "",
        retry: Retry::Again,
        dry_run: false,
        uid: Some(uid),
    };
    let marked = change(call, pods, how, |old| {
        let mut pod = old.clone();
        metadata::of(&mut pod).remove("resourceVersion");
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": now.to_string(),
        });
        put_condition(&mut pod, condition);
        Ok(pod)
    });
    marked.await.map(drop)
}

/// Puts a condition in the place of the one of its type.
fn put_condition(object: &mut Value, condition: Value) {
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    let Some(all) = object["status"]["conditions"].as_array_mut() else { return };
    match all.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(old) => *old = condition,
        None => all.push(condition),
    }
}

/// Pods that are over, not begun, or going anyway cost no budget.
fn goes_freely(pod: &Value) -> bool {
    metadata::is_terminating(pod)
        || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending") | None)
}

fn is_ready(pod: &Value) -> bool {
    let all = pod["status"]["conditions"].as_array().into_iter().flatten();
    all.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// How long a budget remembers a pod that was let go (kube-controller-manager: two minutes).
const SPENT_MAX: Duration = Duration::from_secs(120);

/// Whether a budget was spent for this pod a short while ago.
fn is_spent_for(budget: &Value, pod: &Value, now: stdx::Time) -> bool {
    let at = budget["status"]["disruptedPods"][metadata::text(pod, "name")].as_str();
    let at = at.and_then(|t| t.parse::<stdx::Time>().ok());
    at.is_some_and(|at| now.since(at) < SPENT_MAX)
}

/// A pod that is not ready costs nothing where the budget says so, or while enough others are healthy.
fn unhealthy_may_go(budget: &Value, pod: &Value) -> bool {
    if is_ready(pod) {
        return false;
    }
    let number = |key: &str| budget["status"][key].as_i64().unwrap_or(0);
    let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    always || (number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0)
}

/// The budget that covers a pod.
fn budget(call: &Call, pod: &Stored) -> Outcome<Option<Value>> {
    let range = KeyRange {
        resource: "poddisruptionbudgets.policy".into(),
        namespace: Some(pod.key.namespace.clone()),
    };
    let page = call.server.store.list(&range, None, None, 0, None).map_err(internal)?;
    let mut found = None;
    for item in &page.items {
        let budget = stored::decode(item)?;
        let Ok(selector) = LabelSelector::deserialize(&budget["spec"]["selector"]) else { continue };
        let Ok(selector) = selector.selector() else { continue };
        if selector.matches(pod.row.labels()) && found.replace(budget).is_some() {
            let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            let status =
                Status { status: "Failure".into(), message: message.into(), code: 500, ..Status::default() };
            return Err(status.into());
        }
    }
    Ok(found)
}

/// Takes one disruption from a budget and remembers the pod in it.
async fn spend(call: &Call, budget: &Value, pod: &Value, dry_run: bool) -> Outcome<()> {
    let budgets = call.snapshot.get("policy", "v1", "poddisruptionbudgets").ok_or_else(method_not_allowed)?;
    let now = call.server.env.now();
    let how = Change {
        name: metadata::text(budget, "name"),
        subresource: "status",
        manager: "kube-apiserver",
        retry: Retry::Again,
        dry_run,
        uid: None,
    };
    let spent = change(call, budgets, how, |old| {
        check(old)?;
        let mut new = old.clone();
        metadata::of(&mut new).remove("resourceVersion");
        let left = old["status"]["disruptionsAllowed"].as_i64().unwrap_or(0) - 1;
        new["status"]["disruptionsAllowed"] = json!(left);
        if left == 0 {
            no_more(&mut new, now);
        }
        new["status"]["disruptedPods"][metadata::text(pod, "name")] = json!(now.to_string());
        Ok(new)
    });
    spent.await.map(drop)
}

/// Whether a budget has something left.
fn check(budget: &Value) -> Outcome<()> {
    let name = metadata::text(budget, "name");
    let status = &budget["status"];
    if status["observedGeneration"].as_i64().unwrap_or(0)
        < budget["metadata"]["generation"].as_i64().unwrap_or(0)
    {
        let text = format!("The disruption budget {name} is still being processed by the server.");
        return Err(exhausted(text, Some(UNJUDGED_WAIT_SECS)));
    }
    let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
    if allowed < 0 {
        return Err(crate::refuse::forbidden(
            &api_meta::Resource::namespaced("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
            name,
            "pdb disruptions allowed is negative",
        ));
    }
    if status["disruptedPods"].as_object().is_some_and(|d| d.len() > DISRUPTED_MAX) {
        let text =
            format!("The disruption budget {name} has more than {DISRUPTED_MAX} pods on their way out");
        return Err(exhausted(text, Some(UNJUDGED_WAIT_SECS)));
    }
    if allowed > 0 {
        return Ok(());
    }
    let (healthy, needed) =
        (status["currentHealthy"].as_i64().unwrap_or(0), status["desiredHealthy"].as_i64());
    let text = if healthy < needed.unwrap_or(0) {
        format!(
            "The disruption budget {name} needs {} healthy pods and has {healthy} currently",
            needed.unwrap_or(0)
        )
    } else {
        format!("The disruption budget {name} does not allow evicting pods currently")
    };
    Err(exhausted(text, None))
}

fn exhausted(why: String, retry_after_seconds: Option<i32>) -> Box<Refusal> {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let causes = vec![cause("DisruptionBudget", "", why)];
    let details = StatusDetails { causes, retry_after_seconds, ..StatusDetails::default() };
    Status::failure(Reason::TooManyRequests, message).with_details(details).into()
}

/// The condition that says the budget is used up.
fn no_more(budget: &mut Value, now: stdx::Time) {
    let generation = budget["metadata"]["generation"].clone();
    let condition = json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
        "lastTransitionTime": (now + Duration::ZERO).to_string(), "observedGeneration": generation,
    });
    put_condition(budget, condition);
}
