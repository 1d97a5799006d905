//! Which schemas a CustomResourceDefinition may have.

use api_meta::Cause;
use serde_json::Value;

use super::compile::compile;
use super::extensions;
use super::{children, flag, junctors, text};
use crate::{Schema, Validator, prune};

/// Findings are not more than this.
const FOUND_MAX: usize = 128;

pub(super) fn cause(reason: &str, field: String, message: impl Into<String>) -> Cause {
    Cause { reason: reason.to_owned(), field, message: message.into() }
}

pub(super) fn required(field: String, why: &str) -> Cause {
    cause("FieldValueRequired", field, format!("Required value: {why}"))
}

pub(super) fn forbidden(field: String, why: &str) -> Cause {
    cause("FieldValueForbidden", field, format!("Forbidden: {why}"))
}

pub(super) fn invalid(field: String, value: &Value, why: &str) -> Cause {
    cause("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"))
}

pub(super) fn unsupported(field: String, value: &str, supported: &[&str]) -> Cause {
    let all: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
    let message = format!("Unsupported value: {value:?}: supported values: {}", all.join(", "));
    cause("FieldValueNotSupported", field, message)
}

/// Findings about a schema; `path` is where it stands in the definition.
pub fn check(schema: &Value, path: &str) -> Vec<Cause> {
    let mut found = Vec::new();
    root(schema, path, &mut found);
    node(schema, path, Place::Root, &mut found);
    found.truncate(FOUND_MAX);
    found
}

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Property,
    Item,
}

fn root(schema: &Value, path: &str, found: &mut Vec<Cause>) {
    let at = |step: &str| format!("{path}.{step}");
    match text(schema, "type") {
        "object" => {}
        "" => found.push(required(at("type"), "must not be empty at the root")),
        _ => found.push(invalid(at("type"), &schema["type"], "must be object at the root")),
    }
    if flag(schema, "nullable") {
        found.push(forbidden(at("nullable"), "nullable cannot be true at the root"));
    }
    metadata(&schema["properties"]["metadata"], path, found);
}

/// Metadata has a shape of its own; a schema may only narrow its names.
fn metadata(schema: &Value, path: &str, found: &mut Vec<Cause>) {
    let Some(schema) = schema.as_object() else { return };
    let field = format!("{path}.properties[metadata]");
    if schema.get("type").is_none_or(|t| t != "object") {
        found.push(invalid(
            format!("{field}.type"),
            schema.get("type").unwrap_or(&Value::Null),
            "must be object",
        ));
    }
    let is_name = |name: &str| name == "name" || name == "generateName";
    let properties = schema.get("properties").and_then(Value::as_object);
    let others =
        schema.keys().any(|k| !matches!(k.as_str(), "type" | "properties" | "description" | "title"));
    if others || properties.is_some_and(|p| p.keys().any(|name| !is_name(name))) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        found.push(forbidden(field, why));
    }
}

