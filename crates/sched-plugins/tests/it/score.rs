//! Which of several nodes is liked best, and by how much: figures worked out by hand from kube-scheduler's formulas.

use expect_test::expect;
use sched_core::Decision;
use serde_json::{Value, json};

use crate::world::{World, merged, node, pod, requests};

/// Node and weighted scores.
fn scored(world: &mut World, pod: &Value) -> String {
    match world.decide(pod) {
        Decision::Bind(p) => {
            let parts: Vec<String> = p.scores.iter().map(|(rule, n)| format!("{rule}={n}")).collect();
            format!("{} {}: {}", p.node, p.score, parts.join(" "))
        }
        Decision::Refused(r) => r.message(),
    }
}

#[test]
fn emptier_and_evener_nodes_win() {
    let filler =
        pod("f", merged(requests(json!({"cpu": "2", "memory": "1Gi"})), json!({"spec": {"nodeName": "n1"}})));
    let mut world = World::new(&[node("n1", json!({})), node("n2", json!({}))]).with(&[filler]);
    // n2 after the pod: 1 of 4 CPUs (75 free), 2 of 8 GiB (75 free); as even with the pod as without: 75.
    expect!["n2 450: TaintToleration=300 NodeResourcesFit=75 NodeResourcesBalancedAllocation=75"]
        .assert_eq(&scored(&mut world, &pod("a", requests(json!({"cpu": "1", "memory": "2Gi"})))));
}

#[test]
fn pods_without_requests_count_as_small_ones() {
    let mut world = World::new(&[node("n1", json!({}))]);
    // 100m of 4 CPUs: 97; 200 MiB of 8 GiB: 97. Balance has no opinion.
    expect!["n1 397: TaintToleration=300 NodeResourcesFit=97"]
        .assert_eq(&scored(&mut world, &pod("a", json!({}))));
}

#[test]
fn soft_taints_and_wishes_weigh_in() {
    let soft = json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}});
    let nodes = [
        node("n1", soft),
        node("n2", json!({"metadata": {"labels": {"disk": "ssd"}}})),
        node("n3", json!({})),
    ];
    let wish = json!({"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}}});
    let mut world = World::new(&nodes);
    expect!["n2 597: TaintToleration=300 NodeAffinity=200 NodeResourcesFit=97"]
        .assert_eq(&scored(&mut world, &pod("a", wish)));
}

#[test]
fn ties_go_to_the_node_with_fewer_pods_then_by_name() {
    let mut world = World::new(&[node("n2", json!({})), node("n1", json!({})), node("n0", json!({}))]);
    assert_eq!(world.say(&pod("a", json!({}))), "n0");
    let there =
        pod("f", merged(requests(json!({"cpu": "0", "memory": "0"})), json!({"spec": {"nodeName": "n0"}})));
    let mut world = world.with(&[there]);
    assert_eq!(world.say(&pod("a", json!({}))), "n1");
}

fn owned(name: &str, on: &str) -> Value {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r1", "controller": true}]);
    pod(name, json!({"metadata": {"ownerReferences": owner}, "spec": {"nodeName": on}}))
}

#[test]
fn pods_of_one_controller_spread_over_zones_and_hosts_by_default() {
    let zoned = |name: &str, zone: &str| {
        node(
            name,
            json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}},
            "status": {"allocatable": {"cpu": "400", "memory": "800Gi", "pods": "1000"}}}),
        )
    };
    let mut world = World::new(&[zoned("a1", "a"), zoned("a2", "a"), zoned("b1", "b")]);
    let mut order = Vec::new();
    for i in 0..6 {
        let at = world.say(&owned(&format!("p{i}"), ""));
        world = world.with(&[owned(&format!("p{i}"), &at)]);
        order.push(at);
    }
    // Zones alternate; within zone a, so do the hosts.
    assert_eq!(order.iter().filter(|n| n.starts_with('b')).count(), 2, "{order:?}");
    assert_eq!(order[..3].iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{order:?}");
}

#[test]
fn spreading_scores_follow_the_formula() {
    let soft = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
         "labelSelector": {"matchLabels": {"app": "x"}}}]}});
    let on = |name: &str, node: &str| pod(name, merged(soft.clone(), json!({"spec": {"nodeName": node}})));
    let mut world = World::new(&[node("n1", json!({})), node("n2", json!({}))]).with(&[
        on("p1", "n1"),
        on("p2", "n1"),
        on("p3", "n1"),
        on("p4", "n2"),
    ]);
    // ln(2 + 2) = 1.386: three pods are 4, one pod is 1: 100 * (4 + 1 - 1) / 4 = 100, twice.
    let Decision::Bind(p) = world.decide(&pod("a", soft.clone())) else {
        panic!("soft constraints never refuse")
    };
    assert_eq!(&*p.node, "n2");
    assert!(p.scores.contains(&("PodTopologySpread", 200)), "{:?}", p.scores);
}

#[test]
fn inclinations_pull_both_ways() {
    let term = |weight: i64| {
        json!([{"weight": weight, "podAffinityTerm":
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}}])
    };
    let wish = |kind: &str| json!({"spec": {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": term(100)}}}});
    let x = |on: &str| pod("x", json!({"metadata": {"labels": {"app": "x"}}, "spec": {"nodeName": on}}));
    let nodes = [node("n1", json!({})), node("n2", json!({}))];
    assert_eq!(World::new(&nodes).with(&[x("n2")]).say(&pod("a", wish("podAffinity"))), "n2");
    assert_eq!(World::new(&nodes).with(&[x("n1")]).say(&pod("a", wish("podAntiAffinity"))), "n2");
    // The wish of a placed pod counts for one that comes later, too.
    let placed = pod("w", merged(wish("podAffinity"), json!({"spec": {"nodeName": "n2"}})));
    let later = pod("x", json!({"metadata": {"labels": {"app": "x"}}}));
    assert_eq!(World::new(&nodes).with(&[placed]).say(&later), "n2");
}
