//! Text forms of scalars as upstream stores them: quantities, moments, octets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use stdx::Time;

/// Largest absolute value of a quantity, as upstream caps it.
const QUANTITY_MAX: i128 = i64::MAX as i128;
const NANO: i128 = 1_000_000_000;
/// Digits that are read exactly; longer ones would overflow before the cap applies.
const DIGITS_MAX: usize = 28;

/// The canonical form of a quantity: `1000m` -> `1`, `0.5` -> `500m`, `1024Mi` -> `1Gi`; nothing when it is none.
pub fn canonical_quantity(text: &str) -> Option<String> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return None;
    }
    let (form, base2, base10) = suffix_of(suffix)?;
    let whole = whole.trim_start_matches('0');
    if whole.len() + part.len() > DIGITS_MAX {
        return long_number(sign, whole);
    }
    let digits: i128 = format!("0{whole}{part}").parse().ok()?;
    let nanos = nanos(digits, base2, base10 - i32::try_from(part.len()).ok()?)?;
    let nanos = sign * nanos.min(QUANTITY_MAX * NANO);
    Some(print(nanos, form))
}

/// More digits than fit: beyond the cap when they are before the point, else finer than what is kept.
fn long_number(sign: i128, whole: &str) -> Option<String> {
    (whole.len() > 19).then(|| print(sign * QUANTITY_MAX * NANO, Form::Decimal))
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Decimal,
    Binary,
    Exponent,
}

