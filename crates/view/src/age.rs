//! Lengths of time as kubectl prints them.

use std::time::Duration;

use stdx::Time;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// A length of time in one or two units: `45s`, `3m20s`, `5h12m`, `2d4h`, `3y40d` (kubectl's HumanDuration).
pub fn human_duration(length: Duration) -> String {
    let secs = length.as_secs();
    let two = |unit: u64, name: char, below: u64, below_name: char| match (secs % unit) / below {
        0 => format!("{}{name}", secs / unit),
        rest => format!("{}{name}{rest}{below_name}", secs / unit),
    };
    match secs {
        0..120 => format!("{secs}s"),
        120..600 => two(MINUTE, 'm', 1, 's'),
        600..10_800 => format!("{}m", secs / MINUTE),
        10_800..28_800 => two(HOUR, 'h', MINUTE, 'm'),
        28_800..172_800 => format!("{}h", secs / HOUR),
        172_800..691_200 => two(DAY, 'd', HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", secs / DAY),
        63_072_000..252_288_000 => two(YEAR, 'y', DAY, 'd'),
        _ => format!("{}y", secs / YEAR),
    }
}

/// Time passed since a moment in text form; `<unknown>` when there is none.
pub fn age(since: Option<&str>, now: Time) -> String {
    match since.and_then(|text| text.parse::<Time>().ok()) {
        Some(then) => human_duration(now.since(then)),
        None => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_as_kubectl_prints_them() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (18_720, "5h12m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (187_200, "2d4h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (400_000_000, "12y"),
        ];
        for (secs, want) in cases {
            assert_eq!(human_duration(Duration::from_secs(secs)), want);
        }
    }

    #[test]
    fn a_moment_ahead_of_the_clock_is_no_age() {
        let now = Time::from_secs(1000);
        assert_eq!(age(Some("1970-01-01T00:20:00Z"), now), "0s");
        assert_eq!(age(None, now), "<unknown>");
    }
}
