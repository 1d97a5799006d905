//! Which addresses are listened on, and what users are told.

use std::net::{Ipv4Addr, TcpListener};

use api_meta::Resource;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{World, until};

const EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");

async fn condition(world: &World) -> Value {
    let service = world.service_object().await;
    let all = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|c| c["type"] == "knarr.dev/Serving").unwrap_or_default()
}

async fn event(world: &World, reason: &str) -> Value {
    let all: api_client::List<Value> = world.admin.list(&EVENTS, "shop", &Default::default()).await.unwrap();
    all.items.into_iter().find(|e| e["reason"] == reason).unwrap_or_default()
}

#[tokio::test]
async fn a_taken_port_is_told_on_the_service_and_tried_again() {
    let mut world = World::with(json!({}), json!([{"port": 8000, "appProtocol": "http"}])).await;
    let taken = TcpListener::bind(world.address()).unwrap();
    world.start();
    until("the condition is written", async || condition(&world).await["status"] == "False").await;
    let told = condition(&world).await;
    assert_eq!(told["reason"], "PortTaken");
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("give the Service another port"), "{message}");
    until("the event is posted", async || event(&world, "PortTaken").await["type"] == "Warning").await;
    assert_eq!(event(&world, "PortTaken").await["involvedObject"]["name"], "web");
    drop(taken);
    until("it is listened on", async || condition(&world).await["status"] == "True").await;
    assert_eq!(Client::to(world.address()).await.get("/").await.code, 503);
}

/// Run on a thread without the privilege, whoever runs the tests.
#[test]
fn a_low_port_without_privilege_is_told_on_the_service() {
    let thread = std::thread::spawn(|| {
        let mut own = capabilities(None).unwrap();
        own.effective.remove(CapabilitySet::NET_BIND_SERVICE);
        set_capabilities(None, own).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::with(json!({}), json!([{"port": 80, "appProtocol": "http"}])).await;
            world.start();
            until("the condition is written", async || condition(&world).await["status"] == "False").await;
            let told = condition(&world).await;
            assert_eq!(told["reason"], "PortNeedsPrivilege");
            let message = told["message"].as_str().unwrap();
            assert!(message.contains("net.ipv4.ip_unprivileged_port_start=80"), "{message}");
        });
    });
    thread.join().unwrap();
}

#[tokio::test]
async fn node_ports_answer_on_localhost_and_deleted_services_on_nothing() {
    let ports = json!([{"port": 8000, "appProtocol": "http"}]);
    let mut world = World::with(json!({"type": "NodePort"}), ports).await;
    let service = world.service_object().await;
    let number = u16::try_from(service["spec"]["ports"][0]["nodePort"].as_u64().unwrap()).unwrap();
    world.start();
    let _one = world.pod(1).await;
    world.until_answers(1).await;
    let node_port = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, number);
    if condition(&world).await.is_null() {
        assert_eq!(Client::to(node_port).await.get("/").await.code, 200);
    }
    let mut client = Client::to(world.address()).await;
    assert_eq!(client.get("/").await.code, 200);
    world.delete_service().await;
    until("the address is free", async || TcpListener::bind(world.address()).is_ok()).await;
}

#[tokio::test]
async fn health_is_told_before_anything_is_known_and_figures_are_for_this_machine_alone() {
    let mut world = World::with(json!({}), json!([{"port": 8000}])).await;
    world.link.set(crate::link::State::Cut);
    world.start();
    until("it is up", async || world.status_page("/healthz").await.as_deref() == Some("ok\n")).await;
    assert!(world.status_page("/readyz").await.unwrap().contains("have not been listed yet"));
    world.link.set(crate::link::State::Open);
    until("it is ready", async || world.status_page("/readyz").await.as_deref() == Some("ok\n")).await;
    let config = proxy::Config { status_listen: ([192, 0, 2, 1], 9100).into() };
    let client = api_client::Client::new(world.link.clone(), "proxy");
    let refused = proxy::run(client, os::env(), config, std::future::pending()).await.unwrap_err();
    assert!(refused.to_string().contains("choose one in 127.0.0.0/8"), "{refused}");
}
