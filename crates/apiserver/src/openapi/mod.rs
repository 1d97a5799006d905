//! OpenAPI: the shape of every kind, for `kubectl explain`, client-side validation and patches.
//!
//! ```text
//! /openapi/v3                 index: path -> URL with a hash
//! /openapi/v3/apis/G/V?hash=  one version: built-ins as generated, custom kinds from their definitions
//! /openapi/v2                 everything in one document of the older form
//! ```
//!
//! Built-in documents stay compressed in the tables until asked for; documents of custom kinds are built once per state
//! of the registry. What is absent: the protobuf forms (clients fall back to JSON), and prose of built-in fields.

mod custom;
mod swagger;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use api_client::{Body, Request, Response};
use api_tables::tables;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use crate::discovery::{reply, tagged};
use crate::registry::Snapshot;
use crate::server::Documents;

/// Answers the OpenAPI paths.
#[derive(Default)]
pub struct OpenApi {
    kept: Mutex<Option<Arc<Kept>>>,
    merged: Mutex<Option<(u64, Bytes)>>,
}

/// Documents of the custom kinds in one state of the registry.
struct Kept {
    generation: u64,
    custom: BTreeMap<String, Custom>,
}

/// A document of one group and version.
struct Custom {
    body: Bytes,
    hash: String,
}

impl OpenApi {
    /// Documents for whatever snapshot a request brings.
    pub fn new() -> OpenApi {
        OpenApi::default()
    }

    fn kept(&self, snapshot: &Snapshot) -> Arc<Kept> {
        let mut slot = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(kept) if kept.generation == snapshot.generation => kept.clone(),
            _ => {
                let kept = Arc::new(Kept::build(snapshot));
                *slot = Some(kept.clone());
                kept
            }
        }
    }

    fn index(&self, snapshot: &Snapshot) -> Response {
        let kept = self.kept(snapshot);
        let entry =
            |path: &str, hash: &str| json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")});
        let mut paths = Map::new();
        for d in tables().documents.iter().filter(|d| is_served(snapshot, &d.path)) {
            paths.insert(d.path.clone(), entry(&d.path, &d.hash));
        }
        for (path, custom) in &kept.custom {
            paths.insert(path.clone(), entry(path, &custom.hash));
        }
        reply(200, "text/plain; charset=utf-8", json!({"paths": paths}).to_string())
    }

    fn document(&self, snapshot: &Snapshot, request: &Request, path: &str) -> Response {
        let kept = self.kept(snapshot);
        if let Some(custom) = kept.custom.get(path) {
            return one(request, path, &custom.hash, || custom.body.clone());
        }
        match tables().document(path).filter(|d| is_served(snapshot, &d.path)) {
            Some(d) => one(request, path, &d.hash, || d.json().into()),
            None => {
                let mut response = http::Response::new(Body::Full(Bytes::new()));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }

    fn merged(&self, snapshot: &Snapshot, request: &Request) -> Response {
        let body = {
            let mut slot = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
            match &*slot {
                Some((generation, body)) if *generation == snapshot.generation => body.clone(),
                _ => {
                    let body: Bytes = swagger::merge(&self.documents(snapshot)).to_string().into();
                    *slot = Some((snapshot.generation, body.clone()));
                    body
                }
            }
        };
        let hash = hash(&body);
        tagged(request, "application/json", &hash, || body)
    }

    /// Every served document, parsed.
    fn documents(&self, snapshot: &Snapshot) -> Vec<Value> {
        let kept = self.kept(snapshot);
        let builtin = tables().documents.iter().filter(|d| is_served(snapshot, &d.path)).map(|d| d.json());
        let custom = kept.custom.values().map(|c| c.body.to_vec());
        builtin.chain(custom).filter_map(|json| serde_json::from_slice(&json).ok()).collect()
    }
}

impl Documents for OpenApi {
    fn answer(&self, snapshot: &Snapshot, request: &Request) -> Option<Response> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        match request.uri().path().trim_end_matches('/') {
            "/openapi/v2" => Some(self.merged(snapshot, request)),
            "/openapi/v3" => Some(self.index(snapshot)),
            path => Some(self.document(snapshot, request, path.strip_prefix("/openapi/v3/")?)),
        }
    }
}

impl Kept {
    fn build(snapshot: &Snapshot) -> Kept {
        let mut custom = BTreeMap::new();
        let groups = snapshot.groups().iter().filter(|g| g.is_custom);
        for (group, version) in groups.flat_map(|g| g.versions.iter().map(move |v| (&g.name, v))) {
            let body: Bytes = custom::document(snapshot, group, version).to_string().into();
            let hash = hash(&body);
            custom.insert(format!("apis/{group}/{version}"), Custom { body, hash });
        }
        Kept { generation: snapshot.generation, custom }
    }
}

/// Whether a built-in document describes something this server serves.
fn is_served(snapshot: &Snapshot, path: &str) -> bool {
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("apis"), Some(group), Some(version)) => snapshot.has_version(group, version),
        (Some("apis"), Some(group), None) => snapshot.has_group(group),
        _ => true,
    }
}

fn hash(body: &[u8]) -> String {
    Sha512::digest(body).iter().map(|b| format!("{b:02X}")).collect()
}

/// One document: under its current hash it may be kept for ever, under another one the client is sent to the current.
fn one(request: &Request, path: &str, hash: &str, body: impl FnOnce() -> Bytes) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let asked = query.split('&').find_map(|p| p.strip_prefix("hash=")).unwrap_or_default();
    if !asked.is_empty() && asked != hash {
        let mut response = http::Response::new(Body::Full(Bytes::new()));
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        if let Ok(to) = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={hash}")) {
            response.headers_mut().insert(LOCATION, to);
        }
        return response;
    }
    let mut response = tagged(request, "application/json", hash, body);
    let cache = if asked.is_empty() { "no-cache, private" } else { "public, immutable" };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
