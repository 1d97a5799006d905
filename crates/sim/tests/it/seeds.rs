use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sim::{Faults, Plan, Update, run};

/// How many seeds are tried; `SIM_SEEDS` asks for more, `SIM_FIRST` for others.
fn seeds() -> std::ops::Range<u64> {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let first = number("SIM_FIRST", 0);
    first..first + number("SIM_SEEDS", 50)
}

/// Runs the plans on as many threads as there are cores; each simulation has one to itself.
fn check(plans: impl IntoIterator<Item = Plan>) {
    let plans: Vec<Plan> = plans.into_iter().collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(violation) = run(plan).violations.first() {
                        let failure = format!("seed {} {:?}: {violation}", plan.seed, plan.update);
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    assert!(failures.is_empty(), "see the log with `cargo run -p sim -- SEED`:\n{}", failures.join("\n"));
}

#[test]
fn a_release_in_place_keeps_every_promise_whatever_happens() {
    check(seeds().map(Plan::rough));
}

#[test]
fn a_release_anew_keeps_its_budget_whatever_happens() {
    check(seeds().step_by(16).map(|seed| Plan { update: Update::Recreate, ..Plan::rough(seed) }));
}

#[test]
fn two_hosts_that_do_not_know_of_each_other_do_no_harm() {
    check(seeds().step_by(16).map(|seed| Plan { hosts: 2, crashes_max: 0, ..Plan::rough(seed + 7) }));
}

#[test]
fn on_a_good_day_a_release_is_quick() {
    let outcome = run(&Plan { faults: Faults::NONE, crashes_max: 0, ..Plan::rough(1) });
    assert_eq!(outcome.violations, []);
    assert!(outcome.took.as_secs() < 60, "{:?}", outcome.took);
    assert!(outcome.worst > 0, "the release was seen");
}

#[test]
fn the_same_seed_gives_the_same_log_byte_for_byte() {
    // A story in which the plane came up more than once.
    let stories = (seeds().start..).map(|seed| (seed, run(&Plan::rough(seed)).log));
    let crashed = stories.take(20).find(|(_, log)| log.matches("plane: up").count() > 2);
    let (seed, a) = crashed.expect("one release in twenty meets two crashes");
    let b = run(&Plan::rough(seed)).log;
    assert_eq!(a.lines().zip(b.lines()).find(|(a, b)| a != b), None, "seed {seed}");
    assert_eq!(a.len(), b.len(), "seed {seed}");
}

#[test]
fn other_seeds_give_other_stories() {
    assert_ne!(run(&Plan::rough(1)).log, run(&Plan::rough(7)).log);
}
