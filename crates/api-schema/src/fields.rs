//! What decoding into upstream's typed structs does to a tree: unknown fields, wrong types, nulls, zeros, text forms.

use serde_json::{Map, Value};

use crate::path::{Path, Step, below};
use crate::scalar::{
    canonical_base64, canonical_micro_time, canonical_quantity, canonical_time, whole_number,
};
use crate::schema::{Field, FieldSet, Presence, Schema, Type, TypeId, Types};

/// A value that does not fit its type; the text is what Go's decoder would say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(pub String);

/// What to do about fields that the schema does not know. They are dropped in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Name them, for an error or a warning.
    Name,
    /// Say nothing.
    Ignore,
}

/// Brings a tree of a built-in kind into the form upstream would hold it in, and names the fields it does not know.
///
/// Unknown fields and nulls are dropped; times, quantities and octets take their stored form; zero values are dropped
/// or filled in as the Go types would write them. The names are paths such as `spec.containers[0].imagee`.
pub fn check_fields(
    schema: Schema<'_>,
    value: &mut Value,
    unknown: Unknown,
) -> Result<Vec<String>, TypeError> {
    let mut walk = Walk { types: schema.types, unknown, named: Vec::new() };
    walk.value(schema.root, value, None, "")?;
    Ok(walk.named)
}

/// Fills in what the Go types write even when it is empty, and drops empty values they omit; for trees that changed
/// after [`check_fields`].
pub fn complete(schema: Schema<'_>, value: &mut Value) {
    complete_type(schema.types, schema.root, value);
}

/// The same where only these fields of the root have changed since the tree was complete.
pub fn complete_parts(schema: Schema<'_>, value: &mut Value, parts: &[&str]) {
    let (Type::Object(set), Value::Object(map)) = (schema.types.get(schema.root), value) else { return };
    for part in parts {
        let (Some(field), Some(v)) = (set.fields.get(part), map.get_mut(*part)) else { continue };
        complete_type(schema.types, field.ty, v);
        if !stays(schema.types, field, v) {
            map.remove(*part);
        }
    }
    fill(schema.types, set, map);
}

struct Walk<'t> {
    types: &'t Types,
    unknown: Unknown,
    named: Vec<String>,
}

impl Walk<'_> {
    fn value(
        &mut self,
        ty: TypeId,
        v: &mut Value,
        path: Option<&Path<'_>>,
        owner: &str,
    ) -> Result<(), TypeError> {
        let t = self.types.get(ty);
        match (t, &mut *v) {
            (Type::Any | Type::FieldsV1, _) => {}
            (Type::Object(set), Value::Object(map)) => self.object(set, map, path)?,
            (Type::Map { value, .. }, Value::Object(map)) => {
                for (key, item) in map.iter_mut() {
                    self.item(*value, item, &below(path, Step::Key(key)), owner)?;
                }
            }
            (Type::List { item: ty, .. }, Value::Array(items)) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.item(*ty, item, &below(path, Step::Index(i)), owner)?;
                }
            }
            _ => scalar(t, v).map_err(|e| e.text(self.types, ty, v, path, owner))?,
        }
        Ok(())
    }

    /// A list item or map value: null stands for the zero of its type.
    fn item(&mut self, ty: TypeId, v: &mut Value, path: &Path<'_>, owner: &str) -> Result<(), TypeError> {
        if v.is_null() {
            *v = zero(self.types, ty);
            return Ok(());
        }
        self.value(ty, v, Some(path), owner)
    }

    fn object(
        &mut self,
        set: &FieldSet,
        map: &mut Map<String, Value>,
        path: Option<&Path<'_>>,
    ) -> Result<(), TypeError> {
        let owner = set.message.as_deref().unwrap_or_default();
        // Nearly always all fields stay: cheaper found out beforehand than by taking the map apart.
        let mut gone = Vec::new();
        for (name, v) in map.iter_mut() {
            let here = below(path, Step::Field(name));
            let remains = match set.fields.get(name) {
                None => self.extra(set, v, &here)?,
                Some(field) if v.is_null() => field.nullable,
                Some(field) => {
                    self.value(field.ty, v, Some(&here), owner)?;
                    stays(self.types, field, v)
                }
            };
            if !remains {
                gone.push(name.clone());
            }
        }
        gone.iter().for_each(|name| drop(map.remove(name)));
        fill(self.types, set, map);
        Ok(())
    }

    /// A field that is not listed; true when it stays.
    fn extra(&mut self, set: &FieldSet, v: &mut Value, path: &Path<'_>) -> Result<bool, TypeError> {
        if let Some(other) = set.other {
            self.value(other, v, Some(path), "")?;
            return Ok(true);
        }
        if !set.preserve_unknown && self.unknown == Unknown::Name {
            self.named.push(path.to_string());
        }
        Ok(set.preserve_unknown)
    }
}

/// Why a scalar does not fit.
enum Misfit {
    /// Another kind of JSON value than the type's.
    Kind,
    /// A number that the type cannot hold.
    Number,
    /// A text that is not of the form.
    Form(String),
}

impl Misfit {
    fn text(self, types: &Types, ty: TypeId, v: &Value, path: Option<&Path<'_>>, owner: &str) -> TypeError {
        let found = match (&self, v) {
            (Misfit::Form(text), _) => return TypeError(text.clone()),
            (Misfit::Number, v) => format!("number {v}"),
            (_, Value::Null) => "null".to_owned(),
            (_, Value::Bool(_)) => "bool".to_owned(),
            (_, Value::Number(_)) => "number".to_owned(),
            (_, Value::String(_)) => "string".to_owned(),
            (_, Value::Array(_)) => "array".to_owned(),
            (_, Value::Object(_)) => "object".to_owned(),
        };
        let wanted = go_type(types, ty);
        let owner = owner.rsplit('.').next().unwrap_or_default();
        TypeError(match path {
            Some(path) => {
                format!(
                    "json: cannot unmarshal {found} into Go struct field {owner}.{} of type {wanted}",
                    path.fields()
                )
            }
            None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
        })
    }
}

