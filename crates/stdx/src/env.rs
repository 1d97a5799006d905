//! The handles through which shells reach the machine. One seed and one clock stand behind all of them in simulation.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{Rng, Time};

/// A boxed future that may cross threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Tells the wall-clock time.
pub trait Clock: Send + Sync {
    /// The present moment. May go backwards when the machine's clock is set; never use it to order writes.
    fn now(&self) -> Time;
}

/// Sleeps.
pub trait Timer: Send + Sync {
    /// Completes after `length` of (real or virtual) time.
    fn sleep(&self, length: Duration) -> BoxFuture<()>;
}

/// Starts tasks.
pub trait Spawn: Send + Sync {
    /// Runs `task` in the background until it ends. `name` appears in traces.
    fn spawn(&self, name: &'static str, task: BoxFuture<()>);
}

/// Everything a shell needs of the machine apart from disk and network; cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness for uids, generated names and jitter.
    pub rng: Arc<dyn Rng>,
    /// Sleeping.
    pub timer: Arc<dyn Timer>,
    /// Background tasks.
    pub spawn: Arc<dyn Spawn>,
}

impl Env {
    /// The present moment.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Sleeps for `length`.
    pub fn sleep(&self, length: Duration) -> BoxFuture<()> {
        self.timer.sleep(length)
    }

    /// Starts a background task.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn.spawn(name, Box::pin(task));
    }
}
