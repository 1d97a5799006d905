//! Fields of moments and of lengths of time.

use super::{Outcome, Row, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::moment::Calendar;
use crate::value::Value;

const MOMENT: &[&str] = &["timestamp -> int", "timestamp, string -> int"];
const BOTH: &[&str] = &["timestamp -> int", "timestamp, string -> int", "duration -> int"];

pub(super) const TABLE: &[Row] = &[
    member("getFullYear", MOMENT, Price::One, |_, args| of(args, |c| c.year)),
    member("getMonth", MOMENT, Price::One, |_, args| of(args, |c| c.month - 1)),
    member("getDayOfYear", MOMENT, Price::One, |_, args| of(args, |c| c.year_day)),
    member("getDayOfMonth", MOMENT, Price::One, |_, args| of(args, |c| c.day - 1)),
    member("getDate", MOMENT, Price::One, |_, args| of(args, |c| c.day)),
    member("getDayOfWeek", MOMENT, Price::One, |_, args| of(args, |c| c.week_day)),
    member("getHours", BOTH, Price::One, |_, args| either(args, 3_600_000_000_000, |c| c.hour)),
    member("getMinutes", BOTH, Price::One, |_, args| either(args, 60_000_000_000, |c| c.minute)),
    member("getSeconds", BOTH, Price::One, |_, args| either(args, 1_000_000_000, |c| c.second)),
    member("getMilliseconds", BOTH, Price::One, |_, args| match args.first() {
        Some(Value::Timestamp(moment)) => Ok(Value::Int(i64::from(moment.nanos / 1_000_000))),
        Some(Value::Duration(nanos)) => Ok(Value::Int(nanos % 1_000_000_000 / 1_000_000)),
        _ => Err(RunError::overload()),
    }),
];

fn of(args: &[Value], field: fn(Calendar) -> i64) -> Outcome {
    let Some(Value::Timestamp(moment)) = args.first() else { return Err(RunError::overload()) };
    let zone = match args.get(1) {
        None => "UTC",
        Some(Value::Text(zone)) => zone,
        Some(_) => return Err(RunError::overload()),
    };
    let calendar = moment.calendar(zone).ok_or_else(|| RunError::new(format!("unknown time zone {zone}")))?;
    Ok(Value::Int(field(calendar)))
}

/// A field of a moment, or the whole of a length of time in a unit.
fn either(args: &[Value], unit_ns: i64, field: fn(Calendar) -> i64) -> Outcome {
    match args {
        [Value::Duration(nanos)] => Ok(Value::Int(nanos / unit_ns)),
        _ => of(args, field),
    }
}
