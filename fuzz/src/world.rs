//! A server in memory under a clock that stands still, for inputs that are whole requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_client::{Body, Error, Request, Response};
use apiserver::registry::{Registry, builtin};
use apiserver::{
    ApiServer, Attributes, Authorizer, Config, Decision, Limits, Nodes, Rows, Rule, ServiceRange, User,
    Version,
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use stdx::{BoxFuture, Time};
use store::{MemoryDisk, MemoryEngine, NoRow, Store};

/// A store in memory; rows of a registry's kinds, or none.
pub(crate) fn store(registry: Option<&Arc<Registry>>) -> Store {
    let engine = Box::new(MemoryEngine::new(MemoryDisk::default()));
    let limits = store::Limits::default().inline();
    let opened = match registry {
        Some(registry) => Store::open(engine, Arc::new(Rows::new(registry)), limits),
        None => Store::open(engine, Arc::new(NoRow), limits),
    };
    opened.expect("an empty memory can be opened")
}

/// Everybody may do everything.
struct Anyone;

impl Authorizer for Anyone {
    fn authorize(&self, _: &User, _: &Attributes<'_>) -> Decision {
        Decision::Allow
    }

    fn rules(&self, _: &User) -> Vec<Rule> {
        Vec::new()
    }
}

struct NoNodes;

impl Nodes for NoNodes {
    fn get(&self, _: String, _: u16, path: String) -> BoxFuture<Result<Response, Error>> {
        Box::pin(async move { Ok(http::Response::new(Body::Full(path.into()))) })
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Bytes,
}

/// A server with one of each sort of object, which requests may not change.
pub(crate) struct World {
    runtime: tokio::runtime::Runtime,
    server: Arc<ApiServer>,
}

impl World {
    /// Starts one.
    pub(crate) fn new() -> World {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without sockets");
        let server = runtime.block_on(start());
        World { runtime, server }
    }

    /// Number of the newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.server.store().revision().0
    }

    /// Sends one request; of a stream, as much is read as is there at once.
    pub(crate) fn send(&self, request: Request) -> Answer {
        self.runtime.block_on(async { ask(&self.server, request).await })
    }
}

async fn ask(server: &Arc<ApiServer>, request: Request) -> Answer {
    let response = server.handle(User::new("admin", &["system:masters"]), request).await;
    let code = response.status().as_u16();
    let body = match response.into_body() {
        Body::Full(bytes) => bytes,
        Body::Stream(mut chunks) => {
            let mut all = Vec::new();
            while let Some(Some(Ok(chunk))) = chunks.next().now_or_never() {
                all.extend_from_slice(&chunk);
            }
            all.into()
        }
    };
    Answer { code, body }
}

async fn start() -> Arc<ApiServer> {
    let registry = Arc::new(Registry::new(builtin()));
    let server = ApiServer::new(Config {
        store: store(Some(&registry)),
        env: os::virtual_env(Time::from_secs(1_800_000_000), 1),
        registry,
        authorizer: Arc::new(Anyone),
        converters: BTreeMap::new(),
        facts: BTreeMap::new(),
        documents: Vec::new(),
        nodes: Arc::new(NoNodes),
        version: Version {
            git_version: "v1.36.0+fuzz".to_owned(),
            git_commit: "0".to_owned(),
            build_date: "2026-01-01T00:00:00Z".to_owned(),
            platform: "linux/amd64".to_owned(),
        },
        services: ServiceRange {
            network: [10, 96, 0, 0].into(),
            prefix: 16,
            node_ports: (30_000, 32_767),
            server: ([192, 0, 2, 1].into(), 6443),
        },
        limits: Limits::default(),
    });
    server.bootstrap().await.expect("an empty store takes what every cluster has");
    for (path, object) in there() {
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(Bytes::from(object.to_string())).expect("a good request");
        let answer = ask(&server, request).await;
        assert_eq!(answer.code, 201, "{path}: {}", String::from_utf8_lossy(&answer.body));
        // A definition is served when its task has run.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    server
}

/// What there is in the world.
fn there() -> Vec<(&'static str, Value)> {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "n": {"type": "integer", "default": 1},
            "l": {"type": "array", "maxItems": 9, "items": {"type": "string", "maxLength": 9}},
        }, "x-kubernetes-validations": [{"rule": "self.n >= 0"}]},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}}, "selectableFields": [{"jsonPath": ".spec.n"}],
    });
    vec![
        ("/api/v1/namespaces", json!({"metadata": {"name": "n"}})),
        (
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            json!({"metadata": {"name": "widgets.x.io"}, "spec": {
                "group": "x.io", "scope": "Namespaced", "versions": [version],
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            }}),
        ),
        (
            "/apis/x.io/v1/namespaces/n/widgets",
            json!({"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {}}),
        ),
        (
            "/api/v1/namespaces/n/configmaps",
            json!({"metadata": {"name": "a", "labels": {"a": "b"}}, "data": {"a": "1"}}),
        ),
        ("/api/v1/namespaces/n/configmaps", json!({"metadata": {"name": "b"}, "data": {"a": "1"}})),
        (
            "/api/v1/namespaces/n/pods",
            json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
        ),
        (
            "/api/v1/namespaces/n/services",
            json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}),
        ),
        (
            "/apis/apps/v1/namespaces/n/deployments",
            json!({"metadata": {"name": "a"}, "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            }}),
        ),
    ]
}
