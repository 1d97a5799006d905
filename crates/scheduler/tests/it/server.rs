//! As much of an API server as a scheduler meets: lists, watches, bindings one by one and in bulk, conditions, events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api_client::{Body, Error, Request, Response, Transport};
use api_meta::{Reason, Status};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use stdx::BoxFuture;
use tokio::sync::watch;

/// What to do with the next binding instead of taking it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mishap {
    /// Say no.
    Refuse,
    /// Take it and lose the answer.
    LoseAnswer,
    /// Lose the request.
    LoseRequest,
}

/// A server; clones share it.
#[derive(Clone)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    news: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    log: Vec<(String, &'static str, Value)>,
    requests: Vec<String>,
    mishaps: VecDeque<Mishap>,
    bulk: Option<bool>,
}

type Answer = Result<Value, Box<Status>>;

impl Server {
    /// `bulk`: absent, served, or there when asked for and gone when needed.
    pub(crate) fn new(bulk: Option<bool>) -> Server {
        let state = State { bulk, ..State::default() };
        Server { state: Arc::new(Mutex::new(state)), news: Arc::new(watch::Sender::new(0)) }
    }

    pub(crate) fn put(&self, collection: &str, object: Value) {
        self.lock().store(collection, object);
        self.announce();
    }

    pub(crate) fn remove(&self, collection: &str, name: &str) {
        let mut state = self.lock();
        let path = state.path(collection, name);
        let object = state.objects.remove(&path).expect("a test removes what is there");
        state.tell(collection, "DELETED", object);
        drop(state);
        self.announce();
    }

    pub(crate) fn mishap(&self, mishaps: &[Mishap]) {
        self.lock().mishaps.extend(mishaps);
    }

    /// Objects of a collection, in order of their names.
    pub(crate) fn list(&self, collection: &str) -> Vec<Value> {
        let state = self.lock();
        let mine = state.objects.iter().filter(|(path, _)| collection_of(path) == collection);
        mine.map(|(_, o)| o.clone()).collect()
    }

    /// `pod -> node` of every pod.
    pub(crate) fn places(&self) -> Vec<String> {
        let place = |p: &Value| {
            let node = p["spec"]["nodeName"].as_str().unwrap_or("-");
            format!("{} -> {node}", p["metadata"]["name"].as_str().unwrap_or_default())
        };
        self.list("pods").iter().map(place).collect()
    }

    /// What was asked, watches left out.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.news.send_modify(|n| *n += 1);
    }

    fn watch(&self, collection: String, from: usize) -> Response {
        let start = (self.clone(), self.news.subscribe(), collection, from);
        let lines = stream::unfold(start, |(server, mut news, collection, mut at)| async move {
            loop {
                let next = {
                    let state = server.lock();
                    let found = state.log.iter().enumerate().skip(at).find(|(_, (c, ..))| *c == collection);
                    found.map(|(i, (_, kind, object))| (i, json!({"type": kind, "object": object})))
                };
                if let Some((i, line)) = next {
                    at = i + 1;
                    return Some((Ok(Bytes::from(format!("{line}\n"))), (server, news, collection, at)));
                }
                news.changed().await.ok()?;
            }
        });
        http::Response::new(Body::Stream(Box::pin(lines)))
    }
}

impl Transport for Server {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let server = self.clone();
        Box::pin(async move {
            let (path, query) =
                (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
            if query.contains("watch=true") {
                let from = query.split('&').find_map(|q| q.strip_prefix("resourceVersion=")?.parse().ok());
                return Ok(server.watch(collection_of(&path).to_owned(), from.unwrap_or(0)));
            }
            let mut state = server.lock();
            state.requests.push(format!("{} {path}", request.method()));
            let mishap = if path.ends_with("/binding") { state.mishaps.pop_front() } else { None };
            if let Some(Mishap::LoseRequest) = mishap {
                return Err(Error::Unreachable("lost".to_owned()));
            }
            let answer = match mishap {
                Some(Mishap::Refuse) => Err(Box::new(Status::failure(Reason::Forbidden, "not today"))),
                _ => state.answer(request.method().as_str(), &path, request.body()),
            };
            drop(state);
            server.announce();
            if let Some(Mishap::LoseAnswer) = mishap {
                return Err(Error::Unreachable("lost".to_owned()));
            }
            Ok(match answer {
                Ok(body) => respond(200, &body),
                Err(status) => respond(status.code, &json!(status)),
            })
        })
    }
}

