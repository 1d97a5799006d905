use expect_test::expect;
use serde_json::json;

use crate::server::{Mishap, Server};
use crate::world::{events, node, pod, settle, start};

#[tokio::test(start_paused = true)]
async fn pods_are_bound_and_the_event_says_where() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "2"));
    server.put("nodes", node("n2", "2"));
    for i in 0..4 {
        server.put("pods", pod(&format!("p{i}"), "1"));
    }
    let metrics = start(&server);
    settle(1).await;
    assert_eq!(server.places(), ["p0 -> n1", "p1 -> n2", "p2 -> n1", "p3 -> n2"]);
    expect![[r#"
        Normal Scheduled x1 p0: Successfully assigned d/p0 to n1
        Normal Scheduled x1 p1: Successfully assigned d/p1 to n2
        Normal Scheduled x1 p2: Successfully assigned d/p2 to n1
        Normal Scheduled x1 p3: Successfully assigned d/p3 to n2
    "#]]
    .assert_eq(&events(&server));
    assert_eq!(metrics.scheduled(), 4);
    assert!(metrics.text().contains("scheduler_cache_size{type=\"pods\"} 4"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_place_says_why_and_goes_when_there_is_one() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("pods", pod("big", "3"));
    start(&server);
    settle(1).await;
    let condition = server.list("pods")[0]["status"]["conditions"][0].clone();
    assert_eq!(condition["lastTransitionTime"], "2023-11-14T22:13:20Z");
    expect![[r#"PodScheduled False Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."#]]
        .assert_eq(&format!(
            "{} {} {}: {}",
            condition["type"].as_str().unwrap(),
            condition["status"].as_str().unwrap(),
            condition["reason"].as_str().unwrap(),
            condition["message"].as_str().unwrap()
        ));
    // It waits for events, and asks nothing in the meantime.
    let asked = server.requests().len();
    settle(200).await;
    assert_eq!(server.requests().len(), asked);
    server.put("nodes", node("n2", "4"));
    settle(1).await;
    assert_eq!(server.places(), ["big -> n2"]);
    expect![[r#"
        Normal Scheduled x1 big: Successfully assigned d/big to n2
        Warning FailedScheduling x1 big: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
    "#]]
    .assert_eq(&events(&server));
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_refusal_is_counted_not_repeated() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("pods", pod("big", "3"));
    start(&server);
    settle(1).await;
    // Something that could help, but does not, after more than the least time between two notes.
    settle(60).await;
    server.put("nodes", json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "2", "memory": "8Gi", "pods": "9"}}}));
    settle(20).await;
    let events = server.list("events");
    assert_eq!((events.len(), &events[0]["count"]), (1, &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn many_are_bound_with_one_request_where_that_is_offered() {
    let server = Server::new(Some(true));
    server.put("nodes", node("n1", "64"));
    start(&server);
    settle(1).await;
    for i in 0..100 {
        server.put("pods", pod(&format!("p{i:03}"), "100m"));
    }
    settle(1).await;
    assert!(server.places().iter().all(|p| p.ends_with("-> n1")));
    let binds = |r: &&String| r.contains("/bindings") || r.ends_with("/binding");
    let asked: Vec<String> = server.requests().iter().filter(binds).cloned().collect();
    assert!(asked.len() <= 4 && asked.iter().all(|r| r == "POST /apis/knarr.dev/v1/bindings"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn in_bulk_each_pod_has_its_own_outcome() {
    let server = Server::new(Some(true));
    server.put("nodes", node("n1", "64"));
    start(&server);
    settle(1).await;
    server.put("pods", pod("good", "100m"));
    // The server knows another pod of that name by now; the scheduler has not seen it.
    let mut replaced = pod("replaced", "100m");
    server.put("pods", replaced.clone());
    replaced["metadata"]["uid"] = json!("uid-newer");
    server.put("pods", replaced);
    settle(5).await;
    assert_eq!(server.places(), ["good -> n1", "replaced -> n1"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_no_longer_takes_many_gets_them_one_by_one() {
    let server = Server::new(Some(false));
    server.put("nodes", node("n1", "64"));
    start(&server);
    settle(1).await;
    server.put("pods", pod("a", "1"));
    server.put("pods", pod("b", "1"));
    settle(1).await;
    assert_eq!(server.places(), ["a -> n1", "b -> n1"]);
    server.put("pods", pod("c", "1"));
    settle(1).await;
    let bulk = server.requests().iter().filter(|r| r.ends_with("/v1/bindings")).count();
    assert_eq!(bulk, 2, "asked for, tried, and never again");
}

#[tokio::test(start_paused = true)]
async fn a_bind_without_an_answer_is_read_back_before_the_room_is_given_away() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("pods", pod("a", "1"));
    server.put("pods", pod("b", "1"));
    server.mishap(&[Mishap::LoseAnswer]);
    start(&server);
    settle(30).await;
    assert_eq!(server.places(), ["a -> n1", "b -> -"]);
    assert_eq!(server.requests().iter().filter(|r| r.ends_with("a/binding")).count(), 1, "bound once");
}

#[tokio::test(start_paused = true)]
async fn a_bind_that_was_lost_or_refused_is_tried_again() {
    for mishap in [Mishap::LoseRequest, Mishap::Refuse] {
        let server = Server::new(None);
        server.put("nodes", node("n1", "1"));
        server.put("pods", pod("a", "1"));
        server.mishap(&[mishap, mishap]);
        start(&server);
        settle(30).await;
        assert_eq!(server.places(), ["a -> n1"], "{mishap:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn room_of_a_deleted_pod_is_used_again() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("pods", pod("a", "1"));
    start(&server);
    settle(1).await;
    server.put("pods", pod("b", "1"));
    settle(5).await;
    assert_eq!(server.places(), ["a -> n1", "b -> -"]);
    server.remove("pods", "a");
    settle(5).await;
    assert_eq!(server.places(), ["b -> n1"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_cluster_gives_the_same_requests() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let server = Server::new(None);
        for i in 0..5 {
            server.put("nodes", node(&format!("n{i}"), "4"));
        }
        for i in 0..30 {
            server.put("pods", pod(&format!("p{i}"), "700m"));
        }
        server.mishap(&[Mishap::LoseAnswer, Mishap::Refuse, Mishap::LoseRequest]);
        start(&server);
        settle(60).await;
        runs.push((server.requests(), server.places()));
    }
    assert_eq!(runs[0], runs[1]);
}
