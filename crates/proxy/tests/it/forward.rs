//! Requests on their way.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::backend::{Backend, FLOOD_BYTES, PORT};
use crate::client::{Client, connect, read, request};
use crate::link::State;
use crate::world::{World, until};

#[tokio::test]
async fn a_clients_connection_stays_open_while_endpoints_change() {
    let mut world = World::new().await;
    let one = world.pod(1).await;
    world.until_answers(1).await;
    let mut client = Client::to(world.address()).await;
    assert_eq!(client.get("/").await.text, one.state.address.to_string());
    let two = world.pod(2).await;
    world.until_answers(2).await;
    world.list(1, false).await;
    world.until_released(1).await;
    one.kill().await;
    for _ in 0..10 {
        let answer = client.get("/").await;
        assert_eq!((answer.code, answer.text), (200, two.state.address.to_string()));
        assert_eq!(answer.endpoint, format!("{}:{PORT}", two.state.address));
    }
}

#[tokio::test]
async fn without_a_ready_endpoint_the_answer_is_503_and_says_why() {
    let mut world = World::new().await;
    let mut client = Client::to(world.address()).await;
    let answer = client.get("/").await;
    assert_eq!((answer.code, &*answer.why, &*answer.endpoint), (503, "no-endpoint", "none"));
    assert!(answer.text.contains("has no endpoints; look at its selector"), "{}", answer.text);
    let _server = Backend::http(world.pod_ip(1));
    world.pod_object(1, true).await;
    world.list(1, false).await;
    until("the pod is listed", async || world.figure(1, "ready").await == false).await;
    let answer = client.get("/").await;
    assert_eq!(answer.text, "no endpoint is ready: endpoints: 1 not ready\n");
}