fn node(schema: &Value, path: &str, place: Place, found: &mut Vec<Cause>) {
    if found.len() > FOUND_MAX {
        return;
    }
    let at = |step: &str| format!("{path}.{step}");
    for (step, child) in children(schema) {
        let place = if step == "items" { Place::Item } else { Place::Property };
        node(child, &at(&step), place, found);
    }
    type_of(schema, path, place, found);
    shape(schema, path, found);
    extensions::check(schema, path, found);
    for (step, child) in junctors(schema) {
        junctor(schema, child, &at(&step), found);
    }
    default(schema, path, place, found);
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

fn type_of(schema: &Value, path: &str, place: Place, found: &mut Vec<Cause>) {
    let field = format!("{path}.type");
    let kind = text(schema, "type");
    let is_open = ["x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"]
        .iter()
        .any(|k| flag(schema, k));
    match (kind, place) {
        ("", Place::Property) if !is_open => {
            found.push(required(field, "must not be empty for specified object fields"));
        }
        ("", Place::Item) if !is_open => {
            found.push(required(field, "must not be empty for specified array items"))
        }
        ("", _) => {}
        (kind, _) if !TYPES.contains(&kind) => found.push(unsupported(field, kind, &TYPES)),
        _ => {}
    }
}

/// Keywords that are not part of the language.
const UNSUPPORTED: [&str; 6] =
    ["definitions", "dependencies", "patternProperties", "additionalItems", "id", "$ref"];

fn shape(schema: &Value, path: &str, found: &mut Vec<Cause>) {
    let at = |step: &str| format!("{path}.{step}");
    for key in UNSUPPORTED {
        if schema.get(key).is_some_and(|v| !v.is_null()) {
            found.push(forbidden(at(key), &format!("{key} is not supported")));
        }
    }
    if flag(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        found.push(forbidden(at("uniqueItems"), why));
    }
    let additional = schema.get("additionalProperties").filter(|v| !v.is_null());
    if additional == Some(&Value::Bool(false)) {
        found.push(forbidden(at("additionalProperties"), "additionalProperties cannot be set to false"));
    } else if additional.is_some() && schema["properties"].as_object().is_some_and(|p| !p.is_empty()) {
        let why = "additionalProperties and properties are mutual exclusive";
        found.push(forbidden(at("additionalProperties"), why));
    }
    match &schema["items"] {
        Value::Null if text(schema, "type") == "array" => {
            found.push(required(at("items"), "must be specified"))
        }
        Value::Array(_) => {
            found.push(forbidden(at("items"), "items must be a schema object and not an array"))
        }
        _ => {}
    }
    pattern(schema, path, found);
}

fn pattern(schema: &Value, path: &str, found: &mut Vec<Cause>) {
    let Some(text) = schema["pattern"].as_str().filter(|p| !p.is_empty()) else { return };
    if let Err(why) = Validator::compile(&serde_json::json!({ "pattern": text })) {
        found.push(invalid(format!("{path}.pattern"), &schema["pattern"], &why.message));
    }
}

/// What a schema within allOf, anyOf, oneOf and not may not say, because it would specify instead of constrain.
fn junctor(parent: &Value, schema: &Value, path: &str, found: &mut Vec<Cause>) {
    let at = |step: &str| format!("{path}.{step}");
    let of_int_or_string =
        flag(parent, "x-kubernetes-int-or-string") && matches!(text(schema, "type"), "integer" | "string");
    let empty = "must be empty to be structural";
    let undefined = "must be undefined to be structural";
    let rules = [
        ("type", !text(schema, "type").is_empty() && !of_int_or_string, empty),
        ("description", !text(schema, "description").is_empty(), empty),
        ("title", !text(schema, "title").is_empty(), empty),
        ("default", schema.get("default").is_some_and(|d| !d.is_null()), undefined),
        ("additionalProperties", schema.get("additionalProperties").is_some_and(|d| !d.is_null()), undefined),
        ("nullable", flag(schema, "nullable"), "must be false to be structural"),
    ];
    found.extend(rules.iter().filter(|(_, broken, _)| *broken).map(|(key, _, why)| forbidden(at(key), why)));
    for key in ["preserve-unknown-fields", "embedded-resource", "int-or-string"] {
        let key = format!("x-kubernetes-{key}");
        if flag(schema, &key) {
            found.push(forbidden(at(&key), "must be false to be structural"));
        }
    }
    pattern(schema, path, found);
    for (step, child) in children(schema).chain(junctors(schema)) {
        junctor(schema, child, &at(&step), found);
    }
}

/// A default must be a value that the schema takes as it is.
fn default(schema: &Value, path: &str, place: Place, found: &mut Vec<Cause>) {
    let Some(value) = schema.get("default").filter(|d| !d.is_null()) else { return };
    let field = format!("{path}.default");
    if place == Place::Root {
        found.push(forbidden(field, "must not be set at the root"));
        return;
    }
    let holder = serde_json::json!({"type": "object", "properties": {"v": schema}});
    let (types, root) = compile(&holder, None);
    let mut pruned = serde_json::json!({ "v": value });
    if !prune(Schema { types: &types, root }, &mut pruned).is_empty() {
        found.push(invalid(field, value, "must not have unknown fields"));
        return;
    }
    let Ok(validator) = Validator::compile(schema) else { return };
    for mut one in validator.validate(value) {
        one.field = if one.field.is_empty() || one.field == "<nil>" {
            field.clone()
        } else {
            format!("{field}.{}", one.field)
        };
        found.push(one);
    }
}

/// Why a schema that may be stored is still not structural, so that pruning by it is not well defined; nothing when it is.
pub fn non_structural(schema: &Value, path: &str) -> Vec<Cause> {
    let mut found = Vec::new();
    unstructured(schema, path, &mut found);
    found.truncate(FOUND_MAX);
    found
}

fn unstructured(schema: &Value, path: &str, found: &mut Vec<Cause>) {
    let at = |step: &str| format!("{path}.{step}");
    if flag(schema, "x-kubernetes-int-or-string") && !text(schema, "type").is_empty() {
        let why = "must be empty if x-kubernetes-int-or-string is true";
        found.push(invalid(at("type"), &schema["type"], why));
    }
    for (step, child) in junctors(schema) {
        unspecified(schema, child, &at(&step), path, found);
    }
    for (step, child) in children(schema) {
        unstructured(child, &at(&step), found);
    }
}

/// Names within a constraint that the schema around it does not specify.
fn unspecified(specified: &Value, schema: &Value, path: &str, home: &str, found: &mut Vec<Cause>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let there = &specified["properties"][name];
        let step = format!("properties[{name}]");
        if there.is_null() {
            let why = format!("because it is defined in {path}.{step}");
            found.push(required(format!("{home}.{step}"), &why));
        } else {
            unspecified(there, child, &format!("{path}.{step}"), &format!("{home}.{step}"), found);
        }
    }
    for (step, child) in junctors(schema) {
        unspecified(specified, child, &format!("{path}.{step}"), home, found);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn findings(spec: Value, expected: Expect) {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let found = check(&schema, "");
        let lines: Vec<String> =
            found.iter().map(|c| format!("{} {} {}", c.field, c.reason, c.message)).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn the_root_is_an_object() {
        assert_eq!(
            check(&json!({"properties": {}}), "s")[0].message,
            "Required value: must not be empty at the root"
        );
        assert_eq!(
            check(&json!({"type": "string"}), "s")[0].message,
            "Invalid value: \"string\": must be object at the root"
        );
    }

    #[test]
    fn every_field_has_a_type() {
        findings(
            json!({"properties": {"a": {}}}),
            expect![[r#"
            .properties[spec].properties[a].type FieldValueRequired Required value: must not be empty for specified object fields
            .properties[spec].type FieldValueRequired Required value: must not be empty for specified object fields"#]],
        );
    }

    #[test]
    fn lists_and_maps_are_whole() {
        findings(
            json!({"type": "array"}),
            expect![".properties[spec].items FieldValueRequired Required value: must be specified"],
        );
        findings(
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            expect![
                ".properties[spec].additionalProperties FieldValueForbidden Forbidden: additionalProperties and properties are mutual exclusive"
            ],
        );
    }

    #[test]
    fn a_default_must_fit_its_schema() {
        findings(
            json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
            expect![[
                r#".properties[spec].properties[a].default FieldValueTypeInvalid Invalid value: "string":  in body must be of type integer: "string""#
            ]],
        );
        findings(
            json!({"type": "object", "default": {"z": 1}, "properties": {"a": {"type": "integer"}}}),
            expect![[
                r#".properties[spec].default FieldValueInvalid Invalid value: {"z":1}: must not have unknown fields"#
            ]],
        );
    }

    #[test]
    fn constraints_specify_nothing() {
        findings(
            json!({"type": "object", "anyOf": [{"type": "object"}]}),
            expect![
                ".properties[spec].anyOf[0].type FieldValueForbidden Forbidden: must be empty to be structural"
            ],
        );
        findings(
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            expect![""],
        );
    }

    #[test]
    fn what_is_not_structural_is_stored_and_named() {
        let schema = json!({"type": "object", "properties": {"spec": {
            "type": "object", "anyOf": [{"properties": {"q": {"minLength": 1}}}]
        }}});
        assert_eq!(check(&schema, ""), []);
        let found = non_structural(&schema, "s");
        assert_eq!(found[0].field, "s.properties[spec].properties[q]");
    }

    #[test]
    fn metadata_is_implicit() {
        let schema = json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}
        }});
        assert_eq!(check(&schema, "s")[0].field, "s.properties[metadata]");
        let narrow = json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}
        }});
        assert_eq!(check(&narrow, "s"), []);
    }
}
