//! Forwarding connection by connection.

use std::net::SocketAddrV4;
use std::sync::Arc;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;

use crate::config::ATTEMPTS_MAX;
use crate::port::{Peer, Port};
use crate::upstream::Lease;

/// Bytes buffered for each connection and direction.
const BUFFER_BYTES: usize = 16 << 10;

/// Carries one connection until both sides have ended theirs; one side may end before the other. The connection is open at
/// its endpoint from before connecting on. Without an endpoint it is closed.
pub(crate) async fn serve(mut stream: TcpStream, peer: Peer, port: Arc<Port>) {
    port.traffic.begun();
    let Some((lease, mut upstream)) = connect(&port, &peer).await else {
        port.traffic.failed();
        return;
    };
    let copied = copy_bidirectional_with_sizes(&mut stream, &mut upstream, BUFFER_BYTES, BUFFER_BYTES).await;
    if let Err(error) = copied {
        tracing::debug!(endpoint = %lease.upstream().address, %error, "connection ended");
    }
    // Closed before it stops to count.
    drop((upstream, stream));
    drop(lease);
}

async fn connect(port: &Port, peer: &Peer) -> Option<(Lease, TcpStream)> {
    let mut tried: Vec<SocketAddrV4> = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        let lease = port.choose(peer.address, &tried)?;
        match lease.connect_plain().await {
            Ok(stream) => return Some((lease, stream)),
            Err(error) => {
                tracing::debug!(endpoint = %lease.upstream().address, %error, "endpoint cannot be connected to");
                tried.push(lease.upstream().address);
            }
        }
    }
    None
}
