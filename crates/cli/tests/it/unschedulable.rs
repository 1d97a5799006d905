//! Ways in which a pod can find no place, as people see them: the pod's condition, the event, and what `knarr why` makes of it.

use api_client::{Patch, WriteOptions};
use api_meta::Resource;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::fixture::World;

const NODES: Resource = Resource::cluster("", "v1", "nodes", "Node");
const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");
const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
const CLASSES: Resource = Resource::cluster("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass");
const CLAIMS: Resource = Resource::namespaced("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim");
const QUOTAS: Resource =
    Resource::namespaced("scheduling.sigs.k8s.io", "v1alpha1", "elasticquotas", "ElasticQuota");
const DEFINITIONS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");
const EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");

/// A cluster with a scheduler and nothing else that acts.
struct Place {
    world: World,
}

impl Place {
    async fn new(name: &str) -> Place {
        Place { world: World::scheduled(&format!("unschedulable-{name}")).await }
    }

    async fn put(&self, resource: &Resource, mut object: Value) {
        object["apiVersion"] = json!(resource.api_version());
        object["kind"] = json!(&*resource.kind);
        let (client, options) = (self.world.client(), WriteOptions::default());
        let namespace = if ["Pod", "ElasticQuota", "PersistentVolumeClaim"].contains(&&*resource.kind) {
            "default"
        } else {
            ""
        };
        let _: Value = client.create(resource, namespace, &object, &options).await.unwrap();
        if resource.kind == "Node" {
            let key = ("", object["metadata"]["name"].as_str().unwrap());
            let status = Patch::Merge(json!({"status": object["status"]}));
            let _: Value = client.patch(resource, key, "status", &status, &options).await.unwrap();
            // A new node is tainted until it is ready, which is not what is asked about here.
            let taints = object["spec"]["taints"].as_array().cloned().unwrap_or_default();
            let ready = Patch::Merge(json!({"spec": {"taints": taints}}));
            let _: Value = client.patch(resource, key, "", &ready, &options).await.unwrap();
        }
    }

    async fn with(self, nodes: &[Value], pods: &[Value]) -> Place {
        for node in nodes {
            self.put(&NODES, node.clone()).await;
        }
        for pod in pods {
            self.put(&PODS, pod.clone()).await;
        }
        self.world.pass(2).await;
        self
    }

    /// What is said of a pod, and which node it got if it got one after all.
    async fn say(&self, pod: Value) -> String {
        self.put(&PODS, pod).await;
        self.world.pass(5).await;
        let pod: Value = self.world.client().get(&PODS, "default", "new").await.unwrap();
        if let Some(node) = pod["spec"]["nodeName"].as_str() {
            return format!("bound to {node}\n");
        }
        let condition =
            pod["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "PodScheduled");
        let condition = condition.expect("the scheduler has said something");
        let message = condition["message"].as_str().unwrap();
        let events =
            self.world.client().list::<Value>(&EVENTS, "default", &Default::default()).await.unwrap();
        let mut told = events.items.iter().filter(|e| e["reason"] == "FailedScheduling").peekable();
        // Of several refusals the condition has the last one.
        let is_told = told.peek().is_none() || told.any(|e| e["message"] == *message);
        assert!(is_told, "event and condition say the same: {message}");
        let why: Value = serde_json::from_str(&self.world.out("why pod/new -o json").await).unwrap();
        let lines = |field: &str, mark: &str| -> String {
            let lines = why[field].as_array().into_iter().flatten().filter_map(Value::as_str);
            lines.map(|line| format!("{mark} {line}\n")).collect()
        };
        let advice = lines("canDo", ">").replace(
            "> make room, add nodes that fit, or ask for less: the scheduler's reason is above\n",
            "",
        );
        format!("{}: {message}\n{}{advice}", condition["reason"].as_str().unwrap(), lines("placing", "-"))
    }
}

async fn check(name: &str, nodes: &[Value], pods: &[Value], new: Value, expected: Expect) {
    let said = Place::new(name).await.with(nodes, pods).await.say(pod("new", new)).await;
    expected.assert_eq(&said);
}

fn merged(mut into: Value, more: Value) -> Value {
    match (&mut into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                let old = into.remove(&key).unwrap_or(Value::Null);
                into.insert(key, merged(old, value));
            }
        }
        (into, more) => *into = more,
    }
    into
}

