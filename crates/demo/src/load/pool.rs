//! Connections that stay open: each carries one request at a time, the one idle longest is taken first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::oneshot;

/// The sending half of a connection.
pub(super) type Sender = SendRequest<Empty<Bytes>>;

/// All connections of a load.
pub(super) struct Pool {
    max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    idle: VecDeque<Sender>,
    /// Leases that are out, and idle connections.
    held: usize,
    waiting: VecDeque<oneshot::Sender<Lease>>,
    opened: u64,
}

/// The right to one connection: an open one, or to open one. It goes back to the pool by itself: with the connection
/// when that was put back in, without when it was lost.
pub(super) struct Lease {
    pool: Arc<Pool>,
    pub(super) sender: Option<Sender>,
}

impl Pool {
    pub(super) fn new(max: usize) -> Pool {
        Pool { max, inner: Mutex::new(Inner::default()) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder panics")
    }

    /// The right to open one, whether or not others are idle: for the first connections.
    pub(super) fn slot(self: &Arc<Pool>) -> Lease {
        self.inner().held += 1;
        Lease { pool: self.clone(), sender: None }
    }

    /// The next connection; opens another when all are busy and there may be more; else waits its turn.
    pub(super) async fn lease(self: &Arc<Pool>) -> Lease {
        loop {
            let turn = match self.try_lease() {
                Ok(lease) => return lease,
                Err(turn) => turn,
            };
            if let Ok(lease) = turn.await {
                return lease;
            }
        }
    }

    fn try_lease(self: &Arc<Pool>) -> Result<Lease, oneshot::Receiver<Lease>> {
        let mut inner = self.inner();
        // One that was closed while it was idle has lost nothing: its place is used anew.
        let sender = inner.idle.pop_front();
        if sender.is_some() {
            let sender = sender.filter(|s| !s.is_closed());
            return Ok(Lease { pool: self.clone(), sender });
        }
        if inner.held < self.max {
            inner.held += 1;
            return Ok(Lease { pool: self.clone(), sender: None });
        }
        let (give, turn) = oneshot::channel();
        inner.waiting.push_back(give);
        Err(turn)
    }

    /// Counts a connection that was opened.
    pub(super) fn count_opened(&self) {
        self.inner().opened += 1;
    }

    /// Connections there are, and all that were ever opened.
    pub(super) fn counts(&self) -> (usize, u64) {
        let inner = self.inner();
        (inner.held, inner.opened)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let sender = self.sender.take();
        let next = {
            let mut inner = self.pool.inner();
            // Those that waited too long are gone.
            while inner.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                inner.waiting.pop_front();
            }
            match (inner.waiting.pop_front(), sender) {
                (Some(waiting), sender) => Some((waiting, sender)),
                (None, Some(sender)) => {
                    inner.idle.push_back(sender);
                    None
                }
                (None, None) => {
                    inner.held -= 1;
                    None
                }
            }
        };
        // Outside the lock: a waiter that left just now hands the lease back through this very function.
        if let Some((waiting, sender)) = next {
            let _ = waiting.send(Lease { pool: self.pool.clone(), sender });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_never_more_connections_than_allowed_and_a_lost_one_makes_room() {
        let pool = Arc::new(Pool::new(2));
        let (one, two) = (pool.lease().await, pool.lease().await);
        let third = pool.try_lease().err().expect("both are out");
        drop(one);
        assert!(third.await.is_ok(), "the place of the lost one is passed on");
        drop(two);
        assert_eq!(pool.counts().0, 0, "the lease that was passed on went back as well");
    }

    #[tokio::test]
    async fn a_waiter_that_gave_up_costs_no_place() {
        let pool = Arc::new(Pool::new(1));
        let one = pool.lease().await;
        let gone = pool.try_lease().err().expect("it is out");
        let patient = pool.try_lease().err().expect("it is out");
        drop(gone);
        drop(one);
        assert!(patient.await.is_ok());
        assert_eq!(pool.counts().0, 0);
    }
}
