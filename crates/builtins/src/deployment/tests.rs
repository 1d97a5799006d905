use api_core::{Deployment, Pod, ReplicaSet};
use api_meta::{Object, ObjectKey, Resource};
use expect_test::{Expect, expect};
use reconcile::testing::Bench;
use serde_json::{Value, json};

use super::Deployments;
use crate::replicaset::ReplicaSets;

const DEPLOYMENTS: Resource = Deployment::RESOURCE;
const SETS: Resource = ReplicaSet::RESOURCE;
const PODS: Resource = Pod::RESOURCE;

pub(super) fn deployment(replicas: i32, image: &str, strategy: Value) -> Value {
    json!({
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "cart"}}, "strategy": strategy,
            "template": {"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [{"name": "a", "image": image}]}},
        },
    })
}

pub(super) fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

/// A cluster of Deployments, ReplicaSets and nodes, and the story of what happens in it.
struct Story {
    bench: Bench,
    key: ObjectKey,
    lines: Vec<String>,
    /// Called after every single action.
    check: fn(&Bench),
}

impl Story {
    fn new(body: Value) -> Story {
        let mut bench = Bench::new().with::<Deployments>().with::<ReplicaSets>();
        let key = bench.put(&DEPLOYMENTS, body);
        Story { bench, key, lines: Vec::new(), check: |_| {} }
    }

    fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let key = self.key.clone();
        self.bench.edit(&DEPLOYMENTS, &key, change);
    }

    /// One look of every controller; says whether anything was done.
    fn look(&mut self) -> bool {
        let mut acted = false;
        let plan = self.bench.plan::<Deployments>(&self.key).unwrap();
        for (number, action) in plan.actions.iter().enumerate() {
            self.bench.act(action).unwrap_or_else(|e| panic!("{e:?} in {plan:#?}"));
            acted = true;
            let notes = plan.after.iter().filter(|(_, a)| **a == number).map(|(n, _)| &plan.notes[*n]);
            self.lines.extend(notes.map(|n| rename(&self.bench, &n.message)));
            (self.check)(&self.bench);
        }
        for set in self.bench.keys(&SETS) {
            let plan = self.bench.plan::<ReplicaSets>(&set).unwrap();
            for action in &plan.actions {
                self.bench.act(action).unwrap();
                acted = true;
                (self.check)(&self.bench);
            }
        }
        acted
    }

    /// Until nothing moves, with nodes that start and end pods.
    fn run(&mut self) {
        for _ in 0..100 {
            let mut acted = false;
            while self.look() {
                acted = true;
            }
            if !acted && self.is_still() {
                return;
            }
            self.bench.kubelet();
            (self.check)(&self.bench);
        }
        panic!("the deployment does not settle");
    }

    fn is_still(&mut self) -> bool {
        self.bench.kubelet();
        !self.look()
    }

    fn told(&self, expected: Expect) {
        expected.assert_eq(&self.lines.join("\n"));
    }

    fn condition(&self, kind: &str) -> String {
        let status = &self.bench.get(&DEPLOYMENTS, &self.key).unwrap()["status"];
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|c| c["type"] == kind).cloned().unwrap_or_default();
        let text = |f: &str| found[f].as_str().unwrap_or("-").to_owned();
        rename(&self.bench, &format!("{} {}: {}", text("status"), text("reason"), text("message")))
    }

    /// Sizes of the sets by revision: `1:0 2:3`.
    fn sizes(&self) -> String {
        let mut sizes: Vec<String> = self
            .bench
            .list(&SETS)
            .iter()
            .map(|s| {
                let revision =
                    s["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap_or("?");
                format!("{revision}:{}", s["spec"]["replicas"])
            })
            .collect();
        sizes.sort();
        sizes.join(" ")
    }
}

/// Sets by their revision instead of their hash.
fn rename(bench: &Bench, text: &str) -> String {
    bench.list(&SETS).iter().fold(text.to_owned(), |text, set| {
        let revision =
            set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap_or("?");
        text.replace(set["metadata"]["name"].as_str().unwrap(), &format!("r{revision}"))
    })
}

pub(super) fn active_and_available(bench: &Bench) -> (i64, i64) {
    let pods: Vec<Pod> =
        bench.list(&PODS).into_iter().map(|p| serde_json::from_value(p.clone()).unwrap()).collect();
    let active = pods.iter().filter(|p| p.is_active());
    let available = active.clone().filter(|p| p.is_ready());
    (i64::try_from(active.count()).unwrap(), i64::try_from(available.count()).unwrap())
}

