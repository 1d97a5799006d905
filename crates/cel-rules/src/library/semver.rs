//! Semantic versions, and the comparisons they share with quantities.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Outcome, Row, global, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::run::Run;
use crate::value::Value;

/// A version: `1.2.3-rc.1+build`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    /// Parts of the pre-release; none for a release.
    pre: Vec<Part>,
}

/// A part of a pre-release: numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Number(u64),
    Word(String),
}

const MADE: &[&str] = &["string -> Semver", "string, bool -> Semver"];
const JUDGED: &[&str] = &["string -> bool", "string, bool -> bool"];

pub(super) const TABLE: &[Row] = &[
    global("semver", MADE, Price::WalkAll, |_, args| {
        let found = read(args)?;
        found.map(|v| Value::Semver(Arc::new(v))).ok_or_else(|| RunError::new("invalid semantic version"))
    }),
    global("isSemver", JUDGED, Price::WalkAll, |_, args| Ok(Value::Bool(read(args)?.is_some()))),
    member("major", &["Semver -> int"], Price::One, |_, args| number(args, 0)),
    member("minor", &["Semver -> int"], Price::One, |_, args| number(args, 1)),
    member("patch", &["Semver -> int"], Price::One, |_, args| number(args, 2)),
    member("isLessThan", &["Semver, Semver -> bool"], Price::One, |run, args| {
        compared(run, args, Ordering::is_lt)
    }),
    member("isGreaterThan", &["Semver, Semver -> bool"], Price::One, |run, args| {
        compared(run, args, Ordering::is_gt)
    }),
    member("compareTo", &["Semver, Semver -> int"], Price::One, compare_to),
];

/// The order of two quantities or versions. Both libraries share names, so one function serves both.
fn order(args: &[Value]) -> Result<Ordering, RunError> {
    match args {
        [Value::Quantity(a), Value::Quantity(b)] => Ok(a.cmp(b)),
        [Value::Semver(a), Value::Semver(b)] => Ok(a.rank().cmp(&b.rank())),
        _ => Err(RunError::overload()),
    }
}

pub(super) fn compared(_: &mut Run<'_>, args: &[Value], is: fn(Ordering) -> bool) -> Outcome {
    order(args).map(|o| Value::Bool(is(o)))
}

pub(super) fn compare_to(_: &mut Run<'_>, args: &[Value]) -> Outcome {
    order(args).map(|o| Value::Int(o as i64))
}

fn number(args: &[Value], at: usize) -> Outcome {
    match args.first() {
        Some(Value::Semver(version)) => {
            Ok(Value::Int(i64::try_from(version.numbers[at]).unwrap_or(i64::MAX)))
        }
        _ => Err(RunError::overload()),
    }
}

fn read(args: &[Value]) -> Result<Option<Semver>, RunError> {
    match args {
        [Value::Text(text)] | [Value::Text(text), Value::Bool(false)] => Ok(Semver::parse(text)),
        [Value::Text(text), Value::Bool(true)] => Ok(Semver::parse(&normal(text))),
        _ => Err(RunError::overload()),
    }
}

/// A tolerated form made strict: `v1.02` is `1.2.0`.
fn normal(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let mut numbers: Vec<&str> = core.split('.').collect();
    while numbers.len() < 3 {
        numbers.push("0");
    }
    let bare = |n: &&str| match n.trim_start_matches('0') {
        "" if !n.is_empty() => "0".to_owned(),
        n => n.to_owned(),
    };
    format!("{}{rest}", numbers.iter().map(bare).collect::<Vec<_>>().join("."))
}

impl Semver {
    /// Reads a version in its strict form.
    pub fn parse(text: &str) -> Option<Semver> {
        let (text, build) = text.split_once('+').map_or((text, None), |(t, b)| (t, Some(b)));
        let (core, pre) = text.split_once('-').map_or((text, None), |(t, p)| (t, Some(p)));
        let numbers: Vec<u64> = core.split('.').map(strict_number).collect::<Option<_>>()?;
        let numbers = <[u64; 3]>::try_from(numbers).ok()?;
        let pre = pre.map_or(Some(Vec::new()), |pre| pre.split('.').map(part).collect())?;
        if let Some(build) = build
            && !build.split('.').all(is_word)
        {
            return None;
        }
        Some(Semver { numbers, pre })
    }

    /// What versions are ordered by: a release comes after what precedes it.
    pub(crate) fn rank(&self) -> ([u64; 3], bool, &[Part]) {
        (self.numbers, self.pre.is_empty(), &self.pre)
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn strict_number(text: &str) -> Option<u64> {
    let is_strict = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if is_strict { text.parse().ok() } else { None }
}

fn part(text: &str) -> Option<Part> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return strict_number(text).map(Part::Number);
    }
    is_word(text).then(|| Part::Word(text.to_owned()))
}
