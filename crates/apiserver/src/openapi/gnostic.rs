//! The protobuf form of OpenAPI v2, which client-go asks for: the messages of gnostic-models' `openapi.v2`.
//!
//! Field numbers are those of its `OpenAPIv2.proto`. Only what documents of Kubernetes say is written: what else a document of
//! version 2 could hold has no place here and is left out. Values without a schema of their own (defaults, extensions) are texts
//! in YAML, for which their JSON serves.

use serde_json::{Map, Value};

/// The media type of the form.
pub(super) const MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// Its older name, under which client-go asks.
pub(super) const MEDIA_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// A document of version 2 as bytes of `openapi.v2.Document`.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    out.nested(2, &info);
    out.nested(8, &named(&document["paths"], 2, path_item));
    out.nested(9, &named(&document["definitions"], 1, schema));
    for requirement in items(&document["security"]) {
        out.nested(12, &named(requirement, 1, |scopes| texts(1, scopes)));
    }
    // One of several kinds of security: a key.
    out.nested(13, &named(&document["securityDefinitions"], 1, |d| wrap(2, &api_key(d))));
    out.0
}

fn api_key(definition: &Value) -> Message {
    let mut out = Message::default();
    for (tag, key) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
        out.text(tag, &definition[key]);
    }
    out
}

const VERBS: [(u32, &str); 7] =
    [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")];

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (tag, verb) in VERBS {
        if let Some(found) = item.get(verb) {
            out.nested(tag, &operation(found));
        }
    }
    parameters(&mut out, 9, &item["parameters"]);
    out.extensions(10, item);
    out
}

fn operation(operation: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, &operation["tags"]);
    out.text(3, &operation["description"]);
    out.text(5, &operation["operationId"]);
    out.texts(6, &operation["produces"]);
    out.texts(7, &operation["consumes"]);
    parameters(&mut out, 8, &operation["parameters"]);
    out.nested(9, &named(&operation["responses"], 1, |r| wrap(1, &response(r))));
    out.texts(10, &operation["schemes"]);
    out.flag(11, &operation["deprecated"]);
    out.extensions(13, operation);
    out
}

fn response(response: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, &response["description"]);
    if let Some(found) = response.get("schema") {
        out.nested(2, &wrap(1, &schema(found)));
    }
    out.extensions(5, response);
    out
}

/// A parameter is one of two, and one that is no body is one of four.
fn parameters(out: &mut Message, tag: u32, list: &Value) {
    for parameter in items(list) {
        let found = match parameter["in"].as_str() {
            Some("body") => wrap(1, &body(parameter)),
            Some("header") => wrap(2, &wrap(1, &plain(parameter, 0))),
            Some("formData") => wrap(2, &wrap(2, &plain(parameter, 1))),
            Some("query") => wrap(2, &wrap(3, &plain(parameter, 1))),
            _ => wrap(2, &wrap(4, &plain(parameter, 0))),
        };
        out.nested(tag, &wrap(1, &found));
    }
}

fn body(parameter: &Value) -> Message {
    let mut out = Message::default();
    for (tag, key) in [(1, "description"), (2, "name"), (3, "in")] {
        out.text(tag, &parameter[key]);
    }
    out.flag(4, &parameter["required"]);
    out.nested(5, &schema(&parameter["schema"]));
    out
}

/// What is no body; `shift` is 1 where the message has one more field in the middle (`allowEmptyValue`).
fn plain(parameter: &Value, shift: u32) -> Message {
    let mut out = Message::default();
    out.flag(1, &parameter["required"]);
    for (tag, key) in [(2, "in"), (3, "description"), (4, "name"), (5 + shift, "type"), (6 + shift, "format")]
    {
        out.text(tag, &parameter[key]);
    }
    out.flag(19 + shift, &parameter["uniqueItems"]);
    out
}

