use api_core::{Deployment, Namespace, Node, PodDisruptionBudget};
use api_meta::{Object, ObjectKey, Resource};
use api_workload::{CafeDeployment, CloneSet, InPlaceSet};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use reconcile::Severity;
use reconcile::testing::Bench;
use serde_json::{Value, json};

use super::{STABILITY, Stability};

const BUDGETS: Resource = PodDisruptionBudget::RESOURCE;
const DEPLOYMENTS: Resource = Deployment::RESOURCE;
const NAMESPACES: Resource = Namespace::RESOURCE;

/// A namespace that asks for default stability, on nodes of two cells.
struct Story {
    bench: Bench,
    key: ObjectKey,
}

impl Story {
    fn new() -> Story {
        let mut bench = Bench::new().with::<Stability>();
        for cell in ["a", "b"] {
            let labels = json!({"cafe.sofastack.io/cell": cell});
            bench.put(&Node::RESOURCE, json!({"metadata": {"name": cell, "labels": labels}}));
        }
        let labels = json!({STABILITY: "enabled"});
        let key = bench.put(&NAMESPACES, json!({"metadata": {"name": "shop", "labels": labels}}));
        Story { bench, key }
    }

    fn workload(&mut self, resource: &Resource, name: &str, replicas: i64) -> ObjectKey {
        self.bench.put(resource, json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name, "tier": "front"}}, "spec": {"containers": []}},
            },
            "status": {"replicas": replicas},
        }))
    }

    /// A budget that somebody else made.
    fn budget(&mut self, name: &str, selector: &Value) -> ObjectKey {
        let spec = json!({"selector": selector, "minAvailable": 1});
        self.bench.put(
            &BUDGETS,
            json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec, "status": {}}),
        )
    }

    fn settle(&mut self) {
        self.bench.settle::<Stability>(&self.key.clone(), 3);
    }

    /// All budgets, with what they cover and how many may be away.
    fn told(&mut self, expected: Expect) {
        self.settle();
        let line = |budget: &Value| {
            let spec = &budget["spec"];
            let ours = if budget["metadata"]["labels"][STABILITY] == "true" { "ours" } else { "foreign" };
            let away =
                if spec["maxUnavailable"].is_null() { "-" } else { spec["maxUnavailable"].as_str().unwrap() };
            format!(
                "{} {ours}: {} {away}",
                budget["metadata"]["name"].as_str().unwrap(),
                spec["selector"]["matchLabels"]
            )
        };
        let lines: Vec<String> = self.bench.list(&BUDGETS).into_iter().map(line).collect();
        expected.assert_eq(&lines.join("\n"));
    }
}

