//! What every cluster starts with, and the little that the server does by itself: events end after an hour.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use api_client::{Body, Request};
use bytes::Bytes;
use serde_json::{Value, json};
use stdx::Time;
use store::{Error, Expect, Key, KeyRange, Op, Revision};

use crate::flow;
use crate::server::ApiServer;
use crate::who::User;

/// Namespaces of every cluster.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Who writes the rules of flow control; upstream's name for it.
const FLOW_PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";
/// How long an event is kept after its last write.
const EVENT_LIFE: Duration = Duration::from_secs(3600);
/// Between two looks at events that are due.
const EVENT_SWEEP: Duration = Duration::from_secs(30);
/// Events that are remembered as due at some time; beyond that the oldest go early.
const EVENTS_MAX: usize = 1_000_000;

/// A cluster that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("set up {what}: {why}")]
pub struct BootstrapError {
    /// Which object.
    pub what: String,
    /// What the server said.
    pub why: String,
}

impl ApiServer {
    /// Creates what every cluster has, where it is missing, and starts to end old events. Call once, before the first request.
    ///
    /// # Errors
    /// When something is refused for another reason than being there.
    pub async fn bootstrap(self: &Arc<Self>) -> Result<(), BootstrapError> {
        crate::crd::start(self);
        for name in NAMESPACES {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            self.ensure("/api/v1/namespaces", &object).await?;
        }
        for (name, value) in crate::pipeline::SYSTEM_CLASSES {
            let class = system_class(name, value);
            self.ensure("/apis/scheduling.k8s.io/v1/priorityclasses", &class).await?;
        }
        self.ensure("/api/v1/namespaces/default/services", &self.own_service()).await?;
        self.ensure("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &self.own_slice()).await?;
        self.ensure_flows().await?;
        crate::settings::read(self);
        // Only now: a hook that cannot be called yet must not keep the server from what every cluster has.
        self.hooks.read(&self.store);
        let server = Arc::downgrade(self);
        self.env.spawn("apiserver-flow", flow::reload(server.clone()));
        self.env.spawn("apiserver-events", end_events(server));
        Ok(())
    }

    /// Creates the rules of flow control that are missing, and brings those up to date that nobody keeps their own way.
    async fn ensure_flows(self: &Arc<Self>) -> Result<(), BootstrapError> {
        for object in flow::objects() {
            let (name, kind) = (object["metadata"]["name"].as_str().unwrap_or_default(), &object["kind"]);
            let plural = if kind == "FlowSchema" { "flowschemas" } else { "prioritylevelconfigurations" };
            let key = Key::new(&format!("{plural}.flowcontrol.apiserver.k8s.io"), "", name);
            let found = self.store.get(&key).and_then(|found| crate::stored::decode(&found).ok());
            let is_kept = |found: Value| found["metadata"]["annotations"][flow::AUTOUPDATE] == "false";
            if !found.is_some_and(is_kept) {
                let path = format!("/apis/flowcontrol.apiserver.k8s.io/v1/{plural}");
                self.ensure_as(FLOW_PRODUCER, &path, &object).await?;
            }
        }
        flow::load(self);
        Ok(())
    }

    fn own_service(&self) -> Value {
        let (_, port) = self.addresses.range().server;
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}
            },
            "spec": {
                "clusterIP": self.addresses.first().to_string(), "type": "ClusterIP",
                "ports": [{"name": "https", "port": port, "protocol": "TCP", "targetPort": port}]
            }
        })
    }

    fn own_slice(&self) -> Value {
        let (address, port) = self.addresses.range().server;
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}]
        })
    }

    /// Creates an object, or replaces what differs of the same name (the server's port may have changed).
    async fn ensure(self: &Arc<Self>, path: &str, object: &Value) -> Result<(), BootstrapError> {
        self.ensure_as("kube-apiserver", path, object).await
    }

    /// The same by a manager of that name.
    async fn ensure_as(
        self: &Arc<Self>,
        manager: &str,
        path: &str,
        object: &Value,
    ) -> Result<(), BootstrapError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let what = format!("{path}/{name}");
        // What is there is brought up to date first: creating it again would ask for its addresses again.
        if object["kind"] != "Namespace" {
            let patch =
                json!({"spec": object["spec"], "endpoints": object["endpoints"], "ports": object["ports"]});
            let kept: Value = patch
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            match self.own_request_as(manager, "PATCH", &what, "application/merge-patch+json", &kept).await {
                (404, _) => {}
                (200..=299, _) => return Ok(()),
                // The data came from where Services had other addresses, and an address is for life.
                (422, _) if object["kind"] == "Service" => {
                    self.own_request_as(manager, "DELETE", &what, "application/json", &json!({})).await;
                }
                (_, why) => return Err(BootstrapError { what, why }),
            }
        }
        match self.own_request_as(manager, "POST", path, "application/json", object).await {
            (200..=299 | 409, _) => Ok(()),
            (_, why) => Err(BootstrapError { what, why }),
        }
    }

    /// A request of the server to itself.
    pub(crate) async fn own_request(
        self: &Arc<Self>,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> (u16, String) {
        self.own_request_as("kube-apiserver", method, path, kind, body).await
    }

    /// The same by a manager of that name.
    async fn own_request_as(
        self: &Arc<Self>,
        manager: &str,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> (u16, String) {
        let request: Result<Request, _> = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, kind)
            .header(http::header::USER_AGENT, manager)
            .body(Bytes::from(body.to_string()));
        let Ok(request) = request else { return (400, "the request cannot be built".to_owned()) };
        let response = self.handle(User::new("system:apiserver", &["system:masters"]), request).await;
        let code = response.status().as_u16();
        let text = match response.into_body() {
            Body::Full(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Body::Stream(_) => String::new(),
        };
        (code, text)
    }
}

/// A priority class of every cluster.
fn system_class(name: &str, value: i64) -> Value {
    let about = if name == "system-node-critical" {
        "Used for system critical pods that must not be moved from their current node."
    } else {
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."
    };
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
        "value": value, "description": about
    })
}