const WHOLE: [(u32, &str); 6] = [
    (11, "maxLength"),
    (12, "minLength"),
    (14, "maxItems"),
    (15, "minItems"),
    (17, "maxProperties"),
    (18, "minProperties"),
];
const BROKEN: [(u32, &str); 3] = [(6, "multipleOf"), (7, "maximum"), (9, "minimum")];
const FLAGS: [(u32, &str); 4] =
    [(8, "exclusiveMaximum"), (10, "exclusiveMinimum"), (16, "uniqueItems"), (27, "readOnly")];

fn schema(schema_: &Value) -> Message {
    let mut out = Message::default();
    for (tag, key) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description"), (13, "pattern")] {
        out.text(tag, &schema_[key]);
    }
    for (tag, key) in BROKEN {
        out.double(tag, &schema_[key]);
    }
    for (tag, key) in WHOLE {
        out.number(tag, &schema_[key]);
    }
    for (tag, key) in FLAGS {
        out.flag(tag, &schema_[key]);
    }
    out.texts(19, &schema_["required"]);
    for value in items(&schema_["enum"]) {
        out.nested(20, &any(value));
    }
    match &schema_["additionalProperties"] {
        Value::Bool(is_open) => out.nested(21, &flag(2, *is_open)),
        Value::Object(_) => out.nested(21, &wrap(1, &schema(&schema_["additionalProperties"]))),
        _ => {}
    }
    if schema_["type"].is_string() {
        out.nested(22, &texts(1, &Value::Array(vec![schema_["type"].clone()])));
    }
    if schema_["items"].is_object() {
        out.nested(23, &wrap(1, &schema(&schema_["items"])));
    }
    if schema_["properties"].is_object() {
        out.nested(25, &named(&schema_["properties"], 1, schema));
    }
    for (tag, key) in [(5, "default"), (30, "example")] {
        if let Some(value) = schema_.get(key) {
            out.nested(tag, &any(value));
        }
    }
    out.extensions(31, schema_);
    out
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A map: one message for each entry, with its name and its value.
fn named(map: &Value, tag: u32, value: impl Fn(&Value) -> Message) -> Message {
    let mut out = Message::default();
    for (name, found) in map.as_object().into_iter().flat_map(Map::iter) {
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.nested(2, &value(found));
        out.nested(tag, &entry);
    }
    out
}

fn wrap(tag: u32, inner: &Message) -> Message {
    let mut out = Message::default();
    out.nested(tag, inner);
    out
}

fn texts(tag: u32, list: &Value) -> Message {
    let mut out = Message::default();
    out.texts(tag, list);
    out
}

fn flag(tag: u32, is_set: bool) -> Message {
    let mut out = Message::default();
    out.flag(tag, &Value::Bool(is_set));
    out
}

