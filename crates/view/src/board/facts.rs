//! What the board keeps of each object: a few hundred bytes of the fields it draws.

use std::collections::BTreeMap;

use api_core::{Node, Pod, drain};
use api_meta::ObjectKey;
use api_workload::names::cafe;
use serde_json::{Value, json};
use stdx::Time;

use crate::Release;

/// Label of nodes whose pods are processes of this machine.
const RUNTIME_LABEL: &str = "knarr.dev/runtime";

/// A CafeDeployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppFact {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Counts changes of the desired state.
    pub generation: i64,
    /// Of these, the newest that its controller has seen.
    pub observed_generation: i64,
    /// Pods wanted.
    pub replicas: i64,
    /// Of the pods that exist, ready.
    pub ready: i64,
    /// Of the pods that exist, available.
    pub available: i64,
    /// Of the pods that exist, of the newest revision.
    pub updated: i64,
    /// Containers of the template with their images, in order.
    pub images: Vec<(String, String)>,
    /// A person has stopped it.
    pub is_paused: bool,
    /// Why it failed, in a sentence.
    pub failure: Option<String>,
    /// The release that is under way, or was last, goes back to an older revision.
    pub is_rollback: bool,
    /// Why its controller went back to the revision it has now, all by itself.
    pub went_back: Option<String>,
    /// Its groups, its cells and what it waits for.
    pub release: Release,
}

