//! Texts: the standard functions and cel-go's string extension, version 2.

use super::{Outcome, Row, global, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::run::Run;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    member("contains", &["string, string -> bool"], Price::Search, |_, args| {
        let (text, part) = pair(args)?;
        Ok(Value::Bool(text.contains(part)))
    }),
    member("startsWith", &["string, string -> bool"], Price::Walk(1), |_, args| {
        let (text, part) = pair(args)?;
        Ok(Value::Bool(text.starts_with(part)))
    }),
    member("endsWith", &["string, string -> bool"], Price::Walk(1), |_, args| {
        let (text, part) = pair(args)?;
        Ok(Value::Bool(text.ends_with(part)))
    }),
    member("charAt", &["string, int -> string"], Price::WalkAll, |_, args| {
        let [Value::Text(text), Value::Int(index)] = args else { return Err(RunError::overload()) };
        let count = text.chars().count();
        let found = usize::try_from(*index).ok().filter(|i| *i <= count);
        let index = found.ok_or_else(|| out_of_range(*index))?;
        Ok(Value::Text(text.chars().nth(index).map(String::from).unwrap_or_default().into()))
    }),
    member("indexOf", &["string, string -> int", "string, string, int -> int"], Price::Search, index_of),
    member(
        "lastIndexOf",
        &["string, string -> int", "string, string, int -> int"],
        Price::Search,
        last_index_of,
    ),
    member("lowerAscii", &["string -> string"], Price::WalkAll, |_, args| {
        Ok(Value::Text(one(args)?.to_ascii_lowercase().into()))
    }),
    member("upperAscii", &["string -> string"], Price::WalkAll, |_, args| {
        Ok(Value::Text(one(args)?.to_ascii_uppercase().into()))
    }),
    member("trim", &["string -> string"], Price::WalkAll, |_, args| Ok(Value::text(one(args)?.trim()))),
    member(
        "replace",
        &["string, string, string -> string", "string, string, string, int -> string"],
        Price::Replace,
        replace,
    ),
    member(
        "split",
        &["string, string -> list<string>", "string, string, int -> list<string>"],
        Price::WalkAll,
        split,
    ),
    member("substring", &["string, int -> string", "string, int, int -> string"], Price::WalkAll, substring),
    member("join", &["list<string> -> string", "list<string>, string -> string"], Price::Items(0), join),
    global("strings.quote", &["string -> string"], Price::WalkAll, |_, args| {
        Ok(Value::Text(quoted(one(args)?).into()))
    }),
];

/// The only argument, a text.
pub(super) fn one(args: &[Value]) -> Result<&str, RunError> {
    match args {
        [Value::Text(text)] => Ok(text),
        _ => Err(RunError::overload()),
    }
}

/// The first two arguments, texts.
pub(super) fn pair(args: &[Value]) -> Result<(&str, &str), RunError> {
    match args {
        [Value::Text(a), Value::Text(b), ..] => Ok((a, b)),
        _ => Err(RunError::overload()),
    }
}

/// A further argument, a whole number.
fn count(args: &[Value], at: usize) -> Result<Option<i64>, RunError> {
    match args.get(at) {
        None => Ok(None),
        Some(Value::Int(n)) => Ok(Some(*n)),
        Some(_) => Err(RunError::overload()),
    }
}

fn out_of_range(index: i64) -> RunError {
    RunError::new(format!("index out of range: {index}"))
}

/// Where the characters of a text begin, with its end.
fn starts(text: &str) -> Vec<usize> {
    text.char_indices().map(|(i, _)| i).chain([text.len()]).collect()
}

fn whole(n: usize) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

pub(super) fn index_of(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    if let [Value::List(list), item] = args {
        return super::lists::index(list.items.iter().position(|other| other.is_equal(item)));
    }
    let (text, part) = pair(args)?;
    let from = count(args, 2)?.unwrap_or(0);
    let starts = starts(text);
    let offset =
        usize::try_from(from).ok().filter(|i| *i < starts.len()).ok_or_else(|| out_of_range(from))?;
    match text[starts[offset]..].find(part) {
        Some(at) => Ok(whole(offset + text[starts[offset]..][..at].chars().count())),
        None => Ok(Value::Int(-1)),
    }
}

