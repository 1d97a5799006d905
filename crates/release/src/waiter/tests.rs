use api_core::{EndpointSlice, Service};
use api_meta::{Object, ObjectKey};
use reconcile::testing::Bench;

use super::super::Controller;
use super::*;

fn bench(owner: &str, annotations: Value) -> Bench {
    let mut bench = Bench::new().with::<Controller>();
    bench.put(
        &Service::RESOURCE,
        json!({
            "metadata": {"namespace": "shop", "name": "web", "annotations": annotations},
            "spec": {"selector": {"app": "web"}},
        }),
    );
    bench.put(&Pod::RESOURCE, json!({
        "metadata": {"namespace": "shop", "name": "a", "labels": {"app": "web"}, "finalizers": ["other/one"],
            "ownerReferences": [{"kind": owner, "name": "web", "uid": "set", "controller": true}]},
        "spec": {"readinessGates": [{"conditionType": drain::SERVICE_READY}]},
        "status": {"phase": "Running", "conditions": [{"type": drain::SERVICE_READY, "status": "True"}]},
    }));
    slice(&mut bench, true);
    bench
}

fn key() -> ObjectKey {
    ObjectKey::new("shop", "a")
}

fn pod(bench: &Bench) -> Pod {
    serde_json::from_value(bench.get(&Pod::RESOURCE, &key()).unwrap().clone()).unwrap()
}

fn slice(bench: &mut Bench, ready: bool) {
    let uid = pod(bench).metadata.uid;
    bench.put(&EndpointSlice::RESOURCE, json!({
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"targetRef": {"kind": "Pod", "name": "a", "uid": uid}, "conditions": {"ready": ready}}],
    }));
}

fn gate(bench: &mut Bench, open: bool) {
    let status = if open { "True" } else { "False" };
    let conditions = json!([{"type": drain::SERVICE_READY, "status": status}]);
    bench.edit(&Pod::RESOURCE, &key(), |p| p["status"]["conditions"] = conditions);
}

fn settle(bench: &mut Bench) {
    bench.settle::<Controller>(&key(), 5);
}

fn is_protected(bench: &Bench) -> bool {
    pod(bench).metadata.finalizers.contains(&drain::protection_of("web"))
}

#[test]
fn a_pod_of_a_release_is_protected_until_its_endpoint_has_left_for_long_enough() {
    let mut bench = bench("InPlaceSet", json!({}));
    settle(&mut bench);
    assert!(is_protected(&bench) && drain::is_back(&pod(&bench)));
    gate(&mut bench, false);
    settle(&mut bench);
    bench.pass(100);
    settle(&mut bench);
    assert!(is_protected(&bench), "the slices still name it");
    slice(&mut bench, false);
    settle(&mut bench);
    bench.pass(14);
    settle(&mut bench);
    assert!(is_protected(&bench));
    bench.pass(1);
    let plan = bench.plan::<Controller>(&key()).unwrap();
    expect_test::expect!["waited 15 s after its endpoint left Service web: waited, not drained"]
        .assert_eq(&plan.notes[0].message);
    settle(&mut bench);
    assert!(!is_protected(&bench) && !drain::is_back(&pod(&bench)));
    assert_eq!(pod(&bench).metadata.finalizers, ["other/one"]);
    gate(&mut bench, true);
    settle(&mut bench);
    assert!(is_protected(&bench) && drain::is_back(&pod(&bench)));
    assert_eq!(pod(&bench).metadata.annotations.get(LEFT), None);
}

#[test]
fn other_pods_are_waited_for_only_where_their_service_says_how_long() {
    let mut plain = bench("ReplicaSet", json!({}));
    settle(&mut plain);
    assert!(!is_protected(&plain));
    let mut asked = bench("ReplicaSet", json!({drain::DRAIN_SECONDS: "3"}));
    settle(&mut asked);
    assert!(is_protected(&asked));
    gate(&mut asked, false);
    slice(&mut asked, false);
    settle(&mut asked);
    asked.pass(3);
    settle(&mut asked);
    assert!(!is_protected(&asked));
}

#[test]
fn a_service_that_no_longer_selects_the_pod_lets_go_of_it_for_good() {
    let mut bench = bench("InPlaceSet", json!({}));
    settle(&mut bench);
    bench.drop(&Service::RESOURCE, &ObjectKey::new("shop", "web"));
    slice(&mut bench, false);
    settle(&mut bench);
    assert!(is_protected(&bench));
    bench.pass(15);
    settle(&mut bench);
    assert!(!is_protected(&bench) && drain::is_back(&pod(&bench)));
}

#[test]
fn a_deleted_pod_is_not_held_for_ever() {
    let mut bench = bench("InPlaceSet", json!({}));
    settle(&mut bench);
    let now = bench.now;
    bench.edit(&Pod::RESOURCE, &key(), |p| p["metadata"]["deletionTimestamp"] = json!(now));
    slice(&mut bench, false);
    settle(&mut bench);
    bench.pass(15);
    settle(&mut bench);
    assert!(!is_protected(&bench));
}
