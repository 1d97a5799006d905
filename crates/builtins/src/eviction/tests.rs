use api_core::{EndpointSlice, Node, Pod, Service};
use api_meta::{Object, ObjectKey, Resource};
use expect_test::{Expect, expect};
use reconcile::testing::Bench;
use serde_json::{Value, json};

use super::*;
use crate::endpointslice::EndpointSlices;

const NODES: Resource = Node::RESOURCE;
const PODS: Resource = Pod::RESOURCE;
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// One ready pod with admission's default tolerations, on one node.
struct Story {
    bench: Bench,
    node: ObjectKey,
    pod: ObjectKey,
}

impl Story {
    fn new() -> Story {
        let mut bench = Bench::new().with::<Evictions>();
        let node = bench.put(&NODES, json!({"metadata": {"name": "n1"}}));
        let tolerations = ["node.kubernetes.io/not-ready", UNREACHABLE].map(
            |key| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
        );
        let pod = bench.put(
            &PODS,
            json!({
                "metadata": {"name": "p", "namespace": "shop"},
                "spec": {"nodeName": "n1", "tolerations": tolerations},
            }),
        );
        let mut story = Story { bench, node, pod };
        story.node("True", &[]);
        story.bench.kubelet();
        story
    }

    fn node(&mut self, ready: &str, taints: &[&str]) {
        let now = self.bench.now;
        let taints = taints.iter().map(|key| json!({"key": key, "effect": "NoExecute", "timeAdded": now}));
        let taints: Vec<Value> = taints.collect();
        self.bench.edit(&NODES, &self.node.clone(), |n| {
            n["spec"]["taints"] = json!(taints);
            n["status"]["conditions"] =
                json!([{"type": "Ready", "status": ready, "lastTransitionTime": now}]);
        });
    }

    /// Makes the pod take part in the drain, and protects it for a Service.
    fn protect(&mut self) {
        self.bench.edit(&PODS, &self.pod.clone(), |p| {
            p["spec"]["readinessGates"] = json!([{"conditionType": "pod.kusionstack.io/service-ready"}]);
            p["metadata"]["finalizers"] = json!(["prot.podopslifecycle.kusionstack.io/web"]);
        });
    }

    fn settle(&mut self) {
        self.bench.settle::<Evictions>(&self.pod.clone(), 3);
    }

