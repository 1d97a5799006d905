//! `'%s is %d'.format([name, count])`.

use std::fmt::Write as _;

use super::convert::number;
use super::{Outcome, Row, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::moment;
use crate::run::Run;
use crate::value::{Key, Value};

pub(super) const TABLE: &[Row] =
    &[member("format", &["string, list<dyn> -> string"], Price::WalkAll, format_text)];

/// Digits behind the point are not more than this.
const PRECISION_MAX: usize = 100;

fn format_text(run: &mut Run<'_>, args: &[Value]) -> Outcome {
    let [Value::Text(template), Value::List(values)] = args else { return Err(RunError::overload()) };
    let mut out = String::new();
    let mut values = values.items.iter().enumerate();
    let mut rest = &**template;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (precision, after) = precision(rest)?;
        let Some(clause) = after.chars().next() else {
            return Err(RunError::new("could not parse formatting clause: unexpected end of string"));
        };
        rest = &after[clause.len_utf8()..];
        let Some((index, value)) = values.next() else {
            return Err(RunError::new(format!("index {} out of range", args_count(&args[1]))));
        };
        let before = out.len();
        write(run, &mut out, clause, precision, value).map_err(|e| match e {
            RunError::Value(why) => {
                RunError::new(format!("error during formatting: {why} (argument {index})"))
            }
            cost => cost,
        })?;
        run.pay_text(out.len() - before)?;
    }
    out.push_str(rest);
    Ok(Value::Text(out.into()))
}

fn args_count(list: &Value) -> u64 {
    list.size()
}

fn precision(text: &str) -> Result<(Option<usize>, &str), RunError> {
    let Some(rest) = text.strip_prefix('.') else { return Ok((None, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let count = rest[..end].parse().ok().filter(|n| *n <= PRECISION_MAX);
    let count = count.ok_or_else(|| RunError::new("error while parsing precision"))?;
    Ok((Some(count), &rest[end..]))
}

fn write(
    run: &mut Run<'_>,
    out: &mut String,
    clause: char,
    precision: Option<usize>,
    value: &Value,
) -> Result<(), RunError> {
    let wrong = |wanted: &str| {
        RunError::new(format!(
            "{wanted} clause can only be used on such values, was given {}",
            value.type_name()
        ))
    };
    let digits = precision.unwrap_or(6);
    let done = match (clause, value) {
        ('s', value) => return plain(run, out, value, 0),
        ('d', Value::Int(n)) => write!(out, "{n}"),
        ('d', Value::Uint(n)) => write!(out, "{n}"),
        ('d' | 'f' | 'e', Value::Double(n)) if !n.is_finite() => write!(out, "{}", number(*n)),
        ('f', Value::Double(n)) => write!(out, "{n:.digits$}"),
        ('f', Value::Int(n)) => write!(out, "{n}.{}", "0".repeat(digits)),
        ('e', Value::Double(n)) => {
            let text = format!("{n:.digits$e}");
            let (head, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            write!(out, "{head}e{sign}{exponent:0>2}")
        }
        ('b', Value::Int(n)) => write!(out, "{}{:b}", if *n < 0 { "-" } else { "" }, n.unsigned_abs()),
        ('b', Value::Uint(n)) => write!(out, "{n:b}"),
        ('b', Value::Bool(b)) => write!(out, "{}", u8::from(*b)),
        ('o', Value::Int(n)) => write!(out, "{}{:o}", if *n < 0 { "-" } else { "" }, n.unsigned_abs()),
        ('o', Value::Uint(n)) => write!(out, "{n:o}"),
        ('x', Value::Int(n)) => write!(out, "{}{:x}", if *n < 0 { "-" } else { "" }, n.unsigned_abs()),
        ('X', Value::Int(n)) => write!(out, "{}{:X}", if *n < 0 { "-" } else { "" }, n.unsigned_abs()),
        ('x', Value::Uint(n)) => write!(out, "{n:x}"),
        ('X', Value::Uint(n)) => write!(out, "{n:X}"),
        ('x', Value::Text(text)) => text.bytes().try_for_each(|b| write!(out, "{b:02x}")),
        ('X', Value::Text(text)) => text.bytes().try_for_each(|b| write!(out, "{b:02X}")),
        ('x', Value::Bytes(bytes)) => bytes.iter().try_for_each(|b| write!(out, "{b:02x}")),
        ('X', Value::Bytes(bytes)) => bytes.iter().try_for_each(|b| write!(out, "{b:02X}")),
        ('d', _) => return Err(wrong("decimal")),
        ('f' | 'e', _) => return Err(wrong("fixed-point and scientific")),
        ('b' | 'o' | 'x' | 'X', _) => return Err(wrong("integer")),
        (other, _) => return Err(RunError::new(format!("unrecognized formatting clause \"{other}\""))),
    };
    done.map_err(|_| RunError::new("could not be written"))
}

/// Values within values are shown to this depth.
const DEPTH_MAX: usize = 32;

/// A value as `%s` shows it.
fn plain(run: &mut Run<'_>, out: &mut String, value: &Value, depth: usize) -> Result<(), RunError> {
    run.pay(1)?;
    if depth > DEPTH_MAX {
        return Err(RunError::new("values are nested too deeply"));
    }
    let text = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => number(*n),
        Value::Text(text) => {
            run.pay_text(text.len())?;
            text.to_string()
        }
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(nanos) => moment::seconds(*nanos),
        Value::Timestamp(moment) => moment.to_string(),
        Value::Type(name) => name.to_string(),
        Value::List(list) => {
            out.push('[');
            for (i, item) in list.items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                plain(run, out, item, depth + 1)?;
            }
            "]".to_owned()
        }
        Value::Map(map) => {
            out.push('{');
            for (i, (key, value)) in map.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                match key {
                    Key::Text(text) => out.push_str(text),
                    other => plain(run, out, &other.value(), depth + 1)?,
                }
                out.push_str(": ");
                plain(run, out, value, depth + 1)?;
            }
            "}".to_owned()
        }
        other => {
            let why = format!(
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, \
                 and timestamps, was given {}",
                other.type_name()
            );
            return Err(RunError::new(why));
        }
    };
    out.push_str(&text);
    Ok(())
}
