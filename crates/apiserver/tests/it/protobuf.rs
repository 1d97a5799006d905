//! Answers in protobuf: the same objects as in JSON, through every verb.

use api_client::{Body, Response};
use api_schema::proto;
use api_schema::{Unknown, check_fields};
use api_tables::tables;
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::fixture::{MAPS, PODS, World, config_map, pod, version};

pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub(crate) const PARTIAL: &str =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
pub(crate) const PARTIAL_LIST: &str =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// An answer's code, media type and bytes.
pub(crate) async fn ask(
    w: &World,
    method: &str,
    path: &str,
    accept: &str,
    body: Value,
) -> (u16, String, Bytes) {
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let response = w.send(method, path, &[("accept", accept), ("content-type", media)], body).await;
    let code = response.status().as_u16();
    let media = media_type(&response);
    (code, media, response.into_body().collect().await.unwrap())
}

fn media_type(response: &Response) -> String {
    response.headers()["content-type"].to_str().unwrap().to_owned()
}

/// The object in its wrapper, as its JSON would be.
pub(crate) fn read(bytes: &[u8]) -> Value {
    let envelope = proto::open(bytes).unwrap();
    let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", &envelope.api_version));
    let schema = tables().schema(group, version, &envelope.kind).unwrap();
    let mut object = proto::decode(schema, envelope.raw).unwrap();
    check_fields(schema, &mut object, Unknown::Name).unwrap();
    object["apiVersion"] = envelope.api_version.clone().into();
    object["kind"] = envelope.kind.clone().into();
    object
}

/// A protobuf watch.
struct Frames {
    stream: api_client::BodyStream,
    left: Vec<u8>,
}

impl Frames {
    async fn open(w: &World, path: &str, accept: &str) -> Frames {
        let response = w.send("GET", path, &[("accept", accept)], Bytes::new()).await;
        assert_eq!((response.status().as_u16(), media_type(&response).as_str()), (200, STREAM));
        let Body::Stream(stream) = response.into_body() else { panic!("no stream") };
        Frames { stream, left: Vec::new() }
    }

    /// Type, object and bytes of the next event.
    async fn next(&mut self) -> (String, Value, Vec<u8>) {
        loop {
            if let Some(length) = self.left.first_chunk().map(|b| u32::from_be_bytes(*b) as usize)
                && self.left.len() >= 4 + length
            {
                let frame: Vec<u8> = self.left.drain(..4 + length).skip(4).collect();
                let kind = String::from_utf8(frame[2..2 + usize::from(frame[1])].to_vec()).unwrap();
                let at = frame.windows(4).position(|w| w == proto::MAGIC).unwrap();
                return (kind, read(&frame[at..]), frame);
            }
            let chunk = self.stream.next().await.unwrap().unwrap();
            self.left.extend_from_slice(&chunk);
        }
    }
}

const STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";