    /// Conditions, requests and whether it is being deleted.
    fn told(&mut self, expected: Expect) {
        self.settle();
        let pod = self.bench.get(&PODS, &self.pod).cloned().unwrap();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let conditions =
            pod.status.conditions.iter().map(|c| format!("{} {} {}", c.r#type, c.status, c.reason));
        let mut lines: Vec<String> = conditions.map(|c| c.trim().to_owned()).collect();
        lines.extend(api_core::drain::requests(&pod).map(|id| format!("asked out for {id}")));
        lines.extend(pod.metadata.is_terminating().then(|| "terminating".to_owned()));
        expected.assert_eq(&lines.join("; "));
    }
}

#[test]
fn pods_of_a_silent_node_leave_traffic_at_once_and_the_node_after_their_term() {
    let mut story = Story::new();
    story.told(expect!["Ready True"]);
    story.node("Unknown", &[UNREACHABLE]);
    story.told(expect!["Ready False NodeNotReady"]);
    let wake = story.bench.plan::<Evictions>(&story.pod).unwrap().wake;
    assert_eq!(wake, Some(story.bench.now + std::time::Duration::from_secs(300)));
    story.bench.pass(299);
    story.told(expect!["Ready False NodeNotReady"]);
    story.bench.pass(1);
    story
        .told(expect!["Ready False NodeNotReady; DisruptionTarget True DeletionByTaintManager; terminating"]);
}

#[test]
fn a_node_that_is_back_in_time_keeps_its_pods() {
    let mut story = Story::new();
    story.node("Unknown", &[UNREACHABLE]);
    story.settle();
    story.bench.pass(200);
    story.node("True", &[]);
    story.bench.kubelet();
    story.bench.pass(200);
    story.told(expect!["Ready True"]);
}

#[test]
fn what_a_node_says_of_a_pod_after_it_was_not_ready_itself_is_believed() {
    let mut story = Story::new();
    story.bench.pass(5);
    story.node("False", &[]);
    story.told(expect!["Ready False NodeNotReady"]);
    story.bench.pass(5);
    story.bench.kubelet();
    story.told(expect!["Ready True"]);
}

#[test]
fn a_pod_that_tolerates_nothing_goes_at_once_and_one_that_tolerates_for_good_stays() {
    let mut story = Story::new();
    story.node("True", &["mine"]);
    story.told(expect!["Ready True; DisruptionTarget True DeletionByTaintManager; terminating"]);
    let mut story = Story::new();
    let pod = story.pod.clone();
    story.bench.edit(&PODS, &pod, |p| p["spec"]["tolerations"] = json!([{"operator": "Exists"}]));
    story.node("True", &["mine"]);
    story.told(expect!["Ready True"]);
}

#[test]
fn a_pod_in_service_is_asked_out_before_it_is_deleted_and_called_back_when_the_taint_goes() {
    let mut story = Story::new();
    story.protect();
    story.node("True", &["mine"]);
    story.told(expect!["Ready True; asked out for taint-eviction"]);
    story.node("True", &[]);
    story.told(expect!["Ready True"]);
    story.node("True", &["mine"]);
    story.settle();
    let pod = story.pod.clone();
    story.bench.edit(&PODS, &pod, |p| p["metadata"]["finalizers"] = json!([]));
    story.told(expect![
        "Ready True; DisruptionTarget True DeletionByTaintManager; asked out for taint-eviction; terminating"
    ]);
}

#[test]
fn an_overdue_drain_waits_for_a_person_unless_its_owner_wants_otherwise() {
    let mut story = Story::new();
    story.protect();
    story.node("True", &["mine"]);
    story.settle();
    let (pod, now) = (story.pod.clone(), story.bench.now);
    story.bench.edit(&PODS, &pod, |p| {
        p["status"]["conditions"] = json!([
            {"type": "pod.kusionstack.io/service-ready", "status": "False", "lastTransitionTime": now},
        ]);
    });
    story.bench.pass(61);
    let plan = story.bench.plan::<Evictions>(&pod).unwrap();
    assert!(plan.is_quiet());
    expect!["not evicted: its drain is overdue and waits for web"].assert_eq(&plan.notes[0].message);
    story.bench.edit(&PODS, &pod, |p| {
        p["metadata"]["annotations"] = json!({"knarr.dev/drain-deadline-policy": "Force"});
    });
    story.settle();
    let left = story.bench.get(&PODS, &pod).unwrap();
    assert!(left["metadata"]["deletionTimestamp"].is_string(), "{left}");
}

#[test]
fn a_pod_on_a_silent_node_is_not_asked_for_nobody_would_answer() {
    let mut story = Story::new();
    story.protect();
    story.node("Unknown", &["mine"]);
    story
        .told(expect!["Ready False NodeNotReady; DisruptionTarget True DeletionByTaintManager; terminating"]);
}

#[test]
fn the_endpoint_of_a_pod_on_a_silent_node_is_not_ready_and_comes_back_with_it() {
    let mut story = Story::new();
    story.bench = std::mem::take(&mut story.bench).with::<EndpointSlices>();
    let pod = story.pod.clone();
    story.bench.edit(&PODS, &pod, |p| p["metadata"]["labels"] = json!({"app": "web"}));
    let service = json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    let service = story.bench.put(&Service::RESOURCE, service);
    let ready = |story: &mut Story| {
        story.settle();
        story.bench.settle::<EndpointSlices>(&service, 3);
        story.bench.list(&EndpointSlice::RESOURCE)[0]["endpoints"][0]["conditions"]["ready"].clone()
    };
    assert_eq!(ready(&mut story), json!(true));
    story.node("Unknown", &[UNREACHABLE]);
    assert_eq!(ready(&mut story), json!(false));
    story.node("True", &[]);
    story.bench.kubelet();
    assert_eq!(ready(&mut story), json!(true));
}

#[test]
fn pods_of_nodes_that_are_well_are_not_looked_at() {
    let mut story = Story::new();
    let looks = |story: &Story| {
        let watches = row().watches;
        let pod = story.bench.world.cache::<Pod>().get(&story.pod).unwrap().clone();
        let node = story.bench.world.cache::<Node>().get(&story.node).unwrap().clone();
        (watches[0].keys(&story.bench.world, &*pod).len(), watches[1].keys(&story.bench.world, &*node).len())
    };
    assert_eq!(looks(&story), (0, 0));
    story.node("Unknown", &[]);
    assert_eq!(looks(&story), (1, 1));
    story.node("True", &["mine"]);
    assert_eq!(looks(&story), (1, 1));
    story.protect();
    story.settle();
    story.node("True", &[]);
    assert_eq!(looks(&story), (1, 0), "asked out, and to be called back");
}
