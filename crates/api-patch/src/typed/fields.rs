//! The set of paths that a tree sets, and the check that an applied tree fits its schema.

use api_schema::Type;
use serde_json::Value;

use super::shape::{Shape, Ty, Walker};
use crate::fieldset::{FieldSet, PathElement};

/// An applied tree that does not fit the schema; in the words of structured-merge-diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypeFault {
    path: String,
    what: String,
}

impl std::fmt::Display for TypeFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

impl Walker<'_> {
    /// The paths that `value` sets: leaves, list items, and empty or null fields.
    pub(crate) fn field_set(&self, value: &Value) -> FieldSet {
        self.set_below(self.root(), value)
    }

    fn set_below(&self, ty: Ty, value: &Value) -> FieldSet {
        let mut set = FieldSet::new();
        match self.shape(ty, value) {
            Shape::Leaf => {}
            Shape::Map => {
                let known = self.fields(ty);
                for (name, child) in value.as_object().into_iter().flatten() {
                    let named = known.is_some_and(|f| f.fields.contains_key(name));
                    let child_ty = self.field_type(ty, name);
                    let member = !named || self.is_own(child_ty, child);
                    set.put(PathElement::field(name), member, self.set_below(child_ty, child));
                }
            }
            Shape::List(keys, item) => {
                for child in value.as_array().into_iter().flatten() {
                    if let Ok(key) = self.element(keys, item, child) {
                        set.put(key, true, self.set_below(item, child));
                    }
                }
            }
        }
        set
    }

    /// Whether a named field is itself a member: leaves, nulls and empty maps are.
    fn is_own(&self, ty: Ty, value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Object(map) if map.is_empty() => true,
            _ => matches!(self.shape(ty, value), Shape::Leaf),
        }
    }

    /// Checks an applied tree: declared fields, fitting types, unique keys.
    pub(crate) fn check(&self, value: &Value) -> Vec<TypeFault> {
        let mut faults = Vec::new();
        self.check_node(self.root(), value, &mut String::new(), &mut faults);
        faults
    }

    fn check_node(&self, ty: Ty, value: &Value, path: &mut String, faults: &mut Vec<TypeFault>) {
        let Ty::Id(id) = ty else { return };
        if value.is_null() {
            return;
        }
        if let Some(what) = misfit(self.types.get(id), value) {
            faults.push(TypeFault { path: path.clone(), what });
            return;
        }
        match self.types.get(id) {
            Type::Object(_) | Type::Map { .. } => self.check_fields(ty, value, path, faults),
            Type::List { item, .. } => self.check_items(ty, Ty::Id(*item), value, path, faults),
            _ => {}
        }
    }

    fn check_fields(&self, ty: Ty, value: &Value, path: &mut String, faults: &mut Vec<TypeFault>) {
        for (name, child) in value.as_object().into_iter().flatten() {
            let length = path.len();
            path.push('.');
            path.push_str(name);
            let closed = self.fields(ty).is_some_and(|f| {
                !f.fields.contains_key(name) && f.other.is_none() && !f.preserve_unknown && !f.embedded
            });
            if closed {
                faults
                    .push(TypeFault { path: path.clone(), what: "field not declared in schema".to_owned() });
            } else {
                self.check_node(self.field_type(ty, name), child, path, faults);
            }
            path.truncate(length);
        }
    }

    fn check_items(&self, ty: Ty, item: Ty, value: &Value, path: &mut String, faults: &mut Vec<TypeFault>) {
        let mut seen = std::collections::BTreeSet::new();
        for (i, child) in value.as_array().into_iter().flatten().enumerate() {
            let length = path.len();
            let step = match self.shape(ty, value) {
                Shape::List(keys, _) => match self.element(keys, item, child) {
                    Ok(key) => {
                        let text = key.to_string();
                        if !seen.insert(key) {
                            let what = format!("duplicate entries for key {text}");
                            faults.push(TypeFault { path: path.clone(), what });
                        }
                        text
                    }
                    Err(what) => {
                        faults.push(TypeFault { path: path.clone(), what: format!("element {i}: {what}") });
                        continue;
                    }
                },
                _ => format!("[{i}]"),
            };
            path.push_str(&step);
            self.check_node(item, child, path, faults);
            path.truncate(length);
        }
    }
}

/// Why a value does not fit a type, if it does not. Scalars read as upstream reads them: numbers and texts apart.
fn misfit(ty: &Type, value: &Value) -> Option<String> {
    let got = match value {
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
        Value::Null => return None,
    };
    let want = match ty {
        Type::Map { .. } | Type::Object(_) if !value.is_object() => "map",
        Type::List { .. } if !value.is_array() => "list",
        Type::Int { .. } | Type::Number if !value.is_number() => "numeric (int or float)",
        Type::Bool if !value.is_boolean() => "boolean",
        Type::String { .. } | Type::Time | Type::MicroTime | Type::Duration if !value.is_string() => "string",
        Type::IntOrString | Type::Quantity if !(value.is_string() || value.is_number()) => "string or number",
        _ => return None,
    };
    Some(format!("expected {want}, got {got}"))
}
