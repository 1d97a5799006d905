//! Everything in one document: apidiscovery.k8s.io v2 and v2beta1 (KEP-3352).

use api_client::{Request, Response};
use bytes::Bytes;
use http::header::{HeaderValue, VARY};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use super::legacy;
use super::reply::tagged;
use crate::registry::{Group, Served, Snapshot};

/// Version of the aggregated form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    V2,
    V2Beta1,
}

impl Form {
    /// The first form in an Accept header, unless plain JSON stands before it.
    pub(super) fn of(accept: &str) -> Option<Form> {
        for clause in accept.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let params: Vec<&str> = parts.filter(|p| !p.starts_with("q=")).collect();
            let has = |p: &str| params.contains(&p);
            match media {
                "application/json" if has("g=apidiscovery.k8s.io") && has("as=APIGroupDiscoveryList") => {
                    if has("v=v2") {
                        return Some(Form::V2);
                    }
                    if has("v=v2beta1") {
                        return Some(Form::V2Beta1);
                    }
                }
                "application/json" | "*/*" if params.is_empty() => return None,
                _ => {}
            }
        }
        None
    }

    fn version(self) -> &'static str {
        match self {
            Form::V2 => "v2",
            Form::V2Beta1 => "v2beta1",
        }
    }
}

/// A document with its entity tag.
struct Document {
    body: Bytes,
    hash: String,
}

/// Documents of one state of the registry: core and named groups, in both versions.
pub(super) struct Kept {
    generation: u64,
    documents: [[Document; 2]; 2],
}

impl Kept {
    /// The documents of this snapshot, built anew when the registry has changed.
    pub(super) fn refresh<'k>(slot: &'k mut Option<Kept>, snapshot: &Snapshot) -> &'k Kept {
        if slot.as_ref().is_none_or(|k| k.generation != snapshot.generation) {
            let of = |form| [build(snapshot, form, false), build(snapshot, form, true)];
            let documents = [of(Form::V2), of(Form::V2Beta1)];
            *slot = Some(Kept { generation: snapshot.generation, documents });
        }
        slot.as_ref().expect("filled above when it was empty")
    }

    pub(super) fn answer(&self, form: Form, is_core: bool, request: &Request) -> Response {
        let document = &self.documents[usize::from(form == Form::V2Beta1)][usize::from(is_core)];
        let media =
            format!("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", form.version());
        let mut response = tagged(request, &media, &document.hash, || document.body.clone());
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
        response
    }
}

fn build(snapshot: &Snapshot, form: Form, is_core: bool) -> Document {
    let groups = snapshot.groups().iter().filter(|g| g.name.is_empty() == is_core);
    let items: Vec<Value> = groups.map(|g| group(snapshot, g)).collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{}", form.version()),
        "metadata": {}, "items": items,
    });
    let body = list.to_string();
    let hash = Sha512::digest(&body).iter().map(|b| format!("{b:02X}")).collect();
    Document { body: body.into(), hash }
}

fn group(snapshot: &Snapshot, group: &Group) -> Value {
    let version = |v: &String| {
        let resources: Vec<Value> = snapshot.resources(&group.name, v).map(|s| resource(s)).collect();
        json!({"version": v, "resources": resources, "freshness": "Current"})
    };
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn resource(served: &Served) -> Value {
    let r = &served.resource;
    let mut out = json!({
        "resource": r.plural,
        "responseKind": {"group": r.group, "version": r.version, "kind": r.kind},
        "scope": if r.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": served.singular,
        "verbs": legacy::verbs(served),
    });
    if !served.short_names.is_empty() {
        out["shortNames"] = json!(served.short_names);
    }
    if !served.categories.is_empty() {
        out["categories"] = json!(served.categories);
    }
    let subresource = |(name, s): (&String, &crate::registry::Subresource)| {
        let is_own = s.version.is_empty();
        let group = if is_own { &*r.group } else { s.group.as_str() };
        let version = if is_own { &*r.version } else { s.version.as_str() };
        json!({"subresource": name, "responseKind": {"group": group, "version": version, "kind": s.kind}, "verbs": s.verbs})
    };
    let list: Vec<Value> = legacy::subresources(served).into_iter().map(subresource).collect();
    if !list.is_empty() {
        out["subresources"] = Value::Array(list);
    }
    out
}
