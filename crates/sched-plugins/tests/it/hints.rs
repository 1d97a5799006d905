//! What wakes a refused pod: each rule names the changes that could lift its refusal, and no others.

use sched_core::{Decision, Hints};
use serde_json::{Value, json};

use crate::world::{World, merged, node, pod, requests};

/// What a pod that fits nowhere waits for.
fn wake(world: &mut World, pod: &Value) -> Hints {
    match world.decide(pod) {
        Decision::Refused(refusal) => refusal.wake,
        Decision::Bind(placement) => panic!("it went to {}", placement.node),
    }
}

/// `helps` wake it, and a new node; nothing else does.
fn check(nodes: &[Value], placed: &[Value], pod: &Value, helps: Hints) {
    let found = wake(&mut World::new(nodes).with(placed), pod);
    assert_eq!(found, helps | Hints::NODE_ADDED, "{found:?}");
}

fn one() -> [Value; 1] {
    [node("n1", json!({}))]
}

#[test]
fn taints_and_cordons_wait_for_taints() {
    let taint = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    check(&[node("n1", taint)], &[], &pod("a", json!({})), Hints::NODE_TAINTS);
    let cordon = json!({"spec": {"unschedulable": true}});
    check(&[node("n1", cordon)], &[], &pod("a", json!({})), Hints::NODE_TAINTS);
}

#[test]
fn selectors_wait_for_labels() {
    let picky = pod("a", json!({"spec": {"nodeSelector": {"disk": "ssd"}}}));
    check(&one(), &[], &picky, Hints::NODE_LABELS);
}

#[test]
fn room_waits_for_room() {
    let big = pod("a", requests(json!({"cpu": "9"})));
    check(&one(), &[], &big, Hints::NODE_ROOM | Hints::POD_REMOVED | Hints::POD_CHANGED);
}

#[test]
fn ports_wait_for_pods_to_go() {
    let with = |name: &str| {
        let port = json!([{"containerPort": 80, "hostPort": 80}]);
        pod(name, json!({"spec": {"containers": [{"name": "c", "ports": port}]}}))
    };
    let there = merged(with("there"), json!({"spec": {"nodeName": "n1"}}));
    check(&one(), &[there], &with("a"), Hints::POD_REMOVED);
}

#[test]
fn spreading_and_affinity_wait_for_pods_and_what_they_are_counted_by() {
    let pods = Hints::POD_ADDED | Hints::POD_REMOVED | Hints::POD_CHANGED | Hints::NODE_LABELS;
    let selector = json!({"matchLabels": {"app": "x"}});
    let spread = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}]}});
    check(&one(), &[], &pod("a", spread), pods | Hints::NODE_TAINTS);
    let near = json!({"spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}]}}}});
    check(&one(), &[], &pod("a", near), pods | Hints::NAMESPACE);
}

#[test]
fn claims_wait_for_storage() {
    let claims =
        pod("a", json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}}));
    // Named first by the rule that keeps claims of one pod apart, as upstream.
    check(&one(), &[], &claims, Hints::POD_REMOVED | Hints::CLAIM);
}
