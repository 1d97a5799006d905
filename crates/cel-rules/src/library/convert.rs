//! Conversions between types, by the name of the wanted one.

use super::{Outcome, Row, global};
use crate::cost::Price;
use crate::fault::RunError;
use crate::moment::{self, Moment};
use crate::run::Run;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    global(
        "int",
        &[
            "int -> int",
            "uint -> int",
            "double -> int",
            "string -> int",
            "timestamp -> int",
            "duration -> int",
        ],
        Price::One,
        int,
    ),
    global("uint", &["uint -> uint", "int -> uint", "double -> uint", "string -> uint"], Price::One, uint),
    global(
        "double",
        &["double -> double", "int -> double", "uint -> double", "string -> double"],
        Price::One,
        double,
    ),
    global("bool", &["bool -> bool", "string -> bool"], Price::One, |_, args| match &args[0] {
        Value::Bool(b) => Ok(Value::Bool(*b)),
        Value::Text(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(RunError::new(format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))),
        },
        _ => Err(RunError::overload()),
    }),
    global(
        "string",
        &[
            "string -> string",
            "bool -> string",
            "int -> string",
            "uint -> string",
            "double -> string",
            "bytes -> string",
            "timestamp -> string",
            "duration -> string",
            "IP -> string",
            "CIDR -> string",
        ],
        Price::WalkAll,
        string,
    ),
    global("bytes", &["bytes -> bytes", "string -> bytes"], Price::WalkAll, |_, args| match &args[0] {
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.clone())),
        Value::Text(text) => Ok(Value::Bytes(text.as_bytes().into())),
        _ => Err(RunError::overload()),
    }),
    global(
        "timestamp",
        &["timestamp -> timestamp", "string -> timestamp", "int -> timestamp"],
        Price::One,
        |_, args| match &args[0] {
            Value::Timestamp(moment) => Ok(Value::Timestamp(*moment)),
            Value::Text(text) => Moment::parse(text).map(Value::Timestamp).ok_or_else(|| {
                RunError::new(format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse"))
            }),
            Value::Int(secs) => {
                Moment::new(*secs, 0).map(Value::Timestamp).ok_or_else(|| RunError::new("timestamp overflow"))
            }
            _ => Err(RunError::overload()),
        },
    ),
    global(
        "duration",
        &["duration -> duration", "string -> duration", "int -> duration"],
        Price::One,
        |_, args| match &args[0] {
            Value::Duration(nanos) | Value::Int(nanos) => Ok(Value::Duration(*nanos)),
            Value::Text(text) => moment::duration(text)
                .map(Value::Duration)
                .ok_or_else(|| RunError::new(format!("time: invalid duration {text:?}"))),
            _ => Err(RunError::overload()),
        },
    ),
    global("dyn", &["A -> dyn"], Price::One, |_, args| Ok(args[0].clone())),
    global("type", &["A -> type"], Price::One, |_, args| Ok(Value::Type(args[0].type_name().into()))),
];

#[expect(clippy::cast_possible_truncation, reason = "checked against the bounds before")]
fn int(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    match &args[0] {
        Value::Int(n) | Value::Duration(n) => Ok(Value::Int(*n)),
        Value::Uint(n) => i64::try_from(*n).map(Value::Int).map_err(|_| super::operators::overflow()),
        Value::Double(n) if n.abs() < 9_223_372_036_854_775_807.0 => Ok(Value::Int(*n as i64)),
        Value::Double(_) => Err(super::operators::overflow()),
        Value::Text(text) => text.parse().map(Value::Int).map_err(|_| unparsed("Int", text)),
        Value::Timestamp(moment) => Ok(Value::Int(moment.secs)),
        _ => Err(RunError::overload()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked against the bounds before"
)]
fn uint(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    match &args[0] {
        Value::Uint(n) => Ok(Value::Uint(*n)),
        Value::Int(n) => {
            u64::try_from(*n).map(Value::Uint).map_err(|_| super::operators::unsigned_overflow())
        }
        Value::Double(n) if (0.0..18_446_744_073_709_551_615.0).contains(n) => Ok(Value::Uint(*n as u64)),
        Value::Double(_) => Err(super::operators::unsigned_overflow()),
        Value::Text(text) => text.parse().map(Value::Uint).map_err(|_| unparsed("Uint", text)),
        _ => Err(RunError::overload()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "what the conversion is")]
fn double(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    match &args[0] {
        Value::Double(n) => Ok(Value::Double(*n)),
        Value::Int(n) => Ok(Value::Double(*n as f64)),
        Value::Uint(n) => Ok(Value::Double(*n as f64)),
        Value::Text(text) => text.parse().map(Value::Double).map_err(|_| unparsed("Float", text)),
        _ => Err(RunError::overload()),
    }
}

fn unparsed(what: &str, text: &str) -> RunError {
    RunError::new(format!("strconv.Parse{what}: parsing {text:?}: invalid syntax"))
}

fn string(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    let text = match &args[0] {
        Value::Text(text) => return Ok(Value::Text(text.clone())),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => number(*n),
        Value::Bytes(bytes) => String::from_utf8(bytes.to_vec())
            .map_err(|_| RunError::new("invalid UTF-8 in bytes, cannot convert to string"))?,
        Value::Timestamp(moment) => moment.to_string(),
        Value::Duration(nanos) => moment::seconds(*nanos),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(cidr) => cidr.to_string(),
        _ => return Err(RunError::overload()),
    };
    Ok(Value::Text(text.into()))
}

/// A double as Go's shortest form writes it.
pub(crate) fn number(n: f64) -> String {
    match n {
        n if n.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        n if n != 0.0 && !(1e-4..1e21).contains(&n.abs()) => {
            let text = format!("{n:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        n => n.to_string(),
    }
}
