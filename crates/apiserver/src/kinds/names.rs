//! Rules about texts: names, labels, ports, addresses. Each gives its faults in upstream's words; none means it is fine.

use std::net::IpAddr;

use serde_json::Value;

use super::check::{Findings, Path, entries, given, list, text};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation \
    is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
    must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
    consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', \
    regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
    'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
    regex used for validation is '[0-9]+%')";
const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

fn is_plain(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label_text(text: &str) -> bool {
    let b = text.as_bytes();
    b.first().is_some_and(|c| is_plain(*c))
        && b.last().is_some_and(|c| is_plain(*c))
        && b.iter().all(|c| is_plain(*c) || *c == b'-')
}

fn too_long(text: &str, max: usize, unit: &str) -> Option<String> {
    (text.len() > max).then(|| format!("must be no more than {max} {unit}"))
}

/// RFC 1123 label.
pub(super) fn label(text: &str) -> Vec<String> {
    let shape = (!is_label_text(text)).then(|| LABEL.to_owned());
    too_long(text, 63, "characters").into_iter().chain(shape).collect()
}

/// RFC 1035 label.
pub(super) fn label_1035(text: &str) -> Vec<String> {
    let fits = is_label_text(text) && text.as_bytes()[0].is_ascii_lowercase();
    let shape = (!fits).then(|| LABEL_1035.to_owned());
    too_long(text, 63, "characters").into_iter().chain(shape).collect()
}

/// RFC 1123 subdomain.
pub(super) fn subdomain(text: &str) -> Vec<String> {
    let shape = (!text.split('.').all(is_label_text)).then(|| SUBDOMAIN.to_owned());
    too_long(text, 253, "characters").into_iter().chain(shape).collect()
}

/// `*.example.com`.
pub(super) fn wildcard_subdomain(text: &str) -> Vec<String> {
    let fits = text.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label_text));
    let shape = (!fits).then(|| WILDCARD.to_owned());
    too_long(text, 253, "characters").into_iter().chain(shape).collect()
}

fn is_qualified_text(text: &str) -> bool {
    let b = text.as_bytes();
    b.first().is_some_and(u8::is_ascii_alphanumeric)
        && b.last().is_some_and(u8::is_ascii_alphanumeric)
        && b.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

/// A qualified name: `name` or `example.com/name`.
pub(crate) fn qualified(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (prefix, name) = match parts.as_slice() {
        [name] => (None, *name),
        [prefix, name] => (Some(*prefix), *name),
        _ => {
            let tail = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {QUALIFIED} {tail}")];
        }
    };
    let mut out = Vec::new();
    match prefix {
        Some("") => out.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => out.extend(subdomain(prefix).into_iter().map(|f| format!("prefix part {f}"))),
        None => {}
    }
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_qualified_text(name) {
        out.push(format!("name part {QUALIFIED}"));
    }
    out
}

/// A path with a domain in front: `acme.io/foo`.
pub(super) fn domain_prefixed_path(text: &str) -> Vec<String> {
    const SHAPE: &str = "must be a domain-prefixed path (such as \"acme.io/foo\")";
    match text.split_once('/') {
        Some((host, path)) if !path.is_empty() => {
            let mut out: Vec<String> = subdomain(host);
            let odd =
                path.bytes().any(|b| !(b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:%@".contains(&b)));
            if odd {
                out.push(
                    "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"
                        .to_owned(),
                );
            }
            out
        }
        _ => vec![SHAPE.to_owned()],
    }
}

/// The value of a label.
pub(super) fn label_value(text: &str) -> Vec<String> {
    let shape = (!text.is_empty() && !is_qualified_text(text)).then(|| LABEL_VALUE.to_owned());
    too_long(text, 63, "bytes").into_iter().chain(shape).collect()
}

/// A key of a ConfigMap or Secret.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut out: Vec<String> = too_long(text, 253, "characters").into_iter().collect();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        out.push(CONFIG_KEY.to_owned());
    }
    match text {
        "." => out.push("must not be '.'".to_owned()),
        ".." => out.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => out.push("must not start with '..'".to_owned()),
        _ => {}
    }
    out
}

/// The name of an environment variable.
pub(super) fn env_name(text: &str) -> Vec<String> {
    let fits = !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    if fits { Vec::new() } else { vec![ENV_NAME.to_owned()] }
}

/// The name of a port (IANA service name).
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut out: Vec<String> = too_long(text, 15, "characters").into_iter().collect();
    let mut add = |bad: bool, fault: &str| {
        if bad {
            out.push(fault.to_owned());
        }
    };
    let b = text.as_bytes();
    let is_odd = !b.iter().all(|c| is_plain(*c) || *c == b'-') || b.is_empty();
    add(is_odd, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    add(!b.iter().any(u8::is_ascii_lowercase) && !is_odd, "must contain at least one letter (a-z)");
    add(text.contains("--"), "must not contain consecutive hyphens");
    add(text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen");
    out
}

/// A percentage such as `25%`.
pub(super) fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    let fits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if fits { Vec::new() } else { vec![PERCENT.to_owned()] }
}

/// An address.
pub(super) fn ip(text: &str) -> Vec<String> {
    if text.parse::<IpAddr>().is_ok() { Vec::new() } else { vec![IP.to_owned()] }
}

/// A block of addresses.
pub(super) fn cidr(text: &str) -> Vec<String> {
    if parse_cidr(text).is_some() { Vec::new() } else { vec![CIDR.to_owned()] }
}

/// Address and prefix length of a block.
pub(super) fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = text.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let max = if ip.is_ipv4() { 32 } else { 128 };
    (bits <= max).then_some((ip, bits))
}

