//! Recordings: lines of JSON that say what a live cluster's nodes, namespaces and pods did.
//!
//! ```text
//! {"apiVersion":"simulation.knarr.dev/v1alpha1","kind":"Recording","startedAt":"2026-11-28T10:00:00.000000Z"}
//! {"at":"2026-11-28T10:00:00.000000Z","type":"ADDED","object":{"kind":"Node",...}}
//! {"at":"2026-11-28T10:00:07.250000Z","type":"DELETED","object":{"kind":"Pod",...}}
//! ```
//!
//! Types are those of a watch. Of objects only what placement reads is kept: no environment, arguments, images' secrets,
//! probes or managed fields.

use std::collections::BTreeMap;

use api_core::{Node, Pod};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stdx::Time;

use super::story::{Event, Moment, Story};
use crate::report::API_VERSION;
use crate::text::{Misread, Source};

const KIND: &str = "Recording";
/// Annotation of pods that a kubelet runs by itself: no scheduler places them.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Recorded {
    /// It was there at the start, or came.
    Added,
    /// It changed.
    Modified,
    /// It went; the object is its last state.
    Deleted,
}

/// Writes the lines of a recording.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// What was written of each object: changes that placement does not see are left out.
    known: BTreeMap<String, Value>,
}

impl Recorder {
    /// The first line.
    pub fn head(started: Time) -> String {
        json!({"apiVersion": API_VERSION, "kind": KIND, "startedAt": started.to_micro_string()}).to_string()
            + "\n"
    }

    /// The line for a change of an object of a kind; nothing when placement does not see it.
    pub fn line(&mut self, at: Time, what: Recorded, kind: &str, object: &Value) -> Option<String> {
        let kept = kept(kind, object);
        let uid = identity(kind, object);
        let what = match what {
            Recorded::Deleted => {
                self.known.remove(&uid);
                Recorded::Deleted
            }
            _ => match self.known.insert(uid, kept.clone()) {
                Some(before) if before == kept => return None,
                Some(_) => Recorded::Modified,
                None => Recorded::Added,
            },
        };
        Some(json!({"at": at.to_micro_string(), "type": what, "object": kept}).to_string() + "\n")
    }

    /// Lines for objects of a kind that are known but not among `there` any more: they went unseen.
    pub fn gone(&mut self, at: Time, kind: &str, there: &[Value]) -> Vec<String> {
        let alive: std::collections::BTreeSet<String> = there.iter().map(|o| identity(kind, o)).collect();
        let prefix = format!("{kind}/");
        let lost: Vec<Value> = self
            .known
            .iter()
            .filter(|(uid, _)| uid.starts_with(&prefix) && !alive.contains(*uid))
            .map(|(_, object)| object.clone())
            .collect();
        lost.iter().filter_map(|object| self.line(at, Recorded::Deleted, kind, object)).collect()
    }

