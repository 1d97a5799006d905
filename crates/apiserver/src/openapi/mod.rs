//! OpenAPI: the shape of every kind, for `kubectl explain`, client-side validation and patches.
//!
//! ```text
//! /openapi/v3                 index: path -> URL with a hash
//! /openapi/v3/apis/G/V?hash=  one version: built-ins as generated, custom kinds from their definitions
//! /openapi/v2                 everything in one document of the older form
//! ```
//!
//! Built-in documents stay compressed in the tables until asked for; documents of custom kinds are built once per state
//! of the registry. Version 2 has its protobuf form as well, which client-go asks for. What is absent: the protobuf form of version 3
//! (clients ask for JSON), and prose of built-in fields.

mod custom;
mod gnostic;
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
    merged: Mutex<Option<Arc<Merged>>>,
}

/// Documents of the custom kinds in one state of the registry.
struct Kept {
    generation: u64,
    custom: BTreeMap<String, Custom>,
}

/// The document of version 2 in one state of the registry.
struct Merged {
    generation: u64,
    json: Bytes,
    protobuf: Bytes,
    /// Of both forms.
    hash: String,
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

    fn merged(&self, snapshot: &Snapshot, request: &Request, form: Form) -> Response {
        let kept = self.kept_merged(snapshot);
        match form {
            Form::Json => tagged(request, "application/json", &kept.hash, || kept.json.clone()),
            Form::Protobuf => tagged(request, gnostic::MEDIA, &kept.hash, || kept.protobuf.clone()),
        }
    }

    fn kept_merged(&self, snapshot: &Snapshot) -> Arc<Merged> {
        let mut slot = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(kept) if kept.generation == snapshot.generation => kept.clone(),
            _ => {
                let document = swagger::merge(&self.documents(snapshot));
                let json: Bytes = document.to_string().into();
                let (hash, protobuf) = (hash(&json), gnostic::encode(&document).into());
                let kept = Arc::new(Merged { generation: snapshot.generation, json, protobuf, hash });
                *slot = Some(kept.clone());
                kept
            }
        }
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
        let path = request.uri().path().trim_end_matches('/');
        let form = form(request, path == "/openapi/v2");
        if path.starts_with("/openapi/v") && form.is_none() {
            return Some(reply(406, "text/plain; charset=utf-8", ""));
        }
        match path {
            "/openapi/v2" => Some(self.merged(snapshot, request, form?)),
            "/openapi/v3" => Some(self.index(snapshot)),
            path => Some(self.document(snapshot, request, path.strip_prefix("/openapi/v3/")?)),
        }
    }
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

