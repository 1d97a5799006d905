//! Pruning of custom kinds: what the schema does not specify goes, and so do nulls that may not be.

use serde_json::{Map, Value};

use crate::path::{Path, Step, below};
use crate::scalar::whole_number;
use crate::schema::{FieldSet, Schema, Type, TypeId, Types};

/// Fields that every embedded object has.
const EMBEDDED: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops unspecified fields of a custom object, and nulls where they are not allowed; gives the paths of the former.
/// Whole numbers lose their point (`2.0` is stored as `2`).
///
/// `apiVersion`, `kind` and `metadata` of the root stay; within `metadata` the same rules hold if its shape is known.
pub fn prune(schema: Schema<'_>, value: &mut Value) -> Vec<String> {
    let mut walk = Walk { types: schema.types, dropped: Vec::new() };
    numbers(value);
    if let (Type::Object(set), Value::Object(map)) = (schema.types.get(schema.root), value) {
        walk.object(set, map, None, true);
    }
    walk.dropped
}

fn numbers(v: &mut Value) {
    match v {
        Value::Array(items) => items.iter_mut().for_each(numbers),
        Value::Object(map) => map.values_mut().for_each(numbers),
        other => whole_number(other),
    }
}

struct Walk<'t> {
    types: &'t Types,
    dropped: Vec<String>,
}

impl Walk<'_> {
    fn value(&mut self, ty: TypeId, v: &mut Value, path: &Path<'_>) {
        match (self.types.get(ty), v) {
            (Type::Object(set), Value::Object(map)) => self.object(set, map, Some(path), set.embedded),
            (Type::Map { value, .. }, Value::Object(map)) => {
                for (key, v) in map.iter_mut() {
                    self.value(*value, v, &below(Some(path), Step::Key(key)));
                }
            }
            (Type::List { item, .. }, Value::Array(items)) => {
                for (i, v) in items.iter_mut().enumerate() {
                    self.value(*item, v, &below(Some(path), Step::Index(i)));
                }
            }
            // The wrong kind of value, which validation will refuse; nothing inside of it is specified.
            (Type::Any | Type::FieldsV1, _) => {}
            (_, Value::Object(map)) => {
                let names: Vec<String> =
                    map.keys().map(|k| below(Some(path), Step::Field(k)).to_string()).collect();
                map.clear();
                self.dropped.extend(names);
            }
            _ => {}
        }
    }

    fn object(
        &mut self,
        set: &FieldSet,
        map: &mut Map<String, Value>,
        path: Option<&Path<'_>>,
        is_whole: bool,
    ) {
        map.retain(|name, v| {
            let here = below(path, Step::Field(name));
            if is_whole && EMBEDDED.contains(&name.as_str()) {
                // Of these only metadata has a shape, where the caller gave one.
                if let (Some(field), true) = (set.fields.get(name), v.is_object()) {
                    self.value(field.ty, v, &here);
                }
                return true;
            }
            match (set.fields.get(name), set.other) {
                (Some(field), _) if v.is_null() => {
                    field.nullable || field.default.is_some() || set.preserve_unknown
                }
                (Some(field), _) => {
                    self.value(field.ty, v, &here);
                    true
                }
                (None, Some(other)) => {
                    self.value(other, v, &here);
                    true
                }
                (None, None) => {
                    if !set.preserve_unknown {
                        self.dropped.push(here.to_string());
                    }
                    set.preserve_unknown
                }
            }
        });
    }
}
