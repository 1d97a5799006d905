//! Connections on their way.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::backend::Backend;
use crate::client::connect;
use crate::world::{FINALIZER, World, until};

async fn world() -> World {
    let mut world = World::with(json!({}), json!([{"port": 8000}])).await;
    world.start();
    world
}

#[tokio::test]
async fn connections_are_half_closed_counted_and_hold_their_pod() {
    let mut world = world().await;
    let one = Backend::reverser(world.pod_ip(1));
    world.pod_object(1, true).await;
    world.list(1, true).await;
    world.until_answers(1).await;
    let source = world.ip(64, 200);
    let (mut a, mut b) = (connect(source, world.address()).await, connect(source, world.address()).await);
    until("both are open", async || world.figure(1, "open").await == 2).await;
    a.write_all(b"abc").await.unwrap();
    a.shutdown().await.unwrap();
    let mut back = String::new();
    a.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "cba", "the answer came after our side was closed");
    until("one is open", async || world.figure(1, "open").await == 1).await;
    world.list(1, false).await;
    until("it drains", async || world.figure(1, "draining").await == true).await;
    assert_eq!(world.protections(1).await.unwrap(), [FINALIZER]);
    b.write_all(b"xy").await.unwrap();
    b.shutdown().await.unwrap();
    back.clear();
    b.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "yx", "a draining endpoint still serves what is open");
    world.until_released(1).await;
    assert_eq!(one.state.requests(), 2);
    assert_eq!(world.traffic().await["totals"]["requests"], 2);
}

#[tokio::test]
async fn another_endpoint_is_connected_to_when_one_refuses() {
    let mut world = world().await;
    let two = Backend::reverser(world.pod_ip(2));
    for number in 1..=2 {
        world.pod_object(number, true).await;
        world.list(number, true).await;
        world.until_answers(number).await;
    }
    for times in 1..=4 {
        let mut stream = connect(world.ip(64, 200), world.address()).await;
        stream.write_all(b"ab").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).await.unwrap();
        assert_eq!((back.as_str(), two.state.requests()), ("ba", times));
    }
    assert_eq!(world.traffic().await["totals"]["failed"], 0);
}

#[tokio::test]
async fn a_connection_without_an_endpoint_is_closed() {
    let world = world().await;
    until("the address answers", async || world.traffic().await["name"] == "web").await;
    let mut stream = connect(world.ip(64, 200), world.address()).await;
    let mut nothing = Vec::new();
    let _ = stream.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty());
    assert_eq!(world.traffic().await["totals"]["failed"], 1);
}
