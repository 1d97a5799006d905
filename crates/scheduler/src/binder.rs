//! Telling the API server where pods go: one by one through the Binding subresource, or many at once where it is offered.

use std::collections::VecDeque;
use std::time::Duration;

use api_client::{Class, Client, Error};
use api_core::Pod;
use api_meta::{Object, Status};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use stdx::{BoxFuture, Env};

use crate::core::Bind;

/// Where many bindings are posted at once.
const BULK: &str = "/apis/knarr.dev/v1/bindings";
/// Pause between two attempts to learn what became of a request without an answer.
const READ_BACK_PAUSE: Duration = Duration::from_millis(500);

/// What became of one bind.
pub(crate) enum Fate {
    /// The server has taken it.
    Bound,
    /// The server has said no, or the pod turned out to be unbound; why.
    Failed(String),
    /// The pod is bound already; as it stands.
    Found(Box<Pod>),
    /// The pod is not there any more.
    Gone,
}

/// Whether many bindings can be posted at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bulk {
    /// Not known yet: one by one until it is.
    Unknown,
    /// Yes.
    Offered,
    /// No.
    Absent,
}

/// Binds under way and waiting.
pub(crate) struct Binder {
    client: Client,
    env: Env,
    waiting: VecDeque<Bind>,
    flying: FuturesUnordered<BoxFuture<Batch>>,
    in_flight_max: usize,
    batch_max: usize,
    bulk: Bulk,
}

/// Outcomes of one request.
pub(crate) struct Batch {
    /// Each pod's.
    pub(crate) fates: Vec<(Bind, Fate)>,
    /// The server does not offer bulk binding after all.
    bulk_absent: bool,
}

impl Binder {
    pub(crate) fn new(client: Client, env: Env, in_flight_max: usize, batch_max: usize) -> Binder {
        Binder {
            client,
            env,
            waiting: VecDeque::new(),
            flying: FuturesUnordered::new(),
            in_flight_max: in_flight_max.max(1),
            batch_max: batch_max.max(1),
            bulk: Bulk::Unknown,
        }
    }

    /// Whether it takes further decisions: what waits is bounded by what one round of requests carries.
    pub(crate) fn has_room(&self) -> bool {
        let per_request = if self.bulk == Bulk::Offered { self.batch_max } else { 1 };
        self.waiting.len() < self.in_flight_max * per_request
    }

    /// What the server offers.
    pub(crate) fn set_bulk(&mut self, bulk: Bulk) {
        self.bulk = bulk;
    }

    /// Takes a decision.
    pub(crate) fn push(&mut self, bind: Bind) {
        self.waiting.push_back(bind);
    }

    /// Starts as many requests as may be under way.
    pub(crate) fn start(&mut self) {
        while self.flying.len() < self.in_flight_max && !self.waiting.is_empty() {
            let (client, env) = (self.client.clone(), self.env.clone());
            if self.bulk == Bulk::Offered {
                let count = self.waiting.len().min(self.batch_max);
                let binds: Vec<Bind> = self.waiting.drain(..count).collect();
                self.flying.push(Box::pin(many(client, env, binds)));
            } else if let Some(bind) = self.waiting.pop_front() {
                self.flying.push(Box::pin(async move {
                    let fate = one(&client, &env, &bind).await;
                    Batch { fates: vec![(bind, fate)], bulk_absent: false }
                }));
            }
        }
    }

    /// The next finished request; never ends while none is under way.
    pub(crate) async fn next(&mut self) -> Vec<(Bind, Fate)> {
        match self.flying.next().await {
            Some(batch) => {
                if batch.bulk_absent {
                    self.bulk = Bulk::Absent;
                }
                batch.fates
            }
            None => std::future::pending().await,
        }
    }
}

/// Asks whether the server takes many bindings at once, by sending it none, until it answers.
pub(crate) async fn discover(client: Client, env: Env) -> Bulk {
    loop {
        match post(&client, Vec::new()).await {
            Ok(results) if results.items.is_empty() => return Bulk::Offered,
            Ok(_) => return Bulk::Absent,
            Err(e) if e.class() == Class::Transient => env.sleep(READ_BACK_PAUSE).await,
            Err(_) => return Bulk::Absent,
        }
    }
}

