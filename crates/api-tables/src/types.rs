//! Types in the compact form.

use api_schema::{Field, FieldSet, Fields, ListKind, Presence, Proto, Type, TypeId, Types, Wire};

use crate::codec::{CodecError, Reader, Writer};

const PRESENCES: [Presence; 4] = [Presence::Keep, Presence::Drop, Presence::Always, Presence::Null];
const WIRES: [Wire; 9] = [
    Wire::String,
    Wire::Bytes,
    Wire::Int32,
    Wire::Int64,
    Wire::Bool,
    Wire::Double,
    Wire::Message,
    Wire::Strings,
    Wire::SchemaUnion,
];

pub(crate) fn write(w: &mut Writer, types: &Types) {
    w.count(types.types.len());
    types.types.iter().for_each(|t| write_type(w, t));
}

pub(crate) fn read(r: &mut Reader<'_>) -> Result<Types, CodecError> {
    Ok(Types { types: r.list(read_type)? })
}

fn write_type(w: &mut Writer, t: &Type) {
    match t {
        Type::Any => w.byte(0),
        Type::String { format } => {
            w.byte(1);
            w.text(format);
        }
        Type::Int { bits } => {
            w.byte(2);
            w.byte(*bits);
        }
        Type::Number => w.byte(3),
        Type::Bool => w.byte(4),
        Type::IntOrString => w.byte(5),
        Type::Quantity => w.byte(6),
        Type::Time => w.byte(7),
        Type::MicroTime => w.byte(8),
        Type::Duration => w.byte(9),
        Type::FieldsV1 => w.byte(10),
        Type::Map { value, atomic } => {
            w.byte(11);
            w.number(value.0);
            w.flag(*atomic);
        }
        Type::List { item, kind } => {
            w.byte(12);
            w.number(item.0);
            write_list_kind(w, kind);
        }
        Type::Object(set) => {
            w.byte(13);
            write_fields(w, set);
        }
    }
}

fn read_type(r: &mut Reader<'_>) -> Result<Type, CodecError> {
    Ok(match r.byte()? {
        0 => Type::Any,
        1 => Type::String { format: r.text()? },
        2 => Type::Int { bits: r.byte()? },
        3 => Type::Number,
        4 => Type::Bool,
        5 => Type::IntOrString,
        6 => Type::Quantity,
        7 => Type::Time,
        8 => Type::MicroTime,
        9 => Type::Duration,
        10 => Type::FieldsV1,
        11 => Type::Map { value: TypeId(r.number()?), atomic: r.flag()? },
        12 => Type::List { item: TypeId(r.number()?), kind: read_list_kind(r)? },
        13 => Type::Object(read_fields(r)?),
        _ => return Err(CodecError::Bad("type")),
    })
}

fn write_list_kind(w: &mut Writer, kind: &ListKind) {
    match kind {
        ListKind::Atomic => w.byte(0),
        ListKind::Set => w.byte(1),
        ListKind::Map(keys) => {
            w.byte(2);
            w.texts(keys);
        }
    }
}

fn read_list_kind(r: &mut Reader<'_>) -> Result<ListKind, CodecError> {
    Ok(match r.byte()? {
        0 => ListKind::Atomic,
        1 => ListKind::Set,
        2 => ListKind::Map(r.texts()?),
        _ => return Err(CodecError::Bad("list kind")),
    })
}

fn write_fields(w: &mut Writer, set: &FieldSet) {
    w.flag(set.atomic);
    w.flag(set.preserve_unknown);
    w.flag(set.embedded);
    w.number(set.other.map_or(0, |id| id.0 + 1));
    w.text(set.message.as_deref().unwrap_or_default());
    w.count(set.fields.len());
    for (name, field) in set.fields.iter() {
        w.text(name);
        write_field(w, field);
    }
}

fn read_fields(r: &mut Reader<'_>) -> Result<FieldSet, CodecError> {
    let (atomic, preserve_unknown, embedded) = (r.flag()?, r.flag()?, r.flag()?);
    let other = r.number()?.checked_sub(1).map(TypeId);
    let message = Some(r.text()?).filter(|m| !m.is_empty());
    let fields: Fields = r.list(|r| Ok((r.text()?, read_field(r)?)))?.into_iter().collect();
    Ok(FieldSet { fields, other, preserve_unknown, atomic, message, embedded })
}

/// A field's rare parts are announced by the bits of one byte.
fn write_field(w: &mut Writer, f: &Field) {
    w.number(f.ty.0);
    let presence = PRESENCES.iter().position(|p| *p == f.presence).expect("the list is complete") as u8;
    let bits = u8::from(f.required)
        | u8::from(f.nullable) << 1
        | u8::from(f.default.is_some()) << 2
        | u8::from(!f.patch_strategy.is_empty()) << 3
        | u8::from(f.proto.is_some()) << 4
        | u8::from(f.checks.is_some()) << 5
        | presence << 6;
    w.byte(bits);
    if let Some(v) = &f.default {
        w.text(&v.to_string());
    }
    if !f.patch_strategy.is_empty() {
        w.text(&f.patch_strategy);
        w.text(&f.patch_merge_key);
    }
    if let Some(p) = &f.proto {
        write_proto(w, p);
    }
    if let Some(v) = &f.checks {
        w.text(&v.to_string());
    }
}

fn read_field(r: &mut Reader<'_>) -> Result<Field, CodecError> {
    let mut f = Field::new(TypeId(r.number()?));
    let bits = r.byte()?;
    f.required = bits & 1 != 0;
    f.nullable = bits & 2 != 0;
    f.presence = PRESENCES[usize::from(bits >> 6)];
    if bits & 4 != 0 {
        f.default = Some(json(r)?);
    }
    if bits & 8 != 0 {
        f.patch_strategy = r.text()?;
        f.patch_merge_key = r.text()?;
    }
    if bits & 16 != 0 {
        f.proto = Some(read_proto(r)?);
    }
    if bits & 32 != 0 {
        f.checks = Some(json(r)?);
    }
    Ok(f)
}

fn json(r: &mut Reader<'_>) -> Result<serde_json::Value, CodecError> {
    serde_json::from_str(&r.text()?).map_err(|_| CodecError::Bad("value"))
}

fn write_proto(w: &mut Writer, p: &Proto) {
    w.number(p.tag);
    let wire = WIRES.iter().position(|x| *x == p.wire).expect("the list is complete") as u8;
    w.byte(wire | u8::from(p.repeated) << 4 | u8::from(p.map) << 5);
    w.count(p.within.len());
    p.within.iter().for_each(|t| w.number(*t));
}

fn read_proto(r: &mut Reader<'_>) -> Result<Proto, CodecError> {
    let tag = r.number()?;
    let bits = r.byte()?;
    let wire = *WIRES.get(usize::from(bits & 15)).ok_or(CodecError::Bad("wire"))?;
    let within = r.list(Reader::number)?;
    Ok(Proto { tag, within, wire, repeated: bits & 16 != 0, map: bits & 32 != 0 })
}