/// The first form that the client takes and the document has.
fn form(request: &Request, has_protobuf: bool) -> Option<Form> {
    let accept =
        request.headers().get(http::header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accept.is_empty() {
        return Some(Form::Json);
    }
    let mut media = accept.split(',').map(|c| c.split(';').next().unwrap_or_default().trim());
    media.find_map(|m| match m {
        "application/json" | "application/*" | "*/*" => Some(Form::Json),
        gnostic::MEDIA | gnostic::MEDIA_OLD if has_protobuf => Some(Form::Protobuf),
        _ => None,
    })
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api_meta::Resource;

    use super::*;
    use crate::registry::{Origin, Registry, Served, builtin};

    fn get(documents: &OpenApi, snapshot: &Snapshot, path: &str) -> (u16, Value) {
        let request = http::Request::get(path).body(Bytes::new()).expect("a fixed request");
        let answer = documents.answer(snapshot, &request).expect("a path of OpenAPI");
        let code = answer.status().as_u16();
        let Body::Full(body) = answer.into_body() else { panic!("documents are whole") };
        (code, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn widgets() -> Served {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "description": "what is wanted",
            "properties": {"size": {"type": "integer", "nullable": true}}}}});
        Served {
            origin: Origin::Custom { definition: "w".into(), uid: "u".into(), is_terminating: false },
            openapi: Some(Arc::new(schema)),
            ..Served::plain(Resource::namespaced("a.example.com", "v1", "widgets", "Widget"))
        }
    }

    #[test]
    fn the_index_leads_to_every_document() {
        let (documents, snapshot) =
            (OpenApi::new(), Registry::new(builtin().into_iter().chain([widgets()])).snapshot());
        let (_, index) = get(&documents, &snapshot, "/openapi/v3");
        let paths = index["paths"].as_object().expect("paths");
        assert!(paths.contains_key("api/v1") && paths.contains_key("apis/a.example.com/v1"));
        for entry in paths.values() {
            let url = entry["serverRelativeURL"].as_str().expect("a URL");
            assert_eq!(get(&documents, &snapshot, url).0, 200, "{url}");
        }
        assert_eq!(get(&documents, &snapshot, "/openapi/v3/api/v1?hash=OLD").0, 301);
        assert_eq!(get(&documents, &snapshot, "/openapi/v3/apis/nope/v1").0, 404);
    }

    #[test]
    fn a_custom_kind_is_described_with_its_prose_and_its_patch_parameters() {
        let (documents, snapshot) = (OpenApi::new(), Registry::new([widgets()]).snapshot());
        let (_, document) = get(&documents, &snapshot, "/openapi/v3/apis/a.example.com/v1");
        let widget = &document["components"]["schemas"]["com.example.a.v1.Widget"];
        assert_eq!(widget["properties"]["spec"]["description"], "what is wanted");
        assert_eq!(widget["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
        let patch =
            &document["paths"]["/apis/a.example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
        assert!(
            patch["parameters"]
                .as_array()
                .expect("parameters")
                .iter()
                .any(|p| p["name"] == "fieldValidation")
        );
        assert_eq!(patch["x-kubernetes-group-version-kind"]["group"], "a.example.com");
        assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_none());
    }

    #[test]
    fn the_older_form_has_every_definition_and_no_keyword_it_does_not_know() {
        let (documents, snapshot) =
            (OpenApi::new(), Registry::new(builtin().into_iter().chain([widgets()])).snapshot());
        let (_, document) = get(&documents, &snapshot, "/openapi/v2");
        let definitions = document["definitions"].as_object().expect("definitions");
        assert!(
            definitions.contains_key("io.k8s.api.core.v1.Pod")
                && definitions.contains_key("com.example.a.v1.Widget")
        );
        assert!(!document.to_string().contains("#/components/"));
        // What may be null has no type in this form, or clients would refuse null.
        let size = &definitions["com.example.a.v1.Widget"]["properties"]["spec"]["properties"]["size"];
        assert_eq!(*size, json!({}));
        let metadata = &definitions["io.k8s.api.core.v1.Pod"]["properties"]["metadata"];
        assert_eq!(metadata["$ref"], "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    }

    #[test]
    fn the_older_form_comes_in_protobuf_to_who_asks_for_it_and_other_forms_are_refused() {
        let snapshot = Registry::new([widgets()]).snapshot();
        let documents = OpenApi::new();
        let ask = |path: &str, accept: &str| {
            let request = http::Request::get(path).header("accept", accept).body(Bytes::new());
            let answer =
                documents.answer(&snapshot, &request.expect("a fixed request")).expect("a path of OpenAPI");
            let media = answer.headers().get("content-type").map(|v| v.to_str().expect("a text").to_owned());
            (answer.status().as_u16(), media.unwrap_or_default())
        };
        // By the name client-go uses, and by the one of the answer.
        for accept in [gnostic::MEDIA_OLD, gnostic::MEDIA] {
            assert_eq!(ask("/openapi/v2", accept), (200, gnostic::MEDIA.to_owned()));
        }
        assert_eq!(ask("/openapi/v2", "*/*"), (200, "application/json".to_owned()));
        assert_eq!(ask("/openapi/v2", "application/vnd.kubernetes.protobuf").0, 406);
        assert_eq!(ask("/openapi/v3", gnostic::MEDIA).0, 406);
    }
}
