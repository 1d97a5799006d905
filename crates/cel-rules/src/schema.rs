//! Schemas as types, and JSON as values of them.
//!
//! Only what a schema specifies can be seen by an expression; names that are no identifiers are escaped.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Map, Value as Json};

use crate::moment::{self, Moment};
use crate::parse::RESERVED;
use crate::types::{FieldType, ListType, MapType, Merge, ObjectType, Type};
use crate::value::{List, Value};

/// Octets that a request can have; bounds every size that a schema leaves open.
pub(crate) const REQUEST_BYTES_MAX: u64 = 3 << 20;

/// A type, and how many octets its shortest value takes in JSON.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) of: Type,
    pub(crate) bytes_min: u64,
}

fn flag(schema: &Json, key: &str) -> bool {
    schema[key] == Json::Bool(true)
}

/// The type of values of a schema; nothing for schemas that do not say. `is_root`: it is a whole object of the API.
pub fn type_of(schema: &Json, is_root: bool) -> Option<Type> {
    declared(schema, is_root).map(|d| d.of)
}

pub(crate) fn declared(schema: &Json, is_root: bool) -> Option<Declared> {
    let made = |of: Type, bytes_min: u64| Some(Declared { of, bytes_min });
    if flag(schema, "x-kubernetes-int-or-string") {
        return made(Type::Dyn, 1);
    }
    if is_root {
        return object(&with_head(schema));
    }
    match schema["type"].as_str().unwrap_or_default() {
        "array" => list(schema),
        "object" if schema["additionalProperties"].is_object() => map(schema),
        "object" => object(schema),
        "string" => text(schema),
        "boolean" => made(Type::Bool, 4),
        "number" => made(Type::Double, 1),
        "integer" => made(Type::Int, 1),
        _ => None,
    }
}

/// What every object of the API has, whether its schema says so or not: of its metadata, names alone.
fn with_head(schema: &Json) -> Json {
    let text = serde_json::json!({"type": "string"});
    let names = &schema["properties"]["metadata"]["properties"];
    let of = |name: &str| if names[name].is_object() { names[name].clone() } else { text.clone() };
    let mut out = schema.as_object().cloned().unwrap_or_default();
    out.insert("type".to_owned(), "object".into());
    let properties = out.entry("properties").or_insert_with(|| Json::Object(Map::new()));
    for name in ["apiVersion", "kind"] {
        properties[name] = text.clone();
    }
    properties["metadata"] = serde_json::json!({
        "type": "object", "properties": {"name": of("name"), "generateName": of("generateName")}
    });
    Json::Object(out)
}

fn list(schema: &Json) -> Option<Declared> {
    let items = &schema["items"];
    let item = declared(items, flag(items, "x-kubernetes-embedded-resource"))?;
    let open = (REQUEST_BYTES_MAX - 2) / (item.bytes_min + 1);
    let max = schema["maxItems"].as_u64().unwrap_or(open);
    let keys =
        || schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let merge = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Merge::Set,
        // Items are known by the names that expressions use.
        Some("map") => Merge::Map(keys().filter_map(escape).collect()),
        _ => Merge::Atomic,
    };
    Some(Declared { of: Type::List(Arc::new(ListType { item: item.of, max, merge })), bytes_min: 2 })
}

fn map(schema: &Json) -> Option<Declared> {
    let values = &schema["additionalProperties"];
    let value = declared(values, flag(values, "x-kubernetes-embedded-resource"))?;
    let open = (REQUEST_BYTES_MAX - 2) / (value.bytes_min + 6);
    let max = schema["maxProperties"].as_u64().unwrap_or(open);
    let key = Type::Text(REQUEST_BYTES_MAX - 2);
    Some(Declared { of: Type::Map(Arc::new(MapType { key, value: value.of, max })), bytes_min: 2 })
}

fn object(schema: &Json) -> Option<Declared> {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let mut fields = BTreeMap::new();
    let mut bytes_min = 2;
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let Some(found) = declared(property, flag(property, "x-kubernetes-embedded-resource")) else {
            continue;
        };
        if required.contains(&name.as_str()) && property["default"].is_null() {
            bytes_min += name.len() as u64 + found.bytes_min + 4;
        }
        if let Some(escaped) = escape(name) {
            fields.insert(escaped, FieldType { json: name.clone(), of: found.of });
        }
    }
    let of = Type::Object(Arc::new(ObjectType { name: "object".to_owned(), fields }));
    Some(Declared { of, bytes_min })
}

