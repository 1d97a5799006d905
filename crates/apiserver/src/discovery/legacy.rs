//! The lists clients have read since the first days.

use std::sync::Arc;

use api_tables::{storage_version_hash, tables};
use serde_json::{Map, Value, json};

use crate::registry::{Group, Served, Snapshot, Subresource};

/// `/api`: versions of the core group.
pub(super) fn core() -> Value {
    let everywhere = json!({"clientCIDR": "0.0.0.0/0", "serverAddress": ""});
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [everywhere]})
}

/// `/apis`: named groups.
pub(super) fn groups(snapshot: &Snapshot) -> Value {
    let named = snapshot.groups().iter().filter(|g| !g.name.is_empty());
    let groups: Vec<Value> = named.map(|g| group(g, false)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/G`, or the same as an entry of a list.
pub(super) fn group(group: &Group, is_alone: bool) -> Value {
    let version = |v: &String| json!({"groupVersion": format!("{}/{v}", group.name), "version": v});
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    let mut out = json!({"name": group.name, "preferredVersion": versions.first(), "versions": versions});
    if is_alone {
        out["kind"] = "APIGroup".into();
        out["apiVersion"] = "v1".into();
    }
    out
}

/// `/apis/G/V`: resources with their subresources.
pub(super) fn resources(snapshot: &Snapshot, group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for served in snapshot.resources(group, version) {
        list.push(resource(served));
        list.extend(subresources(served).into_iter().map(|(name, s)| subresource(served, name, s)));
    }
    let mut out = json!({"kind": "APIResourceList", "groupVersion": version, "resources": list});
    if !group.is_empty() {
        out["apiVersion"] = "v1".into();
        out["groupVersion"] = format!("{group}/{version}").into();
    }
    out
}

/// Subresources in the order upstream lists them: by name, but status first for custom kinds.
pub(super) fn subresources(served: &Served) -> Vec<(&String, &Subresource)> {
    let mut all: Vec<_> = served.subresources.iter().collect();
    if served.is_custom() {
        all.reverse();
    }
    all
}

/// The verbs of a resource; upstream lists those of custom kinds in an order of its own.
pub(super) fn verbs(served: &Served) -> Vec<&str> {
    const CUSTOM: [&str; 8] =
        ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
    if served.is_custom() {
        return CUSTOM.into_iter().filter(|v| served.has_verb(v)).collect();
    }
    served.verbs.clone()
}

fn resource(served: &Arc<Served>) -> Value {
    let mut out = Map::new();
    out.insert("name".into(), (*served.resource.plural).into());
    out.insert("singularName".into(), served.singular.as_str().into());
    out.insert("namespaced".into(), served.resource.namespaced.into());
    out.insert("kind".into(), (*served.resource.kind).into());
    out.insert("verbs".into(), json!(verbs(served)));
    if !served.short_names.is_empty() {
        out.insert("shortNames".into(), json!(served.short_names));
    }
    if !served.categories.is_empty() {
        out.insert("categories".into(), json!(served.categories));
    }
    let hash = hash(served);
    if !hash.is_empty() {
        out.insert("storageVersionHash".into(), hash.into());
    }
    Value::Object(out)
}

/// Hash of what is stored; empty for what is never stored.
fn hash(served: &Served) -> String {
    let r = &served.resource;
    if served.is_custom() {
        return storage_version_hash(&r.group, served.storage_version(), &r.kind);
    }
    let row = tables().resource(&r.group, &r.version, &r.plural);
    row.map(|k| k.storage_version_hash.clone()).unwrap_or_default()
}

fn subresource(served: &Served, name: &str, s: &Subresource) -> Value {
    let mut out = json!({
        "name": format!("{}/{name}", served.resource.plural), "singularName": "",
        "namespaced": served.resource.namespaced, "kind": s.kind, "verbs": s.verbs,
    });
    if !s.version.is_empty() {
        out["group"] = s.group.as_str().into();
        out["version"] = s.version.as_str().into();
    }
    out
}

/// The answer about an unknown version of a known group.
pub(super) fn no_such_version() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404, "details": {},
        "message": "the server could not find the requested resource", "reason": "NotFound"})
}
