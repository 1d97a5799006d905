//! The scheduler under blows: every promise at every event, and every planted bug found.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sim::{Faults, PlacingPlan, PlacingPlant, run_placing};

/// How many seeds are tried; `SIM_SEEDS` asks for more, `SIM_FIRST` for others.
fn seeds() -> std::ops::Range<u64> {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let first = number("SIM_FIRST", 0);
    first..first + number("SIM_SEEDS", 50)
}

/// Greatest number of seeds after which a bug must have been found.
const SEEDS_MAX: u64 = 8;

#[test]
fn the_scheduler_keeps_every_promise_whatever_happens() {
    let plans: Vec<PlacingPlan> = seeds().map(PlacingPlan::rough).collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(violation) = run_placing(plan).violations.first() {
                        let failure = format!("seed {}: {violation}", plan.seed);
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    assert!(
        failures.is_empty(),
        "see the log with `cargo run -p sim -- --scenario scheduler SEED`:\n{}",
        failures.join("\n")
    );
}

#[test]
fn on_a_good_day_many_pods_are_placed_and_nothing_is_broken() {
    let outcome = run_placing(&PlacingPlan { faults: Faults::NONE, crashes_max: 0, ..PlacingPlan::rough(2) });
    assert_eq!(outcome.violations, []);
    assert!(outcome.worst > 20, "{} pods were placed", outcome.worst);
}

#[test]
fn the_same_seed_gives_the_same_placements_byte_for_byte() {
    let plan = PlacingPlan::rough(seeds().start + 1);
    let (a, b) = (run_placing(&plan).log, run_placing(&plan).log);
    assert_eq!(a.lines().zip(b.lines()).find(|(a, b)| a != b), None);
    assert_eq!(a.len(), b.len());
}

/// Whether one of these rules is broken under some seed with the bug in.
fn is_found(plant: PlacingPlant, rules: &[&str]) -> bool {
    (0..SEEDS_MAX).any(|seed| {
        // A restart would mend what was missed.
        let plan = PlacingPlan { plant: Some(plant), crashes_max: 0, ..PlacingPlan::rough(seed) };
        run_placing(&plan).violations.iter().any(|v| rules.contains(&v.rule))
    })
}

#[test]
fn a_scheduler_that_forgets_what_it_bound_is_found() {
    assert!(is_found(PlacingPlant::ForgottenAssumptions, &["within-room", "ports", "exclusion"]));
}

#[test]
fn a_scheduler_that_takes_every_answer_for_a_yes_is_found() {
    assert!(is_found(PlacingPlant::IgnoredConflicts, &["placed"]));
}

#[test]
fn a_scheduler_that_does_not_see_nodes_shrink_is_found() {
    assert!(is_found(PlacingPlant::DeafToNodes, &["within-room", "open-nodes", "placed"]));
}

#[test]
fn a_scheduler_that_misses_pods_is_found() {
    // On a good network: where watches are cut the next list mends what was missed.
    let found = |seed: u64| {
        let calm = PlacingPlan { faults: Faults::NONE, crashes_max: 0, ..PlacingPlan::rough(seed) };
        let plan = PlacingPlan { plant: Some(PlacingPlant::MissedPods(5)), ..calm };
        run_placing(&plan).violations.iter().any(|v| v.rule == "placed")
    };
    assert!((0..SEEDS_MAX).any(found));
}
