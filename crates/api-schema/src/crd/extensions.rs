//! The `x-kubernetes-` keywords of a schema.

use api_meta::Cause;
use serde_json::Value;

use super::structural::{cause, forbidden, invalid, required, unsupported};
use super::{flag, text};

pub(super) fn check(schema: &Value, path: &str, found: &mut Vec<Cause>) {
    let field = |key: &str| format!("{path}.x-kubernetes-{key}");
    let kind = text(schema, "type");
    if schema["x-kubernetes-preserve-unknown-fields"] == Value::Bool(false) {
        found.push(invalid(
            field("preserve-unknown-fields"),
            &Value::Bool(false),
            "must be true or undefined",
        ));
    }
    match text(schema, "x-kubernetes-map-type") {
        "" => {}
        "atomic" | "granular" if kind != "object" => {
            found.push(invalid(
                format!("{path}.type"),
                &kind.into(),
                "must be object if x-kubernetes-map-type is specified",
            ));
        }
        "atomic" | "granular" => {}
        other => found.push(unsupported(field("map-type"), other, &["atomic", "granular"])),
    }
    embedded(schema, path, found);
    list(schema, path, found);
    rules(schema, path, found);
}

fn embedded(schema: &Value, path: &str, found: &mut Vec<Cause>) {
    if !flag(schema, "x-kubernetes-embedded-resource") {
        return;
    }
    if text(schema, "type") != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        found.push(invalid(format!("{path}.type"), &text(schema, "type").into(), why));
    }
    let has_properties = schema["properties"].as_object().is_some_and(|p| !p.is_empty());
    if !has_properties && !flag(schema, "x-kubernetes-preserve-unknown-fields") {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        found.push(required(format!("{path}.properties"), why));
    }
}

fn list(schema: &Value, path: &str, found: &mut Vec<Cause>) {
    let field = |key: &str| format!("{path}.x-kubernetes-{key}");
    let list_type = text(schema, "x-kubernetes-list-type");
    let keys =
        || schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if !list_type.is_empty() && text(schema, "type") != "array" {
        let why = "must be array if x-kubernetes-list-type is specified";
        found.push(invalid(format!("{path}.type"), &text(schema, "type").into(), why));
    }
    if list_type != "map" && keys().next().is_some() {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        found.push(invalid(field("list-type"), &list_type.into(), why));
    }
    match list_type {
        "" | "atomic" => {}
        "set" => set(&schema["items"], path, found),
        "map" if keys().next().is_none() => {
            found
                .push(required(field("list-map-keys"), "must not be empty if x-kubernetes-list-type is map"));
        }
        "map" => map(schema, path, &keys().collect::<Vec<_>>(), found),
        other => found.push(unsupported(field("list-type"), other, &["atomic", "set", "map"])),
    }
}

fn set(items: &Value, path: &str, found: &mut Vec<Cause>) {
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let (kind, key) = match text(items, "type") {
        "object" => (&items["x-kubernetes-map-type"], "map-type"),
        "array" => (&items["x-kubernetes-list-type"], "list-type"),
        _ => return,
    };
    let is_default_list = key == "list-type" && kind.is_null();
    if kind != "atomic" && !is_default_list {
        found.push(invalid(format!("{path}.items.x-kubernetes-{key}"), kind, why));
    }
    if flag(items, "nullable") {
        found.push(forbidden(
            format!("{path}.items.nullable"),
            "cannot be nullable when x-kubernetes-list-type is set",
        ));
    }
}

fn map(schema: &Value, path: &str, keys: &[&str], found: &mut Vec<Cause>) {
    let items = &schema["items"];
    if text(items, "type") != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        found.push(invalid(format!("{path}.items.type"), &text(items, "type").into(), why));
        return;
    }
    let required_names: Vec<&str> =
        items["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (i, key) in keys.iter().enumerate() {
        let property = &items["properties"][key];
        let at = format!("{path}.items.properties[{key}]");
        if keys[..i].contains(key) {
            let field = format!("{path}.x-kubernetes-list-map-keys[{i}]");
            found.push(cause("FieldValueDuplicate", field, format!("Duplicate value: {key:?}")));
        } else if property.is_null() {
            let why = "entries must all be names of item properties";
            found.push(invalid(format!("{path}.x-kubernetes-list-map-keys[{i}]"), &(*key).into(), why));
        } else if matches!(text(property, "type"), "object" | "array") {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            found.push(invalid(format!("{at}.type"), &property["type"], why));
        } else if property["default"].is_null() && !required_names.contains(key) {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            found.push(required(format!("{at}.default"), why));
        }
    }
}

const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// The words around rules; expressions are judged by whoever knows their language.
fn rules(schema: &Value, path: &str, found: &mut Vec<Cause>) {
    for (i, rule) in schema["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate() {
        let at = |key: &str| format!("{path}.x-kubernetes-validations[{i}].{key}");
        if text(rule, "rule").trim().is_empty() {
            found.push(required(at("rule"), "rule is not specified"));
        }
        if let Some(message) = rule["message"].as_str() {
            if !message.is_empty() && message.trim().is_empty() {
                found.push(invalid(
                    at("message"),
                    &rule["message"],
                    "message must be non-empty if specified",
                ));
            } else if message.contains('\n') {
                found.push(invalid(at("message"), &rule["message"], "message must not contain line breaks"));
            }
        }
        if let Some(reason) = rule["reason"].as_str().filter(|r| !REASONS.contains(r)) {
            found.push(unsupported(at("reason"), reason, &REASONS));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(schema: Value) -> Vec<(String, String)> {
        let mut found = Vec::new();
        check(&schema, "", &mut found);
        found.into_iter().map(|c| (c.field, c.reason)).collect()
    }

    fn one(field: &str, reason: &str) -> Vec<(String, String)> {
        vec![(field.to_owned(), reason.to_owned())]
    }

    #[test]
    fn lists_say_how_they_merge_and_can() {
        let items = json!({"type": "object", "properties": {"n": {"type": "string"}}});
        let list = |extra: Value| {
            let mut schema = json!({"type": "array", "items": items});
            schema.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            fields(schema)
        };
        assert_eq!(
            list(json!({"x-kubernetes-list-type": "bag"})),
            one(".x-kubernetes-list-type", "FieldValueNotSupported")
        );
        assert_eq!(
            list(json!({"x-kubernetes-list-type": "map"})),
            one(".x-kubernetes-list-map-keys", "FieldValueRequired")
        );
        let keyed = json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]});
        assert_eq!(list(keyed), one(".items.properties[n].default", "FieldValueRequired"));
        assert_eq!(
            list(json!({"x-kubernetes-list-type": "set"})),
            one(".items.x-kubernetes-map-type", "FieldValueInvalid")
        );
    }

    #[test]
    fn a_rule_needs_a_known_reason() {
        let schema =
            json!({"type": "object", "x-kubernetes-validations": [{"rule": "true", "reason": "Nope"}]});
        assert_eq!(fields(schema), one(".x-kubernetes-validations[0].reason", "FieldValueNotSupported"));
    }
}