#[tokio::test]
async fn an_address_outside_of_loopback_is_not_used() {
    let mut world = World::new().await;
    world.endpoint(7, json!({"addresses": ["10.11.12.13"], "conditions": {"ready": true}})).await;
    until("the slice is seen", async || {
        let answer = Client::to(world.address()).await.get("/").await;
        assert_eq!(answer.code, 503);
        answer.text.contains("1 outside of 127.0.0.0/8")
    })
    .await;
    assert!(world.traffic().await["endpoints"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_that_an_endpoint_has_read_is_never_repeated() {
    let mut world = World::new().await;
    let (one, two) = (world.pod(1).await, world.pod(2).await);
    world.until_answers(1).await;
    world.until_answers(2).await;
    let mut client = Client::to(world.address()).await;
    for times in 1..=6 {
        let answer = client.get("/die").await;
        assert_eq!((answer.code, &*answer.why), (502, "upstream-died"), "{answer:?}");
        assert!(answer.endpoint.ends_with(":8080"), "{answer:?}");
        assert_eq!(one.state.requests() + two.state.requests(), times);
    }
    let totals = world.traffic().await["totals"].clone();
    assert_eq!((&totals["requests"], &totals["failed"]), (&json!(6), &json!(6)));
}

#[tokio::test]
async fn another_endpoint_is_tried_when_connecting_fails() {
    let mut world = World::new().await;
    let (one, two) = (world.pod(1).await, world.pod(2).await);
    world.until_answers(1).await;
    world.until_answers(2).await;
    let mut client = Client::to(world.address()).await;
    client.get("/").await;
    client.get("/").await;
    let alive = two.state.address.to_string();
    one.kill().await;
    for _ in 0..10 {
        let answer = client.get("/").await;
        assert_eq!((answer.code, &answer.text), (200, &alive), "{answer:?}");
    }
    two.kill().await;
    let answer = client.get("/").await;
    assert_eq!((answer.code, &*answer.why), (503, "connect-failed"), "{answer:?}");
    assert!(answer.endpoint.ends_with(":8080"), "the last one tried: {answer:?}");
    let metrics = world.status_page("/metrics").await.unwrap();
    let ok = "knarr_proxy_requests_total{namespace=\"shop\",service=\"web\",code=\"200\"} 12";
    assert!(metrics.contains(ok), "{metrics}");
}

#[tokio::test]
async fn requests_flow_while_the_api_server_is_away() {
    let mut world = World::new().await;
    let _one = world.pod(1).await;
    world.until_answers(1).await;
    world.link.set(State::Cut);
    let mut client = Client::to(world.address()).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.code, 200);
    }
    let two = world.pod(2).await;
    world.link.set(State::Open);
    world.until_answers(2).await;
    until("the new pod is used", async || {
        assert_eq!(Client::to(world.address()).await.get("/").await.code, 200);
        two.state.requests() > 0
    })
    .await;
}

#[tokio::test]
async fn bodies_and_headers_pass_and_the_client_is_named() {
    let mut world = World::new().await;
    let _one = world.pod(1).await;
    world.until_answers(1).await;
    let source = world.ip(64, 200);
    let mut client = Client::from(source, world.address()).await;
    let body = "x".repeat(300_000);
    let mut sent = request("/echo");
    *sent.method_mut() = http::Method::POST;
    sent.headers_mut().insert("connection", "x-private".parse().unwrap());
    sent.headers_mut().insert("x-private", "1".parse().unwrap());
    *sent.body_mut() = Full::from(Bytes::from(body.clone()));
    let answer = read(client.open(sent).await).await;
    let (headers, echoed) = answer.text.split_once('\n').unwrap();
    assert!(headers.contains(&format!("\"x-forwarded-for\": \"{source}\"")), "{headers}");
    assert!(headers.contains("\"host\": \"web\"") && !headers.contains("x-private"), "{headers}");
    assert_eq!(echoed, body);
}

#[tokio::test]
async fn bodies_are_streamed() {
    let mut world = World::new().await;
    let one = world.pod(1).await;
    world.until_answers(1).await;
    let mut client = Client::to(world.address()).await;
    let mut response = client.open(request("/stream")).await;
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first");
    assert_eq!(world.figure(1, "open").await, 1);
    one.state.gate.add_permits(1);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), " last");
    until("nothing is open", async || world.figure(1, "open").await == 0).await;
}

#[tokio::test]
async fn a_slow_reader_slows_its_endpoint_down() {
    let mut world = World::new().await;
    let one = world.pod(1).await;
    world.until_answers(1).await;
    let mut client = Client::to(world.address()).await;
    let response = client.open(request("/flood")).await;
    // Nothing is read: what was produced stops growing when the kernel's and the proxy's buffers are full.
    let produced = || one.state.flooded.load(Ordering::SeqCst);
    let (last, same) = (Cell::new(0), Cell::new(0));
    until("it is held back", async || {
        let still = produced() > 0 && produced() == last.replace(produced());
        same.set(if still { same.get() + 1 } else { 0 });
        same.get() == 40
    })
    .await;
    assert!(
        produced() < FLOOD_BYTES / 2,
        "{} bytes were produced for a client that does not read",
        produced()
    );
    let all = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(all.len(), FLOOD_BYTES);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_at_the_endpoint() {
    let mut world = World::new().await;
    let one = world.pod(1).await;
    world.until_answers(1).await;
    let mut client = Client::to(world.address()).await;
    let response = client.open(request("/stream")).await;
    assert_eq!((world.figure(1, "open").await, one.state.connections()), (json!(1), 1));
    drop((response, client));
    until("nothing is open", async || world.figure(1, "open").await == 0).await;
    until("its connection is closed", async || one.state.connections() == 0).await;
}

#[tokio::test]
async fn an_upgraded_connection_is_open_until_it_closes() {
    let mut world = World::new().await;
    let _one = world.pod(1).await;
    world.until_answers(1).await;
    let mut client = Client::to(world.address()).await;
    let mut wish = request("/upgrade");
    wish.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    wish.headers_mut().insert("upgrade", "echo".parse().unwrap());
    let mut response = client.open(wish).await;
    assert_eq!((response.status().as_u16(), &response.headers()["upgrade"]), (101, &"echo".parse().unwrap()));
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    for text in ["hello", "again"] {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, text.as_bytes());
    }
    assert_eq!(world.figure(1, "open").await, 1);
    world.list(1, false).await;
    until("it is not chosen any more", async || world.figure(1, "draining").await == true).await;
    assert_eq!(world.protections(1).await.unwrap().len(), 1, "it is still open");
    stream.shutdown().await.unwrap();
    world.until_released(1).await;
}

