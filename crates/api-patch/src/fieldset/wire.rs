//! The FieldsV1 form, as a tree or as its text: `{"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}}}`.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
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

    /// Reads the text of FieldsV1 that this library has written; nothing when it is none.
    pub(crate) fn of_text(text: &str) -> Option<FieldSet> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let (_, set) = Level(0).deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(set)
    }

    /// Writes FieldsV1 as text, equal to the text of [`FieldSet::to_json`].
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::with_capacity(64 * self.nodes().len());
        self.write(false, &mut String::new(), &mut out);
        out
    }

    fn write(&self, member: bool, name: &mut String, out: &mut String) {
        out.push('{');
        let start = out.len();
        if member && !self.is_empty() {
            out.push_str("\".\":{}");
        }
        let emit = |node: &Node, name: &mut String, out: &mut String| {
            if out.len() > start {
                out.push(',');
            }
            text(name, out);
            out.push(':');
            node.below.write(node.member, name, out);
        };
        if self.nodes().iter().all(|n| matches!(n.key, PathElement::Field(_))) {
            // Fields are sorted as their labels are.
            for node in self.nodes() {
                name.clear();
                label(&node.key, name);
                emit(node, name, out);
            }
        } else {
            let mut labelled: Vec<(String, &Node)> = self
                .nodes()
                .iter()
                .map(|node| {
                    let mut name = String::new();
                    label(&node.key, &mut name);
                    (name, node)
                })
                .collect();
            labelled.sort_by(|a, b| a.0.cmp(&b.0));
            for (mut name, node) in labelled {
                emit(node, &mut name, out);
            }
        }
        out.push('}');
    }

    /// Whether the text of FieldsV1 that this library has written shares a member with the set; much cheaper than reading it.
    pub(crate) fn meets_text(&self, fields: &str) -> bool {
        // Most texts name nothing that the set has at its top.
        let mut name = String::new();
        let is_named = self.nodes().iter().any(|node| {
            name.clear();
            label(&node.key, &mut name);
            let mut quoted = String::with_capacity(name.len() + 2);
            text(&name, &mut quoted);
            fields.contains(&quoted)
        });
        is_named
            && Meets(self).deserialize(&mut serde_json::Deserializer::from_str(fields)).is_ok_and(|m| m.met)
    }

    /// The node of a label; few have more than a field's name to compare.
    fn labelled(&self, name: &str) -> Option<&Node> {
        if let Some(field) = name.strip_prefix("f:") {
            let is_field = |n: &&Node| matches!(&n.key, PathElement::Field(f) if **f == *field);
            return self.nodes().iter().find(is_field);
        }
        let mut own = String::new();
        self.nodes().iter().find(|node| {
            own.clear();
            label(&node.key, &mut own);
            own == name
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

/// Reads one level of a text: the set, and whether it names itself by `.`.
struct Level(usize);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = (bool, FieldSet);

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = (bool, FieldSet);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object in FieldsV1")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        if self.0 > DEPTH_MAX {
            return Err(A::Error::custom(FieldsError::TooDeep));
        }
        let (mut own, mut nodes) = (false, Vec::new());
        while let Some(name) = entries.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == "." {
                own = true;
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let Some(key) = element(&name).map_err(A::Error::custom)? else {
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            let (named, below) = entries.next_value_seed(Level(self.0 + 1))?;
            let member = named || below.is_empty();
            nodes.push(Node { key, member, below });
        }
        Ok((own, FieldSet::from_nodes(nodes)))
    }
}

/// Walks one level of a text beside a set.
struct Meets<'a>(&'a FieldSet);

/// What was found on a level.
struct Found {
    /// The level names itself, by `.` or by being empty.
    member: bool,
    /// A member of both was found on it or below.
    met: bool,
}

impl<'de> DeserializeSeed<'de> for Meets<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Found, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Meets<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object in FieldsV1")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Found, A::Error> {
        let mut found = Found { member: true, met: false };
        let (mut is_empty, mut own) = (true, false);
        while let Some(name) = entries.next_key::<std::borrow::Cow<'de, str>>()? {
            is_empty = false;
            own |= name == ".";
            match self.0.labelled(&name).filter(|_| !found.met) {
                None => drop(entries.next_value::<IgnoredAny>()?),
                Some(node) => {
                    let below = entries.next_value_seed(Meets(&node.below))?;
                    found.met = below.met || (node.member && below.member);
                }
            }
        }
        found.member = own || is_empty;
        Ok(found)
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
pub(crate) fn label(key: &PathElement, out: &mut String) {
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

/// Appends a text as JSON. Labels of items have quotes, and hardly any text has what needs more than that.
pub(crate) fn text(text: &str, out: &mut String) {
    if text.bytes().any(|b| b < 0x20) {
        let _ = write!(out, "{}", Value::from(text));
        return;
    }
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\']) {
        out.push_str(&rest[..at]);
        out.push('\\');
        out.push_str(&rest[at..=at]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
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
