//! Objects as they rest in the store, and how they become answers without being parsed.
//!
//! ```text
//! {"kind":"Pod","apiVersion":"v1","metadata":{ ...no resourceVersion... },"spec":...
//! \___________ head, differs by served version _________/ \__ tail, copied as it is __/
//! ```
//!
//! The version is not part of the body (the store assigns it at commit), so reading means: head, version, tail.

use std::sync::Arc;

use api_patch::managed;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use store::{Body, Key, Project, Revision, Row, Stored};

use crate::refuse::{Outcome, internal};
use crate::registry::{Registry, Served};

/// Ends the head of a stored body.
const METADATA: &[u8] = b"\"metadata\":{";
/// Who owns which fields, of the metadata.
const OWNERS: &str = "managedFields";
/// What one of them owns.
const FIELDS: &str = "fieldsV1";
/// Head of the items of a built-in list, which carry neither kind nor version.
pub(crate) const BARE_HEAD: &[u8] = b"{\"metadata\":{";

/// The stored form of an object. Its metadata must not be empty; every object has a name.
pub(crate) fn encode(object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let empty = Map::new();
    let object = object.as_object().unwrap_or(&empty);
    out.push(b'{');
    for key in ["kind", "apiVersion"] {
        write_entry(&mut out, key, object.get(key).unwrap_or(&Value::Null));
        out.push(b',');
    }
    out.extend_from_slice(METADATA);
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let kept = metadata.iter().filter(|(k, _)| !matches!(k.as_str(), "resourceVersion" | "selfLink"));
    for (i, (key, value)) in kept.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match value {
            Value::Array(owners) if key == OWNERS => write_owners(&mut out, owners),
            _ => write_entry(&mut out, key, value),
        }
    }
    out.push(b'}');
    for (key, value) in object {
        if !matches!(key.as_str(), "kind" | "apiVersion" | "metadata") {
            out.push(b',');
            write_entry(&mut out, key, value);
        }
    }
    out.push(b'}');
    out
}

/// Writes `managedFields`, whose sets may be folded (see [`managed::unfold`]).
fn write_owners(out: &mut Vec<u8>, owners: &[Value]) {
    write_json(out, OWNERS);
    out.extend_from_slice(b":[");
    for (i, owner) in owners.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let Value::Object(map) = owner else {
            write_json(out, owner);
            continue;
        };
        out.push(b'{');
        for (i, (key, value)) in map.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            match value {
                Value::String(text) if key == FIELDS && managed::is_folded(value) => {
                    write_json(out, FIELDS);
                    out.push(b':');
                    out.extend_from_slice(text.as_bytes());
                }
                _ => write_entry(out, key, value),
            }
        }
        out.push(b'}');
    }
    out.push(b']');
}

fn write_entry(out: &mut Vec<u8>, key: &str, value: &Value) {
    write_json(out, &key);
    out.push(b':');
    write_json(out, value);
}

fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a tree with text keys always has a JSON form");
}

/// Appends the object with its version: `head`, then what follows the head of the stored body. What was never stored has
/// revision 0 and shows none.
pub(crate) fn splice(out: &mut Vec<u8>, head: &[u8], plain: &[u8], revision: Revision) {
    out.reserve(plain.len() + 48);
    out.extend_from_slice(head);
    if revision > Revision(0) {
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(revision.to_string().as_bytes());
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(&plain[head_length(plain)..]);
}

pub(crate) fn head_length(plain: &[u8]) -> usize {
    let at = plain.windows(METADATA.len()).position(|w| w == METADATA);
    at.map_or(0, |at| at + METADATA.len())
}

/// `apiVersion` of a stored body, read from its head.
pub(crate) fn api_version(plain: &[u8]) -> &str {
    const MARK: &[u8] = b"\"apiVersion\":\"";
    let head = &plain[..head_length(plain)];
    let start = head.windows(MARK.len()).position(|w| w == MARK).map_or(0, |at| at + MARK.len());
    let length = head[start..].iter().position(|b| *b == b'"').unwrap_or(0);
    std::str::from_utf8(&head[start..start + length]).unwrap_or_default()
}

/// Unpacks a stored body.
pub(crate) fn unpack(stored: &Stored) -> Outcome<bytes::Bytes> {
    stored.body.unpack().map_err(|e| internal(format!("read {:?}: {e}", stored.key)))
}

/// The stored object as a tree, with its version.
pub(crate) fn decode(stored: &Stored) -> Outcome<Value> {
    let mut object = decode_folded(stored, &unpack(stored)?)?;
    managed::unfold(&mut object);
    Ok(object)
}

/// The same from bytes that were unpacked before; `managedFields` stay folded (see [`managed::unfold`]), for whoever shows it to
/// nobody but the stages of a write.
pub(crate) fn decode_folded(stored: &Stored, plain: &[u8]) -> Outcome<Value> {
    let read = || -> Result<Value, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(plain);
        let object = Folded::Object.deserialize(&mut reader)?;
        reader.end().map(|()| object)
    };
    let mut object = read().map_err(|e| internal(format!("decode {:?}: {e}", stored.key)))?;
    object["metadata"]["resourceVersion"] = Value::String(stored.revision.to_string());
    Ok(object)
}

/// Reads a stored body as a tree, but for the sets of `managedFields`, which stay texts.
#[derive(Clone, Copy)]
enum Folded {
    Object,
    Metadata,
    Owners,
    Owner,
    Fields,
}

