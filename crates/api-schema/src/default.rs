//! Static defaults of the schema.

use serde_json::Value;

use crate::fields::is_zero;
use crate::schema::{Presence, Schema, Type, TypeId, Types};

/// Fills in the schema's defaults, also within what a default brings.
///
/// A null in a field that is not nullable counts as absent, and so does a zero value where upstream's Go type cannot
/// tell it from an absent one.
pub fn apply_defaults(schema: Schema<'_>, value: &mut Value) {
    walk(schema.types, schema.root, value);
}

fn walk(types: &Types, ty: TypeId, value: &mut Value) {
    match (types.get(ty), value) {
        (Type::Object(set), Value::Object(map)) => {
            for (name, field) in set.fields.defaulted() {
                let Some(default) = &field.default else { continue };
                let unset = match map.get(name) {
                    None => true,
                    Some(v) if v.is_null() => !field.nullable,
                    Some(v) => field.presence != Presence::Keep && is_zero(v),
                };
                if unset {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, v) in map.iter_mut() {
                if let Some(below) = set.fields.get(name).map(|field| field.ty).or(set.other) {
                    walk(types, below, v);
                }
            }
        }
        (Type::Map { value, .. }, Value::Object(map)) => {
            map.values_mut().for_each(|v| walk(types, *value, v))
        }
        (Type::List { item, .. }, Value::Array(items)) => {
            items.iter_mut().for_each(|v| walk(types, *item, v))
        }
        _ => {}
    }
}
