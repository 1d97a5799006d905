use api_core::{EndpointSlice, Node, Pod, Service};
use api_meta::{Object, ObjectKey, Resource};
use expect_test::{Expect, expect};
use reconcile::testing::Bench;
use serde_json::{Value, json};

use super::EndpointSlices;

const PODS: Resource = Pod::RESOURCE;
const SERVICES: Resource = Service::RESOURCE;
const SLICES: Resource = EndpointSlice::RESOURCE;

fn bench() -> (Bench, ObjectKey) {
    let mut bench = Bench::new().with::<EndpointSlices>();
    let node = json!({"metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "z1"}}});
    bench.put(&Node::RESOURCE, node);
    let key = bench.put(
        &SERVICES,
        json!({
            "metadata": {"name": "cart", "namespace": "shop", "labels": {"team": "a"}},
            "spec": {"selector": {"app": "cart"}, "clusterIP": "127.64.0.2", "ipFamilies": ["IPv4"],
                "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]},
        }),
    );
    (bench, key)
}

fn pod(bench: &mut Bench, name: &str, port: i32) {
    bench.put(&PODS, json!({
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "cart"}},
        "spec": {"containers": [{"name": "a", "ports": [{"name": "web", "containerPort": port, "protocol": "TCP"}]}]},
    }));
}

/// One line a slice: ports, then endpoints with their state.
fn check(bench: &mut Bench, key: &ObjectKey, expected: Expect) {
    bench.settle::<EndpointSlices>(key, 3);
    let line = |slice: &&Value| {
        let ports: Vec<String> = slice["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| format!("{}:{}", p["name"].as_str().unwrap(), p["port"]))
            .collect();
        let all = slice["endpoints"].as_array().cloned().unwrap_or_default();
        let endpoints = all.iter().map(|e| {
            let flag = |f: &'static str| if e["conditions"][f] == true { &f[..1] } else { "-" };
            format!(
                "{}={}{}{}",
                e["targetRef"]["name"].as_str().unwrap(),
                flag("ready"),
                flag("serving"),
                flag("terminating")
            )
        });
        format!("[{}] {}", ports.join(","), endpoints.collect::<Vec<_>>().join(" "))
    };
    let mut lines: Vec<String> = bench.list(&SLICES).iter().map(line).collect();
    lines.sort();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let (mut bench, key) = bench();
    check(&mut bench, &key, expect!["[] "]);
}

#[test]
fn endpoints_follow_the_state_of_pods() {
    let (mut bench, key) = bench();
    pod(&mut bench, "a", 8080);
    pod(&mut bench, "b", 8080);
    bench.kubelet();
    pod(&mut bench, "unstarted", 8080);
    check(&mut bench, &key, expect!["[http:8080] a=rs- b=rs-"]);
    bench.edit(&PODS, &ObjectKey::new("shop", "a"), |p| {
        p["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")
    });
    check(&mut bench, &key, expect!["[http:8080] a=-st b=rs-"]);
    bench.edit(&PODS, &ObjectKey::new("shop", "b"), |p| {
        p["status"]["conditions"][0]["status"] = json!("False")
    });
    bench.drop(&PODS, &ObjectKey::new("shop", "a"));
    check(&mut bench, &key, expect!["[http:8080] b=---"]);
    bench.edit(&SERVICES, &key, |s| s["spec"]["publishNotReadyAddresses"] = json!(true));
    check(&mut bench, &key, expect!["[http:8080] b=r--"]);
    bench.edit(&PODS, &ObjectKey::new("shop", "b"), |p| p["status"]["phase"] = json!("Succeeded"));
    check(&mut bench, &key, expect!["[] "]);
}

#[test]
fn a_slice_says_whose_it_is_and_where_its_pods_are() {
    let (mut bench, key) = bench();
    pod(&mut bench, "a", 8080);
    bench.kubelet();
    bench.settle::<EndpointSlices>(&key, 2);
    let slice = bench.list(&SLICES)[0].clone();
    let meta = &slice["metadata"];
    assert_eq!(meta["labels"]["kubernetes.io/service-name"], "cart");
    assert_eq!(meta["labels"]["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!(meta["labels"]["team"], "a");
    assert_eq!(meta["ownerReferences"][0]["kind"], "Service");
    let endpoint = &slice["endpoints"][0];
    assert_eq!((&endpoint["nodeName"], &endpoint["zone"]), (&json!("node-1"), &json!("z1")));
}

#[test]
fn pods_with_other_port_numbers_get_slices_of_their_own() {
    let (mut bench, key) = bench();
    pod(&mut bench, "a", 8080);
    pod(&mut bench, "b", 9090);
    bench.kubelet();
    check(
        &mut bench,
        &key,
        expect![[r#"
        [http:8080] a=rs-
        [http:9090] b=rs-"#]],
    );
    bench.drop(&PODS, &ObjectKey::new("shop", "b"));
    check(&mut bench, &key, expect!["[http:8080] a=rs-"]);
}

#[test]
fn slices_hold_a_hundred_endpoints_and_change_little() {
    let (mut bench, key) = bench();
    (0..250).for_each(|i| pod(&mut bench, &format!("p{i:03}"), 8080));
    bench.kubelet();
    bench.settle::<EndpointSlices>(&key, 3);
    let sizes = |bench: &Bench| {
        let mut sizes: Vec<usize> =
            bench.list(&SLICES).iter().map(|s| s["endpoints"].as_array().unwrap().len()).collect();
        sizes.sort();
        sizes
    };
    assert_eq!(sizes(&bench), [50, 100, 100]);
    bench.drop(&PODS, &ObjectKey::new("shop", "p007"));
    assert_eq!(bench.plan::<EndpointSlices>(&key).unwrap().actions.len(), 1);
    bench.settle::<EndpointSlices>(&key, 3);
    pod(&mut bench, "new", 8080);
    bench.kubelet();
    assert_eq!(bench.plan::<EndpointSlices>(&key).unwrap().actions.len(), 1);
    bench.settle::<EndpointSlices>(&key, 3);
    assert_eq!(sizes(&bench), [50, 100, 100], "the fullest slice with room takes it");
}

#[test]
fn headless_services_are_marked_and_selectorless_ones_left_alone() {
    let (mut bench, key) = bench();
    bench.edit(&SERVICES, &key, |s| s["spec"]["clusterIP"] = json!("None"));
    bench.settle::<EndpointSlices>(&key, 3);
    assert_eq!(bench.list(&SLICES)[0]["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    let other = bench.put(&SERVICES, json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": {}}));
    assert!(bench.plan::<EndpointSlices>(&other).unwrap().is_quiet());
}
