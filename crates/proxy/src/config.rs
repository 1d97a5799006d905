//! What the proxy is told, and its limits.

use std::net::SocketAddr;
use std::time::Duration;

/// What the proxy is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where `/metrics`, `/traffic`, `/healthz` and `/readyz` are answered; loopback.
    pub status_listen: SocketAddr,
}

/// Why the proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its own figures are for this machine alone.
    #[error("the status address {0} is not on loopback; choose one in 127.0.0.0/8")]
    StatusNotLocal(SocketAddr),
    /// Its own address cannot be listened on.
    #[error("listen on the status address {address}")]
    Status {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Client connections at one time, over all ports; further ones wait in the kernel's queue.
pub(crate) const CLIENTS_MAX: usize = 8192;
/// Connections that wait to be accepted, for each listener.
pub(crate) const BACKLOG_MAX: u32 = 1024;
/// Idle connections kept for each endpoint and port.
pub(crate) const IDLE_MAX: usize = 64;
/// How long a connection may be idle and still be used. Shorter than the keep-alive of common servers (5 s and up), so that
/// they hardly ever close one while a request is on its way.
pub(crate) const IDLE_AGE_MAX: Duration = Duration::from_secs(4);
/// How long connecting to an endpoint may take.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long a client may take for the head of a request; also how long its connection may be idle.
pub(crate) const HEAD_READ_MAX: Duration = Duration::from_secs(300);
/// Bytes of the head of a request or a response. Its headers are at most a hundred (hyper's bound).
pub(crate) const HEAD_BYTES_MAX: usize = 32 << 10;
/// Bytes buffered for each connection and direction.
pub(crate) const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Endpoints tried for one request or connection while connecting fails.
pub(crate) const ATTEMPTS_MAX: usize = 8;
/// Clients remembered by each port with session affinity.
pub(crate) const STICKY_MAX: usize = 16_384;
/// Events from the mirrors that may wait to be taken in.
pub(crate) const INBOX_MAX: usize = 1024;
/// Longest wait between attempts to watch while the API server is away.
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// How often rates are sampled and timers looked at.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// How often a port that could not be listened on is tried again, idle connections are swept, and conditions are compared.
pub(crate) const CHORES: Duration = Duration::from_secs(5);
/// How long a write that failed rests before it is looked at again.
pub(crate) const WRITE_RETRY: Duration = Duration::from_secs(1);
/// How long open requests may take to end after the proxy was asked to.
pub(crate) const SHUTDOWN_MAX: Duration = Duration::from_secs(5);
