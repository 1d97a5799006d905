//! Subresources, reviews, allocation, and what the server does by itself.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::{MAPS, PODS, World, config_map, pod, version};

const SETS: &str = "/apis/apps/v1/namespaces/ns/replicasets";

fn replica_set(replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "a"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
        }
    })
}

fn binding(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns"}, "target": {"kind": "Node", "name": "n"}})
}

#[tokio::test(start_paused = true)]
async fn scale_reads_and_writes_replicas() {
    let w = World::new().await;
    w.post(SETS, replica_set(2)).await.created();
    let scale = w.get(&format!("{SETS}/a/scale")).await.ok();
    assert_eq!((scale["kind"].as_str(), scale["spec"]["replicas"].as_i64()), (Some("Scale"), Some(2)));
    assert_eq!(scale["status"]["selector"], "app=a");
    let patched = w.patch(&format!("{SETS}/a/scale"), "merge", json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(patched["spec"]["replicas"], 5);
    let mut put = w.get(&format!("{SETS}/a/scale")).await.ok();
    put["spec"]["replicas"] = json!(1);
    w.put(&format!("{SETS}/a/scale"), put.clone()).await.ok();
    let set = w.get(&format!("{SETS}/a")).await.ok();
    assert_eq!(
        (set["spec"]["replicas"].as_i64(), set["metadata"]["generation"].as_i64()),
        (Some(1), Some(3))
    );
    w.put(&format!("{SETS}/a/scale"), put).await.refused(409);
    w.patch(&format!("{SETS}/a/scale"), "merge", json!({"spec": {"replicas": -1}})).await.refused(422);
}

#[tokio::test(start_paused = true)]
async fn many_bindings_are_judged_one_by_one() {
    let w = World::new().await;
    for name in ["a", "b", "c"] {
        w.post(PODS, pod(name)).await.created();
    }
    w.post(&format!("{PODS}/b/binding"), binding("b")).await.created();
    let items = json!({"items": [binding("a"), binding("b"), binding("c"), binding("missing")]});
    let answer = w.post("/apis/knarr.dev/v1/bindings", items).await.ok();
    let codes: Vec<i64> =
        answer["items"].as_array().unwrap().iter().map(|i| i["code"].as_i64().unwrap()).collect();
    assert_eq!(codes, [201, 409, 201, 404]);
    let bound = w.get(&format!("{PODS}/c")).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(bound["metadata"]["generation"], 1);
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
}

#[tokio::test(start_paused = true)]
async fn a_binding_for_another_pod_of_that_name_is_refused() {
    let w = World::new().await;
    w.post(PODS, pod("a")).await.created();
    let mut other = binding("a");
    other["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    w.post(&format!("{PODS}/a/binding"), other).await.refused(409);
}

const BUDGETS: &str = "/apis/policy/v1/namespaces/ns/poddisruptionbudgets";

async fn running(w: &World, name: &str) {
    let mut one = pod(name);
    one["spec"]["nodeName"] = json!("n");
    w.post(PODS, one).await.created();
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    w.patch(&format!("{PODS}/{name}/status"), "merge", ready).await.ok();
}

#[tokio::test(start_paused = true)]
async fn eviction_spends_the_budget_and_stops_when_it_is_spent() {
    let w = World::new().await;
    running(&w, "a").await;
    running(&w, "b").await;
    let budget = json!({
        "metadata": {"name": "p"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    });
    w.post(BUDGETS, budget).await.created();
    let evict =
        |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    let unjudged = w.post(&format!("{PODS}/a/eviction"), evict("a")).await;
    assert_eq!(unjudged.body["details"]["causes"][0]["reason"], "DisruptionBudget");
    unjudged.refused(429);
    let status = json!({"status": {
        "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2, "observedGeneration": 1
    }});
    w.patch(&format!("{BUDGETS}/p/status"), "merge", status).await.ok();
    w.post(&format!("{PODS}/a/eviction"), evict("a")).await.created();
    let going = w.get(&format!("{PODS}/a")).await.ok();
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let spent = w.get(&format!("{BUDGETS}/p")).await.ok();
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    assert!(spent["status"]["disruptedPods"]["a"].is_string());
    w.post(&format!("{PODS}/b/eviction"), evict("b")).await.refused(429);
}

#[tokio::test(start_paused = true)]
async fn logs_are_passed_through_from_the_agent_of_the_node() {
    let w = World::new().await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    w.post("/api/v1/nodes", node).await.created();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.9"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}
    }});
    w.patch("/api/v1/nodes/n/status", "merge", status).await.ok();
    running(&w, "a").await;
    let log = w.get(&format!("{PODS}/a/log?tailLines=5&follow=true")).await;
    assert_eq!(log.text, "127.0.0.9:10250/containerLogs/ns/a/c?follow=true&tailLines=5\n");
    assert_eq!(
        w.get(&format!("{PODS}/a/log?container=zz")).await.refused(400),
        "container zz is not valid for pod a"
    );
}

