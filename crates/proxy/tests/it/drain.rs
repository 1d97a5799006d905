//! How pods come into service and leave it.

use api_client::{Patch, WriteOptions};
use api_core::Pod;
use api_meta::Object;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::client::{Client, read, request};
use crate::link::State;
use crate::world::{FINALIZER, World, name, until};

#[tokio::test]
async fn nothing_is_sent_before_the_finalizer_is_acknowledged() {
    let mut world = World::new().await;
    world.link.set(State::PatchesWait);
    let one = world.pod(1).await;
    until("the pod is about to be registered", async || {
        let answer = Client::to(world.address()).await.get("/").await;
        assert_eq!((answer.code, &*answer.why), (503, "no-endpoint"));
        answer.text.contains("1 about to be registered")
    })
    .await;
    assert_eq!((one.state.requests(), one.state.connections()), (0, 0));
    assert_eq!(world.protections(1).await.unwrap(), [""; 0]);
    world.link.set(State::Open);
    world.until_answers(1).await;
    assert_eq!(world.protections(1).await.unwrap(), [FINALIZER]);
    assert_eq!(world.expected(1).await, json!({"Service/shop/web": FINALIZER}));
    assert_eq!(Client::to(world.address()).await.get("/").await.code, 200);
    let writes = world.link.writes();
    assert_eq!(writes, ["PATCH /api/v1/namespaces/shop/pods/web-1"], "finalizer and annotation in one write");
}

#[tokio::test]
async fn a_finalizer_never_gets_onto_a_pod_whose_gate_was_closed_meanwhile() {
    let mut world = World::new().await;
    world.link.set(State::PatchesWait);
    let one = world.pod(1).await;
    until("the pod is about to be registered", async || {
        Client::to(world.address()).await.get("/").await.text.contains("1 about to be registered")
    })
    .await;
    let stale = world.link.waiting();
    assert_eq!(stale, 1, "the patch is on its way");
    world.gate(1, "False").await;
    world.link.set(State::Open);
    until("the patch was refused", async || world.link.refused() == 1).await;
    until("the gate is seen", async || {
        Client::to(world.address()).await.get("/").await.text.contains("1 not ready")
    })
    .await;
    assert_eq!(world.protections(1).await.unwrap(), [""; 0]);
    assert_eq!(one.state.requests(), 0);
    world.gate(1, "True").await;
    world.until_answers(1).await;
    assert_eq!(world.protections(1).await.unwrap(), [FINALIZER]);
}

#[tokio::test]
async fn pods_that_do_not_take_part_are_chosen_at_once_and_stay_as_they_are() {
    let mut world = World::new().await;
    let _server = Backend::http(world.pod_ip(1));
    world.pod_object(1, false).await;
    world.list(1, true).await;
    world.until_answers(1).await;
    assert_eq!(Client::to(world.address()).await.get("/").await.code, 200);
    assert_eq!(world.protections(1).await.unwrap(), [""; 0]);
    assert_eq!(world.link.writes(), [""; 0]);
}

