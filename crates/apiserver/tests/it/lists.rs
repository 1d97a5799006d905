//! LIST: snapshots, pages, selectors, freshness, forms.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::fixture::{Answer, MAPS, PODS, World, config_map, pod};

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

async fn five(w: &World) {
    for name in ["a", "b", "c", "d", "e"] {
        w.post(MAPS, config_map(name, "1")).await.created();
    }
}

#[tokio::test(start_paused = true)]
async fn pages_are_of_one_snapshot_whatever_happens_between_them() {
    let w = World::new().await;
    five(&w).await;
    let first = w.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    w.delete(&format!("{MAPS}/c"), json!(null)).await.ok();
    w.post(MAPS, config_map("bb", "1")).await.created();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = w.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = w.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&third), ["e"]);
    assert!(third["metadata"].get("continue").is_none());
}

#[tokio::test(start_paused = true)]
async fn selectors_choose_by_labels_and_fields() {
    let w = World::new().await;
    five(&w).await;
    for (query, expected) in [
        ("labelSelector=app%3Da", vec!["a"]),
        ("labelSelector=app+in+(a,b)", vec!["a", "b"]),
        ("labelSelector=app+notin+(a,b),app", vec!["c", "d", "e"]),
        ("fieldSelector=metadata.name%3Dd", vec!["d"]),
        ("fieldSelector=metadata.name!%3Dd&labelSelector=app+in+(d,e)", vec!["e"]),
    ] {
        assert_eq!(names(&w.get(&format!("{MAPS}?{query}")).await.ok()), expected, "{query}");
    }
    let refused = w.get(&format!("{MAPS}?fieldSelector=data.k%3Dv")).await.refused(400);
    assert_eq!(
        refused,
        "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
}

#[tokio::test(start_paused = true)]
async fn pods_are_found_by_their_node() {
    let w = World::new().await;
    let mut bound = pod("a");
    bound["spec"]["nodeName"] = json!("n1");
    w.post(PODS, bound).await.created();
    w.post(PODS, pod("b")).await.created();
    assert_eq!(names(&w.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await.ok()), ["a"]);
    assert_eq!(names(&w.get("/api/v1/pods?fieldSelector=spec.nodeName%3D").await.ok()), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn the_future_is_waited_for_and_then_refused() {
    let w = World::new().await;
    let answer = w.get(&format!("{MAPS}?resourceVersion=99999")).await;
    let details = answer.body["details"].clone();
    let refused = answer.refused(504);
    assert!(refused.starts_with("Timeout: Too large resource version: 99999, current: "), "{refused}");
    assert_eq!(details["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(details["retryAfterSeconds"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_exact_version_is_that_snapshot() {
    let w = World::new().await;
    five(&w).await;
    let at = w.revision();
    w.delete(&format!("{MAPS}/a"), json!(null)).await.ok();
    let then = w.get(&format!("{MAPS}?resourceVersion={at}&resourceVersionMatch=Exact")).await.ok();
    assert_eq!(names(&then), ["a", "b", "c", "d", "e"]);
    assert_eq!(then["metadata"]["resourceVersion"], at.to_string());
    let newer = w.get(&format!("{MAPS}?resourceVersion={at}&resourceVersionMatch=NotOlderThan")).await.ok();
    assert_eq!(names(&newer), ["b", "c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn history_that_is_gone_is_expired_with_a_token_to_go_on() {
    let mut limits = store::Limits::default().inline();
    limits.window = store::Window { events_max: 8, ..limits.window };
    let w = World::with(limits).await;
    five(&w).await;
    let first = w.get(&format!("{MAPS}?limit=2")).await.ok();
    for i in 0..20 {
        w.patch(&format!("{MAPS}/e"), "merge", json!({"data": {"k": i.to_string()}})).await.ok();
    }
    let token = first["metadata"]["continue"].as_str().unwrap();
    let answer = w.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    let next = answer.body["metadata"]["continue"].as_str().unwrap().to_owned();
    assert_eq!(answer.body["reason"], "Expired");
    answer.refused(410);
    assert_eq!(names(&w.get(&format!("{MAPS}?limit=9&continue={next}")).await.ok()), ["c", "d", "e"]);
}

async fn shaped(w: &World, path: &str, accept: &str) -> Answer {
    w.call("GET", path, &[("accept", accept)], Bytes::new()).await
}

#[tokio::test(start_paused = true)]
async fn tables_and_metadata_are_given_when_asked_for() {
    let w = World::new().await;
    five(&w).await;
    let table = shaped(&w, MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await.ok();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"].as_array().unwrap().len(), 5);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = shaped(&w, MAPS, partial).await.ok();
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert!(list["items"][0].get("data").is_none());
    shaped(&w, &format!("{MAPS}/a"), partial).await.refused(406);
    shaped(&w, MAPS, "application/xml").await.refused(406);
}

#[tokio::test(start_paused = true)]
async fn a_long_list_is_whole_when_sent_in_parts() {
    let w = World::new().await;
    for i in 0..1203 {
        w.post(MAPS, config_map(&format!("m{i:04}"), "1")).await.created();
    }
    let all = w.get(MAPS).await.ok();
    let names = names(&all);
    assert_eq!(names.len(), 1203);
    assert!(names.is_sorted());
}
