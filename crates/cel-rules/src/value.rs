//! Values of running expressions: cheap to copy, shared where they are large.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::authorize::Question;
use crate::library::cidr::Cidr;
use crate::library::format::Format;
use crate::library::quantity::Amount;
use crate::library::semver::Semver;
use crate::library::url::Url;
use crate::moment::Moment;
use crate::types::Merge;

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without sign.
    Uint(u64),
    /// A number.
    Double(f64),
    /// A text.
    Text(Arc<str>),
    /// Octets.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Arc<List>),
    /// A map or an object.
    Map(Arc<BTreeMap<Key, Value>>),
    /// A length of time in nanoseconds.
    Duration(i64),
    /// A moment.
    Timestamp(Moment),
    /// A value that may be absent.
    Optional(Option<Arc<Value>>),
    /// A type, by its name.
    Type(Arc<str>),
    /// A quantity: `1Gi`.
    Quantity(Amount),
    /// An address.
    Ip(IpAddr),
    /// A block of addresses.
    Cidr(Cidr),
    /// A URL.
    Url(Arc<Url>),
    /// A semantic version.
    Semver(Arc<Semver>),
    /// A named format.
    Format(&'static Format),
    /// A question to the authorizer, or its answer.
    Authorize(Arc<Question>),
}

/// A list, with the way it is compared.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The items.
    pub items: Vec<Value>,
    /// How it is compared and joined.
    pub merge: Merge,
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Truth value.
    Bool(bool),
    /// Whole number.
    Int(i64),
    /// Whole number without sign.
    Uint(u64),
    /// Text.
    Text(Arc<str>),
}

impl Key {
    /// The key as a value.
    pub fn value(&self) -> Value {
        match self {
            Key::Bool(b) => Value::Bool(*b),
            Key::Int(n) => Value::Int(*n),
            Key::Uint(n) => Value::Uint(*n),
            Key::Text(text) => Value::Text(text.clone()),
        }
    }

    /// A value as a key; nothing for values that cannot be one.
    pub fn of(value: &Value) -> Option<Key> {
        Some(match value {
            Value::Bool(b) => Key::Bool(*b),
            Value::Int(n) => Key::Int(*n),
            Value::Uint(n) => Key::Uint(*n),
            Value::Text(text) => Key::Text(text.clone()),
            _ => return None,
        })
    }

    /// The same number written in another type.
    fn twin(value: &Value) -> Option<Key> {
        match value {
            Value::Int(n) => u64::try_from(*n).ok().map(Key::Uint),
            Value::Uint(n) => i64::try_from(*n).ok().map(Key::Int),
            #[expect(clippy::cast_possible_truncation, reason = "whole and within bounds")]
            Value::Double(n) if n.fract() == 0.0 && n.abs() < 9e15 => Some(Key::Int(*n as i64)),
            _ => None,
        }
    }
}

/// The entry of a map under a key; numbers that are equal find each other.
pub(crate) fn entry<'a>(map: &'a BTreeMap<Key, Value>, key: &Value) -> Option<&'a Value> {
    let found = Key::of(key).and_then(|k| map.get(&k));
    found.or_else(|| map.get(&Key::twin(key)?)).or_else(|| match key {
        Value::Double(_) => match Key::twin(key)? {
            Key::Int(n) => map.get(&Key::Uint(u64::try_from(n).ok()?)),
            _ => None,
        },
        _ => None,
    })
}

