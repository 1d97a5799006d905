//! Whom preemption would send away, and from where.

use api_meta::Selector;
use sched_core::{Decision, Nominations};
use sched_plugins::Budget;
use serde_json::{Value, json};

use crate::world::{World, merged, node, pod, requests};

/// A placed pod with a priority, a CPU request in millis and the second of its creation.
fn placed(name: &str, on: &str, priority: i32, cpu: u32, second: u32) -> Value {
    let meta = json!({"metadata": {"creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"), "labels": {"app": name}},
        "spec": {"nodeName": on, "priority": priority}});
    pod(name, merged(requests(json!({"cpu": format!("{cpu}m")})), meta))
}

fn wants(cpu: u32, priority: i32) -> Value {
    pod("new", merged(requests(json!({"cpu": format!("{cpu}m")})), json!({"spec": {"priority": priority}})))
}

fn budget(app: &str, allowed: i64) -> Budget {
    Budget {
        namespace: "d".into(),
        selector: Selector::parse(&format!("app={app}")).expect("a selector of this shape is readable"),
        allowed,
        disrupted: Vec::new(),
    }
}

/// `node: victims`, with the number of broken budgets; and everything is as before.
fn plan(world: &mut World, pod: &Value, budgets: &[Budget]) -> String {
    let fact = world.pod(pod);
    let before = world.engine.decide(&mut world.snapshot, &fact);
    assert!(matches!(before, Decision::Refused(_)), "preemption is for pods that fit nowhere");
    let pods = world.snapshot.pods();
    let found = world.engine.preempt(&mut world.snapshot, &fact, (&[], &Nominations::none()), budgets);
    assert_eq!((world.engine.decide(&mut world.snapshot, &fact), world.snapshot.pods()), (before, pods));
    let Ok(found) = found else { return "nobody".into() };
    for victim in &found.victims {
        assert!(victim.demand.priority < fact.demand.priority);
        world.snapshot.remove(&victim.uid);
    }
    // With the victims gone the pod fits there.
    let Decision::Bind(placement) = world.engine.decide(&mut world.snapshot, &fact) else {
        panic!("fits nowhere")
    };
    assert_eq!(placement.node, found.node);
    let names: Vec<&str> = found.victims.iter().map(|v| &*v.name).collect();
    format!("{}: {} ({})", found.node, names.join(" "), found.violations)
}

fn two_nodes(pods: &[Value]) -> World {
    World::new(&[node("n1", json!({})), node("n2", json!({}))]).with(pods)
}

#[test]
fn only_as_many_go_as_must_and_the_less_important_first() {
    let pods = [
        placed("a", "n1", 1, 1000, 1),
        placed("b", "n1", 2, 1000, 1),
        placed("c", "n1", 1, 1000, 2),
        placed("d", "n1", 9, 1000, 1),
        placed("e", "n2", 9, 4000, 1),
    ];
    // Of equal priority the younger one goes.
    assert_eq!(plan(&mut two_nodes(&pods), &wants(1000, 5), &[]), "n1: c (0)");
    assert_eq!(plan(&mut two_nodes(&pods), &wants(2000, 5), &[]), "n1: a c (0)");
    assert_eq!(plan(&mut two_nodes(&pods), &wants(4000, 5), &[]), "nobody");
}

#[test]
fn a_node_whose_victims_break_no_budget_is_better_than_less_important_victims() {
    let pods = [placed("low", "n1", 0, 4000, 1), placed("mid", "n2", 3, 4000, 1)];
    assert_eq!(plan(&mut two_nodes(&pods), &wants(1000, 5), &[]), "n1: low (0)");
    assert_eq!(plan(&mut two_nodes(&pods), &wants(1000, 5), &[budget("low", 0)]), "n2: mid (0)");
    assert_eq!(plan(&mut two_nodes(&pods), &wants(1000, 5), &[budget("low", 1)]), "n1: low (0)");
    let both = [budget("low", 0), budget("mid", 0)];
    assert_eq!(plan(&mut two_nodes(&pods), &wants(1000, 5), &both), "n1: low (1)");
}

#[test]
fn a_pod_whose_budget_would_break_stays_before_a_more_important_one() {
    let pods =
        [placed("held", "n1", 0, 2000, 1), placed("free", "n1", 3, 2000, 1), placed("x", "n2", 9, 4000, 1)];
    assert_eq!(plan(&mut two_nodes(&pods), &wants(2000, 5), &[]), "n1: held (0)");
    assert_eq!(plan(&mut two_nodes(&pods), &wants(2000, 5), &[budget("held", 0)]), "n1: free (0)");
}

#[test]
fn nodes_compare_by_first_victim_then_sum_then_number_then_age() {
    let one = |a: &[Value]| plan(&mut two_nodes(a), &wants(4000, 9), &[]);
    let first = [placed("a", "n1", 4, 4000, 1), placed("b", "n2", 3, 2000, 1), placed("c", "n2", 3, 2000, 1)];
    assert_eq!(one(&first), "n2: b c (0)");
    let number =
        [placed("a", "n2", 3, 4000, 1), placed("b", "n1", 3, 2000, 1), placed("c", "n1", 0, 2000, 1)];
    assert_eq!(one(&number), "n2: a (0)");
    let age = [placed("old", "n1", 3, 4000, 1), placed("young", "n2", 3, 4000, 2)];
    assert_eq!(one(&age), "n2: young (0)");
}

#[test]
fn what_removing_pods_cannot_change_is_left_alone() {
    let tainted = node("n1", json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}));
    let pods = [placed("a", "n1", 0, 4000, 1), placed("b", "n2", 9, 4000, 1)];
    let mut world = World::new(&[tainted, node("n2", json!({}))]).with(&pods);
    assert_eq!(plan(&mut world, &wants(1000, 5), &[]), "nobody");
    let never = merged(wants(1000, 50), json!({"spec": {"preemptionPolicy": "Never"}}));
    assert_eq!(plan(&mut two_nodes(&pods), &never, &[]), "nobody");
}

#[test]
fn a_pod_in_the_way_of_anti_affinity_is_a_victim_too() {
    let apart = json!({"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "foe"}}}]}}}});
    let pods =
        [placed("foe", "n1", 0, 100, 1), placed("friend", "n1", 0, 100, 1), placed("x", "n2", 9, 4000, 1)];
    assert_eq!(plan(&mut two_nodes(&pods), &merged(wants(1000, 5), apart), &[]), "n1: foe (0)");
}
