//! More ways in which a pod can find no place, a sentence each.

use serde_json::{Value, json};

use crate::world::{World, merged, node, pod, requests};

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// One node, perhaps with a pod on it, and a pod that does not go there: the reason, and what preemption says.
fn check(node_more: Value, there: Option<Value>, pod_more: Value, reason: &str, preemption: &str) {
    let mut world = World::new(&[node("n1", node_more)]);
    if let Some(there) = there {
        world = world.with(&[pod("there", merged(there, json!({"spec": {"nodeName": "n1"}})))]);
    }
    let expected =
        format!("0/1 nodes are available: 1 {reason}. preemption: 0/1 nodes are available: 1 {preemption}.");
    assert_eq!(world.say(&pod("new", pod_more)), expected);
}

fn labels(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}})
}

fn node_terms(terms: Value) -> Value {
    json!({"spec": {"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}})
}

fn expression(key: &str, operator: &str, values: Value) -> Value {
    node_terms(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]))
}

fn pod_term(kind: &str, topology: &str, more: Value) -> Value {
    let term = merged(json!({"topologyKey": topology, "labelSelector": {"matchLabels": {"app": "x"}}}), more);
    json!({"spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}})
}

fn port(more: Value) -> Value {
    let port = merged(json!({"containerPort": 80, "hostPort": 80}), more);
    json!({"spec": {"containers": [{"name": "c", "ports": [port]}]}})
}

fn taint(effect: &str) -> Value {
    json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": effect}]}})
}

#[test]
fn labels_that_a_node_lacks() {
    const SAID: &str = "node(s) didn't match Pod's node affinity/selector";
    let check = |has: Value, pod: Value| check(labels(has), None, pod, SAID, NOT_HELPFUL);
    check(json!({}), json!({"spec": {"nodeSelector": {"disk": "ssd"}}}));
    check(json!({"disk": "hdd"}), expression("disk", "In", json!(["ssd", "nvme"])));
    check(json!({"disk": "hdd"}), expression("disk", "NotIn", json!(["hdd"])));
    check(json!({"disk": "hdd"}), expression("disk", "DoesNotExist", json!([])));
    check(json!({}), expression("disk", "Exists", json!([])));
    check(json!({"cores": "8"}), expression("cores", "Gt", json!(["8"])));
    check(json!({"cores": "many"}), expression("cores", "Lt", json!(["8"])));
    // A term without requirements matches nothing, and neither does one that cannot be read.
    check(json!({}), node_terms(json!([{}])));
    check(json!({}), expression("disk", "Odd", json!([])));
    // A field that keeps nodes away names none.
    let not_in = json!([{"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}]}]);
    check(json!({}), node_terms(not_in));
}

#[test]
fn taints_that_are_tolerated_only_in_part() {
    let said = "node(s) had untolerated taint {k: v}";
    let tolerates = |t: Value| json!({"spec": {"tolerations": [t]}});
    check(taint("NoExecute"), None, json!({}), said, NOT_HELPFUL);
    let effect = tolerates(json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"}));
    check(taint("NoExecute"), None, effect, said, NOT_HELPFUL);
    check(taint("NoSchedule"), None, tolerates(json!({"key": "k", "value": "w"})), said, NOT_HELPFUL);
    check(taint("NoSchedule"), None, tolerates(json!({"key": "l", "operator": "Exists"})), said, NOT_HELPFUL);
}

#[test]
fn room_that_only_the_whole_pod_lacks() {
    let small = json!({"status": {"allocatable": {"cpu": "1", "nvidia.com/gpu": "0"}}});
    let init = json!({"spec": {"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "2"}}}]}});
    check(small.clone(), None, init, "Insufficient cpu", NOT_HELPFUL);
    let overhead = merged(requests(json!({"cpu": "900m"})), json!({"spec": {"overhead": {"cpu": "200m"}}}));
    check(small.clone(), None, overhead, "Insufficient cpu", NOT_HELPFUL);
    let gpu = requests(json!({"nvidia.com/gpu": "1"}));
    check(small.clone(), None, gpu, "Insufficient nvidia.com/gpu", NOT_HELPFUL);
    let half = requests(json!({"cpu": "600m"}));
    check(small, Some(half.clone()), half, "Insufficient cpu", NO_VICTIMS);
}

#[test]
fn ports_that_clash_by_address() {
    const SAID: &str = "node(s) didn't have free ports for the requested pod ports";
    check(json!({}), Some(port(json!({}))), port(json!({"hostIP": "10.0.0.1"})), SAID, NO_VICTIMS);
    check(json!({}), Some(port(json!({"hostIP": "10.0.0.1"}))), port(json!({})), SAID, NO_VICTIMS);
    let mut world = World::new(&[node("n1", json!({}))])
        .with(&[pod("there", merged(port(json!({})), json!({"spec": {"nodeName": "n1"}})))]);
    assert_eq!(world.say(&pod("new", port(json!({"protocol": "UDP"})))), "n1");
}

#[test]
fn pods_that_are_there_or_are_not() {
    let x = || Some(labels(json!({"app": "x"})));
    let host = "kubernetes.io/hostname";
    let near = "node(s) didn't match pod affinity rules";
    // In another namespace, on a node without the label, matched by no selector.
    check(json!({}), x(), pod_term("podAffinity", host, json!({"namespaces": ["other"]})), near, NOT_HELPFUL);
    check(json!({}), x(), pod_term("podAffinity", "rack", json!({})), near, NOT_HELPFUL);
    check(json!({}), x(), pod_term("podAffinity", host, json!({"labelSelector": null})), near, NOT_HELPFUL);
    let apart = "node(s) didn't match pod anti-affinity rules";
    let anywhere = json!({"namespaceSelector": {}});
    check(json!({}), x(), pod_term("podAntiAffinity", host, anywhere), apart, NO_VICTIMS);
    let theirs = Some(pod_term("podAntiAffinity", host, json!({})));
    let against = "node(s) didn't satisfy existing pods anti-affinity rules";
    check(json!({}), theirs, labels(json!({"app": "x"})), against, NO_VICTIMS);
}

#[test]
fn spreading_over_what_is_not_there() {
    let spread = |topology: &str, more: Value| {
        let c = json!({"maxSkew": 1, "topologyKey": topology, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "x"}}});
        merged(labels(json!({"app": "x"})), json!({"spec": {"topologySpreadConstraints": [merged(c, more)]}}))
    };
    let missing = "node(s) didn't match pod topology spread constraints (missing required label)";
    check(json!({}), None, spread("rack", json!({})), missing, NOT_HELPFUL);
    let uneven = "node(s) didn't match pod topology spread constraints";
    let there = || Some(labels(json!({"app": "x"})));
    check(json!({}), there(), spread("kubernetes.io/hostname", json!({"minDomains": 2})), uneven, NO_VICTIMS);
}