const SERVICES: &str = "/api/v1/namespaces/ns/services";

fn service(name: &str, extra: Value) -> Value {
    let mut spec = json!({"selector": {"app": "a"}, "ports": [{"port": 80}]});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test(start_paused = true)]
async fn addresses_of_services_are_given_once_and_taken_back() {
    let w = World::new().await;
    let a = w.post(SERVICES, service("a", json!({}))).await.created();
    let ip = a["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(ip.starts_with("10.96."), "{ip}");
    let taken = w.post(SERVICES, service("b", json!({"clusterIP": ip}))).await.refused(422);
    assert!(taken.contains("provided IP is already allocated"), "{taken}");
    let mut unsaid = service("a", json!({"sessionAffinity": "ClientIP"}));
    unsaid["metadata"]["resourceVersion"] = a["metadata"]["resourceVersion"].clone();
    let kept = w.put(&format!("{SERVICES}/a"), unsaid).await.ok();
    assert_eq!(kept["spec"]["clusterIP"], *ip);
    w.delete(&format!("{SERVICES}/a"), json!(null)).await.ok();
    w.post(SERVICES, service("b", json!({"clusterIP": ip}))).await.created();
    let outside = w.post(SERVICES, service("c", json!({"clusterIP": "10.9.0.1"}))).await.refused(422);
    assert!(outside.contains("is not in the valid range"), "{outside}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_service_gives_its_address_back() {
    let w = World::new().await;
    let wanted = json!({"clusterIP": "10.96.7.7"});
    w.post(SERVICES, service("a", wanted.clone())).await.created();
    w.delete(&format!("{SERVICES}/a"), json!(null)).await.ok();
    w.post(&format!("{SERVICES}?dryRun=All"), service("b", wanted.clone())).await.created();
    let twice = json!({"clusterIP": "10.96.7.7", "ports": [{"port": 80}, {"port": 80}]});
    w.post(SERVICES, service("c", twice)).await.refused(422);
    w.post(SERVICES, service("d", wanted)).await.created();
}

#[tokio::test(start_paused = true)]
async fn node_ports_are_given_for_the_types_that_need_them() {
    let w = World::new().await;
    let a = w.post(SERVICES, service("a", json!({"type": "NodePort"}))).await.created();
    let port = a["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30_000..=32_767).contains(&port));
    let same = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    w.post(SERVICES, service("b", same)).await.refused(422);
}

#[tokio::test(start_paused = true)]
async fn events_are_one_thing_under_both_groups() {
    let w = World::new().await;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Because", "message": "m", "type": "Normal",
        "involvedObject": {"kind": "Pod", "namespace": "ns", "name": "p"}, "source": {"component": "me"}, "count": 2,
        "firstTimestamp": "2027-01-15T08:00:00Z", "lastTimestamp": "2027-01-15T08:00:00Z"
    });
    w.post("/api/v1/namespaces/ns/events", event).await.created();
    let new = w.get("/apis/events.k8s.io/v1/namespaces/ns/events/e").await.ok();
    assert_eq!((new["apiVersion"].as_str(), new["note"].as_str()), (Some("events.k8s.io/v1"), Some("m")));
    assert_eq!(new["regarding"]["name"], "p");
    let found = w.get("/api/v1/namespaces/ns/events?fieldSelector=involvedObject.name%3Dp").await.ok();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_end_an_hour_after_their_last_write() {
    let w = World::new().await;
    let path = "/api/v1/namespaces/ns/events";
    let event = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "type": "Normal", "reason": "R",
            "involvedObject": {"kind": "Pod", "namespace": "ns", "name": "p"}
        })
    };
    w.post(path, event("old")).await.created();
    w.post(path, event("renewed")).await.created();
    tokio::time::sleep(Duration::from_secs(1800)).await;
    w.patch(&format!("{path}/renewed"), "merge", json!({"count": 2})).await.ok();
    tokio::time::sleep(Duration::from_secs(2000)).await;
    w.get(&format!("{path}/old")).await.refused(404);
    w.get(&format!("{path}/renewed")).await.ok();
    tokio::time::sleep(Duration::from_secs(2000)).await;
    w.get(&format!("{path}/renewed")).await.refused(404);
}

