//! The host against an API server in memory, in virtual time.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test ends at what it did not expect")]

mod dynamic;
mod host;
mod server;

use std::sync::Arc;
use std::time::Duration;

use stdx::{BoxFuture, Clock, Env, SeededRng, Spawn, Time, Timer};

/// Virtual time: tokio's paused clock.
struct Virtual(tokio::time::Instant);

impl Clock for Virtual {
    fn now(&self) -> Time {
        Time::from_secs(1_700_000_000) + self.0.elapsed()
    }
}

impl Timer for Virtual {
    fn sleep(&self, length: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(length))
    }
}

impl Spawn for Virtual {
    fn spawn(&self, _: &'static str, task: BoxFuture<()>) {
        tokio::spawn(task);
    }
}

/// An environment in virtual time.
pub(crate) fn env() -> Env {
    let time = Arc::new(Virtual(tokio::time::Instant::now()));
    Env { clock: time.clone(), rng: Arc::new(SeededRng::new(1)), timer: time.clone(), spawn: time }
}