/// Checks a scalar and brings it into its stored form.
fn scalar(t: &Type, v: &mut Value) -> Result<(), Misfit> {
    let form = |r: Result<String, String>| r.map(Value::String).map_err(Misfit::Form);
    match (t, &*v) {
        (Type::String { format }, Value::String(s)) if format == "byte" => *v = form(canonical_base64(s))?,
        (Type::String { .. } | Type::Duration | Type::IntOrString, Value::String(_))
        | (Type::Bool, Value::Bool(_)) => {}
        (Type::Number, Value::Number(_)) => whole_number(v),
        (Type::Int { bits }, Value::Number(n)) => {
            let fits = n.as_i64().is_some_and(|n| *bits != 32 || i32::try_from(n).is_ok());
            return if fits { Ok(()) } else { Err(Misfit::Number) };
        }
        (Type::IntOrString, Value::Number(n)) => {
            let fits = n.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
            return if fits { Ok(()) } else { Err(Misfit::Number) };
        }
        (Type::Quantity, Value::String(s)) => *v = quantity(s)?,
        (Type::Quantity, other) => *v = quantity(&other.to_string())?,
        (Type::Time, Value::String(s)) => *v = form(canonical_time(s))?,
        (Type::MicroTime, Value::String(s)) => *v = form(canonical_micro_time(s))?,
        _ => return Err(Misfit::Kind),
    }
    Ok(())
}

fn quantity(text: &str) -> Result<Value, Misfit> {
    const FORM: &str =
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    canonical_quantity(text.trim()).map(Value::String).ok_or_else(|| Misfit::Form(FORM.to_owned()))
}

/// Name of the Go type, as error messages show it.
fn go_type(types: &Types, ty: TypeId) -> String {
    match types.get(ty) {
        Type::Any | Type::FieldsV1 => "interface {}".to_owned(),
        Type::String { format } if format == "byte" => "[]uint8".to_owned(),
        Type::String { .. } | Type::Duration | Type::Quantity | Type::Time | Type::MicroTime => {
            "string".to_owned()
        }
        Type::Int { bits: 32 } | Type::IntOrString => "int32".to_owned(),
        Type::Int { .. } => "int64".to_owned(),
        Type::Number => "float64".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Map { value, .. } => format!("map[string]{}", go_type(types, *value)),
        Type::List { item, .. } => format!("[]{}", go_type(types, *item)),
        Type::Object(set) => {
            let mut words = set.message.as_deref().unwrap_or("object").rsplit('.');
            let name = words.next().unwrap_or_default();
            words.next().map_or_else(|| name.to_owned(), |package| format!("{package}.{name}"))
        }
    }
}

/// Whether Go's `omitempty` would leave the value out.
pub(crate) fn is_zero(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// What an unset Go value of the type is written as.
pub fn zero(types: &Types, ty: TypeId) -> Value {
    match types.get(ty) {
        Type::String { format } if format == "byte" => Value::Null,
        Type::String { .. } | Type::Duration => Value::String(String::new()),
        Type::Int { .. } | Type::Number | Type::IntOrString => Value::from(0),
        Type::Bool => Value::Bool(false),
        Type::Quantity => Value::String("0".to_owned()),
        Type::Any | Type::Time | Type::MicroTime | Type::FieldsV1 | Type::Map { .. } | Type::List { .. } => {
            Value::Null
        }
        Type::Object(set) => {
            let mut map = Map::new();
            fill(types, set, &mut map);
            Value::Object(map)
        }
    }
}

/// Whether a field is written at all. An empty list or map that is always written becomes null, as it does on its way
/// through upstream's storage.
fn stays(types: &Types, field: &Field, v: &mut Value) -> bool {
    if field.presence == Presence::Always
        && is_zero(v)
        && matches!(types.get(field.ty), Type::List { .. } | Type::Map { .. })
    {
        *v = Value::Null;
    }
    field.presence != Presence::Drop || !is_zero(v)
}

/// Adds the fields that are written even when unset.
fn fill(types: &Types, set: &FieldSet, map: &mut Map<String, Value>) {
    for (name, field) in set.fields.filled() {
        if !map.contains_key(name) {
            let always = field.presence == Presence::Always;
            map.insert(name.clone(), if always { zero(types, field.ty) } else { Value::Null });
        }
    }
}

fn complete_type(types: &Types, ty: TypeId, v: &mut Value) {
    match (types.get(ty), v) {
        (Type::Object(set), Value::Object(map)) => {
            let mut gone = Vec::new();
            for (name, v) in map.iter_mut() {
                let Some(field) = set.fields.get(name) else { continue };
                complete_type(types, field.ty, v);
                if !stays(types, field, v) {
                    gone.push(name.clone());
                }
            }
            gone.iter().for_each(|name| drop(map.remove(name)));
            fill(types, set, map);
        }
        (Type::Map { value, .. }, Value::Object(map)) => {
            map.values_mut().for_each(|v| complete_type(types, *value, v))
        }
        (Type::List { item, .. }, Value::Array(items)) => {
            items.iter_mut().for_each(|v| complete_type(types, *item, v))
        }
        _ => {}
    }
}
