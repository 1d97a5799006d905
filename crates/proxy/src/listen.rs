//! Listening at the address of a Service.

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::BACKLOG_MAX;
use crate::facts::Mode;
use crate::port::{Peer, Port};
use crate::{http1, l4};

/// How long accepting rests after it failed: most often files have run out, and more come with time alone.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// An address that is listened on.
pub(crate) struct Listener {
    task: JoinHandle<()>,
    closing: watch::Sender<bool>,
}

impl Listener {
    /// Begins to listen.
    pub(crate) fn open(address: SocketAddrV4, mode: Mode, port: Arc<Port>) -> io::Result<Listener> {
        let listener = bind(address)?;
        let (closing, closed) = watch::channel(false);
        let accepting = Accepting { listener, address, mode, port, closed };
        Ok(Listener { task: tokio::spawn(accepting.run()), closing })
    }

    /// Accepts no more, lets requests at hand end, and gives the address free before it returns.
    pub(crate) async fn close(mut self) {
        self.closing.send_replace(true);
        self.task.abort();
        // The socket goes with the task.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Binds as servers do: an address of which old connections still linger is free.
pub(crate) fn bind(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.into())?;
    socket.listen(BACKLOG_MAX)
}

struct Accepting {
    listener: TcpListener,
    address: SocketAddrV4,
    mode: Mode,
    port: Arc<Port>,
    closed: watch::Receiver<bool>,
}

impl Accepting {
    async fn run(self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => self.admit(stream, from.ip()).await,
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "connection not accepted");
                    self.port.shared.env.sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Waits for room, then serves in the background.
    async fn admit(&self, stream: TcpStream, from: IpAddr) {
        let Ok(room) = self.port.shared.clients.clone().acquire_owned().await else { return };
        let IpAddr::V4(address) = from else { return };
        let _ = stream.set_nodelay(true);
        let peer = Peer { address, _room: Arc::new(room) };
        let port = self.port.clone();
        match self.mode {
            Mode::Http => {
                tokio::spawn(http1::serve(stream, peer, port, self.address, self.closed.clone()));
            }
            Mode::L4 => {
                tokio::spawn(l4::serve(stream, peer, port));
            }
        }
    }
}