#[test]
fn a_new_deployment_comes_up() {
    let mut story = Story::new(deployment(3, "x:1", json!({})));
    story.run();
    story.told(expect!["Scaled up replica set r1 from 0 to 3"]);
    assert_eq!(active_and_available(&story.bench), (3, 3));
    assert_eq!(
        story.condition("Progressing"),
        "True NewReplicaSetAvailable: ReplicaSet \"r1\" has successfully progressed."
    );
    assert_eq!(
        story.condition("Available"),
        "True MinimumReplicasAvailable: Deployment has minimum availability."
    );
    let meta = &story.bench.get(&DEPLOYMENTS, &story.key).unwrap()["metadata"];
    assert_eq!(meta["annotations"]["deployment.kubernetes.io/revision"], "1");
    let set = story.bench.list(&SETS)[0];
    let hash = set["metadata"]["labels"]["pod-template-hash"].as_str().unwrap();
    assert_eq!(set["metadata"]["name"], format!("cart-{hash}"));
    assert_eq!(set["spec"]["selector"]["matchLabels"]["pod-template-hash"], hash);
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"], "4");
}

#[test]
fn a_rolling_update_goes_step_by_step() {
    let mut story = Story::new(deployment(4, "x:1", rolling(json!(1), json!(1))));
    story.run();
    story.lines.clear();
    story.edit(|d| d["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:2"));
    story.run();
    story.told(expect![[r#"
        Scaled up replica set r2 from 0 to 1
        Scaled down replica set r1 from 4 to 3
        Scaled up replica set r2 from 1 to 2
        Scaled down replica set r1 from 3 to 1
        Scaled up replica set r2 from 2 to 4
        Scaled down replica set r1 from 1 to 0"#]]);
    assert_eq!(story.sizes(), "1:0 2:4");
}

#[test]
fn the_budget_holds_after_every_action() {
    let strategies = [
        (json!(1), json!(0)),
        (json!(0), json!(1)),
        (json!("25%"), json!("25%")),
        (json!("100%"), json!(0)),
        (json!(0), json!("50%")),
        (json!(2), json!(3)),
    ];
    for (surge, unavailable) in strategies {
        for replicas in [1, 2, 9] {
            let mut story =
                Story::new(deployment(replicas, "x:1", rolling(surge.clone(), unavailable.clone())));
            story.run();
            story.check = |bench| {
                let deployment: Deployment =
                    serde_json::from_value(bench.list(&DEPLOYMENTS)[0].clone()).unwrap();
                let wanted = deployment.spec.replicas.unwrap();
                let budget = super::sets::budget(&deployment, wanted);
                let (active, available) = active_and_available(bench);
                assert!(
                    active <= i64::from(budget.total_max(wanted)),
                    "{active} of {wanted} with {budget:?}"
                );
                assert!(
                    available >= i64::from(budget.available_min(wanted)),
                    "{available} of {wanted} with {budget:?}"
                );
            };
            for image in ["x:2", "x:3"] {
                story.edit(|d| d["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
                // The second change comes in the middle of the first one.
                for _ in 0..4 {
                    story.look();
                    story.bench.kubelet();
                }
            }
            story.run();
            assert_eq!(story.sizes(), format!("1:0 2:0 3:{replicas}"), "{surge} {unavailable} {replicas}");
        }
    }
}

#[test]
fn recreate_waits_for_the_old_pods_to_end() {
    let mut story = Story::new(deployment(3, "x:1", json!({"type": "Recreate"})));
    story.run();
    story.lines.clear();
    story.check = |bench| {
        let images = bench.list(&PODS);
        let images: std::collections::BTreeSet<_> =
            images.iter().map(|p| p["spec"]["containers"][0]["image"].as_str()).collect();
        assert!(images.len() <= 1, "{images:?} at a time");
    };
    story.edit(|d| d["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:2"));
    story.run();
    story.told(expect![[r#"
        Scaled down replica set r1 from 3 to 0
        Scaled up replica set r2 from 0 to 3"#]]);
}

#[test]
fn an_undo_brings_the_old_set_back_under_a_new_revision() {
    let mut story = Story::new(deployment(2, "x:1", json!({})));
    story.run();
    for image in ["x:2", "x:1"] {
        story.edit(|d| d["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
        story.run();
    }
    assert_eq!(story.sizes(), "2:0 3:2");
    let history = "deployment.kubernetes.io/revision-history";
    let sets = story.bench.list(&SETS);
    let back = sets.iter().find(|s| s["spec"]["replicas"] == 2).unwrap();
    assert_eq!(back["metadata"]["annotations"][history], "1");
    let meta = &story.bench.get(&DEPLOYMENTS, &story.key).unwrap()["metadata"];
    assert_eq!(meta["annotations"]["deployment.kubernetes.io/revision"], "3");
}

#[test]
fn a_pause_stops_the_rollout_and_a_resumption_ends_it() {
    let mut story = Story::new(deployment(2, "x:1", json!({})));
    story.run();
    story.edit(|d| {
        d["spec"]["paused"] = json!(true);
        d["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:2");
    });
    story.run();
    assert_eq!(story.sizes(), "1:2");
    assert_eq!(story.condition("Progressing"), "Unknown DeploymentPaused: Deployment is paused");
    story.edit(|d| d["spec"]["replicas"] = json!(4));
    story.run();
    assert_eq!(story.sizes(), "1:4", "sizes follow all the same");
    story.edit(|d| d["spec"]["paused"] = json!(false));
    story.run();
    assert_eq!(story.sizes(), "1:0 2:4");
    assert_eq!(
        story.condition("Progressing"),
        "True NewReplicaSetAvailable: ReplicaSet \"r2\" has successfully progressed."
    );
}

#[test]
fn a_change_of_size_during_a_rollout_is_shared() {
    let mut story = Story::new(deployment(10, "x:1", rolling(json!(3), json!(2))));
    story.run();
    story.edit(|d| d["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:bad"));
    // The new pods never become ready.
    while story.look() {}
    assert_eq!(story.sizes(), "1:8 2:5");
    story.edit(|d| d["spec"]["replicas"] = json!(15));
    while story.look() {}
    assert_eq!(story.sizes(), "1:11 2:7", "as in the documentation of Deployment");
}

#[test]
fn history_beyond_the_limit_goes() {
    let mut story = Story::new(deployment(1, "x:0", json!({})));
    story.edit(|d| d["spec"]["revisionHistoryLimit"] = json!(2));
    for number in 0..5 {
        story
            .edit(|d| d["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("x:{number}")));
        story.run();
    }
    assert_eq!(story.sizes(), "3:0 4:0 5:1");
}

#[test]
fn a_rollout_without_progress_times_out_and_recovers() {
    let mut story = Story::new(deployment(2, "x:1", json!({})));
    story.run();
    story.edit(|d| {
        d["spec"]["progressDeadlineSeconds"] = json!(60);
        d["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:bad");
    });
    while story.look() {}
    let wake = story.bench.plan::<Deployments>(&story.key).unwrap().wake;
    assert_eq!(wake, Some(story.bench.now + std::time::Duration::from_secs(61)));
    story.bench.pass(61);
    while story.look() {}
    assert_eq!(
        story.condition("Progressing"),
        "False ProgressDeadlineExceeded: ReplicaSet \"r2\" has timed out progressing."
    );
    story.run();
    assert_eq!(
        story.condition("Progressing"),
        "True NewReplicaSetAvailable: ReplicaSet \"r2\" has successfully progressed."
    );
}

#[test]
fn annotations_and_readiness_time_reach_the_newest_set() {
    let mut story = Story::new(deployment(1, "x:1", json!({})));
    story.run();
    story.edit(|d| {
        d["metadata"]["annotations"]["kubernetes.io/change-cause"] = json!("sale");
        d["spec"]["minReadySeconds"] = json!(5);
    });
    story.run();
    let set = story.bench.list(&SETS)[0];
    assert_eq!(set["metadata"]["annotations"]["kubernetes.io/change-cause"], "sale");
    assert_eq!(set["spec"]["minReadySeconds"], 5);
}

#[test]
fn a_name_taken_by_a_stranger_is_avoided() {
    let mut story = Story::new(deployment(1, "x:1", json!({})));
    let body = deployment(1, "x:1", json!({}));
    let wanted: Deployment = serde_json::from_value(body).unwrap();
    let name = super::sets::next_name(&wanted);
    story.bench.put(
        &SETS,
        json!({"metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "other"}}, "template": {}}}),
    );
    while story.look() {}
    assert_eq!(story.bench.list(&SETS).len(), 2);
    assert_eq!(story.bench.get(&DEPLOYMENTS, &story.key).unwrap()["status"]["collisionCount"], 1);
}

#[test]
fn a_deployment_that_goes_away_starts_nothing() {
    let mut story = Story::new(deployment(1, "x:1", json!({})));
    story.edit(|d| {
        d["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
        d["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    while story.look() {}
    assert_eq!(story.bench.list(&SETS).len(), 0);
}