/// Keys and values of a map of labels; every finding is about the map as a whole.
pub(super) fn labels(found: &mut Findings, path: &Path<'_>, v: &Value, name: &str) {
    let path = path.field(name);
    for (key, value) in entries(v, name) {
        found.faults(&path, key, qualified(key));
        let value = value.as_str().unwrap_or_default();
        found.faults(&path, value, label_value(value));
    }
}

/// A selector in object form.
pub(super) fn selector(found: &mut Findings, path: &Path<'_>, v: &Value) {
    labels(found, path, v, "matchLabels");
    let all = path.field("matchExpressions");
    for (i, one) in list(v, "matchExpressions").iter().enumerate() {
        let path = all.index(i);
        let values = list(one, "values");
        match text(one, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                found.required(&path.field("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                found.forbidden(&path.field("values"), why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => found.invalid(&path.field("operator"), other, "not a valid selector operator"),
        }
        let key = text(one, "key");
        found.faults(&path.field("key"), key, qualified(key));
        let values_path = path.field("values");
        for (i, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            found.faults(&values_path.index(i), value, label_value(value));
        }
    }
}

/// Whether a selector in object form matches a map of labels; nothing when the selector is malformed.
pub(super) fn selects(selector: &Value, labels: &Value) -> Option<bool> {
    let parsed: api_meta::LabelSelector = serde_json::from_value(selector.clone()).ok()?;
    let parsed = parsed.selector().ok()?;
    let empty = std::collections::BTreeMap::new();
    let labels: std::collections::BTreeMap<String, String> = match given_map(labels) {
        Some(_) => serde_json::from_value(labels.clone()).ok()?,
        None => empty,
    };
    Some(parsed.matches(&labels))
}

fn given_map(labels: &Value) -> Option<&Value> {
    Some(labels).filter(|l| l.is_object())
}

/// Whether a selector in object form has no requirement at all.
pub(super) fn is_empty_selector(selector: &Value) -> bool {
    entries(selector, "matchLabels").next().is_none() && list(selector, "matchExpressions").is_empty()
}

/// A selector as people write it: `app=a,tier in (x,y)`; `<none>` when there is none, empty when it selects all.
pub(super) fn show_selector(selector: &Value) -> String {
    let mut parts: Vec<String> = entries(selector, "matchLabels")
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    for one in list(selector, "matchExpressions") {
        let key = text(one, "key");
        let mut values: Vec<&str> = list(one, "values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        parts.push(match text(one, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    parts.sort();
    parts.join(",")
}

/// A map of labels as people write it; `<none>` when it is empty.
pub(super) fn show_labels(v: &Value, name: &str) -> String {
    let parts: Vec<String> =
        entries(v, name).map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

/// A number or a percentage: not negative, and a percentage well formed.
pub(super) fn count_or_percent(found: &mut Findings, path: &Path<'_>, v: &Value, name: &str) {
    let at = path.field(name);
    match given(v, name) {
        Some(Value::String(s)) => found.faults(&at, s, percent(s)),
        Some(Value::Number(n)) => {
            let n = n.as_i64().unwrap_or_default();
            if n < 0 {
                found.invalid(&at, n, "must be greater than or equal to 0");
            }
        }
        _ => {}
    }
}

/// A percentage must not be above 100.
pub(super) fn not_above_hundred(found: &mut Findings, path: &Path<'_>, v: &Value, name: &str) {
    let Some(Value::String(s)) = given(v, name) else { return };
    let above = s.strip_suffix('%').and_then(|d| d.parse::<i64>().ok()).is_some_and(|n| n > 100);
    if above {
        found.invalid(&path.field(name), s.as_str(), "must not be greater than 100%");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_follow_their_rules() {
        assert!(label("a-b").is_empty() && !label("a.b").is_empty() && !label("").is_empty());
        assert!(label_1035("a1").is_empty() && !label_1035("1a").is_empty());
        assert!(subdomain("a.b-c").is_empty() && !subdomain("a_b").is_empty());
        assert!(qualified("example.com/Name").is_empty());
        assert_eq!(qualified("a//b").len(), 1);
        assert_eq!(port_name("This_is_too_long_name").len(), 2);
        assert_eq!(port_name("-a-"), ["must not begin or end with a hyphen"]);
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert!(percent("25%").is_empty() && !percent("25").is_empty());
    }

    #[test]
    fn selectors_are_shown_sorted() {
        let v = serde_json::json!({"matchLabels": {"b": "1", "a": "2"},
            "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}, {"key": "d", "operator": "DoesNotExist"}]});
        assert_eq!(show_selector(&v), "!d,a=2,b=1,c in (x,y)");
    }
}
