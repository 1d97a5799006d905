//! Message -> tree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};
use stdx::Time;

use super::wire::{Cursor, ProtoError, Raw};
use crate::decode::decode_json;
use crate::scalar::{go_duration, whole_number};
use crate::schema::{Field, FieldSet, Schema, Type, TypeId, Types, Wire};

/// Deepest nesting of messages.
const DEPTH_MAX: usize = 64;

/// Reads a message of the schema's type into a tree, without `apiVersion` and `kind`, which the envelope holds.
pub fn decode(schema: Schema<'_>, bytes: &[u8]) -> Result<Value, ProtoError> {
    match schema.types.get(schema.root) {
        Type::Object(set) if set.message.is_some() => {
            let walk = Walk { types: schema.types };
            walk.object(schema.root, set, bytes, 0)
        }
        _ => Err(ProtoError::NoMessage),
    }
}

struct Walk<'t> {
    types: &'t Types,
}

impl Walk<'_> {
    fn object(&self, ty: TypeId, set: &FieldSet, bytes: &[u8], depth: usize) -> Result<Value, ProtoError> {
        if depth > DEPTH_MAX {
            return Err(ProtoError::Depth);
        }
        let mut out = Map::new();
        self.fields(ty, set, bytes, &mut Vec::new(), &mut out, depth)?;
        Ok(Value::Object(out))
    }

    /// Reads the fields of a message, or of one within it that JSON does not show.
    fn fields(
        &self,
        ty: TypeId,
        set: &FieldSet,
        bytes: &[u8],
        within: &mut Vec<u32>,
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), ProtoError> {
        let mut cursor = Cursor::new(bytes);
        while let Some((tag, raw)) = cursor.field()? {
            if let Some((name, field)) = find(set, within, tag) {
                self.field(ty, name, field, raw, out, depth)?;
                continue;
            }
            within.push(tag);
            if set.fields.values().any(|f| f.proto.as_ref().is_some_and(|p| p.within.starts_with(within))) {
                self.fields(ty, set, raw.bytes()?, within, out, depth)?;
            }
            within.pop();
        }
        Ok(())
    }

    fn field(
        &self,
        owner: TypeId,
        name: &str,
        field: &Field,
        raw: Raw<'_>,
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), ProtoError> {
        let Some(proto) = &field.proto else { return Ok(()) };
        if proto.map {
            let value_ty = match self.types.get(field.ty) {
                Type::Map { value, .. } => *value,
                _ => return Err(ProtoError::NoMessage),
            };
            let (key, value) = self.entry(owner, name, value_ty, proto.wire, raw.bytes()?, depth)?;
            return object_at(out, name).map(|map| drop(map.insert(key, value)));
        }
        if !proto.repeated {
            let value = self.value(owner, name, field.ty, proto.wire, raw, depth)?;
            merge(out, name, value);
            return Ok(());
        }
        let item_ty = match self.types.get(field.ty) {
            Type::List { item, .. } => *item,
            _ => return Err(ProtoError::NoMessage),
        };
        let list = list_at(out, name)?;
        match (proto.wire, raw) {
            (Wire::Int32 | Wire::Int64 | Wire::Bool, Raw::Bytes(packed)) => {
                let mut cursor = Cursor::new(packed);
                while !cursor.is_empty() {
                    let raw = Raw::Varint(cursor.varint()?);
                    list.push(self.value(owner, name, item_ty, proto.wire, raw, depth)?);
                }
            }
            _ => list.push(self.value(owner, name, item_ty, proto.wire, raw, depth)?),
        }
        Ok(())
    }

    fn entry(
        &self,
        owner: TypeId,
        name: &str,
        ty: TypeId,
        wire: Wire,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(String, Value), ProtoError> {
        let (mut key, mut value) = (String::new(), None);
        let mut cursor = Cursor::new(bytes);
        while let Some((tag, raw)) = cursor.field()? {
            match tag {
                1 => key = raw.text()?,
                2 => value = Some(self.value(owner, name, ty, wire, raw, depth)?),
                _ => {}
            }
        }
        Ok((key, value.unwrap_or_else(|| crate::fields::zero(self.types, ty))))
    }

    fn value(
        &self,
        owner: TypeId,
        name: &str,
        ty: TypeId,
        wire: Wire,
        raw: Raw<'_>,
        depth: usize,
    ) -> Result<Value, ProtoError> {
        Ok(match wire {
            Wire::String => Value::String(raw.text()?),
            Wire::Bytes => Value::String(STANDARD.encode(raw.bytes()?)),
            Wire::Int32 => Value::from(raw.number()? as i32),
            Wire::Int64 => Value::from(raw.number()? as i64),
            Wire::Bool => Value::Bool(raw.number()? != 0),
            Wire::Double => {
                let mut n = Number::from_f64(raw.double()?).map_or(Value::Null, Value::Number);
                whole_number(&mut n);
                n
            }
            Wire::Strings => {
                let mut items = Vec::new();
                let mut cursor = Cursor::new(raw.bytes()?);
                while let Some((tag, raw)) = cursor.field()? {
                    if tag == 1 {
                        items.push(Value::String(raw.text()?));
                    }
                }
                Value::Array(items)
            }
            Wire::SchemaUnion => self.schema_union(owner, name, raw.bytes()?, depth)?,
            Wire::Message => self.message(ty, raw.bytes()?, depth)?,
        })
    }

    fn message(&self, ty: TypeId, bytes: &[u8], depth: usize) -> Result<Value, ProtoError> {
        match self.types.get(ty) {
            Type::Object(set) => self.object(ty, set, bytes, depth + 1),
            Type::Any | Type::FieldsV1 => embedded_json(bytes),
            Type::Quantity => Ok(Value::String(first_text(bytes)?)),
            Type::Time => Ok(moment(bytes)?.map_or(Value::Null, |t| Value::String(t.to_string()))),
            Type::MicroTime => Ok(moment(bytes)?.map_or(Value::Null, |t| Value::String(t.to_micro_string()))),
            Type::IntOrString => int_or_string(bytes),
            Type::Duration => Ok(Value::String(go_duration(first_number(bytes)?))),
            _ => Err(ProtoError::NoMessage),
        }
    }

    /// The untagged unions of JSONSchemaProps; which one it is follows from the field's name.
    fn schema_union(
        &self,
        owner: TypeId,
        name: &str,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Value, ProtoError> {
        let Type::Object(set) = self.types.get(owner) else { return Err(ProtoError::NoMessage) };
        let (mut schema, mut flag, mut list) = (None, None, Vec::new());
        let mut cursor = Cursor::new(bytes);
        while let Some((tag, raw)) = cursor.field()? {
            match (name, tag) {
                ("items" | "dependencies", 1) | ("additionalProperties" | "additionalItems", 2) => {
                    schema = Some(self.object(owner, set, raw.bytes()?, depth + 1)?);
                }
                ("items", 2) => list.push(self.object(owner, set, raw.bytes()?, depth + 1)?),
                ("dependencies", 2) => list.push(Value::String(raw.text()?)),
                (_, 1) => flag = Some(Value::Bool(raw.number()? != 0)),
                _ => {}
            }
        }
        Ok(schema.or(if list.is_empty() { flag } else { Some(Value::Array(list)) }).unwrap_or(Value::Null))
    }
}

fn find<'s>(set: &'s FieldSet, within: &[u32], tag: u32) -> Option<(&'s str, &'s Field)> {
    let is_it = |f: &Field| f.proto.as_ref().is_some_and(|p| p.tag == tag && p.within == within);
    set.fields.iter().find(|(_, f)| is_it(f)).map(|(name, f)| (name.as_str(), f))
}

