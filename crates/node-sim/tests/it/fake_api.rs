//! A small API server in memory: objects by path, versions, selectors, watches, merge and strategic patches (lists of
//! conditions merge by type), graceful deletion of pods. Enough for a node; nothing is validated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use api_client::{Body, Client, Error, Request, Response, Transport};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;
use serde_json::{Map, Value, json};
use stdx::{BoxFuture, Clock, Env};
use tokio::sync::broadcast;

/// The server; clones share it.
#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    events: broadcast::Sender<(String, Value)>,
    /// `VERB path`, in order.
    requests: Vec<String>,
    /// Every version of every object under `/pods/`, for stories.
    history: Vec<Value>,
    /// While set, no request is answered.
    is_down: bool,
    /// Every change, for watches that begin in the past.
    log: Vec<(u64, String, Value)>,
}

impl FakeApi {
    pub(crate) fn new(env: &Env) -> FakeApi {
        let state = State {
            version: 1,
            objects: BTreeMap::new(),
            events: broadcast::channel(65536).0,
            requests: Vec::new(),
            history: Vec::new(),
            is_down: false,
            log: Vec::new(),
        };
        FakeApi { state: Arc::new(Mutex::new(state)), clock: env.clock.clone() }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(Arc::new(self.clone()), "test")
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.state.lock().unwrap().objects.keys().filter(|k| k.starts_with(prefix)).count()
    }

    /// Answers nothing until told otherwise; watches that are open stay silent.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.objects.iter().filter(|(path, _)| path.contains("/events/")).map(|(_, e)| e.clone()).collect()
    }

    /// Requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// Versions of pods since the last call.
    pub(crate) fn history(&self) -> Vec<Value> {
        std::mem::take(&mut self.state.lock().unwrap().history)
    }

    /// Creates or changes an object as a user would: merges `body` into what is there.
    pub(crate) fn put(&self, path: &str, body: Value) {
        self.state.lock().unwrap().upsert(path, body);
    }

    /// A pod bound to a node.
    pub(crate) fn pod(&self, name: &str, node: &str, mut spec: Value) {
        spec["nodeName"] = json!(node);
        self.put(&format!("/api/v1/namespaces/d/pods/{name}"), json!({"spec": spec}));
    }

    pub(crate) fn delete(&self, path: &str, grace: i64) {
        let now = self.clock.now();
        self.state.lock().unwrap().delete(path, &json!({"gracePeriodSeconds": grace}), now);
    }

    fn answer(&self, request: &Request) -> Result<Response, (u16, &'static str)> {
        let path = request.uri().path().to_owned();
        let query = query(request.uri().query().unwrap_or(""));
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        let is_watch = query.contains_key("watch");
        let verb = if is_watch { "WATCH" } else { request.method().as_str() };
        state.requests.push(format!("{verb} {path}"));
        let body: Value = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
        let value = match *request.method() {
            Method::GET if is_watch => return Ok(state.watch(path, query)),
            Method::GET => match state.objects.get(&path) {
                Some(object) => object.clone(),
                None if is_collection(&path) => state.list(&path, &query),
                None => return Err((404, "NotFound")),
            },
            Method::POST if path.ends_with("/token") => {
                let life = body["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
                state.version += 1;
                let end = stdx::Time::from_secs(now.secs() + life).to_string();
                json!({"status": {"token": format!("token-{}", state.version), "expirationTimestamp": end}})
            }
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or(""));
                if state.objects.contains_key(&path) {
                    return Err((409, "AlreadyExists"));
                }
                state.upsert(&path, body)
            }
            Method::PATCH => {
                let path = path.strip_suffix("/status").unwrap_or(&path).to_owned();
                let old = state.objects.get(&path).ok_or((404, "NotFound"))?;
                let uid = &body["metadata"]["uid"];
                if !uid.is_null() && *uid != old["metadata"]["uid"] {
                    return Err((409, "Conflict"));
                }
                state.upsert(&path, body)
            }
            Method::DELETE => {
                let old = state.objects.get(&path).ok_or((404, "NotFound"))?;
                let uid = &body["preconditions"]["uid"];
                if !uid.is_null() && *uid != old["metadata"]["uid"] {
                    return Err((409, "Conflict"));
                }
                state.delete(&path, &body, now);
                json!({"status": "Success"})
            }
            _ => return Err((405, "MethodNotAllowed")),
        };
        Ok(full(200, &value))
    }
}

impl Transport for FakeApi {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        if self.state.lock().unwrap().is_down {
            return Box::pin(async { Err(Error::Unreachable("down".to_owned())) });
        }
        let answer = self.answer(&request).unwrap_or_else(|(code, reason)| {
            full(code, &json!({"status": "Failure", "reason": reason, "message": reason, "code": code}))
        });
        Box::pin(async move { Ok(answer) })
    }
}

