//! Hooks that change what is written.

use serde_json::{Value, json};

use super::{Hook, hook, mutating, patch, validating};
use crate::fixture::{MAPS, PODS, World, config_map, pod};

/// Adds a label of its own.
fn label(name: &'static str) -> impl Fn(&Value) -> Value + Send + Sync {
    move |_| patch(&json!([{"op": "add", "path": format!("/metadata/labels/{name}"), "value": "yes"}]))
}

#[tokio::test]
async fn what_a_hook_adds_is_decoded_defaulted_and_validated() {
    let w = World::new().await;
    let added = json!([{"op": "add", "path": "/spec/containers/-", "value": {"name": "side", "image": "s:1", "nope": 1}}]);
    let h = Hook::start(move |_| patch(&added)).await;
    let pods =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    mutating(&w, "c", vec![hook("a", h.client(), json!({"rules": pods}))]).await;
    let made = w.post(PODS, pod("a")).await.created();
    let side = &made["spec"]["containers"][1];
    assert_eq!(
        (&side["terminationMessagePath"], &side["nope"]),
        (&json!("/dev/termination-log"), &Value::Null)
    );
    let mut twice = pod("b");
    twice["spec"]["containers"][0]["name"] = json!("side");
    let why = w.post(PODS, twice).await.refused(422);
    assert_eq!(why, "Pod \"b\" is invalid: spec.containers[1].name: Duplicate value: \"side\"");
}

#[tokio::test]
async fn hooks_change_one_after_the_other_in_order_of_names_and_validating_ones_see_the_end() {
    let w = World::new().await;
    let (a, b, v) =
        (Hook::start(label("one")).await, Hook::start(label("two")).await, Hook::start(super::allow).await);
    mutating(&w, "b", vec![hook("b", b.client(), json!({}))]).await;
    mutating(&w, "a", vec![hook("a", a.client(), json!({}))]).await;
    validating(&w, "v", vec![hook("v", v.client(), json!({}))]).await;
    let made = w.post(MAPS, config_map("a", "1")).await.created();
    let labels = json!({"app": "a", "one": "yes", "two": "yes"});
    assert_eq!(made["metadata"]["labels"], labels);
    assert_eq!(b.asked()[0]["object"]["metadata"]["labels"]["one"], "yes");
    assert_eq!(v.asked()[0]["object"]["metadata"]["labels"], labels);
    let mut bare = config_map("a", "2");
    bare["metadata"]["labels"] = json!({"app": "a"});
    let put = w.put(&format!("{MAPS}/a"), bare).await.ok();
    assert_eq!(put["metadata"]["labels"], labels);
    let applied =
        w.patch(&format!("{MAPS}/a?fieldManager=m&force=true"), "apply", config_map("a", "3")).await.ok();
    assert_eq!(applied["metadata"]["labels"], labels);
}

#[tokio::test]
async fn who_wants_to_is_asked_again_when_a_later_hook_changed_something() {
    let w = World::new().await;
    let (a, b, c) =
        (Hook::start(label("one")).await, Hook::start(super::allow).await, Hook::start(label("two")).await);
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    mutating(
        &w,
        "c",
        vec![
            hook("a", a.client(), again.clone()),
            hook("b", b.client(), json!({})),
            hook("c", c.client(), again),
        ],
    )
    .await;
    w.post(MAPS, config_map("a", "1")).await.created();
    let seen = a.asked();
    assert_eq!(seen.len(), 2, "the first is asked again");
    assert_eq!(seen[1]["object"]["metadata"]["labels"]["two"], "yes");
    assert_eq!((b.asked().len(), c.asked().len()), (1, 1), "the others are not");
}

#[tokio::test]
async fn a_hook_cannot_make_an_object_another_one() {
    let w = World::new().await;
    let stolen = json!([
        {"op": "replace", "path": "/metadata/uid", "value": "00000000-0000-4000-8000-000000000000"},
        {"op": "replace", "path": "/metadata/namespace", "value": "default"}
    ]);
    let h = Hook::start(move |_| patch(&stolen)).await;
    mutating(&w, "c", vec![hook("a", h.client(), json!({}))]).await;
    let made = w.post(MAPS, config_map("a", "1")).await.created();
    assert_eq!(made["metadata"]["namespace"], "ns");
    assert_ne!(made["metadata"]["uid"], "00000000-0000-4000-8000-000000000000");
}

#[tokio::test]
async fn a_deletion_can_be_refused_but_not_changed() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "1")).await.created();
    let h = Hook::start(label("one")).await;
    mutating(&w, "c", vec![hook("a", h.client(), json!({}))]).await;
    let why = w.delete(&format!("{MAPS}/a"), Value::Null).await.refused(500);
    assert_eq!(
        why,
        "Internal error occurred: admission webhook \"a.example.com\" attempted to modify the object, which is not \
         supported for this operation"
    );
}

#[tokio::test]
async fn the_older_review_needs_no_kind_of_patch() {
    let w = World::new().await;
    let h = Hook::start(|r| {
        let mut answer = label("one")(r);
        answer.as_object_mut().unwrap().remove("patchType");
        answer
    })
    .await;
    mutating(&w, "c", vec![hook("a", h.client(), json!({"admissionReviewVersions": ["v1beta1", "v1"]}))])
        .await;
    assert_eq!(w.post(MAPS, config_map("a", "1")).await.created()["metadata"]["labels"]["one"], "yes");
}
