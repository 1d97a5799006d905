//! The object that stands for "nothing yet" when a built-in kind is created.

use api_schema::{Type, TypeId, Types};
use serde_json::{Map, Value};

/// The tree that an empty object of a built-in kind encodes to: the fields its source marks as always written. Upstream
/// compares a created object with this one, so these fields' own paths belong to nobody. Empty for custom kinds.
pub fn zero(types: &Types, root: TypeId) -> Value {
    Value::Object(zero_fields(types, root, 0))
}

const DEPTH_MAX: usize = 16;

fn zero_fields(types: &Types, id: TypeId, depth: usize) -> Map<String, Value> {
    let mut out = Map::new();
    let Type::Object(set) = types.get(id) else { return out };
    if set.message.is_none() || depth > DEPTH_MAX {
        return out;
    }
    for (name, field) in &set.fields {
        let always_written = field.default.as_ref().is_some_and(is_void);
        let value = match types.get(field.ty) {
            Type::Object(_) if always_written => Value::Object(zero_fields(types, field.ty, depth + 1)),
            Type::Object(_) | Type::Map { .. } | Type::List { .. } if field.required => Value::Null,
            Type::String { .. } if always_written => Value::from(""),
            Type::Int { .. } if always_written => Value::from(0),
            Type::Bool if always_written => Value::from(false),
            _ => continue,
        };
        out.insert(name.clone(), value);
    }
    out
}

/// The default of a field that is written even when nobody set it, as the published schema states it.
fn is_void(default: &Value) -> bool {
    match default {
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::Bool(b) => !b,
        Value::Null | Value::Array(_) => false,
    }
}
