//! Operators: arithmetic, comparison, membership, indexing.

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Outcome, Row, global, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::run::Run;
use crate::types::Merge;
use crate::value::{Key, List, Value, canonical, entry, identity};

const ORDERED: &[&str] = &[
    "bool, bool -> bool",
    "int, int -> bool",
    "uint, uint -> bool",
    "double, double -> bool",
    "int, uint -> bool",
    "int, double -> bool",
    "uint, int -> bool",
    "uint, double -> bool",
    "double, int -> bool",
    "double, uint -> bool",
    "string, string -> bool",
    "bytes, bytes -> bool",
    "timestamp, timestamp -> bool",
    "duration, duration -> bool",
];
const NUMBERS: &[&str] = &["int, int -> int", "uint, uint -> uint", "double, double -> double"];
const SIZED: &[&str] = &["string -> int", "bytes -> int", "list<A> -> int", "map<A, B> -> int"];

pub(super) const TABLE: &[Row] = &[
    global("!_", &["bool -> bool"], Price::One, |_, args| match args {
        [Value::Bool(b)] => Ok(Value::Bool(!b)),
        _ => Err(RunError::overload()),
    }),
    global("-_", &["int -> int", "double -> double"], Price::One, |_, args| match args {
        [Value::Int(n)] => n.checked_neg().map(Value::Int).ok_or_else(overflow),
        [Value::Double(n)] => Ok(Value::Double(-n)),
        _ => Err(RunError::overload()),
    }),
    global("_==_", &["A, A -> bool"], Price::Compare, |_, args| Ok(Value::Bool(args[0].is_equal(&args[1])))),
    global("_!=_", &["A, A -> bool"], Price::Compare, |_, args| Ok(Value::Bool(!args[0].is_equal(&args[1])))),
    global("_<_", ORDERED, Price::Compare, |_, args| order(args, Ordering::is_lt)),
    global("_<=_", ORDERED, Price::Compare, |_, args| order(args, Ordering::is_le)),
    global("_>_", ORDERED, Price::Compare, |_, args| order(args, Ordering::is_gt)),
    global("_>=_", ORDERED, Price::Compare, |_, args| order(args, Ordering::is_ge)),
    global(
        "_+_",
        &[
            "int, int -> int",
            "uint, uint -> uint",
            "double, double -> double",
            "string, string -> string",
            "bytes, bytes -> bytes",
            "list<A>, list<A> -> list<A>",
            "duration, duration -> duration",
            "timestamp, duration -> timestamp",
            "duration, timestamp -> timestamp",
        ],
        Price::Join,
        add,
    ),
    global(
        "_-_",
        &[
            "int, int -> int",
            "uint, uint -> uint",
            "double, double -> double",
            "timestamp, timestamp -> duration",
            "timestamp, duration -> timestamp",
            "duration, duration -> duration",
        ],
        Price::One,
        subtract,
    ),
    global("_*_", NUMBERS, Price::One, |_, args| match args {
        [Value::Int(a), Value::Int(b)] => a.checked_mul(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => a.checked_mul(*b).map(Value::Uint).ok_or_else(unsigned_overflow),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => Err(RunError::overload()),
    }),
    global("_/_", NUMBERS, Price::One, |_, args| match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(RunError::new("division by zero"))
        }
        [Value::Int(a), Value::Int(b)] => a.checked_div(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(a / b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => Err(RunError::overload()),
    }),
    global("_%_", &["int, int -> int", "uint, uint -> uint"], Price::One, |_, args| match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(RunError::new("modulus by zero"))
        }
        [Value::Int(a), Value::Int(b)] => a.checked_rem(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(a % b)),
        _ => Err(RunError::overload()),
    }),
    global("@in", &["A, list<A> -> bool", "A, map<A, B> -> bool"], Price::Items(1), contains),
    global(
        "_[_]",
        &[
            "list<A>, int -> A",
            "map<A, B>, A -> B",
            "optional<list<A>>, int -> optional<A>",
            "optional<map<A, B>>, A -> optional<B>",
        ],
        Price::One,
        |_, args| match &args[0] {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => at(inner, &args[1]).map(option),
            other => at(other, &args[1])?.ok_or_else(|| missing(other, &args[1])),
        },
    ),
    global(
        "_[?_]",
        &[
            "list<A>, int -> optional<A>",
            "map<A, B>, A -> optional<B>",
            "optional<list<A>>, int -> optional<A>",
            "optional<map<A, B>>, A -> optional<B>",
        ],
        Price::One,
        |_, args| match &args[0] {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => at(inner, &args[1]).map(option),
            other => at(other, &args[1]).map(option),
        },
    ),
    global("size", SIZED, Price::One, |_, args| size(&args[0])),
    member("size", SIZED, Price::One, |_, args| size(&args[0])),
];

pub(super) fn overflow() -> RunError {
    RunError::new("integer overflow")
}

pub(super) fn unsigned_overflow() -> RunError {
    RunError::new("unsigned integer overflow")
}

/// Something found, or not.
pub(super) fn option(found: Option<Value>) -> Value {
    Value::Optional(found.map(Arc::new))
}

fn order(args: &[Value], is: fn(Ordering) -> bool) -> Outcome {
    match args[0].compare(&args[1]) {
        Some(order) => Ok(Value::Bool(is(order))),
        None if matches!((&args[0], &args[1]), (Value::Double(_), _) | (_, Value::Double(_))) => {
            Ok(Value::Bool(false))
        }
        None => Err(RunError::overload()),
    }
}