/// A value of any form.
fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.bytes(2, value.to_string().as_bytes());
    out
}

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n as u8 & 0x7f) | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.varint(u64::from(tag) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn nested(&mut self, tag: u32, inner: &Message) {
        self.bytes(tag, &inner.0);
    }

    fn text(&mut self, tag: u32, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(tag, text.as_bytes());
        }
    }

    fn texts(&mut self, tag: u32, list: &Value) {
        items(list).for_each(|value| self.text(tag, value));
    }

    fn flag(&mut self, tag: u32, value: &Value) {
        if value == &Value::Bool(true) {
            self.varint(u64::from(tag) << 3);
            self.varint(1);
        }
    }

    fn number(&mut self, tag: u32, value: &Value) {
        if let Some(n) = value.as_i64() {
            self.varint(u64::from(tag) << 3);
            self.varint(n as u64);
        }
    }

    fn double(&mut self, tag: u32, value: &Value) {
        if let Some(n) = value.as_f64() {
            self.varint(u64::from(tag) << 3 | 1);
            self.0.extend_from_slice(&n.to_bits().to_le_bytes());
        }
    }

    /// The keys that begin with `x-`.
    fn extensions(&mut self, tag: u32, of: &Value) {
        for (name, value) in
            of.as_object().into_iter().flat_map(Map::iter).filter(|(k, _)| k.starts_with("x-"))
        {
            let mut entry = Message::default();
            entry.bytes(1, name.as_bytes());
            entry.nested(2, &any(value));
            self.nested(tag, &entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The fields of a message: number and content of those that have a length.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        let varint = |bytes: &mut &[u8]| {
            let (mut n, mut shift) = (0u64, 0);
            loop {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                n |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return n;
                }
            }
        };
        while !bytes.is_empty() {
            let head = varint(&mut bytes);
            let content = match head & 7 {
                2 => {
                    let length = varint(&mut bytes) as usize;
                    let (content, rest) = bytes.split_at(length);
                    bytes = rest;
                    content.to_vec()
                }
                1 => {
                    let (content, rest) = bytes.split_at(8);
                    bytes = rest;
                    content.to_vec()
                }
                _ => varint(&mut bytes).to_string().into_bytes(),
            };
            out.push((head >> 3, content));
        }
        out
    }

    /// What lies under a way of field numbers, each time at its first occurrence.
    fn at(bytes: &[u8], way: &[u64]) -> String {
        let mut bytes = bytes.to_vec();
        for tag in way {
            bytes = fields(&bytes).into_iter().find(|(t, _)| t == tag).expect("a field of the way").1;
        }
        String::from_utf8(bytes).expect("a text")
    }

    #[test]
    fn what_a_document_says_lies_under_the_numbers_of_its_messages() {
        let document = json!({
            "swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1"},
            "paths": {"/a": {
                "get": {"operationId": "readA", "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/A"}}},
                    "x-kubernetes-action": "get",
                    "parameters": [{"in": "query", "name": "pretty", "type": "string", "uniqueItems": true}]},
                "parameters": [{"in": "path", "name": "name", "required": true, "type": "string"}],
            }},
            "definitions": {"A": {"type": "object", "required": ["n"], "x-kubernetes-group-version-kind": [{"kind": "A"}],
                "properties": {"n": {"type": "array", "items": {"type": "integer", "minimum": 1}}}}},
            "security": [{"BearerToken": []}],
            "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        });
        let bytes = encode(&document);
        assert_eq!(at(&bytes, &[1]), "2.0");
        assert_eq!(at(&bytes, &[2, 1]), "Kubernetes");
        let get = [8, 2, 2, 2];
        assert_eq!(at(&bytes, &[8, 2, 1]), "/a");
        assert_eq!(at(&bytes, &[&get[..], &[5]].concat()), "readA");
        assert_eq!(at(&bytes, &[&get[..], &[8, 1, 2, 3, 4]].concat()), "pretty");
        assert_eq!(at(&bytes, &[&get[..], &[8, 1, 2, 3, 20]].concat()), "1");
        assert_eq!(at(&bytes, &[&get[..], &[9, 1, 1]].concat()), "200");
        assert_eq!(at(&bytes, &[&get[..], &[9, 1, 2, 1, 2, 1, 1]].concat()), "#/definitions/A");
        assert_eq!(at(&bytes, &[&get[..], &[13, 1]].concat()), "x-kubernetes-action");
        assert_eq!(at(&bytes, &[&get[..], &[13, 2, 2]].concat()), "\"get\"");
        assert_eq!(at(&bytes, &[8, 2, 2, 9, 1, 2, 4, 4]), "name");
        let definition = [9, 1, 2];
        assert_eq!(at(&bytes, &[9, 1, 1]), "A");
        assert_eq!(at(&bytes, &[&definition[..], &[22, 1]].concat()), "object");
        assert_eq!(at(&bytes, &[&definition[..], &[19]].concat()), "n");
        assert_eq!(at(&bytes, &[&definition[..], &[25, 1, 2, 23, 1, 22, 1]].concat()), "integer");
        assert_eq!(at(&bytes, &[&definition[..], &[31, 2, 2]].concat()), r#"[{"kind":"A"}]"#);
        assert_eq!(at(&bytes, &[12, 1, 1]), "BearerToken");
        assert_eq!(at(&bytes, &[13, 1, 2, 2, 2]), "authorization");
    }
}
