//! WATCH: ordered, unique, reliable, atomic, resumable, bookmarkable.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::{MAPS, PODS, World, config_map, pod, version};

#[tokio::test(start_paused = true)]
async fn a_watch_begins_with_what_is_there_and_goes_on_with_what_happens() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "1")).await.created();
    let mut watch = w.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(watch.take(1).await, ["ADDED a"]);
    w.post(MAPS, config_map("b", "1")).await.created();
    w.patch(&format!("{MAPS}/b"), "merge", json!({"data": {"k": "2"}})).await.ok();
    w.delete(&format!("{MAPS}/a"), json!(null)).await.ok();
    assert_eq!(watch.take(3).await, ["ADDED b", "MODIFIED b", "DELETED a"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_version_gives_exactly_what_came_after_it() {
    let w = World::new().await;
    let a = w.post(MAPS, config_map("a", "1")).await.created();
    w.post(MAPS, config_map("b", "1")).await.created();
    let mut watch = w.watch(&format!("{MAPS}?watch=1&resourceVersion={}", version(&a))).await;
    assert_eq!(watch.take(1).await, ["ADDED b"]);
}

#[tokio::test(start_paused = true)]
async fn versions_of_events_rise_and_deletions_carry_their_own() {
    let w = World::new().await;
    let a = w.post(MAPS, config_map("a", "1")).await.created();
    let mut watch = w.watch(&format!("{MAPS}?watch=1")).await;
    watch.take(1).await;
    w.delete(&format!("{MAPS}/a"), json!(null)).await.ok();
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert!(version(&gone["object"]) > version(&a));
    assert_eq!(gone["object"]["data"]["k"], "1");
}

#[tokio::test(start_paused = true)]
async fn what_stops_to_match_is_deleted_for_the_watcher_and_what_begins_is_added() {
    let w = World::new().await;
    let mut watch = w.watch(&format!("{MAPS}?watch=1&labelSelector=on")).await;
    w.post(MAPS, config_map("a", "1")).await.created();
    w.patch(&format!("{MAPS}/a"), "merge", json!({"metadata": {"labels": {"on": "1"}}})).await.ok();
    w.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": "2"}})).await.ok();
    let off =
        w.patch(&format!("{MAPS}/a"), "merge", json!({"metadata": {"labels": {"on": null}}})).await.ok();
    assert_eq!(watch.take(2).await, ["ADDED a", "MODIFIED a"]);
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"]["metadata"]["labels"]["on"], "1", "shown as it was when it matched");
    assert_eq!(version(&gone["object"]), version(&off));
}

#[tokio::test(start_paused = true)]
async fn kubelets_see_a_pod_from_its_binding_on() {
    let w = World::new().await;
    let mut watch = w.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn").await;
    w.post(PODS, pod("a")).await.created();
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    w.post(&format!("{PODS}/a/binding"), binding).await.created();
    w.delete(&format!("{PODS}/a"), json!({"kind": "DeleteOptions", "gracePeriodSeconds": 0})).await.ok();
    assert_eq!(watch.take(3).await, ["ADDED a", "MODIFIED a", "DELETED a"]);
}

#[tokio::test(start_paused = true)]
async fn the_initial_list_ends_with_its_bookmark() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "1")).await.created();
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = w.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(watch.take(1).await, ["ADDED a"]);
    let mark = watch.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(version(&mark["object"]), w.revision());
    let refused = w.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await.refused(422);
    assert!(refused.contains("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_every_minute_and_before_the_end() {
    let w = World::new().await;
    let query = "watch=1&allowWatchBookmarks=true&timeoutSeconds=90";
    let mut watch = w.watch(&format!("{MAPS}?{query}")).await;
    w.post(PODS, pod("elsewhere")).await.created();
    let events = watch.rest().await;
    let kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["BOOKMARK", "BOOKMARK"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_after_its_timeout() {
    let w = World::new().await;
    let started = tokio::time::Instant::now();
    let mut watch = w.watch(&format!("{MAPS}?watch=1&timeoutSeconds=7")).await;
    assert_eq!(watch.rest().await, Vec::<Value>::new());
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_the_forgotten_past_is_told_so_in_the_stream() {
    let mut limits = store::Limits::default().inline();
    limits.window = store::Window { events_max: 4, ..limits.window };
    let w = World::with(limits).await;
    w.post(MAPS, config_map("a", "1")).await.created();
    let from = w.revision();
    for i in 0..20 {
        w.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": format!("x{i}")}})).await.ok();
    }
    let mut watch = w.watch(&format!("{MAPS}?watch=1&resourceVersion={from}")).await;
    let events = watch.rest().await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0]["type"].as_str(), events[0]["object"]["code"].as_u64()),
        (Some("ERROR"), Some(410))
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_misses_nothing_or_is_told() {
    let w = World::new().await;
    let mut watch = w.watch(&format!("{MAPS}?watch=1&timeoutSeconds=60")).await;
    for i in 0..700 {
        w.post(MAPS, config_map(&format!("m{i:04}"), "1")).await.created();
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let events = watch.take(700).await;
    let expected: Vec<String> = (0..700).map(|i| format!("ADDED m{i:04}")).collect();
    assert_eq!(events, expected);
}

#[tokio::test(start_paused = true)]
async fn tables_are_watched_with_their_columns_once() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "1")).await.created();
    w.post(MAPS, config_map("b", "1")).await.created();
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let answer =
        w.call("GET", &format!("{MAPS}?watch=1&timeoutSeconds=1"), &accept, bytes::Bytes::new()).await;
    let lines: Vec<Value> = answer.text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0]["object"]["columnDefinitions"].is_array());
    assert!(lines[1]["object"]["columnDefinitions"].is_null());
}
