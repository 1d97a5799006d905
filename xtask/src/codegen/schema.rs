//! OpenAPI component schemas -> types.
//!
//! How a field writes its zero follows from OpenAPI but for the exceptions in `presence.txt`: a reference is a
//! pointer unless it has a default; a scalar, list or map is omitted when zero unless it is required or has a default.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, bail};
use api_schema::{Field, FieldSet, ListKind, Presence, Type, TypeId};
use api_tables::Tables;
use serde_json::{Map, Value};

use super::facts::Facts;
use super::proto;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const CRD: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// Types by OpenAPI name, and anonymous types by their text form.
struct Builder<'a> {
    tables: &'a mut Tables,
    facts: &'a Facts,
    sources: BTreeMap<String, Value>,
    presences: HashMap<(String, String), Presence>,
    anonymous: HashMap<String, TypeId>,
}

/// Fills types, names and roots.
pub(super) fn fill(tables: &mut Tables, facts: &Facts) -> anyhow::Result<()> {
    let sources = sources(facts);
    let names: Vec<String> = sources.keys().cloned().collect();
    for name in &names {
        let id = Arc::make_mut(&mut tables.types).push(Type::Any);
        tables.names.insert(name.clone(), id);
    }
    let mut b = Builder { tables, facts, sources, presences: presences()?, anonymous: HashMap::new() };
    for name in &names {
        let ty = b.named(name).with_context(|| format!("type {name}"))?;
        let id = b.tables.names[name];
        Arc::make_mut(&mut b.tables.types).types[id.0 as usize] = ty;
    }
    Ok(())
}

/// All component schemas, with the two that no path mentions.
fn sources(facts: &Facts) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for document in facts.parsed.values() {
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            out.entry(name.clone()).or_insert_with(|| schema.clone());
        }
    }
    let reference =
        |name: &str| serde_json::json!({"allOf": [{"$ref": format!("#/components/schemas/{META}.{name}")}]});
    let type_meta = || serde_json::json!({"type": "string"});
    let gvk = |kind: &str| serde_json::json!([{"group": "meta.k8s.io", "version": "v1", "kind": kind}]);
    let mut metadata = reference("ObjectMeta");
    metadata["default"] = Value::Object(Map::new());
    let properties =
        serde_json::json!({"apiVersion": type_meta(), "kind": type_meta(), "metadata": metadata});
    let one = serde_json::json!({"type": "object", "properties": properties,
        "x-kubernetes-group-version-kind": gvk("PartialObjectMetadata")});
    let mut metadata = reference("ListMeta");
    metadata["default"] = Value::Object(Map::new());
    let items = serde_json::json!({"type": "array", "items": reference("PartialObjectMetadata")});
    let properties = serde_json::json!({"apiVersion": type_meta(), "kind": type_meta(), "metadata": metadata, "items": items});
    let list = serde_json::json!({"type": "object", "properties": properties, "required": ["items"],
        "x-kubernetes-group-version-kind": gvk("PartialObjectMetadataList")});
    out.insert(format!("{META}.PartialObjectMetadata"), one);
    out.insert(format!("{META}.PartialObjectMetadataList"), list);
    out
}

fn presences() -> anyhow::Result<HashMap<(String, String), Presence>> {
    let mut out = HashMap::new();
    for line in include_str!("presence.txt").lines().filter(|l| !l.starts_with('#')) {
        let mut words = line.split(' ');
        let presence = match words.next() {
            Some("keep") => Presence::Keep,
            Some("drop") => Presence::Drop,
            Some("always") => Presence::Always,
            Some("null") => Presence::Null,
            _ => bail!("presence.txt: {line}"),
        };
        let name = words.next().context("presence.txt: a line without a type")?;
        out.extend(words.map(|field| ((name.to_owned(), field.to_owned()), presence)));
    }
    Ok(out)
}

