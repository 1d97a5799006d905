//! Changing a pod where it is: which changes allow it, the patch, and when it is complete.
//!
//! One pod goes through three writes, each fenced by the version that was judged, so that a crash between any two of them
//! is continued from what is stored:
//!
//! ```text
//! status: gate False ──> (traffic ends) ──> pod: images, revision label, record ──> (node restarts) ──> status: gate True
//!                                                 └─ with a grace period: record and pending images first, images when it is over
//! ```
//!
//! The gate says that a pod is being changed. The state label says it too where a hook waits for it, or where there is no
//! gate: then the second write sets it to Updating, and a fourth one ends it.
//!
//! The record is OpenKruise's annotation, with two further fields of ours that it ignores: the container ids before the
//! change, and images of an update that was replaced before it was complete.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api_core::{Container, ContainerStatus, Pod};
use api_workload::names;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stdx::Time;

use crate::lifecycle::State;
use crate::revision;

/// What differs between two templates, when all of it can be changed in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New images by container.
    pub images: BTreeMap<String, String>,
    /// Labels to set, or to remove.
    pub labels: BTreeMap<String, Option<String>>,
    /// Annotations to set, or to remove.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// The change from one pod template to another; nothing when a pod must be made anew for it: anything but images of
/// containers, labels and annotations differs, or a container that keeps its image reads a changed label or annotation
/// into its environment, which nobody would notice without a restart.
pub fn change(old: &Value, new: &Value) -> Option<Change> {
    let mut change = Change::default();
    let (old_spec, new_spec) = (&old["spec"], &new["spec"]);
    if !same_without(old_spec, new_spec, "containers") || !same_metadata(old, new) {
        return None;
    }
    let empty = Vec::new();
    let list = |spec: &Value| spec["containers"].as_array().unwrap_or(&empty).clone();
    let (old_containers, new_containers) = (list(old_spec), list(new_spec));
    if old_containers.len() != new_containers.len() {
        return None;
    }
    for (a, b) in old_containers.iter().zip(&new_containers) {
        if !same_without(a, b, "image") {
            return None;
        }
        if a["image"] != b["image"] {
            change.images.insert(b["name"].as_str()?.to_owned(), b["image"].as_str()?.to_owned());
        }
    }
    change.labels = map_change(&old["metadata"]["labels"], &new["metadata"]["labels"]);
    change.annotations = map_change(&old["metadata"]["annotations"], &new["metadata"]["annotations"]);
    let unnoticed =
        new_containers.iter().filter(|c| !change.images.contains_key(c["name"].as_str().unwrap_or_default()));
    if unnoticed.into_iter().any(|c| reads_changed_metadata(c, &change)) {
        return None;
    }
    Some(change)
}

/// Whether two objects are equal apart from one member; an absent member equals an empty one.
fn same_without(a: &Value, b: &Value, member: &str) -> bool {
    let strip = |v: &Value| {
        let mut map = v.as_object().cloned().unwrap_or_default();
        map.remove(member);
        map
    };
    strip(a) == strip(b)
}

/// Metadata other than labels and annotations is made with the pod and never changed.
fn same_metadata(old: &Value, new: &Value) -> bool {
    let strip = |v: &Value| {
        let mut map: Map<String, Value> = v["metadata"].as_object().cloned().unwrap_or_default();
        map.remove("labels");
        map.remove("annotations");
        map
    };
    strip(old) == strip(new) && same_without(&without_spec(old), &without_spec(new), "metadata")
}

fn without_spec(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(map) = template.as_object_mut() {
        map.remove("spec");
    }
    template
}

fn map_change(old: &Value, new: &Value) -> BTreeMap<String, Option<String>> {
    let read = |v: &Value| serde_json::from_value::<BTreeMap<String, String>>(v.clone()).unwrap_or_default();
    let (old, new) = (read(old), read(new));
    let set = new.iter().filter(|(k, v)| old.get(*k) != Some(v)).map(|(k, v)| (k.clone(), Some(v.clone())));
    let removed = old.keys().filter(|k| !new.contains_key(*k)).map(|k| (k.clone(), None));
    set.chain(removed).collect()
}

fn reads_changed_metadata(container: &Value, change: &Change) -> bool {
    let env = container["env"].as_array().map_or(&[][..], Vec::as_slice);
    let paths = env.iter().filter_map(|e| e["valueFrom"]["fieldRef"]["fieldPath"].as_str());
    let key = |path: &str, map: &str| {
        let rest = path.strip_prefix("metadata.")?.strip_prefix(map)?;
        Some(rest.strip_prefix("['")?.strip_suffix("']")?.to_owned())
    };
    paths.into_iter().any(|path| {
        key(path, "labels").is_some_and(|k| change.labels.contains_key(&k))
            || key(path, "annotations").is_some_and(|k| change.annotations.contains_key(&k))
    })
}

