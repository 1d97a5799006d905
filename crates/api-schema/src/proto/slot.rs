//! One JSON value -> the field that carries it, whatever its form on the wire.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use stdx::Time;

use super::encode::Fields;
use super::wire::{put_bytes, put_double, put_nested, put_number};
use crate::scalar::parse_go_duration;
use crate::schema::{Field, Proto, Type, TypeId, Types, Wire};

/// Why a value cannot become a field.
const MISFIT: &str = "value does not fit its type";

/// How often a field occurs on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    One,
    /// A list: once for each item.
    Many,
    /// A map: once for each entry.
    Entries,
}

/// What a value must be, and which field carries it.
#[derive(Clone, Copy)]
pub(super) struct Shape<'t> {
    types: &'t Types,
    /// Type of the object that has the field; the untagged unions of JSON schemas refer to it.
    owner: TypeId,
    name: &'t str,
    ty: TypeId,
    wire: Wire,
    tag: u32,
    count: Count,
    /// Among items and entries a null is a value; elsewhere it is as good as absent.
    is_item: bool,
}

impl<'t> Shape<'t> {
    pub(super) fn of(
        types: &'t Types,
        owner: TypeId,
        name: &'t str,
        field: &'t Field,
        proto: &'t Proto,
    ) -> Shape<'t> {
        let (ty, count) = match types.get(field.ty) {
            Type::Map { value, .. } if proto.map => (*value, Count::Entries),
            Type::List { item, .. } if proto.repeated => (*item, Count::Many),
            _ => (field.ty, Count::One),
        };
        Shape { types, owner, name, ty, wire: proto.wire, tag: proto.tag, count, is_item: false }
    }

    /// One item of the list, or the value of one entry of the map.
    fn item(self, tag: u32) -> Shape<'t> {
        Shape { count: Count::One, is_item: true, tag, ..self }
    }

    /// A schema within a union, which is of the same type as the schema around it.
    fn schema(self, tag: u32) -> Shape<'t> {
        Shape { ty: self.owner, wire: Wire::Message, ..self.item(tag) }
    }

    /// Whether it holds JSON that protobuf carries as text.
    fn is_opaque(self) -> bool {
        let is_any = matches!(self.types.get(self.ty), Type::Any | Type::FieldsV1);
        self.count == Count::One && self.wire == Wire::Message && is_any
    }

    /// Whether the union is one of a schema and a truth value, as opposed to a schema and a list.
    fn is_schema_or_bool(self) -> bool {
        matches!(self.name, "additionalProperties" | "additionalItems")
    }
}

/// A shape with the buffer that its value goes to.
pub(super) struct Slot<'t, 'o> {
    pub(super) shape: Shape<'t>,
    pub(super) out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Slot<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        if !self.shape.is_opaque() {
            return d.deserialize_any(self);
        }
        let text = <&RawValue>::deserialize(d)?.get();
        if text == "null" && !self.shape.is_item {
            return Ok(());
        }
        put_nested(self.out, self.shape.tag, |out| {
            put_bytes(out, 1, text.as_bytes());
            Ok(())
        })
    }
}

