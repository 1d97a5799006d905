//! What kind of node a value is under its type, and which path element names an item of a list.

use api_schema::{FieldSet as Fields, ListKind, Presence, Type, TypeId, Types};
use serde_json::{Map, Value};

use crate::fieldset::{FieldSet, PathElement, Scalar};

/// A type within a walk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ty {
    /// Of the schema.
    Id(TypeId),
    /// Not in the schema: maps are granular, lists atomic.
    Deduced,
    /// Not in the schema and owned as a whole.
    Atomic,
}

/// How a node is treated.
#[derive(Clone, Copy)]
pub(crate) enum Shape<'a> {
    /// Owned as a whole: scalars, atomic lists and maps, and values that do not fit their type.
    Leaf,
    /// Each field on its own.
    Map,
    /// Each item on its own, by key fields or (no keys) by value.
    List(&'a [String], Ty),
}

/// A schema being walked.
#[derive(Clone, Copy)]
pub(crate) struct Walker<'a> {
    pub(crate) types: &'a Types,
    pub(crate) root: TypeId,
    /// Custom kinds have no protobuf message: what their schema leaves open is granular.
    custom: bool,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(types: &'a Types, root: TypeId) -> Walker<'a> {
        let custom = !matches!(types.get(root), Type::Object(f) if f.message.is_some());
        Walker { types, root, custom }
    }

    pub(crate) fn root(&self) -> Ty {
        Ty::Id(self.root)
    }

    fn open(&self) -> Ty {
        if self.custom { Ty::Deduced } else { Ty::Atomic }
    }

    /// The fields of a struct-like type.
    pub(crate) fn fields(&self, ty: Ty) -> Option<&'a Fields> {
        match ty {
            Ty::Id(id) => match self.types.get(id) {
                Type::Object(fields) => Some(fields),
                _ => None,
            },
            Ty::Deduced | Ty::Atomic => None,
        }
    }

    /// How `value` is treated under `ty`.
    pub(crate) fn shape(&self, ty: Ty, value: &Value) -> Shape<'a> {
        let id = match ty {
            Ty::Atomic => return Shape::Leaf,
            Ty::Deduced => return deduced(value),
            Ty::Id(id) => id,
        };
        match self.types.get(id) {
            Type::Any if self.custom => deduced(value),
            Type::Map { atomic: false, .. } if is_map(value) => Shape::Map,
            Type::Object(f) if !f.atomic && is_map(value) => Shape::Map,
            Type::List { item, kind } if value.is_array() || value.is_null() => match kind {
                ListKind::Atomic => Shape::Leaf,
                ListKind::Set => Shape::List(&[], Ty::Id(*item)),
                ListKind::Map(keys) => Shape::List(keys, Ty::Id(*item)),
            },
            _ => Shape::Leaf,
        }
    }

    /// The type of a field or map entry.
    pub(crate) fn field_type(&self, ty: Ty, name: &str) -> Ty {
        let Ty::Id(id) = ty else { return ty };
        match self.types.get(id) {
            Type::Map { value, .. } => Ty::Id(*value),
            Type::Object(f) => match (f.fields.get(name), f.other) {
                (Some(field), _) => Ty::Id(field.ty),
                (None, Some(other)) => Ty::Id(other),
                (None, None) => Ty::Deduced,
            },
            _ => self.open(),
        }
    }

    fn item_type(&self, ty: Ty) -> Ty {
        match ty {
            Ty::Id(id) => match self.types.get(id) {
                Type::List { item, .. } => Ty::Id(*item),
                _ => self.open(),
            },
            other => other,
        }
    }

    /// The path element of a list item; the reason when it has none.
    pub(crate) fn element(&self, keys: &[String], item: Ty, value: &Value) -> Result<PathElement, String> {
        if keys.is_empty() {
            return match value {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".to_owned())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".to_owned())
                }
                scalar => Ok(PathElement::Value(Scalar::of(scalar))),
            };
        }
        let map = match value {
            Value::Object(map) => map,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let mut fields = Vec::with_capacity(keys.len());
        for key in keys {
            let scalar = match map.get(key) {
                Some(v) => Scalar::of(v),
                None => self.key_default(item, key).ok_or_else(|| {
                    format!(
                        "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                    )
                })?,
            };
            fields.push((key.as_str().into(), scalar));
        }
        Ok(PathElement::key(fields))
    }

    /// What a key field counts as when it is left out: its default, or its zero value unless it is a pointer upstream.
    fn key_default(&self, item: Ty, key: &str) -> Option<Scalar> {
        let field = self.fields(item)?.fields.get(key)?;
        if let Some(default) = &field.default {
            return Some(Scalar::of(default));
        }
        let valued = matches!(field.presence, Presence::Always | Presence::Drop);
        valued.then(|| Scalar::of(&api_schema::zero(self.types, field.ty)))
    }

    /// The object that stands for "nothing yet" when one is created: what an empty object of a built-in kind is written
    /// as. Upstream compares a created object with this one, so the nodes that are always there belong to nobody.
    pub(crate) fn zero(&self) -> Value {
        if self.custom { Value::Object(Map::new()) } else { api_schema::zero(self.types, self.root) }
    }

    /// The set with every named field of a struct above a member made a member too; map keys and list items stay.
    pub(crate) fn widen(&self, set: &FieldSet) -> FieldSet {
        let named = |ty: Ty, e: &PathElement| match e {
            PathElement::Field(name) => self.fields(ty).is_some_and(|f| f.fields.contains_key(name)),
            _ => false,
        };
        let next = |ty: Ty, e: &PathElement| match e {
            PathElement::Field(name) => self.field_type(ty, name),
            _ => self.item_type(ty),
        };
        set.widen(self.root(), &named, &next)
    }
}

fn is_map(value: &Value) -> bool {
    value.is_object() || value.is_null()
}

fn deduced(value: &Value) -> Shape<'static> {
    if is_map(value) { Shape::Map } else { Shape::Leaf }
}
