//! Who may come in: the name they call us by, the site they come from, the token they carry.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use crate::config::Token;

/// Why a request is turned away; the text says what to do.
pub(crate) type Refusal = (StatusCode, &'static str);

/// Checks requests before anybody looks at what they want.
pub(crate) struct Door {
    token: Token,
    hosts: Vec<String>,
}

impl Door {
    /// Opens for these names (`name` with any port, `name:port` with this one).
    pub(crate) fn new(token: Token, hosts: Vec<String>) -> Door {
        Door { token, hosts: hosts.into_iter().map(|h| h.to_ascii_lowercase()).collect() }
    }

    /// Whether the request calls us by a known name and, when it changes something, comes from our own page or from none.
    pub(crate) fn admit(&self, head: &Parts) -> Result<(), Refusal> {
        const HOST_UNKNOWN: Refusal =
            (StatusCode::MISDIRECTED_REQUEST, "unknown host name: use the address that was printed");
        const FOREIGN: Refusal = (StatusCode::FORBIDDEN, "the request comes from another site");
        let host = header(&head.headers, HOST.as_str()).ok_or(HOST_UNKNOWN)?;
        if !self.knows(&host.to_ascii_lowercase()) {
            return Err(HOST_UNKNOWN);
        }
        if head.method == Method::GET || head.method == Method::HEAD {
            return Ok(());
        }
        // Programs send no Origin; browsers always do, and never another than the true one.
        let is_own = match (head.headers.contains_key(ORIGIN), header(&head.headers, ORIGIN.as_str())) {
            (false, _) => true,
            (true, Some(origin)) => {
                origin.strip_prefix("http://").is_some_and(|o| o.eq_ignore_ascii_case(host))
            }
            (true, None) => false,
        };
        if is_own { Ok(()) } else { Err(FOREIGN) }
    }

    /// Whether the request carries the token.
    pub(crate) fn unlock(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let given = header(headers, AUTHORIZATION.as_str()).and_then(|v| v.strip_prefix("Bearer "));
        match given {
            Some(given) if self.token.is(given.trim()) => Ok(()),
            Some(_) => Err((StatusCode::UNAUTHORIZED, "wrong token: open the address that was printed last")),
            None => Err((StatusCode::UNAUTHORIZED, "no token: open the address that was printed")),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            // The last part of a bare IPv6 address is no port.
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        self.hosts.iter().any(|known| known == host || known == name)
    }
}

/// The only value of a header; nothing when it is absent, doubled or no text.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok();
    if all.next().is_some() { None } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        let hosts = ["127.0.0.1", "[::1]", "board.example:8080"].map(str::to_owned);
        Door::new(Token::new("0123456789abcdef").unwrap(), hosts.to_vec())
    }

    fn admits(method: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let request =
            headers.iter().fold(http::Request::builder().method(method), |r, (k, v)| r.header(*k, *v));
        door().admit(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_known_names_are_answered() {
        for host in ["127.0.0.1", "127.0.0.1:8443", "[::1]:80", "board.example:8080", "BOARD.example:8080"] {
            assert_eq!(admits("GET", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "rebound.example",
            "127.0.0.1.rebound.example:80",
            "board.example",
            "board.example:81",
            "",
            ":80",
        ] {
            assert!(admits("GET", &[("host", host)]).is_err(), "{host}");
        }
        assert!(admits("GET", &[]).is_err(), "no name");
        assert!(admits("GET", &[("host", "127.0.0.1"), ("host", "x")]).is_err(), "two names");
    }

    #[test]
    fn changes_come_from_our_own_page_or_from_programs() {
        let host = ("host", "127.0.0.1:80");
        assert_eq!(admits("POST", &[host]), Ok(()), "a program");
        assert_eq!(admits("POST", &[host, ("origin", "http://127.0.0.1:80")]), Ok(()));
        for origin in ["http://127.0.0.1:81", "http://evil.example", "null", "https://127.0.0.1:80", ""] {
            assert!(admits("POST", &[host, ("origin", origin)]).is_err(), "{origin}");
        }
        assert_eq!(
            admits("GET", &[host, ("origin", "http://evil.example")]),
            Ok(()),
            "reading needs the token"
        );
    }
}