impl<'de> Visitor<'de> for Slot<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of field {}", self.shape.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let is_moment = matches!(self.shape.types.get(self.shape.ty), Type::Time | Type::MicroTime);
        match self.shape.is_item {
            false => Ok(()),
            true if is_moment => put_nested(self.out, self.shape.tag, |_| Ok(())),
            true => Err(E::custom(MISFIT)),
        }
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<(), E> {
        match self.shape.wire {
            Wire::Bool => put_number(self.out, self.shape.tag, i64::from(on)),
            Wire::SchemaUnion => put_nested(self.out, self.shape.tag, |out| {
                put_number(out, 1, i64::from(on));
                Ok(())
            })?,
            _ => return Err(E::custom(MISFIT)),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<(), E> {
        let Shape { types, ty, wire, tag, .. } = self.shape;
        match (wire, types.get(ty)) {
            (Wire::Int32 | Wire::Int64, _) => put_number(self.out, tag, n),
            (Wire::Double, _) => put_double(self.out, tag, n as f64),
            (Wire::Message, Type::IntOrString) => put_nested(self.out, tag, |out| {
                put_number(out, 1, 0);
                put_number(out, 2, n);
                Ok(())
            })?,
            (Wire::Message, Type::Quantity) => quantity(self.out, tag, &n.to_string())?,
            _ => return Err(E::custom(MISFIT)),
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<(), E> {
        match i64::try_from(n) {
            Ok(n) => self.visit_i64(n),
            Err(_) => self.visit_f64(n as f64),
        }
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<(), E> {
        let Shape { types, ty, wire, tag, .. } = self.shape;
        match (wire, types.get(ty)) {
            (Wire::Double, _) => put_double(self.out, tag, n),
            (Wire::Message, Type::Quantity) => quantity(self.out, tag, &n.to_string())?,
            _ => return Err(E::custom(MISFIT)),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.shape.wire {
            Wire::String => put_bytes(self.out, self.shape.tag, text.as_bytes()),
            Wire::Bytes => {
                let octets = STANDARD.decode(text).map_err(|_| E::custom(MISFIT))?;
                put_bytes(self.out, self.shape.tag, &octets);
            }
            Wire::Message => self.message_of(text)?,
            _ => return Err(E::custom(MISFIT)),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Slot { shape, out } = self;
        match (shape.count, shape.wire) {
            (Count::Many, _) => {
                let shape = shape.item(shape.tag);
                while items.next_element_seed(Slot { shape, out: &mut *out })?.is_some() {}
                Ok(())
            }
            (Count::One, Wire::Strings) => put_nested(out, shape.tag, |out| {
                let shape = Shape { wire: Wire::String, ..shape.item(1) };
                while items.next_element_seed(Slot { shape, out: &mut *out })?.is_some() {}
                Ok(())
            }),
            (Count::One, Wire::SchemaUnion) => put_nested(out, shape.tag, |out| {
                // What follows is a list of names for dependencies, and a list of schemas for items.
                let is_names = shape.name == "dependencies";
                let names = Shape { wire: Wire::String, ..shape.item(2) };
                let shape = if is_names { names } else { shape.schema(2) };
                while items.next_element_seed(Slot { shape, out: &mut *out })?.is_some() {}
                Ok(())
            }),
            _ => Err(A::Error::custom(MISFIT)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Slot { shape, out } = self;
        match (shape.count, shape.wire) {
            (Count::Entries, _) => entries(shape, map, out),
            (Count::One, Wire::Message) => message(shape, map, out),
            (Count::One, Wire::SchemaUnion) => put_nested(out, shape.tag, |out| {
                if !shape.is_schema_or_bool() {
                    return message(shape.schema(1), map, out);
                }
                put_number(out, 1, 1);
                message(shape.schema(2), map, out)
            }),
            _ => Err(A::Error::custom(MISFIT)),
        }
    }
}

impl Slot<'_, '_> {
    /// A message that JSON shows as text.
    fn message_of<E: Error>(self, text: &str) -> Result<(), E> {
        let Slot { shape: Shape { types, ty, tag, .. }, out } = self;
        let misfit = || E::custom(MISFIT);
        match types.get(ty) {
            Type::Quantity => quantity(out, tag, text),
            Type::Time => moment(out, tag, text.parse().map_err(|_| misfit())?, false),
            Type::MicroTime => moment(out, tag, text.parse().map_err(|_| misfit())?, true),
            Type::IntOrString => put_nested(out, tag, |out| {
                put_number(out, 1, 1);
                put_bytes(out, 3, text.as_bytes());
                Ok(())
            }),
            Type::Duration => {
                let nanos = parse_go_duration(text).ok_or_else(misfit)?;
                put_nested(out, tag, |out| {
                    put_number(out, 1, nanos);
                    Ok(())
                })
            }
            _ => Err(misfit()),
        }
    }
}

fn message<'de, A: MapAccess<'de>>(shape: Shape<'_>, map: A, out: &mut Vec<u8>) -> Result<(), A::Error> {
    let Shape { types, ty, tag, .. } = shape;
    let Type::Object(set) = types.get(ty) else { return Err(A::Error::custom(MISFIT)) };
    put_nested(out, tag, |out| Fields { types, ty, set, out }.visit_map(map))
}

fn entries<'de, A: MapAccess<'de>>(shape: Shape<'_>, mut map: A, out: &mut Vec<u8>) -> Result<(), A::Error> {
    while let Some(key) = map.next_key::<Cow<'_, str>>()? {
        put_nested(out, shape.tag, |out| {
            put_bytes(out, 1, key.as_bytes());
            map.next_value_seed(Slot { shape: shape.item(2), out })
        })?;
    }
    Ok(())
}

fn quantity<E>(out: &mut Vec<u8>, tag: u32, text: &str) -> Result<(), E> {
    put_nested(out, tag, |out| {
        put_bytes(out, 1, text.as_bytes());
        Ok(())
    })
}

fn moment<E>(out: &mut Vec<u8>, tag: u32, time: Time, has_fraction: bool) -> Result<(), E> {
    let nanos = if has_fraction { time.micros().rem_euclid(1_000_000) * 1000 } else { 0 };
    put_nested(out, tag, |out| {
        put_number(out, 1, time.secs());
        put_number(out, 2, nanos);
        Ok(())
    })
}
