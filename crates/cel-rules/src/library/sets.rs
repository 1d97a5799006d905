//! Lists taken as sets.

use super::{Outcome, Row, global};
use crate::cost::Price;
use crate::fault::RunError;
use crate::value::{List, Value};

const BOTH: &[&str] = &["list<A>, list<A> -> bool"];

pub(super) const TABLE: &[Row] = &[
    global("sets.contains", BOTH, Price::Pairs, |_, args| {
        judge(args, |a, b| b.items.iter().all(|x| has(a, x)))
    }),
    global("sets.equivalent", BOTH, Price::Pairs, |_, args| {
        judge(args, |a, b| a.items.iter().all(|x| has(b, x)) && b.items.iter().all(|x| has(a, x)))
    }),
    global("sets.intersects", BOTH, Price::Pairs, |_, args| {
        judge(args, |a, b| a.items.iter().any(|x| has(b, x)))
    }),
];

fn has(list: &List, value: &Value) -> bool {
    list.items.iter().any(|item| item.is_equal(value))
}

fn judge(args: &[Value], is: fn(&List, &List) -> bool) -> Outcome {
    match args {
        [Value::List(a), Value::List(b)] => Ok(Value::Bool(is(a, b))),
        _ => Err(RunError::overload()),
    }
}
