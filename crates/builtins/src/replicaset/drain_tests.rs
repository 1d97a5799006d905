//! Scale-in of pods that traffic components protect.

use api_core::{Pod, ReplicaSet, drain};
use api_meta::{Object, ObjectKey, Resource};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use reconcile::testing::Bench;
use reconcile::{Action, Risk};
use serde_json::{Value, json};

use super::ReplicaSets;

const SETS: Resource = ReplicaSet::RESOURCE;
const PODS: Resource = Pod::RESOURCE;

struct Story {
    bench: Bench,
    key: ObjectKey,
}

impl Story {
    /// A set whose pods can be taken out of service; a traffic component protects each.
    fn new(replicas: i64) -> Story {
        let mut bench = Bench::new().with::<ReplicaSets>();
        let spec = json!({
            "readinessGates": [{"conditionType": drain::SERVICE_READY}],
            "containers": [{"name": "a", "image": "x:1"}],
        });
        let key = bench.put(
            &SETS,
            json!({
                "metadata": {"name": "cart", "namespace": "shop"},
                "spec": {
                    "replicas": replicas, "selector": {"matchLabels": {"app": "cart"}},
                    "template": {"metadata": {"labels": {"app": "cart"}}, "spec": spec},
                },
            }),
        );
        let mut story = Story { bench, key };
        story.settle();
        story.bench.each(&PODS, |p| p["metadata"]["finalizers"] = json!([drain::protection_of("web")]));
        story.settle();
        story
    }

    fn scale(&mut self, replicas: i64) {
        let key = self.key.clone();
        self.bench.edit(&SETS, &key, |s| s["spec"]["replicas"] = json!(replicas));
    }

    fn settle(&mut self) {
        for _ in 0..3 {
            self.bench.settle::<ReplicaSets>(&self.key.clone(), 8);
            self.bench.kubelet();
        }
    }

    fn pods(&self) -> Vec<Pod> {
        self.bench.list(&PODS).into_iter().map(|p| serde_json::from_value(p.clone()).unwrap()).collect()
    }