    /// How many objects are there now.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

fn identity(kind: &str, object: &Value) -> String {
    let meta = &object["metadata"];
    match meta["uid"].as_str() {
        Some(uid) if !uid.is_empty() => format!("{kind}/{uid}"),
        _ => format!("{kind}/{}/{}", meta["namespace"], meta["name"]),
    }
}

/// Fields of a pod's specification that placement reads.
const POD_SPEC: [&str; 11] = [
    "nodeName",
    "nodeSelector",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "schedulingGates",
    "schedulerName",
    "priority",
    "preemptionPolicy",
    "overhead",
    "resources",
];
const META: [&str; 7] =
    ["name", "namespace", "uid", "labels", "creationTimestamp", "deletionTimestamp", "ownerReferences"];
/// Annotations kept, by the beginning of their names.
const ANNOTATIONS: [&str; 5] =
    ["simulation.knarr.dev/", "alibabacloud.com/", "scheduling.koordinator.sh/", "koordinator.sh/", MIRROR];

/// The part of an object that placement reads.
fn kept(kind: &str, object: &Value) -> Value {
    let mut meta = only(&object["metadata"], &META);
    let annotations = object["metadata"]["annotations"].as_object().into_iter().flatten();
    let wanted: serde_json::Map<String, Value> = annotations
        .filter(|(name, _)| ANNOTATIONS.iter().any(|a| name.starts_with(a)))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !wanted.is_empty() {
        meta["annotations"] = Value::Object(wanted);
    }
    let mut out = json!({"kind": kind, "metadata": meta});
    match kind {
        "Node" => {
            out["spec"] = only(&object["spec"], &["taints", "unschedulable"]);
            out["status"] = only(&object["status"], &["allocatable", "capacity"]);
        }
        "Pod" => {
            out["spec"] = only(&object["spec"], &POD_SPEC);
            for list in ["containers", "initContainers"] {
                let all = object["spec"][list].as_array().into_iter().flatten();
                let fields = ["name", "image", "resources", "ports", "restartPolicy"];
                out["spec"][list] = all.map(|c| only(c, &fields)).collect();
            }
            out["status"] = only(&object["status"], &["phase"]);
        }
        _ => {}
    }
    out
}

fn only(object: &Value, fields: &[&str]) -> Value {
    let all = object.as_object().into_iter().flatten();
    all.filter(|(name, _)| fields.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
    started_at: Time,
}

#[derive(Deserialize)]
struct Line {
    at: Time,
    r#type: Recorded,
    object: Value,
}

/// The story of a recording. Pods that were there at its start arrive then, in the order of their creation; each is placed
/// anew, except those that a kubelet runs by itself, and, with `keep_bound`, those that had a node at the start.
///
/// # Errors
/// The first line that cannot be used.
pub fn story(source: Source<'_>, keep_bound: bool) -> Result<Story, Misread> {
    let mut lines = source.text.lines().enumerate();
    let head = lines.next().map_or("", |(_, l)| l);
    let head: Head = serde_json::from_str(head).map_err(|e| {
        source.misread(1, "", format!("is no head of a recording, as `knarr record` writes it: {e}"))
    })?;
    if (head.api_version.as_str(), head.kind.as_str()) != (API_VERSION, KIND) {
        let why = format!("is {} {}: expected {API_VERSION} {KIND}", head.api_version, head.kind);
        return Err(source.misread(1, "apiVersion", why));
    }
    let mut reader = Reader { keep_bound, started: head.started_at, first: Vec::new(), moments: Vec::new() };
    for (at, text) in lines.filter(|(_, l)| !l.trim().is_empty()) {
        let line: Line = serde_json::from_str(text).map_err(|e| source.misread(at + 1, "", e.to_string()))?;
        reader.take(line).map_err(|e| source.misread(at + 1, "object", e))?;
    }
    let story = Story { name: source.name.to_owned(), moments: reader.moments() };
    match story.has_nodes() {
        true => Ok(story.sorted()),
        false => Err(source.misread(0, "", "no nodes")),
    }
}

struct Reader {
    keep_bound: bool,
    started: Time,
    /// Pods of the start.
    first: Vec<Pod>,
    moments: Vec<Moment>,
}

impl Reader {
    fn take(&mut self, line: Line) -> Result<(), String> {
        // What was there at the start was created before; it comes at the start.
        let at = line.at.max(self.started);
        let kind = line.object["kind"].as_str().unwrap_or_default().to_owned();
        let gone = line.r#type == Recorded::Deleted;
        let event = match (kind.as_str(), gone) {
            ("Node", false) => Event::Node(Box::new(read::<Node>(line.object)?)),
            ("Node", true) => {
                Event::NodeGone(line.object["metadata"]["name"].as_str().unwrap_or_default().to_owned())
            }
            ("Namespace", false) => {
                let name = line.object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                Event::Namespace(name, read(line.object["metadata"]["labels"].clone()).unwrap_or_default())
            }
            ("Namespace", true) => return Ok(()),
            ("Pod", _) => return self.take_pod(read(line.object)?, at, gone),
            _ => return Err(format!("kind {kind:?}: expected Node, Namespace or Pod")),
        };
        self.moments.push(Moment { at, event });
        Ok(())
    }

    fn take_pod(&mut self, mut pod: Pod, at: Time, gone: bool) -> Result<(), String> {
        if pod.metadata.uid.is_empty() {
            pod.metadata.uid = pod.metadata.key().to_string();
        }
        if gone || pod.is_finished() {
            self.moments.push(Moment { at, event: Event::PodGone(pod.metadata.uid) });
            return Ok(());
        }
        let was_there = at == self.started;
        let stays = pod.metadata.annotations.contains_key(MIRROR) || self.keep_bound && was_there;
        if !stays {
            pod.spec.node_name = String::new();
        }
        pod.metadata.deletion_timestamp = None;
        match was_there {
            true => self.first.push(pod),
            false => {
                self.moments.push(Moment { at, event: Event::Pod { pod: Box::new(pod), lifetime: None } })
            }
        }
        Ok(())
    }

    fn moments(mut self) -> Vec<Moment> {
        // Pods that stay where they are come first: they have been there.
        self.first
            .sort_by_key(|p| (p.spec.node_name.is_empty(), p.metadata.creation_timestamp, p.metadata.key()));
        let at = self.started;
        let first = self
            .first
            .into_iter()
            .map(|pod| Moment { at, event: Event::Pod { pod: Box::new(pod), lifetime: None } });
        // Nodes and namespaces of the start stand before its pods.
        let (mut start, rest): (Vec<Moment>, Vec<Moment>) =
            self.moments.into_iter().partition(|m| m.at == at);
        start.extend(first);
        start.extend(rest);
        start
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, created: &str, more: Value) -> Value {
        let mut pod = json!({"metadata": {"name": name, "namespace": "n", "uid": name, "creationTimestamp": created,
            "managedFields": [{"manager": "x"}], "annotations": {"secret": "s"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "env": [{"name": "PASSWORD", "value": "p"}], "resources": {}}]}});
        for (field, value) in more.as_object().into_iter().flatten() {
            pod[field] = value.clone();
        }
        pod
    }

    #[test]
    fn what_placement_does_not_read_is_not_recorded() {
        let mut recorder = Recorder::default();
        let line = recorder
            .line(Time::from_secs(5), Recorded::Added, "Pod", &pod("a", "1970-01-01T00:00:01Z", json!({})))
            .unwrap();
        assert!(
            !line.contains("PASSWORD") && !line.contains("managedFields") && !line.contains("secret"),
            "{line}"
        );
        let changed = pod("a", "1970-01-01T00:00:01Z", json!({"status": {"podIP": "10.0.0.1"}}));
        assert_eq!(recorder.line(Time::from_secs(6), Recorded::Modified, "Pod", &changed), None);
        let ended = pod("a", "1970-01-01T00:00:01Z", json!({"status": {"phase": "Succeeded"}}));
        assert!(
            recorder
                .line(Time::from_secs(7), Recorded::Modified, "Pod", &ended)
                .unwrap()
                .contains("MODIFIED")
        );
    }

    #[test]
    fn what_went_unseen_is_told_when_it_is_found_missing() {
        let mut recorder = Recorder::default();
        let (a, b) =
            (pod("a", "1970-01-01T00:00:01Z", json!({})), pod("b", "1970-01-01T00:00:01Z", json!({})));
        for object in [&a, &b] {
            recorder.line(Time::from_secs(0), Recorded::Added, "Pod", object);
        }
        let lines = recorder.gone(Time::from_secs(9), "Pod", &[b]);
        assert_eq!((lines.len(), recorder.len()), (1, 1));
        assert!(lines[0].contains("DELETED") && lines[0].contains("\"a\""));
    }

    fn recorded() -> String {
        let mut recorder = Recorder::default();
        let mut text = Recorder::head(Time::from_secs(100));
        let node = json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "4"}}});
        text += &recorder.line(Time::from_secs(100), Recorded::Added, "Node", &node).unwrap();
        for (name, created) in [("late", "1970-01-01T00:00:50Z"), ("early", "1970-01-01T00:00:10Z")] {
            text += &recorder
                .line(Time::from_secs(100), Recorded::Added, "Pod", &pod(name, created, json!({})))
                .unwrap();
        }
        text += &recorder
            .line(
                Time::from_secs(160),
                Recorded::Added,
                "Pod",
                &pod("new", "1970-01-01T00:02:40Z", json!({})),
            )
            .unwrap();
        text += &recorder
            .line(
                Time::from_secs(170),
                Recorded::Deleted,
                "Pod",
                &pod("early", "1970-01-01T00:00:10Z", json!({})),
            )
            .unwrap();
        text
    }

    #[test]
    fn pods_of_the_start_arrive_in_the_order_of_their_creation_and_without_their_nodes() {
        let text = recorded();
        let told = |keep| -> Vec<String> {
            let story = story(Source { name: "r", text: &text }, keep).unwrap();
            let one = |m: &Moment| match &m.event {
                Event::Pod { pod, .. } => {
                    Some(format!("{} {}@{}", m.at.secs(), pod.metadata.name, pod.spec.node_name))
                }
                Event::PodGone(uid) => Some(format!("{} -{uid}", m.at.secs())),
                _ => None,
            };
            story.moments.iter().filter_map(one).collect()
        };
        assert_eq!(told(false), ["100 early@", "100 late@", "160 new@", "170 -early"]);
        assert_eq!(told(true), ["100 early@n1", "100 late@n1", "160 new@", "170 -early"]);
    }

    #[test]
    fn bad_lines_are_named() {
        let told = |text: &str| story(Source { name: "r", text }, false).unwrap_err().to_string();
        assert!(told("").starts_with("r:1: is no head of a recording"));
        let text = recorded();
        assert!(told(&text.replacen("Recording", "Other", 1)).starts_with("r:1: apiVersion"));
        assert!(
            told(&text.replacen("\"kind\":\"Pod\"", "\"kind\":\"Job\"", 1))
                .contains("expected Node, Namespace or Pod")
        );
        assert!(told(&(text + "{\"at\":")).starts_with("r:7: "));
    }
}
