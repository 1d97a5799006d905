//! OpenAPI v2: all version 3 documents folded into one.

use serde_json::{Map, Value, json};

/// One document of version 2 from many of version 3.
pub(super) fn merge(documents: &[Value]) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for document in documents {
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            paths.insert(path.clone(), path_item(item));
        }
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            merge_definition(&mut definitions, name, schema);
        }
    }
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": paths, "definitions": definitions,
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    })
}

/// The same type occurs in many documents; those that list the kinds they stand for list other ones in each.
fn merge_definition(definitions: &mut Map<String, Value>, name: &str, source: &Value) {
    const KINDS: &str = "x-kubernetes-group-version-kind";
    let Some(known) = definitions.get_mut(name) else {
        definitions.insert(name.to_owned(), schema(source));
        return;
    };
    for kind in source[KINDS].as_array().into_iter().flatten() {
        if let Some(kinds) = known[KINDS].as_array_mut().filter(|k| !k.contains(kind)) {
            kinds.push(kind.clone());
        }
    }
}

/// Keywords that version 2 does not have.
const UNKNOWN: [&str; 6] = ["nullable", "oneOf", "anyOf", "allOf", "not", "x-kubernetes-validations"];

fn schema(v: &Value) -> Value {
    let Some(map) = v.as_object() else {
        return match v {
            Value::Array(items) => Value::Array(items.iter().map(schema).collect()),
            other => other.clone(),
        };
    };
    let mut out = Map::new();
    if let Some(reference) = map.get("allOf").and_then(|a| a[0].get("$ref")) {
        out.insert("$ref".into(), pointer(reference));
    }
    let is_open = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let is_nullable = map.get("nullable") == Some(&Value::Bool(true));
    for (key, v) in map {
        let value = match key.as_str() {
            "$ref" => pointer(v),
            key if UNKNOWN.contains(&key) => continue,
            // What may be null has no type in version 2, or clients would refuse null.
            "type" | "items" | "properties" | "additionalProperties" if is_nullable => continue,
            // Where anything goes, clients of version 2 would refuse what is not listed.
            "items" | "properties" if is_open => continue,
            "default" | "enum" | "example" | "required" => v.clone(),
            "properties" => Value::Object(
                v.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), schema(v))).collect(),
            ),
            _ => schema(v),
        };
        out.insert(key.clone(), value);
    }
    if map.contains_key("oneOf") && !map.contains_key("properties") {
        out.insert("type".into(), "string".into());
    }
    Value::Object(out)
}

fn pointer(reference: &Value) -> Value {
    reference.as_str().unwrap_or_default().replace("#/components/schemas/", "#/definitions/").into()
}

fn path_item(item: &Value) -> Value {
    let map = item.as_object().into_iter().flatten().map(|(key, v)| match key.as_str() {
        "parameters" => (key.clone(), parameters(v)),
        _ => (key.clone(), operation(v)),
    });
    Value::Object(map.collect())
}

fn parameters(list: &Value) -> Value {
    Value::Array(list.as_array().into_iter().flatten().map(parameter).collect())
}

/// A parameter says its type itself instead of in a schema.
fn parameter(p: &Value) -> Value {
    let mut out = Map::new();
    for (key, v) in p.as_object().into_iter().flatten() {
        match (key.as_str(), v) {
            ("schema", Value::Object(schema)) => out.extend(schema.clone()),
            _ => drop(out.insert(key.clone(), v.clone())),
        }
    }
    Value::Object(out)
}

fn operation(o: &Value) -> Value {
    let mut out = Map::new();
    for (key, v) in o.as_object().into_iter().flatten() {
        match key.as_str() {
            "parameters" | "requestBody" | "responses" => {}
            _ => drop(out.insert(key.clone(), v.clone())),
        }
    }
    let mut list = parameters(&o["parameters"]).as_array().cloned().unwrap_or_default();
    if let Some(body) = o["requestBody"]["content"].as_object() {
        let source = body.values().next().map_or(Value::Null, |c| schema(&c["schema"]));
        let required = o["requestBody"]["required"] == Value::Bool(true);
        let mut parameter = json!({"in": "body", "name": "body", "schema": source});
        if required {
            parameter["required"] = true.into();
        }
        list.insert(0, parameter);
        out.insert("consumes".into(), json!(body.keys().collect::<Vec<_>>()));
    }
    if !list.is_empty() {
        out.insert("parameters".into(), Value::Array(list));
    }
    let mut produces: Vec<&String> = Vec::new();
    let mut responses = Map::new();
    for (code, response) in o["responses"].as_object().into_iter().flatten() {
        let content = response["content"].as_object();
        content.into_iter().flat_map(Map::keys).for_each(|media| {
            if !produces.contains(&media) {
                produces.push(media);
            }
        });
        let text =
            response["description"].as_str().unwrap_or(if code == "401" { "Unauthorized" } else { "OK" });
        let mut answer = json!({"description": text});
        if let Some(c) = content.and_then(|c| c.values().next()) {
            answer["schema"] = schema(&c["schema"]);
        }
        responses.insert(code.clone(), answer);
    }
    out.insert("produces".into(), json!(produces));
    out.insert("schemes".into(), json!(["https"]));
    out.insert("responses".into(), Value::Object(responses));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_anything_goes_version_2_lists_nothing() {
        let open = json!({
            "type": "object", "x-kubernetes-preserve-unknown-fields": true, "required": ["a"],
            "properties": {"a": {"type": "string"}},
        });
        let wanted =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "required": ["a"]});
        assert_eq!(schema(&open), wanted);
        let list = json!({"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": open});
        assert_eq!(schema(&list)["items"], Value::Null);
    }
}
