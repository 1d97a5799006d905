//! Hooks that judge.

use serde_json::{Value, json};

use super::{Hook, allow, hook, validating};
use crate::fixture::{MAPS, PODS, World, config_map, pod};

/// Refuses what says no.
fn no(request: &Value) -> Value {
    let subject = if request["operation"] == "DELETE" { &request["oldObject"] } else { &request["object"] };
    if subject["data"]["k"] == "no" {
        return json!({"allowed": false, "status": {"code": 403, "reason": "Forbidden", "message": "it says no"}});
    }
    json!({"allowed": true, "warnings": ["look out"], "auditAnnotations": {"seen": "yes"}})
}

const REFUSAL: &str = "admission webhook \"a.example.com\" denied the request: it says no";

#[tokio::test]
async fn a_hook_judges_create_update_patch_and_delete() {
    let w = World::new().await;
    w.post(MAPS, config_map("old", "no")).await.created();
    let h = Hook::start(no).await;
    validating(&w, "c", vec![hook("a", h.client(), json!({}))]).await;

    assert_eq!(w.post(MAPS, config_map("a", "no")).await.refused(403), REFUSAL);
    assert_eq!(w.get(&format!("{MAPS}/a")).await.code, 404);
    let made = w.post(MAPS, config_map("a", "yes")).await;
    assert_eq!(made.warnings, ["299 - \"look out\""]);
    made.created();
    assert_eq!(w.put(&format!("{MAPS}/a"), config_map("a", "no")).await.refused(403), REFUSAL);
    for kind in ["merge", "strategic"] {
        let refused = w.patch(&format!("{MAPS}/a"), kind, json!({"data": {"k": "no"}})).await;
        assert_eq!(refused.refused(403), REFUSAL);
    }
    let applied = w.patch(&format!("{MAPS}/b?fieldManager=m"), "apply", config_map("b", "no")).await;
    assert_eq!(applied.refused(403), REFUSAL);
    assert_eq!(w.delete(&format!("{MAPS}/old"), Value::Null).await.refused(403), REFUSAL);
    assert_eq!(w.delete(MAPS, Value::Null).await.refused(403), REFUSAL);
    w.delete(&format!("{MAPS}/a"), Value::Null).await;
}

