use proptest::prelude::*;
use serde_json::json;

use super::*;

fn now() -> Time {
    Time::from_secs(1_800_000_000)
}

fn quota(hard: Value, used: Value) -> Value {
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
}

fn charged(quota: &Value, resource: &str, object: &Value) -> Result<Option<Value>, String> {
    let charge = Charge { new: Counted { resource, object }, old: None, now: now() };
    super::charge(quota, &charge).map(|done| done.map(Value::Object))
}

fn pod(resources: Value) -> Value {
    json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
}

#[test]
fn a_quota_that_nobody_counted_holds_nobody_back() {
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}, "status": {}});
    assert_eq!(charged(&quota, "pods", &pod(json!({}))), Ok(None));
}

#[test]
fn refusals_are_upstreams() {
    let hard = json!({"pods": "2", "requests.cpu": "1", "limits.memory": "1Gi"});
    let quota = quota(hard, json!({"pods": "1", "requests.cpu": "600m", "limits.memory": "100Mi"}));
    assert_eq!(
        charged(&quota, "pods", &pod(json!({}))).unwrap_err(),
        "failed quota: q: must specify limits.memory for: c; requests.cpu for: c"
    );
    let given = pod(json!({"requests": {"cpu": "600m"}, "limits": {"memory": "100Mi"}}));
    assert_eq!(
        charged(&quota, "pods", &given).unwrap_err(),
        "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    let given = pod(json!({"requests": {"cpu": "400m"}, "limits": {"memory": "100Mi"}}));
    let used = json!({"pods": "2", "requests.cpu": "1", "limits.memory": "200Mi"});
    assert_eq!(charged(&quota, "pods", &given), Ok(Some(used)));
}

#[test]
fn a_quota_that_is_half_counted_is_unknown() {
    let quota = quota(json!({"pods": "2", "cpu": "1"}), json!({"pods": "0"}));
    let why = charged(&quota, "pods", &pod(json!({"requests": {"cpu": "1"}}))).unwrap_err();
    assert_eq!(why, "status unknown for quota: q, resources: cpu,pods");
}

#[test]
fn objects_are_counted_by_group_and_by_older_names() {
    let quota = quota(
        json!({"configmaps": "2", "count/configmaps": "5", "count/deployments.apps": "1"}),
        json!({"configmaps": "1", "count/configmaps": "1", "count/deployments.apps": "1"}),
    );
    let used = json!({"configmaps": "2", "count/configmaps": "2", "count/deployments.apps": "1"});
    assert_eq!(charged(&quota, "configmaps", &json!({})), Ok(Some(used)));
    assert_eq!(
        charged(&quota, "deployments.apps", &json!({})).unwrap_err(),
        "exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=1, limited: \
         count/deployments.apps=1"
    );
    assert_eq!(charged(&quota, "secrets", &json!({})), Ok(None));
}

#[test]
fn services_cost_ports_and_balancers() {
    let cost = |spec: Value| {
        let object = json!({"spec": spec});
        let cost = super::cost(Counted { resource: "services", object: &object }, now());
        [&cost["services.nodeports"], &cost["services.loadbalancers"]].map(ToString::to_string)
    };
    let ports = json!([{"port": 1}, {"port": 2, "nodePort": 30_000}]);
    assert_eq!(cost(json!({"type": "ClusterIP", "ports": ports})), ["0", "0"]);
    assert_eq!(cost(json!({"type": "NodePort", "ports": ports})), ["2", "0"]);
    assert_eq!(cost(json!({"type": "LoadBalancer", "ports": ports})), ["2", "1"]);
    let without = json!({"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false});
    assert_eq!(cost(without), ["1", "1"]);
}

#[test]
fn a_service_that_becomes_a_balancer_pays_the_difference() {
    let quota = quota(
        json!({"services": "1", "services.loadbalancers": "0"}),
        json!({"services": "1", "services.loadbalancers": "0"}),
    );
    let old = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 1}]}});
    let new = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}]}});
    let charge = Charge { new: Counted { resource: "services", object: &new }, old: Some(&old), now: now() };
    assert_eq!(
        super::charge(&quota, &charge).unwrap_err(),
        "exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0, limited: \
         services.loadbalancers=0"
    );
}

