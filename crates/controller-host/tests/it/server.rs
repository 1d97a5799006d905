//! A small API server in memory: lists, watches, fences, deletion with finalizers and grace for pods. It knows no schema.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use api_client::{Body, Error, Request, Response, Transport};
use api_meta::{Reason, Status};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use stdx::BoxFuture;
use tokio::sync::watch;

/// A server; clones share it.
#[derive(Clone)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    news: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    /// Collection path without namespace, namespace, name -> object.
    objects: BTreeMap<(String, String, String), Value>,
    log: Vec<(u64, String, &'static str, Value)>,
    revision: u64,
    uids: u64,
    requests: Vec<String>,
    refuse: Option<Refuse>,
    /// Collections whose watches stand still.
    stalled: Vec<String>,
}

/// Gives the status to answer instead, if any.
pub(crate) type Refuse = Box<dyn FnMut(&str, &str) -> Option<Status> + Send>;

impl Server {
    pub(crate) fn new() -> Server {
        let state = State { revision: 1, ..State::default() };
        Server { state: Arc::new(Mutex::new(state)), news: Arc::new(watch::Sender::new(1)) }
    }

    pub(crate) fn refuse(&self, refuse: impl FnMut(&str, &str) -> Option<Status> + Send + 'static) {
        self.state.lock().unwrap().refuse = Some(Box::new(refuse));
    }

    pub(crate) fn serve_all(&self) {
        self.state.lock().unwrap().refuse = None;
    }

    pub(crate) fn stall(&self, collections: &[&str]) {
        self.state.lock().unwrap().stalled = collections.iter().map(|c| (*c).to_owned()).collect();
        self.news.send_modify(|_| {});
    }

    /// Everything asked so far, as `VERB path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn list(&self, collection: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.objects.iter().filter(|((c, ..), _)| c == collection).map(|(_, o)| o.clone()).collect()
    }

    pub(crate) fn put(&self, collection: &str, body: Value) {
        let mut state = self.state.lock().unwrap();
        let id = id_of(collection, &body);
        if state.objects.contains_key(&id) {
            state.store(id, body);
        } else {
            state.create(collection, body).unwrap();
        }
        self.news.send_replace(state.revision);
    }

    pub(crate) fn edit(
        &self,
        collection: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let mut state = self.state.lock().unwrap();
        let id = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = state.objects[&id].clone();
        change(&mut object);
        state.store(id, object);
        self.news.send_replace(state.revision);
    }

    /// Loses objects without telling the watchers, whose history then counts as gone: they must list again.
    pub(crate) fn lose(&self, collection: &str, names: &[String]) {
        let mut state = self.state.lock().unwrap();
        state.objects.retain(|(c, _, name), _| c != collection || !names.contains(name));
        state.revision += 1;
        let status = json!(Status::failure(Reason::Expired, "too old resource version"));
        let revision = state.revision;
        state.log.push((revision, collection.to_owned(), "ERROR", status));
        self.news.send_replace(revision);
    }

    fn answer(&self, request: &Request) -> Result<Response, Status> {
        if let Some(found) = discovery(request.uri().path()) {
            return Ok(respond(200, &found));
        }
        let route = Route::of(request);
        let method = request.method().as_str();
        let mut state = self.state.lock().unwrap();
        if !route.watch {
            state.requests.push(format!("{method} {}", request.uri().path()));
        }
        if let Some(status) = state.refuse.as_mut().and_then(|r| r(method, request.uri().path())) {
            return Err(status);
        }
        if route.watch {
            drop(state);
            return Ok(self.watch(route));
        }
        let body = || serde_json::from_slice::<Value>(request.body()).unwrap();
        let answer = match (method, route.name.is_empty()) {
            ("GET", true) => state.listing(&route),
            ("GET", false) => state.get(&route)?,
            ("POST", _) => {
                let mut body = body();
                if !route.namespace.is_empty() {
                    body["metadata"]["namespace"] = json!(route.namespace);
                }
                state.create(&route.collection, body)?
            }
            ("PATCH" | "PUT", _) => state.patch(&route, &body())?,
            ("DELETE", _) => state.delete(&route, &body())?,
            other => panic!("{other:?} is not served"),
        };
        self.news.send_replace(state.revision);
        Ok(respond(200, &answer))
    }

    fn watch(&self, route: Route) -> Response {
        let start = (self.clone(), self.news.subscribe(), route, 0_usize);
        let stream = stream::unfold(start, |(server, mut news, mut route, mut at)| async move {
            loop {
                let line = {
                    let state = server.state.lock().unwrap();
                    let stalled = state.stalled.contains(&route.collection);
                    let mine = |(revision, collection, ..): &&(u64, String, _, _)| {
                        *revision > route.from && *collection == route.collection
                    };
                    let found = (!stalled).then(|| {
                        state.log[at..].iter().enumerate().find(|(_, e)| mine(e)).map(|(i, e)| (i, e.clone()))
                    });
                    found.flatten().map(|(i, (revision, _, kind, object))| {
                        at += i + 1;
                        (revision, format!("{}\n", json!({"type": kind, "object": object})))
                    })
                };
                if let Some((revision, line)) = line {
                    route.from = revision;
                    return Some((Ok(Bytes::from(line)), (server, news, route, at)));
                }
                if news.changed().await.is_err() {
                    return None;
                }
            }
        });
        http::Response::new(Body::Stream(Box::pin(stream)))
    }
}

