//! An environment whose clock is tokio's, so that pausing it pauses everything.

use std::sync::Arc;

use stdx::{BoxFuture, Clock, Env, SeededRng, Spawn, Time, Timer};

struct Virtual(tokio::time::Instant);

impl Clock for Virtual {
    fn now(&self) -> Time {
        Time::from_secs(1_800_000_000) + self.0.elapsed()
    }
}

impl Timer for Virtual {
    fn sleep(&self, length: std::time::Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(length))
    }
}

impl Spawn for Virtual {
    fn spawn(&self, _: &'static str, task: BoxFuture<()>) {
        tokio::spawn(task);
    }
}

pub(crate) fn env(seed: u64) -> Env {
    let machine = Arc::new(Virtual(tokio::time::Instant::now()));
    Env {
        clock: machine.clone(),
        rng: Arc::new(SeededRng::new(seed)),
        timer: machine.clone(),
        spawn: machine,
    }
}
