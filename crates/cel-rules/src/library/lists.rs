//! Kubernetes' functions of lists.

use std::cmp::Ordering;

use super::{Outcome, Row, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::run::Run;
use crate::value::{List, Value};

const FOUND: &[&str] = &["list<A>, A -> int"];
const SUMMED: &[&str] =
    &["list<int> -> int", "list<uint> -> uint", "list<double> -> double", "list<duration> -> duration"];
const EXTREME: &[&str] = &[
    "list<int> -> int",
    "list<uint> -> uint",
    "list<double> -> double",
    "list<bool> -> bool",
    "list<duration> -> duration",
    "list<timestamp> -> timestamp",
    "list<string> -> string",
    "list<bytes> -> bytes",
];
const SORTED: &[&str] = &[
    "list<int> -> bool",
    "list<uint> -> bool",
    "list<double> -> bool",
    "list<bool> -> bool",
    "list<duration> -> bool",
    "list<timestamp> -> bool",
    "list<string> -> bool",
    "list<bytes> -> bool",
];

pub(super) const TABLE: &[Row] = &[
    member("isSorted", SORTED, Price::Items(0), |run, args| {
        let list = list(args)?;
        for pair in list.items.windows(2) {
            run.pay(pair[0].size() / 10)?;
            if compare(&pair[0], &pair[1])?.is_gt() {
                return Ok(Value::Bool(false));
            }
        }
        Ok(Value::Bool(true))
    }),
    member("sum", SUMMED, Price::Items(0), |run, args| {
        let list = list(args)?;
        let mut items = list.items.iter();
        // Nothing is known of an empty list's type when it runs; numbers that are equal are equal across types.
        let mut sum = items.next().cloned().unwrap_or(Value::Int(0));
        let add = super::find("_+_", false).ok_or_else(RunError::overload)?;
        for item in items {
            sum = (add.run)(run, &[sum, item.clone()])?;
        }
        Ok(sum)
    }),
    member("min", EXTREME, Price::Items(0), |run, args| extreme(run, args, "min", Ordering::is_lt)),
    member("max", EXTREME, Price::Items(0), |run, args| extreme(run, args, "max", Ordering::is_gt)),
    // The text functions of these names look at lists too: one function stands behind a name.
    member("indexOf", FOUND, Price::Items(0), super::strings::index_of),
    member("lastIndexOf", FOUND, Price::Items(0), super::strings::last_index_of),
];

fn list(args: &[Value]) -> Result<&List, RunError> {
    match args.first() {
        Some(Value::List(list)) => Ok(list),
        _ => Err(RunError::overload()),
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, RunError> {
    a.compare(b).ok_or_else(RunError::overload)
}

fn extreme(run: &mut Run<'_>, args: &[Value], name: &str, is_better: fn(Ordering) -> bool) -> Outcome {
    let mut items = list(args)?.items.iter();
    let none = || RunError::new(format!("{name} called on empty list"));
    let mut best = items.next().ok_or_else(none)?;
    for item in items {
        run.pay(item.size() / 10)?;
        if is_better(compare(item, best)?) {
            best = item;
        }
    }
    Ok(best.clone())
}

pub(super) fn index(found: Option<usize>) -> Outcome {
    Ok(Value::Int(found.and_then(|i| i64::try_from(i).ok()).unwrap_or(-1)))
}
