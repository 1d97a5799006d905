//! Gangs in three dialects: scheduler-plugins' PodGroup, Koordinator's annotations, upstream's Workload API.

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::Pod;
use api_meta::{Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::Time;

use crate::{json, names};

/// Whether a member without a place takes the places of the others away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Yes: all give their places back.
    #[default]
    Strict,
    /// No: the others go on holding theirs until they time out.
    NonStrict,
}

/// Who counts towards the minimum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Match {
    /// Who holds a place; once the gang has started, everybody may follow.
    #[default]
    OnceSatisfied,
    /// Who holds a place now.
    OnlyWaiting,
    /// Who holds a place or runs.
    WaitingAndRunning,
}

/// What is assumed where a gang says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GangDefaults {
    /// How long a place is held.
    pub wait: Duration,
    /// Who counts.
    pub counts: Match,
}

impl Default for GangDefaults {
    /// Koordinator's: 600 s, once satisfied.
    fn default() -> GangDefaults {
        GangDefaults { wait: Duration::from_secs(600), counts: Match::OnceSatisfied }
    }
}

/// Everything a gang says. Words that cannot be read are their defaults, as upstream reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GangWords {
    /// `namespace/name`.
    pub name: String,
    /// How many must have a place before any may start.
    pub min: u32,
    /// How many there will be; at least the minimum.
    pub total: u32,
    /// What a failure means.
    pub mode: Mode,
    /// Who counts.
    pub counts: Match,
    /// How long a place is held.
    pub wait: Duration,
    /// Gangs that start together, this one among them; sorted.
    pub together: Vec<String>,
    /// When it was made.
    pub created: Time,
    /// It has an object, and so outlives its members.
    pub has_object: bool,
}

impl GangWords {
    /// The gang that a pod describes by itself. `None` when it is in none, or names no minimum: then the gang's object must.
    pub fn of_pod(pod: &Pod, defaults: GangDefaults) -> Option<GangWords> {
        let meta = &pod.metadata;
        let min = match meta.labels.get(names::POD_GROUP_MIN).filter(|v| !v.is_empty()) {
            Some(label) => label.parse().ok()?,
            None => meta.annotations.get(names::GANG_MIN)?.parse().ok()?,
        };
        let wait = meta.annotations.get(names::GANG_WAIT).and_then(|text| duration(text));
        let name = gang_of(pod)?;
        Some(words(meta, name, min, wait.filter(|w| !w.is_zero()), false, defaults))
    }

    /// The gang that a PodGroup of scheduler-plugins describes.
    pub fn of_group(group: &PodGroup, defaults: GangDefaults) -> GangWords {
        let meta = &group.metadata;
        let min = u32::try_from(group.spec.min_member).unwrap_or(0);
        let seconds =
            group.spec.schedule_timeout_seconds.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
        let name = format!("{}/{}", meta.namespace, meta.name);
        words(meta, name, min, seconds.map(Duration::from_secs), true, defaults)
    }

    /// The gang that an upstream PodGroup describes: strict, once satisfied. `None` under the basic policy, which is no gang.
    pub fn of_workload(group: &WorkloadPodGroup, defaults: GangDefaults) -> Option<GangWords> {
        let gang = group.spec.scheduling_policy.gang.as_ref()?;
        let min = u32::try_from(gang.min_count).unwrap_or(0);
        let name = format!("{}/{}", group.metadata.namespace, group.metadata.name);
        Some(GangWords {
            together: vec![name.clone()],
            name,
            min,
            total: min,
            mode: Mode::Strict,
            counts: Match::OnceSatisfied,
            wait: defaults.wait,
            created: group.metadata.creation_timestamp.unwrap_or_default(),
            has_object: true,
        })
    }
}