/// The record of an in-place update, as OpenKruise writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// The revision the pod is brought to.
    pub revision: String,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_timestamp: Option<Time>,
    /// What ran before, by container.
    #[serde(deserialize_with = "null_is_default")]
    pub last_container_statuses: BTreeMap<String, LastStatus>,
    /// Whether images change.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub update_images: bool,
    /// Images of containers whose turn comes when those before them are ready.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub next_container_images: BTreeMap<String, String>,
    /// What must hold before that turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_check_before_next: Option<PreCheck>,
    /// Who was changed when.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub container_batches_record: Vec<Batch>,
    /// Images on the way when this update replaced an incomplete one: they are not this update's. Ours, not OpenKruise's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub superseded_images: BTreeMap<String, BTreeSet<String>>,
}

/// What ran in a container before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastStatus {
    /// Its image.
    #[serde(rename = "imageID", skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// Its instance. Ours, not OpenKruise's.
    #[serde(rename = "containerID", skip_serializing_if = "String::is_empty")]
    pub container_id: String,
}

/// What must hold before further containers are changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PreCheck {
    /// Containers that must be ready.
    #[serde(deserialize_with = "null_is_default")]
    pub containers_required_ready: Vec<String>,
}

/// Containers changed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Time>,
    /// Which.
    #[serde(deserialize_with = "null_is_default")]
    pub containers: Vec<String>,
}

/// A change that waits for its grace period, as OpenKruise writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pending {
    /// The revision it leads to.
    pub revision: String,
    /// Images by container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub container_images: BTreeMap<String, String>,
    /// Seconds to wait from the record's time on.
    #[serde(skip_serializing_if = "is_zero")]
    pub grace_seconds: i32,
}

fn is_zero(n: &i32) -> bool {
    *n == 0
}

fn null_is_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// The record on a pod: none, one, or one that cannot be read.
pub fn record(pod: &Pod) -> Option<Result<Record, String>> {
    let text = annotation(pod, names::INPLACE_STATE, names::INPLACE_STATE_OLD)?;
    Some(serde_json::from_str(text).map_err(|e| e.to_string()))
}

/// The change that waits for its grace period.
pub fn pending(pod: &Pod) -> Option<Pending> {
    let text = annotation(pod, names::INPLACE_GRACE, names::INPLACE_GRACE_OLD)?;
    serde_json::from_str(text).ok()
}

/// Whether a change waits for its grace period.
pub fn has_pending(pod: &Pod) -> bool {
    annotation(pod, names::INPLACE_GRACE, names::INPLACE_GRACE_OLD).is_some()
}

fn annotation<'a>(pod: &'a Pod, key: &str, old: &str) -> Option<&'a str> {
    let annotations = &pod.metadata.annotations;
    annotations.get(key).or_else(|| annotations.get(old)).map(String::as_str).filter(|t| !t.is_empty())
}

/// When the grace period of a pending change is over.
pub fn due(pod: &Pod, pending: &Pending) -> Option<Time> {
    let began = record(pod)?.ok()?.update_timestamp?;
    Some(began + Duration::from_secs(u64::try_from(pending.grace_seconds).unwrap_or(0)))
}

/// How far the in-place update of a pod is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Never updated in place, or the last update is complete.
    Idle,
    /// Waits for the end of its grace period.
    Grace(Pending),
    /// A container does not run its new image yet.
    Running(String),
    /// The containers changed so far run; further ones wait for their turn.
    NextBatch(Record),
}

/// How far the in-place update of a pod is.
pub fn progress(pod: &Pod) -> Progress {
    if let Some(pending) = pending(pod) {
        return Progress::Grace(pending);
    }
    let Some(Ok(record)) = record(pod) else { return Progress::Idle };
    if let Some(container) = incomplete(pod, &record) {
        return Progress::Running(container);
    }
    if record.next_container_images.is_empty() {
        return Progress::Idle;
    }
    let required = record.pre_check_before_next.as_ref().map_or(&[][..], |c| &c.containers_required_ready);
    let is_ready = |name: &&String| status_of(pod, name).is_some_and(|s| s.ready);
    match required.iter().find(|name| !is_ready(name)) {
        Some(waiting) => Progress::Running(waiting.clone()),
        None => Progress::NextBatch(record),
    }
}

fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    pod.status.container_statuses.iter().find(|s| s.name == name)
}

/// The first container that does not run what the update brought.
fn incomplete(pod: &Pod, record: &Record) -> Option<String> {
    let waits = |(name, last): &(&String, &LastStatus)| {
        let container = pod.spec.containers.iter().find(|c| c.name == **name);
        container
            .is_some_and(|c| !runs_new(c, status_of(pod, name), last, record.superseded_images.get(*name)))
    };
    record.last_container_statuses.iter().find(waits).map(|(name, _)| name.clone())
}

