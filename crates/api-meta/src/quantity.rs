//! Resource quantities: `500m`, `1.5Gi`, `2e3`. Held exactly, in thousandths where they fit.

use std::fmt;
use std::str::FromStr;

/// Largest absolute value in thousandths: upstream caps quantities at the largest `int64`.
const MAX: i128 = i64::MAX as i128 * 1000;

/// A parsed quantity in thousandths of its unit. Values finer than a thousandth are rounded up, as Kubernetes does for requests; greater
/// ones than upstream can hold are capped, as there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

/// A text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct QuantityError(pub String);

impl Quantity {
    /// From thousandths.
    pub const fn from_milli(milli: i64) -> Quantity {
        Quantity(milli as i128)
    }

    /// From whole units.
    pub const fn from_units(units: i64) -> Quantity {
        Quantity(units as i128 * 1000)
    }

    /// Thousandths; saturates at the bounds of `i64`.
    pub fn milli(self) -> i64 {
        i64::try_from(self.0).unwrap_or(if self.0 < 0 { i64::MIN } else { i64::MAX })
    }

    /// Whole units, rounded up; saturates at the bounds of `i64`.
    pub fn units(self) -> i64 {
        let up = self.0.div_euclid(1000) + i128::from(self.0.rem_euclid(1000) != 0);
        i64::try_from(up).unwrap_or(if up < 0 { i64::MIN } else { i64::MAX })
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Quantity, QuantityError> {
        parse(text).map(Quantity).ok_or_else(|| QuantityError(text.to_owned()))
    }
}

/// The parts of a quantity as it is written: `[-]WHOLE[.PART] × 2^binary × 10^decimal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written<'a> {
    /// Whether a minus stands before it.
    pub is_negative: bool,
    /// Digits before the point; may be empty when there are some after it.
    pub whole: &'a str,
    /// Digits after the point.
    pub part: &'a str,
    /// Power of two of the suffix.
    pub binary: u32,
    /// Power of ten of the suffix.
    pub decimal: i32,
}

impl Written<'_> {
    /// Takes a text apart; nothing when it is no quantity. How exactly and how large a value may be is up to the caller.
    pub fn read(text: &str) -> Option<Written<'_>> {
        let (is_negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') {
            return None;
        }
        let (binary, decimal) = scale(suffix)?;
        Some(Written { is_negative, whole, part, binary, decimal })
    }
}

/// Thousandths of the quantity, or nothing when the text is none.
fn parse(text: &str) -> Option<i128> {
    let Written { is_negative, whole, part, binary, decimal } = Written::read(text)?;
    let digits: String = [whole, part].concat();
    let mantissa: i128 = if digits.len() > 30 { return None } else { digits.parse().ok()? };
    if mantissa == 0 {
        return Some(0);
    }
    // value in thousandths = mantissa * 2^binary * 10^(decimal + 3 - len(part))
    let exponent = decimal.checked_add(3)?.checked_sub(i32::try_from(part.len()).ok()?)?;
    let scaled = mantissa.checked_mul(1i128.checked_shl(binary)?)?;
    let value = if exponent >= 0 {
        let by = 10i128.checked_pow(u32::try_from(exponent).ok()?);
        by.and_then(|by| scaled.checked_mul(by)).unwrap_or(MAX)
    } else {
        match 10i128.checked_pow(exponent.unsigned_abs()) {
            Some(by) => scaled.div_euclid(by) + i128::from(scaled.rem_euclid(by) != 0),
            None => i128::from(scaled != 0),
        }
    };
    let value = value.min(MAX);
    Some(if is_negative { -value } else { value })
}

/// Powers of two and of ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

impl fmt::Display for Quantity {
    /// Whole units when exact, thousandths otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 % 1000 == 0 { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_usual_forms() {
        let milli = |t: &str| t.parse::<Quantity>().map(Quantity::milli);
        assert_eq!(milli("500m"), Ok(500));
        assert_eq!(milli("1.5"), Ok(1500));
        assert_eq!(milli("2e3"), Ok(2_000_000));
        assert_eq!(milli("1Ki"), Ok(1_024_000));
        assert_eq!(milli(".5Mi"), Ok(524_288_000));
        assert_eq!(milli("100n"), Ok(1));
        assert_eq!("1E".parse::<Quantity>().map(Quantity::units), Ok(1_000_000_000_000_000_000));
        assert_eq!(milli("-1"), Ok(-1000));
    }

    #[test]
    fn what_is_too_large_is_capped_and_reads_back() {
        for text in ["0.5E31", "-0.5E31", "9e99", "12E", "0e99"] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!(quantity.to_string().parse(), Ok(quantity), "{text}");
        }
        assert_eq!("9e99".parse(), Ok(Quantity::from_units(i64::MAX)));
        assert_eq!("0e99".parse(), Ok(Quantity::from_units(0)));
    }

    #[test]
    fn refuses_the_rest() {
        for bad in ["", "a", "1.2.3", "1KiB", "1 Gi", ".", "--1", "1e"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }
}
