//! Properties of every run: it ends, it keeps to the budgets, it is the same twice. Over a grid of small workloads.

use api_core::{Deployment, Node};
use api_meta::{Object, ObjectKey};
use api_workload::CloneSet;
use reconcile::Row;
use serde_json::{Value, json};
use stdx::Time;
use view::{Fate, Forecast};

use super::{Minds, Root, run};
use crate::scene::Scene;
use crate::thinkers::Thinkers;

/// A scene with two nodes, and a workload that has rolled out.
struct Stage {
    thinkers: Thinkers,
    scene: Scene,
    root: Root,
}

impl Stage {
    fn new<T: Object>(spec: Value) -> Stage {
        let rows: Vec<Row> = builtins::rows().into_iter().chain(workloads::rows()).collect();
        let thinkers = Thinkers::from(rows);
        let mut scene = Scene::new(Time::from_secs(1_700_000_000));
        thinkers.mirror(&mut scene, &thinkers.about(&[T::RESOURCE]));
        for name in ["node-1", "node-2"] {
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
            scene.put(&Node::RESOURCE, node).unwrap();
        }
        scene.synced();
        let object = json!({"apiVersion": T::RESOURCE.api_version(), "kind": T::RESOURCE.kind,
            "metadata": {"namespace": "shop", "name": "web"}, "spec": spec});
        scene.put(&T::RESOURCE, object).unwrap();
        let root = Root { resource: T::RESOURCE, key: ObjectKey::new("shop", "web") };
        let mut stage = Stage { thinkers, scene, root };
        let forecast = stage.run();
        assert!(forecast.finishes, "{forecast:#?}");
        stage
    }

    fn run(&mut self) -> Forecast {
        let rows = self.thinkers.about(std::slice::from_ref(&self.root.resource));
        let minds = Minds { rows, permit: None, counted: &[] };
        run(&mut self.scene, &minds, std::slice::from_ref(&self.root)).remove(0)
    }

    fn edit(&mut self, change: impl FnOnce(&mut Value)) -> Forecast {
        let (resource, key) = (self.root.resource.clone(), self.root.key.clone());
        self.scene.edit(&resource, &key, |object| change(&mut object["spec"]));
        self.run()
    }
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"readinessGates": [{"conditionType": "InPlaceUpdateReady"}],
        "containers": [{"name": "main", "image": "web:1"}]}})
}

fn cloneset(replicas: i64, surge: i64, unavailable: i64, policy: &str) -> Value {
    json!({"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(), "updateStrategy": {"rollingUpdate":
        {"maxSurge": surge, "maxUnavailable": unavailable, "podUpdatePolicy": policy}}})
}

fn deployment(replicas: i64, surge: i64, unavailable: i64) -> Value {
    let mut template = template();
    template["spec"]["readinessGates"] = json!([]);
    json!({"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
}

fn to_version_2(spec: &mut Value) {
    spec["template"]["spec"]["containers"][0]["image"] = json!("web:2");
}

/// It ends, touches as many pods as there are, and never falls below what the workload allows.
fn check(forecast: &Forecast, replicas: i64, what: &str) {
    assert!(forecast.finishes, "{what}: {}", forecast.text());
    for low in forecast.availability.iter().filter(|l| l.cell.is_empty()) {
        assert!(low.minimum.is_none_or(|m| low.lowest >= m), "{what}: {}", forecast.text());
        assert_eq!(low.end, replicas, "{what}");
    }
    let touched = |fates: &[Fate]| -> usize {
        forecast.steps.iter().filter(|s| fates.contains(&s.deed)).map(|s| s.pods.len()).sum()
    };
    let gone = touched(&[Fate::Restart, Fate::Recreate, Fate::Delete]);
    assert!(gone >= usize::try_from(replicas).unwrap(), "{what}: {}", forecast.text());
}

#[test]
fn clonesets_finish_within_their_budgets() {
    for replicas in [1, 2, 5] {
        for (surge, unavailable) in [(0, 1), (0, 2), (1, 0), (2, 1)] {
            for policy in ["InPlaceIfPossible", "ReCreate"] {
                let what = format!("{replicas} pods, surge {surge}, unavailable {unavailable}, {policy}");
                let mut stage = Stage::new::<CloneSet>(cloneset(replicas, surge, unavailable, policy));
                check(&stage.edit(to_version_2), replicas, &what);
            }
        }
    }
}

#[test]
fn deployments_finish_within_their_budgets() {
    for replicas in [1, 2, 5] {
        for (surge, unavailable) in [(0, 1), (1, 0), (2, 1)] {
            let what = format!("{replicas} pods, surge {surge}, unavailable {unavailable}");
            let mut stage = Stage::new::<Deployment>(deployment(replicas, surge, unavailable));
            check(&stage.edit(to_version_2), replicas, &what);
        }
    }
}

#[test]
fn the_same_state_gives_the_same_forecast_and_a_quiet_one_touches_nothing() {
    let course = || Stage::new::<CloneSet>(cloneset(4, 0, 2, "InPlaceIfPossible")).edit(to_version_2);
    assert_eq!(course(), course());
    let quiet = Stage::new::<CloneSet>(cloneset(4, 0, 2, "InPlaceIfPossible")).run();
    assert!(quiet.finishes && quiet.steps.is_empty(), "{}", quiet.text());
}

#[test]
fn new_pods_that_fit_no_node_are_told() {
    let mut stage = Stage::new::<CloneSet>(cloneset(2, 0, 1, "ReCreate"));
    let forecast = stage.edit(|spec| {
        spec["template"]["spec"]["nodeSelector"] = json!({"disk": "fast"});
    });
    assert!(!forecast.finishes, "{}", forecast.text());
    assert!(forecast.held.iter().any(|r| r.reason == "Unschedulable"), "{}", forecast.text());
}

#[test]
fn a_pod_in_trouble_stays_so_unless_it_is_changed() {
    let mut stage = Stage::new::<CloneSet>(cloneset(3, 0, 1, "InPlaceIfPossible"));
    let pod = stage.scene.list(&crate::scene::PODS).next().map(|(key, _)| key.clone()).unwrap();
    stage.scene.edit(&crate::scene::PODS, &pod, |pod| {
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
        pod["status"]["containerStatuses"][0]["ready"] = json!(false);
        pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    });
    let stays = stage.edit(|spec| spec["replicas"] = json!(4));
    assert!(stays.held.iter().any(|r| r.reason == "PodTrouble"), "{}", stays.text());
    let mended = stage.edit(to_version_2);
    assert!(mended.finishes, "{}", mended.text());
}
