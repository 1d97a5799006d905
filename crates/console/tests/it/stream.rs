//! What pages are told.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::browser::{Event, Site};
use crate::world::{NODES, PODS};

/// Whether the event has this part, in whichever form.
fn has(event: &Event, key: &str) -> bool {
    event.data["parts"].get(key).or_else(|| event.data["set"].get(key)).is_some()
}

#[tokio::test]
async fn a_stream_begins_with_everything_and_goes_on_with_what_changed() {
    let site = Site::new().await;
    site.world.deploy(2).await;
    let mut first = site.stream().await;
    first.until(|e| has(e, "pod/default/web-b-1")).await;

    let mut stream = site.stream().await;
    let snapshot = stream.next().await.unwrap();
    assert_eq!((snapshot.name.as_str(), snapshot.id, snapshot.retry), ("snapshot", 1, true));
    assert!(has(&snapshot, "app/default/web") && has(&snapshot, "pod/default/web-a-0"));

    let conditions =
        json!([{"type": "Ready", "status": "False"}, {"type": "InPlaceUpdateReady", "status": "False"}]);
    site.world
        .patch(&PODS, ("default", "web-a-0"), "status", json!({"status": {"conditions": conditions}}))
        .await;
    let update = stream.until(|e| e.data["set"]["pod/default/web-a-0"]["state"] == "draining").await;
    assert_eq!(update.name, "update");
    assert!(!has(&update, "pod/default/web-a-1"), "pods that stay as they are stay unsaid");

    site.world.patch(&PODS, ("default", "web-b-1"), "", json!({"metadata": {"finalizers": null}})).await;
    let key = ("default", "web-b-1");
    let delete = api_client::DeleteOptions { grace_period_seconds: Some(0), ..Default::default() };
    site.world.client.delete(&PODS, key, &delete).await.unwrap();
    let update = stream.until(|e| e.data["gone"].as_array().is_some_and(|g| !g.is_empty())).await;
    assert_eq!(update.data["gone"], json!(["pod/default/web-b-1"]));
}

#[tokio::test]
async fn the_snapshot_and_the_stream_agree() {
    let site = Site::new().await;
    site.world.deploy(1).await;
    let mut stream = site.stream().await;
    let mut parts = serde_json::Map::new();
    while !parts.contains_key("pod/default/web-b-0") || parts["pod/default/web-b-0"]["state"] != "serving" {
        let event = stream.next().await.unwrap();
        let new = event.data.get("parts").or(event.data.get("set")).unwrap();
        parts.extend(new.as_object().unwrap().clone());
        for gone in event.data["gone"].as_array().into_iter().flatten() {
            parts.remove(gone.as_str().unwrap());
        }
    }
    assert_eq!(site.call("GET", "/api/board", "").await.json()["parts"], Value::Object(parts));
}

#[tokio::test]
async fn pages_beyond_the_limit_are_refused_until_one_leaves_or_stalls() {
    let site = Site::with(|c| c.limits.streams = 1).await;
    site.world.node("n", "CellA", json!({})).await;
    let mut first = site.stream().await;
    first.until(|e| has(e, "nodes/CellA")).await;
    let refused = site.stream().await;
    assert_eq!(refused.code, 503);

    site.clock.forward(Duration::from_secs(31));
    let mut second = site.stream().await;
    assert_eq!(second.code, 200, "the first has not moved for 31 s");
    assert!(has(&second.next().await.unwrap(), "nodes/CellA"));
    while first.next().await.is_some() {}

    drop(second);
    // The place is free as soon as the server has noticed.
    while site.stream().await.code != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_thousand_nodes_are_one_small_part_for_each_cell() {
    let site = Site::new().await;
    for n in 0..1000 {
        site.world.create(&NODES, "", json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": format!("sim-{n}"), "labels": {"cafe.sofastack.io/cell": format!("Cell{}", n % 2)}}})).await;
    }
    let mut stream = site.stream().await;
    stream.until(|e| [&e.data["parts"], &e.data["set"]].iter().any(|p| p["cluster"]["nodes"] == 1000)).await;
    let whole = site.call("GET", "/api/board", "").await;
    assert!(whole.text.len() < 2000, "{} bytes", whole.text.len());
}

#[tokio::test]
async fn reports_of_a_load_generator_become_the_clients_view() {
    let site = Site::new().await;
    let mut stream = site.stream().await;
    for (t, ok, failed) in [(0, 0, 0), (500, 990, 10)] {
        let report =
            json!({"t": t, "sent": ok + failed, "ok": ok, "failed": failed, "p50_ms": 21.5, "p99_ms": 30.0});
        assert_eq!(site.call("POST", "/api/load", &report.to_string()).await.code, 200);
    }
    let tick = |e: &Event| {
        e.data["ticks"].as_array().into_iter().flatten().find(|t| t["load"]["failed_total"] == 10).cloned()
    };
    let event = stream.until(|e| tick(e).is_some()).await;
    let load = tick(&event).unwrap()["load"].clone();
    assert_eq!((&load["rps"], &load["failed"], &load["p99_ms"]), (&json!(2000.0), &json!(10), &json!(30.0)));
}

#[tokio::test]
async fn what_the_proxy_counts_reaches_the_page() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                assert_eq!(request.uri().path(), "/traffic");
                let body = json!([{"name": "web", "namespace": "default", "totals": {"requests": 500, "failed": 2, "rps": 9.5},
                    "endpoints": [{"pod": "web-a-0", "ip": "127.1.64.2", "open": 3, "ready": true, "draining": false, "requests": 500}]}]);
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(
                    body.to_string(),
                ))))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let site = Site::with(|c| c.traffic = Some(proxy)).await;
    let mut stream = site.stream().await;
    let tick = |e: &Event| {
        e.data["ticks"].as_array().and_then(|t| t.last().cloned()).filter(|t| t.get("services").is_some())
    };
    let event = stream.until(|e| tick(e).is_some()).await;
    let tick = tick(&event).unwrap();
    assert_eq!(tick["services"]["default/web"]["failed_total"], 2);
    assert_eq!(tick["pods"]["default/web-a-0"]["open"], 3);
}