#[tokio::test]
async fn the_finalizer_goes_only_when_the_last_open_request_has_ended() {
    let mut world = World::new().await;
    let one = world.pod(1).await;
    world.until_answers(1).await;
    let mut client = Client::to(world.address()).await;
    let slow = tokio::spawn(async move {
        let response = client.open(request("/slow")).await;
        read(response).await
    });
    until("the request is open", async || world.figure(1, "open").await == 1).await;
    let mut idle = Client::to(world.address()).await;
    assert_eq!(idle.get("/").await.code, 200);
    assert_eq!(one.state.connections(), 2, "one is idle");
    world.list(1, false).await;
    until("the idle connection is closed", async || one.state.connections() == 1).await;
    assert_eq!(world.figure(1, "draining").await, true);
    assert_eq!(idle.get("/").await.code, 503, "it is not chosen any more");
    assert_eq!(world.protections(1).await.unwrap(), [FINALIZER], "a request is still open");
    one.state.gate.add_permits(1);
    assert_eq!(slow.await.unwrap().code, 200);
    world.until_released(1).await;
    until("no connection is left", async || one.state.connections() == 0).await;
    assert_eq!(world.expected(1).await, json!({"Service/shop/web": FINALIZER}), "it is to come back");
    let metrics = world.status_page("/metrics").await.unwrap();
    for line in ["knarr_proxy_drains_started_total 1", "knarr_proxy_drains_finished_total 1"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_closed_gate_drains_before_the_endpoint_is_unready_and_an_open_one_brings_it_back() {
    let mut world = World::new().await;
    let _one = world.pod(1).await;
    world.until_answers(1).await;
    world.gate(1, "False").await;
    world.until_released(1).await;
    assert_eq!(Client::to(world.address()).await.get("/").await.code, 503);
    world.gate(1, "True").await;
    world.until_protected(1).await;
    world.until_answers(1).await;
    assert_eq!(Client::to(world.address()).await.get("/").await.code, 200);
}

#[tokio::test]
async fn a_terminating_pod_is_drained_and_released() {
    let mut world = World::new().await;
    let (one, _two) = (world.pod(1).await, world.pod(2).await);
    world.until_answers(1).await;
    world.until_answers(2).await;
    world.delete(1).await;
    world.until_gone(1).await;
    until("no connection is left", async || one.state.connections() == 0).await;
    for _ in 0..4 {
        let answer = Client::to(world.address()).await.get("/").await;
        assert_eq!((answer.code, answer.text), (200, world.pod_ip(2).to_string()));
    }
}

#[tokio::test]
async fn pods_are_released_when_their_service_is_gone() {
    let mut world = World::new().await;
    let one = world.pod(1).await;
    let _two = world.pod(2).await;
    world.until_answers(1).await;
    world.until_answers(2).await;
    let mut clients = [Client::to(world.address()).await, Client::to(world.address()).await];
    let [held, other] = &mut clients;
    let response = held.open(request("/stream")).await;
    let number: u8 = if response.headers()["x-knarr-endpoint"]
        .to_str()
        .unwrap()
        .starts_with(&one.state.address.to_string())
    {
        1
    } else {
        2
    };
    other.get("/").await;
    world.delete_service().await;
    world.until_released(3 - number).await;
    until("nothing is expected of a Service that is gone", async || {
        world.expected(3 - number).await.is_null()
    })
    .await;
    assert_eq!(world.protections(number).await.unwrap(), [FINALIZER], "a request is still open");
    world.delete(number).await;
    assert!(world.get(number).await.is_some());
    drop(response);
    drop(clients);
    world.until_gone(number).await;
}

#[tokio::test]
async fn a_pod_that_is_not_selected_any_more_is_released_and_expects_nothing() {
    let mut world = World::new().await;
    let _one = world.pod(1).await;
    world.until_answers(1).await;
    let patch = Patch::Merge(json!({"metadata": {"labels": {"app": "other"}}}));
    let done: Result<Value, _> =
        world.admin.patch(&Pod::RESOURCE, ("shop", &name(1)), "", &patch, &WriteOptions::default()).await;
    done.unwrap();
    world.unlist(1).await;
    world.until_released(1).await;
    until("nothing is expected", async || world.expected(1).await.is_null()).await;
}

#[tokio::test]
async fn a_new_proxy_goes_on_where_the_last_one_was_killed() {
    let mut world = World::new().await;
    let _servers = [world.pod(1).await, world.pod(2).await];
    world.until_answers(1).await;
    world.until_answers(2).await;
    world.kill().await;
    world.list(1, false).await;
    assert_eq!(world.protections(1).await.unwrap(), [FINALIZER]);
    world.start();
    world.until_released(1).await;
    world.until_answers(2).await;
    assert_eq!(Client::to(world.address()).await.get("/").await.text, world.pod_ip(2).to_string());
    assert_eq!(world.protections(2).await.unwrap(), [FINALIZER]);
    world.shut_down().await;
    assert_eq!(world.protections(2).await.unwrap(), [FINALIZER], "the next proxy may send traffic, too");
}

#[tokio::test]
async fn what_other_components_put_on_a_pod_stays() {
    let mut world = World::new().await;
    let other = "prot.podopslifecycle.kusionstack.io/other-balancer";
    let _server = Backend::http(world.pod_ip(1));
    world.pod_object(1, true).await;
    let patch = json!({"metadata": {
        "finalizers": ["example.com/own", other],
        "annotations": {"pod.kusionstack.io/available-conditions": json!({"expectedFinalizers": {"balancer": other}, "more": 1}).to_string()},
    }});
    let done: Result<Value, _> = world
        .admin
        .patch(&Pod::RESOURCE, ("shop", &name(1)), "", &Patch::Merge(patch), &WriteOptions::default())
        .await;
    done.unwrap();
    world.list(1, true).await;
    world.until_answers(1).await;
    assert_eq!(world.protections(1).await.unwrap(), ["example.com/own", other, FINALIZER]);
    assert_eq!(world.expected(1).await, json!({"balancer": other, "Service/shop/web": FINALIZER}));
    world.list(1, false).await;
    until("only ours is off", async || world.protections(1).await.unwrap() == ["example.com/own", other])
        .await;
    let pod = world.get(1).await.unwrap();
    let text = pod["metadata"]["annotations"]["pod.kusionstack.io/available-conditions"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap()["more"], 1);
}