impl Folded {
    /// How the value of a key is read; nothing when as a tree.
    fn below(self, key: &str) -> Option<Folded> {
        match (self, key) {
            (Folded::Object, "metadata") => Some(Folded::Metadata),
            (Folded::Metadata, OWNERS) => Some(Folded::Owners),
            (Folded::Owner, FIELDS) => Some(Folded::Fields),
            _ => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Folded {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        match self {
            Folded::Object | Folded::Metadata | Folded::Owners | Folded::Owner => d.deserialize_any(self),
            Folded::Fields => {
                let text = <&RawValue>::deserialize(d)?.get();
                if text.starts_with('{') {
                    return Ok(Value::String(text.to_owned()));
                }
                serde_json::from_str(text).map_err(D::Error::custom)
            }
        }
    }
}

impl<'de> Visitor<'de> for Folded {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a stored object")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = match self.below(&key) {
                Some(below) => entries.next_value_seed(below)?,
                None => entries.next_value()?,
            };
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        loop {
            let item = match self {
                Folded::Owners => items.next_element_seed(Folded::Owner)?,
                _ => items.next_element()?,
            };
            let Some(item) = item else { break };
            out.push(item);
        }
        Ok(Value::Array(out))
    }
}

/// A packed body.
pub(crate) fn pack(plain: &[u8]) -> Body {
    Body::pack(plain)
}

/// The index row of an object.
pub(crate) fn row(served: &Served, object: &Value) -> Row {
    let facts = served.facts;
    let values: Vec<(&str, String)> =
        facts.selectable.iter().map(|name| (*name, (facts.field)(object, name))).collect();
    let fields =
        values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (*name, value.as_str()));
    let metadata = &object["metadata"];
    let labels = metadata["labels"].as_object().into_iter().flatten();
    let labels = labels.filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)));
    Row::new(metadata["uid"].as_str().unwrap_or_default(), labels, fields)
}

/// Makes index rows when the store is rebuilt from disk; give it to [`store::Store::open`].
pub struct Rows {
    served: std::collections::BTreeMap<Arc<str>, Arc<Served>>,
}

impl Rows {
    /// Rows as the resources of `registry` want them; custom kinds select by uid and labels alone.
    pub fn new(registry: &Registry) -> Rows {
        let snapshot = registry.snapshot();
        let stored = |s: &&Arc<Served>| s.storage_api_version == s.resource.api_version();
        Rows { served: snapshot.all().filter(stored).map(|s| (s.storage_key.clone(), s.clone())).collect() }
    }
}

impl Project for Rows {
    fn row(&self, key: &Key, body: &[u8]) -> Row {
        let object: Value = serde_json::from_slice(body).unwrap_or_default();
        match self.served.get(&key.resource) {
            Some(served) => row(served, &object),
            None => row(&Served::plain(api_meta::Resource::cluster("", "v1", "", "")), &object),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn splice_gives_the_object_with_its_version() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "binaryData": {"metadata": "x"},
            "metadata": {"name": "a", "resourceVersion": "7"}, "data": {"k": "v"}
        });
        let plain = encode(&object);
        assert_eq!(api_version(&plain), "v1");
        let mut out = Vec::new();
        splice(&mut out, BARE_HEAD, &plain, Revision(9));
        let read: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            read,
            json!({"binaryData": {"metadata": "x"}, "metadata": {"name": "a", "resourceVersion": "9"}, "data": {"k": "v"}})
        );
    }

    #[test]
    fn a_folded_object_is_encoded_as_the_unfolded_one() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}, "k:{\"a\":\"é\"}": {}}}, "f:spec": {}});
        let owners = json!([{"manager": "a", "fieldsV1": fields, "time": "t"}, {"manager": "b"}]);
        let object = json!({"kind": "X", "apiVersion": "v1", "metadata": {"managedFields": owners, "name": "a"}, "spec": {"metadata": {"managedFields": [{"fieldsV1": "{}"}]}}});
        let plain = encode(&object);
        let body = Body::pack(&plain);
        let stored = Stored { key: Key::new("x", "", "a"), revision: Revision(1), row: Row::default(), body };
        let mut folded = decode_folded(&stored, &plain).unwrap();
        assert_eq!(folded["metadata"]["managedFields"][0]["fieldsV1"], fields.to_string());
        assert_eq!(encode(&folded), plain);
        managed::unfold(&mut folded);
        assert_eq!(folded["metadata"]["managedFields"], owners);
        assert_eq!(decode(&stored).unwrap(), folded);
    }

    #[test]
    fn a_text_that_is_no_set_is_encoded_as_the_text_it_is() {
        for text in ["{", "{}}", "x", "{\"a\":1},\"name\":\"b\"", ""] {
            let object = json!({"kind": "X", "apiVersion": "v1", "metadata": {"managedFields": [{"fieldsV1": text}], "name": "a"}});
            let read: Value = serde_json::from_slice(&encode(&object)).unwrap();
            assert_eq!(read, object);
        }
    }

    #[test]
    fn equal_objects_have_equal_bytes_whatever_their_version() {
        let a = json!({"kind": "X", "apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": "1"}});
        let b = json!({"metadata": {"resourceVersion": "2", "name": "a"}, "apiVersion": "v1", "kind": "X"});
        assert_eq!(encode(&a), encode(&b));
    }
}