pub(super) fn last_index_of(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    if let [Value::List(list), item] = args {
        return super::lists::index(list.items.iter().rposition(|other| other.is_equal(item)));
    }
    let (text, part) = pair(args)?;
    let starts = starts(text);
    let last = starts.len() - 1;
    let until = match count(args, 2)? {
        Some(n) => usize::try_from(n).ok().filter(|i| *i <= last).ok_or_else(|| out_of_range(n))?,
        None => last,
    };
    // The part may reach beyond the place it begins at.
    let end = (starts[until] + part.len()).min(text.len());
    let end = (0..=end).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    match text[..end].rfind(part).filter(|at| *at <= starts[until]) {
        Some(at) => Ok(whole(text[..at].chars().count())),
        None => Ok(Value::Int(-1)),
    }
}

fn replace(run: &mut Run<'_>, args: &[Value]) -> Outcome {
    let [Value::Text(text), Value::Text(from), Value::Text(to), ..] = args else {
        return Err(RunError::overload());
    };
    let limit = count(args, 3)?.unwrap_or(-1);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // What it makes may be far larger than what it is made from.
    let found = text.matches(&**from).take(limit).count();
    run.pay_text(text.len().saturating_add(found.saturating_mul(to.len())))?;
    Ok(Value::Text(text.replacen(&**from, to, limit).into()))
}

fn split(run: &mut Run<'_>, args: &[Value]) -> Outcome {
    let (text, by) = pair(args)?;
    let limit = count(args, 2)?.unwrap_or(-1);
    if limit == 0 {
        return Ok(Value::list(Vec::new()));
    }
    run.pay(text.len() as u64 / 10)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if by.is_empty() {
        return Ok(Value::list(letters(text, limit)));
    }
    Ok(Value::list(text.splitn(limit, by).map(Value::text).collect()))
}

/// The characters of a text; the last part is the rest.
fn letters(text: &str, limit: usize) -> Vec<Value> {
    let starts = starts(text);
    let count = (starts.len() - 1).min(limit);
    let end = |i: usize| if i + 1 == count { text.len() } else { starts[i + 1] };
    (0..count).map(|i| Value::text(&text[starts[i]..end(i)])).collect()
}

fn substring(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    let Some(Value::Text(text)) = args.first() else { return Err(RunError::overload()) };
    let starts = starts(text);
    let last = starts.len() - 1;
    let place = |n: i64| usize::try_from(n).ok().filter(|i| *i <= last).ok_or_else(|| out_of_range(n));
    let from = place(count(args, 1)?.unwrap_or(0))?;
    let until = count(args, 2)?.map_or(Ok(last), place)?;
    if from > until {
        let message = format!("invalid substring range. start: {from}, end: {until}");
        return Err(RunError::new(message));
    }
    Ok(Value::text(&text[starts[from]..starts[until]]))
}

fn join(run: &mut Run<'_>, args: &[Value]) -> Outcome {
    let Some(Value::List(list)) = args.first() else { return Err(RunError::overload()) };
    let by = match args.get(1) {
        Some(Value::Text(by)) => by,
        Some(_) => return Err(RunError::overload()),
        None => "",
    };
    let mut length = 0_usize;
    for item in &list.items {
        let Value::Text(text) = item else { return Err(RunError::overload()) };
        length = length.saturating_add(text.len() + by.len());
    }
    run.pay_text(length)?;
    let mut out = String::with_capacity(length);
    for (i, item) in list.items.iter().enumerate() {
        let Value::Text(text) = item else { return Err(RunError::overload()) };
        if i > 0 {
            out.push_str(by);
        }
        out.push_str(text);
    }
    Ok(Value::Text(out.into()))
}

/// A text in double quotes, with what must be escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