#[tokio::test(start_paused = true)]
async fn a_review_asks_the_authorizer_that_judges_requests() {
    let w = World::new().await;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "ns"}}
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(w.post(path, review).await.created()["status"]["allowed"], true);
    let other = json!({
        "spec": {"user": "viewer", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "ns"}}
    });
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(w.post(path, other).await.created()["status"]["allowed"], false);
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_act_as_another_and_is_judged_as_that_one() {
    let w = World::new().await;
    let acting = [("impersonate-user", "viewer")];
    let refused = w.call("GET", PODS, &acting, bytes::Bytes::new()).await.refused(403);
    assert!(refused.contains("User \"viewer\" cannot list"), "{refused}");
    let stranger = w.as_user(apiserver::User::new("viewer", &[]));
    let acting = [("impersonate-user", "admin"), ("impersonate-group", "system:masters")];
    stranger.call("GET", PODS, &acting, bytes::Bytes::new()).await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_begins_with_its_namespaces_and_its_own_service() {
    let w = World::new().await;
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        w.get(&format!("/api/v1/namespaces/{name}")).await.ok();
    }
    let own = w.get("/api/v1/namespaces/default/services/kubernetes").await.ok();
    assert_eq!(own["spec"]["clusterIP"], "10.96.0.1");
    assert_eq!(own["spec"]["ports"][0]["targetPort"], 6443);
    w.delete("/api/v1/namespaces/default", json!(null)).await.refused(403);
    let before = w.revision();
    w.server.bootstrap().await.unwrap();
    assert_eq!(w.revision(), before, "a second start changes nothing");
}

#[tokio::test(start_paused = true)]
async fn health_and_metrics_are_there() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "1")).await.created();
    assert_eq!(w.get("/healthz").await.text, "ok");
    assert!(w.get("/readyz?verbose").await.text.contains("[+]store ok\n"));
    assert_eq!(w.get("/version").await.ok()["minor"], "36");
    let metrics = w.get("/metrics").await.text;
    let line = "apiserver_request_total{code=\"201\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"resource\",\
                subresource=\"\",verb=\"POST\",version=\"v1\"} 1";
    assert!(metrics.lines().any(|l| l == line), "{metrics}");
}

