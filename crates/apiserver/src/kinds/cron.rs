//! Schedules of CronJobs: whether a text is one, in the words of the parser upstream uses.

/// Areas of the time zone database with places below them.
const AREAS: [&str; 10] = [
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
];
/// Zones without an area.
const ZONES: [&str; 22] = [
    "UTC",
    "GMT",
    "Etc/UTC",
    "Etc/GMT",
    "UCT",
    "Zulu",
    "Universal",
    "Greenwich",
    "CET",
    "EET",
    "MET",
    "WET",
    "EST",
    "MST",
    "HST",
    "EST5EDT",
    "CST6CDT",
    "MST7MDT",
    "PST8PDT",
    "Japan",
    "Singapore",
    "Israel",
];

/// Whether a name has the form of a time zone. The database itself is not carried: places are not looked up.
pub(super) fn is_time_zone(name: &str) -> bool {
    let is_place = |p: &str| {
        p.starts_with(|c: char| c.is_ascii_uppercase())
            && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-+".contains(&b))
    };
    if ZONES.contains(&name) || name.strip_prefix("Etc/GMT").is_some_and(|n| n.parse::<i8>().is_ok()) {
        return true;
    }
    name.split_once('/').is_some_and(|(area, place)| AREAS.contains(&area) && place.split('/').all(is_place))
}

/// A field's name and bounds, with the names of its values.
struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { min: 0, max: 59, names: &[] },
    Field { min: 0, max: 23, names: &[] },
    Field { min: 1, max: 31, names: &[] },
    Field { min: 1, max: 12, names: &MONTHS },
    Field { min: 0, max: 6, names: &DAYS },
];
const DESCRIPTORS: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Says what is wrong with a schedule.
pub(super) fn check(text: &str) -> Result<(), String> {
    if let Some(every) = text.strip_prefix("@every ") {
        let fits = api_schema::parse_go_duration(every).is_some();
        return if fits {
            Ok(())
        } else {
            Err(format!("failed to parse duration {text}: time: invalid duration {every:?}"))
        };
    }
    if text.starts_with('@') {
        return if DESCRIPTORS.contains(&text) {
            Ok(())
        } else {
            Err(format!("unrecognized descriptor: {text}"))
        };
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
    }
    parts.iter().zip(&FIELDS).try_for_each(|(part, field)| part.split(',').try_for_each(|p| range(p, field)))
}

fn range(text: &str, field: &Field) -> Result<(), String> {
    let (bounds, step) = match text.split_once('/') {
        Some((bounds, step)) => (bounds, Some(step)),
        None => (text, None),
    };
    if step.is_some_and(|s| s.contains('/')) {
        return Err(format!("too many slashes: {text}"));
    }
    let (low, high) = match bounds {
        "*" | "?" => (field.min, field.max),
        _ => match bounds.split_once('-') {
            Some((_, high)) if high.contains('-') => return Err(format!("too many hyphens: {text}")),
            Some((low, high)) => (number(low, field)?, number(high, field)?),
            None => number(bounds, field).map(|n| (n, n))?,
        },
    };
    if step.map(|s| s.parse::<u32>().map_err(|_| unparsable(s))).transpose()? == Some(0) {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    if low < field.min {
        return Err(format!("beginning of range ({low}) below minimum ({}): {text}", field.min));
    }
    if high > field.max {
        return Err(format!("end of range ({high}) above maximum ({}): {text}", field.max));
    }
    if low > high {
        return Err(format!("beginning of range ({low}) beyond end of range ({high}): {text}"));
    }
    Ok(())
}

fn number(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_lowercase();
    match field.names.iter().position(|n| *n == lower) {
        Some(at) => Ok(field.min + at as u32),
        None => text.parse().map_err(|_| unparsable(text)),
    }
}

fn unparsable(text: &str) -> String {
    format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_judged() {
        for fine in ["*/5 * * * *", "@hourly", "0 12 * jan-mar mon", "@every 1h30m", "1,2 3-4/2 ? * 0"] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        assert_eq!(check("* * * *"), Err("expected exactly 5 fields, found 4: [* * * *]".to_owned()));
        for bad in ["60 * * * *", "5-1 * * * *", "x * * * *", "*/0 * * * *", "@nope", "* * 0 * *"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zones_have_a_known_area() {
        assert!(
            is_time_zone("Europe/Berlin") && is_time_zone("UTC") && is_time_zone("America/Argentina/Salta")
        );
        assert!(!is_time_zone("Mars/Base") && !is_time_zone("berlin"));
    }
}