#[tokio::test]
async fn a_hook_is_told_what_is_done_by_whom_and_to_what() {
    let w = World::new().await;
    let h = Hook::start(allow).await;
    validating(&w, "c", vec![hook("a", h.client(), json!({}))]).await;
    let made = w.post(&format!("{MAPS}?fieldManager=m"), config_map("a", "1")).await.created();
    w.patch(&format!("{MAPS}/a?dryRun=All"), "merge", json!({"data": {"k": "2"}})).await.ok();
    w.delete(&format!("{MAPS}/a"), json!({"gracePeriodSeconds": 0})).await.ok();
    let asked = h.asked();
    let told: Vec<(&str, bool, &str)> = asked
        .iter()
        .map(|r| {
            let text = |v: &'_ Value| v.as_str().map(str::to_owned).unwrap_or_default();
            assert_eq!((text(&r["name"]), text(&r["namespace"])), ("a".to_owned(), "ns".to_owned()));
            assert_eq!(r["userInfo"]["username"], "admin");
            assert_eq!(r["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
            assert_eq!(r["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
            (r["operation"].as_str().unwrap(), r["dryRun"] == true, r["options"]["kind"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("CREATE", false, "CreateOptions"),
            ("UPDATE", true, "UpdateOptions"),
            ("DELETE", false, "DeleteOptions")
        ]
    );
    assert_eq!(asked[0]["options"]["fieldManager"], "m");
    assert_eq!(
        (&asked[0]["object"]["metadata"]["uid"], &asked[0]["oldObject"]),
        (&made["metadata"]["uid"], &Value::Null)
    );
    assert_eq!(
        (&asked[1]["object"]["data"]["k"], &asked[1]["oldObject"]["data"]["k"]),
        (&json!("2"), &json!("1"))
    );
    assert_eq!((&asked[2]["object"], &asked[2]["oldObject"]["data"]["k"]), (&Value::Null, &json!("1")));
}

#[tokio::test]
async fn selectors_and_exemptions_keep_hooks_away() {
    let w = World::new().await;
    w.post("/api/v1/namespaces", json!({"metadata": {"name": "other", "labels": {"free": "yes"}}}))
        .await
        .created();
    let h = Hook::start(|_| json!({"allowed": false})).await;
    let rules =
        json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]);
    let selectors = json!({
        "rules": rules,
        "namespaceSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
        "objectSelector": {"matchLabels": {"app": "a"}}
    });
    validating(&w, "c", vec![hook("a", h.client(), selectors)]).await;
    assert_eq!(w.post(MAPS, config_map("a", "1")).await.code, 400);
    w.post(MAPS, config_map("b", "1")).await.created();
    w.post("/api/v1/namespaces/other/configmaps", config_map("a", "1")).await.created();
    // A hook that refuses everything can be taken back: it is not asked about itself.
    let own = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/c";
    w.patch(own, "merge", json!({"metadata": {"labels": {"app": "a"}}})).await.ok();
    w.delete(own, Value::Null).await.ok();
    w.post(MAPS, config_map("a", "1")).await.created();
}

#[tokio::test]
async fn subresources_are_asked_about_on_their_own() {
    let w = World::new().await;
    let h = Hook::start(|r| json!({"allowed": r["subResource"].is_null()})).await;
    let rules = json!([{
        "apiGroups": ["", "apps"], "apiVersions": ["v1"], "operations": ["*"],
        "resources": ["pods/*", "deployments/scale"]
    }]);
    validating(&w, "c", vec![hook("a", h.client(), json!({"rules": rules}))]).await;
    w.post(PODS, pod("a")).await.created();
    let status = w.patch(&format!("{PODS}/a/status"), "merge", json!({"status": {"phase": "Running"}})).await;
    assert_eq!(status.code, 400, "{}", status.text);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    assert_eq!(w.post(&format!("{PODS}/a/eviction"), eviction).await.code, 400);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(w.post(&format!("{PODS}/a/binding"), binding).await.code, 400);
    assert_eq!(w.post(&format!("{PODS}/a/attach?container=c&stdout=true"), json!({})).await.code, 400);
    let asked = h.asked();
    let told: Vec<String> = asked
        .iter()
        .map(|r| format!("{} {} {}", r["operation"], r["subResource"], r["kind"]["kind"]))
        .collect();
    assert_eq!(
        told,
        [
            r#""CREATE" null "Pod""#,
            r#""UPDATE" "status" "Pod""#,
            r#""CREATE" "eviction" "Eviction""#,
            r#""CREATE" "binding" "Binding""#,
            r#""CONNECT" "attach" "PodAttachOptions""#
        ]
    );
    assert_eq!(asked[4]["object"]["container"], "c");
}

#[tokio::test]
async fn a_scale_is_seen_as_a_scale() {
    let w = World::new().await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
    });
    const SETS: &str = "/apis/apps/v1/namespaces/ns/deployments";
    w.post(SETS, deployment).await.created();
    let h = Hook::start(|r| json!({"allowed": r["object"]["spec"]["replicas"].as_i64() < Some(5)})).await;
    let rules = json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"]}]);
    validating(&w, "c", vec![hook("a", h.client(), json!({"rules": rules}))]).await;
    let path = format!("{SETS}/d/scale");
    w.patch(&path, "merge", json!({"spec": {"replicas": 4}})).await.ok();
    assert_eq!(w.patch(&path, "merge", json!({"spec": {"replicas": 9}})).await.code, 400);
    let asked = h.asked();
    assert_eq!(asked[0]["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(
        (&asked[0]["oldObject"]["spec"]["replicas"], &asked[0]["object"]["spec"]["replicas"]),
        (&json!(1), &json!(4))
    );
}

#[tokio::test]
async fn an_equivalent_hook_sees_the_version_that_it_knows() {
    let w = World::new().await;
    let h = Hook::start(|r| json!({"allowed": r["object"]["regarding"]["name"] == "fine"})).await;
    let rules = json!([{
        "apiGroups": ["events.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["events"]
    }]);
    let event = |name: &str| json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": {"name": name, "namespace": "ns"}});
    const EVENTS: &str = "/api/v1/namespaces/ns/events";
    validating(&w, "c", vec![hook("a", h.client(), json!({"rules": rules}))]).await;
    w.post(EVENTS, event("fine")).await.created();
    assert_eq!(w.post(EVENTS, event("bad")).await.code, 400);
    let asked = h.asked();
    assert_eq!(
        (&asked[0]["kind"]["group"], &asked[0]["requestKind"]["group"]),
        (&json!("events.k8s.io"), &json!(""))
    );
    let exact = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/c";
    w.patch(exact, "strategic", json!({"webhooks": [{"name": "a.example.com", "matchPolicy": "Exact"}]}))
        .await
        .ok();
    w.post(EVENTS, event("bad")).await.created();
}

#[tokio::test]
async fn hooks_judge_at_once_and_the_first_in_order_is_heard() {
    let w = World::new().await;
    // Each answers only when both were asked: one after the other, they would wait for ever.
    let both = std::sync::Arc::new(std::sync::Barrier::new(2));
    let judge = |name: &'static str, both: std::sync::Arc<std::sync::Barrier>| {
        move |_: &Value| {
            // In place: a worker that only waits would keep to itself what it was about to do, perhaps the other answer.
            tokio::task::block_in_place(|| both.wait());
            json!({"allowed": false, "status": {"message": name}})
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let (x, y) = (judge("second", both.clone()), judge("first", both));
    let (x, y) = runtime.spawn(async move { (Hook::start(x).await, Hook::start(y).await) }).await.unwrap();
    validating(&w, "z", vec![hook("z", x.client(), json!({}))]).await;
    validating(&w, "a", vec![hook("a", y.client(), json!({}))]).await;
    let why = w.post(MAPS, config_map("a", "1")).await.refused(400);
    assert_eq!(why, "admission webhook \"a.example.com\" denied the request: first");
    runtime.shutdown_background();
}
