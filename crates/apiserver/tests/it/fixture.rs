//! A server in memory, under one seed and virtual time, spoken to through the in-process transport.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_client::{Body, Error, Request, Response, Transport};
use apiserver::registry::{Registry, builtin};
use apiserver::{
    ApiServer, Attributes, Authorizer, Config, Decision, Limits, Nodes, Rows, Rule, ServiceRange, User,
    Version,
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use stdx::{BoxFuture, Env, Time};
use store::{Engine, MemoryDisk, MemoryEngine, Store};

/// Virtual time, one seed.
pub(crate) fn env() -> Env {
    os::virtual_env(Time::from_secs(1_800_000_000), 1)
}

/// `system:masters` may do all, others nothing.
struct Masters;

impl Authorizer for Masters {
    fn authorize(&self, user: &User, _what: &Attributes<'_>) -> Decision {
        if user.is_in("system:masters") { Decision::Allow } else { Decision::Deny(String::new()) }
    }

    fn rules(&self, _user: &User) -> Vec<Rule> {
        Vec::new()
    }
}

/// An agent that says what it was asked for.
struct Echo;

impl Nodes for Echo {
    fn get(&self, address: String, port: u16, path: String) -> BoxFuture<Result<Response, Error>> {
        let body = format!("{address}:{port}{path}\n");
        Box::pin(async move { Ok(http::Response::new(Body::Full(body.into()))) })
    }
}

/// Who may do what.
pub(crate) fn masters() -> Arc<dyn Authorizer> {
    Arc::new(Masters)
}

/// The way to node agents.
pub(crate) fn no_nodes() -> Arc<dyn Nodes> {
    Arc::new(Echo)
}

/// A server with one caller.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) server: Arc<ApiServer>,
    transport: Arc<dyn Transport>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(store::Limits::default().inline()).await
    }

    pub(crate) async fn with(limits: store::Limits) -> World {
        World::over(Box::new(MemoryEngine::new(MemoryDisk::default())), limits).await
    }

    pub(crate) async fn over(engine: Box<dyn Engine>, limits: store::Limits) -> World {
        World::judged_by(engine, limits, |_| Arc::new(Masters)).await
    }

    /// The same with another authorizer, which may look into the store.
    pub(crate) async fn judged_by(
        engine: Box<dyn Engine>,
        limits: store::Limits,
        authorizer: impl FnOnce(&Store) -> Arc<dyn Authorizer>,
    ) -> World {
        let registry = Arc::new(Registry::new(builtin()));
        let store = Store::open(engine, Arc::new(Rows::new(&registry)), limits).unwrap();
        let authorizer = authorizer(&store);
        let server = ApiServer::new(Config {
            store,
            env: env(),
            registry,
            authorizer,
            converters: BTreeMap::new(),
            facts: BTreeMap::new(),
            documents: Vec::new(),
            nodes: Arc::new(Echo),
            version: Version {
                git_version: "v1.36.0+test".to_owned(),
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
        server.bootstrap().await.unwrap();
        let world = World { transport: server.transport(User::new("admin", &["system:masters"])), server };
        world.post("/api/v1/namespaces", json!({"metadata": {"name": "ns"}})).await.created();
        world
    }

    /// Speaks to a server that is there.
    pub(crate) fn around(server: Arc<ApiServer>) -> World {
        World { transport: server.transport(User::new("admin", &["system:masters"])), server }
    }

    pub(crate) fn as_user(&self, user: User) -> World {
        World { transport: self.server.transport(user), server: self.server.clone() }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response {
        let mut request = http::Request::builder().method(method).uri(path).header("user-agent", "test/1");
        for (key, value) in headers {
            request = request.header(*key, *value);
        }
        let request: Request = request.body(body).unwrap();
        self.transport.send(request).await.unwrap()
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let response = self.send(method, path, headers, body).await;
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|w| w.to_str().unwrap().to_owned()).collect();
        let bytes = response.into_body().collect().await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { code, warnings, body: serde_json::from_str(&text).unwrap_or_default(), text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    pub(crate) async fn delete(&self, path: &str, options: Value) -> Answer {
        let body = if options.is_null() { Bytes::new() } else { options.to_string().into() };
        self.call("DELETE", path, &[("content-type", "application/json")], body).await
    }

    /// `kind`: `merge`, `json`, `strategic`, `apply`.
    pub(crate) async fn patch(&self, path: &str, kind: &str, body: Value) -> Answer {
        let media = match kind {
            "json" => "application/json-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            "apply" => "application/apply-patch+yaml",
            _ => "application/merge-patch+json",
        };
        self.call("PATCH", path, &[("content-type", media)], body.to_string().into()).await
    }

    /// Opens a watch.
    pub(crate) async fn watch(&self, path: &str) -> Watch {
        let response = self.send("GET", path, &[], Bytes::new()).await;
        assert_eq!(response.status(), 200, "{path}");
        let stream = match response.into_body() {
            Body::Stream(stream) => stream,
            Body::Full(bytes) => panic!("no stream but {bytes:?}"),
        };
        // A test may ask again after the end.
        Watch { stream: Box::pin(stream.fuse()), left: Vec::new() }
    }

    /// Number of the newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.server.store().revision().0
    }
}

impl Answer {
    pub(crate) fn created(self) -> Value {
        assert_eq!(self.code, 201, "{}", self.text);
        self.body
    }

    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.code, 200, "{}", self.text);
        self.body
    }

    /// The message of a refusal with this code.
    pub(crate) fn refused(self, code: u16) -> String {
        assert_eq!(self.code, code, "{}", self.text);
        assert_eq!(self.body["kind"], "Status", "{}", self.text);
        self.body["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// An open watch.
pub(crate) struct Watch {
    stream: api_client::BodyStream,
    left: Vec<u8>,
}

impl Watch {
    /// The next event, or `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.left.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.left.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = self.stream.next().await?.unwrap();
            self.left.extend_from_slice(&chunk);
        }
    }

    /// The next `count` events as `TYPE name`.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<String> {
        let mut out = Vec::new();
        for _ in 0..count {
            let event = self.next().await.expect("the watch goes on");
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-").to_owned();
            out.push(format!("{} {name}", event["type"].as_str().unwrap()));
        }
        out
    }

    /// Everything until the stream ends.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut out = Vec::new();
        while let Some(event) = self.next().await {
            out.push(event);
        }
        out
    }
}

/// A config map.
pub(crate) fn config_map(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": name}}, "data": {"k": data}})
}

/// A pod with one container.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}
    })
}

/// Version of an object.
pub(crate) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// Where config maps of the test namespace live.
pub(crate) const MAPS: &str = "/api/v1/namespaces/ns/configmaps";
/// Where pods of the test namespace live.
pub(crate) const PODS: &str = "/api/v1/namespaces/ns/pods";
