//! Accepts connections, tells who they are from, and hands requests to the pipeline.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use api_client::{Request, Response};
use api_meta::{Reason, Status};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use stdx::{BoxFuture, Time};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::body::{self, Outgoing};
use crate::auth::Authenticator;
use crate::auth::{certificate_end, certificate_user};
use crate::who::User;

/// Certificates of the listener.
pub struct Tls {
    /// Chain of the server's certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// Authorities whose client certificates are believed.
    pub client_authorities: Vec<CertificateDer<'static>>,
}

/// Bounds of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Bytes of a request body; upstream's limit is 3 MiB.
    pub body_bytes: usize,
    /// Streams of one HTTP/2 connection; client-go keeps one watch per stream and dislikes waiting.
    pub streams: u32,
    /// A handshake must be over after so long.
    pub handshake: Duration,
    /// Connections may finish their requests for so long after the stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 20_000,
            body_bytes: 3 << 20,
            streams: 1_000,
            handshake: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}

/// The listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Keys or certificates do not fit together.
    #[error("set up TLS: {0}")]
    Tls(String),
}

/// What a listener shows and whom it believes; may be replaced while it serves. Connections that are open keep what they began with.
pub struct Keys {
    config: RwLock<Arc<ServerConfig>>,
}

impl Keys {
    /// Begins with these certificates.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn new(tls: Tls) -> Result<Keys, ServeError> {
        Ok(Keys { config: RwLock::new(Arc::new(config(tls)?)) })
    }

    /// Shows other certificates to connections that come from now on.
    ///
    /// # Errors
    /// When they do not fit together; then the former ones stay.
    pub fn replace(&self, tls: Tls) -> Result<(), ServeError> {
        let config = Arc::new(config(tls)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Where a request came from, among its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// When the client's certificate ends, among the extensions of a request that is believed because of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertificateEnd(pub(crate) Time);

/// Where requests go.
pub type Handler = Arc<dyn Fn(User, Request) -> BoxFuture<Response> + Send + Sync>;

/// Where requests go that are refused before it is known who sent them (nobody), or what: without their body.
pub type Refuse = Arc<dyn Fn(Option<User>, Request, Status) -> BoxFuture<Response> + Send + Sync>;

/// Who answers.
#[derive(Clone)]
pub struct Service {
    /// Requests of somebody.
    pub handler: Handler,
    /// The others; answered with their `Status` where there is nobody for them.
    pub refuse: Option<Refuse>,
}

/// Serves until `stop` turns true, then lets open requests finish for a moment.
///
/// # Errors
/// When the certificates cannot be used. Trouble with single connections is logged and ends only those.
pub async fn serve(
    listener: TcpListener,
    tls: Tls,
    who: Arc<Authenticator>,
    handler: Handler,
    limits: Limits,
    stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let service = Service { handler, refuse: None };
    serve_with(listener, Arc::new(Keys::new(tls)?), who, service, limits, stop).await;
    Ok(())
}

/// The same with certificates that may be replaced meanwhile. After `stop` nobody can connect any more, clients of HTTP/2 are told to
/// send nothing new (GOAWAY), and what is under way has [`Limits::drain`] to finish.
pub async fn serve_with(
    listener: TcpListener,
    keys: Arc<Keys>,
    who: Arc<Authenticator>,
    service: Service,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept a connection; trying again shortly");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection =
            Connection { acceptor: keys.acceptor(), who: who.clone(), service: service.clone(), limits };
        let stop = stop.clone();
        tokio::spawn(async move {
            connection.run(stream, stop).await;
            drop(slot);
        });
    }
    // Who connects now is refused at once and tries another server, instead of waiting for nobody.
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(limits.drain, slots.acquire_many(all)).await;
}

fn config(tls: Tls) -> Result<ServerConfig, ServeError> {
    let wrong = |e: &dyn std::fmt::Display| ServeError::Tls(e.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in tls.client_authorities {
        roots.add(authority).map_err(|e| wrong(&e))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| wrong(&e))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(tls.chain, tls.key)
        .map_err(|e| wrong(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Returns when `stop` has turned true, or nobody can turn it any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

struct Connection {
    acceptor: TlsAcceptor,
    who: Arc<Authenticator>,
    service: Service,
    limits: Limits,
}

impl Connection {
    async fn run(self, stream: TcpStream, mut stop: watch::Receiver<bool>) {
        let _ = stream.set_nodelay(true);
        let address = stream.peer_addr().ok();
        let handshake = tokio::time::timeout(self.limits.handshake, self.acceptor.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake refused"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
        let peer = certificate.and_then(|c| Some(Arc::new((certificate_user(c)?, certificate_end(c)?))));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
            .keep_alive_interval(Some(Duration::from_secs(30)));
        let (who, service, limits) = (self.who, self.service, self.limits);
        let service = service_fn(move |request| {
            let from = Origin { peer: peer.clone(), address };
            answer(request, who.clone(), from, service.clone(), limits.body_bytes)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let outcome = tokio::select! {
            biased;
            outcome = connection.as_mut() => outcome,
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(limits.drain, connection).await {
                    Ok(outcome) => outcome,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// The other end of a connection.
struct Origin {
    /// Whom its certificate names, and when that ends.
    peer: Option<Arc<(User, Time)>>,
    address: Option<SocketAddr>,
}

async fn answer(
    request: http::Request<Incoming>,
    who: Arc<Authenticator>,
    from: Origin,
    service: Service,
    body_bytes: usize,
) -> Result<http::Response<Outgoing>, std::convert::Infallible> {
    let (mut parts, incoming) = request.into_parts();
    if let Some(address) = from.address {
        parts.extensions.insert(Peer(address));
    }
    let authorization =
        parts.headers.get(http::header::AUTHORIZATION).map(|v| v.to_str().unwrap_or("invalid"));
    let peer = from.peer.as_deref();
    let user = who.user(authorization, peer.map(|(user, _)| user));
    if let Some((_, end)) = peer.filter(|(named, _)| user.as_ref() == Some(named)) {
        parts.extensions.insert(CertificateEnd(*end));
    }
    let (user, refused) = match user {
        None => (None, Status::failure(Reason::Unauthorized, "Unauthorized")),
        Some(user) => match body::read(incoming, body_bytes).await {
            Ok(bytes) => {
                let answer = (service.handler)(user, Request::from_parts(parts, bytes)).await;
                return Ok(body::outgoing(answer));
            }
            Err(status) => (Some(user), status),
        },
    };
    Ok(match &service.refuse {
        Some(refuse) => {
            body::outgoing(refuse(user, Request::from_parts(parts, bytes::Bytes::new()), refused).await)
        }
        None => body::refusal(&refused),
    })
}
