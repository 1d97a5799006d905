//! Protobuf and custom kinds: of an object there is no message, of its metadata there is.

use serde_json::json;

use super::{WIDGETS, define, spec_of, version, widget, widgets, world};
use crate::protobuf::{PARTIAL, PARTIAL_LIST, PROTOBUF, ask, read};

#[tokio::test(start_paused = true)]
async fn custom_objects_are_refused_in_protobuf_unless_json_will_do() {
    let w = world().await;
    define(&w, widgets(vec![version("v1", spec_of(json!({"a": {"type": "string"}})))])).await;
    w.post(WIDGETS, widget("a", json!({"a": "x"}))).await.created();
    let path = format!("{WIDGETS}/a");
    let (code, media, bytes) = ask(&w, "GET", &path, PROTOBUF, json!(null)).await;
    assert_eq!((code, media.as_str()), (406, PROTOBUF));
    assert_eq!(
        read(&bytes)["message"],
        "only the following media types are accepted: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf"
    );
    let both = format!("{PROTOBUF},application/json");
    for path in [&path, WIDGETS] {
        let (code, media, _) = ask(&w, "GET", path, &both, json!(null)).await;
        assert_eq!((code, media.as_str()), (200, "application/json"));
    }
    let (code, media, _) = ask(&w, "GET", &format!("{WIDGETS}/b"), &both, json!(null)).await;
    assert_eq!((code, media.as_str()), (404, PROTOBUF), "a refusal has a message");
}

#[tokio::test(start_paused = true)]
async fn metadata_of_custom_objects_is_given_in_protobuf() {
    let w = world().await;
    define(&w, widgets(vec![version("v1", spec_of(json!({})))])).await;
    let made = w.post(WIDGETS, widget("a", json!({}))).await.created();
    let (_, media, bytes) = ask(&w, "GET", &format!("{WIDGETS}/a"), PARTIAL, json!(null)).await;
    assert_eq!((media.as_str(), &read(&bytes)["metadata"]), (PROTOBUF, &made["metadata"]));
    let (_, _, bytes) = ask(&w, "GET", WIDGETS, PARTIAL_LIST, json!(null)).await;
    assert_eq!(read(&bytes)["items"][0]["metadata"], made["metadata"]);
}
