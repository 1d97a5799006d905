//! Headers on their way through (RFC 9110 section 7.6).

use std::net::Ipv4Addr;

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};

/// Headers that are about one connection.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// The protocol that a message asks to switch to, if it does so properly.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = headers.get(header::UPGRADE)?;
    let mut tokens = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let asks = tokens.any(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade")));
    asks.then(|| named.clone())
}

/// Takes off what is about the connection the message came by, and puts the upgrade back if there is one.
pub(crate) fn strip(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    let accepts_trailers = headers.get(header::TE).is_some_and(accepts_trailers);
    while let Some(name) = named_by_connection(headers) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(header::TE);
    if accepts_trailers {
        // Trailers are passed on, so the promise to take them may be.
        headers.insert(header::TE, TRAILERS);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// The next header that `Connection` names and that is there, other than itself.
fn named_by_connection(headers: &HeaderMap) -> Option<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let names = values.flat_map(|v| v.split(','));
    let names = names.filter_map(|name| name.trim().parse::<HeaderName>().ok());
    // `Host` and lengths cannot be taken away by naming them: the message would mean something else.
    let kept = [header::CONNECTION, header::HOST, header::CONTENT_LENGTH];
    names.into_iter().find(|name| headers.contains_key(name) && !kept.contains(name))
}

fn accepts_trailers(te: &HeaderValue) -> bool {
    let is_trailers = |t: &str| t.trim().eq_ignore_ascii_case("trailers");
    te.to_str().is_ok_and(|te| te.split(',').any(is_trailers))
}

/// Adds the client to those that the message was forwarded for.
pub(crate) fn forwarded_for(headers: &mut HeaderMap, client: Ipv4Addr) {
    let client = client.to_string();
    match headers.entry(FORWARDED_FOR) {
        Entry::Vacant(free) => {
            free.insert(HeaderValue::from_str(&client).expect("an address is ASCII"));
        }
        Entry::Occupied(mut taken) => {
            let mut all = Vec::new();
            for value in taken.iter() {
                all.extend_from_slice(value.as_bytes());
                all.extend_from_slice(b", ");
            }
            all.extend_from_slice(client.as_bytes());
            taken.insert(HeaderValue::from_bytes(&all).expect("values joined by a comma are a value"));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        let mut headers = HeaderMap::new();
        for line in text.lines() {
            let (name, value) = line.trim().split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let protocol = upgrade(&headers);
        strip(&mut headers, protocol);
        forwarded_for(&mut headers, Ipv4Addr::new(127, 4, 64, 7));
        let mut lines: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}: {}\n", v.to_str().unwrap())).collect();
        lines.sort();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn what_is_about_one_connection_stays_there() {
        check(
            "host: web
             connection: keep-alive, X-Private, host, content-length
             keep-alive: timeout=5
             x-private: 1
             transfer-encoding: chunked
             te: trailers, deflate
             upgrade: h2c
             content-length: 3
             accept: */*",
            expect![[r#"
                accept: */*
                content-length: 3
                host: web
                te: trailers
                x-forwarded-for: 127.4.64.7
            "#]],
        );
    }

    #[test]
    fn an_upgrade_is_passed_on_and_forwarders_are_listed() {
        check(
            "connection: Upgrade
             upgrade: websocket
             sec-websocket-key: x
             x-forwarded-for: 10.0.0.1
             x-forwarded-for: 10.0.0.2",
            expect![[r#"
                connection: upgrade
                sec-websocket-key: x
                upgrade: websocket
                x-forwarded-for: 10.0.0.1, 10.0.0.2, 127.4.64.7
            "#]],
        );
    }
}
