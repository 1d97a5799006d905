//! JSON: the reader of bodies, objects of built-in kinds with strict decoding, and the typed views of controllers and scheduler.

use api_core::{
    Deployment, EndpointSlice, Lease, Node, Pod, PodDisruptionBudget, ReplicaSet, Service, StatefulSet,
};
use api_koord::cpu::{NumaSpec, ResourceSpec, ResourceStatus};
use api_meta::Object;
use api_schema::{Unknown, apply_defaults, check_fields, complete, decode_json, proto};
use api_workload::{CafeDeployment, CloneSet};
use sched_core::{Demand, Interner, NodeFact};
use serde_json::Value;

use super::{Target, seeds};
use crate::parts::{kind, split, tree};
use crate::sample;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "json",
            run: json,
            seeds: || {
                seeds(&[
                    r#"{"a":[1,-2.5e3,true,null,"\u00e9\ud83d\ude00"],"a":{"b":{}},"":0}"#,
                    "[[[[[]]]]]",
                    "18446744073709551616",
                    "\"\\ud800\"",
                ])
            },
            words: &[
                "{",
                "}",
                "[",
                "]",
                ":",
                ",",
                "null",
                "true",
                "1e999",
                "\\u",
                "\\ud800\\udc00",
                "\"a\":",
            ],
        },
        Target {
            name: "strict",
            run: strict,
            seeds: || sample::of_hot_kinds(|_, _, value| serde_json::to_vec(value).unwrap_or_default()),
            words: sample::WORDS,
        },
        Target {
            name: "views",
            run: views,
            seeds: || sample::of_hot_kinds(|_, _, value| serde_json::to_vec(value).unwrap_or_default()),
            words: sample::WORDS,
        },
    ]
}

/// What is read is what is written, by our reader and by serde_json's own.
fn json(data: &[u8]) {
    let ours = decode_json(data);
    if let Ok(plain) = serde_json::from_slice::<Value>(data) {
        let (value, _) = ours.as_ref().expect("our reader takes what the plain one takes");
        assert_eq!(*value, plain);
    }
    if let Ok((value, _)) = ours {
        let written = serde_json::to_vec(&value).expect("a tree can be written");
        assert_eq!(decode_json(&written).ok(), Some((value, Vec::new())));
    }
}

/// Decoding is stable: again changes nothing, and protobuf carries all of it.
fn strict(data: &[u8]) {
    let [name, body] = split(data);
    let (kind, schema) = kind(name);
    let Some(mut once) = tree(body).filter(Value::is_object) else { return };
    if check_fields(schema, &mut once, Unknown::Name).is_err() {
        return;
    }
    let mut twice = once.clone();
    assert_eq!(check_fields(schema, &mut twice, Unknown::Name), Ok(Vec::new()), "{}", kind.kind);
    assert_eq!(twice, once, "{}", kind.kind);
    let written = serde_json::to_vec(&once).expect("a tree can be written");
    let mut transcoded = Vec::new();
    if let Ok(bytes) = proto::encode(schema, &once) {
        assert_eq!(proto::transcode(schema, &written, &mut transcoded), Ok(()));
        assert_eq!(transcoded, bytes, "{}", kind.kind);
        let mut back = proto::decode(schema, &bytes).expect("it was just written");
        if check_fields(schema, &mut back, Unknown::Name).is_ok() {
            crate::targets::proto::same_message(kind, schema, &once, &back);
        }
    }
    apply_defaults(schema, &mut twice);
    complete(schema, &mut twice);
    let mut again = twice.clone();
    apply_defaults(schema, &mut again);
    complete(schema, &mut again);
    assert_eq!(again, twice, "{}: defaults of defaults", kind.kind);
}

/// Reads an object as a controller does, and asks what every controller asks.
fn view<T: Object>(text: &str) -> Option<T> {
    let object = T::decode(text).ok()?;
    let _ = (object.meta().key().to_string(), object.meta().revision());
    Some(object)
}

/// The same of a view that is also written: what it wrote it reads, and writes again.
fn whole<T: Object + serde::Serialize>(text: &str) -> Option<T> {
    let object = view::<T>(text)?;
    let written = serde_json::to_string(&object).expect("a view can be written");
    let back = T::decode(&written).expect("a view reads what it wrote");
    assert_eq!(serde_json::to_string(&back).ok(), Some(written));
    Some(object)
}

fn views(data: &[u8]) {
    let [_, body] = split(data);
    let Ok(text) = std::str::from_utf8(body) else { return };
    if let Some(pod) = whole::<Pod>(text) {
        pod_words(&pod);
    }
    if let Some(node) = whole::<Node>(text) {
        let _ = NodeFact::of(&node);
    }
    whole::<Deployment>(text);
    whole::<ReplicaSet>(text);
    view::<StatefulSet>(text);
    whole::<Service>(text);
    whole::<EndpointSlice>(text);
    whole::<Lease>(text);
    whole::<PodDisruptionBudget>(text);
    view::<CloneSet>(text);
    view::<CafeDeployment>(text);
}

/// What the scheduler and the words of Koordinator make of a pod.
fn pod_words(pod: &Pod) {
    let _ = Demand::of(pod);
    let _ = Interner::default().project(pod);
    let _ = (ResourceSpec::of(pod), NumaSpec::of(pod), ResourceStatus::of(pod));
    let _ = (api_koord::Qos::of(pod), api_koord::KubeQos::of(pod), api_koord::requests(pod));
    let _ = (api_koord::apart::CpuRules::of(pod), api_koord::gang::gang_of(pod));
}
