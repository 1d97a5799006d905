//! CustomResourceDefinitions and their objects.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should end")]

mod conversion;
mod definitions;
mod objects;
mod protobuf;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apiserver::registry::{ConvertFn, Facts, Registry};
use apiserver::{ApiServer, Config, Limits, Rows, ServiceRange, Version};
use serde_json::{Value, json};
use store::{MemoryDisk, MemoryEngine, Store};

use crate::fixture::{World, env, masters, no_nodes};

/// Where definitions live.
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// Where widgets of the test namespace live.
const WIDGETS: &str = "/apis/example.com/v1/namespaces/ns/widgets";

/// What the process knows of custom kinds.
#[derive(Default)]
struct Known {
    converters: BTreeMap<String, ConvertFn>,
    facts: BTreeMap<String, &'static Facts>,
}

/// A server over what `disk` holds.
async fn start(disk: &MemoryDisk, known: Known) -> World {
    let registry = Arc::new(Registry::new(apiserver::registry::builtin()));
    let engine = Box::new(MemoryEngine::new(disk.clone()));
    let limits = store::Limits::default().inline();
    let store = Store::open(engine, Arc::new(Rows::new(&registry)), limits).unwrap();
    let server = ApiServer::new(Config {
        store,
        env: env(),
        registry,
        authorizer: masters(),
        converters: known.converters,
        facts: known.facts,
        documents: vec![
            Arc::new(apiserver::discovery::Discovery::new()),
            Arc::new(apiserver::openapi::OpenApi::new()),
        ],
        nodes: no_nodes(),
        version: Version {
            git_version: "v1.36.0+test".to_owned(),
            git_commit: String::new(),
            build_date: String::new(),
            platform: String::new(),
        },
        services: ServiceRange {
            network: [10, 96, 0, 0].into(),
            prefix: 16,
            node_ports: (30_000, 32_767),
            server: ([192, 0, 2, 1].into(), 6443),
        },
        limits: Limits::default(),
    });
    server.bootstrap().await.unwrap();
    let world = World::around(server);
    world.post("/api/v1/namespaces", json!({"metadata": {"name": "ns"}})).await;
    world
}

async fn world() -> World {
    start(&MemoryDisk::default(), Known::default()).await
}

/// A version that is served and stored.
fn version(name: &str, schema: Value) -> Value {
    json!({"name": name, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}})
}

/// A definition of widgets.
fn widgets(versions: Vec<Value>) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"}, "versions": versions
        }
    })
}

/// A schema whose spec has these properties.
fn spec_of(properties: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})
}

/// Makes a definition and waits until its kind is served.
async fn define(w: &World, definition: Value) {
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    w.post(CRDS, definition).await.created();
    until(|| async { condition(w, &name, "Established").await == "True" }).await;
}

/// Status of a condition of a definition; empty when it has none.
async fn condition(w: &World, name: &str, kind: &str) -> String {
    let definition = w.get(&format!("{CRDS}/{name}")).await.body;
    let all = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let one = all.iter().find(|c| c["type"] == kind);
    one.map(|c| c["status"].as_str().unwrap().to_owned()).unwrap_or_default()
}

/// Waits for something to come true, at most a minute.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    for _ in 0..6_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come true within a minute");
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}
