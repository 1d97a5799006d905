//! What is granted, what is held and how it explains itself.

use api_core::{Node, Pod, PodDisruptionBudget, ReplicaSet};
use api_meta::{Object, ObjectKey, Resource};
use api_workload::{CloneSet, PodUnavailableBudget};
use expect_test::{Expect, expect};
use reconcile::testing::Bench;
use reconcile::{Outcome, Permit, PermitRequest, Risk, Target, Verdict};
use serde_json::{Value, json};

use crate::{Budgets, Guard, Statuses, api, rows};

struct Stage {
    bench: Bench,
    guard: Guard,
}

impl Stage {
    /// One cell, a set of pods that all serve.
    fn new(pods: usize) -> Stage {
        let bench = Bench::new().with::<Statuses>().with::<Budgets>();
        let mut stage = Stage { bench, guard: Guard::new() };
        stage.put(&Node::RESOURCE, json!({"metadata": {"name": "n1", "labels": {crate::CELL: "cell-a"}}}));
        stage.put(
            &ReplicaSet::RESOURCE,
            json!({"metadata": {"name": "cart", "namespace": "shop"}, "spec": {"replicas": pods}}),
        );
        let owner = stage.bench.get(&ReplicaSet::RESOURCE, &key("cart")).unwrap()["metadata"]["uid"].clone();
        for n in 0..pods {
            let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart", "uid": owner, "controller": true}]);
            stage.put(&Pod::RESOURCE, json!({
                "metadata": {"name": format!("cart-{n}"), "namespace": "shop", "labels": {"app": "cart"}, "ownerReferences": owner},
                "spec": {"nodeName": "n1"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            }));
        }
        stage
    }

    fn put(&mut self, resource: &Resource, body: Value) {
        self.bench.put(resource, body);
    }

    fn limits(&mut self, spec: Value) {
        self.put(&api::Guard::RESOURCE, json!({"metadata": {"name": "default"}, "spec": spec, "status": {}}));
    }

    fn request(&self, pod: usize, risk: Risk) -> PermitRequest {
        let pod = self.bench.world.cache::<Pod>().get(&key(&format!("cart-{pod}"))).unwrap().clone();
        let target = Target::of(&*pod);
        PermitRequest {
            controller: "test",
            risk,
            target,
            namespace: "shop".into(),
            workload: "shop/cart".into(),
        }
    }

    fn ask(&self, pod: usize, risk: Risk) -> Verdict {
        self.guard.observe(&self.bench.world, self.bench.now);
        self.guard.ask(&self.request(pod, risk), Some(&self.bench.world), self.bench.now)
    }

    fn granted(&self, pod: usize, risk: Risk) -> bool {
        self.ask(pod, risk) == Verdict::Granted
    }

    /// Asks for one pod after the other, and tells why no more are granted.
    fn check(&self, risk: Risk, expected: Expect) {
        let mut told = String::new();
        for pod in 0..self.bench.world.cache::<Pod>().len() {
            match self.ask(pod, risk) {
                Verdict::Granted => told += &format!("cart-{pod}: granted\n"),
                Verdict::Held { reason, .. } => {
                    told += &format!("cart-{pod}: held: {reason}\n");
                    break;
                }
            }
        }
        expected.assert_eq(&told);
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

#[test]
fn without_settings_nothing_but_disruption_budgets_holds() {
    let mut stage = Stage::new(4);
    assert!((0..4).all(|n| stage.granted(n, Risk::RemovePod)));
    stage.guard = Guard::new();
    stage.put(
        &PodDisruptionBudget::RESOURCE,
        json!({"metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "cart"}}, "minAvailable": 3}}),
    );
    stage.check(Risk::RemovePod, expect![[r#"
        cart-0: granted
        cart-1: held: PodDisruptionBudget shop/cart: 3 of 4 pods are available and 3 must stay; waits until one more is
    "#]]);
}

#[test]
fn budgets_hold_for_the_workload_the_cell_and_the_cluster() {
    let mut stage = Stage::new(4);
    stage.limits(json!({"limits": {"workload": {"maxUnavailable": "50%"}}}));
    stage.check(Risk::Restart, expect![[r#"
        cart-0: granted
        cart-1: granted
        cart-2: held: Guard/default: 2 of 4 pods of ReplicaSet shop/cart are away and 2 may be (maxUnavailable: 50%); waits until one is back
    "#]]);
    stage.guard = Guard::new();
    stage.limits(
        json!({"limits": {"cell": {"maxUnavailable": 3}, "cells": {"cell-a": {"maxUnavailable": 1}}}}),
    );
    stage.check(Risk::Restart, expect![[r#"
        cart-0: granted
        cart-1: held: Guard/default: 1 of 4 pods of cell cell-a are away and 1 may be (maxUnavailable: 1); waits until one is back
    "#]]);
    stage.guard = Guard::new();
    stage.limits(json!({"limits": {"cluster": {"maxUnavailable": 0}}}));
    stage.check(Risk::Restart, expect![[r#"
        cart-0: held: Guard/default: 0 of 4 pods of the cluster are away and 0 may be (maxUnavailable: 0); waits until one is back
    "#]]);
}

#[test]
fn a_pod_that_serves_nobody_never_waits() {
    let mut stage = Stage::new(3);
    stage.limits(json!({"limits": {"cluster": {"maxUnavailable": 1}}}));
    stage.put(
        &PodDisruptionBudget::RESOURCE,
        json!({"metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"selector": {}, "maxUnavailable": 0}}),
    );
    stage
        .bench
        .edit(&Pod::RESOURCE, &key("cart-1"), |p| p["status"]["conditions"][0]["status"] = json!("False"));
    assert!(!stage.granted(0, Risk::RemovePod));
    assert!(stage.granted(1, Risk::RemovePod));
}

#[test]
fn a_scale_in_that_somebody_asked_for_is_no_disruption() {
    let mut stage = Stage::new(4);
    stage.limits(json!({"limits": {"workload": {"maxUnavailable": 0}}}));
    stage.put(
        &PodDisruptionBudget::RESOURCE,
        json!({"metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"selector": {}, "minAvailable": 4}}),
    );
    stage.bench.edit(&ReplicaSet::RESOURCE, &key("cart"), |s| s["spec"]["replicas"] = json!(2));
    assert_eq!([0, 1, 2].map(|n| stage.granted(n, Risk::RemovePod)), [true, true, false]);
    assert!(!stage.granted(2, Risk::Restart), "one of the wanted");
}

#[test]
fn the_brake_and_a_plan_change_everything_at_once() {
    let mut stage = Stage::new(2);
    stage.limits(
        json!({"brake": {"on": true, "by": "lin", "reason": "the river rises", "risk": "RemovePod"}}),
    );
    assert!(stage.granted(0, Risk::Restart));
    stage.check(
        Risk::RemovePod,
        expect![[r#"
        cart-0: held: the brake of Guard/default was put on by lin: the river rises; `knarr brake off` lets go
    "#]],
    );
    let request = stage.request(0, Risk::Destroy);
    stage.guard.observe(&stage.bench.world, stage.bench.now);
    let blind = stage.guard.ask(&request, None, stage.bench.now);
    assert!(matches!(blind, Verdict::Held { .. }), "who keeps no mirrors is held as well");
    stage.limits(json!({"plan": "night"}));
    stage.check(Risk::Restart, expect![[r#"
        cart-0: held: Guard/default names EmergencyPlan/night, which does not exist: create it, or clear spec.plan of Guard/default
    "#]]);
    stage.guard = Guard::new();
    stage.put(
        &api::EmergencyPlan::RESOURCE,
        json!({"metadata": {"name": "night"}, "spec": {"limits": {
        "rates": {"restart": {"burst": 1, "perSecond": 1}}}}}),
    );
    stage.check(
        Risk::Restart,
        expect![[r#"
        cart-0: granted
        cart-1: held: EmergencyPlan/night: the rate of 1 at once and 1 per second for restarts is used up
    "#]],
    );
}

#[test]
fn nothing_is_granted_before_everything_is_seen() {
    let stage = Stage::new(1);
    let mut world = reconcile::World::new();
    crate::judge::watches().iter().for_each(|w| w.register(&mut world));
    let verdict = stage.guard.ask(&stage.request(0, Risk::Restart), Some(&world), stage.bench.now);
    assert!(matches!(verdict, Verdict::Held { reason, .. } if reason.contains("guards.knarr.dev")));
    assert!(matches!(
        Guard::new().ask(&stage.request(0, Risk::Destroy), None, stage.bench.now),
        Verdict::Held { .. }
    ));
}

#[test]
fn a_budget_of_openkruise_holds_updates_and_deletions_apart() {
    let mut stage = Stage::new(4);
    stage.put(&PodUnavailableBudget::RESOURCE, json!({"apiVersion": "policy.kruise.io/v1beta1", "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart"}, "maxUnavailable": "25%",
            "protectOperations": ["DELETE"]}}));
    stage.check(Risk::RemovePod, expect![[r#"
        cart-0: granted
        cart-1: held: PodUnavailableBudget shop/cart: 3 of 4 pods are available and 3 must stay; waits until one more is
    "#]]);
    assert!(stage.granted(2, Risk::Restart), "it does not protect against updates");
    stage.bench.edit(&Pod::RESOURCE, &key("cart-3"), |p| {
        p["metadata"]["annotations"]["pub.kruise.io/no-protect"] = json!("true");
    });
    assert!(stage.granted(3, Risk::RemovePod), "it opted out");
}

#[test]
fn the_status_of_a_kruise_budget_counts_and_forgets() {
    let mut stage = Stage::new(4);
    let now = stage.bench.now;
    stage.put(
        &PodUnavailableBudget::RESOURCE,
        json!({"apiVersion": "policy.kruise.io/v1beta1", "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "cart"}}, "maxUnavailable": 2},
        "status": {"disruptedPods": {"cart-0": now, "gone": now}}}),
    );
    stage.bench.settle::<Budgets>(&key("cart"), 5);
    let status = |stage: &Stage| {
        stage.bench.get(&PodUnavailableBudget::RESOURCE, &key("cart")).unwrap()["status"].clone()
    };
    let seen = status(&stage);
    assert_eq!(seen["disruptedPods"], json!({"cart-0": now}));
    assert_eq!((&seen["unavailableAllowed"], &seen["currentAvailable"]), (&json!(1), &json!(3)));
    assert_eq!((&seen["desiredAvailable"], &seen["totalReplicas"]), (&json!(2), &json!(4)));
    stage.bench.pass(21);
    stage.bench.settle::<Budgets>(&key("cart"), 5);
    assert_eq!(status(&stage)["unavailableAllowed"], 2, "it did not go");
    assert_eq!(status(&stage)["disruptedPods"], json!({}));
}

#[test]
fn the_status_of_the_guard_says_what_is_held_and_away() {
    let mut stage = Stage::new(3);
    stage.limits(json!({"limits": {"cell": {"maxUnavailable": 1}}}));
    stage
        .bench
        .edit(&Pod::RESOURCE, &key("cart-1"), |p| p["status"]["conditions"][0]["status"] = json!("False"));
    let now = stage.bench.now;
    stage.bench.world.set_held("replicaset-controller", &key("cart"), Some("it is Sunday"), now);
    let guard = ObjectKey::new("", "default");
    assert!(stage.bench.settle::<Statuses>(&guard, 3) <= 2);
    let status = &stage.bench.get(&api::Guard::RESOURCE, &guard).unwrap()["status"];
    assert_eq!(
        (&status["held"], &status["away"], &status["cells"]["cell-a"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(status["holds"][0]["reason"], "it is Sunday");
    assert!(stage.bench.plan::<Statuses>(&guard).unwrap().is_quiet(), "a fixed point");
}

#[test]
fn a_refused_action_gives_its_budget_back() {
    let mut stage = Stage::new(3);
    stage.limits(json!({"limits": {"cluster": {"maxUnavailable": 1}}}));
    assert!(stage.granted(0, Risk::Restart));
    assert!(!stage.granted(1, Risk::Restart));
    stage.guard.settle(&stage.request(0, Risk::Restart), Outcome::Undone, stage.bench.now);
    assert!(stage.granted(1, Risk::Restart));
}

#[test]
fn kinds_of_all_workloads_are_read() {
    let read: Vec<String> = rows()[0].watches.iter().map(|w| w.resource().plural.to_string()).collect();
    assert!(read.contains(&CloneSet::RESOURCE.plural.to_string()), "{read:?}");
}

#[test]
fn a_pod_that_was_asked_out_of_service_counts_as_away() {
    let mut stage = Stage::new(3);
    stage.limits(json!({"limits": {"cluster": {"maxUnavailable": 1}}}));
    stage.bench.edit(&Pod::RESOURCE, &key("cart-0"), |p| {
        p["spec"]["readinessGates"] = json!([{"conditionType": "InPlaceUpdateReady"}]);
        p["metadata"]["labels"]["operating.podopslifecycle.kusionstack.io/evict"] = json!("1");
    });
    assert!(!stage.granted(1, Risk::RemovePod));
    assert!(stage.granted(0, Risk::RemovePod), "it is paid for");
}
