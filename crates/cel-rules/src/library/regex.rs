//! Patterns.

use super::strings::pair;
use super::{Row, global, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::value::Value;

const MATCHES: &[&str] = &["string, string -> bool"];

pub(super) const TABLE: &[Row] = &[
    global("matches", MATCHES, Price::Pattern, |run, args| {
        let (text, pattern) = pair(args)?;
        Ok(Value::Bool(run.pattern(pattern)?.is_match(text)))
    }),
    member("matches", MATCHES, Price::Pattern, |run, args| {
        let (text, pattern) = pair(args)?;
        Ok(Value::Bool(run.pattern(pattern)?.is_match(text)))
    }),
    member("find", &["string, string -> string"], Price::Pattern, |run, args| {
        let (text, pattern) = pair(args)?;
        Ok(Value::text(run.pattern(pattern)?.find(text).map_or("", |m| m.as_str())))
    }),
    member(
        "findAll",
        &["string, string -> list<string>", "string, string, int -> list<string>"],
        Price::Pattern,
        |run, args| {
            let (text, pattern) = pair(args)?;
            let limit = match args.get(2) {
                None => usize::MAX,
                Some(Value::Int(n)) => usize::try_from(*n).unwrap_or(usize::MAX),
                Some(_) => return Err(RunError::overload()),
            };
            run.pay(text.len() as u64 / 10)?;
            let pattern = run.pattern(pattern)?;
            let found = pattern.find_iter(text).take(limit);
            Ok(Value::list(found.map(|m| Value::text(m.as_str())).collect()))
        },
    ),
];
