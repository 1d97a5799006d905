use api_core::{Deployment, Pod, PodDisruptionBudget, ReplicaSet};
use api_meta::{Object, ObjectKey, Resource};
use api_workload::{CloneSet, InPlaceSet};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use reconcile::testing::{Bench, Refused};
use serde_json::{Value, json};

type Disruptions = super::Disruptions<true>;

const BUDGETS: Resource = PodDisruptionBudget::RESOURCE;
const PODS: Resource = Pod::RESOURCE;

struct Story {
    bench: Bench,
    key: ObjectKey,
}

impl Story {
    /// A budget over the pods of application `web`.
    fn new(spec: Value) -> Story {
        let mut bench = Bench::new().with::<Disruptions>();
        let mut body = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
        body["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
        let key = bench.put(&BUDGETS, body);
        Story { bench, key }
    }

    /// A workload and its pods, of which the first `ready` are ready.
    fn workload(&mut self, resource: &Resource, replicas: i64, ready: usize) {
        let body = json!({"metadata": {"name": "w", "namespace": "shop"}, "spec": {"replicas": replicas}});
        let key = self.bench.put(resource, body);
        let uid = self.bench.get(resource, &key).unwrap()["metadata"]["uid"].clone();
        let owner = json!({"apiVersion": resource.api_version(), "kind": resource.kind, "name": "w", "uid": uid, "controller": true});
        for number in 0..replicas {
            self.pod(&format!("p{number}"), usize::try_from(number).unwrap() < ready, &owner);
        }
    }

    fn pod(&mut self, name: &str, ready: bool, owner: &Value) {
        let owners: Vec<&Value> = Some(owner).filter(|o| !o.is_null()).into_iter().collect();
        let status = if ready { "True" } else { "False" };
        self.bench.put(&PODS, json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}, "ownerReferences": owners},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
        }));
    }

    fn settle(&mut self) {
        self.bench.settle::<Disruptions>(&self.key.clone(), 2);
    }

    fn told(&mut self, expected: Expect) {
        self.settle();
        let status = &self.bench.get(&BUDGETS, &self.key).unwrap()["status"];
        let n = |field: &str| status[field].as_i64().unwrap_or(-1);
        let condition = &status["conditions"][0];
        let text = |field: &str| condition[field].as_str().unwrap_or("-");
        expected.assert_eq(&format!(
            "{} may go: {} of {} healthy, {} needed; {} {} {}",
            n("disruptionsAllowed"),
            n("currentHealthy"),
            n("expectedPods"),
            n("desiredHealthy"),
            text("status"),
            text("reason"),
            text("message"),
        ));
    }
}

#[test]
fn the_most_that_may_be_away_is_counted_from_what_the_controller_wants() {
    let mut story = Story::new(json!({"maxUnavailable": 1}));
    story.workload(&ReplicaSet::RESOURCE, 3, 3);
    story.told(expect!["1 may go: 3 of 3 healthy, 2 needed; True SufficientPods "]);
    story.bench.edit(&PODS, &ObjectKey::new("shop", "p0"), |p| p["status"]["conditions"] = json!([]));
    story.told(expect!["0 may go: 2 of 3 healthy, 2 needed; False InsufficientPods "]);
    // Pods that do not exist are missing like pods that are not ready.
    story.bench.drop(&PODS, &ObjectKey::new("shop", "p0"));
    story.told(expect!["0 may go: 2 of 3 healthy, 2 needed; False InsufficientPods "]);
}

#[test]
fn shares_are_rounded_up_on_both_sides() {
    let mut story = Story::new(json!({"maxUnavailable": "20%"}));
    story.workload(&CloneSet::RESOURCE, 6, 6);
    story.told(expect!["2 may go: 6 of 6 healthy, 4 needed; True SufficientPods "]);
    let mut story = Story::new(json!({"minAvailable": "50%"}));
    story.workload(&InPlaceSet::RESOURCE, 5, 5);
    story.told(expect!["2 may go: 5 of 5 healthy, 3 needed; True SufficientPods "]);
}

#[test]
fn two_sets_of_one_deployment_stand_for_it_once() {
    let mut story = Story::new(json!({"maxUnavailable": 1}));
    let deployment = json!({"metadata": {"name": "d", "namespace": "shop"}, "spec": {"replicas": 4}});
    let key = story.bench.put(&Deployment::RESOURCE, deployment);
    let uid = story.bench.get(&Deployment::RESOURCE, &key).unwrap()["metadata"]["uid"].clone();
    for (set, replicas) in [("old", 3), ("new", 2)] {
        let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": uid, "controller": true});
        let body = json!({"metadata": {"name": set, "namespace": "shop", "ownerReferences": [owner]}, "spec": {"replicas": replicas}});
        let set_key = story.bench.put(&ReplicaSet::RESOURCE, body);
        let uid = story.bench.get(&ReplicaSet::RESOURCE, &set_key).unwrap()["metadata"]["uid"].clone();
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": uid, "controller": true});
        for n in 0..replicas {
            story.pod(&format!("{set}-{n}"), true, &owner);
        }
    }
    story.told(expect!["2 may go: 5 of 4 healthy, 3 needed; True SufficientPods "]);
}

