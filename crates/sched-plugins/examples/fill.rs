//! Fills a cluster and says how long the decisions took: `cargo run --release -p sched-plugins --example fill -- 5000 10000`.

// A program that measures needs a clock and arguments.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::sync::Arc;

use sched_core::{Decision, Interner, NodeFact, Snapshot};
use sched_plugins::Rules;
use serde_json::json;

fn main() {
    let mut args = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let (nodes, pods) = (args.next().unwrap_or(5000), args.next().unwrap_or(10_000));
    let mut snapshot = Snapshot::new();
    for i in 0..nodes {
        let node = json!({
            "metadata": {"name": format!("n{i}"), "labels": {
                "kubernetes.io/hostname": format!("n{i}"), "topology.kubernetes.io/zone": format!("z{}", i % 3)}},
            "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"}},
        });
        snapshot.set_node(NodeFact::of(&serde_json::from_value(node).expect("a node")));
    }
    let (mut interner, mut engine) = (Interner::default(), Rules::upstream().engine());
    let wire: Vec<api_core::Pod> = (0..pods)
        .map(|i| {
            let workload = i % 20;
            let pod = json!({
                "metadata": {"name": format!("p{i}"), "namespace": "d", "uid": format!("u{i}"),
                    "labels": {"app": format!("a{workload}")},
                    "ownerReferences": [{"uid": format!("o{workload}"), "controller": true}]},
                "spec": {"containers": [{"name": "c", "resources":
                    {"requests": {"cpu": format!("{}m", 100 + workload * 10), "memory": "256Mi"}}}]},
            });
            serde_json::from_value(pod).expect("a pod")
        })
        .collect();
    let started = std::time::Instant::now();
    let mut placed = 0;
    for pod in &wire {
        let fact = interner.project(pod);
        if let Decision::Bind(p) = engine.decide(&mut snapshot, &fact) {
            placed += 1;
            snapshot.assume(Arc::new(fact), &p.node);
        }
    }
    let took = started.elapsed();
    println!(
        "{placed} of {pods} pods on {nodes} nodes in {took:?}, {:?} each",
        took / u32::try_from(pods.max(1)).unwrap_or(1)
    );
}