impl Value {
    /// A text.
    pub fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    /// A list in order.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Arc::new(List { items, merge: Merge::Atomic }))
    }

    /// A map by texts.
    pub fn map<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        let entries = entries.into_iter().map(|(k, v)| (Key::Text(k.as_ref().into()), v));
        Value::Map(Arc::new(entries.collect()))
    }

    /// A value that is there.
    pub fn some(value: Value) -> Value {
        Value::Optional(Some(Arc::new(value)))
    }

    /// JSON without a schema: whole numbers are `int`, texts stay texts.
    pub fn of(json: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(n), _) => Value::Int(n),
                (None, Some(n)) => Value::Uint(n),
                (None, None) => Value::Double(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::text(text),
            Json::Array(items) => Value::list(items.iter().map(Value::of).collect()),
            Json::Object(map) => Value::map(map.iter().map(|(k, v)| (k, Value::of(v)))),
        }
    }

    /// The name of its type, as `type(x)` gives it.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::Text(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Quantity(_) => "kubernetes.Quantity",
            Value::Ip(_) => "net.IP",
            Value::Cidr(_) => "net.CIDR",
            Value::Url(_) => "kubernetes.URL",
            Value::Semver(_) => "kubernetes.Semver",
            Value::Format(_) => "kubernetes.NamedFormat",
            Value::Authorize(question) => question.type_name(),
        }
    }

    /// Elements: characters, octets, items, entries; one for what has no size.
    pub(crate) fn size(&self) -> u64 {
        match self {
            // Octets: an upper bound of the characters, and known without counting.
            Value::Text(text) => text.len() as u64,
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(list) => list.items.len() as u64,
            Value::Map(map) => map.len() as u64,
            Value::Optional(Some(value)) => value.size(),
            _ => 1,
        }
    }

    /// What `==` says.
    pub fn is_equal(&self, other: &Value) -> bool {
        use Value::{
            Bool, Bytes, Cidr, Duration, Ip, List, Map, Null, Optional, Quantity, Semver, Text, Timestamp,
            Url,
        };
        match (self, other) {
            (Null, Null) => true,
            (Bool(a), Bool(b)) => a == b,
            (Text(a), Text(b)) => a == b,
            (Value::Type(a), Value::Type(b)) => a == b,
            (Bytes(a), Bytes(b)) => a == b,
            (Duration(a), Duration(b)) => a == b,
            (Timestamp(a), Timestamp(b)) => a == b,
            (List(a), List(b)) => lists_equal(a, b),
            (Map(a), Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(k, v)| entry(b, &k.value()).is_some_and(|other| v.is_equal(other)))
            }
            (Optional(a), Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.is_equal(b),
                _ => false,
            },
            (Quantity(a), Quantity(b)) => a == b,
            (Ip(a), Ip(b)) => a == b,
            (Cidr(a), Cidr(b)) => a == b,
            (Url(a), Url(b)) => a.text == b.text,
            (Semver(a), Semver(b)) => a.rank() == b.rank(),
            (Value::Format(a), Value::Format(b)) => a.name == b.name,
            (a, b) => numbers(a, b) == Some(Ordering::Equal),
        }
    }

    /// What `<` and the like say; nothing for values without order.
    pub(crate) fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (a, b) => numbers(a, b),
        }
    }
}

/// The order of numbers across their types.
fn numbers(a: &Value, b: &Value) -> Option<Ordering> {
    use Value::{Double, Int, Uint};
    match (a, b) {
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Uint(a), Uint(b)) => Some(a.cmp(b)),
        (Int(a), Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Uint(a), Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Double(a), Double(b)) => a.partial_cmp(b),
        (Double(a), other) => double_to_whole(*a, whole(other)?),
        (other, Double(b)) => double_to_whole(*b, whole(other)?).map(Ordering::reverse),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(n) => Some((*n).into()),
        Value::Uint(n) => Some((*n).into()),
        _ => None,
    }
}

/// Compares a double with a whole number without losing either's last digits.
fn double_to_whole(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and the bounds lie outside of all whole numbers"
    )]
    let floor = a.floor() as i128;
    Some(floor.cmp(&b).then(if a.fract() == 0.0 { Ordering::Equal } else { Ordering::Greater }))
}

/// Lists by order; sets and keyed lists without.
fn lists_equal(a: &List, b: &List) -> bool {
    if a.items.len() != b.items.len() {
        return false;
    }
    match &a.merge {
        Merge::Atomic => a.items.iter().zip(&b.items).all(|(a, b)| a.is_equal(b)),
        Merge::Set => {
            let others: BTreeSet<String> = b.items.iter().map(canonical).collect();
            a.items.iter().all(|item| others.contains(&canonical(item)))
        }
        Merge::Map(keys) => {
            let others: BTreeMap<Vec<Option<Key>>, &Value> =
                b.items.iter().map(|item| (identity(item, keys), item)).collect();
            let same =
                |item: &Value| others.get(&identity(item, keys)).is_some_and(|other| item.is_equal(other));
            a.items.iter().all(same)
        }
    }
}

/// A text that equal items of a set share, so that sets of many items need no comparison of each with each.
pub(crate) fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::List(list) => {
            let mut parts: Vec<String> = list.items.iter().map(canonical).collect();
            if list.merge != Merge::Atomic {
                parts.sort();
            }
            out.push_str(&format!("{parts:?}"));
        }
        Value::Map(map) => {
            let parts: Vec<(String, String)> =
                map.iter().map(|(k, v)| (canonical(&k.value()), canonical(v))).collect();
            out.push_str(&format!("{parts:?}"));
        }
        Value::Int(n) => out.push_str(&n.to_string()),
        Value::Uint(n) => out.push_str(&n.to_string()),
        Value::Double(n) => out.push_str(&n.to_string()),
        other => out.push_str(&format!("{other:?}")),
    }
}

/// What an item of a keyed list is known by.
pub(crate) fn identity(item: &Value, keys: &[String]) -> Vec<Option<Key>> {
    let Value::Map(map) = item else { return Vec::new() };
    keys.iter().map(|k| map.get(&Key::Text(k.as_str().into())).and_then(Key::of)).collect()
}
