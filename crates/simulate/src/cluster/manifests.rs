//! Manifests with times: nodes, pods and what makes pods, told when by annotations.
//!
//! | annotation `simulation.knarr.dev/…` | on | means |
//! |---|---|---|
//! | `at: 30s` | all | when it comes, after the start; at the start if absent |
//! | `every: 500ms` | nodes and pods with a count, workloads | pause between one and the next |
//! | `lifetime: 10m` | pods, or the templates of workloads | how long a pod stays once placed; for ever if absent |
//! | `count: "100"` | nodes, pods | so many of them, named NAME-0, NAME-1, ... |

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::{Node, Pod};
use serde_json::{Value, json};
use stdx::Time;

use super::story::{Event, Moment, Story};

const PREFIX: &str = "simulation.knarr.dev/";
/// Greatest number of copies of one manifest.
const COPIES_MAX: u64 = 1_000_000;
/// Kinds that make pods, with the path of their count and of their template.
const WORKLOADS: [(&str, &str); 7] = [
    ("Deployment", "/spec/replicas"),
    ("ReplicaSet", "/spec/replicas"),
    ("StatefulSet", "/spec/replicas"),
    ("CloneSet", "/spec/replicas"),
    ("ReplicationController", "/spec/replicas"),
    ("Job", "/spec/completions"),
    ("InPlaceSet", "/spec/replicas"),
];

/// The story that manifests tell. Objects of other kinds are left out; their names are returned.
///
/// # Errors
/// The index of the manifest that cannot be used, the field (empty if unknown), and why not.
pub fn story(name: &str, manifests: &[Value]) -> Result<(Story, Vec<String>), (usize, &'static str, String)> {
    let mut story = Story { name: name.to_owned(), moments: Vec::new() };
    let mut left_out = Vec::new();
    for (index, manifest) in manifests.iter().enumerate() {
        let kind = manifest["kind"].as_str().unwrap_or_default();
        let result = match kind {
            "Node" => nodes(manifest, &mut story.moments),
            "Pod" => pods(manifest, &mut story.moments),
            "Namespace" => namespace(manifest, &mut story.moments),
            _ => match WORKLOADS.iter().find(|(k, _)| *k == kind) {
                Some((_, count)) => workload(manifest, count, &mut story.moments),
                None => {
                    left_out.push(format!("{kind}/{}", text(&manifest["metadata"]["name"])));
                    Ok(())
                }
            },
        };
        result.map_err(|(field, why)| (index, field, why))?;
    }
    Ok((story.sorted(), left_out))
}

type Wrong = (&'static str, String);

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Times and numbers told by annotations.
struct Times {
    at: Time,
    every: Duration,
    lifetime: Option<Duration>,
    count: Option<u64>,
}

impl Times {
    fn read(object: &Value) -> Result<Times, Wrong> {
        let annotations = &object["metadata"]["annotations"];
        let of = |name: &str| annotations[format!("{PREFIX}{name}")].as_str();
        let wrong = |why: String| ("metadata.annotations", why);
        let length = |name: &str| -> Result<Option<Duration>, Wrong> {
            let read = |t: &str| {
                duration(t).ok_or_else(|| {
                    wrong(format!("{PREFIX}{name}: {t:?} is no duration such as 30s, 500ms, 10m, 2h"))
                })
            };
            of(name).map(read).transpose()
        };
        let number = |t: &str| {
            let parsed = t.parse::<u64>().ok().filter(|n| *n <= COPIES_MAX);
            parsed.ok_or_else(|| wrong(format!("{PREFIX}count: {t:?} is no number from 0 to {COPIES_MAX}")))
        };
        Ok(Times {
            at: Time::from_secs(0) + length("at")?.unwrap_or_default(),
            every: length("every")?.unwrap_or_default(),
            lifetime: length("lifetime")?,
            count: of("count").map(number).transpose()?,
        })
    }

    fn of_copy(&self, copy: u64) -> Time {
        self.at + Duration::from_micros(self.every.as_micros() as u64 * copy)
    }

    /// Numbers of the copies, with what is put behind the name.
    fn copies(&self) -> impl Iterator<Item = (u64, String)> {
        let numbered = self.count.is_some();
        (0..self.count.unwrap_or(1)).map(move |i| (i, if numbered { format!("-{i}") } else { String::new() }))
    }
}

/// Reads `1h30m`, `500ms`, `2.5s`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut micros = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let scale = match &rest[..unit] {
            "us" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "m" => 60e6,
            "h" => 3600e6,
            "d" => 86_400e6,
            _ => return None,
        };
        micros += number * scale;
        rest = &rest[unit..];
    }
    // A century: longer ones are mistakes, and sums stay far from the end of time.
    (!text.is_empty() && micros <= 3.2e15).then(|| Duration::from_micros(micros as u64))
}

fn nodes(manifest: &Value, out: &mut Vec<Moment>) -> Result<(), Wrong> {
    let times = Times::read(manifest)?;
    for (copy, suffix) in times.copies() {
        let mut node: Node = parse(manifest)?;
        node.metadata.name += &suffix;
        let name = node.metadata.name.clone();
        node.metadata.labels.entry("kubernetes.io/hostname".to_owned()).or_insert(name);
        if node.status.allocatable.is_empty() {
            node.status.allocatable = node.status.capacity.clone();
        }
        if node.status.allocatable.is_empty() {
            return Err(("status", "neither allocatable nor capacity says what the node has".to_owned()));
        }
        out.push(Moment { at: times.of_copy(copy), event: Event::Node(Box::new(node)) });
    }
    Ok(())
}

