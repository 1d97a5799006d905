//! Decisions per second on one core: `cargo bench -p sched-plugins --bench decisions`.
//!
//! The first five rows are kube-scheduler's own scheduler_perf workloads at 5,000 nodes (test/integration/scheduler_perf:
//! nodes of 4 CPUs, 32 GiB and 110 pods; pods of 100m and 500 MiB; the pods placed before are as many as there). The last one
//! is 10,000 nodes of three sizes in three zones and 1,000 different templates of mixed kinds, in turn. Measured is
//! the time from a projected pod to its being counted on its node; parsing, queueing and binding are not in it.

// A program that measures needs a clock, arguments and an output.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use sched_core::{Decision, Interner, NodeFact, PodFact, Snapshot};
use sched_plugins::{Engine, Rules};
use serde_json::{Value, json};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";

fn main() {
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    println!(
        "{:<28} {:>6} {:>7} {:>7} {:>9} {:>9} {:>9} {:>9}",
        "workload", "nodes", "before", "pods", "pods/s", "p50 us", "p99 us", "max us"
    );
    for workload in workloads() {
        if only.as_ref().is_none_or(|name| workload.name.contains(name.as_str())) {
            workload.run();
        }
    }
}

/// What is placed where.
struct Workload {
    name: &'static str,
    nodes: Vec<Value>,
    before: Vec<Value>,
    pods: Vec<Value>,
}

fn workloads() -> impl Iterator<Item = Workload> {
    let names =
        ["mixed-1000", "basic", "topology-spreading", "node-affinity", "pod-affinity", "anti-affinity"];
    names.into_iter().map(|name| match name {
        "basic" => perf(name, 1, (1000, basic()), (10_000, basic())),
        "topology-spreading" => perf(name, 3, (5000, basic()), (5000, spreading())),
        "node-affinity" => perf(name, 1, (5000, basic()), (10_000, node_affinity())),
        "pod-affinity" => perf(name, 1, (5000, pod_affinity()), (5000, pod_affinity())),
        "anti-affinity" => perf(name, 1, (1000, anti_affinity()), (2000, anti_affinity())),
        _ => mixed(name),
    })
}

fn perf(name: &'static str, zones: usize, before: (usize, Value), pods: (usize, Value)) -> Workload {
    let node = |i: usize| {
        json!({
            "metadata": {"name": format!("node-{i}"), "labels": {
                HOSTNAME: format!("node-{i}"), ZONE: format!("zone{}", 1 + i % zones)}},
            "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}},
        })
    };
    let of = |namespace: &str, (count, template): (usize, Value)| -> Vec<Value> {
        (0..count).map(|i| named(&template, namespace, i)).collect()
    };
    let (before, pods) = (of("sched-setup", before), of("sched-test", pods));
    Workload { name, nodes: (0..5000).map(node).collect(), before, pods }
}

fn named(template: &Value, namespace: &str, i: usize) -> Value {
    let mut pod = template.clone();
    pod["metadata"]["namespace"] = json!(namespace);
    pod["metadata"]["name"] = json!(format!("pod-{i}"));
    // As long as a real one.
    pod["metadata"]["uid"] = json!(format!("{:08}-{i:04x}-4000-8000-{:012}", i % 1000, namespace.len()));
    pod
}

fn basic() -> Value {
    let requests = json!({"cpu": "100m", "memory": "500Mi"});
    json!({"metadata": {}, "spec": {"containers": [{"name": "pause", "resources": {"requests": requests}}]}})
}

fn labelled(color: &str) -> Value {
    let mut pod = basic();
    pod["metadata"]["labels"] = json!({"color": color});
    pod
}

fn spreading() -> Value {
    let mut pod = labelled("blue");
    pod["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 5, "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"color": "blue"}}}]);
    pod
}

fn node_affinity() -> Value {
    let mut pod = basic();
    pod["spec"]["affinity"] = in_zones(&["zone1", "zone2"]);
    pod
}

fn in_zones(zones: &[&str]) -> Value {
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": ZONE, "operator": "In", "values": zones}]}]}}})
}

fn term(label: (&str, &str), topology: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {label.0: label.1}}, "topologyKey": topology,
        "namespaces": ["sched-test", "sched-setup"]})
}

