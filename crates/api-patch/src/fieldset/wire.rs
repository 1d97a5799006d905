//! The FieldsV1 form: `{"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}}}`.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::set::Node;
use super::{FieldSet, PathElement, Scalar};

/// A tree that is not FieldsV1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// Something other than an object where a set belongs.
    #[error("expected an object in FieldsV1, found {0}")]
    NotAnObject(String),
    /// A member name that cannot be read.
    #[error("unreadable FieldsV1 member: {0:?}")]
    Unreadable(String),
    /// Nested beyond any object.
    #[error("FieldsV1 nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
}

/// Deepest FieldsV1 accepted.
const DEPTH_MAX: usize = 200;

impl FieldSet {
    /// Reads FieldsV1. Members of an unknown sort (a letter other than `f`, `k`, `v`, `i`) are skipped, as upstream does.
    pub fn parse(fields: &Value) -> Result<FieldSet, FieldsError> {
        level(fields, 0).map(|(_, set)| set)
    }

    /// Writes FieldsV1.
    pub fn to_json(&self) -> Value {
        Value::Object(self.to_map(false))
    }

    /// Whether FieldsV1 that this library has written shares a member with the set; much cheaper than reading it.
    pub(crate) fn meets_json(&self, fields: &Value) -> bool {
        let mut name = String::new();
        self.nodes().iter().any(|node| {
            name.clear();
            label(&node.key, &mut name);
            let Some(Value::Object(below)) = fields.get(&name) else { return false };
            let is_member = below.is_empty() || below.contains_key(".");
            (node.member && is_member) || (!node.below.is_empty() && node.below.meets_json(&fields[&name]))
        })
    }

    fn to_map(&self, member: bool) -> Map<String, Value> {
        let mut map = Map::new();
        if member && !self.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for node in self.nodes() {
            let mut name = String::new();
            label(&node.key, &mut name);
            map.insert(name, Value::Object(node.below.to_map(node.member)));
        }
        map
    }
}

/// The set of one level and whether it names itself by `.`.
fn level(fields: &Value, depth: usize) -> Result<(bool, FieldSet), FieldsError> {
    if depth > DEPTH_MAX {
        return Err(FieldsError::TooDeep);
    }
    let Value::Object(map) = fields else {
        return Err(FieldsError::NotAnObject(kind_of(fields).to_owned()));
    };
    let mut nodes = Vec::with_capacity(map.len());
    let mut own = false;
    for (name, tree) in map {
        if name == "." {
            own = true;
            continue;
        }
        let Some(key) = element(name)? else { continue };
        let (named, below) = level(tree, depth + 1)?;
        let member = named || below.is_empty();
        nodes.push(Node { key, member, below });
    }
    Ok((own, FieldSet::from_nodes(nodes)))
}

fn element(name: &str) -> Result<Option<PathElement>, FieldsError> {
    let unreadable = || FieldsError::Unreadable(name.to_owned());
    let (sort, rest) = name.split_once(':').filter(|(s, _)| s.len() == 1).ok_or_else(unreadable)?;
    let json = || serde_json::from_str::<Value>(rest).map_err(|_| unreadable());
    Ok(Some(match sort {
        "f" => PathElement::field(rest),
        "v" => PathElement::Value(Scalar::of(&json()?)),
        "i" => PathElement::Index(rest.parse().map_err(|_| unreadable())?),
        "k" => match json()? {
            Value::Object(map) => {
                PathElement::key(map.iter().map(|(k, v)| (k.as_str().into(), Scalar::of(v))))
            }
            _ => return Err(unreadable()),
        },
        _ => return Ok(None),
    }))
}

/// The name of a member. Most names need no escaping, so that they are written without a detour.
fn label(key: &PathElement, out: &mut String) {
    match key {
        PathElement::Field(name) => {
            out.reserve(name.len() + 2);
            out.push_str("f:");
            out.push_str(name);
        }
        PathElement::Value(v) => {
            out.push_str("v:");
            scalar(v, out);
        }
        PathElement::Index(i) => {
            let _ = write!(out, "i:{i}");
        }
        PathElement::Key(fields) => {
            out.push_str("k:{");
            for (i, (name, value)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                text(name, out);
                out.push(':');
                scalar(value, out);
            }
            out.push('}');
        }
    }
}

fn scalar(value: &Scalar, out: &mut String) {
    match value {
        Scalar::Text(t) => text(t, out),
        Scalar::Int(i) => {
            let _ = write!(out, "{i}");
        }
        other => {
            let _ = write!(out, "{}", other.to_json());
        }
    }
}

fn text(text: &str, out: &mut String) {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        let _ = write!(out, "{}", Value::from(text));
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