impl Builder<'_> {
    fn named(&mut self, name: &str) -> anyhow::Result<Type> {
        let source = self.sources[name].clone();
        let short = name.rsplit('.').next().unwrap_or_default();
        let ty = match short {
            "Quantity" if name.contains("api.resource.Quantity") => Type::Quantity,
            "IntOrString" => Type::IntOrString,
            "Time" if name.starts_with(META) => Type::Time,
            "MicroTime" if name.starts_with(META) => Type::MicroTime,
            "Duration" if name.starts_with(META) => Type::Duration,
            "FieldsV1" => Type::FieldsV1,
            "RawExtension" | "Patch" => Type::Any,
            "JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray"
                if name.starts_with(CRD) =>
            {
                Type::Any
            }
            _ => self.object(name, &source)?,
        };
        self.roots(name, &source);
        Ok(ty)
    }

    /// Remembers which groups, versions and kinds a type stands for.
    fn roots(&mut self, name: &str, source: &Value) {
        let id = self.tables.names[name];
        for gvk in source["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |k: &str| gvk[k].as_str().unwrap_or_default().to_owned();
            self.tables.roots.insert((text("group"), text("version"), text("kind")), id);
        }
    }

    fn object(&mut self, name: &str, source: &Value) -> anyhow::Result<Type> {
        if source["type"] != "object" {
            bail!("neither an object nor a known special type: {source}");
        }
        let mut set = FieldSet {
            atomic: source["x-kubernetes-map-type"] == "atomic",
            message: proto::message(self.facts, name),
            ..FieldSet::default()
        };
        let required: Vec<&str> =
            source["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (field, schema) in source["properties"].as_object().into_iter().flatten() {
            let required = required.contains(&field.as_str());
            set.fields.insert(field.clone(), self.field(name, field, schema, required)?);
        }
        if let Some(message) = set.message.clone() {
            proto::annotate(self.facts, &message, &mut set)?;
        }
        Ok(Type::Object(set))
    }

    fn field(&mut self, parent: &str, name: &str, schema: &Value, required: bool) -> anyhow::Result<Field> {
        let mut f = Field::new(self.type_of(schema).with_context(|| format!("field {name}"))?);
        let text = |k: &str| schema[k].as_str().unwrap_or_default().to_owned();
        f.required = required;
        f.patch_strategy = text("x-kubernetes-patch-strategy");
        f.patch_merge_key = text("x-kubernetes-patch-merge-key");
        f.default = schema.get("default").filter(|d| !is_zero(d)).cloned();
        let always = required || schema.get("default").is_some();
        let by_rule = match (schema.get("type").is_none(), always) {
            (_, true) => Presence::Always,
            (true, false) => Presence::Keep,
            (false, false) => Presence::Drop,
        };
        f.presence = *self.presences.get(&(parent.to_owned(), name.to_owned())).unwrap_or(&by_rule);
        Ok(f)
    }

    fn type_of(&mut self, schema: &Value) -> anyhow::Result<TypeId> {
        let reference = schema.get("$ref").or_else(|| schema["allOf"][0].get("$ref"));
        if let Some(reference) = reference.and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            let named = self.tables.names.get(name).copied().with_context(|| format!("no type {name}"))?;
            // A field may say otherwise than its type whether it is replaced as a whole.
            return match schema["x-kubernetes-map-type"].as_str() {
                Some(kind) => self.copy_with(name, kind),
                None => Ok(named),
            };
        }
        let ty = match schema["type"].as_str().unwrap_or_default() {
            "string" => Type::String { format: schema["format"].as_str().unwrap_or_default().to_owned() },
            "integer" => Type::Int { bits: if schema["format"] == "int32" { 32 } else { 64 } },
            "number" => Type::Number,
            "boolean" => Type::Bool,
            "array" => Type::List { item: self.type_of(&schema["items"])?, kind: list_kind(schema) },
            "object" => match schema.get("additionalProperties") {
                Some(value) => {
                    let atomic = schema["x-kubernetes-map-type"] == "atomic";
                    Type::Map { value: self.type_of(value)?, atomic }
                }
                None => Type::Any,
            },
            _ => bail!("no type for {schema}"),
        };
        Ok(self.intern(format!("{ty:?}"), ty))
    }

    /// The named object type once more with another map type (`atomic`, `granular`).
    fn copy_with(&mut self, name: &str, map_type: &str) -> anyhow::Result<TypeId> {
        let key = format!("{map_type} {name}");
        if let Some(id) = self.anonymous.get(&key) {
            return Ok(*id);
        }
        let mut source = self.sources[name].clone();
        source["x-kubernetes-map-type"] = map_type.into();
        let ty = self.object(name, &source)?;
        Ok(self.intern(key, ty))
    }

    fn intern(&mut self, key: String, ty: Type) -> TypeId {
        let types = Arc::make_mut(&mut self.tables.types);
        *self.anonymous.entry(key).or_insert_with(|| types.push(ty))
    }
}

fn list_kind(schema: &Value) -> ListKind {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            ListKind::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => ListKind::Atomic,
    }
}

fn is_zero(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}