/// What annotations on a pod and on a PodGroup have in common.
fn words(
    meta: &ObjectMeta,
    name: String,
    min: u32,
    wait: Option<Duration>,
    has_object: bool,
    defaults: GangDefaults,
) -> GangWords {
    let said = |key: &str| meta.annotations.get(key).map_or("", String::as_str);
    let total: u32 = said(names::GANG_TOTAL).parse().unwrap_or(0);
    let counts = match said(names::GANG_MATCH) {
        "" => said(names::POD_GROUP_MATCH),
        word => word,
    };
    let mut together: Vec<String> = json(&meta.annotations, names::GANG_GROUPS).unwrap_or_default();
    if together.is_empty() {
        together.push(name.clone());
    }
    together.sort();
    together.dedup();
    GangWords {
        name,
        min,
        total: total.max(min),
        mode: if said(names::GANG_MODE) == "NonStrict" { Mode::NonStrict } else { Mode::Strict },
        counts: match counts {
            "only-waiting" => Match::OnlyWaiting,
            "waiting-and-running" => Match::WaitingAndRunning,
            "once-satisfied" => Match::OnceSatisfied,
            _ => defaults.counts,
        },
        wait: wait.unwrap_or(defaults.wait),
        together,
        created: meta.creation_timestamp.unwrap_or_default(),
        has_object,
    }
}

/// The gang a pod is in, as `namespace/name`: label of scheduler-plugins, its older word, Koordinator's annotation, upstream's
/// field, in this order.
pub fn gang_of(pod: &Pod) -> Option<String> {
    let meta = &pod.metadata;
    let upstream = pod.spec.scheduling_group.as_ref().map(|g| &g.pod_group_name);
    let said = [
        meta.labels.get(names::POD_GROUP),
        meta.labels.get(names::POD_GROUP_NAME),
        meta.annotations.get(names::GANG_NAME),
        upstream,
    ];
    let name = said.into_iter().flatten().find(|n| !n.is_empty())?;
    Some(format!("{}/{name}", meta.namespace))
}

/// A duration as Go writes it: `1h30m`, `1.5s`, `500ms`. `None` when it is none, or negative.
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_end);
        nanos = nanos.checked_add(part(number, unit)?)?;
        rest = after;
    }
    let nanos = u64::try_from(nanos).ok()?;
    (!text.is_empty()).then(|| Duration::from_nanos(nanos))
}

/// One number and its unit in nanoseconds.
fn part(number: &str, unit: &str) -> Option<u128> {
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let tenth = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole.checked_mul(scale)?.checked_add(fraction.checked_mul(scale)? / tenth)
}

/// `PodGroup` of scheduler-plugins (scheduling.sigs.k8s.io/v1alpha1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodGroup {
    /// Metadata; Koordinator's annotations may be here too.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: PodGroupSpec,
    /// Observed state.
    pub status: PodGroupStatus,
}

impl Object for PodGroup {
    const RESOURCE: Resource =
        Resource::namespaced("scheduling.sigs.k8s.io", "v1alpha1", "podgroups", "PodGroup");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Desired state of a PodGroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodGroupSpec {
    /// How many must have a place before any may start.
    pub min_member: i32,
    /// What they ask for together.
    pub min_resources: BTreeMap<String, Value>,
    /// Seconds a place is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_timeout_seconds: Option<i32>,
}

/// Observed state of a PodGroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodGroupStatus {
    /// `Pending`, `PreScheduling`, `Scheduling`, `Scheduled`, `Running`, `Finished`, `Failed` or `Unknown`.
    pub phase: String,
    /// Members bound.
    pub scheduled: i32,
    /// Members running.
    pub running: i32,
    /// Members that ended well.
    pub succeeded: i32,
    /// Members that failed.
    pub failed: i32,
    /// Who owns the members.
    pub occupied_by: String,
    /// When the first member was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_start_time: Option<Time>,
}

/// `PodGroup` of upstream's Workload API (scheduling.k8s.io/v1alpha2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadPodGroup {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: WorkloadPodGroupSpec,
}

