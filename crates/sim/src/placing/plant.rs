//! Bugs put in on purpose, on the scheduler's way to the server: it then acts as if it had them itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use api_client::{Body, Error, Request, Response, Transport};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use stdx::BoxFuture;

use crate::cluster::Around;

/// A bug of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacingPlant {
    /// What it has bound it counts no more.
    ForgottenAssumptions,
    /// It takes every answer to a bind for a yes.
    IgnoredConflicts,
    /// It does not hear that a node has changed.
    DeafToNodes,
    /// It misses one new pod in so many.
    MissedPods(u32),
}

impl PlacingPlant {
    /// By name, as on the command line.
    pub fn parse(name: &str) -> Option<PlacingPlant> {
        Some(match name {
            "forgotten-assumptions" => PlacingPlant::ForgottenAssumptions,
            "ignored-conflicts" => PlacingPlant::IgnoredConflicts,
            "deaf-to-nodes" => PlacingPlant::DeafToNodes,
            "missed-pods" => PlacingPlant::MissedPods(5),
            _ => return None,
        })
    }
}

/// Puts the bug on the scheduler's transport.
pub(super) fn around(plant: PlacingPlant) -> Around {
    Arc::new(move |component, inner| match component {
        "scheduler" => Arc::new(Bugged { inner, plant, seen: Arc::default() }),
        _ => inner,
    })
}

struct Bugged {
    inner: Arc<dyn Transport>,
    plant: PlacingPlant,
    /// New pods seen so far.
    seen: Arc<AtomicU32>,
}

impl Transport for Bugged {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let (plant, seen) = (self.plant, self.seen.clone());
        let path = request.uri().path().to_owned();
        let is_bind = request.method() == Method::POST && path.ends_with("/binding");
        let sending = self.inner.send(request);
        Box::pin(async move {
            let answer = sending.await;
            if plant == PlacingPlant::IgnoredConflicts && is_bind {
                return Ok(yes(answer));
            }
            let (parts, body) = answer?.into_parts();
            let body = match body {
                Body::Stream(chunks) => {
                    let changed =
                        chunks.map(move |chunk| chunk.map(|bytes| plant.hear(&path, &bytes, &seen)));
                    Body::Stream(Box::pin(changed))
                }
                full => full,
            };
            Ok(Response::from_parts(parts, body))
        })
    }
}

/// The answer of a server that has bound the pod.
fn yes(answer: Result<Response, Error>) -> Response {
    match answer {
        Ok(response) if response.status().is_success() => response,
        _ => {
            let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
            let mut response = Response::new(Body::Full(body.to_string().into()));
            *response.status_mut() = StatusCode::CREATED;
            response
        }
    }
}

impl PlacingPlant {
    /// What the scheduler hears of a chunk of events, one per line.
    fn hear(self, path: &str, bytes: &Bytes, seen: &AtomicU32) -> Bytes {
        let mut out = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let Ok(event) = serde_json::from_slice::<Value>(line) else {
                out.extend_from_slice(line);
                continue;
            };
            if let Some(event) = self.event(path, event, seen) {
                out.extend_from_slice(event.to_string().as_bytes());
                out.push(b'\n');
            }
        }
        out.into()
    }

    fn event(self, path: &str, mut event: Value, seen: &AtomicU32) -> Option<Value> {
        let (kind, is_pod) = (event["type"].as_str().unwrap_or_default().to_owned(), path == "/api/v1/pods");
        let is_bound = event["object"]["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty());
        match self {
            PlacingPlant::ForgottenAssumptions if is_pod && is_bound => event["type"] = json!("DELETED"),
            PlacingPlant::DeafToNodes if path == "/api/v1/nodes" && kind == "MODIFIED" => return None,
            PlacingPlant::MissedPods(every)
                if is_pod && kind == "ADDED" && seen.fetch_add(1, Ordering::Relaxed) % every == every - 1 =>
            {
                return None;
            }
            _ => {}
        }
        Some(event)
    }
}
