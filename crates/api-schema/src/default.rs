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
            for (name, field) in &set.fields {
                let current = map.get_mut(name);
                let unset = match &current {
                    None => true,
                    Some(v) if v.is_null() => !field.nullable,
                    Some(v) => field.presence != Presence::Keep && is_zero(v),
                };
                match (&field.default, current, unset) {
                    (Some(default), _, true) => {
                        let mut filled = default.clone();
                        walk(types, field.ty, &mut filled);
                        map.insert(name.clone(), filled);
                    }
                    (_, Some(v), _) => walk(types, field.ty, v),
                    _ => {}
                }
            }
            if let Some(other) = set.other {
                let listed = |name: &String| set.fields.contains_key(name);
                map.iter_mut().filter(|(n, _)| !listed(n)).for_each(|(_, v)| walk(types, other, v));
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
