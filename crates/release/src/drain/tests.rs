use api_core::Node;
use api_meta::{Object, ObjectKey};
use reconcile::testing::Bench;

use super::super::Controller;
use super::*;

fn bench(gate: &str) -> Bench {
    let mut bench = Bench::new().with::<Controller>();
    bench.put(&Node::RESOURCE, json!({"metadata": {"name": "n1"}}));
    put(&mut bench, "a", gate);
    bench
}

fn put(bench: &mut Bench, name: &str, gate: &str) {
    bench.put(&Pod::RESOURCE, json!({
        "metadata": {"namespace": "shop", "name": name, "finalizers": [drain::protection_of("web")], "ownerReferences": [{"kind": "InPlaceSet", "name": "web", "uid": "set", "controller": true}]},
        "spec": {"nodeName": "n1", "readinessGates": [{"conditionType": gate}]},
        "status": {"phase": "Running", "conditions": [{"type": gate, "status": "True"}, {"type": "Ready", "status": "True"}]},
    }));
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

fn edit(bench: &mut Bench, name: &str, change: impl FnOnce(&mut Value)) {
    bench.edit(&Pod::RESOURCE, &key(name), change);
}

fn cordon(bench: &mut Bench, on: bool) {
    bench.edit(&Node::RESOURCE, &ObjectKey::new("", "n1"), |n| n["spec"]["unschedulable"] = json!(on));
}

fn settle(bench: &mut Bench) {
    for name in ["a", "b", "c"] {
        bench.settle::<Controller>(&key(name), 9);
    }
}

/// Labels of the protocol without their suffix, and the state of the gate.
fn told(bench: &Bench, name: &str, gate: &str) -> String {
    let pod: Pod = serde_json::from_value(bench.get(&Pod::RESOURCE, &key(name)).unwrap().clone()).unwrap();
    let labels = pod.metadata.labels.keys().map(|k| k.replace(".podopslifecycle.kusionstack.io", ""));
    let gate = pod.condition(gate).map_or("unset".to_owned(), |c| format!("{} {}", c.status, c.reason));
    let notes = bench.plan::<Controller>(&key(name)).unwrap_or_default().notes;
    let notes: String = notes.iter().map(|n| format!(" ({})", n.message)).collect();
    format!("{} gate={}{notes}", labels.collect::<Vec<_>>().join(" "), gate.trim())
}

#[test]
fn a_request_closes_the_gate_waits_for_traffic_and_lets_the_operation_go_on() {
    let mut bench = bench(drain::INPLACE_READY);
    edit(&mut bench, "a", |p| {
        p["metadata"]["labels"] = json!({format!("{}evict", drain::OPERATING): "1"});
        p["metadata"]["finalizers"] = json!([drain::protection_of("web")]);
    });
    settle(&mut bench);
    let gate = drain::INPLACE_READY;
    let mut story = format!("{}\n", told(&bench, "a", gate));
    edit(&mut bench, "a", |p| p["metadata"]["finalizers"] = json!([]));
    settle(&mut bench);
    story += &format!("{}\n", told(&bench, "a", gate));
    edit(&mut bench, "a", |p| {
        p["metadata"]["labels"].as_object_mut().unwrap().remove(&format!("{}evict", drain::OPERATING));
    });
    settle(&mut bench);
    story += &told(&bench, "a", gate);
    expect_test::expect![[r#"
        operating/evict preparing/evict gate=False Drain (waits until web lets go of it)
        operate/evict operating/evict gate=False Drain
         gate=True"#]]
    .assert_eq(&story);
}

#[test]
fn an_overdue_drain_waits_for_a_person_unless_it_is_forced() {
    let mut bench = bench(drain::INPLACE_READY);
    edit(&mut bench, "a", |p| {
        p["metadata"]["labels"] = json!({format!("{}evict", drain::OPERATING): "1"});
        p["metadata"]["finalizers"] = json!([drain::protection_of("web")]);
    });
    settle(&mut bench);
    assert_eq!(bench.plan::<Controller>(&key("a")).unwrap().wake, Some(bench.now + Duration::from_secs(60)));
    bench.pass(61);
    settle(&mut bench);
    assert!(told(&bench, "a", drain::INPLACE_READY).contains("preparing/evict"));
    edit(&mut bench, "a", |p| p["metadata"]["annotations"] = json!({drain::DEADLINE_POLICY: "Force"}));
    settle(&mut bench);
    assert!(told(&bench, "a", drain::INPLACE_READY).starts_with("operate/evict operating/evict"));
}

#[test]
fn a_cordon_drains_a_fifth_of_an_owners_pods_and_ends_with_it() {
    let mut bench = bench(drain::SERVICE_READY);
    put(&mut bench, "b", drain::SERVICE_READY);
    put(&mut bench, "c", drain::SERVICE_READY);
    cordon(&mut bench, true);
    settle(&mut bench);
    let gate = drain::SERVICE_READY;
    let all = |bench: &Bench| ["a", "b", "c"].map(|n| told(bench, n, gate)).join("\n");
    expect_test::expect![[r#"
        operating/cordon operation-type/cordon preparing/cordon gate=False Drain (waits until web lets go of it)
         gate=True (held: its node is cordoned, but as many pods of its owner are out of service as a cordon may take)
         gate=True (held: its node is cordoned, but as many pods of its owner are out of service as a cordon may take)"#]]
    .assert_eq(&all(&bench));
    cordon(&mut bench, false);
    settle(&mut bench);
    assert_eq!(all(&bench), [" gate=True"; 3].join("\n"));
}

#[test]
fn a_pod_that_nobody_came_for_after_its_drain_goes_back_into_service() {
    let mut bench = bench(drain::INPLACE_READY);
    edit(&mut bench, "a", |p| {
        p["metadata"]["labels"] = json!({format!("{}evict", drain::OPERATING): "1"});
        p["metadata"]["finalizers"] = json!([]);
    });
    settle(&mut bench);
    assert_eq!(bench.plan::<Controller>(&key("a")).unwrap().wake, Some(bench.now + Duration::from_secs(120)));
    assert_eq!(told(&bench, "a", drain::INPLACE_READY), "operate/evict operating/evict gate=False Drain");
    bench.pass(120);
    settle(&mut bench);
    assert_eq!(told(&bench, "a", drain::INPLACE_READY), " gate=True");
}

#[test]
fn two_looks_at_once_do_not_let_both_of_the_last_two_go() {
    let mut bench = bench(drain::SERVICE_READY);
    put(&mut bench, "b", drain::SERVICE_READY);
    cordon(&mut bench, true);
    let quiet = |name: &str| bench.plan::<Controller>(&key(name)).unwrap().is_quiet();
    assert_eq!((quiet("a"), quiet("b")), (false, true));
}

#[test]
fn a_new_pod_with_our_gate_is_let_into_service_and_a_gate_closed_by_others_stays() {
    let mut bench = bench(drain::SERVICE_READY);
    edit(&mut bench, "a", |p| p["status"]["conditions"] = json!([]));
    settle(&mut bench);
    assert_eq!(told(&bench, "a", drain::SERVICE_READY), " gate=True");
    let update = json!([{"type": drain::INPLACE_READY, "status": "False", "reason": "StartInPlaceUpdate"}]);
    put(&mut bench, "b", drain::INPLACE_READY);
    edit(&mut bench, "b", |p| p["status"]["conditions"] = update);
    settle(&mut bench);
    assert_eq!(told(&bench, "b", drain::INPLACE_READY), " gate=False StartInPlaceUpdate");
}

#[test]
fn a_pod_that_opted_out_is_let_go_at_once_and_stays_in_service() {
    let mut bench = bench(drain::SERVICE_READY);
    edit(&mut bench, "a", |p| {
        p["metadata"]["annotations"] = json!({drain::DRAIN: "disabled"});
        p["metadata"]["labels"] = json!({format!("{}x", drain::OPERATING): "1"});
    });
    settle(&mut bench);
    assert_eq!(told(&bench, "a", drain::SERVICE_READY), "operate/x operating/x gate=True");
}
