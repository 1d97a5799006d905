//! What is answered to a client: a text of the proxy's own, or a body on its way through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::traffic::Traffic;
use crate::upstream::{Conn, Lease};

/// The body of an answer.
pub(crate) enum Body {
    /// The proxy's own words.
    Text(Option<Bytes>),
    /// An endpoint's. It is read as fast as the client reads.
    Relay(Relay),
}

/// A body that holds its request open until its end.
pub(crate) struct Relay {
    inner: Incoming,
    /// Released at the end, or when the client has gone.
    held: Option<Held>,
    traffic: Arc<Traffic>,
}

struct Held {
    conn: Conn,
    lease: Lease,
}

impl Relay {
    /// The body of an answer that came by this connection.
    pub(crate) fn new(inner: Incoming, conn: Conn, lease: Lease, traffic: Arc<Traffic>) -> Relay {
        let mut relay = Relay { inner, held: Some(Held { conn, lease }), traffic };
        relay.release_at_end();
        relay
    }

    /// At the end the connection is free for the next request; only then the request is no longer open.
    fn release_at_end(&mut self) {
        if self.inner.is_end_stream()
            && let Some(held) = self.held.take()
        {
            held.lease.give_back(held.conn);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Before its end: the connection still has the rest of the body in it and is closed with `held`.
        self.release_at_end();
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let relay = match self.get_mut() {
            Body::Text(text) => return Poll::Ready(text.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Relay(relay) => relay,
        };
        let frame = ready!(Pin::new(&mut relay.inner).poll_frame(context));
        match &frame {
            Some(Ok(_)) => relay.release_at_end(),
            Some(Err(_)) => {
                relay.traffic.failed();
                relay.held = None;
            }
            None => {
                if let Some(held) = relay.held.take() {
                    held.lease.give_back(held.conn);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Text(text) => text.is_none(),
            Body::Relay(relay) => relay.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |t| t.len() as u64)),
            Body::Relay(relay) => relay.inner.size_hint(),
        }
    }
}