#[test]
fn every_kind_gets_one_budget_of_its_own_and_a_cafe_deployment_one_in_each_cell() {
    let mut story = Story::new();
    story.workload(&DEPLOYMENTS, "web", 3);
    story.workload(&CloneSet::RESOURCE, "web", 3);
    let cafe = story.workload(&CafeDeployment::RESOURCE, "pay", 10);
    let uid = story.bench.get(&CafeDeployment::RESOURCE, &cafe).unwrap()["metadata"]["uid"].clone();
    let set = story.workload(&InPlaceSet::RESOURCE, "pay-a", 5);
    story.bench.edit(&InPlaceSet::RESOURCE, &set, |s| {
        s["metadata"]["ownerReferences"] =
            json!([{"kind": "CafeDeployment", "name": "pay", "uid": uid, "controller": true}]);
    });
    story.workload(&DEPLOYMENTS, "single", 1);
    story.told(expect![[r#"
        pay-a-inplaceset-default ours: {"app":"pay-a"} 20%
        web-cloneset-default ours: {"app":"web"} 20%
        web-deployment-default ours: {"app":"web"} 20%"#]]);
    let ours = &story.bench.list(&BUDGETS)[0]["metadata"];
    assert_eq!(ours["ownerReferences"][0]["name"], "pay-a", "it goes with its workload");
    let why = ours["annotations"]["kubernetes.io/description"].as_str().unwrap();
    assert!(
        why.contains("To do without: annotate either with knarr.dev/default-stability=disabled"),
        "{why}"
    );
}

#[test]
fn annotations_switch_it_off_and_take_ours_back() {
    let mut story = Story::new();
    let web = story.workload(&DEPLOYMENTS, "web", 3);
    story.workload(&DEPLOYMENTS, "api", 3);
    story.settle();
    let off = |o: &mut Value| o["metadata"]["annotations"] = json!({STABILITY: "disabled"});
    story.bench.edit(&DEPLOYMENTS, &web, off);
    story.told(expect![[r#"api-deployment-default ours: {"app":"api"} 20%"#]]);
    let key = story.key.clone();
    story.bench.edit(&NAMESPACES, &key, off);
    story.told(expect![""]);
    story.bench.edit(&NAMESPACES, &key, |n| n["metadata"]["annotations"] = json!({}));
    story.told(expect![[r#"api-deployment-default ours: {"app":"api"} 20%"#]]);
    story.bench.edit(&NAMESPACES, &key, |n| n["metadata"]["labels"] = json!({}));
    story.told(expect![""]);
}

#[test]
fn a_budget_of_somebody_else_ends_ours_and_its_end_brings_ours_back() {
    let mut story = Story::new();
    story.workload(&DEPLOYMENTS, "web", 3);
    story.settle();
    let own = story.budget("mine", &json!({"matchLabels": {"app": "web"}}));
    let plan = story.bench.plan::<Stability>(&story.key).unwrap();
    expect!["Deleted default disruption budget web-deployment-default: mine covers its pods"]
        .assert_eq(&plan.notes[0].message);
    story.told(expect![[r#"mine foreign: {"app":"web"} -"#]]);
    story.bench.drop(&BUDGETS, &own);
    story.told(expect![[r#"web-deployment-default ours: {"app":"web"} 20%"#]]);
}

#[test]
fn a_budget_over_some_of_the_pods_counts_and_one_over_other_pods_does_not() {
    let mut story = Story::new();
    story.workload(&DEPLOYMENTS, "web", 3);
    story.budget("others", &json!({"matchLabels": {"app": "api", "cell": "a"}}));
    story.budget("labels-nobody-knows", &json!({"matchLabels": {"cell": "a"}}));
    story.settle();
    assert_eq!(story.bench.list(&BUDGETS).len(), 3);
    story.budget("part", &json!({"matchLabels": {"app": "web", "cell": "a"}}));
    story.settle();
    assert_eq!(story.bench.list(&BUDGETS).len(), 3, "pods of cell a would have two");
}

#[test]
fn what_is_changed_by_hand_is_put_right() {
    let mut story = Story::new();
    story.workload(&DEPLOYMENTS, "web", 3);
    story.settle();
    let ours = ObjectKey::new("shop", "web-deployment-default");
    story.bench.edit(&BUDGETS, &ours, |b| {
        b["spec"] = json!({"selector": {"matchLabels": {"app": "web", "x": "y"}}, "minAvailable": "100%"});
    });
    story.told(expect![[r#"web-deployment-default ours: {"app":"web"} 20%"#]]);
    assert!(story.bench.get(&BUDGETS, &ours).unwrap()["spec"]["minAvailable"].is_null());
}

#[test]
fn a_workload_that_shrinks_to_one_loses_its_budget() {
    let mut story = Story::new();
    let web = story.workload(&DEPLOYMENTS, "web", 2);
    story.settle();
    story.bench.edit(&DEPLOYMENTS, &web, |d| d["spec"]["replicas"] = json!(1));
    story.told(expect![""]);
}

#[test]
fn a_template_without_pods_is_made_to_spread_and_one_with_pods_only_spoken_of() {
    let mut story = Story::new();
    let empty = story.workload(&DEPLOYMENTS, "empty", 0);
    let full = story.workload(&DEPLOYMENTS, "full", 3);
    let spread = |story: &Story, key: &ObjectKey| {
        let stored = story.bench.get(&DEPLOYMENTS, key).unwrap();
        let all = stored["spec"]["template"]["spec"]["topologySpreadConstraints"].as_array().cloned();
        all.unwrap_or_default()
            .iter()
            .map(|c| c["topologyKey"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let plan = story.bench.plan::<Stability>(&story.key).unwrap();
    let wish = plan.notes.iter().find(|n| n.severity == Severity::Why).unwrap();
    assert!(wish.message.contains("would roll them out") && wish.about.as_ref().unwrap().key == full);
    story.settle();
    expect!["cafe.sofastack.io/cell kubernetes.io/hostname topology.kubernetes.io/zone"]
        .assert_eq(&spread(&story, &empty).join(" "));
    assert!(spread(&story, &full).is_empty());
}

#[test]
fn a_patch_of_an_empty_template_is_void_once_somebody_wants_pods() {
    let mut story = Story::new();
    let web = story.workload(&DEPLOYMENTS, "web", 0);
    let stale = story.bench.plan::<Stability>(&story.key).unwrap();
    story.bench.edit(&DEPLOYMENTS, &web, |d| d["spec"]["replicas"] = json!(3));
    assert!(story.bench.apply(&stale).is_err());
}

#[test]
fn who_says_anything_about_the_place_of_pods_is_left_alone() {
    let said = [
        json!({"affinity": {"nodeAffinity": {}}}),
        json!({"topologySpreadConstraints": [{"topologyKey": "x"}]}),
    ];
    for spec in said {
        let mut story = Story::new();
        let web = story.workload(&DEPLOYMENTS, "web", 0);
        story.bench.edit(&DEPLOYMENTS, &web, |d| d["spec"]["template"]["spec"] = spec.clone());
        assert!(story.bench.plan::<Stability>(&story.key).unwrap().is_quiet());
    }
    let mut story = Story::new();
    story.workload(&CafeDeployment::RESOURCE, "pay", 0);
    assert!(story.bench.plan::<Stability>(&story.key).unwrap().is_quiet(), "it spreads over cells by itself");
}

#[test]
fn a_namespace_that_does_not_ask_is_not_touched() {
    let mut story = Story::new();
    story.workload(&DEPLOYMENTS, "web", 3);
    let key = story.key.clone();
    story.bench.edit(&NAMESPACES, &key, |n| n["metadata"]["labels"] = json!({}));
    assert!(story.bench.plan::<Stability>(&key).unwrap().is_quiet());
}

#[derive(Clone, Debug)]
enum Event {
    Replicas(usize, i64),
    Off(usize, bool),
    Foreign(usize, bool),
    Enabled(bool),
    Plan,
}

fn event() -> impl Strategy<Value = Event> {
    let which = 0..3usize;
    prop_oneof![
        (which.clone(), 0..4i64).prop_map(|(w, n)| Event::Replicas(w, n)),
        (which.clone(), any::<bool>()).prop_map(|(w, on)| Event::Off(w, on)),
        (which, any::<bool>()).prop_map(|(w, on)| Event::Foreign(w, on)),
        any::<bool>().prop_map(Event::Enabled),
        Just(Event::Plan),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn in_the_end_each_workload_has_exactly_the_budget_it_should_whatever_came_before(
        events in prop::collection::vec(event(), 0..30),
    ) {
        let mut story = Story::new();
        let names = ["a", "b", "c"];
        let workloads = names.map(|name| story.workload(&DEPLOYMENTS, name, 2));
        let (mut replicas, mut off, mut foreign, mut enabled) = ([2; 3], [false; 3], [false; 3], true);
        for event in events {
            match event {
                Event::Replicas(w, n) => {
                    replicas[w] = n;
                    story.bench.edit(&DEPLOYMENTS, &workloads[w], |d| d["spec"]["replicas"] = json!(n));
                }
                Event::Off(w, on) => {
                    off[w] = on;
                    let value = if on { json!({STABILITY: "disabled"}) } else { json!({}) };
                    story.bench.edit(&DEPLOYMENTS, &workloads[w], |d| d["metadata"]["annotations"] = value);
                }
                Event::Foreign(w, on) => {
                    foreign[w] = on;
                    let name = format!("mine-{}", names[w]);
                    if on {
                        story.budget(&name, &json!({"matchLabels": {"app": names[w]}}));
                    } else {
                        story.bench.drop(&BUDGETS, &ObjectKey::new("shop", name));
                    }
                }
                Event::Enabled(on) => {
                    enabled = on;
                    let labels = if on { json!({STABILITY: "enabled"}) } else { json!({}) };
                    let key = story.key.clone();
                    story.bench.edit(&NAMESPACES, &key, |n| n["metadata"]["labels"] = labels);
                }
                Event::Plan => {
                    let plan = story.bench.plan::<Stability>(&story.key).unwrap();
                    story.bench.apply(&plan).unwrap();
                }
            }
        }
        story.settle();
        for w in 0..3 {
            let ours = story.bench.get(&BUDGETS, &ObjectKey::new("shop", format!("{}-deployment-default", names[w])));
            let wanted = enabled && !off[w] && !foreign[w] && replicas[w] >= 2;
            prop_assert_eq!(ours.is_some(), wanted, "{}", names[w]);
        }
    }
}
