use api_core::{Namespace, Node, Pod};
use api_meta::{Object, ObjectKey, Resource};
use reconcile::testing::Bench;
use serde_json::{Value, json};

use super::observe::{ENDED_MAX, MISSING_SINCE};
use super::*;

const NODES: Resource = Node::RESOURCE;
const PODS: Resource = Pod::RESOURCE;

struct Story {
    bench: Bench,
    seat: ObjectKey,
}

impl Story {
    fn new() -> Story {
        let mut bench = Bench::new().with::<PodGc>();
        let seat = bench.put(&Namespace::RESOURCE, json!({"metadata": {"name": "kube-system"}}));
        bench.put(&NODES, json!({"metadata": {"name": "n1"}}));
        Story { bench, seat }
    }

    fn pod(&mut self, name: &str, node: &str) -> ObjectKey {
        let body = json!({
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"nodeName": node},
            "status": {"phase": "Running"},
        });
        self.bench.put(&PODS, body)
    }

    fn terminate(&mut self, pod: &ObjectKey) {
        let now = self.bench.now;
        self.bench.edit(&PODS, pod, |p| p["metadata"]["deletionTimestamp"] = json!(now));
    }

    fn settle(&mut self) {
        self.bench.settle::<PodGc>(&self.seat.clone(), 4);
    }

    fn names(&self) -> String {
        self.bench.keys(&PODS).iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn pods_of_a_node_that_does_not_exist_go_after_its_quarantine() {
    let mut story = Story::new();
    story.pod("kept", "n1");
    story.pod("orphan", "gone");
    story.settle();
    assert_eq!(story.names(), "kept orphan", "the node may come back");
    story.bench.pass(39);
    story.settle();
    assert_eq!(story.names(), "kept orphan");
    let plan = story.bench.plan::<PodGc>(&story.seat).unwrap();
    assert_eq!(plan.wake, Some(story.bench.now + std::time::Duration::from_secs(1)));
    story.bench.pass(1);
    let plan = story.bench.plan::<PodGc>(&story.seat).unwrap();
    let status = |a: &reconcile::Action| match a {
        reconcile::Action::Patch { subresource: "status", body, .. } => Some(body["status"].clone()),
        _ => None,
    };
    let status = plan.actions.iter().find_map(status).unwrap();
    assert_eq!(
        (&status["phase"], &status["conditions"][0]["reason"]),
        (&json!("Failed"), &json!("DeletionByPodGC"))
    );
    story.settle();
    assert_eq!(story.names(), "kept");
}

#[test]
fn a_node_that_comes_back_in_time_keeps_its_pods() {
    let mut story = Story::new();
    let pod = story.pod("p", "n2");
    story.settle();
    story.bench.put(&NODES, json!({"metadata": {"name": "n2"}}));
    story.bench.pass(60);
    story.settle();
    let annotations = &story.bench.get(&PODS, &pod).unwrap()["metadata"]["annotations"];
    assert_eq!(annotations.get(MISSING_SINCE), None, "the next absence counts anew");
    assert_eq!(story.names(), "p");
}

#[test]
fn a_pod_that_was_to_be_deleted_before_it_had_a_node_goes() {
    let mut story = Story::new();
    story.pod("waits", "");
    let pod = story.pod("leaves", "");
    story.terminate(&pod);
    story.settle();
    assert_eq!(story.names(), "waits");
}

#[test]
fn pods_terminating_on_a_node_out_of_service_go_and_others_stay() {
    let mut story = Story::new();
    let pod = story.pod("leaves", "n1");
    story.pod("stays", "n1");
    story.terminate(&pod);
    story.settle();
    assert_eq!(story.names(), "leaves stays", "the node may still end it");
    story.bench.edit(&NODES, &ObjectKey::new("", "n1"), |n| {
        n["spec"]["taints"] = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
    });
    story.settle();
    assert_eq!(story.names(), "stays");
}

#[test]
fn what_finalizers_hold_is_not_deleted_over_and_over() {
    let mut story = Story::new();
    let pod = story.pod("held", "");
    story.bench.edit(&PODS, &pod, |p| p["metadata"]["finalizers"] = json!(["example.com/x"]));
    story.terminate(&pod);
    // The server notes the grace that was given.
    story.bench.edit(&PODS, &pod, |p| p["metadata"]["deletionGracePeriodSeconds"] = json!(0));
    assert!(story.bench.plan::<PodGc>(&story.seat).unwrap().is_quiet());
}

#[test]
fn of_too_many_ended_pods_the_oldest_go_a_burst_at_a_time() {
    let mut story = Story::new();
    let surplus = plan::BURST + 3;
    for number in 0..ENDED_MAX + surplus {
        let key = story.pod(&format!("job-{number:06}"), "n1");
        story.bench.edit(&PODS, &key, |p| p["status"]["phase"] = json!("Succeeded"));
    }
    let mut counts = Vec::new();
    for _ in 0..3 {
        let plan = story.bench.plan::<PodGc>(&story.seat).unwrap();
        counts.push(plan.actions.len());
        story.bench.apply(&plan).unwrap();
    }
    assert_eq!(counts, [plan::BURST, 3, 0]);
    assert_eq!(story.bench.keys(&PODS)[0].name, format!("job-{surplus:06}"));
}

#[test]
fn only_one_key_looks() {
    let mut story = Story::new();
    let other = story.bench.put(&Namespace::RESOURCE, json!({"metadata": {"name": "shop"}}));
    story.pod("orphan", "gone");
    let plan = story.bench.plan::<PodGc>(&other).unwrap();
    assert_eq!((plan.is_quiet(), plan.wake), (true, None));
    assert_ne!(story.bench.get(&PODS, &ObjectKey::new("shop", "orphan")), Some(&Value::Null));
}
