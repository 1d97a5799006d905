//! Moments and lengths of time: RFC 3339, Go's durations, and the calendar. No clock is read, no zone table is known.

use std::fmt::Write as _;

/// A moment between the years 1 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Seconds since 1970.
    pub secs: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

/// First and last second that a moment may have.
const BOUNDS: (i64, i64) = (-62_135_596_800, 253_402_300_799);
const SECOND: i64 = 1_000_000_000;

/// The calendar's view of a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calendar {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    /// Of the year, from 0.
    pub(crate) year_day: i64,
    /// From 0, Sunday.
    pub(crate) week_day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

impl Moment {
    /// From seconds and nanoseconds; nothing outside of the years 1 to 9999.
    pub fn new(secs: i64, nanos: u32) -> Option<Moment> {
        (BOUNDS.0..=BOUNDS.1).contains(&secs).then_some(Moment { secs, nanos })
    }

    /// `2006-01-02T15:04:05.999Z`, with `Z` or an offset.
    pub fn parse(text: &str) -> Option<Moment> {
        let (date, rest) = text.split_at_checked(10)?;
        let rest = rest.strip_prefix(['T', 't'])?;
        let days = date_days(date)?;
        let (clock, rest) = rest.split_at_checked(8)?;
        let fields: Vec<&str> = clock.split(':').collect();
        let [hour, minute, second] = fields[..] else { return None };
        let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (nanos, zone) = match rest.strip_prefix('.') {
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                let part = &rest[..end];
                let nanos = format!("{:0<9}", part.get(..part.len().min(9))?).parse::<u32>().ok()?;
                (if part.is_empty() { None? } else { nanos }, &rest[end..])
            }
            None => (0, rest),
        };
        let offset = if matches!(zone, "Z" | "z") { 0 } else { offset(zone)? };
        Moment::new(days * 86_400 + hour * 3600 + minute * 60 + second - offset, nanos)
    }

    /// A day: `2006-01-02`.
    pub fn parse_date(text: &str) -> Option<Moment> {
        Moment::new(date_days(text)? * 86_400, 0)
    }

    /// This much later; nothing outside of the bounds.
    pub(crate) fn plus(self, nanos: i64) -> Option<Moment> {
        let total = i128::from(self.secs) * i128::from(SECOND) + i128::from(self.nanos) + i128::from(nanos);
        let secs = i64::try_from(total.div_euclid(SECOND.into())).ok()?;
        Moment::new(secs, u32::try_from(total.rem_euclid(SECOND.into())).ok()?)
    }

    /// Nanoseconds since another moment; nothing when they are too many.
    pub(crate) fn since(self, other: Moment) -> Option<i64> {
        let secs = self.secs.checked_sub(other.secs)?.checked_mul(SECOND)?;
        secs.checked_add(i64::from(self.nanos) - i64::from(other.nanos))
    }

    /// The calendar in a zone: an offset (`+02:00`, `-03:30`, `02:00`) or UTC; nothing for zones by name.
    pub(crate) fn calendar(self, zone: &str) -> Option<Calendar> {
        let offset = match zone {
            "" | "UTC" | "Z" => 0,
            zone if zone.starts_with(['+', '-']) => offset(zone)?,
            zone => offset(&format!("+{zone}"))?,
        };
        let local = self.secs + offset;
        let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        Some(Calendar {
            year,
            month,
            day,
            year_day: days - days_of(year, 1, 1),
            week_day: (days + 4).rem_euclid(7),
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        })
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let c = self.calendar("UTC").expect("UTC is a known zone");
        write!(f, "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute, c.second)?;
        if self.nanos > 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let fits = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

fn date_days(text: &str) -> Option<i64> {
    let fields: Vec<&str> = text.split('-').collect();
    let [year, month, day] = fields[..] else { return None };
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let days = days_of(year, month, day);
    ((1..=12).contains(&month) && day >= 1 && civil(days) == (year, month, day)).then_some(days)
}

/// Seconds east of UTC: `+02:00`.
fn offset(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days since 1970 of a day of the Gregorian calendar.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a count of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Nanoseconds of a duration in Go's form: `1h30m`, `-1.5s`, `0`.
pub fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1_i128, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        total = total.checked_add(amount(number, unit)?)?;
        rest = after;
    }
    i64::try_from(sign * total).ok()
}

fn amount(number: &str, unit: &str) -> Option<i128> {
    let scale: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') || whole.len() > 19 {
        return None;
    }
    let part = &part[..part.len().min(18)];
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? };
    let below = if part.is_empty() { 0 } else { part.parse::<i128>().ok()? };
    let below = below * scale / 10_i128.pow(u32::try_from(part.len()).ok()?);
    whole.checked_mul(scale)?.checked_add(below)
}

/// A length of time as `string(duration)` writes it: seconds.
pub(crate) fn seconds(nanos: i64) -> String {
    let mut out = String::new();
    if nanos < 0 {
        out.push('-');
    }
    let nanos = nanos.unsigned_abs();
    let _ = write!(out, "{}", nanos / 1_000_000_000);
    if !nanos.is_multiple_of(1_000_000_000) {
        let part = format!("{:09}", nanos % 1_000_000_000);
        let _ = write!(out, ".{}", part.trim_end_matches('0'));
    }
    out.push('s');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_survive_their_text() {
        for text in
            ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59.5Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
        {
            assert_eq!(Moment::parse(text).map(|m| m.to_string()).as_deref(), Some(text));
        }
        let east = Moment::parse("2024-01-01T01:00:00+02:00").unwrap();
        assert_eq!(east.to_string(), "2023-12-31T23:00:00Z");
        for bad in [
            "2023-02-29T00:00:00Z",
            "2023-01-01 00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:00",
            "",
        ] {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1h30m"), Some(5400 * SECOND));
        assert_eq!(duration("-1.5s"), Some(-1_500_000_000));
        assert_eq!(duration("0"), Some(0));
        for bad in ["", "1", "s", "1.2.3s", "99999999999h", "-"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(seconds(-1_500_000_000), "-1.5s");
    }
}
