//! The real machine behind the seams of `stdx`: system clock, kernel entropy, tokio timers and tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stdx::{BoxFuture, Clock, Env, Rng, Spawn, Time, Timer};

/// The system's wall clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Time::from_micros(micros)
    }
}

/// Random numbers seeded from the kernel, whitened by a counter; good for identities, not for keys.
pub struct SystemRng {
    keys: (u64, u64),
    count: AtomicU64,
}

impl SystemRng {
    /// A generator with a fresh seed.
    pub fn new() -> SystemRng {
        // The standard library seeds every RandomState from the kernel; two of them give 128 bits.
        use std::hash::{BuildHasher, RandomState};
        SystemRng {
            keys: (RandomState::new().hash_one(1), RandomState::new().hash_one(2)),
            count: AtomicU64::new(0),
        }
    }
}

impl Default for SystemRng {
    fn default() -> SystemRng {
        SystemRng::new()
    }
}

impl Rng for SystemRng {
    fn next_u64(&self) -> u64 {
        use stdx::SeededRng;
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let left = SeededRng::new(self.keys.0.wrapping_add(n.wrapping_mul(0xA076_1D64_78BD_642F))).next_u64();
        let right = SeededRng::new(self.keys.1 ^ n).next_u64();
        left ^ right.rotate_left(32)
    }
}

/// Timers and tasks of the tokio runtime it is used on.
pub struct Tokio;

impl Timer for Tokio {
    fn sleep(&self, length: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(length))
    }
}

impl Spawn for Tokio {
    fn spawn(&self, _name: &'static str, task: BoxFuture<()>) {
        tokio::spawn(task);
    }
}

/// The real environment.
pub fn env() -> Env {
    Env {
        clock: Arc::new(SystemClock),
        rng: Arc::new(SystemRng::new()),
        timer: Arc::new(Tokio),
        spawn: Arc::new(Tokio),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generators_differ() {
        assert_ne!(SystemRng::new().next_u64(), SystemRng::new().next_u64());
    }

    #[test]
    fn the_clock_is_after_this_line_was_written() {
        assert!(SystemClock.now() > Time::from_secs(1_790_000_000));
    }
}
