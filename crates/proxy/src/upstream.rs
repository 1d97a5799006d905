//! One endpoint of one port: what is open there, and the connections kept to it.

use std::io;
use std::net::{SocketAddrV4, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::config::{BUFFER_BYTES_MAX, CONNECT_MAX, HEAD_BYTES_MAX, IDLE_AGE_MAX, IDLE_MAX};
use crate::plan::Load;

/// Set in the count of what is open when nothing more may begin.
const SHUT: u64 = 1 << 63;

/// An endpoint of a port.
///
/// One atomic holds both the count and whether it may grow, so that "not chosen any more, and nothing open" is one fact: it
/// cannot be seen while a request is just about to begin.
pub(crate) struct Upstream {
    /// Where it is.
    pub(crate) address: SocketAddrV4,
    /// The same as the value of a header.
    pub(crate) named: HeaderValue,
    open: AtomicU64,
    connections: AtomicUsize,
    requests: AtomicU64,
    connects: AtomicU64,
    idle: Mutex<Vec<Idle>>,
    rest: Arc<Notify>,
}

struct Idle {
    conn: Conn,
    since: Instant,
}

impl Upstream {
    /// An endpoint that may not be chosen yet; `rest` is told whenever one that is shut has come to rest.
    pub(crate) fn new(address: SocketAddrV4, rest: Arc<Notify>) -> Upstream {
        let named = HeaderValue::from_str(&address.to_string()).expect("an address is ASCII");
        Upstream {
            address,
            named,
            open: AtomicU64::new(SHUT),
            connections: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            idle: Mutex::new(Vec::new()),
            rest,
        }
    }

    /// Lets it be chosen.
    pub(crate) fn admit(&self) {
        self.open.fetch_and(!SHUT, Ordering::SeqCst);
    }

    /// Lets nothing more begin, and closes the idle connections. Whether it was admitted before.
    pub(crate) fn shut(&self) -> bool {
        let was = self.open.fetch_or(SHUT, Ordering::SeqCst);
        // Taken out first: closing them must not happen under the lock.
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
        was & SHUT == 0
    }

    /// How many are open; none when it may not be chosen.
    pub(crate) fn eligible(&self) -> Option<usize> {
        let now = self.open.load(Ordering::Relaxed);
        (now & SHUT == 0).then(|| usize::try_from(now).unwrap_or(usize::MAX))
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        usize::try_from(self.open.load(Ordering::SeqCst) & !SHUT).unwrap_or(usize::MAX)
    }

    /// Requests and connections begun since the proxy knows it.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Connections made to it.
    pub(crate) fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// All that runs.
    pub(crate) fn load(&self) -> Load {
        let open = self.open.load(Ordering::SeqCst);
        Load {
            admitting: open & SHUT == 0,
            open: usize::try_from(open & !SHUT).unwrap_or(usize::MAX),
            connections: self.connections.load(Ordering::SeqCst),
        }
    }

    /// Begins a request or a connection, unless it was shut meanwhile.
    pub(crate) fn enter(self: &Arc<Upstream>) -> Option<Lease> {
        let grow = |open: u64| (open & SHUT == 0).then_some(open + 1);
        self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, grow).ok()?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        Some(Lease(self.clone()))
    }

    /// Drops connections that were idle for too long or are dead.
    pub(crate) fn sweep(&self) {
        let old = |idle: &mut Idle| idle.since.elapsed() > IDLE_AGE_MAX || !idle.conn.is_alive();
        let gone: Vec<Idle> = self.idle().extract_if(.., old).collect();
        drop(gone);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_rest(&self) {
        if self.load().is_at_rest() {
            self.rest.notify_one();
        }
    }
}

/// One open request or connection; it is over when this is dropped.
pub(crate) struct Lease(Arc<Upstream>);

impl Drop for Lease {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::SeqCst) == SHUT | 1 {
            self.0.tell_rest();
        }
    }
}

