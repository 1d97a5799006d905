//! The harness must find what is known to be there.

use sim::{Plan, Plant, Update, run};

/// Greatest number of seeds after which a bug must have been found.
const SEEDS_MAX: u64 = 60;

/// Whether one of these rules is broken under some seed with the bug in.
fn is_found(plant: Plant, rules: &[&str], plan: impl Fn(Plan) -> Plan) -> bool {
    (0..SEEDS_MAX).any(|seed| {
        let outcome = run(&Plan { plant: Some(plant), ..plan(Plan::rough(seed)) });
        outcome.violations.iter().any(|v| rules.contains(&v.rule))
    })
}

#[test]
fn a_planner_that_counts_sick_pods_as_available_is_found() {
    assert!(is_found(Plant::BlindPlanner, &["budget"], |plan| plan));
}

#[test]
fn a_planner_that_counts_leaving_pods_is_found() {
    assert!(is_found(Plant::BlindPlanner, &["budget"], |plan| Plan { update: Update::Recreate, ..plan }));
}

#[test]
fn a_watch_that_drops_events_is_found() {
    // Without crashes nobody lists again: what was dropped stays unknown, and the release stands still.
    assert!(is_found(Plant::DroppedEvent(7), &["converges"], |plan| Plan { crashes_max: 0, ..plan }));
}

#[test]
fn an_executor_without_fences_is_found() {
    // One of two hosts is behind the other: its late writes take pods back to the old image, or beyond the budget.
    let rules = ["updated-once", "budget", "same-pods"];
    assert!(is_found(Plant::IgnoredFences, &rules, |plan| Plan { hosts: 2, crashes_max: 0, ..plan }));
}

#[test]
fn a_disk_that_lies_is_found() {
    assert!(is_found(Plant::LyingDisk, &["survives", "acknowledged"], |plan| plan));
}

#[test]
fn a_disk_that_forgets_is_found() {
    assert!(is_found(Plant::RestoredBackup, &["acknowledged"], |plan| plan));
}

#[test]
fn a_scheduler_that_forgets_is_found() {
    assert!(is_found(Plant::ForgetfulScheduler, &["within-room"], |plan| Plan { replicas: 20, ..plan }));
}
