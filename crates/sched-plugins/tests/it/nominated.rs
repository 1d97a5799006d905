//! Pods that wait for room on a node, and what others may take of it.

use std::sync::Arc;

use sched_core::{Decision, Nominations};
use sched_plugins::Futile;
use serde_json::{Value, json};

use crate::world::{World, merged, node, pod, requests};

fn ranked(name: &str, cpu: &str, priority: i32) -> Value {
    pod(name, merged(requests(json!({"cpu": cpu})), json!({"spec": {"priority": priority}})))
}

fn decide(world: &mut World, pod: &Value, beside: &Nominations) -> String {
    let fact = world.pod(pod);
    match world.engine.decide_beside(&mut world.snapshot, &fact, &[], beside) {
        Decision::Bind(placement) => placement.node.to_string(),
        Decision::Refused(refusal) => refusal.message(),
    }
}

#[test]
fn room_is_left_to_betters_and_equals_but_taken_from_lesser_ones() {
    let mut world = World::new(&[node("n1", json!({})), node("n2", json!({}))]);
    let mut beside = Nominations::none();
    beside.set(Arc::new(world.pod(&ranked("waits", "3", 5))), "n1".into());
    assert_eq!(decide(&mut world, &ranked("small", "2", 5), &beside), "n2");
    assert_eq!(decide(&mut world, &ranked("equal", "3", 5), &beside), "n2");
    assert_eq!(decide(&mut world, &ranked("better", "3", 9), &beside), "n1");
    let both = world
        .with(&[pod("there", merged(requests(json!({"cpu": "4"})), json!({"spec": {"nodeName": "n2"}})))]);
    let mut world = both;
    assert!(
        decide(&mut world, &ranked("equal", "3", 5), &beside)
            .starts_with("0/2 nodes are available: 2 Insufficient cpu.")
    );
}

#[test]
fn a_pod_takes_the_node_it_waits_for_whatever_others_score() {
    let there = pod("there", merged(requests(json!({"cpu": "2"})), json!({"spec": {"nodeName": "n1"}})));
    let mut world = World::new(&[node("n1", json!({})), node("n2", json!({}))]).with(&[there]);
    let waits = ranked("waits", "1", 5);
    let mut beside = Nominations::none();
    assert_eq!(decide(&mut world, &waits, &beside), "n2");
    beside.set(Arc::new(world.pod(&waits)), "n1".into());
    assert_eq!(decide(&mut world, &waits, &beside), "n1");
    // When it does not do any more, any other is taken.
    beside.set(Arc::new(world.pod(&waits)), "gone".into());
    assert_eq!(decide(&mut world, &waits, &beside), "n2");
}

#[test]
fn nobody_is_sent_away_from_where_somebody_as_important_waits() {
    let there = pod("there", merged(requests(json!({"cpu": "4"})), json!({"spec": {"nodeName": "n1"}})));
    let mut world = World::new(&[node("n1", json!({}))]).with(&[there]);
    let fact = world.pod(&ranked("new", "3", 5));
    let mut beside = Nominations::none();
    let found = world.engine.preempt(&mut world.snapshot, &fact, (&[], &beside), &[]);
    assert_eq!(found.map(|plan| plan.victims.len()), Ok(1));
    beside.set(Arc::new(world.pod(&ranked("waits", "3", 5))), "n1".into());
    let found = world.engine.preempt(&mut world.snapshot, &fact, (&[], &beside), &[]);
    let Err(Futile::Nowhere(reasons)) = found else { panic!("{found:?}") };
    let said: Vec<(&str, usize)> = reasons.iter().map(|(r, n)| (r.as_str(), *n)).collect();
    assert_eq!(said, [("Insufficient cpu", 1)]);
}

#[test]
fn whoever_waits_while_its_victims_end_sends_nobody_else_away() {
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"nodeName": "n1"},
        "status": {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}});
    let there = pod("there", merged(requests(json!({"cpu": "4"})), going));
    let other = pod("other", merged(requests(json!({"cpu": "4"})), json!({"spec": {"nodeName": "n2"}})));
    let mut world = World::new(&[node("n1", json!({})), node("n2", json!({}))]).with(&[there, other]);
    let waits = world.pod(&ranked("waits", "3", 5));
    let mut beside = Nominations::none();
    beside.set(Arc::new(waits.clone()), "n1".into());
    let found = world.engine.preempt(&mut world.snapshot, &waits, (&[], &beside), &[]);
    assert_eq!(found, Err(Futile::Underway));
}
