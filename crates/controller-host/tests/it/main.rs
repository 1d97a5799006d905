//! The host against an API server in memory, in virtual time.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test ends at what it did not expect")]

mod dynamic;
mod host;
mod server;

use stdx::{Env, Time};

/// An environment in virtual time.
pub(crate) fn env() -> Env {
    os::virtual_env(Time::from_secs(1_700_000_000), 1)
}