fn add(run: &mut Run<'_>, args: &[Value]) -> Outcome {
    use Value::{Bytes, Double, Duration, Int, Text, Timestamp, Uint};
    match (&args[0], &args[1]) {
        (Int(a), Int(b)) => a.checked_add(*b).map(Int).ok_or_else(overflow),
        (Uint(a), Uint(b)) => a.checked_add(*b).map(Uint).ok_or_else(unsigned_overflow),
        (Double(a), Double(b)) => Ok(Double(a + b)),
        (Text(a), Text(b)) => Ok(Text([&**a, &**b].concat().into())),
        (Bytes(a), Bytes(b)) => Ok(Bytes([&**a, &**b].concat().into())),
        (Value::List(a), Value::List(b)) => {
            // Copied, unlike upstream's: whoever doubles a list again and again pays for its length.
            run.pay((a.items.len() + b.items.len()) as u64)?;
            Ok(Value::List(Arc::new(join(a, b))))
        }
        (Duration(a), Duration(b)) => a.checked_add(*b).map(Duration).ok_or_else(overflow),
        (Timestamp(moment), Duration(nanos)) | (Duration(nanos), Timestamp(moment)) => {
            moment.plus(*nanos).map(Timestamp).ok_or_else(|| RunError::new("timestamp overflow"))
        }
        _ => Err(RunError::overload()),
    }
}

/// Lists one after the other; a set grows by what is new, a keyed list takes the second's items for the same keys.
fn join(a: &List, b: &List) -> List {
    let mut items = a.items.clone();
    match &a.merge {
        Merge::Atomic => items.extend(b.items.iter().cloned()),
        Merge::Set => {
            let there: BTreeSet<String> = a.items.iter().map(canonical).collect();
            items.extend(b.items.iter().filter(|item| !there.contains(&canonical(item))).cloned());
        }
        Merge::Map(keys) => {
            let mut places: BTreeMap<_, usize> =
                a.items.iter().enumerate().map(|(i, item)| (identity(item, keys), i)).collect();
            for item in &b.items {
                match places.entry(identity(item, keys)) {
                    Entry::Occupied(place) => items[*place.get()] = item.clone(),
                    Entry::Vacant(place) => {
                        place.insert(items.len());
                        items.push(item.clone());
                    }
                }
            }
        }
    }
    List { items, merge: a.merge.clone() }
}

fn subtract(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    use Value::{Double, Duration, Int, Timestamp, Uint};
    match (&args[0], &args[1]) {
        (Int(a), Int(b)) => a.checked_sub(*b).map(Int).ok_or_else(overflow),
        (Uint(a), Uint(b)) => a.checked_sub(*b).map(Uint).ok_or_else(unsigned_overflow),
        (Double(a), Double(b)) => Ok(Double(a - b)),
        (Duration(a), Duration(b)) => a.checked_sub(*b).map(Duration).ok_or_else(overflow),
        (Timestamp(a), Timestamp(b)) => {
            a.since(*b).map(Duration).ok_or_else(|| RunError::new("timestamp overflow"))
        }
        (Timestamp(moment), Duration(nanos)) => {
            let earlier = nanos.checked_neg().and_then(|n| moment.plus(n));
            earlier.map(Timestamp).ok_or_else(|| RunError::new("timestamp overflow"))
        }
        _ => Err(RunError::overload()),
    }
}

fn contains(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    match &args[1] {
        Value::List(list) => Ok(Value::Bool(list.items.iter().any(|item| item.is_equal(&args[0])))),
        Value::Map(map) => Ok(Value::Bool(entry(map, &args[0]).is_some())),
        _ => Err(RunError::overload()),
    }
}

/// The item or value at a place; nothing when there is none.
fn at(of: &Value, place: &Value) -> Result<Option<Value>, RunError> {
    match of {
        Value::Map(map) => match entry(map, place) {
            Some(found) => Ok(Some(found.clone())),
            None if Key::of(place).is_none() && !matches!(place, Value::Double(_)) => {
                Err(RunError::new(format!("unsupported key type: {}", place.type_name())))
            }
            None => Ok(None),
        },
        Value::List(list) => {
            let index = match place {
                Value::Int(n) => usize::try_from(*n).ok(),
                Value::Uint(n) => usize::try_from(*n).ok(),
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole, and checked"
                )]
                Value::Double(n) if n.fract() == 0.0 && (0.0..9e15).contains(n) => Some(*n as usize),
                other => {
                    return Err(RunError::new(format!(
                        "unsupported index type '{}' in list",
                        other.type_name()
                    )));
                }
            };
            Ok(index.and_then(|i| list.items.get(i)).cloned())
        }
        _ => Err(RunError::overload()),
    }
}

fn missing(of: &Value, place: &Value) -> RunError {
    let shown = match place {
        Value::Text(text) => text.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        _ => String::new(),
    };
    match of {
        Value::Map(_) => RunError::new(format!("no such key: {shown}")),
        _ => RunError::new(format!("index out of bounds: {shown}")),
    }
}

fn size(of: &Value) -> Outcome {
    let count = match of {
        Value::Text(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.len(),
        _ => return Err(RunError::overload()),
    };
    Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}