fn text(schema: &Json) -> Option<Declared> {
    let length = schema["maxLength"].as_u64();
    let (of, bytes_min) = match schema["format"].as_str().unwrap_or_default() {
        "byte" => (Type::Bytes(length.unwrap_or(REQUEST_BYTES_MAX - 2)), 2),
        "duration" => (Type::Duration, 2),
        "date" => (Type::Timestamp, 12),
        "date-time" => (Type::Timestamp, 22),
        _ => (Type::Text(length.unwrap_or_else(|| open_length(schema))), 2),
    };
    Some(Declared { of, bytes_min })
}

/// Characters of a text whose length is not bounded: of the longest choice, or of a whole request.
fn open_length(schema: &Json) -> u64 {
    let choices = schema["enum"].as_array().into_iter().flatten().filter_map(Json::as_str);
    choices.map(|c| c.len() as u64).max().unwrap_or(REQUEST_BYTES_MAX - 2)
}

/// Words that mean something in expressions, beside those that are kept: fields of these names are written `__word__`.
const WORDS: [&str; 4] = ["true", "false", "null", "in"];

/// A field's name as expressions write it (`a-b` is `a__dash__b`); nothing for names that cannot be written.
pub fn escape(name: &str) -> Option<String> {
    if WORDS.contains(&name) || RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_next = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    if !name.starts_with(is_first) || !name.chars().all(is_next) {
        return None;
    }
    let name = name.replace("__", "__underscores__");
    Some(name.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}

/// JSON as a value of a type. What does not fit the type is taken as it is; the schema's own validation speaks of it.
pub fn value(json: &Json, of: &Type) -> Value {
    match (of, json) {
        (Type::Object(object), Json::Object(map)) => {
            let field = |(name, field): (&String, &FieldType)| {
                map.get(&field.json).map(|v| (name.clone(), value(v, &field.of)))
            };
            Value::map(object.fields.iter().filter_map(field))
        }
        (Type::Map(map), Json::Object(entries)) => {
            Value::map(entries.iter().map(|(k, v)| (k, value(v, &map.value))))
        }
        (Type::List(list), Json::Array(items)) => Value::List(Arc::new(List {
            items: items.iter().map(|item| value(item, &list.item)).collect(),
            merge: list.merge.clone(),
        })),
        (Type::Int, Json::Number(n)) => whole(n).map_or_else(|| Value::of(json), Value::Int),
        (Type::Double, Json::Number(n)) => Value::Double(n.as_f64().unwrap_or(f64::NAN)),
        (Type::Bytes(_), Json::String(text)) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded.map_or_else(|_| Value::text(text), |bytes| Value::Bytes(bytes.into()))
        }
        (Type::Duration, Json::String(text)) => {
            moment::duration(text).map_or_else(|| Value::text(text), Value::Duration)
        }
        (Type::Timestamp, Json::String(text)) => {
            let found = Moment::parse(text).or_else(|| Moment::parse_date(text));
            found.map_or_else(|| Value::text(text), Value::Timestamp)
        }
        _ => Value::of(json),
    }
}

/// A whole number, also when it is written `1.0`.
fn whole(n: &serde_json::Number) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole, and checked against what a double holds exactly"
    )]
    let by_double = || n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64);
    n.as_i64().or_else(by_double)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_upstream_does() {
        for (name, escaped) in [
            ("a", Some("a")),
            ("a-b.c/d", Some("a__dash__b__dot__c__slash__d")),
            ("x__y", Some("x__underscores__y")),
            ("namespace", Some("__namespace__")),
            ("1a", None),
            ("a b", None),
        ] {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
        }
    }

    #[test]
    fn open_sizes_are_bounded_by_what_a_request_can_hold() {
        let schema = serde_json::json!({"type": "array", "items": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"}
        }}});
        let Some(Type::List(list)) = type_of(&schema, false) else { panic!("a list") };
        assert_eq!(list.max, (REQUEST_BYTES_MAX - 2) / 13);
    }
}
