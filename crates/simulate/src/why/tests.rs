use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn cluster(nodes: &[Value], pods: &[Value]) -> Cluster {
    let mut cluster = Cluster::of_upstream();
    nodes.iter().for_each(|n| cluster.node(&serde_json::from_value(n.clone()).unwrap()));
    pods.iter().for_each(|p| cluster.pod(&serde_json::from_value(p.clone()).unwrap()));
    cluster
}

fn node(name: &str, cpu: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"zone": name}}, "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}}})
}

fn pod(name: &str, node: &str, cpu: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "d", "uid": name},
        "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
}

fn check(cluster: &mut Cluster, pod: &Value, expected: Expect) {
    let why = cluster.why(&serde_json::from_value(pod.clone()).unwrap());
    let lines = why.placing().into_iter().map(|l| format!("- {l}\n"));
    let changes = why.would_do().into_iter().map(|l| format!("> {l}\n"));
    expected.assert_eq(&lines.chain(changes).collect::<String>());
}

#[test]
fn a_placed_pod_is_told_why_there_and_what_comes_next() {
    let (there, other) = (pod("a", "n1", "1"), pod("b", "n1", "500m"));
    let mut cluster =
        cluster(&[node("n1", "4"), node("n2", "4"), node("n3", "500m")], &[there.clone(), other]);
    let before = cluster.snapshot.pods();
    check(
        &mut cluster,
        &there,
        expect![[r#"
        - n1: it is there; score 447 (NodeResourcesBalancedAllocation 69, NodeResourcesFit 78, TaintToleration 300), 2 of 3 nodes would do; next is n2 with 454
        - 1 node (n3): Insufficient cpu (NodeResourcesFit)
    "#]],
    );
    assert_eq!(cluster.snapshot.pods(), before, "asking changes nothing");
}

#[test]
fn a_pod_where_it_would_not_be_placed_again_is_told_so() {
    let there = pod("a", "n1", "1");
    let mut shrunk = node("n1", "500m");
    shrunk["spec"] = json!({"unschedulable": true});
    check(
        &mut cluster(&[shrunk, node("n2", "4")], std::slice::from_ref(&there)),
        &there,
        expect![[r#"
        - n1: it is there, but would not be placed there again now; 1 of 2 nodes would do
        - 1 node (n1): Insufficient cpu (NodeResourcesFit)
        - 1 node (n1): node(s) were unschedulable (NodeUnschedulable)
    "#]],
    );
}

#[test]
fn the_least_change_is_named_first_and_counts_the_nodes_it_opens() {
    let nodes = [node("n1", "1"), node("n2", "1800m"), node("n3", "1800m"), node("n4", "1900m")];
    check(
        &mut cluster(&nodes, &[pod("x", "n4", "1")]),
        &pod("new", "", "2"),
        expect![[r#"
        - 4 nodes (as n1): Insufficient cpu (NodeResourcesFit)
        > 2 nodes (as n2) would do with 200m less cpu
    "#]],
    );
}

#[test]
fn nobody_is_asked_about_a_gated_pod_but_it_hears_where_it_would_go() {
    let mut gated = pod("new", "", "1");
    gated["spec"]["schedulingGates"] = json!([{"name": "quota"}]);
    check(
        &mut cluster(&[node("n1", "4")], &[]),
        &gated,
        expect![[r#"
        - nothing is decided while it has scheduling gates: quota
        - n1: the rules of nodes would put it there now; score 454 (NodeResourcesBalancedAllocation 68, NodeResourcesFit 86, TaintToleration 300), 1 of 1 nodes would do
    "#]],
    );
}
