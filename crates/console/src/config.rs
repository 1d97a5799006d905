//! Where the board listens, who may come in, and the bounds of everything.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// What the board is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What opens it.
    pub token: Token,
    /// Names by which browsers may call it, `name` for any port or `name:port`, beside the address it listens on.
    pub allowed_hosts: Vec<String>,
    /// Where a proxy serves `/traffic`; none when nobody counts.
    pub traffic: Option<SocketAddr>,
    /// Bounds.
    pub limits: Limits,
}

/// The secret that opens the board. Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Fewest characters of a token: 16 random bytes as hexadecimal digits have twice as many.
const TOKEN_LENGTH_MIN: usize = 16;

impl Token {
    /// A token of at least 16 letters, digits, `-`, `_` and `.`, so that it fits into a link. The caller draws it: this
    /// crate has no source of secrets.
    pub fn new(text: impl Into<String>) -> Option<Token> {
        let text = text.into();
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        (text.len() >= TOKEN_LENGTH_MIN && text.bytes().all(fits)).then_some(Token(text))
    }

    /// Whether `given` is the token. Takes as long for a wrong one of the same length as for the right one.
    pub(crate) fn is(&self, given: &str) -> bool {
        let (own, given) = (self.0.as_bytes(), given.as_bytes());
        let differences = own.iter().zip(given).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
        own.len() == given.len() && differences == 0
    }

    /// The token itself, for the link that opens the board.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Bounds of the board.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Open streams; a further one takes the place of one that has stalled, or is refused.
    pub streams: usize,
    /// A stream that could not send for so long has stalled.
    pub stall: Duration,
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Changes are collected for so long before they are shown.
    pub debounce: Duration,
    /// Traffic is looked at so often.
    pub traffic: Duration,
    /// Ticks of traffic that are remembered; the plot begins with them.
    pub ticks: usize,
    /// A stream says something at least so often.
    pub heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 128,
            streams: 16,
            stall: Duration::from_secs(30),
            body_bytes: 4096,
            debounce: Duration::from_millis(125),
            traffic: Duration::from_millis(250),
            ticks: 480,
            heartbeat: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_compared_whole_and_cannot_be_printed() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn short_tokens_and_such_that_break_links_are_refused() {
        for bad in ["", "short", "0123456789abcde&", "0123456789abcdef\n"] {
            assert_eq!(Token::new(bad), None, "{bad}");
        }
    }
}