/// A node of 4 CPUs, 8 GiB and 10 pods.
fn node(name: &str, more: Value) -> Value {
    let amounts = json!({"cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi", "pods": "10"});
    merged(
        json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "status": {"allocatable": amounts, "capacity": amounts}}),
        more,
    )
}

fn labelled(name: &str, labels: Value) -> Value {
    node(name, json!({"metadata": {"labels": labels}}))
}

fn tainted(name: &str, key: &str, value: &str, effect: &str) -> Value {
    node(name, json!({"spec": {"taints": [{"key": key, "value": value, "effect": effect}]}}))
}

fn room(name: &str, amounts: Value) -> Value {
    node(name, json!({"status": {"allocatable": amounts}}))
}

fn pod(name: &str, more: Value) -> Value {
    merged(
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}),
        more,
    )
}

fn container(more: Value) -> Value {
    json!({"spec": {"containers": [merged(json!({"name": "c", "image": "x"}), more)]}})
}

fn asks(requests: Value) -> Value {
    let mut resources = json!({"requests": requests});
    // Extended resources and huge pages are requested by their limits.
    let extended: serde_json::Map<String, Value> = requests
        .as_object()
        .unwrap()
        .iter()
        .filter(|(k, _)| k.contains('/') || k.starts_with("hugepages"))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    if !extended.is_empty() {
        resources["limits"] = Value::Object(extended);
    }
    container(json!({"resources": resources}))
}

fn on(node: &str) -> Value {
    json!({"spec": {"nodeName": node}})
}

fn app(name: &str, at: &str) -> Value {
    pod(name, merged(json!({"metadata": {"labels": {"app": "x"}}}), on(at)))
}

fn zoned(name: &str, zone: &str) -> Value {
    labelled(name, json!({"zone": zone}))
}