impl State {
    fn answer(&mut self, method: &str, path: &str, body: &Bytes) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method, path) {
            ("POST", "/apis/knarr.dev/v1/bindings") if self.bulk.is_some() => {
                let items = body["items"].as_array().cloned().unwrap_or_default();
                if self.bulk == Some(false) && !items.is_empty() {
                    return Err(Box::new(Status::failure(Reason::NotFound, "no such path")));
                }
                let results = items.iter().map(|i| {
                    let text = |part: &str, field: &str| i[part][field].as_str().unwrap_or_default();
                    match self.bind(text("metadata", "name"), text("metadata", "uid"), text("target", "name"))
                    {
                        Ok(_) => json!({"status": "Success", "code": 201}),
                        Err(status) => json!(status),
                    }
                });
                Ok(json!({"items": results.collect::<Vec<_>>()}))
            }
            ("POST", path) if path.ends_with("/binding") => {
                let name = path.rsplit('/').nth(1).unwrap_or_default().to_owned();
                let (uid, node) = (body["metadata"]["uid"].as_str(), body["target"]["name"].as_str());
                self.bind(&name, uid.unwrap_or_default(), node.unwrap_or_default())
            }
            ("POST", path) if path.ends_with("/events") => {
                self.store(collection_of(path), body.clone());
                Ok(body)
            }
            ("PATCH", path) if path.ends_with("/status") => {
                let path = path.trim_end_matches("/status");
                let mut pod = self.get(path)?;
                let fence = &body["metadata"]["resourceVersion"];
                if !fence.is_null() && *fence != pod["metadata"]["resourceVersion"] {
                    return Err(Box::new(Status::failure(Reason::Conflict, "modified")));
                }
                for (field, value) in body["status"].as_object().into_iter().flatten() {
                    match (field.as_str(), value) {
                        ("conditions", Value::Array(news)) => {
                            let mut all = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
                            all.retain(|c| news.iter().all(|n| n["type"] != c["type"]));
                            all.extend(news.iter().cloned());
                            pod["status"]["conditions"] = json!(all);
                        }
                        _ => pod["status"][field] = value.clone(),
                    }
                }
                self.store("pods", pod.clone());
                Ok(pod)
            }
            ("PATCH", path) => {
                let mut object = self.get(path)?;
                let fence = &body["metadata"]["resourceVersion"];
                if !fence.is_null() && *fence != object["metadata"]["resourceVersion"] {
                    return Err(Box::new(Status::failure(Reason::Conflict, "modified")));
                }
                merge(&mut object, &body);
                self.store(collection_of(path), object);
                self.get(path)
            }
            ("DELETE", path) => {
                // With grace: whoever runs it lets it end.
                let mut pod = self.get(path)?;
                if pod["metadata"]["uid"] != body["preconditions"]["uid"] {
                    return Err(Box::new(Status::failure(Reason::Conflict, "another pod of that name")));
                }
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                self.store("pods", pod.clone());
                Ok(pod)
            }
            ("GET", path) if is_object(path) => self.get(path),
            ("GET", path) => {
                let mine = self.objects.iter().filter(|(p, _)| collection_of(p) == collection_of(path));
                let items: Vec<&Value> = mine.map(|(_, o)| o).collect();
                Ok(json!({"metadata": {"resourceVersion": self.log.len().to_string()}, "items": items}))
            }
            _ => Err(Box::new(Status::failure(Reason::NotFound, "no such path"))),
        }
    }

    fn get(&self, path: &str) -> Answer {
        self.objects
            .get(path)
            .cloned()
            .ok_or_else(|| Box::new(Status::failure(Reason::NotFound, format!("{path} not found"))))
    }

    fn bind(&mut self, name: &str, uid: &str, node: &str) -> Answer {
        let mut pod = self.get(&self.path("pods", name))?;
        if pod["metadata"]["uid"] != *uid {
            return Err(Box::new(Status::failure(Reason::Conflict, "another pod of that name")));
        }
        if !pod["spec"]["nodeName"].is_null() {
            return Err(Box::new(Status::failure(
                Reason::Conflict,
                format!("pod {name} is already assigned"),
            )));
        }
        pod["spec"]["nodeName"] = json!(node);
        self.store("pods", pod);
        Ok(json!({"status": "Success"}))
    }

    fn path(&self, collection: &str, name: &str) -> String {
        match collection {
            "nodes" | "namespaces" | "persistentvolumes" => format!("/api/v1/{collection}/{name}"),
            "storageclasses" | "csinodes" => format!("/apis/storage.k8s.io/v1/{collection}/{name}"),
            "poddisruptionbudgets" => format!("/apis/policy/v1/namespaces/d/{collection}/{name}"),
            _ => format!("/api/v1/namespaces/d/{collection}/{name}"),
        }
    }

    fn store(&mut self, collection: &str, mut object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        object["metadata"]["resourceVersion"] = json!((self.log.len() + 1).to_string());
        let path = self.path(collection, &name);
        let kind = if self.objects.contains_key(&path) { "MODIFIED" } else { "ADDED" };
        self.objects.insert(path, object.clone());
        self.tell(collection, kind, object);
    }

    fn tell(&mut self, collection: &str, kind: &'static str, mut object: Value) {
        object["metadata"]["resourceVersion"] = json!((self.log.len() + 1).to_string());
        self.log.push((collection.to_owned(), kind, object));
    }
}

/// What follows group and version.
fn tail(path: &str) -> Vec<&str> {
    let skip = if path.starts_with("/apis/") { 4 } else { 3 };
    path.split('/').skip(skip).collect()
}

/// The plural in a path of either form.
fn collection_of(path: &str) -> &str {
    let parts = tail(path);
    if parts[0] == "namespaces" && parts.len() > 2 { parts[2] } else { parts[0] }
}

/// Whether the path names one object.
fn is_object(path: &str) -> bool {
    let parts = tail(path);
    parts.len() == if parts[0] == "namespaces" && parts.len() > 2 { 4 } else { 2 }
}

/// A merge patch.
fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            for (key, value) in fields {
                merge(&mut into[key], value);
            }
        }
        other => *into = other.clone(),
    }
}

fn respond(code: u16, body: &Value) -> Response {
    let mut response = http::Response::new(Body::Full(Bytes::from(body.to_string())));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}