impl Transport for Server {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let server = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(server.answer(&request).unwrap_or_else(|status| respond(status.code, &json!(status))))
        })
    }
}

impl State {
    fn listing(&self, route: &Route) -> Value {
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|((c, n, _), _)| {
                *c == route.collection && (route.namespace.is_empty() || *n == route.namespace)
            })
            .map(|(_, o)| o)
            .collect();
        json!({"metadata": {"resourceVersion": self.revision.to_string()}, "items": items})
    }

    fn get(&self, route: &Route) -> Result<Value, Status> {
        self.objects.get(&route.id()).cloned().ok_or_else(|| {
            let message = format!("{} {:?} not found", route.collection, route.name);
            let details = api_meta::StatusDetails { name: route.name.clone(), ..Default::default() };
            Status::failure(Reason::NotFound, message).with_details(details)
        })
    }

    fn create(&mut self, collection: &str, mut body: Value) -> Result<Value, Status> {
        let id = id_of(collection, &body);
        assert!(!id.2.is_empty(), "every object here is named by its creator: {body}");
        if self.objects.contains_key(&id) {
            return Err(Status::failure(Reason::AlreadyExists, format!("{} already exists", id.2)));
        }
        self.uids += 1;
        body["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        Ok(self.store(id, body))
    }

    fn fence(object: &Value, meta: &Value) -> Result<(), Status> {
        for field in ["uid", "resourceVersion"] {
            if !meta[field].is_null() && meta[field] != object["metadata"][field] {
                let message = format!("Precondition failed: {field}");
                return Err(Status::failure(Reason::Conflict, message));
            }
        }
        Ok(())
    }

    fn patch(&mut self, route: &Route, body: &Value) -> Result<Value, Status> {
        let mut object = self.get(route)?;
        State::fence(&object, &body["metadata"])?;
        if route.subresource == "finalize" {
            object["spec"]["finalizers"] = body["spec"]["finalizers"].clone();
        } else {
            merge(&mut object, body, route.strategic);
        }
        if self.objects[&route.id()] == object {
            return Ok(object);
        }
        Ok(self.store(route.id(), object))
    }

    fn delete(&mut self, route: &Route, options: &Value) -> Result<Value, Status> {
        let mut object = self.get(route)?;
        State::fence(&object, &options["preconditions"])?;
        for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
            if options["propagationPolicy"] == policy {
                let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
                finalizers.push(json!(finalizer));
                object["metadata"]["finalizers"] = json!(finalizers);
            }
        }
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        Ok(self.store(route.id(), object))
    }

    fn store(&mut self, id: (String, String, String), mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let meta = &object["metadata"];
        let none = |v: &Value| v.as_array().is_none_or(Vec::is_empty);
        let free = none(&meta["finalizers"])
            && (!id.0.ends_with("/namespaces") || none(&object["spec"]["finalizers"]));
        if !meta["deletionTimestamp"].is_null() && free {
            self.objects.remove(&id);
            self.log.push((self.revision, id.0, "DELETED", object.clone()));
            return object;
        }
        let kind = if self.objects.contains_key(&id) { "MODIFIED" } else { "ADDED" };
        self.log.push((self.revision, id.0.clone(), kind, object.clone()));
        self.objects.insert(id, object.clone());
        object
    }
}

