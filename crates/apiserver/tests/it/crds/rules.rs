//! Rules of definitions over their objects.

use serde_json::{Value, json};

use super::{WIDGETS, define, spec_of, version, widget, widgets, world};
use crate::fixture::World;

async fn ruled(properties: Value, status: bool) -> World {
    let w = world().await;
    let mut schema = spec_of(properties);
    schema["properties"]["status"] = json!({"type": "object", "properties": {"n": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "n may not fall"}]}}});
    let mut version = version("v1", schema);
    if status {
        version["subresources"] = json!({"status": {}});
    }
    define(&w, widgets(vec![version])).await;
    w
}

fn rule(text: &str) -> Value {
    json!([{ "rule": text }])
}

#[tokio::test(start_paused = true)]
async fn an_object_that_breaks_a_rule_is_refused_at_every_door() {
    let w = ruled(json!({"a": {"type": "string", "x-kubernetes-validations": rule("self != 'bad'")}}), true)
        .await;
    let refused = "spec.a: Invalid value: \"bad\": failed rule: self != 'bad'";
    let why = w.post(WIDGETS, widget("a", json!({"a": "bad"}))).await.refused(422);
    assert_eq!(why, format!("Widget.example.com \"a\" is invalid: {refused}"));
    w.post(WIDGETS, widget("a", json!({"a": "good"}))).await.created();
    let one = format!("{WIDGETS}/a");
    for kind in ["merge", "apply"] {
        let body = widget("a", json!({"a": "bad"}));
        let path = if kind == "apply" { format!("{one}?fieldManager=m&force=true") } else { one.clone() };
        assert!(w.patch(&path, kind, body).await.refused(422).contains(refused), "{kind}");
    }
    let status = format!("{one}/status");
    w.patch(&status, "merge", json!({"status": {"n": 2}})).await.ok();
    let why = w.patch(&status, "merge", json!({"status": {"n": 1}})).await.refused(422);
    assert!(why.contains("status.n: Invalid value: 1: n may not fall"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_broke_a_rule_before_it_was_made_may_stay_with_a_warning() {
    let w = ruled(json!({"a": {"type": "string"}, "b": {"type": "string"}}), false).await;
    w.post(WIDGETS, widget("a", json!({"a": "bad", "b": "1"}))).await.created();
    let path = format!("{}/widgets.example.com", super::CRDS);
    let at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/a/x-kubernetes-validations";
    w.patch(&path, "json", json!([{"op": "add", "path": at, "value": rule("self != 'bad'")}])).await.ok();
    super::until(|| async {
        w.post(&format!("{WIDGETS}?dryRun=All"), widget("n", json!({"a": "bad"}))).await.code == 422
    })
    .await;
    let kept = w.patch(&format!("{WIDGETS}/a"), "merge", json!({"spec": {"b": "2"}})).await;
    assert_eq!(kept.warnings.len(), 1, "{:?}", kept.warnings);
    assert!(kept.warnings[0].contains("failed rule: self != 'bad'"), "{:?}", kept.warnings);
    kept.ok();
}
