//! The objects every cluster starts with: upstream's mandatory and suggested ones of release 1.36.

use serde_json::{Value, json};

/// Whoever proved who it is, and whoever did not.
const EVERYBODY: [&str; 2] = ["system:unauthenticated", "system:authenticated"];
/// Marks objects that the server keeps as they are shipped; who sets it to `false` keeps their own.
pub(crate) const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// All of them; levels before the schemas that name them.
pub(crate) fn objects() -> Vec<Value> {
    levels().into_iter().chain(schemas()).collect()
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}}, "spec": spec
    })
}

fn levels() -> Vec<Value> {
    let level = |name: &str, spec: Value| object("PriorityLevelConfiguration", name, &spec);
    let queued = |name: &str, shares: u32, lendable: u32, (queues, hand): (u32, u32)| {
        let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": 50});
        let response = json!({"type": "Queue", "queuing": queuing});
        let limited = json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
        level(name, json!({"type": "Limited", "limited": limited}))
    };
    let rejecting =
        json!({"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}});
    vec![
        level(
            "exempt",
            json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}),
        ),
        level("catch-all", json!({"type": "Limited", "limited": rejecting})),
        queued("system", 30, 33, (64, 6)),
        queued("node-high", 40, 25, (64, 6)),
        queued("leader-election", 10, 0, (16, 4)),
        queued("workload-high", 40, 50, (128, 6)),
        queued("workload-low", 100, 90, (128, 6)),
        queued("global-default", 20, 50, (128, 6)),
    ]
}

/// Everything that is asked.
fn anything() -> Value {
    json!({
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    })
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

/// One rule: what these subjects ask.
fn rule(subjects: Vec<Value>, mut asked: Value) -> Value {
    asked["subjects"] = Value::Array(subjects);
    asked
}

fn schemas() -> Vec<Value> {
    let schema = |name: &str, level: &str, precedence: u32, by: Option<&str>, rules: Vec<Value>| {
        let mut spec = json!({
            "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "rules": rules
        });
        if let Some(by) = by {
            spec["distinguisherMethod"] = json!({"type": by});
        }
        object("FlowSchema", name, &spec)
    };
    let (by_user, by_namespace) = (Some("ByUser"), Some("ByNamespace"));
    let everybody = || EVERYBODY.map(group).to_vec();
    let leases = json!({"resourceRules": [{
        "verbs": ["get", "create", "update"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]
    }]});
    let of_nodes = json!({"resourceRules": [
        {"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "clusterScope": true, "namespaces": ["*"]},
        {"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]}
    ]});
    let probes = json!({"nonResourceRules": [
        {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}
    ]});
    let accounts_of_system =
        json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}});
    let leaders =
        vec![user("system:kube-controller-manager"), user("system:kube-scheduler"), accounts_of_system];
    vec![
        schema("exempt", "exempt", 1, None, vec![rule(vec![group("system:masters")], anything())]),
        schema("probes", "exempt", 2, None, vec![rule(everybody(), probes)]),
        schema("system-leader-election", "leader-election", 100, by_user, vec![rule(leaders, leases)]),
        schema(
            "system-node-high",
            "node-high",
            400,
            by_user,
            vec![rule(vec![group("system:nodes")], of_nodes)],
        ),
        schema("system-nodes", "system", 500, by_user, vec![rule(vec![group("system:nodes")], anything())]),
        schema(
            "kube-controller-manager",
            "workload-high",
            800,
            by_namespace,
            vec![rule(vec![user("system:kube-controller-manager")], anything())],
        ),
        schema(
            "kube-scheduler",
            "workload-high",
            800,
            by_namespace,
            vec![rule(vec![user("system:kube-scheduler")], anything())],
        ),
        schema(
            "kube-system-service-accounts",
            "workload-high",
            900,
            by_namespace,
            vec![rule(vec![group("system:serviceaccounts:kube-system")], anything())],
        ),
        schema(
            "service-accounts",
            "workload-low",
            9000,
            by_user,
            vec![rule(vec![group("system:serviceaccounts")], anything())],
        ),
        schema("global-default", "global-default", 9900, by_user, vec![rule(everybody(), anything())]),
        schema("catch-all", "catch-all", 10_000, by_user, vec![rule(everybody(), anything())]),
    ]
}