/// What is served, as far as dynamic controllers look.
fn discovery(path: &str) -> Option<Value> {
    let kind = |name: &str, kind: &str, namespaced: bool| {
        let verbs = ["get", "list", "watch", "create", "patch", "delete"];
        json!({"name": name, "kind": kind, "namespaced": namespaced, "verbs": verbs})
    };
    Some(match path {
        "/api" => json!({"versions": ["v1"]}),
        "/apis" => json!({"groups": [{"name": "apps", "versions": [{"version": "v1"}]}]}),
        "/api/v1" => json!({"resources": [
            kind("pods", "Pod", true), {"name": "pods/status", "kind": "Pod", "namespaced": true, "verbs": ["get"]},
            kind("configmaps", "ConfigMap", true), kind("namespaces", "Namespace", false),
        ]}),
        "/apis/apps/v1" => json!({"resources": [kind("replicasets", "ReplicaSet", true)]}),
        _ => return None,
    })
}

/// Where a request goes.
struct Route {
    collection: String,
    namespace: String,
    name: String,
    subresource: String,
    watch: bool,
    strategic: bool,
    from: u64,
}

impl Route {
    fn of(request: &Request) -> Route {
        let parts: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        let root = if parts[0] == "api" { 2 } else { 3 };
        let mut rest = &parts[root..];
        let mut namespace = "";
        if rest.len() > 2 && rest[0] == "namespaces" && !matches!(rest[2], "finalize" | "status") {
            namespace = rest[1];
            rest = &rest[2..];
        }
        let query = request.uri().query().unwrap_or_default();
        let from = query.split('&').find_map(|p| p.strip_prefix("resourceVersion="));
        let part = |i: usize| rest.get(i).copied().unwrap_or_default().to_owned();
        Route {
            collection: format!("/{}/{}", parts[..root].join("/"), part(0)),
            namespace: namespace.to_owned(),
            name: part(1),
            subresource: part(2),
            watch: query.contains("watch=true"),
            strategic: request
                .headers()
                .get("content-type")
                .is_some_and(|t| t.to_str().unwrap().contains("strategic")),
            from: from.and_then(|f| f.parse().ok()).unwrap_or(0),
        }
    }

    fn id(&self) -> (String, String, String) {
        (self.collection.clone(), self.namespace.clone(), self.name.clone())
    }
}

fn id_of(collection: &str, body: &Value) -> (String, String, String) {
    let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default().to_owned();
    (collection.to_owned(), text("namespace"), text("name"))
}

fn respond(code: u16, body: &Value) -> Response {
    let body = Body::Full(body.to_string().into());
    http::Response::builder().status(code).body(body).unwrap()
}

/// RFC 7386; a strategic patch takes owner references in or out one by one.
fn merge(target: &mut Value, patch: &Value, strategic: bool) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, change) in fields {
        match (name.as_str(), change) {
            (_, Value::Null) => {
                target.as_object_mut().unwrap().remove(name);
            }
            ("ownerReferences", Value::Array(references)) if strategic => {
                let mut list = target[name].as_array().cloned().unwrap_or_default();
                list.retain(|o| references.iter().all(|r| r["uid"] != o["uid"]));
                list.extend(references.iter().filter(|r| r["$patch"] != "delete").cloned());
                target[name] = json!(list);
            }
            _ => merge(&mut target[name], change, strategic),
        }
    }
}
