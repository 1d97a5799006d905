//! An API server in memory, a proxy, Services and pods. What endpoint controllers and workloads do is done by the tests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use api_client::{Client, DeleteOptions, Error, Patch, Transport, WriteOptions};
use api_core::{EndpointSlice, Namespace, Node, Pod, Service};
use api_meta::{Object, Resource};
use apiserver::registry::Registry;
use apiserver::{
    ApiServer, Attributes, Authorizer, Config, Decision, Limits, Nodes, Rows, Rule, ServiceRange, User,
    Version,
};
use serde_json::{Value, json};
use stdx::BoxFuture;
use store::{MemoryDisk, MemoryEngine, Store};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::backend::{Backend, PORT};
use crate::client;
use crate::link::Link;

/// Longest wait for anything; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// The finalizer of the Service of all tests.
pub(crate) const FINALIZER: &str = "prot.podopslifecycle.kusionstack.io/web";
const EXPECTED: &str = "pod.kusionstack.io/available-conditions";

pub(crate) struct World {
    /// As an administrator.
    pub(crate) admin: Client,
    /// As the endpoint controller, who alone may write loopback addresses.
    slices: Client,
    /// The proxy's way to the API server.
    pub(crate) link: Arc<Link>,
    block: u8,
    /// Keeps the block for this test alone.
    _lock: TcpListener,
    proxy: Option<Running>,
    endpoints: BTreeMap<String, Value>,
    ports: Value,
}

/// A proxy, and how to end it.
type Running = (JoinHandle<Result<(), proxy::Error>>, oneshot::Sender<()>);

struct Everybody;

impl Authorizer for Everybody {
    fn authorize(&self, _user: &User, _what: &Attributes<'_>) -> Decision {
        Decision::Allow
    }

    fn rules(&self, _user: &User) -> Vec<Rule> {
        Vec::new()
    }
}

struct NoNodes;

impl Nodes for NoNodes {
    fn get(
        &self,
        _address: String,
        _port: u16,
        path: String,
    ) -> BoxFuture<Result<api_client::Response, Error>> {
        Box::pin(async move { Err(Error::Unreachable(path)) })
    }
}

impl World {
    /// A cluster with a Service `web` of one HTTP port, no endpoints, and a proxy.
    pub(crate) async fn new() -> World {
        let mut world = World::with(json!({}), json!([{"port": 8000, "appProtocol": "http"}])).await;
        world.start();
        let answers = async || tokio::net::TcpStream::connect(world.address()).await.is_ok();
        until("the address answers", answers).await;
        world
    }

    /// The same with more in the Service's spec and other ports, and no proxy yet.
    pub(crate) async fn with(spec: Value, ports: Value) -> World {
        let (block, lock) = block();
        let server = server(block);
        server.bootstrap().await.unwrap();
        let transport =
            |user: &str| -> Arc<dyn Transport> { server.transport(User::new(user, &["system:masters"])) };
        let admin = Client::new(transport("admin"), "test");
        let slices = Client::new(transport("system:knarr:endpointslice-controller"), "test");
        let link = Link::over(transport("system:knarr:proxy"));
        let mut world = World {
            admin,
            slices,
            link,
            block,
            _lock: lock,
            proxy: None,
            endpoints: BTreeMap::new(),
            ports: json!([]),
        };
        world.create(Namespace::RESOURCE, json!({"metadata": {"name": "shop"}})).await;
        world.service(spec, ports).await;
        world
    }

    pub(crate) fn start(&mut self) {
        let (shutdown, asked) = oneshot::channel();
        let client = Client::new(self.link.clone(), "proxy");
        let config = proxy::Config { status_listen: SocketAddr::V4(self.status()) };
        let run = proxy::run(client, os::env(), config, async move {
            let _ = asked.await;
        });
        self.proxy = Some((tokio::spawn(run), shutdown));
    }

    /// As if the proxy were killed.
    pub(crate) async fn kill(&mut self) {
        let (task, _) = self.proxy.take().unwrap();
        task.abort();
        let _ = task.await;
        let addresses = [self.status(), self.address()];
        until("its addresses are free", async || addresses.iter().all(|a| TcpListener::bind(a).is_ok()))
            .await;
    }

    pub(crate) async fn shut_down(&mut self) {
        let (task, shutdown) = self.proxy.take().unwrap();
        shutdown.send(()).unwrap();
        task.await.unwrap().unwrap();
    }