impl Object for WorkloadPodGroup {
    const RESOURCE: Resource = Resource::namespaced("scheduling.k8s.io", "v1alpha2", "podgroups", "PodGroup");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Desired state of an upstream PodGroup: the fields that are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadPodGroupSpec {
    /// How its pods are scheduled.
    pub scheduling_policy: SchedulingPolicy,
    /// Priority of the whole group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// One of two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulingPolicy {
    /// Pod by pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<Value>,
    /// All or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gang: Option<GangPolicy>,
}

/// All or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GangPolicy {
    /// How many must have a place before any may start.
    pub min_count: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(labels: Value, annotations: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "p", "labels": labels, "annotations": annotations}}))
            .unwrap()
    }

    #[test]
    fn a_pod_describes_its_gang_by_annotations() {
        let pod = pod(
            json!({}),
            json!({names::GANG_NAME: "g", names::GANG_MIN: "3", names::GANG_TOTAL: "5", names::GANG_MODE: "NonStrict",
                names::GANG_WAIT: "1m30s", names::GANG_GROUPS: r#"["n/g","m/h"]"#, names::GANG_MATCH: "only-waiting"}),
        );
        let words = GangWords::of_pod(&pod, GangDefaults::default()).unwrap();
        assert_eq!((words.name.as_str(), words.min, words.total), ("n/g", 3, 5));
        assert_eq!(
            (words.mode, words.counts, words.wait),
            (Mode::NonStrict, Match::OnlyWaiting, Duration::from_secs(90))
        );
        assert_eq!(words.together, ["m/h", "n/g"]);
    }

    #[test]
    fn what_cannot_be_read_is_the_default() {
        let pod = pod(
            json!({names::POD_GROUP_NAME: "g", names::POD_GROUP_MIN: "2"}),
            json!({names::GANG_TOTAL: "1", names::GANG_MODE: "Odd", names::GANG_WAIT: "-3s", names::GANG_GROUPS: "["}),
        );
        let words = GangWords::of_pod(&pod, GangDefaults::default()).unwrap();
        assert_eq!((words.total, words.mode, words.counts), (2, Mode::Strict, Match::OnceSatisfied));
        assert_eq!((words.wait, words.together), (Duration::from_secs(600), vec!["n/g".to_owned()]));
    }

    #[test]
    fn a_pod_group_describes_its_gang_and_so_does_upstream_s() {
        let group: PodGroup = serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "g"},
            "spec": {"minMember": 4, "scheduleTimeoutSeconds": 10}}))
        .unwrap();
        let words = GangWords::of_group(&group, GangDefaults::default());
        assert_eq!((words.min, words.wait, words.has_object), (4, Duration::from_secs(10), true));
        let upstream: WorkloadPodGroup =
            serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "w"},
            "spec": {"schedulingPolicy": {"gang": {"minCount": 2}}}}))
            .unwrap();
        assert_eq!(GangWords::of_workload(&upstream, GangDefaults::default()).unwrap().min, 2);
        assert_eq!(GangWords::of_workload(&WorkloadPodGroup::default(), GangDefaults::default()), None);
    }

    #[test]
    fn the_label_goes_before_the_annotation_and_both_before_upstream_s_field() {
        let mut pod = pod(json!({}), json!({}));
        pod.spec.scheduling_group = Some(api_core::PodSchedulingGroup { pod_group_name: "w".into() });
        assert_eq!(gang_of(&pod).as_deref(), Some("n/w"));
        pod.metadata.annotations.insert(names::GANG_NAME.into(), "a".into());
        assert_eq!(gang_of(&pod).as_deref(), Some("n/a"));
        pod.metadata.labels.insert(names::POD_GROUP.into(), "l".into());
        assert_eq!(gang_of(&pod).as_deref(), Some("n/l"));
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let read = |text: &str| duration(text).map(|d| d.as_millis());
        assert_eq!(read("1h2m3.5s"), Some(3_723_500));
        assert_eq!(read("500ms"), Some(500));
        for bad in ["", "5", "s", "1.2.3s", "-1s", "1d", "1 s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