    /// What the drain controller does: closes the gates of pods that are asked for, opens those of others.
    fn drain(&mut self) {
        let now = self.bench.now;
        self.bench.each(&PODS, |p| {
            let labels = p["metadata"]["labels"].as_object().unwrap();
            let status =
                if labels.keys().any(|l| l.starts_with(drain::OPERATING)) { "False" } else { "True" };
            let conditions = p["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is_gate = |c: &Value| c["type"] == drain::SERVICE_READY;
            if conditions.iter().any(|c| is_gate(c) && c["status"] == status) {
                return;
            }
            let mut conditions: Vec<Value> = conditions.into_iter().filter(|c| !is_gate(c)).collect();
            conditions
                .push(json!({"type": drain::SERVICE_READY, "status": status, "lastTransitionTime": now}));
            p["status"]["conditions"] = json!(conditions);
        });
    }

    /// What traffic components do: let go of pods whose gate is closed, protect the others.
    fn traffic(&mut self) {
        self.bench.each(&PODS, |p| {
            if !p["metadata"]["deletionTimestamp"].is_null() {
                p["metadata"]["finalizers"] = json!([]);
                return;
            }
            let conditions = p["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is_closed = |c: &Value| c["type"] == drain::SERVICE_READY && c["status"] == "False";
            let closed = conditions.iter().any(is_closed);
            p["metadata"]["finalizers"] =
                if closed { json!([]) } else { json!([drain::protection_of("web")]) };
        });
    }

    fn told(&mut self, expected: Expect) {
        self.settle();
        let pods = self.pods();
        let asked = pods.iter().filter(|p| drain::requests(p).any(|id| id == "scale-in")).count();
        expected.assert_eq(&format!("{} pods, {asked} asked out of service", pods.len()));
    }
}

#[test]
fn surplus_pods_leave_service_before_they_are_deleted() {
    let mut story = Story::new(4);
    story.scale(2);
    story.told(expect!["4 pods, 2 asked out of service"]);
    story.drain();
    story.told(expect!["4 pods, 2 asked out of service"]);
    story.traffic();
    story.told(expect!["2 pods, 0 asked out of service"]);
}

#[test]
fn asking_is_the_step_that_needs_a_permit_first() {
    let mut story = Story::new(2);
    story.scale(1);
    let plan = story.bench.plan::<ReplicaSets>(&story.key).unwrap();
    let on_pods = plan.actions.iter().filter(|a| *a.resource() == PODS);
    assert_eq!(on_pods.map(Action::risk).collect::<Vec<_>>(), [Risk::RemovePod]);
}

#[test]
fn a_change_of_mind_calls_the_pods_back_and_needs_no_new_ones() {
    let mut story = Story::new(4);
    let before: Vec<String> = story.pods().into_iter().map(|p| p.metadata.uid).collect();
    story.scale(2);
    story.settle();
    story.drain();
    story.scale(4);
    story.told(expect!["4 pods, 0 asked out of service"]);
    let after: Vec<String> = story.pods().into_iter().map(|p| p.metadata.uid).collect();
    assert_eq!(before, after);
}

#[test]
fn who_was_asked_stays_the_one_to_go_whatever_happens_to_the_others() {
    let mut story = Story::new(3);
    story.scale(2);
    story.settle();
    let is_asked = |p: &Pod| drain::requests(p).next().is_some();
    let asked: Vec<String> = story.pods().into_iter().filter(is_asked).map(|p| p.metadata.uid).collect();
    let other = story.pods().into_iter().find(|p| !is_asked(p)).unwrap().metadata.key();
    // The other would be the first to go by the usual order.
    story.bench.edit(&PODS, &other, |p| {
        p["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": "-9"});
    });
    story.settle();
    let still: Vec<String> = story.pods().into_iter().filter(is_asked).map(|p| p.metadata.uid).collect();
    assert_eq!(asked, still);
}

#[test]
fn an_overdue_drain_is_held_for_a_person_unless_the_pod_says_force() {
    let mut story = Story::new(2);
    story.scale(1);
    story.settle();
    story.drain();
    story.bench.pass(61);
    story.told(expect!["2 pods, 1 asked out of service"]);
    let plan = story.bench.plan::<ReplicaSets>(&story.key).unwrap();
    assert!(plan.notes.iter().any(|n| n.message.contains("its drain is overdue and waits for web")));
    story.bench.each(&PODS, |p| {
        p["metadata"]["annotations"] = json!({drain::DEADLINE_POLICY: "Force"});
    });
    story.bench.settle::<ReplicaSets>(&story.key.clone(), 8);
    assert_eq!(story.pods().iter().filter(|p| p.metadata.is_terminating()).count(), 1);
}

#[test]
fn pods_that_take_no_part_are_deleted_at_once_and_nothing_is_written_to_them() {
    for change in [json!({"knarr.dev/drain": "disabled"}), Value::Null] {
        let mut story = Story::new(3);
        story.bench.each(&PODS, |p| {
            if change.is_null() {
                p["metadata"]["finalizers"] = json!([]);
            } else {
                p["metadata"]["annotations"] = change.clone();
            }
        });
        story.scale(1);
        let plan = story.bench.plan::<ReplicaSets>(&story.key).unwrap();
        let on_pods = plan.actions.iter().filter(|a| *a.resource() == PODS);
        assert!(on_pods.clone().all(|a| matches!(a, Action::Delete { .. })));
        assert_eq!(on_pods.count(), 2);
    }
}

#[derive(Clone, Debug)]
enum Event {
    Scale(i64),
    Plan,
    Drain,
    Traffic,
    Kubelet,
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..6i64).prop_map(Event::Scale),
        6 => Just(Event::Plan),
        3 => Just(Event::Drain),
        3 => Just(Event::Traffic),
        3 => Just(Event::Kubelet),
        1 => (1..90u64).prop_map(Event::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_pod_is_deleted_while_anybody_may_send_it_traffic(events in prop::collection::vec(event(), 1..60)) {
        let mut story = Story::new(4);
        let mut wanted = 4;
        for event in events {
            match event {
                Event::Scale(n) => {
                    wanted = n;
                    story.scale(n);
                }
                Event::Plan => {
                    let plan = story.bench.plan::<ReplicaSets>(&story.key).unwrap();
                    for action in &plan.actions {
                        if let Action::Delete { target, .. } = action {
                            let pod = story.bench.get(&PODS, &target.key).unwrap();
                            prop_assert!(pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty));
                        }
                        story.bench.act(action).unwrap();
                    }
                }
                Event::Drain => story.drain(),
                Event::Traffic => story.traffic(),
                Event::Kubelet => story.bench.kubelet(),
                Event::Pass(secs) => story.bench.pass(secs),
            }
        }
        for _ in 0..6 {
            story.settle();
            story.drain();
            story.traffic();
        }
        story.settle();
        let pods = story.pods();
        prop_assert_eq!(pods.len(), usize::try_from(wanted).unwrap(), "it converges");
        prop_assert!(pods.iter().all(|p| drain::requests(p).next().is_none()), "nobody is asked any more");
        prop_assert!(story.bench.plan::<ReplicaSets>(&story.key).unwrap().is_quiet(), "and stays so");
    }
}