fn required(kind: &str, term: &Value) -> Value {
    json!({kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
}

fn pod_affinity() -> Value {
    let mut pod = labelled("blue");
    pod["spec"]["affinity"] = required("podAffinity", &term(("color", "blue"), ZONE));
    pod
}

fn anti_affinity() -> Value {
    let mut pod = labelled("green");
    pod["spec"]["affinity"] = required("podAntiAffinity", &term(("color", "green"), HOSTNAME));
    pod
}

/// What a kind adds to a template of an application.
type More = fn(&str) -> Value;

/// How many templates of each kind there are in a hundred.
const MIX: [(usize, More); 10] = [
    (30, |_| json!({})),
    // Owned pods spread by the scheduler's defaults, over hosts and zones.
    (
        20,
        |app| json!({"metadata": {"ownerReferences": [{"uid": format!("owner-{app}"), "controller": true}]}}),
    ),
    (15, |_| json!({"spec": {"affinity": in_zones(&["zone1", "zone2"])}})),
    (10, |app| json!({"spec": {"topologySpreadConstraints": [constraint(app, ZONE, "DoNotSchedule")]}})),
    (5, |app| json!({"spec": {"topologySpreadConstraints": [constraint(app, HOSTNAME, "ScheduleAnyway")]}})),
    (
        5,
        |_| json!({"spec": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "team", "operator": "Exists"}]}}),
    ),
    (5, |_| {
        json!({"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 20, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}}})
    }),
    (4, |app| json!({"spec": {"affinity": required("podAffinity", &term(("app", app), ZONE))}})),
    (3, |app| json!({"spec": {"affinity": required("podAntiAffinity", &term(("app", app), HOSTNAME))}})),
    (3, |app| {
        json!({"spec": {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": term(("app", app), HOSTNAME)}]}}}})
    }),
];

fn constraint(app: &str, topology: &str, otherwise: &str) -> Value {
    json!({"maxSkew": 5, "topologyKey": topology, "whenUnsatisfiable": otherwise,
        "labelSelector": {"matchLabels": {"app": app}}})
}

fn mixed(name: &'static str) -> Workload {
    let node = |i: usize| {
        let taints = if i % 20 == 7 {
            json!([{"key": "team", "value": "a", "effect": "NoSchedule"}])
        } else {
            json!([])
        };
        let (cpu, memory) = [("32", "128Gi"), ("64", "256Gi"), ("96", "384Gi")][i % 3];
        json!({
            "metadata": {"name": format!("node-{i:05}"), "labels": {
                HOSTNAME: format!("node-{i:05}"), ZONE: format!("zone{}", 1 + (i / 7) % 3), "rack": format!("r{}", i / 40),
                "topology.kubernetes.io/region": "region1", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
                "disk": if i.is_multiple_of(4) { "ssd" } else { "hdd" }, "node.kubernetes.io/instance-type": format!("m{cpu}")}},
            "spec": {"taints": taints},
            "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"}},
        })
    };
    let templates: Vec<Value> = (0..1000).map(template).collect();
    let pods = (0..100_000).map(|i| named(&templates[(i * 379) % 1000], "sched-test", i)).collect();
    Workload { name, nodes: (0..10_000).map(node).collect(), before: Vec::new(), pods }
}

fn template(i: usize) -> Value {
    let app = format!("app-{i}");
    let requests =
        json!({"cpu": format!("{}m", 50 + (i * 37) % 900), "memory": format!("{}Mi", 64 + (i * 53) % 4000)});
    let mut pod = json!({
        "metadata": {"labels": {"app": app, "tier": format!("t{}", i % 7)}},
        "spec": {"containers": [{"name": "main", "resources": {"requests": requests}}]},
    });
    let mut at = i % 100;
    for (share, more) in MIX {
        if at < share {
            merge(&mut pod, more(&app));
            break;
        }
        at -= share;
    }
    pod
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// Bytes this process has in memory, as Linux counts them.
fn resident() -> u64 {
    const PAGE: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE
}

impl Workload {
    fn run(self) {
        let (mut snapshot, mut interner, mut engine) =
            (Snapshot::new(), Interner::default(), Rules::upstream().engine());
        let start = resident();
        for node in &self.nodes {
            let node = serde_json::from_value(node.clone()).expect("a readable node");
            snapshot.set_node(NodeFact::of(&node));
        }
        let with_nodes = resident();
        let mut facts = |pods: &[Value]| -> Vec<Arc<PodFact>> {
            let read = |p: &Value| serde_json::from_value(p.clone()).expect("a readable pod");
            pods.iter().map(|p| Arc::new(interner.project(&read(p)))).collect()
        };
        for pod in facts(&self.before) {
            place(&mut engine, &mut snapshot, pod);
        }
        let pods = facts(&self.pods);
        let with_facts = resident();
        let mut times = Vec::with_capacity(pods.len());
        let begun = Instant::now();
        let placed = pods.into_iter().filter(|pod| {
            let begun = Instant::now();
            let placed = place(&mut engine, &mut snapshot, pod.clone());
            times.push(begun.elapsed());
            placed
        });
        let (placed, took) = (placed.count(), begun.elapsed());
        self.report(placed, took, times);
        let end = resident();
        if self.name.starts_with("mixed") {
            let (nodes, pods) = (self.nodes.len() as u64, self.pods.len() as u64);
            let facts = with_facts - with_nodes;
            println!(
                "  memory: {} B per node for objects, {} B per pod for its projection, {} B per node for all that is derived;\n  \
                 together {:.1} MiB where 4 KiB per node and 300 B per pod would be {:.1} MiB",
                (with_nodes - start) / nodes,
                facts / pods,
                (end - with_facts) / nodes,
                (end - start) as f64 / 1_048_576.0,
                (nodes * 4096 + pods * 300) as f64 / 1_048_576.0,
            );
        }
    }

    fn report(&self, placed: usize, took: Duration, mut times: Vec<Duration>) {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1000.0;
        println!(
            "{:<28} {:>6} {:>7} {:>7} {:>9.0} {:>9.1} {:>9.1} {:>9.1}{}",
            self.name,
            self.nodes.len(),
            self.before.len(),
            self.pods.len(),
            self.pods.len() as f64 / took.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(1.0),
            if placed == self.pods.len() { String::new() } else { format!("  placed {placed}") },
        );
    }
}

fn place(engine: &mut Engine, snapshot: &mut Snapshot, pod: Arc<PodFact>) -> bool {
    match engine.decide(snapshot, &pod) {
        Decision::Bind(placement) => {
            snapshot.assume(pod, &placement.node);
            true
        }
        Decision::Refused(_) => false,
    }
}
