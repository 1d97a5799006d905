//! One look at one pod: which finalizers go on, which come off.

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::{Pod, drain};
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::{Value, json};
use stdx::Time;

use super::Observed;

/// Pod annotation: since when the pod is no ready endpoint of a Service that is waited for, as JSON `{service: time}`.
/// Slices do not say when an endpoint left them; the wait must outlast a restart of who waits.
pub const LEFT: &str = "knarr.dev/endpoint-left";

/// What one pod shall carry.
struct Marks {
    finalizers: Vec<String>,
    expected: BTreeMap<String, String>,
    left: BTreeMap<String, Time>,
}

/// Decides. One write at most.
pub fn plan(seen: &Observed, now: Time) -> Plan {
    let pod = &*seen.pod;
    let mut plan = Plan::new();
    let mut marks = Marks {
        finalizers: pod.metadata.finalizers.clone(),
        expected: drain::expected(pod),
        left: left(pod),
    };
    let leaves = pod.metadata.is_terminating() || pod.is_finished() || is_closed(pod);
    for service in &seen.services {
        let finalizer = drain::protection_of(&service.name);
        if leaves {
            wait(seen, &service.name, Some(service.seconds), now, &mut marks, &mut plan);
        } else {
            marks.left.remove(&service.name);
            marks.expected.insert(id(pod, &service.name), finalizer.clone());
            if !marks.finalizers.contains(&finalizer) {
                marks.finalizers.push(finalizer);
            }
        }
    }
    for name in gone(seen, pod) {
        wait(seen, &name, None, now, &mut marks, &mut plan);
    }
    if let Some(action) = write(pod, &marks) {
        let notes = std::mem::take(&mut plan.notes);
        plan.act(action);
        for note in notes {
            if note.severity == Severity::Normal {
                plan.after.insert(plan.notes.len(), 0);
            }
            plan.note(note);
        }
    }
    plan
}

fn is_closed(pod: &Pod) -> bool {
    drain::gate(pod).and_then(|g| pod.condition(g)).is_some_and(|c| c.status == "False")
}

/// Services that protected the pod and no longer choose it. Only those that were noted under a Service's name: finalizers
/// of foreign components are theirs.
fn gone(seen: &Observed, pod: &Pod) -> Vec<String> {
    let prefix = id(pod, "");
    let noted = drain::expected(pod).into_keys().filter_map(|k| k.strip_prefix(&prefix).map(str::to_owned));
    noted.filter(|name| seen.services.iter().all(|s| s.name != *name)).collect()
}

/// Waits until the endpoint has left and its time is over, then takes the finalizer off. `seconds` is nothing when the
/// Service is gone for this pod: then it is no longer expected back either.
fn wait(seen: &Observed, name: &str, seconds: Option<u64>, now: Time, marks: &mut Marks, plan: &mut Plan) {
    let finalizer = drain::protection_of(name);
    if !marks.finalizers.contains(&finalizer) {
        marks.left.remove(name);
        if seconds.is_none() {
            marks.expected.remove(&id(&seen.pod, name));
        }
        return;
    }
    if seen.ready_in.iter().any(|s| s == name) {
        marks.left.remove(name);
        plan.note(Note::new(
            Severity::Why,
            "Waiting",
            format!("waits until its endpoint leaves Service {name}"),
        ));
        return;
    }
    let wait = Duration::from_secs(seconds.unwrap_or(drain::DRAIN_SECONDS_DEFAULT));
    let since = *marks.left.entry(name.to_owned()).or_insert(now.whole_secs());
    let over = since + wait;
    if over > now {
        let message = format!(
            "waits {} s after its endpoint left Service {name}, until {over}: requests are not counted here",
            wait.as_secs()
        );
        plan.note(Note::new(Severity::Why, "Waiting", message));
        plan.wake_at(over);
        return;
    }
    marks.finalizers.retain(|f| *f != finalizer);
    marks.left.remove(name);
    if seconds.is_none() {
        marks.expected.remove(&id(&seen.pod, name));
    }
    let message =
        format!("waited {} s after its endpoint left Service {name}: waited, not drained", wait.as_secs());
    plan.note(Note::new(Severity::Normal, "Waited", message));
}

/// Who puts a Service's finalizer, as the annotation names it.
fn id(pod: &Pod, service: &str) -> String {
    format!("Service/{}/{service}", pod.metadata.namespace)
}

fn left(pod: &Pod) -> BTreeMap<String, Time> {
    let text = pod.metadata.annotations.get(LEFT).map_or("", String::as_str);
    serde_json::from_str(text).unwrap_or_default()
}

/// The write that makes the pod carry these marks; nothing when it does.
fn write(pod: &Pod, marks: &Marks) -> Option<Action> {
    let mut metadata = json!({});
    if marks.finalizers != pod.metadata.finalizers {
        metadata["finalizers"] = json!(marks.finalizers);
    }
    if marks.expected != drain::expected(pod) {
        let text = json!({"expectedFinalizers": marks.expected}).to_string();
        let empty = marks.expected.is_empty();
        metadata["annotations"][drain::AVAILABLE_CONDITIONS] = if empty { Value::Null } else { json!(text) };
    }
    if marks.left != left(pod) {
        let empty = marks.left.is_empty();
        metadata["annotations"][LEFT] =
            if empty { Value::Null } else { json!(json!(marks.left).to_string()) };
    }
    if metadata == json!({}) {
        return None;
    }
    let body = json!({ "metadata": metadata });
    Some(Action::Patch {
        target: Target::at(pod),
        subresource: "",
        form: Form::Merge,
        body,
        risk: Risk::None,
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