fn pods(manifest: &Value, out: &mut Vec<Moment>) -> Result<(), Wrong> {
    let times = Times::read(manifest)?;
    for (copy, suffix) in times.copies() {
        let mut pod: Pod = parse(manifest)?;
        pod.metadata.name += &suffix;
        arrive(pod, times.of_copy(copy), times.lifetime, out);
    }
    Ok(())
}

fn workload(manifest: &Value, count: &str, out: &mut Vec<Moment>) -> Result<(), Wrong> {
    let times = Times::read(manifest)?;
    let meta = &manifest["metadata"];
    let mut template = manifest["spec"]["template"].clone();
    if !template["metadata"].is_object() && !template["metadata"].is_null() {
        return Err(("spec.template", "metadata is no object".to_owned()));
    }
    if !template["spec"].is_object() {
        return Err(("spec.template", "is missing".to_owned()));
    }
    let lifetime = Times::read(&template)?.lifetime.or(times.lifetime);
    let (name, namespace) = (text(&meta["name"]), text(&meta["namespace"]));
    template["metadata"]["namespace"] = json!(namespace);
    template["metadata"]["ownerReferences"] = json!([{"apiVersion": manifest["apiVersion"], "kind": manifest["kind"],
        "name": name, "uid": format!("{}/{namespace}/{name}", text(&manifest["kind"])), "controller": true}]);
    let replicas = match manifest.pointer(count) {
        None | Some(Value::Null) => 1,
        Some(value) => value
            .as_u64()
            .filter(|n| *n <= COPIES_MAX)
            .ok_or_else(|| ("spec", format!("{count} is no number from 0 to {COPIES_MAX}")))?,
    };
    for copy in 0..replicas {
        let mut pod: Pod = parse(&template)?;
        pod.metadata.name = format!("{name}-{copy}");
        arrive(pod, times.of_copy(copy), lifetime, out);
    }
    Ok(())
}

fn arrive(mut pod: Pod, at: Time, lifetime: Option<Duration>, out: &mut Vec<Moment>) {
    if pod.metadata.namespace.is_empty() {
        pod.metadata.namespace = "default".to_owned();
    }
    pod.metadata.uid = pod.metadata.key().to_string();
    pod.metadata.creation_timestamp = Some(at);
    out.push(Moment { at, event: Event::Pod { pod: Box::new(pod), lifetime } });
}

fn namespace(manifest: &Value, out: &mut Vec<Moment>) -> Result<(), Wrong> {
    let times = Times::read(manifest)?;
    let labels: BTreeMap<String, String> =
        serde_json::from_value(manifest["metadata"]["labels"].clone()).unwrap_or_default();
    let event = Event::Namespace(text(&manifest["metadata"]["name"]).to_owned(), labels);
    out.push(Moment { at: times.at, event });
    Ok(())
}

fn parse<T: serde::de::DeserializeOwned>(manifest: &Value) -> Result<T, Wrong> {
    T::deserialize(manifest).map_err(|e| ("", e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_come_one_after_the_other() {
        let pod = json!({"kind": "Pod", "metadata": {"name": "p", "annotations": {
            "simulation.knarr.dev/count": "3", "simulation.knarr.dev/at": "1m", "simulation.knarr.dev/every": "500ms"}},
            "spec": {"containers": [{"name": "c"}]}});
        let (story, left_out) =
            story("s", &[pod, json!({"kind": "ConfigMap", "metadata": {"name": "x"}})]).unwrap();
        let told: Vec<(i64, String)> = story
            .moments
            .iter()
            .map(|m| match &m.event {
                Event::Pod { pod, .. } => (m.at.micros() / 1000, pod.metadata.key().to_string()),
                _ => unreachable!(),
            })
            .collect();
        assert_eq!(
            told,
            [(60_000, "default/p-0".into()), (60_500, "default/p-1".into()), (61_000, "default/p-2".into())]
        );
        assert_eq!(left_out, ["ConfigMap/x"]);
    }

    #[test]
    fn workloads_become_their_pods_with_an_owner() {
        let set = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}}});
        let (story, _) = story("s", &[set]).unwrap();
        assert_eq!(story.pods(), 2);
        let Event::Pod { pod, .. } = &story.moments[1].event else { unreachable!() };
        assert_eq!((pod.metadata.name.as_str(), pod.metadata.labels["app"].as_str()), ("web-1", "web"));
        assert_eq!(pod.metadata.controller().map(|o| o.uid.as_str()), Some("Deployment/shop/web"));
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("2.5s"), Some(Duration::from_millis(2500)));
        for bad in ["", "5", "5x", "s", "1..2s", "99999999999999h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bad_manifest_is_named_by_index_and_field() {
        let node = json!({"kind": "Node", "metadata": {"name": "n"}});
        assert_eq!(story("s", &[node]).unwrap_err().1, "status");
        let pod = json!({"kind": "Pod", "metadata": {"name": "p", "annotations": {"simulation.knarr.dev/at": "soon"}}});
        let (index, field, why) = story("s", &[pod]).unwrap_err();
        assert_eq!((index, field), (0, "metadata.annotations"));
        assert!(why.contains("\"soon\" is no duration"));
    }
}