impl AppFact {
    /// From the object as it is on the wire. Fields that are absent or of another type are empty.
    pub fn of(object: &Value) -> AppFact {
        let (meta, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
        let count = |v: &Value| v.as_i64().unwrap_or(0);
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let failed = conditions.into_iter().find(|c| c["type"] == "Failed" && c["status"] == "True");
        let containers = spec.pointer("/template/spec/containers").and_then(Value::as_array);
        AppFact {
            key: ObjectKey::new(text(&meta["namespace"]), text(&meta["name"])),
            generation: count(&meta["generation"]),
            observed_generation: count(&status["observedGeneration"]),
            replicas: spec["replicas"].as_i64().unwrap_or(1),
            ready: count(&status["readyReplicas"]),
            available: count(&status["availableReplicas"]),
            updated: count(&status["updatedReplicas"]),
            images: containers.into_iter().flatten().map(|c| (text(&c["name"]), text(&c["image"]))).collect(),
            is_paused: spec.pointer("/strategy/pause") == Some(&Value::Bool(true)),
            failure: failed.map(|c| text(&c["message"])),
            is_rollback: status.pointer("/release/rollback") == Some(&Value::Bool(true)),
            went_back: went_back(meta, status),
            release: release_of(status),
        }
    }
}

/// What its controller noted when it went back by itself; void once another revision is wanted.
fn went_back(meta: &Value, status: &Value) -> Option<String> {
    let noted: Value = serde_json::from_str(meta["annotations"][cafe::ROLLED_BACK].as_str()?).ok()?;
    (noted["to"] == status["updateRevision"]).then(|| text(&noted["why"]))
}

/// The release in a status. Items of a list may come without their kind, which is known here.
fn release_of(status: &Value) -> Release {
    crate::release(&json!({"kind": "CafeDeployment", "status": status})).unwrap_or_default()
}

fn text(v: &Value) -> String {
    v.as_str().unwrap_or_default().to_owned()
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodFact {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Name of the CafeDeployment it says it belongs to; empty without one.
    pub app: String,
    /// Name of the set that controls it; empty without one.
    pub set: String,
    /// The cell it is kept in; empty without one.
    pub cell: String,
    /// Its node; empty while it has none.
    pub node: String,
    /// Its address.
    pub ip: String,
    /// Images by container.
    pub images: BTreeMap<String, String>,
    /// Revision of the CafeDeployment that it has.
    pub revision: String,
    /// Condition Ready is True.
    pub is_ready: bool,
    /// Deletion has been asked for.
    pub is_terminating: bool,
    /// Since when its gate is closed; the outer option is whether it is.
    pub closed: Option<Option<Time>>,
    /// Traffic components that may still send it traffic.
    pub protections: Vec<String>,
    /// Traffic components that have not come back to it.
    pub missing: Vec<String>,
    /// Seconds after which a drain is overdue.
    pub deadline_secs: u64,
    /// What is wrong with its containers, in a sentence.
    pub trouble: Option<String>,
    /// Restarts of all containers.
    pub restarts: i64,
    /// Since when it is ready, or else exists.
    pub since: Option<Time>,
}

impl PodFact {
    /// From a pod.
    pub fn of(pod: &Pod) -> PodFact {
        let meta = &pod.metadata;
        let closed = drain::gate(pod).and_then(|g| pod.condition(g)).filter(|c| c.status == "False");
        let deadline = meta.annotations.get(drain::DEADLINE_SECONDS).and_then(|v| v.parse().ok());
        let ready = pod.condition("Ready").filter(|c| c.status == "True");
        let bare = |f: &str| f.strip_prefix(drain::PROTECTION).unwrap_or(f).to_owned();
        let missing = drain::expected(pod).into_values().filter(|f| !meta.finalizers.contains(f));
        let label = |name: &str| meta.labels.get(name).cloned().unwrap_or_default();
        PodFact {
            key: meta.key(),
            app: label(cafe::NAME_LABEL),
            cell: label(cafe::UNIT_LABEL),
            set: meta.controller().map(|o| o.name.clone()).unwrap_or_default(),
            node: pod.spec.node_name.clone(),
            ip: pod.status.pod_ip.clone(),
            images: pod.spec.containers.iter().map(|c| (c.name.clone(), c.image.clone())).collect(),
            revision: label(cafe::REVISION_LABEL),
            is_ready: ready.is_some(),
            is_terminating: meta.is_terminating(),
            closed: closed.map(|c| c.last_transition_time),
            protections: drain::protections(pod).map(bare).collect(),
            missing: if drain::takes_part(pod) { missing.map(|f| bare(&f)).collect() } else { Vec::new() },
            deadline_secs: deadline.unwrap_or(drain::DEADLINE_SECONDS_DEFAULT),
            trouble: trouble(pod),
            restarts: pod.status.container_statuses.iter().map(|c| i64::from(c.restart_count)).sum(),
            since: ready.and_then(|c| c.last_transition_time).or(meta.creation_timestamp),
        }
    }
}

/// What is wrong with a pod's containers; nothing while they come up as planned.
fn trouble(pod: &Pod) -> Option<String> {
    const PLANNED: [&str; 3] = ["", "ContainerCreating", "PodInitializing"];
    if pod.status.phase == "Failed" {
        return Some(first_of([&pod.status.message, &pod.status.reason, "the pod failed"]));
    }
    for c in &pod.status.container_statuses {
        if let Some(w) = c.state.waiting.as_ref().filter(|w| !PLANNED.contains(&w.reason.as_str())) {
            let exit = c.last_state.terminated.as_ref().map(|t| format!(" (exit code {})", t.exit_code));
            return Some(format!("{}{}", w.reason, exit.unwrap_or_default()));
        }
        // A process that was stopped for an update still reports the image it had.
        let is_new = pod.spec.containers.iter().any(|s| s.name == c.name && s.image == c.image);
        if let Some(t) = c.state.terminated.as_ref().filter(|t| t.exit_code != 0 && is_new) {
            return Some(format!("process ended with exit code {}", t.exit_code));
        }
    }
    None
}

/// The first text that says something.
fn first_of<const N: usize>(texts: [&str; N]) -> String {
    texts.into_iter().find(|t| !t.is_empty()).unwrap_or_default().to_owned()
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFact {
    /// Its name.
    pub name: String,
    /// Its cell; empty without one.
    pub cell: String,
    /// Its zone; empty without one.
    pub zone: String,
    /// It answers; unknown until its Ready condition is there.
    pub is_ready: Option<bool>,
    /// It takes no new pods.
    pub is_cordoned: bool,
    /// Its pods are processes of this machine.
    pub is_process: bool,
}

impl NodeFact {
    /// From a node.
    pub fn of(node: &Node) -> NodeFact {
        let labels = &node.metadata.labels;
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let zones = [label(cafe::ZONE_LABEL), label(cafe::ZONE_LABEL_FALLBACK)];
        let ready = node.status.conditions.iter().find(|c| c.r#type == "Ready");
        NodeFact {
            name: node.metadata.name.clone(),
            cell: label(cafe::CELL_LABEL),
            zone: zones.into_iter().find(|z| !z.is_empty()).unwrap_or_default(),
            is_ready: ready.map(|c| c.status == "True"),
            is_cordoned: node.spec.unschedulable,
            is_process: labels.get(RUNTIME_LABEL).is_some_and(|v| v == "process"),
        }
    }

    /// Whether it is known not to answer.
    pub fn is_lost(&self) -> bool {
        self.is_ready == Some(false)
    }
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventFact {
    /// When it was seen last.
    pub at: Time,
    /// Kind of the object it is about.
    pub kind: String,
    /// That object.
    pub about: String,
    /// That object's namespace.
    pub namespace: String,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// How often.
    pub count: i64,
    /// It is a warning.
    pub is_warning: bool,
}

impl EventFact {
    /// From the object as it is on the wire; nothing when it names no moment.
    pub fn of(event: &Value) -> Option<EventFact> {
        let about = &event["involvedObject"];
        let count =
            event["count"].as_i64().or_else(|| event.pointer("/series/count").and_then(Value::as_i64));
        Some(EventFact {
            at: Time::from_secs(crate::waits::moment(event)?),
            kind: text(&about["kind"]),
            about: text(&about["name"]),
            namespace: text(&about["namespace"]),
            reason: text(&event["reason"]),
            message: text(&event["message"]),
            count: count.unwrap_or(1),
            is_warning: event["type"] == "Warning",
        })
    }
}
