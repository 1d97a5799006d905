//! One look at one pod: who wants it out of service, and how far that is.

use std::collections::BTreeSet;
use std::time::Duration;

use api_core::{Pod, drain};
use api_meta::{IntOrPercent, Round};
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::{Map, Value, json};
use stdx::Time;
use workload_kit::drain as kit;
use workload_kit::drain::{Policy, Progress};

use super::Observed;
use super::observe::Peer;

/// Id of the operation that a cordon is.
pub const CORDON: &str = "cordon";
/// Reason of a gate that this controller closed, and may open again.
const REASON: &str = "Drain";
/// Id of the operation that an eviction through the API server is.
const EVICT: &str = "evict";
/// Who evicts asks again every few seconds; a pod that nobody came for in this time after its drain goes back into service.
const EVICTION_WAIT: Duration = Duration::from_secs(120);
/// How often a pod asks again whether it may leave a cordoned node: its peers do not call it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Decides. Each step that another must follow is a plan of its own: request, gate, labels.
pub fn plan(seen: &Observed, now: Time) -> Plan {
    let mut plan = Plan::new();
    let pod = &*seen.pod;
    if pod.is_finished() || pod.metadata.is_terminating() {
        return plan;
    }
    if let Some(action) = cordon(seen, now, &mut plan).or_else(|| abandoned(pod, now, &mut plan)) {
        plan.act(action);
        return plan;
    }
    let ids: BTreeSet<&str> = drain::requests(pod).collect();
    if ids.is_empty() {
        at_rest(pod, now, &mut plan)
    } else {
        out_of_service(pod, &ids, now, &mut plan)
    }
    plan
}

/// Begins or ends the operation that a cordon is.
fn cordon(seen: &Observed, now: Time, plan: &mut Plan) -> Option<Action> {
    let pod = &*seen.pod;
    let is_asked = drain::requests(pod).any(|id| id == CORDON);
    if is_asked && !seen.is_cordoned {
        return Some(patch(pod, "", kit::withdraw(CORDON), Risk::None));
    }
    // Without traffic there is nothing to drain: as everywhere, a cordon then only keeps new pods away.
    let has_traffic = drain::takes_part(pod) && drain::protections(pod).next().is_some();
    if is_asked || !seen.is_cordoned || !has_traffic {
        return None;
    }
    if !may_leave(seen) {
        let message = "held: its node is cordoned, but as many pods of its owner are out of service as a cordon may take";
        plan.note(Note::new(Severity::Why, "Cordon", message));
        plan.wake_at(now + LOOK_EVERY);
        return None;
    }
    Some(patch(pod, "", kit::request(CORDON, CORDON, now), Risk::None))
}

/// Ends an eviction whose client has given up: the way has been free for long enough, and the pod is still there.
fn abandoned(pod: &Pod, now: Time, plan: &mut Plan) -> Option<Action> {
    let since = pod.metadata.labels.get(&format!("{}{EVICT}", drain::OPERATE))?.parse().ok()?;
    let end = Time::from_micros(since) + EVICTION_WAIT;
    if end > now {
        plan.wake_at(end);
        return None;
    }
    let message = "its eviction was asked for and not carried out: it goes back into service";
    plan.note(Note::new(Severity::Warning, "EvictionAbandoned", message));
    Some(patch(pod, "", kit::withdraw(EVICT), Risk::None))
}

/// Of an owner's pods, how many may be out of service while a cordon takes another: a fifth, and one of few, never the last.
const AWAY: IntOrPercent = IntOrPercent::Percent(20);

/// Whether this pod may leave service now. All pods of the owner that could leave are ranked by name, so that two looks at the
/// same moment do not let more than one pod go in one place.
fn may_leave(seen: &Observed) -> bool {
    let pod = &*seen.pod;
    if !pod.is_ready() {
        return true;
    }
    let serves = |p: &Peer| p.is_ready && !p.is_requested;
    let total = i32::try_from(seen.peers.len() + 1).unwrap_or(i32::MAX);
    let away = seen.peers.iter().filter(|p| !serves(p)).count();
    let before =
        seen.peers.iter().filter(|p| serves(p) && p.is_cordoned && p.name < pod.metadata.name).count();
    let others = seen.peers.iter().filter(|p| serves(p)).count();
    let most = usize::try_from(AWAY.of(total, Round::Up)).unwrap_or(0);
    away + before < most && before < others
}

