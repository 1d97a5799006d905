use reconcile::testing::Bench;
use serde_json::json;

use super::*;

fn bench() -> (Bench, ObjectKey) {
    let mut bench = Bench::new().with::<EndpointsOfServices>();
    let key = bench.put(
        &Service::RESOURCE,
        json!({
            "metadata": {"name": "cart", "namespace": "shop"},
            "spec": {"selector": {"app": "cart"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }),
    );
    for name in ["a", "b"] {
        bench.put(
            &Pod::RESOURCE,
            json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": "cart"}}, "spec": {}}),
        );
    }
    bench.kubelet();
    (bench, key)
}

fn subsets(bench: &mut Bench, key: &ObjectKey) -> Value {
    bench.settle::<EndpointsOfServices>(key, 2);
    bench.get(&Endpoints::RESOURCE, key).unwrap()["subsets"].clone()
}

#[test]
fn ready_and_unready_addresses_are_told_apart() {
    let (mut bench, key) = bench();
    let before = subsets(&mut bench, &key);
    assert_eq!(before[0]["addresses"].as_array().unwrap().len(), 2);
    assert_eq!(before[0]["ports"], json!([{"port": 8080, "protocol": "TCP"}]));
    bench.edit(&Pod::RESOURCE, &ObjectKey::new("shop", "a"), |p| {
        p["status"]["conditions"][0]["status"] = json!("False");
    });
    let after = subsets(&mut bench, &key);
    assert_eq!(after[0]["notReadyAddresses"][0]["targetRef"]["name"], "a");
    assert_eq!(after[0]["addresses"][0]["targetRef"]["name"], "b");
}

#[test]
fn without_pods_there_is_an_empty_object_with_an_owner() {
    let (mut bench, key) = bench();
    subsets(&mut bench, &key);
    for name in ["a", "b"] {
        bench.drop(&Pod::RESOURCE, &ObjectKey::new("shop", name));
    }
    assert_eq!(subsets(&mut bench, &key), Value::Null);
    let meta = &bench.get(&Endpoints::RESOURCE, &key).unwrap()["metadata"];
    assert_eq!(meta["ownerReferences"][0]["kind"], "Service");
    assert_eq!(meta["labels"][MANAGED_BY], MANAGER);
}