/// Ends events whose last write is an hour ago. A write after that gives a new version, whose own turn comes later.
async fn end_events(server: Weak<ApiServer>) {
    let mut due: VecDeque<(Time, Key, Revision)> = VecDeque::new();
    let mut from = Revision(0);
    while let Some(server) = server.upgrade() {
        from = gather(&server, from, &mut due);
        sweep(&server, &mut due).await;
        let pause = server.env.sleep(EVENT_SWEEP);
        drop(server);
        pause.await;
    }
}

/// Notes what was written since; begins with what is there when that is not known any more.
fn gather(server: &ApiServer, from: Revision, due: &mut VecDeque<(Time, Key, Revision)>) -> Revision {
    let range = KeyRange { resource: "events".into(), namespace: None };
    let at = server.env.now() + EVENT_LIFE;
    let cursor = if from.0 == 0 {
        Err(Error::Compacted { oldest: from })
    } else {
        server.store.watch(range.clone(), from)
    };
    if let Ok(mut cursor) = cursor {
        while let Ok(events) = cursor.try_next() {
            if events.is_empty() {
                return cursor.position();
            }
            let written = events.iter().filter(|e| !e.is_delete);
            due.extend(written.map(|e| (at, e.after.key.clone(), e.revision)));
        }
    }
    let Ok(page) = server.store.list(&range, None, None, 0, None) else { return Revision(0) };
    due.clear();
    due.extend(page.items.iter().map(|s| (at, s.key.clone(), s.revision)));
    page.revision
}

async fn sweep(server: &ApiServer, due: &mut VecDeque<(Time, Key, Revision)>) {
    let now = server.env.now();
    let mut ops = Vec::new();
    while let Some((at, ..)) = due.front() {
        if *at > now && due.len() <= EVENTS_MAX {
            break;
        }
        let Some((_, key, revision)) = due.pop_front() else { break };
        ops.push(Op::Delete { key, expect: Expect::At(revision), last: None });
    }
    if ops.is_empty() {
        return;
    }
    for outcome in server.store.write_many(ops).await {
        // A conflict means: written again since, or deleted by somebody else.
        if let Err(error) = outcome
            && !matches!(error, Error::Conflict { .. })
        {
            tracing::warn!(%error, "an old event was not removed");
        }
    }
}