/// Whether a container runs its new image: another instance runs, under the new name or one that no replaced update
/// brought. The instance need not be another one when the update replaced an incomplete one, because the image may have
/// gone back before the node had acted. Without a recorded instance the image decides.
fn runs_new(
    container: &Container,
    status: Option<&ContainerStatus>,
    last: &LastStatus,
    superseded: Option<&BTreeSet<String>>,
) -> bool {
    let Some(status) = status.filter(|s| s.state.running.is_some() && !s.image_id.is_empty()) else {
        return false;
    };
    let is_named_new = same_image(&status.image, &container.image);
    if last.container_id.is_empty() {
        return is_named_new || status.image_id != last.image_id;
    }
    let is_other = !status.container_id.is_empty() && status.container_id != last.container_id;
    let is_superseded = superseded.is_some_and(|images| images.iter().any(|i| same_image(&status.image, i)));
    if is_named_new { is_other || superseded.is_some() } else { is_other && !is_superseded }
}

/// Whether two image names mean the same: default registry, default folder and default tag may be left out.
pub fn same_image(a: &str, b: &str) -> bool {
    whole_name(a) == whole_name(b)
}

fn whole_name(image: &str) -> String {
    let (name, digest) = image.split_once('@').map_or((image, None), |(n, d)| (n, Some(d)));
    let (registry, rest) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", name),
    };
    let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
    let folder = if registry == "docker.io" && !rest.contains('/') { "library/" } else { "" };
    let tag = if rest.contains(':') || digest.is_some() { "" } else { ":latest" };
    let digest = digest.map_or_else(String::new, |d| format!("@{d}"));
    format!("{registry}/{folder}{rest}{tag}{digest}")
}

/// What a patch to a pod begins.
pub struct Start<'a> {
    /// The pod as judged.
    pub pod: &'a Pod,
    /// Full name of the revision it is brought to.
    pub revision: &'a str,
    /// What changes.
    pub change: &'a Change,
    /// Seconds between unready and the change.
    pub grace_seconds: i32,
    /// The state it is brought into, when that changes.
    pub state: Option<State>,
    /// The moment.
    pub now: Time,
}

/// Strategic patch that begins an in-place update: revision, record, state if any, and the images unless a grace period
/// holds them back.
pub fn start(start: &Start<'_>) -> Value {
    let mut images = start.change.images.clone();
    for (name, image) in never_got(start.pod) {
        images.entry(name).or_insert(image);
    }
    let mut record = Record {
        revision: start.revision.to_owned(),
        update_timestamp: Some(start.now),
        ..carried_over(start.pod, &images)
    };
    images.retain(|name, image| {
        let container = start.pod.spec.containers.iter().find(|c| c.name == *name);
        container.is_none_or(|c| c.image != *image)
    });
    record.update_images = !images.is_empty() || !record.last_container_statuses.is_empty();
    let mut patch = metadata_patch(start);
    if start.grace_seconds > 0 && !images.is_empty() {
        let pending = Pending {
            revision: start.revision.to_owned(),
            container_images: images,
            grace_seconds: start.grace_seconds,
        };
        patch["metadata"]["annotations"][names::INPLACE_GRACE] = json!(json!(pending).to_string());
    } else {
        set_images(&mut patch, start.pod, &mut record, images, start.now);
        drop_pending(&mut patch, start.pod);
    }
    patch["metadata"]["annotations"][names::INPLACE_STATE] = json!(json!(record).to_string());
    patch
}

/// Images that the revision on the pod's label brought and the pod never got: held by a grace period or a later batch.
/// What a new revision does not set itself still comes from there.
fn never_got(pod: &Pod) -> BTreeMap<String, String> {
    if let Some(pending) = pending(pod) {
        return pending.container_images;
    }
    record(pod).and_then(Result::ok).map(|r| r.next_container_images).unwrap_or_default()
}

/// What of an incomplete update a new one has to remember: containers still under way that it does not change, and the
/// images under way in those that it does.
fn carried_over(pod: &Pod, images: &BTreeMap<String, String>) -> Record {
    let mut carried = Record::default();
    let Some(Ok(old)) = record(pod) else { return carried };
    for (name, last) in &old.last_container_statuses {
        let Some(container) = pod.spec.containers.iter().find(|c| c.name == *name) else { continue };
        if runs_new(container, status_of(pod, name), last, old.superseded_images.get(name)) {
            continue;
        }
        let mut under_way = old.superseded_images.get(name).cloned().unwrap_or_default();
        match images.get(name) {
            Some(image) if *image != container.image => {
                under_way.insert(container.image.clone());
            }
            _ => {
                carried.last_container_statuses.insert(name.clone(), last.clone());
            }
        }
        if !under_way.is_empty() {
            carried.superseded_images.insert(name.clone(), under_way);
        }
    }
    carried
}