fn suffix_of(suffix: &str) -> Option<(Form, u32, i32)> {
    Some(match suffix {
        "" => (Form::Decimal, 0, 0),
        "n" => (Form::Decimal, 0, -9),
        "u" => (Form::Decimal, 0, -6),
        "m" => (Form::Decimal, 0, -3),
        "k" => (Form::Decimal, 0, 3),
        "M" => (Form::Decimal, 0, 6),
        "G" => (Form::Decimal, 0, 9),
        "T" => (Form::Decimal, 0, 12),
        "P" => (Form::Decimal, 0, 15),
        "E" => (Form::Decimal, 0, 18),
        "Ki" => (Form::Binary, 10, 0),
        "Mi" => (Form::Binary, 20, 0),
        "Gi" => (Form::Binary, 30, 0),
        "Ti" => (Form::Binary, 40, 0),
        "Pi" => (Form::Binary, 50, 0),
        "Ei" => (Form::Binary, 60, 0),
        _ => (Form::Exponent, 0, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// digits * 2^base2 * 10^base10 in billionths, rounded up; saturates.
fn nanos(digits: i128, base2: u32, base10: i32) -> Option<i128> {
    let exponent = base10.checked_add(9)?;
    let cap = QUANTITY_MAX * NANO;
    if digits == 0 {
        return Some(0);
    }
    let scaled = digits.checked_mul(1i128 << base2);
    let Some(scaled) = scaled else { return Some(cap) };
    if exponent >= 0 {
        let by = 10i128.checked_pow(exponent.unsigned_abs());
        return Some(by.and_then(|by| scaled.checked_mul(by)).unwrap_or(cap));
    }
    Some(match 10i128.checked_pow(exponent.unsigned_abs()) {
        Some(by) => scaled / by + i128::from(scaled % by != 0),
        None => 1,
    })
}

fn print(nanos: i128, form: Form) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    let units = nanos / NANO;
    let is_whole = nanos % NANO == 0;
    if form == Form::Binary && is_whole && units.abs() >= 1024 {
        return print_binary(units);
    }
    let (mut mantissa, mut exponent) = (nanos, -9);
    while mantissa % 1000 == 0 && exponent < 18 {
        mantissa /= 1000;
        exponent += 3;
    }
    match form {
        Form::Exponent if exponent == 0 => mantissa.to_string(),
        Form::Exponent => format!("{mantissa}e{exponent}"),
        _ => {
            const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
            let suffix = usize::try_from((exponent + 9) / 3).ok().and_then(|i| SUFFIXES.get(i));
            format!("{mantissa}{}", suffix.copied().unwrap_or_default())
        }
    }
}

fn print_binary(units: i128) -> String {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let (mut mantissa, mut power) = (units, 0);
    while mantissa % 1024 == 0 && power + 1 < SUFFIXES.len() {
        mantissa /= 1024;
        power += 1;
    }
    format!("{mantissa}{}", SUFFIXES[power])
}

/// A moment in UTC with whole seconds, or why it is none, in the words of Go's `time` package.
pub fn canonical_time(text: &str) -> Result<String, String> {
    check_layout(text, None)?;
    let time: Time = text.parse().map_err(|_| out_of_range(text))?;
    Ok(time.to_string())
}

/// A moment in UTC with microseconds; the text must have exactly six digits of fraction.
pub fn canonical_micro_time(text: &str) -> Result<String, String> {
    check_layout(text, Some(6))?;
    let time: Time = text.parse().map_err(|_| out_of_range(text))?;
    Ok(time.to_micro_string())
}

fn out_of_range(text: &str) -> String {
    format!("parsing time {text:?}: day out of range")
}

/// Walks the layout `2006-01-02T15:04:05Z07:00`, with so many digits of fraction when given, else any.
fn check_layout(text: &str, fraction: Option<usize>) -> Result<(), String> {
    const PARTS: [&str; 11] = ["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"];
    let zeros = fraction.map(|n| format!(".{}", "0".repeat(n))).unwrap_or_default();
    let fail = |rest: &str, part: &str| {
        Err(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05{zeros}Z07:00\": cannot parse {rest:?} as {part:?}"
        ))
    };
    let mut rest = text;
    for part in PARTS {
        let is_digits = part.as_bytes()[0].is_ascii_digit();
        match rest.get(..part.len()) {
            Some(head) if is_digits && head.bytes().all(|b| b.is_ascii_digit()) => {}
            Some(head) if !is_digits && head == part => {}
            _ => return fail(rest, part),
        }
        rest = &rest[part.len()..];
    }
    let digits = rest.strip_prefix('.').map_or(0, |r| r.bytes().take_while(u8::is_ascii_digit).count());
    let has_fraction = digits > 0;
    if fraction.is_some_and(|n| n != digits) {
        return fail(rest, &zeros);
    }
    if has_fraction {
        rest = &rest[digits + 1..];
    }
    let zone = rest.as_bytes();
    let is_offset = zone.len() == 6 && matches!(zone[0], b'+' | b'-') && zone[3] == b':';
    if rest == "Z" || is_offset { Ok(()) } else { fail(rest, "Z07:00") }
}

/// Octets in standard base64, or the position of the first byte that is not, in the words of Go.
pub fn canonical_base64(text: &str) -> Result<String, String> {
    let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match STANDARD.decode(&clean) {
        Ok(_) => Ok(clean),
        Err(e) => {
            let at = match e {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                _ => clean.len(),
            };
            Err(format!("illegal base64 data at input byte {at}"))
        }
    }
}

/// Writes a whole number without a point, as Go does: `2.0` -> `2`.
pub(crate) fn whole_number(v: &mut Value) {
    /// Beyond this, floats skip whole numbers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if v.is_f64() {
        let whole = v.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT);
        if let Some(n) = whole {
            *v = Value::from(n as i64);
        }
    }
}

/// A length of time as Go's `time.Duration` prints it: `1m30s`, `500ms`, `0s`.
pub fn go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    match n {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{sign}{n}ns"),
        1_000..1_000_000 => return format!("{sign}{}µs", decimal(n, 1_000)),
        1_000_000..1_000_000_000 => return format!("{sign}{}ms", decimal(n, 1_000_000)),
        _ => {}
    }
    let (hours, rest) = (n / 3_600_000_000_000, n % 3_600_000_000_000);
    let (minutes, rest) = (rest / 60_000_000_000, rest % 60_000_000_000);
    let seconds = decimal(rest, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, m) => format!("{sign}{m}m{seconds}s"),
        (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
    }
}