/// A Binding, fenced by the pod's identity.
fn binding(bind: &Bind) -> Value {
    let pod = &bind.pod;
    let mut body = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"namespace": pod.kin.namespace, "name": &*pod.name, "uid": &*pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": &*bind.placement.node},
    });
    if !bind.annotations.is_empty() {
        // The server writes them to the pod together with its node.
        body["metadata"]["annotations"] = json!(bind.annotations);
    }
    body
}

async fn one(client: &Client, env: &Env, bind: &Bind) -> Fate {
    let pod = &bind.pod;
    let key = (pod.kin.namespace.as_str(), &*pod.name);
    match client.post::<serde::de::IgnoredAny>(&Pod::RESOURCE, key, "binding", &binding(bind)).await {
        Ok(_) => Fate::Bound,
        Err(error) => after(client, env, bind, &error).await,
    }
}

/// What to make of an error. Without a clear answer the pod is read back: it counts on its node until then.
async fn after(client: &Client, env: &Env, bind: &Bind, error: &Error) -> Fate {
    match error.class() {
        Class::NotFound => Fate::Gone,
        Class::Transient | Class::Conflict | Class::Exists | Class::Bug => {
            read_back(client, env, bind, &error.to_string()).await
        }
        Class::Invalid | Class::Forbidden | Class::Expired => Fate::Failed(error.to_string()),
    }
}

async fn read_back(client: &Client, env: &Env, bind: &Bind, why: &str) -> Fate {
    let pod = &bind.pod;
    loop {
        match client.get::<Pod>(&Pod::RESOURCE, &pod.kin.namespace, &pod.name).await {
            Ok(found) if *found.metadata.uid != *pod.uid => return Fate::Gone,
            Ok(found) if found.spec.node_name.is_empty() => return Fate::Failed(why.to_owned()),
            Ok(found) if *found.spec.node_name == *bind.placement.node => return Fate::Bound,
            Ok(found) => return Fate::Found(Box::new(found)),
            Err(e) if e.is_not_found() => return Fate::Gone,
            Err(_) => env.sleep(READ_BACK_PAUSE).await,
        }
    }
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    items: Vec<Status>,
}

/// A list of Bindings up, a list of Statuses back, in the same order.
async fn post(client: &Client, items: Vec<Value>) -> Result<Results, Error> {
    let body = json!({"apiVersion": "knarr.dev/v1", "kind": "BindingList", "items": items});
    let bytes = Bytes::from(body.to_string());
    client.json(Method::POST, BULK, &[], Some(("application/json", bytes))).await
}

/// Binds many pods with one request; each has its own outcome.
async fn many(client: Client, env: Env, binds: Vec<Bind>) -> Batch {
    let answer = post(&client, binds.iter().map(binding).collect()).await;
    let (mut fates, mut bulk_absent) = (Vec::with_capacity(binds.len()), false);
    match answer {
        Ok(results) if results.items.len() == binds.len() => {
            for (bind, status) in binds.into_iter().zip(results.items) {
                let fate = if status.code < 300 && status.status != "Failure" {
                    Fate::Bound
                } else {
                    after(&client, &env, &bind, &Error::refused(status)).await
                };
                fates.push((bind, fate));
            }
        }
        other => {
            let error = match other {
                Ok(_) => Error::Unreachable("bulk binding answered for another number of pods".to_owned()),
                Err(error) => error,
            };
            // The path itself is missing: nothing was bound, and nothing will be this way.
            bulk_absent = matches!(error.class(), Class::NotFound | Class::Invalid | Class::Forbidden);
            for bind in binds {
                let fate = if bulk_absent {
                    one(&client, &env, &bind).await
                } else {
                    after(&client, &env, &bind, &error).await
                };
                fates.push((bind, fate));
            }
        }
    }
    Batch { fates, bulk_absent }
}