impl State {
    fn upsert(&mut self, path: &str, body: Value) -> Value {
        self.version += 1;
        let version = self.version;
        let is_new = !self.objects.contains_key(path);
        let object = self.objects.entry(path.to_owned()).or_insert_with(|| json!({"metadata": {}}));
        let before = object.clone();
        merge(object, body);
        if *object == before {
            return before;
        }
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(version.to_string());
        if before["spec"] != object["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = json!(generation);
        }
        if is_new {
            let (parent, name) = path.rsplit_once('/').unwrap();
            let meta = &mut object["metadata"];
            meta["name"] = json!(name);
            meta["uid"] = json!(format!("uid-{version}"));
            if let Some((_, rest)) = parent.split_once("/namespaces/") {
                meta["namespace"] = json!(rest.split('/').next().unwrap());
            }
        }
        let object = object.clone();
        self.tell("MODIFIED", path, &object);
        object
    }

    fn delete(&mut self, path: &str, options: &Value, now: stdx::Time) {
        let Some(object) = self.objects.get(path) else { return };
        let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
        let grace = options["gracePeriodSeconds"].as_i64().unwrap_or(own);
        if grace > 0 && path.contains("/pods/") && !object["spec"]["nodeName"].is_null() {
            let end = now + std::time::Duration::from_secs(u64::try_from(grace).unwrap());
            let meta = json!({"deletionTimestamp": end, "deletionGracePeriodSeconds": grace});
            self.upsert(path, json!({"metadata": meta}));
            return;
        }
        self.version += 1;
        let mut object = self.objects.remove(path).unwrap();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell("DELETED", path, &object);
    }

    fn tell(&mut self, kind: &str, path: &str, object: &Value) {
        if path.contains("/pods/") {
            self.history.push(json!({"type": kind, "object": object}));
        }
        let event = json!({"type": kind, "object": object});
        self.log.push((self.version, path.to_owned(), event.clone()));
        let _ = self.events.send((path.to_owned(), event));
    }

    fn list(&self, path: &str, query: &BTreeMap<String, String>) -> Value {
        let items = self.objects.iter().filter(|(p, o)| is_within(p, path) && selects(query, o));
        let items: Vec<&Value> = items.map(|(_, o)| o).collect();
        json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }

    fn watch(&self, path: String, query: BTreeMap<String, String>) -> Response {
        let from: u64 = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        let past: Vec<(String, Value)> =
            self.log.iter().filter(|(v, ..)| *v > from).map(|(_, p, e)| (p.clone(), e.clone())).collect();
        let future = stream::unfold(self.events.subscribe(), |mut events| async move {
            Some((events.recv().await.ok()?, events))
        });
        let events = stream::iter(past).chain(future);
        let lines = events.filter_map(move |(at, event)| {
            let is_wanted = is_within(&at, &path) && selects(&query, &event["object"]);
            let line = is_wanted.then(|| Ok(Bytes::from(format!("{event}\n"))));
            async move { line }
        });
        http::Response::new(Body::Stream(Box::pin(lines)))
    }
}

fn full(code: u16, value: &Value) -> Response {
    let mut response = http::Response::new(Body::Full(Bytes::from(value.to_string())));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
    response
}

fn is_collection(path: &str) -> bool {
    ["/pods", "/nodes", "/leases", "/events", "/configmaps", "/secrets"].iter().any(|c| path.ends_with(c))
}

/// `/api/v1/pods` holds the pods of all namespaces.
fn is_within(path: &str, collection: &str) -> bool {
    let (root, plural) = collection.rsplit_once('/').unwrap();
    let Some((parent, _)) = path.rsplit_once('/') else { return false };
    parent == collection
        || (parent.starts_with(&format!("{root}/namespaces/")) && parent.ends_with(&format!("/{plural}")))
}

fn selects(query: &BTreeMap<String, String>, object: &Value) -> bool {
    let at = |path: &str| {
        let value = path.split('.').fold(object, |v, key| &v[key]);
        value.as_str().unwrap_or("").to_owned()
    };
    let fields = query.get("fieldSelector").into_iter().flat_map(|s| s.split(','));
    let fields = fields.map(|part| match part.split_once("!=") {
        Some((path, value)) => at(path) != value,
        None => part.split_once('=').is_some_and(|(path, value)| at(path) == value),
    });
    let labels = query.get("labelSelector").into_iter().flat_map(|s| s.split(','));
    let labels = labels.map(|part| {
        part.split_once('=').is_some_and(|(key, value)| object["metadata"]["labels"][key] == value)
    });
    fields.chain(labels).all(|holds| holds)
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(k, v)| (k.to_owned(), unescape(v))).collect()
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex: String = bytes.by_ref().take(2).map(char::from).collect();
            out.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).unwrap()
}

/// RFC 7386, but conditions merge by their type.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                match value {
                    Value::Null => {
                        target.remove(&key);
                    }
                    Value::Array(new) if key == "conditions" => conditions(target, new),
                    value => merge(target.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (target, patch @ Value::Object(_)) => {
            *target = json!({});
            merge(target, patch);
        }
        (target, patch) => *target = patch,
    }
}

fn conditions(target: &mut Map<String, Value>, new: Vec<Value>) {
    let list = target.entry("conditions").or_insert_with(|| json!([]));
    let list = list.as_array_mut().unwrap();
    for condition in new {
        match list.iter_mut().find(|c| c["type"] == condition["type"]) {
            Some(old) => merge(old, condition),
            None => {
                let mut fresh = json!({});
                merge(&mut fresh, condition);
                list.push(fresh);
            }
        }
    }
}