fn decimal(n: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", n / unit, n % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Nanoseconds of a Go duration text, in whole numbers as `time.ParseDuration` works them out; nothing beyond what Go can hold.
pub fn parse_go_duration(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        total = total.checked_add(nanos_of(number, unit_nanos(unit)?)?).filter(|t| *t <= 1 << 63)?;
        rest = next;
    }
    if is_negative { 0_i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() }
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `1.5` of a unit. Digits of the fraction that a number cannot hold are dropped, as in Go.
fn nanos_of(number: &str, unit: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || part.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let (mut digits, mut scale) = (0_u64, 1_f64);
    for digit in part.bytes() {
        let Some(more) = digits.checked_mul(10).and_then(|d| d.checked_add(u64::from(digit - b'0'))) else {
            break;
        };
        (digits, scale) = (more, scale * 10.0);
    }
    let part = (digits as f64 * (unit as f64 / scale)) as u64;
    whole.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up_in_whole_numbers_as_in_go() {
        let pairs = [
            ("25660ms7s", Some(32_660_000_000)),
            ("1h2m3.5s", Some(3_723_500_000_000)),
            ("0.1ns", Some(0)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("-9223372036854775808ns", Some(i64::MIN)),
            ("9223372036854775808ns", None),
            ("3000000h", None),
            ("1", None),
            (".s", None),
            ("1.2.3s", None),
            ("1d", None),
            ("-", None),
        ];
        for (text, nanos) in pairs {
            assert_eq!(parse_go_duration(text), nanos, "{text}");
        }
    }

    #[test]
    fn quantities_take_the_form_upstream_stores() {
        let pairs = [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("100000", "100k"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("0.1m", "100u"),
            ("1n", "1n"),
            ("0", "0"),
            ("0Gi", "0"),
            ("64Ki", "64Ki"),
            ("512Ki", "512Ki"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
            ("-1000m", "-1"),
            ("+2", "2"),
            ("1.0", "1"),
            ("12E", "9223372036854775807"),
            ("1500m", "1500m"),
            ("2.5e1", "25"),
            ("1e-3", "1e-3"),
            ("0.0000000001", "1n"),
            ("4096", "4096"),
            ("100M", "100M"),
        ];
        for (given, stored) in pairs {
            assert_eq!(canonical_quantity(given).as_deref(), Some(stored), "{given}");
        }
        for bad in ["", "1x", "a", "1.2.3", "--1", "1 Gi", "1KiB", ".", "e3"] {
            assert_eq!(canonical_quantity(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_become_utc_or_say_what_is_wrong() {
        assert_eq!(canonical_time("2020-01-01T02:00:00+02:00").unwrap(), "2020-01-01T00:00:00Z");
        assert_eq!(canonical_time("2020-01-01T00:00:00.9Z").unwrap(), "2020-01-01T00:00:00Z");
        let error = "parsing time \"yesterday\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"yesterday\" as \"2006\"";
        assert_eq!(canonical_micro_time("yesterday").unwrap_err(), error);
        let error = "parsing time \"2020-01-01T00:00:00Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\"";
        assert_eq!(canonical_micro_time("2020-01-01T00:00:00Z").unwrap_err(), error);
        assert_eq!(
            canonical_micro_time("2020-01-01T00:00:00.000001Z").unwrap(),
            "2020-01-01T00:00:00.000001Z"
        );
    }

    #[test]
    fn octets_name_the_first_bad_byte() {
        assert_eq!(canonical_base64("YQ==").unwrap(), "YQ==");
        assert_eq!(canonical_base64("!!").unwrap_err(), "illegal base64 data at input byte 0");
        assert_eq!(canonical_base64("not base64!").unwrap_err(), "illegal base64 data at input byte 3");
    }

    #[test]
    fn durations_round_trip() {
        for (nanos, text) in
            [(0, "0s"), (90_000_000_000, "1m30s"), (3_600_000_000_000, "1h0m0s"), (500_000_000, "500ms")]
        {
            assert_eq!(go_duration(nanos), text);
            assert_eq!(parse_go_duration(text), Some(nanos));
        }
        assert_eq!(parse_go_duration("5 apples"), None);
    }
}
