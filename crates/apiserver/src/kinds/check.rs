//! Findings about objects, in the words of upstream's `field` package, and short ways to look into a tree.

use std::fmt::{self, Write as _};

use api_meta::Cause;
use serde_json::{Map, Value};

/// Where in an object a check stands; written out only when there is something to say.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// A path written by hand, such as `spec.template`; empty for the object itself.
    Root(&'a str),
    /// A field below another path.
    Field(&'a Path<'a>, &'a str),
    /// An item of a list.
    Index(&'a Path<'a>, usize),
    /// A key of a map.
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    pub(super) fn field(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }

    pub(super) fn index(&'a self, i: usize) -> Path<'a> {
        Path::Index(self, i)
    }

    pub(super) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root(text) => f.write_str(text),
            Path::Field(Path::Root(""), name) => f.write_str(name),
            Path::Field(above, name) => write!(f, "{above}.{name}"),
            Path::Index(above, i) => write!(f, "{above}[{i}]"),
            Path::Key(above, key) => write!(f, "{above}[{key}]"),
        }
    }
}

/// Collects findings.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) causes: Vec<Cause>,
}

/// Findings of one object are not more than this.
const FOUND_MAX: usize = 512;

impl Findings {
    pub(super) fn add(&mut self, path: &Path<'_>, reason: &str, message: String) {
        if self.causes.len() < FOUND_MAX {
            self.causes.push(Cause { reason: reason.to_owned(), message, field: path.to_string() });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }

    pub(super) fn required(&mut self, path: &Path<'_>, why: &str) {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        self.add(path, "FieldValueRequired", message);
    }

    /// `value` is shown as JSON.
    pub(super) fn invalid(&mut self, path: &Path<'_>, value: impl Into<Value>, why: &str) {
        let value = value.into();
        self.add(path, "FieldValueInvalid", format!("Invalid value: {value}: {why}"));
    }

    pub(super) fn forbidden(&mut self, path: &Path<'_>, why: &str) {
        self.add(path, "FieldValueForbidden", format!("Forbidden: {why}"));
    }

    pub(super) fn duplicate(&mut self, path: &Path<'_>, value: impl Into<Value>) {
        let value = value.into();
        self.add(path, "FieldValueDuplicate", format!("Duplicate value: {value}"));
    }

    pub(super) fn not_found(&mut self, path: &Path<'_>, value: &str) {
        self.add(path, "FieldValueNotFound", format!("Not found: {value:?}"));
    }

    pub(super) fn not_supported(&mut self, path: &Path<'_>, value: impl Into<Value>, supported: &[&str]) {
        let mut message = format!("Unsupported value: {}: supported values: ", value.into());
        for (i, one) in supported.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let _ = write!(message, "{comma}{one:?}");
        }
        self.add(path, "FieldValueNotSupported", message);
    }

    pub(super) fn too_long(&mut self, path: &Path<'_>, max: usize) {
        self.add(path, "FieldValueTooLong", format!("Too long: may not be more than {max} bytes"));
    }

    pub(super) fn too_many(&mut self, path: &Path<'_>, count: usize, max: usize) {
        let things = if max == 1 { "item" } else { "items" };
        self.add(path, "FieldValueTooMany", format!("Too many: {count}: must have at most {max} {things}"));
    }

    /// One of a set; `supported` in the order upstream lists it.
    pub(super) fn one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.not_supported(path, value, supported);
        }
    }

    /// The same, where an empty value is another mistake.
    pub(super) fn required_one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(path, "");
        } else {
            self.one_of(path, value, supported);
        }
    }

    /// Each fault that a rule finds with a text.
    pub(super) fn faults(&mut self, path: &Path<'_>, value: &str, faults: Vec<String>) {
        for fault in faults {
            self.invalid(path, value, &fault);
        }
    }

    /// A whole number of a field must not be negative, when it is set.
    pub(super) fn non_negative(&mut self, path: &Path<'_>, object: &Value, name: &str) {
        if let Some(n) = int(object, name).filter(|n| *n < 0) {
            self.invalid(&path.field(name), n, "must be greater than or equal to 0");
        }
    }

    /// A port number.
    pub(super) fn port(&mut self, path: &Path<'_>, port: i64) {
        if !(1..=65535).contains(&port) {
            self.invalid(path, port, "must be between 1 and 65535, inclusive");
        }
    }

    /// A field that may not change.
    pub(super) fn immutable(&mut self, path: &Path<'_>, new: &Value, old: &Value) {
        if new != old {
            self.invalid(path, new.clone(), "field is immutable");
        }
    }
}

/// A text field; empty when it is absent or something else.
pub(super) fn text<'a>(v: &'a Value, name: &str) -> &'a str {
    v.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Items of a list field; none when it is absent.
pub(super) fn list<'a>(v: &'a Value, name: &str) -> &'a [Value] {
    v.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Entries of a map field; none when it is absent.
pub(super) fn entries<'a>(v: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    v.get(name).and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.as_str(), v))
}

/// A whole number, when it is set.
pub(super) fn int(v: &Value, name: &str) -> Option<i64> {
    v.get(name).and_then(Value::as_i64)
}

/// A truth value; false when it is absent.
pub(super) fn flag(v: &Value, name: &str) -> bool {
    v.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// A field that is set to something.
pub(super) fn given<'a>(v: &'a Value, name: &str) -> Option<&'a Value> {
    v.get(name).filter(|v| !v.is_null())
}

/// The field as a map, made when it is not one.
pub(super) fn object_mut<'a>(v: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !v.is_object() {
        *v = Value::Object(Map::new());
    }
    let slot = &mut v[name];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("made above")
}

/// Sets a field that is absent, null, or an empty text.
pub(super) fn default(v: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(map) = v.as_object_mut() {
        let unset = match map.get(name) {
            None | Some(Value::Null) => true,
            Some(Value::String(s)) => s.is_empty(),
            _ => false,
        };
        if unset {
            map.insert(name.to_owned(), value.into());
        }
    }
}

/// Sets a number that is absent, null or zero.
pub(super) fn default_number(v: &mut Value, name: &str, value: i64) {
    if let Some(map) = v.as_object_mut()
        && map.get(name).is_none_or(|v| v.is_null() || v == 0)
    {
        map.insert(name.to_owned(), value.into());
    }
}

/// Every item of a list field.
pub(super) fn each_mut<'a>(v: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    v.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// A field that is set to something, to be changed.
pub(super) fn given_mut<'a>(v: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    v.get_mut(name).filter(|v| !v.is_null())
}

/// Takes a field out.
pub(super) fn remove(v: &mut Value, name: &str) -> Value {
    v.as_object_mut().and_then(|m| m.remove(name)).unwrap_or(Value::Null)
}

/// Puts a value in a field, or takes the field out when the value is null.
pub(super) fn put(v: &mut Value, name: &str, value: Value) {
    let Some(map) = v.as_object_mut() else { return };
    if value.is_null() {
        map.remove(name);
    } else {
        map.insert(name.to_owned(), value);
    }
}
