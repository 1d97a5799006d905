//! One request from when it is due to its outcome. It is sent once or not at all.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{HOST, HeaderName};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::line::FailureKind;
use super::pool::{Lease, Pool, Sender};

/// Longest answer read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const ENDPOINT: HeaderName = HeaderName::from_static("x-knarr-endpoint");
const PROXY: HeaderName = HeaderName::from_static("x-knarr-proxy");

/// Whom to ask, and for what.
pub(super) struct Target {
    host: String,
    port: u16,
    path: String,
    authority: String,
}

/// What became of a request.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// When it was begun on the wire; none when it never was.
    pub(super) sent: Option<Instant>,
    /// The version in the body; empty when the body names none.
    pub(super) version: String,
    /// Status of the answer.
    pub(super) status: Option<u16>,
    pub(super) endpoint: String,
    pub(super) proxy: String,
    /// Why it failed.
    pub(super) failure: Option<(FailureKind, String)>,
}

impl Target {
    pub(super) fn of(url: &http::Uri) -> anyhow::Result<Target> {
        if url.scheme_str() != Some("http") {
            bail!("--url {url}: give http://ADDRESS:PORT/PATH; other schemes are not spoken");
        }
        let authority = url.authority().with_context(|| format!("--url {url}: it names no address"))?;
        let path = url.path_and_query().map_or("/", |p| p.as_str());
        Ok(Target {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: path.to_owned(),
            authority: authority.to_string(),
        })
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Opens a connection; a task of its own drives it until it is closed.
    pub(super) async fn connect(&self) -> anyhow::Result<Sender> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors reach the request that is on it.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self) -> http::Request<Empty<Bytes>> {
        let request = http::Request::get(&self.path).header(HOST, &self.authority);
        request.body(Empty::new()).expect("path and authority come from a URL that was parsed")
    }
}

/// Carries out one request; its time runs from when it was due.
pub(super) async fn perform(target: &Target, pool: &Arc<Pool>, due: Instant, patience: Duration) -> Outcome {
    let deadline = due + patience;
    let mut outcome = Outcome::default();
    let lease = timeout_at(deadline.into(), pool.lease()).await;
    // A connection that came free at the last moment is no longer of use.
    let Some(mut lease) = lease.ok().filter(|_| Instant::now() < deadline) else {
        outcome.failure = Some((FailureKind::Unsent, "all connections were busy".into()));
        return outcome;
    };
    if timeout_at(deadline.into(), exchange(target, pool, &mut lease, &mut outcome)).await.is_err() {
        let kind = if outcome.sent.is_some() { FailureKind::Timeout } else { FailureKind::Connect };
        outcome.failure = Some((kind, format!("no answer within {} ms", patience.as_millis())));
    }
    outcome
}

/// Sends the request and reads the answer. The connection returns to the lease only when both are whole.
async fn exchange(target: &Target, pool: &Pool, lease: &mut Lease, outcome: &mut Outcome) {
    let mut request = target.request();
    loop {
        let mut sender = match ready(target, pool, lease.sender.take()).await {
            Ok(sender) => sender,
            Err(error) => {
                outcome.failure = Some((FailureKind::Connect, format!("{error:#}")));
                return;
            }
        };
        outcome.sent = Some(Instant::now());
        match sender.try_send_request(request).await {
            Ok(response) => {
                if read(response, outcome).await {
                    lease.sender = Some(sender);
                }
                return;
            }
            Err(mut error) => match error.take_message() {
                // The connection was closed while it was idle: nothing of the request was written.
                Some(unsent) => {
                    outcome.sent = None;
                    request = unsent;
                }
                None => {
                    outcome.failure = Some((FailureKind::Closed, error.into_error().to_string()));
                    return;
                }
            },
        }
    }
}

/// The connection that is there if it still is, else a new one.
async fn ready(target: &Target, pool: &Pool, kept: Option<Sender>) -> anyhow::Result<Sender> {
    if let Some(mut sender) = kept
        && sender.ready().await.is_ok()
    {
        return Ok(sender);
    }
    let sender = target.connect().await?;
    pool.count_opened();
    Ok(sender)
}

/// Takes in the answer. True when the connection can carry another request.
async fn read(response: http::Response<hyper::body::Incoming>, outcome: &mut Outcome) -> bool {
    let (parts, body) = response.into_parts();
    let header = |name| {
        let value = parts.headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    outcome.status = Some(parts.status.as_u16());
    outcome.endpoint = header(ENDPOINT);
    outcome.proxy = header(PROXY);
    let body = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            outcome.failure = Some((FailureKind::Closed, error.to_string()));
            return false;
        }
    };
    if parts.status.is_success() {
        outcome.version = version(&body);
    } else {
        let text: String = String::from_utf8_lossy(&body).chars().take(120).collect();
        outcome.failure = Some((FailureKind::Status, text.trim().to_owned()));
    }
    true
}

/// The `version` of a JSON body.
fn version(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(borrow, default)]
        version: Cow<'a, str>,
    }
    serde_json::from_slice::<Said<'_>>(body).map_or_else(|_| String::new(), |s| s.version.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_is_spoken() {
        assert!(Target::of(&"https://127.0.0.1/".parse().unwrap()).is_err());
        assert!(Target::of(&"/path".parse().unwrap()).is_err());
        let target = Target::of(&"http://127.9.0.1:8080/a?b=1".parse().unwrap()).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("127.9.0.1", 8080, "/a?b=1"));
    }

    #[test]
    fn a_body_says_its_version_or_nothing() {
        assert_eq!(version(br#"{"app":"shop","version":"v2","pod":"a"}"#), "v2");
        assert_eq!(version(b"ok"), "");
        assert_eq!(version(br#"{"version":"a\"b"}"#), "a\"b");
    }
}
