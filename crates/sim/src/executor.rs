//! Runs tasks in the order of their numbers, whatever order they were woken in.
//!
//! Tokio's `watch` wakes its receivers in a random order (it spreads them over lists by a random number), so tasks that one
//! change wakes would run in another order each time. Here a round polls all woken tasks by number; time still belongs to
//! tokio, whose paused clock moves on when nothing is left to poll.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use stdx::BoxFuture;

/// Rounds after which tokio gets its turn although tasks are still busy.
const ROUNDS_MAX: usize = 64;
/// The number of the future that everything runs for.
const MAIN: u64 = 0;

/// A set of tasks; clones are the same set.
#[derive(Clone, Default)]
pub(crate) struct Executor {
    tasks: Arc<Mutex<Tasks>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Tasks {
    by_number: BTreeMap<u64, Task>,
    numbers: u64,
}

struct Task {
    life: u64,
    future: BoxFuture<()>,
    waker: Waker,
}

#[derive(Default)]
struct Woken {
    state: Mutex<(BTreeSet<u64>, Option<Waker>)>,
}

impl Woken {
    fn lock(&self) -> MutexGuard<'_, (BTreeSet<u64>, Option<Waker>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, number: u64) {
        let mut state = self.lock();
        state.0.insert(number);
        let root = state.1.clone();
        drop(state);
        if let Some(root) = root {
            root.wake();
        }
    }
}

/// Puts one task on the list.
struct Bell {
    number: u64,
    woken: Arc<Woken>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.add(self.number);
    }
}

/// Plays a story to its end in virtual time.
pub(crate) fn in_virtual_time<T>(play: impl AsyncFnOnce(&Executor) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let executor = Executor::default();
    let runtime = runtime.expect("a runtime without I/O needs nothing of the machine");
    runtime.block_on(executor.run(play(&executor)))
}

impl Executor {
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bell(&self, number: u64) -> Waker {
        Arc::new(Bell { number, woken: self.woken.clone() }).into()
    }

    /// Starts a task that belongs to a life.
    pub(crate) fn spawn(&self, life: u64, future: BoxFuture<()>) {
        let mut tasks = self.lock();
        tasks.numbers += 1;
        let number = tasks.numbers;
        let waker = self.bell(number);
        tasks.by_number.insert(number, Task { life, future, waker });
        drop(tasks);
        self.woken.add(number);
    }

    /// Drops every task of a life where it stands.
    pub(crate) fn kill(&self, life: u64) {
        let doomed: Vec<Task> = {
            let mut tasks = self.lock();
            let numbers: Vec<u64> =
                tasks.by_number.iter().filter(|(_, t)| t.life == life).map(|(n, _)| *n).collect();
            numbers.iter().filter_map(|n| tasks.by_number.remove(n)).collect()
        };
        // Outside the lock: what a task drops may wake others.
        drop(doomed);
    }

    /// Runs all tasks until `main` is through.
    pub(crate) async fn run<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        let bell = self.bell(MAIN);
        self.woken.add(MAIN);
        let all = poll_fn(|cx| {
            self.woken.lock().1 = Some(cx.waker().clone());
            for _ in 0..ROUNDS_MAX {
                let round = std::mem::take(&mut self.woken.lock().0);
                if round.is_empty() {
                    return Poll::Pending;
                }
                for number in round {
                    if number == MAIN {
                        if let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&bell)) {
                            return Poll::Ready(value);
                        }
                    } else {
                        self.poll(number);
                    }
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        // Tokio's own budget would let a task look idle that is not.
        tokio::task::unconstrained(all).await
    }

    fn poll(&self, number: u64) {
        // Taken out while it runs: it may spawn or kill.
        let Some(mut task) = self.lock().by_number.remove(&number) else { return };
        let waker = task.waker.clone();
        let polled = Pin::new(&mut task.future).poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            self.lock().by_number.insert(number, task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The order in which tasks run that one change wakes.
    fn order() -> Vec<u32> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let executor = Executor::default();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let news = tokio::sync::watch::Sender::new(0);
            for i in 0..40 {
                let (mut news, seen) = (news.subscribe(), seen.clone());
                let task = async move {
                    news.changed().await.unwrap();
                    seen.lock().unwrap().push(i);
                };
                executor.spawn(1, Box::pin(task));
            }
            executor
                .run(async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    news.send_replace(1);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                })
                .await;
            seen.lock().unwrap().clone()
        })
    }

    #[test]
    fn tasks_woken_together_run_in_the_order_they_were_started() {
        assert_eq!(order(), (0..40).collect::<Vec<u32>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_killed_life_does_nothing_more() {
        let executor = Executor::default();
        let count = Arc::new(Mutex::new(0));
        for life in [1, 2] {
            let count = count.clone();
            let task = async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    *count.lock().unwrap() += 1;
                }
            };
            executor.spawn(life, Box::pin(task));
        }
        let main = async {
            tokio::time::sleep(Duration::from_millis(3500)).await;
            executor.kill(1);
            tokio::time::sleep(Duration::from_secs(3)).await;
        };
        executor.run(main).await;
        assert_eq!(*count.lock().unwrap(), 9);
    }
}
