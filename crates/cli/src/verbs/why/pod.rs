//! What a pod says about itself: its place, its containers, its way out of traffic.

use api_core::{Pod, drain};
use serde_json::Value;
use stdx::Time;
use view::{Answer, Reason, human_duration};
use workload_kit::drain::{Policy, Progress, progress};

use crate::output::name;
use crate::scene::{finalizers, is_terminating};
use crate::words::namespace_flag;

/// How a pod stands, in one sentence.
pub(super) fn state(object: &Value, now: Time) -> String {
    let pod = typed(object);
    let phase = if pod.status.phase.is_empty() { "Pending" } else { &pod.status.phase };
    if is_terminating(object) {
        let since = view::age(object["metadata"]["deletionTimestamp"].as_str(), now);
        return format!("{phase}, being deleted for {since}");
    }
    if pod.is_finished() {
        return phase.to_owned();
    }
    let service = if pod.is_ready() { "in service" } else { "not in service" };
    let node = match pod.spec.node_name.as_str() {
        "" => "not placed yet".to_owned(),
        node => format!("on node {node}"),
    };
    format!("{phase}, {service}, {node}")
}

/// Adds what holds a pod; for a pod that was asked for by itself also what its containers wait for.
pub(super) fn tell(object: &Value, alone: bool, now: Time, out: &mut Answer) {
    let pod = typed(object);
    if alone {
        for wait in view::waits(&Value::Null, std::slice::from_ref(object), &[], now) {
            let since = pod.condition("Ready").or_else(|| pod.condition("PodScheduled"));
            let since = since.filter(|c| c.status != "True").and_then(|c| c.last_transition_time);
            out.waits_for.push(Reason::new("", "", wait.why).since(since));
        }
        if pod.condition("PodScheduled").is_some_and(|c| c.status == "False") {
            out.advise("make room, add nodes that fit, or ask for less: the scheduler's reason is above");
        }
    }
    leaving(object, now, out);
}

/// Adds how far a pod is out of traffic, when it is on its way out.
pub(super) fn leaving(object: &Value, now: Time, out: &mut Answer) {
    let pod = typed(object);
    let by = name(object);
    let own = &pod.metadata.name;
    for id in drain::requests(&pod) {
        let kind = pod.metadata.labels.get(&format!("{}{id}", drain::OPERATION_TYPE));
        let kind = kind.map_or(String::new(), |k| format!(" ({k})"));
        let message = format!("operation {id}{kind} asks for pod {own} to be taken out of service");
        out.held.push(Reason::new(&by, "Operation", message));
    }
    match progress(&pod, now) {
        Progress::Free | Progress::InService => {}
        Progress::Draining { waits_for, since, due } => {
            let left = human_duration(due.since(now));
            let message = format!(
                "pod {own} is out of traffic, and {} still finishes what it has open; overdue in {left}, then {}",
                waits_for.join(", "),
                then(Policy::of(&pod)),
            );
            out.waits_for.push(Reason::new(&by, "Draining", message).since(since));
        }
        Progress::Overdue { waits_for, since, policy } => {
            let message = format!(
                "the drain of pod {own} is overdue: {} has not let go; {}",
                waits_for.join(", "),
                then(policy)
            );
            out.held.push(Reason::new(&by, "DrainOverdue", message).since(since));
            if policy == Policy::Hold {
                out.advise(format!(
                    "end the open connections of pod {own}, or let it go all the same: kubectl annotate pod {own}{} {}=Force --overwrite",
                    namespace_flag(&pod.metadata.namespace),
                    drain::DEADLINE_POLICY
                ));
            }
        }
    }
    if is_terminating(object) {
        for finalizer in finalizers(object) {
            let message = match finalizer.strip_prefix(drain::PROTECTION) {
                Some(component) => {
                    format!("traffic component {component} may still send traffic to pod {own}")
                }
                None => format!(
                    "the deletion of pod {own} waits until {finalizer} is taken off by who put it there"
                ),
            };
            out.waits_for.push(Reason::new(&by, "Finalizer", message));
        }
    }
}

fn then(policy: Policy) -> &'static str {
    match policy {
        Policy::Hold => "it waits for a person",
        Policy::Force => "it is disturbed all the same",
        Policy::RollBack => "the release goes back",
    }
}

/// A pod that cannot be read as one says nothing.
fn typed(object: &Value) -> Pod {
    serde_json::from_value(object.clone()).unwrap_or_default()
}
