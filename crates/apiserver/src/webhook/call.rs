//! One POST to a webhook, with a deadline, over connections that are kept for the next one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use stdx::Env;
use store::Store;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::reach::{Reach, Target};
use super::trust::{self, Trust};

/// Connections kept for one webhook.
const IDLE_MAX: usize = 8;
/// Webhooks for which connections are kept.
const KEPT_MAX: usize = 64;

/// A question to a webhook.
pub(crate) struct Post<'a> {
    /// Where it is.
    pub(crate) target: &'a Target,
    /// Whom to trust, in PEM.
    pub(crate) bundle: &'a Bytes,
    /// Added to the URL; may be empty.
    pub(crate) query: String,
    /// The review.
    pub(crate) body: Bytes,
    /// How long all of it may take.
    pub(crate) timeout: Duration,
    /// Bytes of an answer.
    pub(crate) answer_bytes_max: usize,
}

type Sender = SendRequest<Full<Bytes>>;
/// An address, the name that was checked there, and the authorities that vouched for it.
type Peer = (SocketAddr, String, Bytes);

/// Calls webhooks.
pub(crate) struct Caller {
    store: Store,
    env: Env,
    reach: Reach,
    trust: Trust,
    idle: Mutex<BTreeMap<Peer, Vec<Sender>>>,
}

impl Caller {
    /// A caller that finds Services in `store`.
    pub(crate) fn new(store: Store, env: Env, reach: Reach) -> Caller {
        Caller { store, env, reach, trust: Trust::default(), idle: Mutex::default() }
    }

    /// Asks; gives the body of a successful answer.
    ///
    /// # Errors
    /// Why there is none, in the words of Go's HTTP client: people and programs know them.
    pub(crate) async fn post(&self, post: &Post<'_>) -> Result<Bytes, String> {
        let why = |why: String| format!("Post {:?}: {why}", post.target.shown(&post.query));
        let answer = tokio::select! {
            biased;
            answer = self.exchange(post) => answer.map_err(why)?,
            () = self.env.sleep(post.timeout) => return Err(why("context deadline exceeded".to_owned())),
        };
        let (status, body) = answer;
        if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
    }

    async fn exchange(&self, post: &Post<'_>) -> Result<(http::StatusCode, Bytes), String> {
        let addresses = post.target.addresses(&self.store, self.reach).await?;
        let host = post.target.host();
        let mut last = "no addresses".to_owned();
        for address in addresses {
            let peer: Peer = (address, host.clone(), post.bundle.clone());
            while let Some(sender) = self.take(&peer) {
                match self.send(post, &peer, sender).await {
                    // Closed by the other side since: the question was not sent, so another connection may carry it.
                    Err(Failed::NotSent) => {}
                    Err(Failed::Broken(why)) => return Err(why),
                    Ok(answer) => return Ok(answer),
                }
            }
            let sender = match self.connect(&peer).await {
                Ok(sender) => sender,
                Err(why) => {
                    last = why;
                    continue;
                }
            };
            return self.send(post, &peer, sender).await.map_err(|failed| match failed {
                Failed::NotSent => "EOF".to_owned(),
                Failed::Broken(why) => why,
            });
        }
        Err(last)
    }

    async fn send(
        &self,
        post: &Post<'_>,
        peer: &Peer,
        mut sender: Sender,
    ) -> Result<(http::StatusCode, Bytes), Failed> {
        let broken = |e: &dyn std::fmt::Display| Failed::Broken(e.to_string());
        let request = http::Request::post(post.target.path(&post.query))
            .header(http::header::HOST, post.target.authority())
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::USER_AGENT, "kube-apiserver-admission")
            .body(Full::new(post.body.clone()))
            .map_err(|e| broken(&e))?;
        sender.ready().await.map_err(|_| Failed::NotSent)?;
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(error) if error.message().is_some() => return Err(Failed::NotSent),
            Err(error) => return Err(broken(&error.into_error())),
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), post.answer_bytes_max).collect().await;
        let body = body.map_err(|e| broken(&e))?.to_bytes();
        self.keep(peer, sender);
        Ok((status, body))
    }

    async fn connect(&self, peer: &Peer) -> Result<Sender, String> {
        let (address, host, bundle) = peer;
        let config = self.trust.of(bundle)?;
        let name = ServerName::try_from(host.clone()).map_err(|e| format!("{host}: {e}"))?;
        let stream =
            TcpStream::connect(address).await.map_err(|e| format!("dial tcp {address}: {}", dialled(&e)))?;
        // Questions are small and wait for their answer.
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let secured = TlsConnector::from(config).connect(name, stream).await;
        let io = secured.map(TokioIo::new).map_err(|e| trust::told(&e, host))?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
        self.env.spawn("webhook connection", async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn take(&self, peer: &Peer) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(peer)?;
        kept.retain(|s| !s.is_closed());
        kept.pop()
    }

    fn keep(&self, peer: &Peer, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= KEPT_MAX && !idle.contains_key(peer) {
            idle.clear();
        }
        let kept = idle.entry(peer.clone()).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(sender);
        }
    }
}

/// A question that got no answer.
enum Failed {
    /// It did not leave.
    NotSent,
    /// It may have arrived.
    Broken(String),
}

/// Why a connection was not made, in Go's words.
fn dialled(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}

/// An answer that is no success, in client-go's words. Redirects are among them: following one would leave what was admitted.
fn refused(status: http::StatusCode, body: &[u8]) -> String {
    const SHOWN_BYTES: usize = 2048;
    let own = serde_json::from_slice::<serde_json::Value>(body).ok();
    if let Some(message) = own.as_ref().filter(|v| v["kind"] == "Status").and_then(|v| v["message"].as_str())
    {
        return message.to_owned();
    }
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]);
    let shown = shown.trim();
    match status.as_u16() {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 if shown.is_empty() => "unknown".to_owned(),
        403 => shown.to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request"
            .to_owned(),
        500.. => {
            let shown = if shown.is_empty() { "unknown" } else { shown };
            format!("an error on the server ({shown:?}) has prevented the request from succeeding")
        }
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn answers_without_success_are_told_as_client_go_does() {
        assert_eq!(
            refused(StatusCode::INTERNAL_SERVER_ERROR, b"boom\n"),
            "an error on the server (\"boom\") has prevented the request from succeeding"
        );
        assert_eq!(refused(StatusCode::NOT_FOUND, b""), "the server could not find the requested resource");
        assert_eq!(
            refused(StatusCode::FOUND, b"elsewhere"),
            "the server responded with the status code 302 but did not return more information"
        );
        assert_eq!(refused(StatusCode::BAD_GATEWAY, br#"{"kind":"Status","message":"down"}"#), "down");
    }
}
