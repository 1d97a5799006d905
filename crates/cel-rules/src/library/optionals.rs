//! Values that may be absent.

use super::operators::option;
use super::{Row, global, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    global("optional.of", &["A -> optional<A>"], Price::One, |_, args| Ok(Value::some(args[0].clone()))),
    global("optional.none", &["-> optional<A>"], Price::One, |_, _| Ok(Value::Optional(None))),
    global("optional.ofNonZeroValue", &["A -> optional<A>"], Price::One, |_, args| {
        Ok(option(Some(args[0].clone()).filter(|v| !is_zero(v))))
    }),
    global("optional.unwrap", &["list<optional<A>> -> list<A>"], Price::Items(0), |_, args| unwrap(args)),
    member("unwrapOpt", &["list<optional<A>> -> list<A>"], Price::Items(0), |_, args| unwrap(args)),
    member("hasValue", &["optional<A> -> bool"], Price::One, |_, args| match &args[0] {
        Value::Optional(inner) => Ok(Value::Bool(inner.is_some())),
        _ => Err(RunError::overload()),
    }),
    member("value", &["optional<A> -> A"], Price::One, |_, args| match &args[0] {
        Value::Optional(Some(inner)) => Ok((**inner).clone()),
        Value::Optional(None) => Err(RunError::new("optional.none() dereference")),
        _ => Err(RunError::overload()),
    }),
    member("or", &["optional<A>, optional<A> -> optional<A>"], Price::One, |_, args| match args {
        [Value::Optional(None), Value::Optional(_)] => Ok(args[1].clone()),
        [Value::Optional(Some(_)), Value::Optional(_)] => Ok(args[0].clone()),
        _ => Err(RunError::overload()),
    }),
    member("orValue", &["optional<A>, A -> A"], Price::One, |_, args| match &args[0] {
        Value::Optional(Some(inner)) => Ok((**inner).clone()),
        Value::Optional(None) => Ok(args[1].clone()),
        _ => Err(RunError::overload()),
    }),
];

fn unwrap(args: &[Value]) -> super::Outcome {
    let Value::List(list) = &args[0] else { return Err(RunError::overload()) };
    let mut out = Vec::new();
    for item in &list.items {
        match item {
            Value::Optional(Some(inner)) => out.push((**inner).clone()),
            Value::Optional(None) => {}
            _ => return Err(RunError::overload()),
        }
    }
    Ok(Value::list(out))
}

/// Whether a value is its type's zero.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(b) => !b,
        Value::Int(n) | Value::Duration(n) => *n == 0,
        Value::Uint(n) => *n == 0,
        Value::Double(n) => *n == 0.0,
        Value::Text(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.items.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}
