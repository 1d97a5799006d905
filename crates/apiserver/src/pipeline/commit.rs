//! Stage: one conditional write. Equal bytes are no write at all.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde_json::Value;
use store::{Error, Expect, Key, Op, Revision};

use crate::refuse::{Outcome, Refusal, internal, refuse};
use crate::registry::Served;
use crate::server::ApiServer;
use crate::webhook::is_configuration;
use crate::{settings, stored};

/// An object as it is after a write.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// Its stored form.
    pub(crate) plain: Bytes,
    /// Its version.
    pub(crate) revision: Revision,
    /// It is gone now.
    pub(crate) is_gone: bool,
}

/// What came of a write.
pub(crate) enum Committed {
    /// Durable and visible.
    Done(Revision),
    /// Somebody else was first; there now is this, if anything.
    Raced(Option<std::sync::Arc<store::Stored>>),
}

/// Stores an object.
pub(crate) async fn put(
    server: &ApiServer,
    served: &Served,
    key: Key,
    object: &Value,
    plain: &[u8],
    expect: Expect,
) -> Outcome<Committed> {
    let op = Op::Put { row: stored::row(served, object), body: stored::pack(plain), key, expect };
    write(server, op).await
}

/// Removes an object; watchers see `last` when it differs from what is stored.
pub(crate) async fn remove(
    server: &ApiServer,
    key: Key,
    at: Revision,
    last: Option<&[u8]>,
) -> Outcome<Committed> {
    write(server, Op::Delete { key, expect: Expect::At(at), last: last.map(stored::pack) }).await
}

async fn write(server: &ApiServer, op: Op) -> Outcome<Committed> {
    let (Op::Put { key, .. } | Op::Delete { key, .. }) = &op;
    let (is_configuration, is_limits) = (is_configuration(&key.resource), settings::is_limits(key));
    let (is_delete, began) = (matches!(op, Op::Delete { .. }), server.env.now());
    let written = server.store.write(op).await;
    server.metrics.stored(is_delete, server.env.now().since(began));
    match written {
        Ok(revision) => {
            if is_configuration {
                server.hooks.read(&server.store);
            }
            if is_limits {
                settings::read(server);
            }
            server.metrics.writes.fetch_add(1, Ordering::Relaxed);
            Ok(Committed::Done(revision))
        }
        Err(Error::Conflict { current }) => {
            server.metrics.retries.fetch_add(1, Ordering::Relaxed);
            Ok(Committed::Raced(current))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// A store that cannot write, in the words of an API server.
pub(crate) fn failed(error: &Error) -> Box<Refusal> {
    match error {
        Error::Closed => refuse(api_meta::Reason::ServiceUnavailable, "the server is shutting down"),
        // The reason of etcd's alarm of this kind, which clients know; the code says which one it is.
        Error::Full => {
            let mut refusal = internal(error);
            refusal.status.code = 507;
            refusal
        }
        other => internal(other),
    }
}
