//! One step of a path: a field, a list item by key or by value, or an index.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// One step of a path. The order of variants and values is the order of upstream's sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// A field of an object or a key of a map.
    Field(Box<str>),
    /// An item of a list, by its key fields; sorted by name.
    Key(Vec<(Box<str>, Scalar)>),
    /// An item of a set, by its value.
    Value(Scalar),
    /// An item by its place.
    Index(i64),
}

/// A scalar with a total order: numbers, texts, truth values, null.
#[derive(Clone, Debug)]
pub enum Scalar {
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Box<str>),
    /// Truth value.
    Bool(bool),
    /// Null.
    Null,
    /// A list or map used as a value: its compact JSON text. Never equal to a text scalar.
    Tree(Box<str>),
}

impl Scalar {
    /// From a JSON value.
    pub fn of(value: &Value) -> Scalar {
        match value {
            Value::Null => Scalar::Null,
            Value::Bool(b) => Scalar::Bool(*b),
            Value::String(s) => Scalar::Text(s.as_str().into()),
            Value::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(i), _) => Scalar::Int(i),
                (None, Some(f)) if f.fract() == 0.0 && f.abs() < 9.0e15 => Scalar::Int(f as i64),
                (None, f) => Scalar::Float(f.unwrap_or(0.0)),
            },
            tree => Scalar::Tree(tree.to_string().into()),
        }
    }

    /// Back to JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Scalar::Int(i) => Value::from(*i),
            Scalar::Float(f) => Value::from(*f),
            Scalar::Text(s) => Value::from(&**s),
            Scalar::Bool(b) => Value::from(*b),
            Scalar::Null => Value::Null,
            Scalar::Tree(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Scalar::Int(_) | Scalar::Float(_) => 0,
            Scalar::Text(_) => 1,
            Scalar::Bool(_) => 2,
            Scalar::Tree(_) => 3,
            Scalar::Null => 4,
        }
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Scalar) -> Ordering {
        match (self, other) {
            (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
            (Scalar::Float(a), Scalar::Float(b)) => a.total_cmp(b),
            (Scalar::Int(a), Scalar::Float(b)) => (*a as f64).total_cmp(b).then(Ordering::Less),
            (Scalar::Float(a), Scalar::Int(b)) => a.total_cmp(&(*b as f64)).then(Ordering::Greater),
            (Scalar::Text(a), Scalar::Text(b)) | (Scalar::Tree(a), Scalar::Tree(b)) => a.cmp(b),
            (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Scalar) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Text(s) => write!(f, "{}", Value::from(&**s)),
            Scalar::Tree(s) => f.write_str(s),
            other => write!(f, "{}", other.to_json()),
        }
    }
}

impl PathElement {
    /// A field.
    pub fn field(name: &str) -> PathElement {
        PathElement::Field(name.into())
    }

    /// An item by its key fields, which need not be sorted.
    pub fn key(fields: impl IntoIterator<Item = (Box<str>, Scalar)>) -> PathElement {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort();
        PathElement::Key(fields)
    }
}

impl fmt::Display for PathElement {
    /// `.replicas`, `[name="c"]`, `[="value"]`, `[0]`: the form of error messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(f, ".{name}"),
            PathElement::Key(fields) => {
                let parts: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", parts.join(","))
            }
            PathElement::Value(v) => write!(f, "[={v}]"),
            PathElement::Index(i) => write!(f, "[{i}]"),
        }
    }
}

/// A path from the root of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathElement>);

impl Path {
    /// A path of fields.
    pub fn fields(names: &[&str]) -> Path {
        Path(names.iter().map(|n| PathElement::field(n)).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|e| write!(f, "{e}"))
    }
}
