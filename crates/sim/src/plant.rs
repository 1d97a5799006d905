//! Bugs put in on purpose: whoever looks for bugs must find these.

use std::sync::Arc;

use api_client::{Body, BodyStream, Error, Request, Response, Transport};
use api_core::Pod;
use api_meta::ObjectKey;
use api_workload::CloneSet;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;
use reconcile::{Permission, Row, Thinker, Watch, World};
use serde_json::Value;
use stdx::{BoxFuture, Time};
use workloads::cloneset::{Controller, Observed};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// The executor drops identity and version from its writes.
    IgnoredFences,
    /// The planner takes terminating and unready pods for available ones.
    BlindPlanner,
    /// A watch leaves out one event in so many, for the controllers.
    DroppedEvent(u32),
    /// The disk says that it has synced, and has not.
    LyingDisk,
    /// After a crash the disk is as it was some time before.
    RestoredBackup,
    /// The scheduler does not see which pods are bound.
    ForgetfulScheduler,
}

impl Plant {
    /// By name, as on the command line.
    pub fn parse(name: &str) -> Option<Plant> {
        Some(match name {
            "ignored-fences" => Plant::IgnoredFences,
            "blind-planner" => Plant::BlindPlanner,
            "dropped-event" => Plant::DroppedEvent(7),
            "lying-disk" => Plant::LyingDisk,
            "restored-backup" => Plant::RestoredBackup,
            "forgetful-scheduler" => Plant::ForgetfulScheduler,
            _ => return None,
        })
    }

    /// The controllers with the bug in them, if it is theirs.
    pub(crate) fn rows(plant: Option<Plant>) -> Vec<Row> {
        let mut rows = builtins::rows();
        if plant == Some(Plant::BlindPlanner) {
            rows.push(Row::of::<Blind>());
        } else {
            rows.extend(workloads::rows());
        }
        rows
    }

    /// The transport of a component with the bug on it, if it is there.
    pub(crate) fn wrap(
        plant: Option<Plant>,
        component: &str,
        inner: Arc<dyn Transport>,
    ) -> Arc<dyn Transport> {
        match (plant, component) {
            (Some(Plant::IgnoredFences), "cloneset-controller") => {
                Arc::new(Tampered { inner, request: |request| strip_fences(request), event: None })
            }
            // Controllers share their mirrors: whichever reads pods first reads them for all.
            (Some(Plant::DroppedEvent(every)), name) if !["scheduler", "node-sim"].contains(&name) => {
                Arc::new(Tampered { inner, request: |r| r, event: Some(Tamper::Drop(every)) })
            }
            (Some(Plant::ForgetfulScheduler), "scheduler") => {
                Arc::new(Tampered { inner, request: |r| r, event: Some(Tamper::Unbind) })
            }
            _ => inner,
        }
    }
}

/// The CloneSet controller that sees only healthy pods.
enum Blind {}

impl Thinker for Blind {
    type Primary = CloneSet;
    type Observed = Observed;
    const NAME: &'static str = Controller::NAME;

    fn watches() -> Vec<Watch> {
        Controller::watches()
    }

    fn permissions() -> Vec<Permission> {
        Controller::permissions()
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let mut seen = Controller::observe(world, key)?;
        let leaving = std::mem::take(&mut seen.leaving);
        let healthy = |pod: Arc<Pod>| {
            let mut pod = Pod::clone(&pod);
            pod.metadata.deletion_timestamp = None;
            for condition in pod.status.conditions.iter_mut().filter(|c| c.r#type == "Ready") {
                condition.status = "True".to_owned();
            }
            Arc::new(pod)
        };
        seen.pods = std::mem::take(&mut seen.pods).into_iter().chain(leaving).map(healthy).collect();
        Some(seen)
    }

    fn plan(seen: &Observed, now: Time) -> reconcile::Plan {
        Controller::plan(seen, now)
    }
}

/// A transport that changes what passes.
struct Tampered {
    inner: Arc<dyn Transport>,
    request: fn(Request) -> Request,
    event: Option<Tamper>,
}

#[derive(Clone, Copy)]
enum Tamper {
    Drop(u32),
    Unbind,
}

impl Transport for Tampered {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let is_pods = request.uri().path() == "/api/v1/pods";
        let sending = self.inner.send((self.request)(request));
        let event = self.event.filter(|_| is_pods);
        Box::pin(async move {
            let response = sending.await?;
            let Some(tamper) = event else { return Ok(response) };
            let (parts, body) = response.into_parts();
            let body = match (body, tamper) {
                (Body::Stream(chunks), _) => Body::Stream(tampered(chunks, tamper)),
                (Body::Full(bytes), Tamper::Unbind) => Body::Full(unbound(&bytes)),
                (body, Tamper::Drop(_)) => body,
            };
            Ok(Response::from_parts(parts, body))
        })
    }
}

fn tampered(chunks: BodyStream, tamper: Tamper) -> BodyStream {
    Box::pin(stream::unfold((chunks, 0_u32), move |(mut chunks, mut count)| async move {
        loop {
            let chunk = match chunks.next().await? {
                Ok(bytes) => bytes,
                Err(e) => return Some((Err(e), (chunks, count))),
            };
            match tamper {
                Tamper::Unbind => return Some((Ok(unbound(&chunk)), (chunks, count))),
                Tamper::Drop(every) => {
                    count += 1;
                    if count.is_multiple_of(every) {
                        continue;
                    }
                    return Some((Ok(chunk), (chunks, count)));
                }
            }
        }
    }))
}

/// Hides where pods are bound, in a list or in events, one per line.
fn unbound(bytes: &Bytes) -> Bytes {
    let mut out = Vec::new();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        match serde_json::from_slice::<Value>(line) {
            Ok(mut value) => {
                value["items"].as_array_mut().into_iter().flatten().for_each(hide_node);
                if value.get("object").is_some() {
                    hide_node(&mut value["object"]);
                }
                out.extend_from_slice(value.to_string().as_bytes());
                if line.ends_with(b"\n") {
                    out.push(b'\n');
                }
            }
            Err(_) => out.extend_from_slice(line),
        }
    }
    out.into()
}

fn hide_node(pod: &mut Value) {
    if let Some(spec) = pod["spec"].as_object_mut() {
        // Another scheduler's pod without a node: neither counted nor queued.
        if spec.remove("nodeName").is_some() {
            spec.insert("schedulerName".to_owned(), Value::from("nobody"));
        }
    }
}

fn strip_fences(request: Request) -> Request {
    if ![Method::PATCH, Method::PUT, Method::DELETE].contains(request.method()) {
        return request;
    }
    let (parts, body) = request.into_parts();
    let Ok(mut value) = serde_json::from_slice::<Value>(&body) else {
        return Request::from_parts(parts, body);
    };
    for place in ["metadata", "preconditions"] {
        if let Some(fields) = value[place].as_object_mut() {
            fields.remove("uid");
            fields.remove("resourceVersion");
        }
    }
    Request::from_parts(parts, value.to_string().into())
}
