//! How long an event of a watch takes from the disk to the connection.

use std::sync::Arc;

use bytes::Bytes;
use stdx::Time;

use super::Histogram;
use crate::server::ApiServer;

/// Upper bounds of the buckets, in microseconds; close together around the goal of 100 ms.
pub(super) const BOUNDS_MICROS: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000, 60_000_000,
];

/// Deliveries by how long they took.
pub(crate) type Deliveries = Histogram<{ BOUNDS_MICROS.len() }>;

/// Events on their way. Whoever sends them lets go of them when they are in the connection's own buffer or in the socket, and that is
/// what is waited for: a client that does not read keeps them here. What is dropped because a connection broke counts, too.
struct Parcel {
    bytes: Bytes,
    server: Arc<ApiServer>,
    durable: Time,
    events: u64,
}

impl AsRef<[u8]> for Parcel {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        let took = self.server.env.now().since(self.durable);
        self.server.metrics.deliveries.observe(took, self.events);
    }
}

/// The bytes of `events` changes, the oldest of which became durable at `durable`, timed until they are sent.
pub(crate) fn timed(server: &Arc<ApiServer>, bytes: Bytes, events: u64, durable: Time) -> Bytes {
    Bytes::from_owner(Parcel { bytes, server: server.clone(), durable, events })
}
