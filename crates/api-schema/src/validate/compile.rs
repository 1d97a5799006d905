//! OpenAPI schema -> [`Validator`].

use regex::Regex;
use serde_json::Value;

use super::{Bound, Kind, List, Range, Validator};

/// A schema that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SchemaError {
    /// Path within the schema, such as `properties[spec].pattern`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Validator {
    /// Compiles a schema as it stands in a CustomResourceDefinition (`openAPIV3Schema`).
    pub fn compile(schema: &Value) -> Result<Validator, SchemaError> {
        compile(schema, "")
    }
}

fn compile(schema: &Value, path: &str) -> Result<Validator, SchemaError> {
    let flag = |k: &str| schema[k].as_bool().unwrap_or(false);
    let text = |k: &str| schema[k].as_str().unwrap_or_default();
    let range = |min: &str, max: &str| Range { min: schema[min].as_u64(), max: schema[max].as_u64() };
    let bound =
        |k: &str, exclusive: &str| schema[k].as_f64().map(|at| Bound { at, is_exclusive: flag(exclusive) });
    let below = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
    let mut v = Validator {
        kind: kind(schema),
        is_nullable: flag("nullable"),
        format: text("format").to_owned(),
        choices: schema["enum"].as_array().cloned().unwrap_or_default(),
        pattern: pattern(text("pattern"), &below("pattern"))?,
        minimum: bound("minimum", "exclusiveMinimum"),
        maximum: bound("maximum", "exclusiveMaximum"),
        multiple_of: schema["multipleOf"].as_f64(),
        length: range("minLength", "maxLength"),
        items_count: range("minItems", "maxItems"),
        properties_count: range("minProperties", "maxProperties"),
        is_unique: flag("uniqueItems"),
        list: list(schema),
        is_embedded: flag("x-kubernetes-embedded-resource"),
        required: strings(&schema["required"]),
        ..Validator::default()
    };
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        v.properties.insert(name.clone(), compile(schema, &below(&format!("properties[{name}]")))?);
    }
    let one = |k: &str| match &schema[k] {
        schema @ Value::Object(_) => compile(schema, &below(k)).map(|v| Some(Box::new(v))),
        _ => Ok(None),
    };
    let many = |k: &str| -> Result<Vec<Validator>, SchemaError> {
        let schemas = schema[k].as_array().into_iter().flatten().enumerate();
        schemas.map(|(i, schema)| compile(schema, &below(&format!("{k}[{i}]")))).collect()
    };
    (v.additional, v.items, v.not) = (one("additionalProperties")?, one("items")?, one("not")?);
    (v.all_of, v.any_of, v.one_of) = (many("allOf")?, many("anyOf")?, many("oneOf")?);
    Ok(v)
}

fn kind(schema: &Value) -> Kind {
    if schema["x-kubernetes-int-or-string"] == true {
        return Kind::IntOrString;
    }
    match schema["type"].as_str() {
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        _ => Kind::Any,
    }
}

fn list(schema: &Value) -> List {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => List::Set,
        Some("map") => List::Map(strings(&schema["x-kubernetes-list-map-keys"])),
        _ => List::Plain,
    }
}

fn strings(v: &Value) -> Vec<String> {
    v.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Patterns longer than this are refused; compiled size is bounded by the regex engine itself.
const PATTERN_MAX: usize = 64 * 1024;

fn pattern(text: &str, path: &str) -> Result<Option<Regex>, SchemaError> {
    let fail = |message: String| SchemaError { path: path.to_owned(), message };
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > PATTERN_MAX {
        return Err(fail("pattern is too long".to_owned()));
    }
    let why = |e: regex::Error| {
        let text = e.to_string();
        let last = text.lines().last().unwrap_or_default();
        fail(format!("must be a valid regular expression, but isn't: {}", last.trim_start_matches("error: ")))
    };
    Regex::new(text).map(Some).map_err(why)
}
