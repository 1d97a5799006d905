//! The document of one version of a custom group.
//!
//! Paths are those of a built-in kind of the same scope with other names: that way they offer the very parameters the
//! server accepts for every kind.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use api_tables::tables;
use serde_json::{Map, Value, json};

use crate::registry::{Served, Snapshot};

const SCHEMAS: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const MODEL: &str = "io.k8s.api.apps.v1.Deployment";
const MODEL_PATH: &str = "/apis/apps/v1";

/// The document whose Deployment is the model.
static APPS: LazyLock<Value> = LazyLock::new(|| {
    let json = tables().document("apis/apps/v1").expect("apps/v1 is compiled in").json();
    serde_json::from_slice(&json).expect("it was generated as JSON")
});

/// The document of one group and version.
pub(super) fn document(snapshot: &Snapshot, group: &str, version: &str) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for served in snapshot.resources(group, version) {
        let name = type_name(served);
        schemas.insert(name.clone(), schema(served));
        schemas.insert(format!("{name}List"), list_schema(served));
        add_paths(served, &name, &mut paths);
    }
    add_references(&mut schemas, &paths);
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"},
        "paths": paths, "components": {"schemas": schemas},
    })
}

/// `com.example.v1.Widget`: the group backwards, as upstream names it.
fn type_name(served: &Served) -> String {
    let r = &served.resource;
    let backwards: Vec<&str> = r.group.split('.').rev().collect();
    format!("{}.{}.{}", backwards.join("."), r.version, r.kind)
}

fn gvk(served: &Served, kind: &str) -> Value {
    json!({"group": served.resource.group, "version": served.resource.version, "kind": kind})
}

fn reference(name: &str) -> Value {
    json!({"allOf": [{"$ref": format!("{SCHEMAS}{name}")}]})
}

/// The definition's own schema with what every object has.
fn schema(served: &Served) -> Value {
    let mut schema = match &served.openapi {
        Some(source) => (**source).clone(),
        None => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    };
    if !schema.is_object() {
        schema = json!({"type": "object"});
    }
    if schema["properties"].as_object().is_some_and(|p| !p.is_empty())
        || schema["x-kubernetes-preserve-unknown-fields"].is_null()
    {
        schema["properties"]["apiVersion"] = json!({"type": "string"});
        schema["properties"]["kind"] = json!({"type": "string"});
        schema["properties"]["metadata"] = reference(&format!("{META}.ObjectMeta"));
    }
    schema["x-kubernetes-group-version-kind"] = json!([gvk(served, &served.resource.kind)]);
    schema
}

fn list_schema(served: &Served) -> Value {
    let item = json!({"$ref": format!("{SCHEMAS}{}", type_name(served))});
    json!({
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "items": {"type": "array", "items": item},
            "metadata": reference(&format!("{META}.ListMeta")),
        },
        "x-kubernetes-group-version-kind": [gvk(served, &served.list_kind)],
    })
}

/// Paths of the model with this kind's names.
fn add_paths(served: &Served, name: &str, out: &mut Map<String, Value>) {
    let r = &served.resource;
    let base = format!("/apis/{}/{}", r.group, r.version);
    let collection = if r.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", r.plural)
    } else {
        format!("{base}/{}", r.plural)
    };
    let mut add = |model: &str, path: String| {
        let Some(item) = APPS["paths"].get(format!("{MODEL_PATH}/{model}")) else { return };
        let mut item = item.clone();
        rename(&mut item, served, name);
        if !r.namespaced {
            drop_namespace(&mut item);
        }
        out.insert(path, item);
    };
    let model = "namespaces/{namespace}/deployments";
    add(model, collection.clone());
    add(&format!("{model}/{{name}}"), format!("{collection}/{{name}}"));
    for sub in served.subresources.keys() {
        add(&format!("{model}/{{name}}/{sub}"), format!("{collection}/{{name}}/{sub}"));
    }
    if r.namespaced {
        add("deployments", format!("{base}/{}", r.plural));
    }
}

/// Puts other names into everything that names the model.
fn rename(v: &mut Value, served: &Served, name: &str) {
    match v {
        Value::Array(items) => items.iter_mut().for_each(|v| rename(v, served, name)),
        Value::Object(map) => {
            if let Some(content) = map.get_mut("content").and_then(Value::as_object_mut) {
                content
                    .retain(|media, _| !["protobuf", "cbor", "strategic"].iter().any(|w| media.contains(w)));
            }
            if map.get("kind").and_then(Value::as_str) == Some("Deployment") && map.contains_key("group") {
                *map = gvk(served, &served.resource.kind).as_object().cloned().unwrap_or_default();
                return;
            }
            for (key, v) in map.iter_mut() {
                match (key.as_str(), &v) {
                    ("operationId", Value::String(id)) => *v = operation(id, served).into(),
                    ("$ref", Value::String(r)) => *v = r.replace(MODEL, name).into(),
                    ("tags", _) => {
                        *v = json!([format!("{}_{}", camel(&served.resource.group), served.resource.version)])
                    }
                    _ => rename(v, served, name),
                }
            }
        }
        _ => {}
    }
}

fn operation(id: &str, served: &Served) -> String {
    let r = &served.resource;
    let version = camel(&r.version);
    let id = id
        .replace("AppsV1", &format!("{}{}", camel(&r.group), upper(&version)))
        .replace("Deployment", &r.kind);
    if r.namespaced { id } else { id.replace("Namespaced", "") }
}

fn upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// `example.com` -> `ExampleCom`.
fn camel(text: &str) -> String {
    text.split(['.', '-']).map(upper).collect()
}

/// Takes the namespace out of a path's parameters.
fn drop_namespace(item: &mut Value) {
    if let Some(parameters) = item["parameters"].as_array_mut() {
        parameters.retain(|p| p["name"] != "namespace");
    }
}

/// Adds every schema that is referred to, and what those refer to.
fn add_references(schemas: &mut Map<String, Value>, paths: &Map<String, Value>) {
    let mut wanted = BTreeSet::new();
    paths.values().chain(schemas.values()).for_each(|v| references(v, &mut wanted));
    while let Some(name) = wanted.pop_first() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(found) = APPS["components"]["schemas"].get(&name) else { continue };
        references(found, &mut wanted);
        schemas.insert(name, found.clone());
    }
}

fn references(v: &Value, out: &mut BTreeSet<String>) {
    match v {
        Value::Array(items) => items.iter().for_each(|v| references(v, out)),
        Value::Object(map) => {
            for (key, v) in map {
                match v.as_str().and_then(|s| s.strip_prefix(SCHEMAS)) {
                    Some(name) if key == "$ref" => drop(out.insert(name.to_owned())),
                    _ => references(v, out),
                }
            }
        }
        _ => {}
    }
}
