//! Golden sentences of refusal: what `kubectl describe pod` shows.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::world::{World, merged, node, pod, requests};

fn check(mut world: World, pod: Value, expected: Expect) {
    expected.assert_eq(&world.say(&pod));
}

fn tainted(key: &str, value: &str, effect: &str) -> Value {
    json!({"spec": {"taints": [{"key": key, "value": value, "effect": effect}]}})
}

#[test]
fn without_nodes_the_pod_is_told_so() {
    check(World::new(&[]), pod("a", json!({})), expect!["no nodes available to schedule pods"]);
}

#[test]
fn every_reason_is_counted_by_node() {
    let nodes = [
        node("n1", tainted("knarr.dev/runtime", "process", "NoSchedule")),
        node("n2", json!({"status": {"allocatable": {"cpu": "1"}}})),
        node("n3", json!({"status": {"allocatable": {"cpu": "1"}}})),
        node("n4", json!({"metadata": {"labels": {"disk": "hdd"}}})),
        node("n5", json!({})),
    ];
    let selects = json!({"spec": {"nodeSelector": {"disk": "ssd"}}});
    let mut nodes = nodes.to_vec();
    for n in &mut nodes[1..3] {
        n["metadata"]["labels"]["disk"] = json!("ssd");
    }
    check(
        World::new(&nodes),
        pod("a", merged(requests(json!({"cpu": "2"})), selects)),
        expect![
            "0/5 nodes are available: 1 node(s) had untolerated taint {knarr.dev/runtime: process}, 2 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn a_node_can_lack_several_resources() {
    let wants =
        requests(json!({"cpu": "5", "memory": "9Gi", "ephemeral-storage": "11Gi", "nvidia.com/gpu": "1"}));
    check(
        World::new(&[node("n1", json!({}))]),
        pod("a", wants),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient ephemeral-storage, 1 Insufficient memory, 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn a_full_node_says_that_nobody_could_make_room() {
    let filler = pod("f", merged(requests(json!({"cpu": "3"})), json!({"spec": {"nodeName": "n1"}})));
    check(
        World::new(&[node("n1", json!({}))]).with(&[filler]),
        pod("a", requests(json!({"cpu": "2"}))),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn lower_priority_pods_in_the_way_are_named_as_not_preempted() {
    let filler = pod("f", merged(requests(json!({"cpu": "3"})), json!({"spec": {"nodeName": "n1"}})));
    let wants = merged(requests(json!({"cpu": "2"})), json!({"spec": {"priority": 5}}));
    check(
        World::new(&[node("n1", json!({}))]).with(std::slice::from_ref(&filler)),
        pod("a", wants.clone()),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 node(s) with lower-priority pods, which nobody tried to preempt."
        ],
    );
    check(
        World::new(&[node("n1", json!({}))]).with(&[filler]),
        pod("a", merged(wants, json!({"spec": {"preemptionPolicy": "Never"}}))),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
        ],
    );
}

#[test]
fn the_number_of_pods_is_limited() {
    let small = node("n1", json!({"status": {"allocatable": {"pods": "1"}}}));
    let there = pod("f", json!({"spec": {"nodeName": "n1"}}));
    check(
        World::new(&[small]).with(&[there]),
        pod("a", json!({})),
        expect![
            "0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn cordoned_nodes_and_taken_ports_are_named() {
    let port =
        json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}});
    let nodes = [node("n1", json!({"spec": {"unschedulable": true}})), node("n2", json!({}))];
    let there = pod("f", merged(port.clone(), json!({"spec": {"nodeName": "n2"}})));
    check(
        World::new(&nodes).with(&[there]),
        pod("a", port),
        expect![
            "0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) were unschedulable. preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
        ],
    );
}

fn pinned(name: &str) -> Value {
    let fields = json!([{"key": "metadata.name", "operator": "In", "values": [name]}]);
    json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchFields": fields}]}}}}})
}

#[test]
fn a_pod_pinned_to_one_node_blames_the_others_on_affinity() {
    let nodes = [node("n1", json!({})), node("n2", json!({})), node("n3", json!({}))];
    check(
        World::new(&nodes),
        pod("a", merged(requests(json!({"cpu": "5"})), pinned("n2"))),
        expect![
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
    check(World::new(&nodes), pod("a", pinned("n2")), expect!["n2"]);
}

#[test]
fn terms_that_contradict_each_other_refuse_upfront() {
    let mut both = pinned("n1");
    let term =
        &mut both["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let fields = term["nodeSelectorTerms"][0]["matchFields"].as_array_mut().unwrap();
    fields.push(json!({"key": "metadata.name", "operator": "In", "values": ["n2"]}));
    check(
        World::new(&[node("n1", json!({})), node("n2", json!({}))]),
        pod("a", both),
        expect![
            "0/2 nodes are available: pod affinity terms conflict. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}

fn zone(name: &str, zone: &str) -> Value {
    node(name, json!({"metadata": {"labels": {"zone": zone}}}))
}

fn app(name: &str, on: &str, more: Value) -> Value {
    let there = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"nodeName": on}});
    pod(name, merged(there, more))
}

fn spread(more: Value) -> Value {
    let constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}}});
    json!({"spec": {"topologySpreadConstraints": [merged(constraint, more)]}})
}

#[test]
fn uneven_domains_and_missing_labels_are_told_apart() {
    let nodes = [zone("a1", "a"), zone("b1", "b"), node("lost", json!({}))];
    let mut full = nodes.to_vec();
    full[1]["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}]);
    check(
        World::new(&full).with(&[app("p1", "a1", json!({}))]),
        app("new", "", spread(json!({}))),
        expect![
            "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) didn't match pod topology spread constraints (missing required label), 1 node(s) had untolerated taint {k: }. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
        ],
    );
    // Honoured taints take zone b out of the reckoning: zone a is then the emptiest.
    check(
        World::new(&full).with(&[app("p1", "a1", json!({}))]),
        app("new", "", spread(json!({"nodeTaintsPolicy": "Honor"}))),
        expect!["a1"],
    );
    check(
        World::new(&nodes).with(&[app("p1", "a1", json!({}))]),
        app("new", "", spread(json!({}))),
        expect!["b1"],
    );
}

#[test]
fn too_few_domains_count_as_an_empty_one() {
    let world = || World::new(&[zone("a1", "a")]).with(&[app("p1", "a1", json!({}))]);
    check(world(), app("new", "", spread(json!({}))), expect!["a1"]);
    check(
        world(),
        app("new", "", spread(json!({"minDomains": 2}))),
        expect![
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

fn affinity(kind: &str, topology: &str) -> Value {
    let term = json!({"topologyKey": topology, "labelSelector": {"matchLabels": {"app": "x"}}});
    json!({"spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}})
}

#[test]
fn pods_that_must_be_near_or_apart_are_told_why_not() {
    let nodes = [zone("a1", "a"), zone("b1", "b")];
    let stranger = |more| pod("new", more);
    check(
        World::new(&nodes),
        stranger(affinity("podAffinity", "zone")),
        expect![
            "0/2 nodes are available: 2 node(s) didn't match pod affinity rules. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    check(
        World::new(&nodes).with(&[app("p1", "b1", json!({}))]),
        stranger(affinity("podAffinity", "zone")),
        expect!["b1"],
    );
    check(
        World::new(&nodes).with(&[app("p1", "a1", json!({})), app("p2", "b1", json!({}))]),
        stranger(affinity("podAntiAffinity", "zone")),
        expect![
            "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn the_first_of_a_group_that_wants_to_be_together_may_go_anywhere() {
    let nodes = [zone("a1", "a"), zone("b1", "b")];
    check(World::new(&nodes), app("first", "", affinity("podAffinity", "zone")), expect!["a1"]);
}

#[test]
fn anti_affinity_of_placed_pods_keeps_others_away_too() {
    let nodes = [zone("a1", "a"), zone("b1", "b")];
    let loner = |name: &str, on: &str| {
        pod(name, merged(affinity("podAntiAffinity", "zone"), json!({"spec": {"nodeName": on}})))
    };
    check(
        World::new(&nodes).with(&[loner("l1", "a1"), loner("l2", "b1")]),
        app("new", "", json!({})),
        expect![
            "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        ],
    );
    check(World::new(&nodes).with(&[loner("l1", "a1")]), app("new", "", json!({})), expect!["b1"]);
}

#[test]
fn a_refusal_says_what_would_change_it() {
    let mut world = World::new(&[node("n1", tainted("k", "v", "NoExecute")), node("n2", json!({}))]);
    let sched_core::Decision::Refused(refusal) = world.decide(&pod("a", requests(json!({"cpu": "9"}))))
    else {
        panic!("nine CPUs fit nowhere")
    };
    expect![[r#"{"NodeAdded", "NodeRoom", "NodeTaints", "PodRemoved", "PodChanged"}"#]]
        .assert_eq(&format!("{:?}", refusal.wake));
    assert_eq!(refusal.rules(), ["TaintToleration", "NodeResourcesFit"]);
}