#[test]
fn claims_are_counted_by_class() {
    let object = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}}});
    let cost = super::cost(Counted { resource: "persistentvolumeclaims", object: &object }, now());
    assert_eq!(cost["fast.storageclass.storage.k8s.io/requests.storage"].to_string(), "2Gi");
    assert_eq!(cost["requests.storage"].to_string(), "2Gi");
    assert!(cost::is_of("persistentvolumeclaims", "fast.storageclass.storage.k8s.io/persistentvolumeclaims"));
}

#[test]
fn scopes_choose_pods() {
    let scoped = |scope: Value, object: &Value| {
        let mut quota = quota(json!({"pods": "0"}), json!({"pods": "0"}));
        quota["spec"]["scopes"] = json!([scope]);
        charged(&quota, "pods", object).is_err()
    };
    let (idle, busy) = (pod(json!({})), pod(json!({"requests": {"cpu": "1"}})));
    assert!(scoped(json!("BestEffort"), &idle) && !scoped(json!("BestEffort"), &busy));
    assert!(!scoped(json!("NotBestEffort"), &idle) && scoped(json!("NotBestEffort"), &busy));
    let mut short = idle.clone();
    short["spec"]["activeDeadlineSeconds"] = json!(5);
    assert!(scoped(json!("Terminating"), &short) && !scoped(json!("Terminating"), &idle));
    assert!(!scoped(json!("NotTerminating"), &short) && scoped(json!("NotTerminating"), &idle));
    let mut selected = quota(json!({"pods": "0"}), json!({"pods": "0"}));
    selected["spec"]["scopeSelector"] = json!({"matchExpressions": [
        {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    ]});
    assert!(charged(&selected, "pods", &idle).is_ok());
    let mut high = idle;
    high["spec"]["priorityClassName"] = json!("high");
    assert!(charged(&selected, "pods", &high).is_err());
}

#[test]
fn what_has_ended_takes_no_compute() {
    let mut ended = pod(json!({"requests": {"cpu": "1"}}));
    ended["status"] = json!({"phase": "Succeeded"});
    let cost = super::cost(Counted { resource: "pods", object: &ended }, now());
    assert_eq!(cost.keys().collect::<Vec<_>>(), ["count/pods"]);
}

#[test]
fn a_recount_says_what_is_there() {
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "5", "requests.cpu": "2", "count/secrets": "9"}}});
    let pods = [pod(json!({"requests": {"cpu": "250m"}})), pod(json!({"requests": {"cpu": "750m"}}))];
    let counted = pods.iter().map(|object| Counted { resource: "pods", object });
    let (hard, used) = recount(&quota, counted, now());
    assert_eq!(hard, quota["spec"]["hard"]);
    assert_eq!(used, json!({"pods": "2", "requests.cpu": "1", "count/secrets": "0"}));
    assert_eq!(resources(&quota), ["pods", "secrets"]);
}

proptest! {
    /// Whatever is charged in whatever order: what is used is what was let in, and never above what is allowed.
    #[test]
    fn no_order_of_charges_exceeds_a_quota(cpus in proptest::collection::vec(1u32..900, 1..40)) {
        let mut quota = quota(json!({"pods": "10", "requests.cpu": "3"}), json!({"pods": "0", "requests.cpu": "0"}));
        let (mut count, mut milli) = (0, 0);
        for cpu in cpus {
            let object = pod(json!({"requests": {"cpu": format!("{cpu}m")}}));
            if let Ok(Some(used)) = charged(&quota, "pods", &object) {
                quota["status"]["used"] = used;
                (count, milli) = (count + 1, milli + cpu);
            }
        }
        prop_assert!(count <= 10 && milli <= 3000);
        let used = amount::read(&quota["status"]["used"]);
        prop_assert_eq!(used["pods"], Amount::count(count));
        prop_assert_eq!(used["requests.cpu"].milli(), i128::from(milli));
    }

    /// What is given back after a charge leaves what was before.
    #[test]
    fn giving_back_undoes_a_charge(cpu in 1u32..900) {
        let before = quota(json!({"pods": "10", "requests.cpu": "3"}), json!({"pods": "1", "requests.cpu": "500m"}));
        let object = pod(json!({"requests": {"cpu": format!("{cpu}m")}}));
        let mut after = before.clone();
        after["status"]["used"] = charged(&before, "pods", &object).unwrap().unwrap();
        let charge = Charge { new: Counted { resource: "pods", object: &object }, old: None, now: now() };
        let back = Value::Object(give_back(&after, &charge).unwrap());
        prop_assert_eq!(&back, &before["status"]["used"]);
    }
}
