use api_core::{Pod, ReplicaSet};
use api_meta::{Object, ObjectKey, Resource};
use reconcile::testing::Bench;
use reconcile::{Action, Failure, Verb};
use serde_json::{Value, json};

use super::ReplicaSets;

const SETS: Resource = ReplicaSet::RESOURCE;
const PODS: Resource = Pod::RESOURCE;

fn set(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "cart"}},
            "template": {"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [{"name": "a", "image": "x:1"}]}},
        },
    })
}

fn orphan(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": "cart"}}, "spec": {"nodeName": "n1"}})
}

fn bench(replicas: i32) -> (Bench, ObjectKey) {
    let mut bench = Bench::new().with::<ReplicaSets>();
    let key = bench.put(&SETS, set(replicas));
    (bench, key)
}

/// Reconciles with nodes that do their work until nothing moves.
fn run(bench: &mut Bench, key: &ObjectKey) {
    for _ in 0..4 {
        bench.settle::<ReplicaSets>(key, 8);
        bench.kubelet();
    }
    bench.settle::<ReplicaSets>(key, 8);
}

fn status(bench: &Bench, key: &ObjectKey) -> String {
    let status = &bench.get(&SETS, key).unwrap()["status"];
    let n = |field: &str| status[field].as_i64().unwrap_or(0);
    format!("{} pods, {} ready, {} available", n("replicas"), n("readyReplicas"), n("availableReplicas"))
}

#[test]
fn as_many_pods_as_wanted_come_and_go() {
    let (mut bench, key) = bench(5);
    run(&mut bench, &key);
    assert_eq!(status(&bench, &key), "5 pods, 5 ready, 5 available");
    bench.edit(&SETS, &key, |s| s["spec"]["replicas"] = json!(2));
    run(&mut bench, &key);
    assert_eq!((status(&bench, &key).as_str(), bench.list(&PODS).len()), ("2 pods, 2 ready, 2 available", 2));
}

#[test]
fn pods_carry_the_template_and_their_controller() {
    let (mut bench, key) = bench(1);
    run(&mut bench, &key);
    let pod: Pod = serde_json::from_value(bench.list(&PODS)[0].clone()).unwrap();
    let owner = pod.metadata.controller().unwrap();
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str(), owner.block_owner_deletion),
        ("ReplicaSet", "cart", Some(true))
    );
    assert_eq!(pod.metadata.labels["app"], "cart");
    assert_eq!(pod.metadata.generate_name, "cart-");
    assert_eq!(pod.metadata.name.len(), "cart-".len() + 5);
}

#[test]
fn one_plan_creates_at_most_a_burst() {
    let (bench, key) = bench(700);
    let plan = bench.plan::<ReplicaSets>(&key).unwrap();
    let creations = plan.actions.iter().filter(|a| matches!(a, Action::Create { .. })).count();
    assert_eq!(creations, super::plan::BURST);
}

#[test]
fn a_repeated_plan_creates_nothing_twice() {
    let (mut bench, key) = bench(3);
    let plan = bench.plan::<ReplicaSets>(&key).unwrap();
    let again = bench.plan::<ReplicaSets>(&key).unwrap();
    assert_eq!(plan, again);
    bench.apply(&plan).unwrap();
    assert!(bench.apply(&again).is_err(), "the names are taken");
    assert_eq!(bench.list(&PODS).len(), 3);
}

#[test]
fn a_lost_pod_is_replaced_under_a_new_name() {
    let (mut bench, key) = bench(1);
    run(&mut bench, &key);
    let first = bench.keys(&PODS)[0].clone();
    bench.drop(&PODS, &first);
    run(&mut bench, &key);
    assert_ne!(bench.keys(&PODS), [first]);
    assert_eq!(bench.list(&PODS).len(), 1);
}