#[tokio::test(start_paused = true)]
async fn every_verb_answers_in_protobuf_what_it_answers_in_json() {
    let w = World::new().await;
    let (code, media, bytes) = ask(&w, "POST", PODS, PROTOBUF, pod("a")).await;
    assert_eq!((code, media.as_str()), (201, PROTOBUF));
    let path = format!("{PODS}/a");
    assert_eq!(read(&bytes), w.get(&path).await.ok());
    let (_, _, bytes) = ask(&w, "PATCH", &path, PROTOBUF, json!({"metadata": {"labels": {"x": "y"}}})).await;
    let patched = read(&bytes);
    assert_eq!(patched, w.get(&path).await.ok());
    let (_, _, bytes) = ask(&w, "PUT", &path, PROTOBUF, patched.clone()).await;
    assert_eq!(read(&bytes), patched);
    let (_, _, bytes) = ask(&w, "GET", PODS, &format!("{PROTOBUF},application/json"), json!(null)).await;
    let list = read(&bytes);
    let mut expected = w.get(PODS).await.ok();
    assert_eq!(list["kind"], "PodList");
    // Items carry neither kind nor version in both.
    assert_eq!(list["items"], expected["items"].take());
    assert_eq!(list["metadata"]["resourceVersion"], expected["metadata"]["resourceVersion"]);
    let (code, _, bytes) = ask(&w, "DELETE", &path, PROTOBUF, json!(null)).await;
    assert_eq!((code, read(&bytes)["metadata"]["name"].clone()), (200, json!("a")));
    let (code, media, bytes) = ask(&w, "GET", &path, PROTOBUF, json!(null)).await;
    assert_eq!((code, media.as_str()), (404, PROTOBUF));
    let status = read(&bytes);
    assert_eq!(status["message"], "pods \"a\" not found");
    assert_eq!(status["details"], json!({"name": "a", "kind": "pods"}));
    assert_eq!(status["code"], 404);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_sent_in_parts_is_one_message() {
    let w = World::new().await;
    // More than are encoded before the first byte is sent.
    for i in 0..620 {
        w.post(MAPS, config_map(&format!("m{i:03}"), &"v".repeat(i))).await.created();
    }
    let (_, _, bytes) = ask(&w, "GET", MAPS, PROTOBUF, json!(null)).await;
    assert_eq!(read(&bytes)["items"], w.get(MAPS).await.ok()["items"]);
    let (_, _, page) = ask(&w, "GET", &format!("{MAPS}?limit=10"), PROTOBUF, json!(null)).await;
    let page = read(&page);
    assert_eq!(page["items"].as_array().unwrap().len(), 10);
    assert_eq!(page["metadata"]["remainingItemCount"], 610);
    assert!(!page["metadata"]["continue"].as_str().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_in_protobuf_frames_what_is_there_and_what_happens() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "1")).await.created();
    let path = format!(
        "{MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let (mut one, mut other) =
        (Frames::open(&w, &path, PROTOBUF).await, Frames::open(&w, &path, PROTOBUF).await);
    for watch in [&mut one, &mut other] {
        let (kind, object, _) = watch.next().await;
        assert_eq!(kind, "ADDED");
        assert_eq!(object, w.get(&format!("{MAPS}/a")).await.ok());
        let (kind, object, _) = watch.next().await;
        assert_eq!((kind.as_str(), &object["kind"]), ("BOOKMARK", &json!("ConfigMap")));
        assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        assert_eq!(version(&object), w.revision());
    }
    w.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": "2"}})).await.ok();
    w.delete(&format!("{MAPS}/a"), json!(null)).await.ok();
    for expected in ["MODIFIED", "DELETED"] {
        let (kind, object, frame) = one.next().await;
        assert_eq!((kind.as_str(), &object["data"]["k"]), (expected, &json!("2")));
        assert_eq!(other.next().await.2, frame, "both get the same bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_in_protobuf_that_cannot_go_on_says_so_in_a_frame() {
    let mut limits = store::Limits::default().inline();
    limits.window = store::Window { events_max: 4, ..limits.window };
    let w = World::with(limits).await;
    for i in 0..20 {
        w.post(MAPS, config_map(&format!("m{i}"), "1")).await.created();
    }
    let path = format!("{MAPS}?watch=1&resourceVersion=1");
    let mut watch = Frames::open(&w, &path, PROTOBUF).await;
    let (kind, status, _) = watch.next().await;
    assert_eq!(
        (kind.as_str(), &status["reason"], &status["code"]),
        ("ERROR", &json!("Expired"), &json!(410))
    );
}

#[tokio::test(start_paused = true)]
async fn metadata_informers_list_and_watch_in_protobuf() {
    let w = World::new().await;
    w.post(PODS, pod("a")).await.created();
    let (_, media, bytes) = ask(&w, "GET", PODS, PARTIAL_LIST, json!(null)).await;
    let list = read(&bytes);
    assert_eq!((media.as_str(), &list["kind"]), (PROTOBUF, &json!("PartialObjectMetadataList")));
    let whole = w.get(&format!("{PODS}/a")).await.ok();
    assert_eq!(list["items"][0]["metadata"], whole["metadata"]);
    let mut watch = Frames::open(&w, &format!("{PODS}?watch=1"), PARTIAL).await;
    let (kind, object, _) = watch.next().await;
    assert_eq!((kind.as_str(), &object["kind"]), ("ADDED", &json!("PartialObjectMetadata")));
    assert_eq!(object["metadata"], whole["metadata"]);
    assert!(object.get("spec").is_none());
}

#[tokio::test(start_paused = true)]
async fn tables_have_no_message_and_are_left_to_the_next_choice() {
    let w = World::new().await;
    let table = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1";
    let (code, media, _) = ask(&w, "GET", PODS, table, json!(null)).await;
    assert_eq!((code, media.as_str()), (406, "application/json"));
    let (code, media, _) = ask(&w, "GET", PODS, &format!("{table},application/json"), json!(null)).await;
    assert_eq!((code, media.as_str()), (200, "application/json"));
}

#[tokio::test(start_paused = true)]
async fn questions_and_subresources_answer_in_protobuf() {
    let w = World::new().await;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, _, bytes) = ask(&w, "POST", path, PROTOBUF, review).await;
    assert_eq!((code, read(&bytes)["status"]["allowed"].clone()), (201, json!(true)));
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let path = "/apis/apps/v1/namespaces/ns/deployments";
    w.post(path, deployment).await.created();
    let (_, _, bytes) = ask(&w, "GET", &format!("{path}/d/scale"), PROTOBUF, json!(null)).await;
    assert_eq!(read(&bytes)["spec"], json!({"replicas": 3}));
}
