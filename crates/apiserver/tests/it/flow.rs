//! Priority and fairness: lanes, turns, refusals, and rules that change while they are in force.

use apiserver::User;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::fixture::{Answer, World};

const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const MAPS: &str = "/api/v1/namespaces/ns/configmaps";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cluster_starts_with_the_rules_that_upstream_has() {
    let w = World::new().await;
    let schemas = w.get(SCHEMAS).await.ok();
    let upstream = [
        "catch-all",
        "exempt",
        "global-default",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-system-service-accounts",
        "probes",
        "service-accounts",
        "system-leader-election",
        "system-node-high",
        "system-nodes",
    ];
    assert_eq!(names(&schemas), upstream);
    let levels = w.get(LEVELS).await.ok();
    assert_eq!(names(&levels).len(), 8);
    let of = |list: &Value, name: &str| {
        let found = list["items"].as_array().unwrap().iter().find(|o| o["metadata"]["name"] == name);
        found.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let answer = w.send("GET", MAPS, &[], Bytes::new()).await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap();
    assert_eq!(header("x-kubernetes-pf-flowschema-uid"), of(&schemas, "exempt"));
    assert_eq!(header("x-kubernetes-pf-prioritylevel-uid"), of(&levels, "exempt"));
}

/// A world with a lane of three seats and two places to wait, for `stormer` alone, and maps for more than one part of a list.
async fn stormy() -> (World, World) {
    let w = World::new().await;
    for n in 0..501 {
        w.post(MAPS, json!({"metadata": {"name": format!("m{n}")}})).await.created();
    }
    w.post(LEVELS, level(2)).await.created();
    // Before `exempt`, which has the same precedence and a later name.
    let rule = json!({
        "subjects": [{"kind": "User", "user": {"name": "stormer"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]
    });
    let schema = json!({"metadata": {"name": "a-storm"}, "spec": {
        "matchingPrecedence": 1, "priorityLevelConfiguration": {"name": "tiny"}, "rules": [rule]
    }});
    w.post(SCHEMAS, schema).await.created();
    tokio::task::yield_now().await;
    let stormer = w.as_user(User::new("stormer", &["system:masters"]));
    (w, stormer)
}

fn level(queue_length_limit: u32) -> Value {
    let queuing = json!({"queues": 1, "handSize": 1, "queueLengthLimit": queue_length_limit});
    json!({"metadata": {"name": "tiny"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 1, "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Queue", "queuing": queuing}
    }}})
}

fn refused(answer: &Answer) -> bool {
    answer.code == 429 && answer.text == "Too many requests, please try again later.\n"
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_lists_waits_in_its_lane_and_leases_pass() {
    let (w, stormer) = stormy().await;
    // A list takes all three seats until its last part is read.
    let unread = stormer.send("GET", MAPS, &[], Bytes::new()).await;
    assert_eq!(unread.status(), 200);
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let stormer = stormer.clone();
            tokio::spawn(async move { stormer.get(MAPS).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let third = stormer.send("GET", MAPS, &[], Bytes::new()).await;
    assert_eq!((third.status().as_u16(), third.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    w.post(LEASES, json!({"metadata": {"name": "n"}, "spec": {"holderIdentity": "n"}})).await.created();
    unread.into_body().collect().await.unwrap();
    for list in waiting {
        assert_eq!(list.await.unwrap().ok()["items"].as_array().unwrap().len(), 501);
    }
    stormer.get(MAPS).await.ok();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_too_long_is_told_to_come_again() {
    let (_, stormer) = stormy().await;
    let unread = stormer.send("GET", MAPS, &[], Bytes::new()).await;
    let answer = stormer.get(MAPS).await;
    assert!(refused(&answer), "{answer:?}");
    drop(unread);
    stormer.get(MAPS).await.ok();
}

#[tokio::test(start_paused = true)]
async fn limits_change_without_a_restart() {
    let (w, stormer) = stormy().await;
    let unread = stormer.send("GET", MAPS, &[], Bytes::new()).await;
    w.patch(&format!("{LEVELS}/tiny"), "merge", json!({"spec": level(2)["spec"].clone()})).await.ok();
    let wider =
        json!({"spec": {"limited": {"nominalConcurrencyShares": 100, "borrowingLimitPercent": null}}});
    w.patch(&format!("{LEVELS}/tiny"), "merge", wider).await.ok();
    tokio::task::yield_now().await;
    stormer.get(MAPS).await.ok();
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn short_of_memory_only_what_frees_it_or_is_small_is_done() {
    let w = World::new().await;
    w.post(MAPS, json!({"metadata": {"name": "a"}})).await.created();
    let used = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let now = used.clone();
    w.server.cap_memory(100, move || now.load(std::sync::atomic::Ordering::Relaxed));
    w.get(MAPS).await.ok();
    used.store(101, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(refused(&w.get(MAPS).await));
    assert!(refused(&w.post(MAPS, json!({"metadata": {"name": "b"}})).await));
    w.get(&format!("{MAPS}/a")).await.ok();
    w.post(LEASES, json!({"metadata": {"name": "n"}, "spec": {"holderIdentity": "n"}})).await.created();
    w.delete(&format!("{MAPS}/a"), Value::Null).await.ok();
    used.store(100, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    w.get(MAPS).await.ok();
}

#[tokio::test(start_paused = true)]
async fn limits_of_a_running_server_are_changed_by_a_config_map() {
    let w = World::new().await;
    const LIMITS: &str = "/api/v1/namespaces/kube-system/configmaps";
    let seats = |text: &str| -> u64 {
        let of_level = |line: &&str| line.starts_with("apiserver_flowcontrol_nominal_limit_seats{");
        let numbers =
            text.lines().filter(of_level).map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        numbers.sum()
    };
    let before = seats(&w.get("/metrics").await.text);
    let map = json!({"metadata": {"name": "knarr-limits"}, "data": {"seats": "60"}});
    w.post(LIMITS, map).await.created();
    let less = seats(&w.get("/metrics").await.text);
    // The components of this program have a lane of their own, which does not shrink.
    assert!(less + 500 < before, "{less} of {before}");
    // Memory: one byte more than there may be, until there may be more.
    w.server.cap_memory(64 << 20, || (64 << 20) + 1);
    let list = format!("{MAPS}?limit=1");
    assert_eq!(w.get(&list).await.code, 429);
    let more = json!({"data": {"memoryMaxMiB": "65"}});
    w.patch(&format!("{LIMITS}/knarr-limits"), "merge", more).await.ok();
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    w.get(&list).await.ok();
    w.delete(&format!("{LIMITS}/knarr-limits"), json!(null)).await.ok();
    assert_eq!(seats(&w.get("/metrics").await.text), before);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(w.get(&list).await.code, 429);
}
