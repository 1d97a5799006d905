//! A definition as the resources it makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_meta::Resource;
use api_schema::{TypeId, Types, Validator};
use cel_rules::rules::Rules;
use serde_json::Value;

use super::{FINALIZER, text, texts, versions};
use crate::registry::{
    Column, Conversion, Convert, ConvertFn, CustomColumn, Facts, Generation, Origin, Scale, Served,
    StatusRule, Subresource, Table,
};

/// Custom kinds with a status of its own.
static APART: Facts =
    Facts { generation: Generation::Whole, status: StatusRule::Apart, needs_version: true, ..Facts::PLAIN };
/// Custom kinds whose status is a part like any other.
static OPEN: Facts = Facts {
    generation: Generation::WithStatus,
    status: StatusRule::Open,
    needs_version: true,
    ..Facts::PLAIN
};

/// How objects of a definition may change version.
#[derive(Clone, Default)]
pub(super) struct Ways {
    /// By a function of this process, which is taken before all others.
    pub(super) within: Option<ConvertFn>,
    /// By the webhook that the definition names.
    pub(super) outside: Option<Arc<dyn Convert>>,
    /// Behaviour that this process knows of the kind.
    pub(super) facts: Option<&'static Facts>,
}

/// The resources that a definition makes, one per served version.
pub(super) fn resources(definition: &Value, ways: &Ways) -> Vec<Served> {
    let storage = versions(definition).find(|v| v["storage"] == true);
    let Some(storage) = storage else { return Vec::new() };
    let stored = compiled(storage);
    let served = versions(definition).filter(|v| v["served"] == true);
    served.map(|v| resource(definition, v, text(storage, "/name"), &stored, ways)).collect()
}

fn compiled(version: &Value) -> (Arc<Types>, TypeId) {
    let (types, root) = api_schema::crd::compile(&version["schema"]["openAPIV3Schema"], metadata());
    (Arc::new(types), root)
}

/// The type of object metadata, taken from a built-in kind.
fn metadata() -> Option<api_schema::Schema<'static>> {
    api_tables::tables().schema("", "v1", "ConfigMap")?.at(&["metadata"])
}

fn resource(
    definition: &Value,
    version: &Value,
    storage_version: &str,
    stored: &(Arc<Types>, TypeId),
    ways: &Ways,
) -> Served {
    let names = &definition["status"]["acceptedNames"];
    let is_stored = text(version, "/name") == storage_version;
    let base = Served::plain(Resource {
        group: text(definition, "/spec/group").to_owned().into(),
        version: text(version, "/name").to_owned().into(),
        plural: text(definition, "/spec/names/plural").to_owned().into(),
        kind: text(definition, "/spec/names/kind").to_owned().into(),
        namespaced: text(definition, "/spec/scope") == "Namespaced",
    });
    let schema = &version["schema"]["openAPIV3Schema"];
    let has_status = version["subresources"]["status"].is_object();
    Served {
        singular: text(names, "/singular").to_owned(),
        list_kind: text(names, "/listKind").to_owned(),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        subresources: subresources(version, &base.resource.kind),
        storage_api_version: format!("{}/{storage_version}", base.resource.group),
        schema: Some(if is_stored { stored.clone() } else { compiled(version) }),
        validator: Validator::compile(schema).ok().map(Arc::new),
        rules: Rules::compile(schema).map(Arc::new),
        openapi: schema.is_object().then(|| Arc::new(schema.clone())),
        stored_schema: (!is_stored || is_reshaped(definition)).then(|| stored.clone()),
        origin: origin(definition),
        facts: ways.facts.unwrap_or(if has_status { &APART } else { &OPEN }),
        conversion: conversion(ways),
        table: Table::Columns(columns(version)),
        selectable: selectable(version),
        scale: scale(&version["subresources"]["scale"]),
        warning: deprecation(definition, version),
        ..base
    }
}

/// Whether objects may be older than the definition.
fn is_reshaped(definition: &Value) -> bool {
    definition["metadata"]["generation"].as_i64().unwrap_or(1) > 1
}

fn origin(definition: &Value) -> Origin {
    let finalizers = texts(&definition["metadata"]["finalizers"]);
    let is_going = !definition["metadata"]["deletionTimestamp"].is_null();
    Origin::Custom {
        definition: text(definition, "/metadata/name").to_owned(),
        uid: text(definition, "/metadata/uid").to_owned(),
        is_terminating: is_going && finalizers.iter().any(|f| f == FINALIZER),
    }
}

fn conversion(ways: &Ways) -> Conversion {
    match (ways.within, &ways.outside) {
        (Some(function), _) => Conversion::InProcess(function),
        (None, Some(webhook)) => Conversion::Outside(webhook.clone()),
        (None, None) => Conversion::Rename,
    }
}

fn subresources(version: &Value, kind: &str) -> BTreeMap<String, Subresource> {
    let verbs = vec!["get", "patch", "update"];
    let mut out = BTreeMap::new();
    if version["subresources"]["status"].is_object() {
        let status = Subresource { kind: kind.to_owned(), verbs: verbs.clone(), ..Subresource::default() };
        out.insert("status".to_owned(), status);
    }
    if version["subresources"]["scale"].is_object() {
        let scale = Subresource {
            group: "autoscaling".to_owned(),
            version: "v1".to_owned(),
            kind: "Scale".to_owned(),
            verbs,
        };
        out.insert("scale".to_owned(), scale);
    }
    out
}

fn columns(version: &Value) -> Arc<[CustomColumn]> {
    let all = version["additionalPrinterColumns"].as_array().into_iter().flatten();
    all.map(|c| {
        let path = text(c, "/jsonPath");
        let own = |key: &str| text(c, key).to_owned();
        let description = match text(c, "/description") {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            text => text.to_owned(),
        };
        let column = Column {
            name: own("/name").into(),
            kind: own("/type").into(),
            format: own("/format").into(),
            description: description.into(),
            priority: c["priority"].as_i64().and_then(|p| i32::try_from(p).ok()).unwrap_or(0),
        };
        CustomColumn { column, path: path.to_owned() }
    })
    .collect()
}

fn selectable(version: &Value) -> Vec<String> {
    let all = version["selectableFields"].as_array().into_iter().flatten();
    all.map(|f| text(f, "/jsonPath").trim_start_matches('.').to_owned()).collect()
}

fn scale(scale: &Value) -> Option<Scale> {
    scale.is_object().then(|| Scale {
        spec_replicas: text(scale, "/specReplicasPath").to_owned(),
        status_replicas: text(scale, "/statusReplicasPath").to_owned(),
        selector: Some(text(scale, "/labelSelectorPath").to_owned()).filter(|s| !s.is_empty()),
    })
}

/// What users of a deprecated version are told: the definition's own words, or which version to use.
fn deprecation(definition: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(own) = version["deprecationWarning"].as_str() {
        return Some(own.to_owned());
    }
    let (group, kind) = (text(definition, "/spec/group"), text(definition, "/spec/names/kind"));
    let current = versions(definition).filter(|v| v["served"] == true && v["deprecated"] != true);
    let rank = |v: &&Value| crate::registry::rank(text(v, "/name"));
    let better = current.filter(|v| rank(v) > rank(&version)).max_by_key(rank);
    let name = text(version, "/name");
    let instead = better.map(|v| format!("; use {group}/{} {kind}", text(v, "/name"))).unwrap_or_default();
    Some(format!("{group}/{name} {kind} is deprecated{instead}"))
}