/// Takes the pod out of service, and lets the operations go on when its traffic has ended.
fn out_of_service(pod: &Pod, ids: &BTreeSet<&str>, now: Time, plan: &mut Plan) {
    let gate = drain::gate(pod).filter(|_| drain::takes_part(pod));
    let is_closed = |gate: &str| pod.condition(gate).is_some_and(|c| c.status == "False");
    if let Some(gate) = gate.filter(|g| !is_closed(g)) {
        let listed = ids.iter().copied().collect::<Vec<_>>().join(", ");
        let note = Note::new(Severity::Normal, "Draining", format!("taken out of service for {listed}"));
        plan.act_noting(patch(pod, "status", kit::close(pod, gate, REASON, now), Risk::Restart), note);
        return;
    }
    let free = match kit::progress(pod, now) {
        Progress::Free | Progress::Overdue { policy: Policy::Force, .. } => true,
        Progress::InService => false,
        Progress::Draining { waits_for, due, .. } => {
            let message = format!("waits until {} lets go of it", waits_for.join(", "));
            plan.note(Note::new(Severity::Why, "Draining", message));
            plan.wake_at(due);
            false
        }
        Progress::Overdue { waits_for, .. } => {
            let message = format!(
                "{} has not let go of it in time: end its traffic, or set annotation {}=Force",
                waits_for.join(", "),
                drain::DEADLINE_POLICY
            );
            plan.note(Note::new(Severity::Warning, "DrainOverdue", message));
            false
        }
    };
    let mut labels = Map::new();
    for id in ids {
        let (preparing, operate) = (format!("{}{id}", drain::PREPARING), format!("{}{id}", drain::OPERATE));
        mark(pod, &mut labels, preparing, !free, now);
        mark(pod, &mut labels, operate, free, now);
    }
    leftovers(pod, ids, &mut labels);
    change_labels(pod, labels, plan);
}

/// Sets a label, or takes it away.
fn mark(pod: &Pod, labels: &mut Map<String, Value>, key: String, on: bool, now: Time) {
    if pod.metadata.labels.contains_key(&key) != on {
        let value = if on { json!(now.micros().to_string()) } else { Value::Null };
        labels.insert(key, value);
    }
}

/// Labels of operations that are no longer asked for.
fn leftovers(pod: &Pod, ids: &BTreeSet<&str>, labels: &mut Map<String, Value>) {
    let prefixes = [drain::PREPARING, drain::OPERATE, drain::OPERATION_TYPE];
    for key in pod.metadata.labels.keys() {
        let id = prefixes.iter().find_map(|p| key.strip_prefix(p));
        if id.is_some_and(|id| !ids.contains(id)) {
            labels.insert(key.clone(), Value::Null);
        }
    }
}

fn change_labels(pod: &Pod, labels: Map<String, Value>, plan: &mut Plan) {
    if !labels.is_empty() {
        plan.act(patch(pod, "", json!({"metadata": {"labels": labels}}), Risk::None));
    }
}

/// Nobody wants it out of service: its gate is opened if it was closed here, or if nobody else would ever open it.
fn at_rest(pod: &Pod, now: Time, plan: &mut Plan) {
    let mut labels = Map::new();
    leftovers(pod, &BTreeSet::new(), &mut labels);
    change_labels(pod, labels, plan);
    let Some(gate) = drain::gate(pod) else { return };
    let shut = match pod.condition(gate) {
        Some(condition) => condition.status != "True" && condition.reason == REASON,
        None => gate == drain::SERVICE_READY,
    };
    if !shut || !plan.is_quiet() {
        return;
    }
    let mut condition = json!({"type": gate, "status": "True", "lastTransitionTime": now});
    if pod.condition(gate).is_some() {
        condition["reason"] = Value::Null;
        condition["message"] = Value::Null;
    }
    plan.act(patch(pod, "status", json!({"status": {"conditions": [condition]}}), Risk::None));
}

fn patch(pod: &Pod, subresource: &'static str, body: Value, risk: Risk) -> Action {
    Action::Patch { target: Target::at(pod), subresource, form: Form::Strategic, body, risk }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