/// Every series that dashboards and alerts of kubernetes-mixin read of an API server, but for those of the Go runtime.
#[tokio::test(start_paused = true)]
async fn metrics_bear_the_names_and_labels_that_dashboards_read() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "1")).await.created();
    w.post(MAPS, json!({"metadata": {"name": "-"}})).await.refused(422);
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}});
    w.patch(&format!("{MAPS}/b?fieldManager=m"), "apply", apply).await.created();
    let _watch = w.watch(&format!("{MAPS}?watch=1")).await;
    let metrics = w.get("/metrics").await.text;
    let has = |start: &str, rest: &[&str]| {
        let found = metrics.lines().any(|l| l.starts_with(start) && rest.iter().all(|part| l.contains(part)));
        assert!(found, "{start} {rest:?}\n{metrics}");
    };
    let of_request = ["scope=\"resource\"", "verb=\"POST\"", "le=\"0.05\"", "subresource=\"\""];
    has("apiserver_request_duration_seconds_bucket{", &of_request);
    has("apiserver_request_sli_duration_seconds_bucket{", &of_request);
    has("apiserver_request_total{", &["code=\"422\"", "verb=\"POST\""]);
    has("apiserver_request_total{", &["code=\"201\"", "verb=\"APPLY\""]);
    has("apiserver_current_inflight_requests{", &["request_kind=\"readOnly\"} 1"]);
    has("apiserver_current_inflight_requests{", &["request_kind=\"mutating\"} 0"]);
    has("apiserver_longrunning_requests{", &["resource=\"configmaps\"", "verb=\"WATCH\"} 1"]);
    has("apiserver_watch_events_total{", &["resource=\"configmaps\""]);
    has(
        "apiserver_admission_step_admission_duration_seconds_count{",
        &["type=\"admit\"", "rejected=\"false\""],
    );
    has("apiserver_resource_objects{group=\"\",resource=\"configmaps\"} 2", &[]);
    has("etcd_request_duration_seconds_count{", &["operation=\"update\""]);
    has("authentication_attempts{result=\"success\"}", &[]);
    has("authorization_attempts_total{result=\"allowed\"}", &[]);
    has("kubernetes_build_info{", &["git_version=\"v1.36.0+test\"", "minor=\"36\"", "} 1"]);
    has("apiserver_client_certificate_expiration_seconds_count 0", &[]);
    has("apiserver_flowcontrol_nominal_limit_seats{", &["priority_level="]);
    has("knarr_apiserver_watch_delivery_duration_seconds_count 0", &[]);
    has("apiserver_audit_event_total 0", &[]);
    has("knarr_store_read_only 0", &[]);
    w.as_user(apiserver::User::new("somebody", &[])).get(MAPS).await.refused(403);
    let path = "/apis/made.up/v1/things%22%0Aforged%201";
    w.as_user(apiserver::User::new("somebody", &[])).get(path).await.refused(403);
    let after = w.get("/metrics").await.text;
    assert!(after.contains("authorization_attempts_total{result=\"denied\"} 2\n"), "{after}");
    assert!(!after.contains("made.up") && !after.contains("forged"), "{after}");
}

#[tokio::test(start_paused = true)]
async fn a_collection_is_deleted_by_selector() {
    let w = World::new().await;
    for name in ["a", "b", "c"] {
        w.post(MAPS, config_map(name, "1")).await.created();
    }
    let gone = w.delete(&format!("{MAPS}?labelSelector=app+in+(a,b)"), json!(null)).await.ok();
    assert_eq!(gone["items"].as_array().unwrap().len(), 2);
    let left = w.get(MAPS).await.ok();
    assert_eq!(left["items"][0]["metadata"]["name"], "c");
}

#[tokio::test(start_paused = true)]
async fn foreground_and_orphan_are_left_to_finalizers() {
    let w = World::new().await;
    w.post(SETS, replica_set(1)).await.created();
    let options = |policy: &str| json!({"kind": "DeleteOptions", "propagationPolicy": policy});
    let going = w.delete(&format!("{SETS}/a"), options("Foreground")).await.ok();
    assert_eq!(going["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let orphaned = w.delete(&format!("{SETS}/a"), options("Orphan")).await.ok();
    assert_eq!(orphaned["metadata"]["finalizers"], json!(["orphan"]));
    assert!(version(&orphaned) > version(&going));
    w.delete(&format!("{SETS}/a"), options("Background")).await.ok();
    w.get(&format!("{SETS}/a")).await.refused(404);
}
