//! Releases by cells and groups: every promise at every event, and every planted bug found.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sim::{CafePlan, CafePlant, Faults, Turn, run_cafe};

/// How many seeds are tried; `SIM_SEEDS` asks for more, `SIM_FIRST` for others.
fn seeds() -> std::ops::Range<u64> {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let first = number("SIM_FIRST", 0);
    first..first + number("SIM_SEEDS", 50)
}

#[test]
fn a_release_by_groups_keeps_every_promise_whatever_happens() {
    let plans: Vec<CafePlan> = seeds().map(CafePlan::rough).collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(violation) = run_cafe(plan).violations.first() {
                        let failure =
                            format!("seed {} {} {:?}: {violation}", plan.seed, plan.pod_set, plan.turn);
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
        "see the log with `cargo run -p sim -- --cafe SEED`:\n{}",
        failures.join("\n")
    );
}

#[test]
fn traffic_that_hangs_takes_the_release_back_where_its_pods_say_so() {
    for seed in 0..4 {
        let good = run_cafe(&good_day(seed, Turn::StuckTraffic));
        assert_eq!(good.violations, [], "seed {seed} on a good day");
        let rough = CafePlan { pod_set: "InPlaceSet", turn: Turn::StuckTraffic, ..CafePlan::rough(seed) };
        assert_eq!(run_cafe(&rough).violations, [], "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_release_byte_for_byte() {
    let plan = CafePlan::rough(seeds().start + 3);
    let (a, b) = (run_cafe(&plan).log, run_cafe(&plan).log);
    assert_eq!(a.lines().zip(b.lines()).find(|(a, b)| a != b), None);
    assert_eq!(a.len(), b.len());
}

/// A release on a good day, which shows a bug by itself.
fn good_day(seed: u64, turn: Turn) -> CafePlan {
    CafePlan {
        cells: vec![4, 4],
        batch: 2,
        is_beta: true,
        is_confirmed: false,
        pod_set: "InPlaceSet",
        turn,
        faults: Faults::NONE,
        crashes_max: 0,
        time_max: std::time::Duration::from_secs(300),
        ..CafePlan::rough(seed)
    }
}

fn is_found(plant: CafePlant, rules: &[&str], plan: impl Fn(u64) -> CafePlan) {
    const SEEDS_MAX: u64 = 20;
    let mut seen = Vec::new();
    for seed in 0..SEEDS_MAX {
        assert_eq!(run_cafe(&plan(seed)).violations, [], "seed {seed} without the bug");
        let broken = run_cafe(&CafePlan { plant: Some(plant), ..plan(seed) }).violations;
        if broken.iter().any(|v| rules.contains(&v.rule)) {
            return;
        }
        seen.extend(broken.into_iter().map(|v| v.rule));
    }
    panic!("{plant:?} was not found by {rules:?}, but {seen:?}");
}

#[test]
fn a_skipped_drain_is_found() {
    is_found(CafePlant::SkippedDrain, &["drained-first"], |s| good_day(s, Turn::Plain));
}

#[test]
fn a_hasty_traffic_component_is_found() {
    is_found(CafePlant::HastyTraffic, &["requests-lost"], |s| good_day(s, Turn::Plain));
}

#[test]
fn a_gate_that_opens_early_is_found() {
    is_found(CafePlant::EarlyGate, &["gate-last"], |s| good_day(s, Turn::Plain));
}

#[test]
fn a_change_in_service_is_found() {
    // The set takes its own gate for closed, so nobody closes it: pods are changed in service, or never.
    is_found(CafePlant::NoGate, &["gate-first", "drained-first", "converges"], |s| good_day(s, Turn::Plain));
}

#[test]
fn sick_pods_counted_as_available_are_found() {
    is_found(CafePlant::SickAvailable, &["cell-minimum", "one-group"], |s| good_day(s, Turn::Plain));
}

#[test]
fn pods_without_their_traffic_counted_as_available_are_found() {
    is_found(CafePlant::ForgottenTraffic, &["cell-minimum", "one-group"], |s| good_day(s, Turn::Plain));
}

#[test]
fn a_rollback_that_forgets_cells_is_found() {
    is_found(CafePlant::ForgottenMinimum, &["cell-minimum"], |s| CafePlan {
        cells: vec![5, 5],
        batch: 6,
        cell_min: Some(4),
        ..good_day(s, Turn::RolledBackLate)
    });
}

#[test]
fn a_group_confirmed_twice_is_found() {
    let plan = |s| CafePlan { is_confirmed: true, ..good_day(s, Turn::Plain) };
    is_found(CafePlant::ConfirmedTwice, &["confirmation"], plan);
}

#[test]
fn a_confirmation_never_asked_for_is_found() {
    let plan = |s| CafePlan { is_confirmed: true, ..good_day(s, Turn::Plain) };
    is_found(CafePlant::NeverAsked, &["confirmation"], plan);
}

#[test]
fn a_failure_that_nobody_sees_is_found() {
    is_found(CafePlant::BlindToFailure, &["converges", "stops-early"], |s| good_day(s, Turn::Broken));
}

#[test]
fn a_forgotten_partition_is_found() {
    is_found(CafePlant::ForgottenPartition, &["cell-minimum", "one-group"], |s| good_day(s, Turn::Plain));
}
