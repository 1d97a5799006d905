//! URLs, read as Go's `url.ParseRequestURI` reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::strings::one;
use super::{Outcome, Row, global, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::value::Value;

/// A URL in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub(crate) text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

const PART: &[&str] = &["URL -> string"];

pub(super) const TABLE: &[Row] = &[
    global("url", &["string -> URL"], Price::WalkAll, |_, args| {
        let text = one(args)?;
        let unread = |why| {
            RunError::new(format!("URL parse error during conversion from string: parse {text:?}: {why}"))
        };
        Url::parse(text).map(|u| Value::Url(Arc::new(u))).map_err(unread)
    }),
    global("isURL", &["string -> bool"], Price::WalkAll, |_, args| {
        Ok(Value::Bool(Url::parse(one(args)?).is_ok()))
    }),
    member("getScheme", PART, Price::One, |_, args| part(args, |u| u.scheme.clone())),
    member("getHost", PART, Price::One, |_, args| part(args, |u| u.host.clone())),
    member("getHostname", PART, Price::One, |_, args| part(args, |u| split_host(&u.host).0.to_owned())),
    member("getPort", PART, Price::One, |_, args| part(args, |u| split_host(&u.host).1.to_owned())),
    member("getEscapedPath", PART, Price::One, |_, args| part(args, |u| u.path.clone())),
    member("getQuery", &["URL -> map<string, list<string>>"], Price::One, |_, args| match args {
        [Value::Url(url)] => Ok(query(&url.query)),
        _ => Err(RunError::overload()),
    }),
];

fn part(args: &[Value], of: fn(&Url) -> String) -> Outcome {
    match args {
        [Value::Url(url)] => Ok(Value::Text(of(url).into())),
        _ => Err(RunError::overload()),
    }
}

/// Host without brackets, and port.
fn split_host(host: &str) -> (&str, &str) {
    if let Some((inner, rest)) = host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        return (inner, rest.strip_prefix(':').unwrap_or_default());
    }
    host.rsplit_once(':').unwrap_or((host, ""))
}

fn query(text: &str) -> Value {
    let mut out: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for pair in text.split('&').filter(|p| !p.is_empty() && !p.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(key), Some(value)) =
            (unescape(&key.replace('+', " ")), unescape(&value.replace('+', " ")))
        {
            out.entry(key).or_default().push(Value::Text(value.into()));
        }
    }
    Value::map(out.into_iter().map(|(k, v)| (k, Value::list(v))))
}

/// The text that `%41` and the like stand for; nothing when they are not well formed.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let code = digit()? * 16 + digit()?;
        out.push(u8::try_from(code).ok()?);
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

impl Url {
    /// Reads an absolute URL or an absolute path; gives why it cannot be.
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        if text.is_empty() {
            return Err("empty url");
        }
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err("net/url: invalid control character in URL");
        }
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') {
            // What is opaque, such as mailto:a, has neither host nor path.
            let is_opaque = !scheme.is_empty();
            let url = Url {
                text: text.to_owned(),
                scheme,
                host: String::new(),
                path: String::new(),
                query: query.to_owned(),
            };
            return if is_opaque { Ok(url) } else { Err("invalid URI for request") };
        }
        let has_host = !scheme.is_empty() || !rest.starts_with("///");
        let (host, path) = match rest.strip_prefix("//").filter(|_| has_host && !scheme.is_empty()) {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                (host(&rest[..end])?, &rest[end..])
            }
            None => (String::new(), rest),
        };
        if unescape(path).is_none() {
            return Err("invalid URL escape");
        }
        Ok(Url { text: text.to_owned(), scheme, host, path: escaped(path), query: query.to_owned() })
    }
}

/// A path with what must be escaped in it escaped.
fn escaped(path: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@%!'()*[]".contains(&b);
    path.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return Err("missing protocol scheme"),
            b':' => return Ok((text[..i].to_ascii_lowercase(), &text[i + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

/// Host and port of an authority; who the user is does not matter.
fn host(authority: &str) -> Result<String, &'static str> {
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            let is_user = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
            if !user.bytes().all(is_user) {
                return Err("net/url: invalid userinfo");
            }
            host
        }
        None => authority,
    };
    let port = match host.strip_prefix('[') {
        Some(inner) => inner.rsplit_once(']').ok_or("missing ']' in host")?.1,
        None => host.rfind(':').map_or("", |i| &host[i..]),
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if !is_port {
        return Err("invalid port after host");
    }
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || b"-._~!$&'()*+,;=:[]<>\"%".contains(&b);
    if !host.bytes().all(is_host) {
        return Err("invalid character in host name");
    }
    unescape(host).ok_or("invalid URL escape")
}