impl Lease {
    /// Where it is open.
    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.0
    }

    /// An idle connection that still stands: the one used last, because it is the least likely to be closed soon.
    pub(crate) fn reuse(&self) -> Option<Conn> {
        let mut dead = Vec::new();
        let mut idle = self.0.idle();
        let mut found = None;
        // Behind the newest, which may not have finished its last request entirely, are older ones.
        for index in (0..idle.len()).rev() {
            let candidate = &idle[index];
            if candidate.since.elapsed() > IDLE_AGE_MAX || !candidate.conn.is_alive() {
                dead.push(idle.remove(index));
            } else if candidate.conn.sender.is_ready() {
                found = Some(idle.remove(index).conn);
                break;
            }
        }
        drop(idle);
        found
    }

    /// Puts a connection back whose last request is over.
    pub(crate) fn give_back(&self, conn: Conn) {
        if conn.sender.is_closed() {
            return;
        }
        let mut idle = self.0.idle();
        // Asked under the lock: who shuts sets the flag first and then empties the list.
        if self.0.eligible().is_some() && idle.len() < IDLE_MAX {
            idle.push(Idle { conn, since: Instant::now() });
        }
    }

    /// Connects for HTTP.
    pub(crate) async fn connect(&self) -> io::Result<Conn> {
        let stream = self.connect_plain().await?;
        let probe = StdStream::from(stream.as_fd().try_clone_to_owned()?);
        let standing = Standing::begin(&self.0);
        let handshake = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            let _standing = standing;
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to an endpoint ended");
            }
        });
        Ok(Conn { sender, probe, _task: Task(task.abort_handle()) })
    }

    /// Connects. The last wall: an address outside 127.0.0.0/8 is never connected to, whoever asks.
    pub(crate) async fn connect_plain(&self) -> io::Result<TcpStream> {
        let address = self.0.address;
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not on loopback"));
        }
        let connect = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address));
        let stream = connect.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        self.0.connects.fetch_add(1, Ordering::Relaxed);
        Ok(stream)
    }
}

/// Counts a connection of the proxy's own while its task lives.
struct Standing(Arc<Upstream>);

impl Standing {
    fn begin(upstream: &Arc<Upstream>) -> Standing {
        upstream.connections.fetch_add(1, Ordering::SeqCst);
        Standing(upstream.clone())
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
        self.0.tell_rest();
    }
}

/// A connection to an endpoint for HTTP, used by one request at a time. Dropping it closes it.
pub(crate) struct Conn {
    sender: SendRequest<Incoming>,
    /// The same socket, to look at it without reading.
    probe: StdStream,
    _task: Task,
}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a request got no answer.
#[expect(clippy::large_enum_variant, reason = "moved once, and only when something went wrong")]
pub(crate) enum Unanswered {
    /// Nothing of it was sent; here it is back.
    Unsent(Request<Incoming>),
    /// It was sent, in part or in whole; what became of it is not known.
    Died(hyper::Error),
}

impl Conn {
    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let sent = self.sender.try_send_request(request).await;
        sent.map_err(|mut refused| match refused.take_message() {
            Some(request) => Unanswered::Unsent(request),
            None => Unanswered::Died(refused.into_error()),
        })
    }

    /// Whether the other side has neither closed it nor sent anything. Asked of the kernel: a process that was killed a
    /// moment ago has closed its sockets, though the runtime may not have noticed.
    fn is_alive(&self) -> bool {
        if self.sender.is_closed() {
            return false;
        }
        matches!(self.probe.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_at_an_endpoint_that_is_shut_and_its_last_end_is_told() {
        let rest = Arc::new(Notify::new());
        let upstream = Arc::new(Upstream::new("127.4.64.1:80".parse().unwrap(), rest.clone()));
        assert!(upstream.enter().is_none(), "not admitted yet");
        upstream.admit();
        let (one, two) = (upstream.enter().unwrap(), upstream.enter().unwrap());
        assert_eq!(upstream.load(), Load { admitting: true, open: 2, connections: 0 });
        drop(one);
        assert!(upstream.shut() && !upstream.shut());
        assert!(upstream.enter().is_none() && upstream.eligible().is_none());
        assert_eq!((upstream.open(), upstream.load().is_at_rest()), (1, false));
        drop(two);
        assert!(upstream.load().is_at_rest());
        let told = std::pin::pin!(rest.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(told.poll(&mut context).is_ready());
    }

    #[test]
    fn counts_are_exact_while_many_begin_and_one_shuts() {
        let upstream = Arc::new(Upstream::new("127.4.64.1:80".parse().unwrap(), Arc::new(Notify::new())));
        upstream.admit();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(lease) = upstream.enter() {
                        drop(lease);
                    }
                });
            }
            std::thread::yield_now();
            upstream.shut();
        });
        assert!(upstream.load().is_at_rest());
    }

    #[tokio::test]
    async fn an_address_outside_of_loopback_is_never_connected_to() {
        let upstream = Arc::new(Upstream::new("192.0.2.1:80".parse().unwrap(), Arc::new(Notify::new())));
        upstream.admit();
        let refused = upstream.enter().unwrap().connect_plain().await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
