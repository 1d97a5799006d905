//! A real API server in memory, with CafeDeployments defined, and the objects of an application in two cells.

#![allow(dead_code, reason = "tests and the example use different parts")]

use std::collections::BTreeMap;
use std::sync::Arc;

use api_client::{Body, Client, Error, Patch, Response, WriteOptions};
use api_meta::Resource;
use apiserver::registry::Registry;
use apiserver::{
    ApiServer, Attributes, Authorizer, Config, Decision, Limits, Nodes, Rows, Rule, ServiceRange, User,
    Version,
};
use serde_json::{Value, json};
use stdx::{BoxFuture, Env};
use store::{MemoryDisk, MemoryEngine, Store};

pub(crate) const APPS: Resource =
    Resource::namespaced("apps.cafe.cloud.alipay.com", "v1alpha1", "cafedeployments", "CafeDeployment");
pub(crate) const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");
pub(crate) const NODES: Resource = Resource::cluster("", "v1", "nodes", "Node");
pub(crate) const EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");
const CRDS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");

struct Everybody;

impl Authorizer for Everybody {
    fn authorize(&self, _user: &User, _what: &Attributes<'_>) -> Decision {
        Decision::Allow
    }

    fn rules(&self, _user: &User) -> Vec<Rule> {
        Vec::new()
    }
}

/// Nodes without agents.
struct Silent;

impl Nodes for Silent {
    fn get(&self, _address: String, _port: u16, _path: String) -> BoxFuture<Result<Response, Error>> {
        Box::pin(async { Ok(http::Response::new(Body::Full(Default::default()))) })
    }
}

/// A server and a client of it.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) env: Env,
}

impl World {
    /// A fresh server that serves CafeDeployments.
    pub(crate) async fn new(env: Env) -> World {
        let registry = Arc::new(Registry::new(apiserver::kinds::served()));
        let engine = Box::new(MemoryEngine::new(MemoryDisk::default()));
        let store =
            Store::open(engine, Arc::new(Rows::new(&registry)), store::Limits::default().inline()).unwrap();
        let text = |s: &str| s.to_owned();
        let server = ApiServer::new(Config {
            store,
            env: env.clone(),
            registry,
            authorizer: Arc::new(Everybody),
            converters: BTreeMap::new(),
            facts: BTreeMap::new(),
            documents: vec![Arc::new(apiserver::discovery::Discovery::new())],
            nodes: Arc::new(Silent),
            version: Version {
                git_version: text("v1.36.0+test"),
                git_commit: text(""),
                build_date: text(""),
                platform: text(""),
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
        let client = Client::new(server.transport(User::new("admin", &["system:masters"])), "test");
        let world = World { client, env };
        world.create(&CRDS, "", api_workload::cafedeployment_crd()).await;
        // Served once it is established; the watch tells.
        while world.client.list::<Value>(&APPS, "", &Default::default()).await.is_err() {
            tokio::task::yield_now().await;
        }
        world
    }

    pub(crate) async fn create(&self, resource: &Resource, ns: &str, object: Value) {
        let _: Value = self.client.create(resource, ns, &object, &WriteOptions::default()).await.unwrap();
    }

    pub(crate) async fn patch(&self, resource: &Resource, key: (&str, &str), sub: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        let _: Value = self.client.patch(resource, key, sub, &patch, &WriteOptions::default()).await.unwrap();
    }

    pub(crate) async fn app(&self) -> Value {
        self.client.get(&APPS, "default", "web").await.unwrap()
    }

    /// A node of a cell that answers.
    pub(crate) async fn node(&self, name: &str, cell: &str, labels: Value) {
        let mut labels = labels;
        labels["cafe.sofastack.io/cell"] = json!(cell);
        self.create(
            &NODES,
            "",
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}),
        )
        .await;
        self.answers(name, "True").await;
    }

    /// Whether a node answers.
    pub(crate) async fn answers(&self, name: &str, ready: &str) {
        self.patch(
            &NODES,
            ("", name),
            "status",
            json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}}),
        )
        .await;
    }

    /// The application `web`: `count` pods of v1 in each of two cells, two or three to a node.
    pub(crate) async fn deploy(&self, count: usize) {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "shop:v1"}]}});
        self.create(&APPS, "default", json!({
            "apiVersion": "apps.cafe.cloud.alipay.com/v1alpha1", "kind": "CafeDeployment", "metadata": {"name": "web"},
            "spec": {"replicas": count * 2, "selector": {"matchLabels": {"app": "web"}}, "template": template,
                "strategy": {"upgradeType": "Beta", "batchSize": 4, "needWaitingForConfirm": true},
                "topology": {"unitType": "Cell", "values": ["CellA", "CellB"]}}})).await;
        for (cell, letter) in [("CellA", 'a'), ("CellB", 'b')] {
            for n in 0..count.div_ceil(2) {
                self.node(&format!("node-{letter}{n}"), cell, json!({"knarr.dev/runtime": "process"})).await;
            }
            for n in 0..count {
                self.pod(
                    &format!("web-{letter}-{n}"),
                    &format!("web-{letter}"),
                    &format!("node-{letter}{}", n / 2),
                )
                .await;
            }
        }
    }

    /// A pod that serves v1.
    async fn pod(&self, name: &str, set: &str, node: &str) {
        self.create(&PODS, "default", json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "web", "cafe.sofastack.io/revision": "web-v1", "cafe.sofastack.io/cafe-deployment": "web"},
                "finalizers": ["prot.podopslifecycle.kusionstack.io/web"],
                "annotations": {"pod.kusionstack.io/available-conditions":
                    r#"{"expectedFinalizers":{"Service/default/web":"prot.podopslifecycle.kusionstack.io/web"}}"#},
                "ownerReferences": [{"apiVersion": "apps.cafe.cloud.alipay.com/v1alpha1", "kind": "InPlaceSet", "name": set, "uid": "u", "controller": true}]},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "shop:v1"}],
                "readinessGates": [{"conditionType": "InPlaceUpdateReady"}]}})).await;
        let conditions =
            json!([{"type": "Ready", "status": "True"}, {"type": "InPlaceUpdateReady", "status": "True"}]);
        self.patch(
            &PODS,
            ("default", name),
            "status",
            json!({"status": {"phase": "Running", "podIP": "127.1.64.2", "conditions": conditions}}),
        )
        .await;
    }
}