#[tokio::test]
async fn a_client_stays_with_its_endpoint_when_the_service_says_so() {
    let spec = json!({"sessionAffinity": "ClientIP"});
    let mut world = World::with(spec, json!([{"port": 8000, "appProtocol": "http"}])).await;
    world.start();
    let _servers = [world.pod(1).await, world.pod(2).await, world.pod(3).await];
    for number in 1..=3 {
        world.until_answers(number).await;
    }
    let mut homes = std::collections::BTreeSet::new();
    for source in 1..=6 {
        let source = world.ip(65, source);
        let home = Client::from(source, world.address()).await.get("/").await.text;
        for _ in 0..5 {
            assert_eq!(Client::from(source, world.address()).await.get("/").await.text, home);
        }
        homes.insert(home);
    }
    assert_eq!(homes.len(), 3, "clients are spread");
    let home = Client::from(world.ip(65, 1), world.address()).await.get("/").await.text;
    let number = home.rsplit_once('.').unwrap().1.parse().unwrap();
    world.list(number, false).await;
    world.until_released(number).await;
    let next = Client::from(world.ip(65, 1), world.address()).await.get("/").await;
    assert!(next.code == 200 && next.text != home, "{next:?}");
}

#[tokio::test]
async fn endpoints_in_the_clients_cell_are_preferred_but_not_required() {
    let spec = json!({"trafficDistribution": "PreferClose"});
    let mut world = World::with(spec, json!([{"port": 8000, "appProtocol": "http"}])).await;
    world.node(1, "CellA").await;
    world.node(2, "CellB").await;
    world.start();
    let servers = [world.pod(1).await, world.pod(2).await];
    for number in 1..=2 {
        world.until_answers(number).await;
    }
    until("cells are known", async || {
        world.figure(1, "cell").await == "CellA" && world.figure(2, "cell").await == "CellB"
    })
    .await;
    let mut near = Client::from(world.pod_ip(1), world.address()).await;
    for _ in 0..6 {
        assert_eq!(near.get("/").await.text, world.pod_ip(1).to_string());
    }
    let before = servers[1].state.requests();
    let mut nobody = Client::to(world.address()).await;
    for _ in 0..6 {
        nobody.get("/").await;
    }
    assert_eq!(servers[1].state.requests() - before, 3, "127.0.0.1 belongs to no cell");
    world.list(1, false).await;
    world.until_released(1).await;
    assert_eq!(near.get("/").await.text, world.pod_ip(2).to_string());
}

#[tokio::test]
async fn connect_is_refused_and_absolute_uris_are_understood() {
    let mut world = World::new().await;
    let _one = world.pod(1).await;
    world.until_answers(1).await;
    for (head, expected) in [
        ("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 405"),
        ("GET http://other/echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "\"host\": \"other\""),
        ("GET /echo HTTP/1.0\r\n\r\n", ":8000\""),
    ] {
        let mut stream = connect(world.ip(64, 200), world.address()).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let mut read = 0;
        while !String::from_utf8_lossy(&answer[..read]).contains(expected) {
            let more = stream.read(&mut answer[read..]).await.unwrap();
            assert!(more > 0, "{head:?}: {}", String::from_utf8_lossy(&answer[..read]));
            read += more;
        }
    }
}