#[test]
fn matching_orphans_are_adopted_and_strangers_left_alone() {
    let (mut bench, key) = bench(2);
    bench.put(&PODS, orphan("one"));
    bench.put(&PODS, json!({"metadata": {"name": "other", "namespace": "shop", "labels": {"app": "x"}}}));
    run(&mut bench, &key);
    let one = &bench.get(&PODS, &ObjectKey::new("shop", "one")).unwrap()["metadata"];
    assert_eq!(one["ownerReferences"][0]["uid"], bench.get(&SETS, &key).unwrap()["metadata"]["uid"]);
    let other = &bench.get(&PODS, &ObjectKey::new("shop", "other")).unwrap()["metadata"];
    assert!(other["ownerReferences"].is_null());
    assert_eq!(bench.list(&PODS).len(), 3, "one adopted, one created, one stranger");
}

#[test]
fn a_set_that_is_going_away_adopts_and_creates_nothing() {
    let (mut bench, key) = bench(2);
    bench.put(&PODS, orphan("one"));
    let before = bench.plan::<ReplicaSets>(&key).unwrap();
    bench.edit(&SETS, &key, |s| {
        s["metadata"]["finalizers"] = json!(["orphan"]);
        s["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    bench.settle::<ReplicaSets>(&key, 3);
    assert!(bench.apply(&before).is_err(), "a stale plan stops before it adopts");
    assert!(bench.list(&PODS)[0]["metadata"]["ownerReferences"].is_null());
    assert_eq!(bench.list(&PODS).len(), 1);
}

#[test]
fn a_pod_whose_labels_change_is_released_and_replaced() {
    let (mut bench, key) = bench(1);
    run(&mut bench, &key);
    let pod = bench.keys(&PODS)[0].clone();
    bench.edit(&PODS, &pod, |p| p["metadata"]["labels"]["app"] = json!("debug"));
    run(&mut bench, &key);
    let pod = bench.get(&PODS, &pod).unwrap();
    assert_eq!(pod["metadata"]["ownerReferences"], json!([]));
    assert_eq!(bench.list(&PODS).len(), 2);
}

#[test]
fn ended_pods_are_replaced_and_terminating_ones_counted_apart() {
    let (mut bench, key) = bench(2);
    run(&mut bench, &key);
    let pods = bench.keys(&PODS);
    bench.edit(&PODS, &pods[0], |p| p["status"]["phase"] = json!("Failed"));
    bench.edit(&PODS, &pods[1], |p| p["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    bench.settle::<ReplicaSets>(&key, 8);
    let status = &bench.get(&SETS, &key).unwrap()["status"];
    assert_eq!((&status["replicas"], &status["terminatingReplicas"]), (&json!(2), &json!(1)));
    assert_eq!(bench.list(&PODS).len(), 4);
}

#[test]
fn a_refused_creation_is_a_condition_until_it_works() {
    let (mut bench, key) = bench(1);
    let failure = Failure { verb: Verb::Create, resource: PODS, message: "pods is forbidden: quota".into() };
    bench.world.set_failure("replicaset-controller", &key, Some(failure));
    bench.settle::<ReplicaSets>(&key, 3);
    let condition = |bench: &Bench| bench.get(&SETS, &key).unwrap()["status"]["conditions"][0].clone();
    assert_eq!(
        (&condition(&bench)["type"], &condition(&bench)["reason"]),
        (&json!("ReplicaFailure"), &json!("FailedCreate"))
    );
    bench.world.set_failure("replicaset-controller", &key, None);
    bench.settle::<ReplicaSets>(&key, 3);
    assert_eq!(condition(&bench), Value::Null);
}

#[test]
fn availability_comes_with_time() {
    let (mut bench, key) = bench(1);
    bench.edit(&SETS, &key, |s| s["spec"]["minReadySeconds"] = json!(10));
    run(&mut bench, &key);
    assert_eq!(status(&bench, &key), "1 pods, 1 ready, 0 available");
    assert_eq!(
        bench.plan::<ReplicaSets>(&key).unwrap().wake,
        Some(bench.now + std::time::Duration::from_secs(10))
    );
    bench.pass(10);
    run(&mut bench, &key);
    assert_eq!(status(&bench, &key), "1 pods, 1 ready, 1 available");
    assert_eq!(bench.plan::<ReplicaSets>(&key).unwrap().wake, None);
}