#[tokio::test(start_paused = true)]
async fn room_that_is_missing_is_counted_and_measured() {
    check(
        "none",
        &[],
        &[],
        json!({}),
        expect![[r#"
        Unschedulable: no nodes available to schedule pods
    "#]],
    )
    .await;
    let nodes = [room("n1", json!({"cpu": "1"})), room("n2", json!({"cpu": "1800m"})), node("n3", json!({}))];
    let full = [pod("full", merged(asks(json!({"cpu": "3"})), on("n3")))];
    check("cpu", &nodes, &full, asks(json!({"cpu": "2"})), expect![[r#"
        Unschedulable: 0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.
        - 3 nodes (as n1): Insufficient cpu (NodeResourcesFit)
        > 1 node (n2) would do with 200m less cpu
    "#]]).await;
    check(
        "memory",
        &[node("n1", json!({})), node("n2", json!({}))],
        &[],
        asks(json!({"memory": "9Gi"})),
        expect![[r#"
            Unschedulable: 0/2 nodes are available: 2 Insufficient memory. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.
            - 2 nodes (as n1): Insufficient memory (NodeResourcesFit)
            > 2 nodes (as n1) would do with 1Gi less memory
        "#]],
    )
    .await;
    check("storage", &[node("n1", json!({}))], &[], asks(json!({"ephemeral-storage": "10752Mi"})), expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 Insufficient ephemeral-storage. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (n1): Insufficient ephemeral-storage (NodeResourcesFit)
        > 1 node (n1) would do with 512Mi less ephemeral-storage
    "#]])
        .await;
    let gpus = [
        room("g1", json!({"nvidia.com/gpu": "2"})),
        room("g2", json!({"nvidia.com/gpu": "4"})),
        node("n1", json!({})),
    ];
    check("extended", &gpus, &[], asks(json!({"nvidia.com/gpu": "5"})), expect![[r#"
        Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        - 3 nodes (as g1): Insufficient nvidia.com/gpu (NodeResourcesFit)
        > 1 node (g2) would do with 1 less nvidia.com/gpu
    "#]]).await;
    check(
        "hugepages",
        &[room("n1", json!({"hugepages-2Mi": "64Mi"}))],
        &[],
        asks(json!({"hugepages-2Mi": "128Mi", "memory": "1Gi"})),
        expect![[r#"
            Unschedulable: 0/1 nodes are available: 1 Insufficient hugepages-2Mi. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
            - 1 node (n1): Insufficient hugepages-2Mi (NodeResourcesFit)
            > 1 node (n1) would do with 64Mi less hugepages-2Mi
        "#]],
    )
    .await;
    let all = json!({"cpu": "5", "memory": "9Gi", "ephemeral-storage": "11Gi", "nvidia.com/gpu": "1"});
    check("several", &[node("n1", json!({}))], &[], asks(all), expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient ephemeral-storage, 1 Insufficient memory, 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (n1): Insufficient cpu, Insufficient memory, Insufficient ephemeral-storage, Insufficient nvidia.com/gpu (NodeResourcesFit)
        > 1 node (n1) would do with 1 less cpu, with 1Gi less ephemeral-storage, with 1Gi less memory and with 1 less nvidia.com/gpu
    "#]]).await;
    let small = [room("n1", json!({"pods": "1"})), room("n2", json!({"pods": "0"}))];
    check("pods", &small, &[pod("a", on("n1"))], json!({}), expect![[r#"
        Unschedulable: 0/2 nodes are available: 2 Too many pods. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.
        - 2 nodes (as n1): Too many pods (NodeResourcesFit)
        > 2 nodes (as n1) would do with one pod less on it
    "#]]).await;
    let init = json!({"spec": {"initContainers": [{"name": "i", "image": "x", "resources": {"requests": {"cpu": "6"}}}]}});
    check("init", &[node("n1", json!({}))], &[], init, expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (n1): Insufficient cpu (NodeResourcesFit)
        > 1 node (n1) would do with 2 less cpu
    "#]]).await;
    let sidecar = json!({"name": "s", "image": "x", "restartPolicy": "Always", "resources": {"requests": {"cpu": "3"}}});
    let beside = merged(asks(json!({"cpu": "2"})), json!({"spec": {"initContainers": [sidecar]}}));
    check("sidecar", &[node("n1", json!({}))], &[], beside, expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (n1): Insufficient cpu (NodeResourcesFit)
        > 1 node (n1) would do with 1 less cpu
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_keep_pods_away_say_by_what() {
    let cordoned = |name: &str| node(name, json!({"spec": {"unschedulable": true}}));
    check("cordoned", &[cordoned("n1"), cordoned("n2")], &[], json!({}), expect![[r#"
        Unschedulable: 0/2 nodes are available: 2 node(s) were unschedulable. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.
        - 2 nodes (as n1): node(s) were unschedulable (NodeUnschedulable)
        > 2 nodes (as n1) would do if open again: kubectl uncordon n1
    "#]]).await;
    check(
        "taint",
        &[tainted("n1", "gpu", "yes", "NoSchedule"), tainted("n2", "gpu", "yes", "NoSchedule")],
        &[],
        json!({}),
        expect![[r#"
            Unschedulable: 0/2 nodes are available: 2 node(s) had untolerated taint {gpu: yes}. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.
            - 2 nodes (as n1): node(s) had untolerated taint {gpu: yes} (TaintToleration)
            > 2 nodes (as n1) would do if it tolerated taint gpu=yes:NoSchedule
        "#]],
    )
    .await;
    let tolerates =
        json!({"spec": {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]}});
    check("no-execute", &[tainted("n1", "gpu", "yes", "NoExecute")], &[], tolerates, expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (n1): node(s) had untolerated taint {gpu: yes} (TaintToleration)
        > 1 node (n1) would do if it tolerated taint gpu=yes:NoExecute
    "#]]).await;
    let nodes =
        [tainted("n1", "gpu", "yes", "NoSchedule"), tainted("n2", "disk", "", "NoSchedule"), cordoned("n3")];
    check("taints", &nodes, &[], json!({}), expect![[r#"
        Unschedulable: 0/3 nodes are available: 1 node(s) had untolerated taint {disk: }, 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        - 1 node (n3): node(s) were unschedulable (NodeUnschedulable)
        - 1 node (n2): node(s) had untolerated taint {disk: } (TaintToleration)
        - 1 node (n1): node(s) had untolerated taint {gpu: yes} (TaintToleration)
        > 1 node (n2) would do if it tolerated taint disk:NoSchedule
        > 1 node (n1) would do if it tolerated taint gpu=yes:NoSchedule
        > 1 node (n3) would do if open again: kubectl uncordon n3
    "#]]).await;
    let twice = node(
        "n1",
        json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoExecute"}]}}),
    );
    check("two-taints", &[twice], &[], json!({}), expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint {a: }. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (n1): node(s) had untolerated taint {a: } (TaintToleration)
        > 1 node (n1) would do if it tolerated taint a:NoSchedule and if it tolerated taint b:NoExecute
    "#]]).await;
    let port = |more: Value| {
        container(json!({"ports": [merged(json!({"containerPort": 80, "hostPort": 80}), more)]}))
    };
    let nodes = [node("n1", json!({})), node("n2", json!({}))];
    let taken = [pod("a", merged(port(json!({})), on("n1"))), pod("b", merged(port(json!({})), on("n2")))];
    check("port", &nodes, &taken, port(json!({})), expect![[r#"
        Unschedulable: 0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.
        - 2 nodes (as n1): node(s) didn't have free ports for the requested pod ports (NodePorts)
        > 2 nodes (as n1) would do with host port 80/TCP free
    "#]]).await;
    check("port-of-all", &nodes[..1], &taken[..1], port(json!({"hostIP": "127.0.0.1"})), expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.
        - 1 node (n1): node(s) didn't have free ports for the requested pod ports (NodePorts)
        > 1 node (n1) would do with host port 80/TCP free
    "#]]).await;
    check(
        "port-udp",
        &nodes[..1],
        &taken[..1],
        port(json!({"protocol": "UDP"})),
        expect![[r#"
        bound to n1
    "#]],
    )
    .await;
}

fn node_terms(terms: Value) -> Value {
    json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}})
}

fn expression(key: &str, operator: &str, values: Value) -> Value {
    node_terms(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]))
}

#[tokio::test(start_paused = true)]
async fn labels_that_nodes_lack_are_named() {
    let nodes = [
        labelled("n1", json!({"disk": "hdd"})),
        node("n2", json!({})),
        labelled("n3", json!({"disk": "hdd", "cores": "8"})),
    ];
    check("selector", &nodes, &[], json!({"spec": {"nodeSelector": {"disk": "ssd"}}}), expect![[r#"
        Unschedulable: 0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        - 3 nodes (as n1): node(s) didn't match Pod's node affinity/selector (NodeAffinity)
        > 3 nodes (as n1) would do with label disk=ssd
    "#]]).await;
    check("in", &nodes, &[], expression("disk", "In", json!(["ssd", "nvme"])), expect![[r#"
        Unschedulable: 0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        - 3 nodes (as n1): node(s) didn't match Pod's node affinity/selector (NodeAffinity)
        > 3 nodes (as n1) would do with label disk in (ssd,nvme)
    "#]]).await;
    check("not-in", &nodes[..1], &[], expression("disk", "NotIn", json!(["hdd"])), expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (n1): node(s) didn't match Pod's node affinity/selector (NodeAffinity)
        > 1 node (n1) would do with label disk!=hdd
    "#]]).await;
    check("exists", &nodes, &[], expression("rack", "Exists", json!([])), expect![[r#"
        Unschedulable: 0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        - 3 nodes (as n1): node(s) didn't match Pod's node affinity/selector (NodeAffinity)
        > 3 nodes (as n1) would do with label rack
    "#]]).await;
    check("absent", &nodes[..1], &[], expression("disk", "DoesNotExist", json!([])), expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (n1): node(s) didn't match Pod's node affinity/selector (NodeAffinity)
        > 1 node (n1) would do without label disk
    "#]]).await;
    check("greater", &nodes, &[], expression("cores", "Gt", json!(["8"])), expect![[r#"
        Unschedulable: 0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        - 3 nodes (as n1): node(s) didn't match Pod's node affinity/selector (NodeAffinity)
        > 3 nodes (as n1) would do with label cores>8
    "#]]).await;
    let alternatives = json!([
        {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}, {"key": "rack", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["4"]}]},
    ]);
    check("alternatives", &nodes, &[], node_terms(alternatives), expect![[r#"
        Unschedulable: 0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        - 3 nodes (as n1): node(s) didn't match Pod's node affinity/selector (NodeAffinity)
        > 3 nodes (as n1) would do with label cores<4
    "#]]).await;
    let named = |names: Value| json!({"key": "metadata.name", "operator": "In", "values": names});
    let pinned = node_terms(json!([{"matchFields": [named(json!(["n2"]))]}]));
    check("pinned", &nodes, &[], merged(asks(json!({"cpu": "5"})), pinned), expect![[r#"
        Unschedulable: 0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        - 3 nodes (as n1): Insufficient cpu (NodeResourcesFit)
        - 2 nodes (as n1): node(s) didn't satisfy plugin(s) [NodeAffinity] (NodeAffinity)
        > 1 node (n2) would do with 1 less cpu
        > 2 nodes (as n1) would do with 1 less cpu and if it did not name other nodes
    "#]]).await;
}

fn spread(constraints: Value) -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"topologySpreadConstraints": constraints}})
}

fn over(topology: &str, more: Value) -> Value {
    let constraint = json!({"maxSkew": 1, "topologyKey": topology, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "x"}}});
    merged(constraint, more)
}

#[tokio::test(start_paused = true)]
async fn spreading_that_cannot_be_kept_says_how_much_would_do() {
    let mut nodes = vec![zoned("a1", "a"), zoned("b1", "b")];
    nodes[1]["spec"] = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
    let there = [app("p1", "a1"), app("p2", "a1")];
    check("uneven", &nodes, &there, spread(json!([over("zone", json!({}))])), expect![[r#"
        Unschedulable: 0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) had untolerated taint {k: }. preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.
        - 1 node (a1): node(s) didn't match pod topology spread constraints (PodTopologySpread)
        - 1 node (b1): node(s) had untolerated taint {k: } (TaintToleration)
        > 1 node (b1) would do if it tolerated taint k:NoSchedule
        > 1 node (a1) would do with maxSkew 3 over zone
    "#]]).await;
    nodes.push(node("lost", json!({})));
    check("missing-label", &nodes, &there[..1], spread(json!([over("zone", json!({}))])), expect![[r#"
        Unschedulable: 0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) didn't match pod topology spread constraints (missing required label), 1 node(s) had untolerated taint {k: }. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.
        - 1 node (a1): node(s) didn't match pod topology spread constraints (PodTopologySpread)
        - 1 node (lost): node(s) didn't match pod topology spread constraints (missing required label) (PodTopologySpread)
        - 1 node (b1): node(s) had untolerated taint {k: } (TaintToleration)
        > 1 node (b1) would do if it tolerated taint k:NoSchedule
        > 1 node (lost) would do with label zone
        > 1 node (a1) would do with maxSkew 2 over zone
    "#]]).await;
    let one = [zoned("a1", "a")];
    check(
        "min-domains",
        &one,
        &there[..1],
        spread(json!([over("zone", json!({"minDomains": 2}))])),
        expect![[r#"
            Unschedulable: 0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.
            - 1 node (a1): node(s) didn't match pod topology spread constraints (PodTopologySpread)
            > 1 node (a1) would do with maxSkew 2 over zone
        "#]],
    )
    .await;
    let both = spread(json!([over("zone", json!({})), over("kubernetes.io/hostname", json!({}))]));
    check("two-constraints", &nodes, &there, both, expect![[r#"
        Unschedulable: 0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) didn't match pod topology spread constraints (missing required label), 1 node(s) had untolerated taint {k: }. preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.
        - 1 node (a1): node(s) didn't match pod topology spread constraints (PodTopologySpread)
        - 1 node (lost): node(s) didn't match pod topology spread constraints (missing required label) (PodTopologySpread)
        - 1 node (b1): node(s) had untolerated taint {k: } (TaintToleration)
        > 1 node (b1) would do if it tolerated taint k:NoSchedule
        > 1 node (lost) would do with label zone
        > 1 node (a1) would do if it need not be spread over kubernetes.io/hostname and if it need not be spread over zone
    "#]]).await;
}

fn affinity(kind: &str, topology: &str, more: Value) -> Value {
    let term = merged(json!({"topologyKey": topology, "labelSelector": {"matchLabels": {"app": "x"}}}), more);
    json!({"spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}})
}

#[tokio::test(start_paused = true)]
async fn pods_that_must_be_near_or_apart_name_each_other() {
    let nodes = [zoned("a1", "a"), zoned("b1", "b"), node("lost", json!({}))];
    check("near-nobody", &nodes[..2], &[], affinity("podAffinity", "zone", json!({})), expect![[r#"
        Unschedulable: 0/2 nodes are available: 2 node(s) didn't match pod affinity rules. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.
        - 2 nodes (as a1): node(s) didn't match pod affinity rules (InterPodAffinity)
        > 2 nodes (as a1) would do with a pod with app=x in its zone
    "#]]).await;
    let first =
        merged(affinity("podAffinity", "zone", json!({})), json!({"metadata": {"labels": {"app": "x"}}}));
    check("near-without-domain", &nodes[2..], &[], first, expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 node(s) didn't match pod affinity rules. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (lost): node(s) didn't match pod affinity rules (InterPodAffinity)
        > 1 node (lost) would do with label zone
    "#]]).await;
    let full = [app("p1", "a1"), pod("big", merged(asks(json!({"cpu": "3"})), on("a1")))];
    check(
        "near-but-full",
        &nodes[..2],
        &full,
        merged(affinity("podAffinity", "zone", json!({})), asks(json!({"cpu": "2"}))),
        expect![[r#"
            Unschedulable: 0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod affinity rules. preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.
            - 1 node (b1): node(s) didn't match pod affinity rules (InterPodAffinity)
            - 1 node (a1): Insufficient cpu (NodeResourcesFit)
            > 1 node (a1) would do with 1 less cpu
            > 1 node (b1) would do with a pod with app=x in its zone
        "#]],
    )
    .await;
    let there = [app("p1", "a1"), app("p2", "b1")];
    check("apart", &nodes[..2], &there, affinity("podAntiAffinity", "zone", json!({})), expect![[r#"
        Unschedulable: 0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.
        - 2 nodes (as a1): node(s) didn't match pod anti-affinity rules (InterPodAffinity)
        > 2 nodes (as a1) would do without a pod with app=x in its zone
    "#]]).await;
    let loner =
        |name: &str, at: &str| pod(name, merged(affinity("podAntiAffinity", "zone", json!({})), on(at)));
    let labelled = json!({"metadata": {"labels": {"app": "x"}}});
    check("kept-away", &nodes[..2], &[loner("l1", "a1"), loner("l2", "b1")], labelled.clone(), expect![[r#"
        Unschedulable: 0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.
        - 2 nodes (as a1): node(s) didn't satisfy existing pods anti-affinity rules (InterPodAffinity)
        > 1 node (a1) would do if pod default/l1 did not keep it away
        > 1 node (b1) would do if pod default/l2 did not keep it away
    "#]])
        .await;
    let both = merged(affinity("podAntiAffinity", "zone", json!({})), labelled);
    check("both-ways", &nodes[..2], &[loner("l1", "a1"), app("p2", "b1")], both, expect![[r#"
        Unschedulable: 0/2 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 1 node(s) didn't satisfy existing pods anti-affinity rules. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.
        - 1 node (b1): node(s) didn't match pod anti-affinity rules (InterPodAffinity)
        - 1 node (a1): node(s) didn't satisfy existing pods anti-affinity rules (InterPodAffinity)
        > 1 node (b1) would do without a pod with app=x in its zone
        > 1 node (a1) would do if pod default/l1 did not keep it away
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn anti_affinity_reaches_into_chosen_namespaces() {
    let place = Place::new("namespaces").await;
    place.put(&NAMESPACES, json!({"metadata": {"name": "other", "labels": {"team": "blue"}}})).await;
    let place = place.with(&[zoned("a1", "a")], &[]).await;
    let mut there = app("p1", "a1");
    there["metadata"]["namespace"] = json!("other");
    there["apiVersion"] = json!("v1");
    there["kind"] = json!("Pod");
    let options = WriteOptions::default();
    let _: Value = place.world.client().create(&PODS, "other", &there, &options).await.unwrap();
    place.world.pass(2).await;
    let chosen =
        affinity("podAntiAffinity", "zone", json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}}));
    expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.
        - 1 node (a1): node(s) didn't match pod anti-affinity rules (InterPodAffinity)
        > 1 node (a1) would do without a pod with app=x in its zone
    "#]].assert_eq(&place.say(pod("new", chosen)).await);
}

#[tokio::test(start_paused = true)]
async fn mixed_clusters_give_every_group_its_count() {
    let nodes = [
        tainted("n1", "knarr.dev/runtime", "process", "NoSchedule"),
        node("n2", json!({"metadata": {"labels": {"disk": "ssd"}}, "status": {"allocatable": {"cpu": "1"}}})),
        node(
            "n3",
            json!({"metadata": {"labels": {"disk": "ssd"}}, "status": {"allocatable": {"cpu": "1500m"}}}),
        ),
        labelled("n4", json!({"disk": "hdd"})),
        node("n5", json!({"spec": {"unschedulable": true}})),
        node(
            "n6",
            json!({"metadata": {"labels": {"disk": "ssd"}}, "status": {"allocatable": {"pods": "0"}}}),
        ),
    ];
    let new = merged(asks(json!({"cpu": "2"})), json!({"spec": {"nodeSelector": {"disk": "ssd"}}}));
    check("mix", &nodes, &[], new, expect![[r#"
        Unschedulable: 0/6 nodes are available: 1 Too many pods, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {knarr.dev/runtime: process}, 1 node(s) were unschedulable, 2 Insufficient cpu. preemption: 0/6 nodes are available: 1 No preemption victims found for incoming pod, 5 Preemption is not helpful for scheduling.
        - 3 nodes (as n1): node(s) didn't match Pod's node affinity/selector (NodeAffinity)
        - 2 nodes (as n2): Insufficient cpu (NodeResourcesFit)
        - 1 node (n6): Too many pods (NodeResourcesFit)
        - 1 node (n5): node(s) were unschedulable (NodeUnschedulable)
        - 1 node (n1): node(s) had untolerated taint {knarr.dev/runtime: process} (TaintToleration)
        > 1 node (n3) would do with 500m less cpu
        > 1 node (n6) would do with one pod less on it
        > 1 node (n4) would do with label disk=ssd
    "#]]).await;
    let lacks_two =
        node("n1", json!({"spec": {"unschedulable": true}, "status": {"allocatable": {"cpu": "1"}}}));
    check("two-needs", &[lacks_two], &[], asks(json!({"cpu": "2"})), expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - 1 node (n1): Insufficient cpu (NodeResourcesFit)
        - 1 node (n1): node(s) were unschedulable (NodeUnschedulable)
        > 1 node (n1) would do with 1 less cpu and if open again: kubectl uncordon n1
    "#]]).await;
    let gated = json!({"spec": {"schedulingGates": [{"name": "example.com/quota"}]}});
    check(
        "gates",
        &[node("n1", json!({}))],
        &[],
        gated,
        expect![[r#"
            SchedulingGated: Scheduling is blocked due to non-empty scheduling gates
            - nothing is decided while it has scheduling gates: example.com/quota
            - n1: the rules of nodes would put it there now; score 397 (NodeResourcesFit 97, TaintToleration 300), 1 of 1 nodes would do
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_may_not_preempt_is_told_so() {
    let place = Place::new("never-preempts").await;
    let class = json!({"metadata": {"name": "patient"}, "value": 1000, "preemptionPolicy": "Never"});
    place.put(&CLASSES, class).await;
    let full = pod("full", merged(asks(json!({"cpu": "3"})), on("n1")));
    let place = place.with(&[node("n1", json!({}))], &[full]).await;
    let new = merged(asks(json!({"cpu": "2"})), json!({"spec": {"priorityClassName": "patient"}}));
    expect![[r#"
        Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.
        - 1 node (n1): Insufficient cpu (NodeResourcesFit)
        > 1 node (n1) would do with 1 less cpu
    "#]].assert_eq(&place.say(pod("new", new)).await);
}

#[tokio::test(start_paused = true)]
async fn who_outranks_others_waits_for_their_room_and_says_so() {
    let place = Place::new("preempts").await;
    place.put(&CLASSES, json!({"metadata": {"name": "urgent"}, "value": 1000})).await;
    let leaving = json!({"spec": {"terminationGracePeriodSeconds": 60}});
    let full =
        |name: &str, at: &str| pod(name, merged(merged(asks(json!({"cpu": "3"})), on(at)), leaving.clone()));
    let nodes = [node("n1", json!({})), room("n2", json!({"cpu": "1"}))];
    let place = place.with(&nodes, &[full("full", "n1")]).await;
    let new = merged(asks(json!({"cpu": "2"})), json!({"spec": {"priorityClassName": "urgent"}}));
    expect![[r#"
        Unschedulable: 0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated node.
        - 2 nodes (as n1): Insufficient cpu (NodeResourcesFit)
        > 2 nodes (as n1) would do with 1 less cpu
    "#]].assert_eq(&place.say(pod("new", new)).await);
    let new: Value = place.world.client().get(&PODS, "default", "new").await.unwrap();
    let victim: Value = place.world.client().get(&PODS, "default", "full").await.unwrap();
    assert_eq!(new["status"]["nominatedNodeName"], "n1");
    assert!(victim["metadata"]["deletionTimestamp"].is_string(), "the victim is on its way out");
}

#[tokio::test(start_paused = true)]
async fn storage_that_is_not_there_is_named() {
    let wants =
        json!({"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}});
    check("no-claim", &[node("n1", json!({}))], &[], wants.clone(), expect![[r#"
        Unschedulable: 0/1 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - n1: the rules of nodes would put it there now; score 397 (NodeResourcesFit 97, TaintToleration 300), 1 of 1 nodes would do
    "#]]).await;
    let place = Place::new("unbound-claim").await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}});
    place.put(&CLAIMS, json!({"metadata": {"name": "data", "namespace": "default"}, "spec": spec})).await;
    let place = place.with(&[node("n1", json!({}))], &[]).await;
    expect![[r#"
        Unschedulable: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - n1: the rules of nodes would put it there now; score 397 (NodeResourcesFit 97, TaintToleration 300), 1 of 1 nodes would do
    "#]].assert_eq(&place.say(pod("new", wants)).await);
}

#[tokio::test(start_paused = true)]
async fn a_gang_that_is_not_whole_and_a_quota_that_is_used_up_are_named() {
    let gang = json!({"metadata": {"annotations": {
        "gang.scheduling.koordinator.sh/name": "crew", "gang.scheduling.koordinator.sh/min-available": "2"}}});
    check("gang", &[node("n1", json!({}))], &[], gang, expect![[r#"
        Unschedulable: 0/1 nodes are available: gangGroup [default/crew] basic check: memberGangs [default/crew] child pod not collect enough, current gang: default/crew, podName: default/new. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - n1: the rules of nodes would put it there now; score 397 (NodeResourcesFit 97, TaintToleration 300), 1 of 1 nodes would do
    "#]]).await;
    let place = Place::new("quota").await;
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let names = json!({"plural": "elasticquotas", "singular": "elasticquota", "kind": "ElasticQuota", "listKind": "ElasticQuotaList"});
    let approved =
        json!({"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/scheduler-plugins/pull/52"});
    let definition = json!({"metadata": {"name": "elasticquotas.scheduling.sigs.k8s.io", "annotations": approved}, "spec": {
        "group": "scheduling.sigs.k8s.io", "scope": "Namespaced", "names": names,
        "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": schema}]}});
    place.put(&DEFINITIONS, definition).await;
    place.world.pass(10).await;
    let spec = json!({"min": {"cpu": "2"}, "max": {"cpu": "2"}});
    place.put(&QUOTAS, json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec})).await;
    // Kinds that come late are looked for ever more slowly.
    place.world.pass(120).await;
    let of = json!({"metadata": {"labels": {"quota.scheduling.koordinator.sh/name": "web"}}});
    let there = pod("there", merged(merged(asks(json!({"cpu": "1500m"})), of.clone()), on("n1")));
    let place = place.with(&[node("n1", json!({}))], &[there]).await;
    expect![[r#"
        Unschedulable: 0/1 nodes are available: Insufficient quotas, quotaName: web, runtime: cpu:2, used: cpu:1500m, pod's request: cpu:1, exceedDimensions: [cpu]. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        - n1: the rules of nodes would put it there now; score 434 (NodeResourcesBalancedAllocation 68, NodeResourcesFit 66, TaintToleration 300), 1 of 1 nodes would do
    "#]].assert_eq(&place.say(pod("new", merged(asks(json!({"cpu": "1"})), of))).await);
}
