//! String formats that upstream's validator knows. Unknown formats fit everything, as there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::scalar::{canonical_base64, canonical_time, parse_go_duration};

/// Whether a text is of a format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => canonical_time(text).is_ok(),
        "date" => canonical_time(&format!("{text}T00:00:00Z")).is_ok(),
        "duration" => parse_go_duration(text).is_some(),
        "byte" => canonical_base64(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(format, text),
        "email" => text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && is_hostname(host)),
        "hostname" => is_hostname(text),
        "uri" => text.split_once(':').is_some_and(|(s, _)| is_scheme(s)) || text.starts_with('/'),
        "hexcolor" => text.strip_prefix('#').is_some_and(|h| matches!(h.len(), 3 | 6) && is_hex(h)),
        _ => true,
    }
}

/// Whether a format means anything; others are as good as none.
pub(super) fn is_known(format: &str) -> bool {
    const NUMBERS: [&str; 4] = ["int32", "int64", "float", "double"];
    const TEXTS: [&str; 24] = [
        "bsonobjectid",
        "uri",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "password",
        "date",
        "duration",
        "datetime",
    ];
    let plain = format.replace('-', "");
    NUMBERS.contains(&plain.as_str()) || TEXTS.contains(&plain.as_str())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn is_cidr(text: &str) -> bool {
    let Some((ip, bits)) = text.split_once('/') else { return false };
    let max = match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|n| n <= max)
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|p| p.len() == 2 && is_hex(p))
}

fn is_uuid(format: &str, text: &str) -> bool {
    let plain = text.replace('-', "");
    let version = format.strip_prefix("uuid").unwrap_or_default();
    let is_shape = plain.len() == 32 && is_hex(&plain) && (!text.contains('-') || text.len() == 36);
    is_shape && (version.is_empty() || plain[12..13] == *version)
}

fn is_hostname(text: &str) -> bool {
    let is_label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 255 && text.trim_end_matches('.').split('.').all(is_label)
}
