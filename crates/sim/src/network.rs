//! The way to the API server: up while the plane is, cut when it dies. Remembers what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api_client::{Body, Error, MetaOnly, Request, Response, Transport};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;
use serde_json::Value;
use stdx::BoxFuture;
use tokio::sync::watch;

use crate::log::Log;

/// Gives the transport of a user.
pub(crate) type Connect = Arc<dyn Fn(&str) -> Arc<dyn Transport> + Send + Sync>;

/// The network of one simulation.
#[derive(Clone)]
pub(crate) struct Network {
    line: Arc<watch::Sender<Option<Connect>>>,
    log: Log,
    acks: Arc<Mutex<Acks>>,
}

/// What the server has promised: the newest version it acknowledged per object, and what was asked to go.
#[derive(Default)]
pub(crate) struct Acks {
    pub(crate) versions: BTreeMap<String, u64>,
    pub(crate) deleted: BTreeSet<String>,
    pub(crate) count: u64,
}

impl Network {
    pub(crate) fn new(log: Log) -> Network {
        Network { line: Arc::new(watch::Sender::new(None)), log, acks: Arc::default() }
    }

    /// The server is there.
    pub(crate) fn connect(&self, connect: Connect) {
        self.line.send_replace(Some(connect));
    }

    /// The server is gone: requests and streams under way break.
    pub(crate) fn cut(&self) {
        self.line.send_replace(None);
    }

    /// A transport for a user; it outlives the server.
    pub(crate) fn port(&self, user: &str) -> Arc<dyn Transport> {
        Arc::new(Port { network: self.clone(), user: user.to_owned() })
    }

    /// What was acknowledged so far.
    pub(crate) fn acks(&self) -> MutexGuard<'_, Acks> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_request(&self, head: &(Method, String)) {
        if head.0 == Method::DELETE {
            self.acks().deleted.insert(object_of(&head.1).to_owned());
        }
    }

    fn note_answer(&self, head: &(Method, String), body: &Bytes) {
        if head.0 == Method::GET || head.0 == Method::DELETE {
            return;
        }
        let Ok(object) = serde_json::from_slice::<MetaOnly>(body) else { return };
        let (name, version) = (&object.metadata.name, object.metadata.revision());
        if name.is_empty() || version == 0 {
            return;
        }
        let path = if head.0 == Method::POST {
            format!("{}/{name}", object_of(&head.1))
        } else {
            object_of(&head.1).to_owned()
        };
        let mut acks = self.acks();
        acks.count += 1;
        let newest = acks.versions.entry(path).or_default();
        *newest = version.max(*newest);
    }
}

/// What a refusal says.
fn message(body: &Bytes) -> String {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    status["message"].as_str().map_or_else(String::new, |m| format!(" {m}"))
}

/// The path without query and subresource.
fn object_of(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or(path);
    for sub in ["/status", "/scale", "/binding", "/resize", "/eviction", "/finalizers"] {
        if let Some(object) = path.strip_suffix(sub) {
            return object;
        }
    }
    path
}

struct Port {
    network: Network,
    user: String,
}

impl Transport for Port {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let (network, user) = (self.network.clone(), self.user.clone());
        Box::pin(async move {
            let mut line = network.line.subscribe();
            let Some(connect) = line.borrow_and_update().clone() else {
                return Err(Error::Unreachable("connection refused".to_owned()));
            };
            let head = (request.method().clone(), request.uri().to_string());
            network.note_request(&head);
            let sending = connect(&user).send(request);
            let answer = tokio::select! {
                biased;
                _ = line.changed() => Err(Error::Unreachable("connection reset".to_owned())),
                answer = sending => answer,
            };
            network.settle(&user, &head, line, answer)
        })
    }
}

impl Network {
    fn settle(
        &self,
        user: &str,
        head: &(Method, String),
        line: watch::Receiver<Option<Connect>>,
        answer: Result<Response, Error>,
    ) -> Result<Response, Error> {
        let (method, path) = head;
        let response = match answer {
            Ok(response) => response,
            Err(e) => {
                self.log.line(&format!("{user} {method} {path} -> {e}"));
                return Err(e);
            }
        };
        let is_success = response.status().is_success();
        let (parts, body) = response.into_parts();
        let why = match &body {
            Body::Full(bytes) if !is_success => message(bytes),
            _ => String::new(),
        };
        self.log.line(&format!("{user} {method} {path} -> {}{why}", parts.status.as_u16()));
        let body = match body {
            Body::Full(bytes) => {
                if is_success {
                    self.note_answer(head, &bytes);
                }
                Body::Full(bytes)
            }
            Body::Stream(chunks) => {
                let state = (chunks, line, false);
                Body::Stream(Box::pin(stream::unfold(state, |(mut chunks, mut line, ended)| async move {
                    if ended {
                        return None;
                    }
                    tokio::select! {
                        biased;
                        _ = line.changed() => {
                            Some((Err(Error::Unreachable("connection reset".to_owned())), (chunks, line, true)))
                        }
                        chunk = chunks.next() => chunk.map(|c| (c, (chunks, line, false))),
                    }
                })))
            }
        };
        Ok(Response::from_parts(parts, body))
    }
}
