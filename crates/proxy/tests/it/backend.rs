//! A small web server on a pod's address.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Port of all backends.
pub(crate) const PORT: u16 = 8080;
/// Length of a flood: far more than all buffers on the way.
pub(crate) const FLOOD_BYTES: usize = 64 << 20;
static PIECE: [u8; 64 << 10] = [7; 64 << 10];

/// A server that runs until it is dropped.
///
/// | path | answer |
/// |---|---|
/// | `/slow` | waits for a permit of `gate` before it answers |
/// | `/stream` | sends the head and a first piece, waits for `gate`, sends the rest |
/// | `/flood` | [`FLOOD_BYTES`], as fast as they are taken |
/// | `/die` | reads the request and ends the connection |
/// | `/upgrade` | switches to a protocol that sends back what it gets |
/// | `/echo` | headers and body of the request |
/// | else | the address |
pub(crate) struct Backend {
    pub(crate) state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) address: Ipv4Addr,
    pub(crate) requests: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    /// Bytes of floods that were taken so far.
    pub(crate) flooded: AtomicUsize,
    pub(crate) gate: Semaphore,
}

impl State {
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Backend {
    pub(crate) fn http(address: Ipv4Addr) -> Backend {
        let state = Backend::state(address);
        let listener = listen(address);
        let task = tokio::spawn(accept(listener, state.clone(), |stream, state| async move {
            let service = service_fn(|request| answer(state.clone(), request));
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let _ = served.await;
        }));
        Backend { state, task }
    }

    /// Reads everything, then answers with it reversed: only a half-closed connection gets an answer.
    pub(crate) fn reverser(address: Ipv4Addr) -> Backend {
        let state = Backend::state(address);
        let listener = listen(address);
        let task = tokio::spawn(accept(listener, state.clone(), |mut stream, state| async move {
            state.requests.fetch_add(1, Ordering::SeqCst);
            let mut all = Vec::new();
            if stream.read_to_end(&mut all).await.is_ok() {
                all.reverse();
                let _ = stream.write_all(&all).await;
                let _ = stream.shutdown().await;
            }
        }));
        Backend { state, task }
    }

    fn state(address: Ipv4Addr) -> Arc<State> {
        Arc::new(State {
            address,
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            flooded: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        })
    }

    /// Ends it and all its connections, as a kill does.
    pub(crate) async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn listen(address: Ipv4Addr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddrV4::new(address, PORT).into()).unwrap();
    socket.listen(1024).unwrap()
}

async fn accept<F>(
    listener: TcpListener,
    state: Arc<State>,
    serve: impl Fn(tokio::net::TcpStream, Arc<State>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let _ = stream.set_nodelay(true);
        state.connections.fetch_add(1, Ordering::SeqCst);
        let count = Count(state.clone());
        let serving = serve(stream, state.clone());
        connections.spawn(async move {
            serving.await;
            drop(count);
        });
        while connections.try_join_next().is_some() {}
    }
}

struct Count(Arc<State>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The end of a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("dies")]
struct Dies;

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Dies> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let text = |text: String| Response::new(Body::Full(Full::new(text.into())));
    Ok(match request.uri().path() {
        "/slow" => {
            state.gate.acquire().await.unwrap().forget();
            text(state.address.to_string())
        }
        "/stream" => Response::new(Body::Stream(Pieces::start(state))),
        "/flood" => Response::new(Body::Flood(state, 0)),
        "/die" => {
            let _ = request.into_body().collect().await;
            return Err(Dies);
        }
        "/upgrade" => upgrade(request),
        "/echo" => {
            let headers = format!("{:?}\n", request.headers());
            let body = request.into_body().collect().await.map_err(|_| Dies)?.to_bytes();
            text(headers + &String::from_utf8_lossy(&body))
        }
        _ => text(state.address.to_string()),
    })
}

fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.unwrap());
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    });
    let mut response = Response::new(Body::Full(Full::default()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
    response.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
    response
}

enum Body {
    Full(Full<Bytes>),
    Stream(Pieces),
    Flood(Arc<State>, usize),
}

/// `first`, then after a permit ` last`.
struct Pieces {
    sent: usize,
    gate: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Pieces {
    fn start(state: Arc<State>) -> Pieces {
        let gate = async move { state.gate.acquire().await.unwrap().forget() };
        Pieces { sent: 0, gate: Box::pin(gate) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let pieces = match self.get_mut() {
            Body::Full(full) => return Pin::new(full).poll_frame(context),
            Body::Stream(pieces) => pieces,
            Body::Flood(_, FLOOD_BYTES) => return Poll::Ready(None),
            Body::Flood(state, sent) => {
                *sent += PIECE.len();
                state.flooded.fetch_add(PIECE.len(), Ordering::SeqCst);
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))));
            }
        };
        pieces.sent += 1;
        match pieces.sent {
            1 => Poll::Ready(Some(Ok(Frame::data("first".into())))),
            2 if pieces.gate.as_mut().poll(context).is_pending() => {
                pieces.sent = 1;
                Poll::Pending
            }
            2 => Poll::Ready(Some(Ok(Frame::data(" last".into())))),
            _ => Poll::Ready(None),
        }
    }
}
