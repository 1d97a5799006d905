//! Quantities of resources: `1Gi`, `500m`.

use std::cmp::Ordering;

use api_meta::Written;

use super::strings::one;
use super::{Outcome, Row, global, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::value::Value;

/// A quantity, exact to a billionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i128);

const UNIT: i128 = 1_000_000_000;

const COMPARED: &[&str] = &["Quantity, Quantity -> bool"];
const SUMMED: &[&str] = &["Quantity, Quantity -> Quantity", "Quantity, int -> Quantity"];

pub(super) const TABLE: &[Row] = &[
    global("quantity", &["string -> Quantity"], Price::WalkAll, |_, args| {
        Amount::parse(one(args)?).map(Value::Quantity).ok_or_else(|| {
            RunError::new(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            )
        })
    }),
    global("isQuantity", &["string -> bool"], Price::WalkAll, |_, args| {
        Ok(Value::Bool(Amount::parse(one(args)?).is_some()))
    }),
    member("sign", &["Quantity -> int"], Price::One, |_, args| {
        Ok(Value::Int(i64::try_from(own(args)?.0.signum()).unwrap_or(0)))
    }),
    member("isInteger", &["Quantity -> bool"], Price::One, |_, args| {
        Ok(Value::Bool(own(args)?.whole().is_some()))
    }),
    member("asInteger", &["Quantity -> int"], Price::One, |_, args| {
        own(args)?.whole().map(Value::Int).ok_or_else(|| RunError::new("cannot convert value to integer"))
    }),
    member("asApproximateFloat", &["Quantity -> double"], Price::One, |_, args| {
        #[expect(clippy::cast_precision_loss, reason = "approximate by name")]
        Ok(Value::Double(own(args)?.0 as f64 / UNIT as f64))
    }),
    member("add", SUMMED, Price::One, |_, args| combine(args, i128::checked_add)),
    member("sub", SUMMED, Price::One, |_, args| combine(args, i128::checked_sub)),
    member("isLessThan", COMPARED, Price::One, |run, args| {
        super::semver::compared(run, args, Ordering::is_lt)
    }),
    member("isGreaterThan", COMPARED, Price::One, |run, args| {
        super::semver::compared(run, args, Ordering::is_gt)
    }),
    member("compareTo", &["Quantity, Quantity -> int"], Price::One, super::semver::compare_to),
];

fn own(args: &[Value]) -> Result<Amount, RunError> {
    match args.first() {
        Some(Value::Quantity(amount)) => Ok(*amount),
        _ => Err(RunError::overload()),
    }
}

fn combine(args: &[Value], by: fn(i128, i128) -> Option<i128>) -> Outcome {
    let other = match &args[1] {
        Value::Quantity(amount) => amount.0,
        Value::Int(n) => i128::from(*n) * UNIT,
        _ => return Err(RunError::overload()),
    };
    by(own(args)?.0, other).map(|n| Value::Quantity(Amount(n))).ok_or_else(super::operators::overflow)
}

impl Amount {
    /// Reads a quantity; nothing when the text is none. Parts finer than a billionth are rounded up.
    pub fn parse(text: &str) -> Option<Amount> {
        let Written { is_negative, whole, part, binary, decimal } = Written::read(text)?;
        let decimal = decimal.clamp(-1000, 1000);
        let digits = [whole, part].concat();
        let digits = digits.trim_start_matches('0');
        let size = if digits.is_empty() { 0 } else { billionths(digits, part.len(), binary, decimal) };
        Some(Amount(if is_negative { -size } else { size }))
    }

    fn whole(self) -> Option<i64> {
        if self.0 % UNIT == 0 { i64::try_from(self.0 / UNIT).ok() } else { None }
    }
}

/// `digits` × 2^binary × 10^(decimal − part) in billionths; too large ones are the largest there is.
fn billionths(digits: &str, part: usize, binary: u32, decimal: i32) -> i128 {
    const LARGEST: i128 = i128::MAX / 2;
    let exponent = i64::from(decimal) + 9 - i64::try_from(part).unwrap_or(i64::MAX / 2);
    // Digits that cannot matter go before arithmetic.
    let kept = digits.len().min(36);
    let exponent = exponent + i64::try_from(digits.len() - kept).unwrap_or(i64::MAX / 2);
    let Ok(mantissa) = digits[..kept].parse::<i128>() else { return LARGEST };
    let power = u32::try_from(exponent.unsigned_abs()).ok().and_then(|e| 10_i128.checked_pow(e));
    if exponent >= 0 {
        let scaled = power.and_then(|p| mantissa.checked_mul(p)).and_then(|n| n.checked_mul(1 << binary));
        return scaled.unwrap_or(LARGEST);
    }
    let Some(power) = power else { return i128::from(mantissa != 0) };
    match mantissa.checked_mul(1 << binary) {
        Some(n) => n / power + i128::from(n % power != 0),
        None => (mantissa / power).checked_mul(1 << binary).unwrap_or(LARGEST),
    }
}