/// Strategic patch that ends a grace period: the pending images.
pub fn finish_grace(pod: &Pod, pending: &Pending, now: Time) -> Value {
    let mut record = match record(pod) {
        Some(Ok(record)) => record,
        _ => Record { revision: pending.revision.clone(), update_timestamp: Some(now), ..Record::default() },
    };
    let mut patch = json!({"metadata": {"annotations": {}}});
    set_images(&mut patch, pod, &mut record, pending.container_images.clone(), now);
    drop_pending(&mut patch, pod);
    patch["metadata"]["annotations"][names::INPLACE_STATE] = json!(json!(record).to_string());
    patch
}

/// Strategic patch that forgets a pending change which leads to another revision than the pod's label says.
pub fn drop_grace(pod: &Pod) -> Value {
    let mut patch = json!({"metadata": {"annotations": {}}});
    drop_pending(&mut patch, pod);
    patch
}

/// Strategic patch that changes the containers whose turn has come.
pub fn next_batch(pod: &Pod, record: &Record, now: Time) -> Value {
    let mut record = record.clone();
    let images = std::mem::take(&mut record.next_container_images);
    let mut patch = json!({"metadata": {"annotations": {}}});
    set_images(&mut patch, pod, &mut record, images, now);
    patch["metadata"]["annotations"][names::INPLACE_STATE] = json!(json!(record).to_string());
    patch
}

fn metadata_patch(start: &Start<'_>) -> Value {
    let mut labels: Map<String, Value> =
        start.change.labels.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    for (key, value) in revision::labels(start.revision) {
        labels.insert(key.to_owned(), json!(value));
    }
    let mut annotations: Map<String, Value> =
        start.change.annotations.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    if let Some(state) = &start.state {
        labels.insert(names::LIFECYCLE_STATE_LABEL.to_owned(), json!(state.as_str()));
        annotations.insert(names::LIFECYCLE_TIMESTAMP.to_owned(), json!(start.now));
    }
    if start.pod.metadata.annotations.contains_key(names::INPLACE_STATE_OLD) {
        annotations.insert(names::INPLACE_STATE_OLD.to_owned(), Value::Null);
    }
    json!({"metadata": {"labels": labels, "annotations": annotations}})
}

fn drop_pending(patch: &mut Value, pod: &Pod) {
    for key in [names::INPLACE_GRACE, names::INPLACE_GRACE_OLD] {
        if pod.metadata.annotations.contains_key(key) {
            patch["metadata"]["annotations"][key] = Value::Null;
        }
    }
}

/// Puts the images of the containers whose turn it is into the patch, and the others into the record.
fn set_images(
    patch: &mut Value,
    pod: &Pod,
    record: &mut Record,
    images: BTreeMap<String, String>,
    now: Time,
) {
    let turn = first_turn(pod, images.keys());
    let (now_images, later): (BTreeMap<_, _>, BTreeMap<_, _>) =
        images.into_iter().partition(|(name, _)| turn.contains(name));
    for name in now_images.keys() {
        let status = status_of(pod, name);
        let last = LastStatus {
            image_id: status.map_or_else(String::new, |s| s.image_id.clone()),
            container_id: status.map_or_else(String::new, |s| s.container_id.clone()),
        };
        record.last_container_statuses.insert(name.clone(), last);
    }
    let containers: Vec<String> = now_images.keys().cloned().collect();
    if !now_images.is_empty() {
        let list: Vec<_> =
            now_images.iter().map(|(name, image)| json!({"name": name, "image": image})).collect();
        patch["spec"] = json!({ "containers": list });
        record.container_batches_record.push(Batch { timestamp: Some(now), containers: containers.clone() });
    }
    record.pre_check_before_next =
        (!later.is_empty()).then_some(PreCheck { containers_required_ready: containers });
    record.next_container_images = later;
}

/// Environment variable that orders the containers of a pod.
const PRIORITY: &str = "KRUISE_CONTAINER_PRIORITY";

/// The containers that are changed first: those without a priority, and those with the highest.
fn first_turn<'a>(pod: &Pod, names: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let priority = |name: &str| {
        let container = pod.spec.containers.iter().find(|c| c.name == name)?;
        let value = container.env.iter().find(|e| e.name == PRIORITY)?.value.as_ref()?;
        value.parse::<i64>().ok()
    };
    let all: Vec<_> = names.map(|name| (name.clone(), priority(name))).collect();
    let highest = all.iter().filter_map(|(_, p)| *p).max();
    all.into_iter().filter(|(_, p)| p.is_none() || *p == highest).map(|(name, _)| name).collect()
}

#[cfg(test)]
#[path = "inplace_tests.rs"]
mod tests;