/// A field that comes twice: messages are merged, of anything else the last counts.
fn merge(out: &mut Map<String, Value>, name: &str, value: Value) {
    match (out.get_mut(name), value) {
        (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
        (Some(old), new) => *old = new,
        (None, new) => drop(out.insert(name.to_owned(), new)),
    }
}

fn object_at<'m>(
    out: &'m mut Map<String, Value>,
    name: &str,
) -> Result<&'m mut Map<String, Value>, ProtoError> {
    let slot = out.entry(name).or_insert_with(|| Value::Object(Map::new()));
    slot.as_object_mut().ok_or(ProtoError::Bad("wrong wireType"))
}

fn list_at<'m>(out: &'m mut Map<String, Value>, name: &str) -> Result<&'m mut Vec<Value>, ProtoError> {
    let slot = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    slot.as_array_mut().ok_or(ProtoError::Bad("wrong wireType"))
}

/// `{raw: bytes}` with JSON in it.
fn embedded_json(bytes: &[u8]) -> Result<Value, ProtoError> {
    let mut cursor = Cursor::new(bytes);
    let mut out = Value::Null;
    while let Some((tag, raw)) = cursor.field()? {
        let raw = raw.bytes()?;
        if tag == 1 && !raw.is_empty() {
            out = decode_json(raw).map_err(|e| ProtoError::Json(e.to_string()))?.0;
        }
    }
    Ok(out)
}

fn first_text(bytes: &[u8]) -> Result<String, ProtoError> {
    let mut cursor = Cursor::new(bytes);
    let mut out = "0".to_owned();
    while let Some((tag, raw)) = cursor.field()? {
        if tag == 1 {
            out = raw.text()?;
        }
    }
    Ok(out)
}

fn first_number(bytes: &[u8]) -> Result<i64, ProtoError> {
    let mut cursor = Cursor::new(bytes);
    let mut out = 0;
    while let Some((tag, raw)) = cursor.field()? {
        if tag == 1 {
            out = raw.number()? as i64;
        }
    }
    Ok(out)
}

/// `{seconds, nanos}`; no bytes at all stand for the zero time.
fn moment(bytes: &[u8]) -> Result<Option<Time>, ProtoError> {
    let mut cursor = Cursor::new(bytes);
    let (mut secs, mut nanos) = (0i64, 0i64);
    if cursor.is_empty() {
        return Ok(None);
    }
    while let Some((tag, raw)) = cursor.field()? {
        match tag {
            1 => secs = raw.number()? as i64,
            2 => nanos = i64::from(raw.number()? as i32),
            _ => {}
        }
    }
    let micros = secs.checked_mul(1_000_000).and_then(|m| m.checked_add(nanos / 1000));
    let micros = micros.ok_or(ProtoError::Bad("time out of range"))?;
    // Years 1 to 9999, what RFC 3339 can say.
    if !(-62_135_596_800_000_000..253_402_300_800_000_000).contains(&micros) {
        return Err(ProtoError::Bad("time out of range"));
    }
    Ok(Some(Time::from_micros(micros)))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtoError> {
    let mut cursor = Cursor::new(bytes);
    let (mut is_text, mut number, mut text) = (false, 0i32, String::new());
    while let Some((tag, raw)) = cursor.field()? {
        match tag {
            1 => is_text = raw.number()? != 0,
            2 => number = raw.number()? as i32,
            3 => text = raw.text()?,
            _ => {}
        }
    }
    Ok(if is_text { Value::String(text) } else { Value::from(number) })
}
