//! Tree -> message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use stdx::Time;

use super::wire::{ProtoError, put_bytes, put_double, put_number, put_varint};
use crate::scalar::parse_go_duration;
use crate::schema::{Field, FieldSet, Schema, Type, TypeId, Types, Wire};

/// Writes a tree of the schema's type as a message, without `apiVersion` and `kind`.
pub fn encode(schema: Schema<'_>, value: &Value) -> Result<Vec<u8>, ProtoError> {
    let mut out = Vec::new();
    match (schema.types.get(schema.root), value) {
        (Type::Object(set), Value::Object(map)) if set.message.is_some() => {
            let walk = Walk { types: schema.types };
            walk.object(schema.root, set, map, &mut out)?;
            Ok(out)
        }
        _ => Err(ProtoError::NoMessage),
    }
}

struct Walk<'t> {
    types: &'t Types,
}

impl Walk<'_> {
    fn object(
        &self,
        ty: TypeId,
        set: &FieldSet,
        map: &Map<String, Value>,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtoError> {
        self.level(ty, set, map, &[], out)
    }

    /// The fields at one level: the message itself, or one within it that JSON does not show.
    fn level(
        &self,
        ty: TypeId,
        set: &FieldSet,
        map: &Map<String, Value>,
        within: &[u32],
        out: &mut Vec<u8>,
    ) -> Result<(), ProtoError> {
        let mut inner: Vec<u32> = Vec::new();
        for (name, value) in map {
            let Some(field) = set.fields.get(name) else { continue };
            let Some(proto) = &field.proto else { continue };
            if proto.within == within {
                self.field(ty, name, field, value, out)?;
            } else if let Some(next) = proto.within.strip_prefix(within).and_then(<[u32]>::first)
                && !inner.contains(next)
            {
                inner.push(*next);
            }
        }
        for tag in inner {
            let mut body = Vec::new();
            self.level(ty, set, map, &[within, &[tag]].concat(), &mut body)?;
            put_bytes(out, tag, &body);
        }
        Ok(())
    }

    fn field(
        &self,
        owner: TypeId,
        name: &str,
        field: &Field,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtoError> {
        let Some(proto) = &field.proto else { return Ok(()) };
        match (self.types.get(field.ty), value) {
            (_, Value::Null) => Ok(()),
            (Type::Map { value: ty, .. }, Value::Object(entries)) if proto.map => {
                for (key, value) in entries {
                    let mut entry = Vec::new();
                    put_bytes(&mut entry, 1, key.as_bytes());
                    self.value(owner, name, *ty, proto.wire, 2, value, &mut entry)?;
                    put_bytes(out, proto.tag, &entry);
                }
                Ok(())
            }
            (Type::List { item, .. }, Value::Array(items)) if proto.repeated => {
                items.iter().try_for_each(|v| self.value(owner, name, *item, proto.wire, proto.tag, v, out))
            }
            _ => self.value(owner, name, field.ty, proto.wire, proto.tag, value, out),
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one recursion over all forms; a context struct would only rename them"
    )]
    fn value(
        &self,
        owner: TypeId,
        name: &str,
        ty: TypeId,
        wire: Wire,
        tag: u32,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtoError> {
        let bad = || ProtoError::Bad("value does not fit its type");
        match wire {
            Wire::String => put_bytes(out, tag, value.as_str().ok_or_else(bad)?.as_bytes()),
            Wire::Bytes => {
                let octets = STANDARD.decode(value.as_str().ok_or_else(bad)?).map_err(|_| bad())?;
                put_bytes(out, tag, &octets);
            }
            Wire::Int32 | Wire::Int64 => put_number(out, tag, value.as_i64().ok_or_else(bad)?),
            Wire::Bool => put_number(out, tag, i64::from(value.as_bool().ok_or_else(bad)?)),
            Wire::Double => put_double(out, tag, value.as_f64().ok_or_else(bad)?),
            Wire::Strings => {
                let mut body = Vec::new();
                for item in value.as_array().ok_or_else(bad)? {
                    put_bytes(&mut body, 1, item.as_str().ok_or_else(bad)?.as_bytes());
                }
                put_bytes(out, tag, &body);
            }
            Wire::SchemaUnion => put_bytes(out, tag, &self.schema_union(owner, name, value)?),
            Wire::Message => put_bytes(out, tag, &self.message(ty, value)?),
        }
        Ok(())
    }

    fn message(&self, ty: TypeId, value: &Value) -> Result<Vec<u8>, ProtoError> {
        let bad = || ProtoError::Bad("value does not fit its type");
        let text = || value.as_str().ok_or_else(bad);
        let mut out = Vec::new();
        match self.types.get(ty) {
            Type::Object(set) => self.object(ty, set, value.as_object().ok_or_else(bad)?, &mut out)?,
            Type::Any | Type::FieldsV1 => put_bytes(&mut out, 1, value.to_string().as_bytes()),
            Type::Quantity => match value {
                Value::String(s) => put_bytes(&mut out, 1, s.as_bytes()),
                other => put_bytes(&mut out, 1, other.to_string().as_bytes()),
            },
            Type::Time | Type::MicroTime if value.is_null() => {}
            Type::Time | Type::MicroTime => {
                let time: Time = text()?.parse().map_err(|_| bad())?;
                let nanos = (time.micros().rem_euclid(1_000_000)) * 1000;
                put_number(&mut out, 1, time.secs());
                put_number(&mut out, 2, if matches!(self.types.get(ty), Type::Time) { 0 } else { nanos });
            }
            Type::IntOrString => match value {
                Value::String(s) => {
                    put_number(&mut out, 1, 1);
                    put_bytes(&mut out, 3, s.as_bytes());
                }
                other => {
                    put_number(&mut out, 1, 0);
                    put_number(&mut out, 2, other.as_i64().ok_or_else(bad)?);
                }
            },
            Type::Duration => put_number(&mut out, 1, parse_go_duration(text()?).ok_or_else(bad)?),
            _ => return Err(ProtoError::NoMessage),
        }
        Ok(out)
    }

    fn schema_union(&self, owner: TypeId, name: &str, value: &Value) -> Result<Vec<u8>, ProtoError> {
        let is_flagged = matches!(name, "additionalProperties" | "additionalItems");
        let mut out = Vec::new();
        match value {
            Value::Bool(b) => put_number(&mut out, 1, i64::from(*b)),
            Value::Object(_) => {
                if is_flagged {
                    put_number(&mut out, 1, 1);
                }
                put_bytes(&mut out, if is_flagged { 2 } else { 1 }, &self.message(owner, value)?);
            }
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::String(s) => put_bytes(&mut out, 2, s.as_bytes()),
                        schema => put_bytes(&mut out, 2, &self.message(owner, schema)?),
                    }
                }
            }
            _ => put_varint(&mut out, 0),
        }
        Ok(out)
    }
}
