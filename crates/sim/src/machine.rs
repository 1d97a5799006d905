//! The machine that shells run on: virtual clock, seeded randomness, tasks that can all be dropped at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stdx::{BoxFuture, Clock, Env, Rng, SeededRng, Spawn, Time, Timer};

use crate::executor::Executor;

/// When every simulation begins.
const BEGINNING: Time = Time::from_secs(1_800_000_000);

/// Virtual time since the beginning; one for all lives of a simulation.
#[derive(Clone, Copy)]
pub(crate) struct SimClock(tokio::time::Instant);

impl SimClock {
    /// Starts at [`BEGINNING`]. Call it within the runtime.
    pub(crate) fn start() -> SimClock {
        SimClock(tokio::time::Instant::now())
    }

    /// Time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Time {
        BEGINNING + self.0.elapsed()
    }
}

struct SimTimer;

impl Timer for SimTimer {
    fn sleep(&self, length: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(length))
    }
}

/// One life of a process: its tasks end with it.
#[derive(Clone)]
pub(crate) struct Machine {
    clock: SimClock,
    rng: Arc<SeededRng>,
    tasks: Arc<Tasks>,
}

struct Tasks {
    executor: Executor,
    life: u64,
    is_dead: AtomicBool,
}

impl Spawn for Tasks {
    fn spawn(&self, _: &'static str, task: BoxFuture<()>) {
        if !self.is_dead.load(Ordering::Relaxed) {
            self.executor.spawn(self.life, task);
        }
    }
}

impl Machine {
    /// A new life, told apart from others by its number, whose randomness is decided by `seed`.
    pub(crate) fn new(executor: &Executor, clock: SimClock, life: u64, seed: u64) -> Machine {
        let tasks = Tasks { executor: executor.clone(), life, is_dead: AtomicBool::new(false) };
        Machine { clock, rng: Arc::new(SeededRng::new(seed)), tasks: Arc::new(tasks) }
    }

    /// What shells get to see of it.
    pub(crate) fn env(&self) -> Env {
        Env {
            clock: Arc::new(self.clock),
            rng: self.rng.clone(),
            timer: Arc::new(SimTimer),
            spawn: self.tasks.clone(),
        }
    }

    /// Starts a task of this life.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn("", Box::pin(task));
    }

    /// Drops all tasks where they stand, as SIGKILL would.
    pub(crate) fn kill(&self) {
        self.tasks.is_dead.store(true, Ordering::Relaxed);
        self.tasks.executor.kill(self.tasks.life);
    }
}

/// Dice thrown by one part of the simulation, apart from all others.
pub(crate) struct Dice(SeededRng);

impl Dice {
    pub(crate) fn new(seed: u64, purpose: u64) -> Dice {
        Dice(SeededRng::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose.rotate_left(32)))
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.next_u64() % bound }
    }

    /// Whether something with this chance in a thousand happens.
    pub(crate) fn happens(&self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// A length of time below `bound`.
    pub(crate) fn shorter_than(&self, bound: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(bound.as_micros()).unwrap_or(u64::MAX)))
    }

    /// A length of time between the two.
    pub(crate) fn between(&self, least: Duration, most: Duration) -> Duration {
        least + self.shorter_than(most.saturating_sub(least))
    }
}