    fn status(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip(0, 250), 9100)
    }

    pub(crate) fn ip(&self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.block, third, fourth)
    }

    /// Address of the pod of this number.
    pub(crate) fn pod_ip(&self, number: u8) -> Ipv4Addr {
        self.ip(64, number)
    }

    /// Where the Service is.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip(0, 9), 8000)
    }

    pub(crate) async fn create(&self, resource: Resource, body: Value) -> Value {
        let namespace = if resource.namespaced { "shop" } else { "" };
        let made = self.admin.create(&resource, namespace, &body, &WriteOptions::default()).await;
        made.unwrap()
    }

    async fn service(&mut self, spec: Value, ports: Value) {
        let named = |port: &Value| json!({"name": port["name"].as_str().unwrap_or(""), "port": PORT});
        self.ports = ports.as_array().unwrap().iter().map(named).collect();
        let mut all =
            json!({"clusterIP": self.ip(0, 9).to_string(), "selector": {"app": "web"}, "ports": ports});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.create(Service::RESOURCE, json!({"metadata": {"name": "web"}, "spec": all})).await;
    }

    /// A pod that takes part in the drain protocol, with a web server, ready and listed.
    pub(crate) async fn pod(&mut self, number: u8) -> Backend {
        let backend = Backend::http(self.pod_ip(number));
        self.pod_object(number, true).await;
        self.list(number, true).await;
        backend
    }

    /// The same without the server. `gated`: whether it takes part in the drain protocol.
    pub(crate) async fn pod_object(&self, number: u8, gated: bool) {
        let gates = if gated { json!([{"conditionType": "InPlaceUpdateReady"}]) } else { json!([]) };
        let spec = json!({
            "nodeName": node(number), "containers": [{"name": "c", "image": "web:1"}], "readinessGates": gates,
        });
        let meta = json!({"name": name(number), "labels": {"app": "web"}});
        self.create(Pod::RESOURCE, json!({"metadata": meta, "spec": spec})).await;
        let ip = self.pod_ip(number).to_string();
        let status = json!({"podIP": ip, "podIPs": [{"ip": ip}], "phase": "Running"});
        self.patch(number, "status", json!({"status": status})).await;
        self.gate(number, "True").await;
    }

    /// Opens or closes the gate of a pod, as its workload does.
    pub(crate) async fn gate(&self, number: u8, status: &str) {
        let gate = json!({"type": "InPlaceUpdateReady", "status": status});
        self.patch(number, "status", json!({"status": {"conditions": [gate]}})).await;
    }

    async fn patch(&self, number: u8, sub: &str, body: Value) {
        let key = ("shop", name(number));
        let patch = Patch::Merge(body);
        let done: Result<Value, _> =
            self.admin.patch(&Pod::RESOURCE, (key.0, &key.1), sub, &patch, &WriteOptions::default()).await;
        done.unwrap();
    }

    /// Lists a pod in the Service's slice, as the endpoint controller does.
    pub(crate) async fn list(&mut self, number: u8, ready: bool) {
        let pod = self.get(number).await.unwrap();
        let terminating = !pod["metadata"]["deletionTimestamp"].is_null();
        self.endpoint(number, json!({
            "addresses": [self.pod_ip(number).to_string()],
            "conditions": {"ready": ready && !terminating, "serving": ready, "terminating": terminating},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": name(number), "uid": pod["metadata"]["uid"]},
        })).await;
    }

    /// Any endpoint.
    pub(crate) async fn endpoint(&mut self, number: u8, endpoint: Value) {
        self.endpoints.insert(name(number), endpoint);
        self.write_slice().await;
    }

    pub(crate) async fn unlist(&mut self, number: u8) {
        self.endpoints.remove(&name(number));
        self.write_slice().await;
    }

    async fn write_slice(&self) {
        let endpoints: Vec<&Value> = self.endpoints.values().collect();
        let patch = Patch::Merge(json!({"endpoints": endpoints}));
        let options = WriteOptions::default();
        let done: Result<Value, Error> =
            self.slices.patch(&EndpointSlice::RESOURCE, ("shop", "web-1"), "", &patch, &options).await;
        let Err(error) = done else { return };
        assert!(error.is_not_found(), "{error}");
        let body = json!({
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": self.ports, "endpoints": endpoints,
        });
        let made: Result<Value, _> =
            self.slices.create(&EndpointSlice::RESOURCE, "shop", &body, &options).await;
        made.unwrap();
    }

    pub(crate) async fn get(&self, number: u8) -> Option<Value> {
        self.admin.get(&Pod::RESOURCE, "shop", &name(number)).await.ok()
    }

    pub(crate) async fn delete(&self, number: u8) {
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        self.admin.delete(&Pod::RESOURCE, ("shop", &name(number)), &options).await.unwrap();
    }

    pub(crate) async fn delete_service(&self) {
        self.admin.delete(&Service::RESOURCE, ("shop", "web"), &DeleteOptions::default()).await.unwrap();
    }

    pub(crate) async fn node(&self, number: u8, cell: &str) {
        let labels = json!({"knarr.dev/runtime": "process", "cafe.sofastack.io/cell": cell});
        self.create(Node::RESOURCE, json!({"metadata": {"name": node(number), "labels": labels}})).await;
    }

    /// Finalizers of traffic on a pod; none when it is gone.
    pub(crate) async fn protections(&self, number: u8) -> Option<Vec<String>> {
        let pod = self.get(number).await?;
        let all = pod["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        Some(all.iter().map(|f| f.as_str().unwrap().to_owned()).collect())
    }

    /// The finalizers a pod expects.
    pub(crate) async fn expected(&self, number: u8) -> Value {
        let pod = self.get(number).await.unwrap();
        let text = pod["metadata"]["annotations"][EXPECTED].as_str().unwrap_or("{}");
        serde_json::from_str::<Value>(text).unwrap()["expectedFinalizers"].clone()
    }

    pub(crate) async fn until_protected(&self, number: u8) {
        until("the pod is protected", async || {
            self.protections(number).await == Some(vec![FINALIZER.into()])
        })
        .await;
    }

    pub(crate) async fn until_released(&self, number: u8) {
        until("the pod is released", async || self.protections(number).await == Some(vec![])).await;
    }

    pub(crate) async fn until_gone(&self, number: u8) {
        until("the pod is gone", async || self.get(number).await.is_none()).await;
    }

    /// Waits until a new client is answered by one of these pods.
    pub(crate) async fn until_answers(&self, number: u8) {
        let endpoint = self.pod_ip(number).to_string();
        until("the pod answers", async || {
            let found = self.traffic().await["endpoints"].as_array().cloned().unwrap_or_default();
            found.iter().any(|e| e["ip"] == endpoint && e["ready"] == true)
        })
        .await;
    }

    /// What the proxy says of the Service.
    pub(crate) async fn traffic(&self) -> Value {
        let Some(text) = self.status_page("/traffic").await else { return Value::Null };
        let all: Value = serde_json::from_str(&text).unwrap();
        let services = all["services"].as_array().unwrap();
        services.iter().find(|s| s["name"] == "web").cloned().unwrap_or_default()
    }

    pub(crate) async fn status_page(&self, path: &str) -> Option<String> {
        let stream = tokio::net::TcpStream::connect(self.status()).await.ok()?;
        drop(stream);
        Some(client::Client::to(self.status()).await.get(path).await.text)
    }

    /// A figure of the endpoint in a pod.
    pub(crate) async fn figure(&self, number: u8, name: &str) -> Value {
        let traffic = self.traffic().await;
        let ip = self.pod_ip(number).to_string();
        let found = traffic["endpoints"].as_array().and_then(|all| all.iter().find(|e| e["ip"] == ip));
        found.map_or(Value::Null, |e| e[name].clone())
    }

    pub(crate) async fn service_object(&self) -> Value {
        self.admin.get(&Service::RESOURCE, "shop", "web").await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((task, _)) = self.proxy.take() {
            task.abort();
        }
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn name(number: u8) -> String {
    format!("web-{number}")
}

fn node(number: u8) -> String {
    format!("node-{number}")
}

/// A block of addresses that no other test has.
fn block() -> (u8, TcpListener) {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let offset = u8::try_from(std::process::id() % 64).unwrap();
    loop {
        let block = 128 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 64;
        if let Ok(lock) = TcpListener::bind((Ipv4Addr::new(127, block, 255, 1), 7999)) {
            return (block, lock);
        }
    }
}

fn server(block: u8) -> Arc<ApiServer> {
    let registry = Arc::new(Registry::new(apiserver::kinds::served()));
    let engine = Box::new(MemoryEngine::new(MemoryDisk::default()));
    let rows = Arc::new(Rows::new(&registry));
    let store = Store::open(engine, rows, store::Limits::default().inline()).unwrap();
    ApiServer::new(Config {
        store,
        env: os::env(),
        registry,
        authorizer: Arc::new(Everybody),
        converters: BTreeMap::new(),
        facts: BTreeMap::new(),
        documents: Vec::new(),
        nodes: Arc::new(NoNodes),
        version: Version {
            git_version: "v1.36.0+test".to_owned(),
            git_commit: String::new(),
            build_date: String::new(),
            platform: String::new(),
        },
        services: ServiceRange {
            network: [127, block, 0, 0].into(),
            prefix: 18,
            node_ports: (30_000, 32_767),
            server: ([192, 0, 2, 1].into(), 6443),
        },
        limits: Limits::default(),
    })
}
