//! JSON text -> message, in one pass: no tree between, no typed struct, one output buffer.
//!
//! A nested message is written where it stands and gets its length afterwards. Fields that belong to a message which JSON
//! does not show (a Go inlined struct) are remembered as text and written at the end of the message around them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::slot::{Shape, Slot};
use super::wire::{ProtoError, put_nested};
use crate::schema::{Field, FieldSet, Proto, Schema, Type, TypeId, Types};

/// Writes a tree of the schema's type as a message, without `apiVersion` and `kind`.
pub fn encode(schema: Schema<'_>, value: &Value) -> Result<Vec<u8>, ProtoError> {
    let mut out = Vec::new();
    let json = serde_json::to_vec(value).map_err(|e| ProtoError::Json(e.to_string()))?;
    transcode(schema, &json, &mut out)?;
    Ok(out)
}

/// Appends the message of a JSON text of the schema's type, without `apiVersion` and `kind`.
///
/// Unknown fields and nulls are left out. On an error `out` holds a part of the message.
pub fn transcode(schema: Schema<'_>, json: &[u8], out: &mut Vec<u8>) -> Result<(), ProtoError> {
    let Type::Object(set) = schema.types.get(schema.root) else { return Err(ProtoError::NoMessage) };
    if set.message.is_none() {
        return Err(ProtoError::NoMessage);
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    let fields = Fields { types: schema.types, ty: schema.root, set, out };
    let read = reader.deserialize_map(fields).and_then(|()| reader.end());
    read.map_err(|e| ProtoError::Json(e.to_string()))
}

/// Reads a JSON object into the fields of a message.
pub(super) struct Fields<'t, 'o> {
    pub(super) types: &'t Types,
    /// The object's type.
    pub(super) ty: TypeId,
    /// Its fields.
    pub(super) set: &'t FieldSet,
    pub(super) out: &'o mut Vec<u8>,
}

/// A field of a message that JSON does not show, to be written later.
#[derive(Clone, Copy)]
struct Hidden<'t, 'de> {
    name: &'t str,
    field: &'t Field,
    proto: &'t Proto,
    text: &'de RawValue,
}

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut hidden = Vec::new();
        while let Some(found) = map.next_key_seed(Name(self.set))? {
            let known = found.and_then(|(name, field)| Some((name, field, field.proto.as_ref()?)));
            let Some((name, field, proto)) = known else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if proto.within.is_empty() {
                let shape = Shape::of(self.types, self.ty, name, field, proto);
                map.next_value_seed(Slot { shape, out: &mut *self.out })?;
            } else {
                hidden.push(Hidden { name, field, proto, text: map.next_value()? });
            }
        }
        self.hidden(&hidden, 0).map_err(A::Error::custom)
    }
}

impl Fields<'_, '_> {
    /// Writes the hidden fields that lie `depth` messages below this one and deeper.
    fn hidden(self, all: &[Hidden<'_, '_>], depth: usize) -> Result<(), serde_json::Error> {
        let (types, ty, set, out) = (self.types, self.ty, self.set, self.out);
        for (at, first) in all.iter().enumerate() {
            let tag = first.proto.within[depth];
            let is_same = |h: &&Hidden<'_, '_>| h.proto.within[depth] == tag;
            if all[..at].iter().any(|h| is_same(&h)) {
                continue;
            }
            put_nested(out, tag, |out| {
                let mut deeper = Vec::new();
                for h in all.iter().filter(is_same) {
                    if h.proto.within.len() > depth + 1 {
                        deeper.push(*h);
                        continue;
                    }
                    let shape = Shape::of(types, ty, h.name, h.field, h.proto);
                    let slot = Slot { shape, out: &mut *out };
                    slot.deserialize(&mut serde_json::Deserializer::from_str(h.text.get()))?;
                }
                Fields { types, ty, set, out }.hidden(&deeper, depth + 1)
            })?;
        }
        Ok(())
    }
}

/// Finds a field by the next key without keeping the key.
struct Name<'t>(&'t FieldSet);

impl<'de, 't> DeserializeSeed<'de> for Name<'t> {
    type Value = Option<(&'t str, &'t Field)>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'t> Visitor<'_> for Name<'t> {
    type Value = Option<(&'t str, &'t Field)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.get_key_value(key).map(|(name, field)| (name.as_str(), field)))
    }
}
