//! Forwarding request by request.

use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::pin::pin;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::body::{Body, Relay};
use crate::config::{ATTEMPTS_MAX, BUFFER_BYTES_MAX, HEAD_BYTES_MAX, HEAD_READ_MAX};
use crate::headers;
use crate::port::{Peer, Port};
use crate::upstream::{Conn, Lease, Unanswered};

/// Header of every answer: the address of the endpoint it is from, or the last one tried, or `none`.
const ENDPOINT: HeaderName = HeaderName::from_static("x-knarr-endpoint");
/// Header of the proxy's own answers: why.
const WHY: HeaderName = HeaderName::from_static("x-knarr-proxy");

/// Serves one connection of a client until it ends, or after the request at hand once `closing` says so.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: Peer,
    port: Arc<Port>,
    address: SocketAddrV4,
    mut closing: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let (port, peer) = (port.clone(), peer.clone());
        async move { Ok::<_, Infallible>(forward(&port, peer, address, request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let closed = async {
        // Also when nobody is left who could say so.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = closed => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection of a client ended");
    }
}

/// Answers one request.
async fn forward(
    port: &Port,
    peer: Peer,
    address: SocketAddrV4,
    mut request: Request<Incoming>,
) -> Response<Body> {
    port.traffic.begun();
    let response = if request.method() == Method::CONNECT {
        let text = "CONNECT is not served: this address forwards requests to a Service's pods\n";
        refusal(StatusCode::METHOD_NOT_ALLOWED, "connect", None, text)
    } else {
        let upgrade = prepare(&mut request, &peer, address);
        exchange(port, peer, request, upgrade).await
    };
    port.traffic.answered(response.status());
    response
}

/// Makes the request one of our own to an endpoint. Returns the client's side of an upgrade, if it asks for one.
fn prepare(request: &mut Request<Incoming>, peer: &Peer, address: SocketAddrV4) -> Option<OnUpgrade> {
    let protocol = headers::upgrade(request.headers());
    let upgrade = protocol.is_some().then(|| hyper::upgrade::on(&mut *request));
    headers::strip(request.headers_mut(), protocol);
    // `100 Continue` is answered by our side of the connection as soon as an endpoint wants the body.
    request.headers_mut().remove(header::EXPECT);
    headers::forwarded_for(request.headers_mut(), peer.address);
    *request.version_mut() = Version::HTTP_11;
    to_origin_form(request);
    if !request.headers().contains_key(header::HOST) {
        let host = HeaderValue::from_str(&address.to_string()).expect("an address is ASCII");
        request.headers_mut().insert(header::HOST, host);
    }
    upgrade
}

/// A request in absolute form names its host in the URI, which then counts (RFC 9112 section 3.2.2).
fn to_origin_form(request: &mut Request<Incoming>) {
    let Some(authority) = request.uri().authority() else { return };
    let host = HeaderValue::from_str(authority.as_str()).expect("an authority is ASCII");
    let path = request.uri().path_and_query().cloned();
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
}

/// Sends the request once. Another endpoint, or another connection, is tried only as long as nothing of it was sent.
async fn exchange(
    port: &Port,
    peer: Peer,
    mut request: Request<Incoming>,
    upgrade: Option<OnUpgrade>,
) -> Response<Body> {
    let mut tried: Vec<SocketAddrV4> = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        let Some(lease) = port.choose(peer.address, &tried) else { break };
        let mut conn = match connection(&lease).await {
            Ok(conn) => conn,
            Err(error) => {
                tracing::debug!(endpoint = %lease.upstream().address, %error, "endpoint cannot be connected to");
                tried.push(lease.upstream().address);
                continue;
            }
        };
        match conn.send(request).await {
            Ok(response) => return relay(port, peer, response, conn, lease, upgrade),
            Err(Unanswered::Unsent(back)) => request = back,
            Err(Unanswered::Died(error)) => return died(&lease, &error),
        }
    }
    unserved(port, &tried)
}

async fn connection(lease: &Lease) -> std::io::Result<Conn> {
    match lease.reuse() {
        Some(conn) => Ok(conn),
        None => lease.connect().await,
    }
}

/// Passes an answer on.
fn relay(
    port: &Port,
    peer: Peer,
    response: Response<Incoming>,
    conn: Conn,
    lease: Lease,
    upgrade: Option<OnUpgrade>,
) -> Response<Body> {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let (mut response, upgrade) = match (switches, upgrade) {
        (false, _) => (response, None),
        (true, Some(upgrade)) => (response, Some(upgrade)),
        (true, None) => {
            let text = "the endpoint switched protocols though nobody had asked it to\n";
            return refusal(StatusCode::BAD_GATEWAY, "bad-upgrade", Some(&lease), text);
        }
    };
    let protocol = if switches { headers::upgrade(response.headers()) } else { None };
    headers::strip(response.headers_mut(), protocol);
    // What an endpoint says under these names is not the proxy's word.
    response.headers_mut().remove(WHY);
    response.headers_mut().insert(ENDPOINT, lease.upstream().named.clone());
    *response.version_mut() = Version::HTTP_11;
    if let Some(client) = upgrade {
        let endpoint = hyper::upgrade::on(&mut response);
        tokio::spawn(tunnel(client, endpoint, conn, lease, peer));
        return response.map(|_| Body::Text(None));
    }
    let traffic = port.traffic.clone();
    response.map(|body| Body::Relay(Relay::new(body, conn, lease, traffic)))
}

/// Carries an upgraded connection; it stays open at its endpoint until both sides are done.
async fn tunnel(client: OnUpgrade, endpoint: OnUpgrade, conn: Conn, lease: Lease, peer: Peer) {
    match tokio::try_join!(client, endpoint) {
        Ok((client, endpoint)) => {
            let (mut client, mut endpoint) = (TokioIo::new(client), TokioIo::new(endpoint));
            if let Err(error) = copy_bidirectional(&mut client, &mut endpoint).await {
                tracing::debug!(%error, "upgraded connection ended");
            }
        }
        Err(error) => tracing::debug!(%error, "connection was not upgraded"),
    }
    drop((conn, lease, peer));
}

fn died(lease: &Lease, error: &hyper::Error) -> Response<Body> {
    let address = lease.upstream().address;
    tracing::debug!(endpoint = %address, %error, "endpoint gave no answer");
    let text = format!(
        "the endpoint {address} ended the connection before it answered: {error}\nThe request was not repeated: it may have been carried out.\n"
    );
    refusal(StatusCode::BAD_GATEWAY, "upstream-died", Some(lease), text)
}

fn unserved(port: &Port, tried: &[SocketAddrV4]) -> Response<Body> {
    let Some(last) = tried.last() else {
        let snapshot = port.snapshot();
        if !snapshot.targets.is_empty() {
            let text = "connections to endpoints were closed before the request could be sent; it was sent to none\n";
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "connection-lost", None, text);
        }
        let text = format!("no endpoint is ready: {}\n", snapshot.why_empty);
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "no-endpoint", None, text);
    };
    let all: Vec<String> = tried.iter().map(SocketAddrV4::to_string).collect();
    let text = format!("no endpoint could be connected to; tried: {}\n", all.join(", "));
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "connect-failed", None, text);
    let last = HeaderValue::from_str(&last.to_string()).expect("an address is ASCII");
    response.headers_mut().insert(ENDPOINT, last);
    response
}

/// An answer of the proxy's own.
fn refusal(
    code: StatusCode,
    why: &'static str,
    lease: Option<&Lease>,
    text: impl Into<bytes::Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::Text(Some(text.into())));
    *response.status_mut() = code;
    let endpoint = lease.map_or(HeaderValue::from_static("none"), |l| l.upstream().named.clone());
    let headers = response.headers_mut();
    headers.insert(ENDPOINT, endpoint);
    headers.insert(WHY, HeaderValue::from_static(why));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
