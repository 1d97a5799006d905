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

/// Start time of a living process in clock ticks since boot, which tells it from a later process of the same pid; nothing when
/// there is none, or only its remains. Field 22 of proc_pid_stat(5).
pub fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the last parenthesis may hold anything; field 3, the state, comes after it.
    let mut after_name = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(after_name.next()?, "Z" | "X") {
        return None;
    }
    after_name.nth(18)?.parse().ok()
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

/// Virtual time from `begin` on, for tests and simulations: tokio's clock, which a test runtime pauses; and random numbers of a seed.
pub fn virtual_env(begin: Time, seed: u64) -> Env {
    Env {
        clock: Arc::new(TokioClock { begin, started: tokio::time::Instant::now() }),
        rng: Arc::new(stdx::SeededRng::new(seed)),
        timer: Arc::new(Tokio),
        spawn: Arc::new(Tokio),
    }
}

/// Counts from a moment on with tokio's clock.
struct TokioClock {
    begin: Time,
    started: tokio::time::Instant,
}

impl Clock for TokioClock {
    fn now(&self) -> Time {
        self.begin + self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_has_a_start_and_one_that_never_was_has_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_ticks(own).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_ticks(own), start_ticks(own));
        assert_eq!(start_ticks(-1), None);
    }

    #[test]
    fn two_generators_differ() {
        assert_ne!(SystemRng::new().next_u64(), SystemRng::new().next_u64());
    }

    #[test]
    fn the_clock_is_after_this_line_was_written() {
        assert!(SystemClock.now() > Time::from_secs(1_790_000_000));
    }
}
