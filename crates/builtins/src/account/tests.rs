use reconcile::testing::Bench;
use serde_json::json;

use super::*;

#[test]
fn a_namespace_gets_its_account_and_the_certificate() {
    let mut bench = Bench::new().with::<Accounts>();
    let source = json!({"metadata": {"name": ROOT_CA, "namespace": SOURCE}, "data": {"ca.crt": "PEM"}});
    bench.put(&ConfigMap::RESOURCE, source);
    let key = bench.put(&Namespace::RESOURCE, json!({"metadata": {"name": "shop"}}));
    bench.settle::<Accounts>(&key, 2);
    assert!(bench.get(&ServiceAccount::RESOURCE, &ObjectKey::new("shop", "default")).is_some());
    let copy = ObjectKey::new("shop", ROOT_CA);
    assert_eq!(bench.get(&ConfigMap::RESOURCE, &copy).unwrap()["data"]["ca.crt"], "PEM");
    bench.edit(&ConfigMap::RESOURCE, &copy, |m| m["data"]["ca.crt"] = json!("changed by hand"));
    bench.settle::<Accounts>(&key, 2);
    assert_eq!(bench.get(&ConfigMap::RESOURCE, &copy).unwrap()["data"]["ca.crt"], "PEM");
}

#[test]
fn a_namespace_that_goes_away_gets_nothing() {
    let mut bench = Bench::new().with::<Accounts>();
    let body = json!({"metadata": {"name": "shop"}, "status": {"phase": "Terminating"}});
    let key = bench.put(&Namespace::RESOURCE, body);
    assert!(bench.plan::<Accounts>(&key).unwrap().is_quiet());
}