#[test]
fn a_number_of_pods_to_keep_asks_no_controller() {
    let mut story = Story::new(json!({"minAvailable": 2}));
    (0..3).for_each(|n| story.pod(&format!("bare-{n}"), true, &Value::Null));
    story.told(expect!["1 may go: 3 of 3 healthy, 2 needed; True SufficientPods "]);
}

#[test]
fn pods_without_a_controller_are_named_to_the_owner_of_the_budget() {
    let mut story = Story::new(json!({"maxUnavailable": 1}));
    story.pod("bare", true, &Value::Null);
    let plan = story.bench.plan::<Disruptions>(&story.key).unwrap();
    assert!(plan.notes.iter().any(|n| n.reason == "UnmanagedPods" && n.message.contains("unmanaged: bare.")));
    story.told(expect!["0 may go: 1 of 0 healthy, 0 needed; False InsufficientPods "]);
}

#[test]
fn a_controller_that_cannot_be_asked_stops_evictions_and_is_named() {
    let mut story = Story::new(json!({"maxUnavailable": 1}));
    story.workload(&ReplicaSet::RESOURCE, 2, 2);
    story.settle();
    let owner =
        json!({"apiVersion": "example.com/v1", "kind": "Fleet", "name": "f", "uid": "f", "controller": true});
    story.pod("strange", true, &owner);
    story.told(expect![[
        r#"0 may go: 2 of 2 healthy, 1 needed; False SyncFailed found no controllers for pod "strange""#
    ]]);
}

#[test]
fn a_granted_eviction_counts_until_it_shows_or_two_minutes_have_passed() {
    let mut story = Story::new(json!({"maxUnavailable": 2}));
    story.workload(&ReplicaSet::RESOURCE, 3, 3);
    story.settle();
    let granted = json!({"p0": story.bench.now});
    let key = story.key.clone();
    story.bench.edit(&BUDGETS, &key, |b| b["status"]["disruptedPods"] = granted);
    story.told(expect!["1 may go: 2 of 3 healthy, 1 needed; True SufficientPods "]);
    let wake = story.bench.plan::<Disruptions>(&key).unwrap().wake;
    assert_eq!(wake, Some(story.bench.now + std::time::Duration::from_secs(120)));
    story.bench.pass(120);
    let plan = story.bench.plan::<Disruptions>(&key).unwrap();
    assert!(plan.notes.iter().any(|n| n.reason == "NotDeleted"));
    story.told(expect!["2 may go: 3 of 3 healthy, 1 needed; True SufficientPods "]);
    assert!(story.bench.get(&BUDGETS, &key).unwrap()["status"]["disruptedPods"].is_null());
}

#[test]
fn what_was_granted_meanwhile_is_not_overwritten() {
    let mut story = Story::new(json!({"maxUnavailable": 1}));
    story.workload(&ReplicaSet::RESOURCE, 3, 3);
    let stale = story.bench.plan::<Disruptions>(&story.key).unwrap();
    let key = story.key.clone();
    story
        .bench
        .edit(&BUDGETS, &key, |b| b["status"]["disruptedPods"] = json!({"p1": "2026-01-01T00:00:00Z"}));
    assert_eq!(story.bench.apply(&stale), Err(Refused::Conflict));
}

fn bound() -> impl Strategy<Value = Value> {
    let value =
        prop_oneof![(0..8i64).prop_map(|n| json!(n)), (0..=100u8).prop_map(|p| json!(format!("{p}%")))];
    (prop_oneof![Just("maxUnavailable"), Just("minAvailable")], value)
        .prop_map(|(field, v)| json!({field: v}))
}

proptest! {
    #[test]
    fn what_is_allowed_never_takes_the_healthy_below_the_bound(
        spec in bound(),
        replicas in 0..9i64,
        ready in 0..9usize,
    ) {
        let mut story = Story::new(spec);
        story.workload(&ReplicaSet::RESOURCE, replicas, ready);
        story.settle();
        prop_assert!(story.bench.plan::<Disruptions>(&story.key).unwrap().is_quiet(), "settled");
        let status = &story.bench.get(&BUDGETS, &story.key).unwrap()["status"];
        let n = |field: &str| status[field].as_i64().unwrap();
        let healthy = i64::try_from(ready).unwrap().min(replicas);
        prop_assert_eq!(n("currentHealthy"), healthy);
        prop_assert!(n("disruptionsAllowed") >= 0);
        if n("disruptionsAllowed") > 0 {
            prop_assert!(healthy - n("disruptionsAllowed") >= n("desiredHealthy"));
        }
    }
}

#[test]
fn a_server_without_our_kinds_is_asked_for_none_of_them() {
    let mut bench = Bench::new().with::<super::Disruptions<false>>();
    let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": 1});
    let key = bench.put(&BUDGETS, json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}));
    let owner = json!({"apiVersion": "apps.kruise.io/v1beta1", "kind": "CloneSet", "name": "w", "uid": "w", "controller": true});
    bench.put(&PODS, json!({
        "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "web"}, "ownerReferences": [owner]},
    }));
    bench.settle::<super::Disruptions<false>>(&key, 2);
    assert_eq!(bench.get(&BUDGETS, &key).unwrap()["status"]["conditions"][0]["reason"], "SyncFailed");
}
