use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use api_core::{Node, Pod};
use api_meta::ObjectKey;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};
use stdx::Time;

use super::*;

const NOW: Time = Time::from_secs(1_000_000);

/// Twelve pods of `web` in two cells, two nodes each; one story changes what it is about.
struct World {
    seen: Observed,
    app: Value,
    pods: BTreeMap<String, Value>,
}

impl World {
    fn new() -> World {
        let cell = |name: &str, set: &str| {
            json!({"name": name, "podSet": set, "replicas": 6, "current": 6, "ready": 6, "available": 6,
                "updated": 0, "updatedAvailable": 0, "minAvailable": 4, "lost": false})
        };
        let app = json!({
            "metadata": {"namespace": "shop", "name": "web", "generation": 2},
            "spec": {"replicas": 12, "template": {"spec": {"containers": [{"name": "main", "image": "shop:v2"}]}}},
            "status": {"observedGeneration": 2, "currentRevision": "web-1", "updateRevision": "web-2",
                "replicas": 12, "readyReplicas": 12, "availableReplicas": 12, "updatedReplicas": 0,
                "phase": "RollingOut", "cells": [cell("CellA", "web-a"), cell("CellB", "web-b")], "groups": [
                    {"index": 0, "name": "beta", "phase": "Running", "startedAt": NOW, "updated": 0, "ready": 0,
                        "cells": [{"name": "CellA", "pods": 1}, {"name": "CellB", "pods": 1}]},
                    {"index": 1, "name": "group-1", "phase": "Planned", "updated": 0, "ready": 0,
                        "cells": [{"name": "CellA", "pods": 5}, {"name": "CellB", "pods": 5}]}]}
        });
        let mut pods = BTreeMap::new();
        let mut seen = Observed::default();
        for (cell, set) in [("CellA", "web-a"), ("CellB", "web-b")] {
            for n in 0..2 {
                let name = format!("{set}-node-{n}");
                seen.put(ObjectKey::new("", &name), node(&name, cell, "True"));
            }
            for n in 0..6 {
                let name = format!("{set}-{n}");
                pods.insert(name.clone(), pod(&name, set, &format!("{set}-node-{}", n % 2)));
            }
        }
        seen.seen_all(Kind::Node);
        World { seen, app, pods }
    }

    fn observed(&self) -> Observed {
        let mut seen = self.seen.clone();
        seen.put(ObjectKey::new("shop", "web"), Fact::App(Box::new(AppFact::of(&self.app))));
        for (name, pod) in &self.pods {
            let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
            seen.put(ObjectKey::new("shop", name), Fact::Pod(Box::new(PodFact::of(&pod))));
        }
        seen
    }

    fn parts(&self) -> Parts {
        Parts::of(&self.observed(), NOW)
    }

    fn status(&mut self, name: &str, value: Value) {
        self.app["status"][name] = value;
    }

    fn pod(&mut self, name: &str) -> &mut Value {
        self.pods.get_mut(name).unwrap()
    }

    /// Takes a pod out of service: gate closed, `web` still drains.
    fn drain(&mut self, name: &str, secs_ago: i64) {
        let since = Time::from_secs(NOW.secs() - secs_ago);
        let pod = self.pod(name);
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"},
            {"type": "InPlaceUpdateReady", "status": "False", "lastTransitionTime": since}]);
    }

    /// The same, with nothing left to drain and the new image on its way.
    fn update(&mut self, name: &str, image: &str) {
        self.drain(name, 1);
        let pod = self.pod(name);
        pod["metadata"]["finalizers"] = json!([]);
        pod["spec"]["containers"][0]["image"] = json!(image);
        pod["metadata"]["labels"]["cafe.sofastack.io/revision"] = json!("web-2");
    }
}

fn node(name: &str, cell: &str, ready: &str) -> Fact {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"cafe.sofastack.io/cell": cell}},
        "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
    .unwrap();
    Fact::Node(NodeFact::of(&node))
}

fn pod(name: &str, set: &str, node: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "labels": {"cafe.sofastack.io/revision": "web-1"},
            "finalizers": ["prot.podopslifecycle.kusionstack.io/web"],
            "annotations": {"pod.kusionstack.io/available-conditions":
                r#"{"expectedFinalizers":{"Service/web":"prot.podopslifecycle.kusionstack.io/web"}}"#},
            "ownerReferences": [{"kind": "InPlaceSet", "name": set, "controller": true}]},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "shop:v1"}],
            "readinessGates": [{"conditionType": "InPlaceUpdateReady"}]},
        "status": {"phase": "Running", "podIP": "127.1.64.1", "conditions": [{"type": "Ready", "status": "True"},
            {"type": "InPlaceUpdateReady", "status": "True"}]}
    })
}

/// The board as text: news, groups, cells, and the pods that do not just serve.
fn draw(parts: &Parts) -> String {
    let mut out = String::new();
    for (key, part) in &parts.0 {
        match key.split_once('/').map_or(key.as_str(), |(kind, _)| kind) {
            "app" => draw_app(&mut out, part),
            "pod" if part["state"] != "serving" || part["fresh"] == true => {
                let fresh = if part["fresh"] == true { "new" } else { "old" };
                let text = |name: &str| part[name].as_str().unwrap();
                let _ = writeln!(
                    out,
                    "{} {fresh} {} {}: {}",
                    text("name"),
                    text("version"),
                    text("state"),
                    text("detail")
                );
            }
            "nodes" => {
                let _ = writeln!(
                    out,
                    "{}: {} others, {} ready, {} lost [{}]",
                    part["cell"], part["nodes"], part["ready"], part["lost"], part["strip"]
                );
            }
            _ => {}
        }
    }
    out
}

fn draw_app(out: &mut String, app: &Value) {
    let told = &app["told"];
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let _ = writeln!(out, "[{}] {} - {}", text(&told["tone"]), text(&told["title"]), text(&told["text"]));
    for note in told["notes"].as_array().unwrap() {
        let _ = writeln!(out, "  ! {}", text(note));
    }
    for group in app["groups"].as_array().unwrap() {
        let _ = writeln!(
            out,
            "  {} {} {}/{}",
            text(&group["name"]),
            text(&group["phase"]),
            group["ready"],
            group["pods"]
        );
    }
    for cell in app["cells"].as_array().unwrap() {
        let _ = writeln!(
            out,
            "  {} {} of {}, at least {}, {}",
            text(&cell["name"]),
            cell["available"],
            cell["want"],
            cell["min"],
            cell["states"]
        );
    }
    let _ = writeln!(out, "  may: {}", app["actions"]);
}

fn check(world: &World, want: Expect) {
    want.assert_eq(&draw(&world.parts()));
}

#[test]
fn a_release_tells_its_group_and_what_it_waits_for() {
    let mut w = World::new();
    w.drain("web-a-0", 2);
    w.update("web-b-0", "shop:v2");
    w.status(
        "waitsFor",
        json!({"reason": "Draining", "message": "web-a-0 has 3 open requests", "since": NOW}),
    );
    check(
        &w,
        expect![[r#"
            [work] Releasing v2: beta (1 of 2) - 0 of 12 pods have v2: web-a-0 has 3 open requests.
              beta running 0/2
              group-1 planned 0/10
              CellA 6 of 6, at least 4, {"draining":1,"serving":5}
              CellB 6 of 6, at least 4, {"serving":5,"updating":1}
              may: ["pause","rollback"]
            web-a-0 old v1 draining: open requests of web end
            web-b-0 new v2 updating: new process starts
        "#]],
    );
}

#[test]
fn a_release_that_asks_says_what_is_done_and_what_is_next() {
    let mut w = World::new();
    for (pod, cell) in [("web-a-0", 0), ("web-b-0", 1)] {
        w.pod(pod)["spec"]["containers"][0]["image"] = json!("shop:v2");
        w.pod(pod)["metadata"]["labels"]["cafe.sofastack.io/revision"] = json!("web-2");
        w.app["status"]["cells"][cell]["updated"] = json!(1);
    }
    w.status("phase", json!("WaitingForConfirmation"));
    w.status("updatedReplicas", json!(2));
    w.app["status"]["groups"][0]["phase"] = json!("WaitingForConfirmation");
    w.app["status"]["groups"][0]["ready"] = json!(2);
    check(
        &w,
        expect![[r#"
        [ask] Waiting for your confirmation - beta is done: 2 of 2 pods serve v2. Next is group-1: 5 pods in CellA, 5 in CellB.
          beta waiting 2/2
          group-1 planned 0/10
          CellA 6 of 6, at least 4, {"serving":6}
          CellB 6 of 6, at least 4, {"serving":6}
          may: ["confirm","pause","rollback"]
        web-a-0 new v2 serving: 
        web-b-0 new v2 serving: 
    "#]],
    );
}

#[test]
fn a_rollback_that_asks_says_that_it_is_one_and_cannot_be_taken_back_again() {
    let mut w = World::new();
    w.status("phase", json!("WaitingForConfirmation"));
    w.status("release", json!({"rollback": true}));
    let app = w.parts().0["app/shop/web"].clone();
    assert_eq!(app["told"]["title"], "The rollback waits for your confirmation");
    assert_eq!(app["actions"], json!(["confirm", "pause"]));
}

#[test]
fn a_broken_version_is_named_with_its_reason() {
    let mut w = World::new();
    for name in ["web-a-0", "web-b-0"] {
        w.update(name, "shop:v2");
        w.pod(name)["status"]["containerStatuses"] = json!([{"name": "main", "image": "shop:v2", "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}]);
    }
    w.status("phase", json!("Held"));
    w.status("waitsFor", json!({"reason": "PodsFail", "message": "2 pods of beta fail at v2", "since": NOW}));
    check(
        &w,
        expect![[r#"
            [bad] Held - 2 pods of beta fail at v2.
              ! 2 pods fail: CrashLoopBackOff (exit code 1)
              beta running 0/2
              group-1 planned 0/10
              CellA 6 of 6, at least 4, {"failing":1,"serving":5}
              CellB 6 of 6, at least 4, {"failing":1,"serving":5}
              may: ["rollback"]
            web-a-0 new v2 failing: CrashLoopBackOff (exit code 1)
            web-b-0 new v2 failing: CrashLoopBackOff (exit code 1)
        "#]],
    );
}

#[test]
fn a_lost_cell_does_not_hide_the_other() {
    let mut w = World::new();
    for n in 0..2 {
        let name = format!("web-b-node-{n}");
        w.seen.put(ObjectKey::new("", &name), node(&name, "CellB", "Unknown"));
    }
    w.app["status"]["cells"][1]["lost"] = json!(true);
    w.app["status"]["cells"][1]["available"] = json!(0);
    w.pods.retain(|name, _| name.ends_with('0') || name.ends_with('1'));
    check(
        &w,
        expect![[r#"
        [work] Releasing v2: beta (1 of 2) - 0 of 12 pods have v2.
          ! CellB is lost: none of its nodes answers. It does not hold back the others.
          beta running 0/2
          group-1 planned 0/10
          CellA 6 of 6, at least 4, {"serving":2}
          CellB 0 of 6, at least 4, {"lost":2}
          may: ["pause","rollback"]
        web-b-0 old v1 lost: web-b-node-0 does not answer
        web-b-1 old v1 lost: web-b-node-1 does not answer
    "#]],
    );
}

#[test]
fn a_change_that_nobody_has_seen_is_no_stable_release() {
    let mut w = World::new();
    w.app["metadata"]["generation"] = json!(3);
    w.status("phase", json!("Stable"));
    w.status("groups", json!([]));
    check(
        &w,
        expect![[r#"
        [work] A change has come - Its controller has not looked at it yet.
          CellA 6 of 6, at least 4, {"serving":6}
          CellB 6 of 6, at least 4, {"serving":6}
          may: ["rollback"]
    "#]],
    );
}

#[test]
fn a_release_that_went_back_by_itself_says_why_until_the_next_one() {
    let mut w = World::new();
    w.app["metadata"]["annotations"] = json!({"knarr.dev/rolled-back":
        r#"{"from": "web-3", "to": "web-2", "reason": "PodFailed", "why": "pod web-a-0: process ended with exit code 1"}"#});
    w.status("phase", json!("Stable"));
    let told = w.parts().0["app/shop/web"]["told"].clone();
    assert_eq!(told["tone"], "warn");
    assert_eq!(told["notes"], json!(["It went back by itself: pod web-a-0: process ended with exit code 1"]));
    w.status("updateRevision", json!("web-4"));
    assert_eq!(w.parts().0["app/shop/web"]["told"]["notes"], json!([]));
}

#[test]
fn an_overdue_drain_is_a_note() {
    let mut w = World::new();
    w.drain("web-a-0", 61);
    let parts = w.parts();
    assert_eq!(
        parts.0["app/shop/web"]["told"]["notes"],
        json!(["web-a-0 drains: overdue: web still sends traffic"])
    );
}

#[test]
fn a_pod_serves_only_when_traffic_is_back() {
    let mut w = World::new();
    w.pod("web-a-0")["metadata"]["finalizers"] = json!([]);
    let tile = w.parts().0["pod/shop/web-a-0"].clone();
    assert_eq!(
        (&tile["state"], &tile["detail"]),
        (&json!("starting"), &json!("waits until web sends traffic again"))
    );
}

#[test]
fn a_process_stopped_for_an_update_does_not_look_like_a_failure() {
    let mut w = World::new();
    w.update("web-a-0", "shop:v2");
    w.pod("web-a-0")["status"]["containerStatuses"] =
        json!([{"name": "main", "image": "shop:v1", "state": {"terminated": {"exitCode": 143}}}]);
    assert_eq!(w.parts().0["pod/shop/web-a-0"]["state"], "updating");
}

#[test]
fn a_node_not_seen_yet_is_not_a_lost_node() {
    let mut w = World::new();
    w.seen.nodes.clear();
    w.seen.known.clear();
    assert_eq!(w.parts().0["pod/shop/web-a-0"]["state"], "serving");
    w.seen.seen_all(Kind::Node);
    assert_eq!(w.parts().0["pod/shop/web-a-0"]["state"], "lost");
}

#[test]
fn where_images_are_the_same_the_revision_tells_new_from_old() {
    let mut w = World::new();
    w.app["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop:v1");
    w.pod("web-a-0")["metadata"]["labels"]["cafe.sofastack.io/revision"] = json!("web-2");
    let parts = w.parts();
    let fresh: Vec<&String> =
        parts.0.iter().filter(|(_, p)| p["fresh"] == true).map(|(key, _)| key).collect();
    assert_eq!(fresh, ["pod/shop/web-a-0"]);
}

#[test]
fn a_rollback_is_named_by_what_it_goes_back_to_whatever_the_template_says() {
    let mut w = World::new();
    w.app["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop:v3");
    w.status("phase", json!("RollingBack"));
    w.status("updateRevision", json!("web-1"));
    w.pod("web-a-0")["metadata"]["labels"]["cafe.sofastack.io/revision"] = json!("web-3");
    w.pod("web-a-0")["spec"]["containers"][0]["image"] = json!("shop:v3");
    let app = w.parts().0["app/shop/web"].clone();
    assert_eq!(app["versions"], json!({"from": "v3", "to": "v1"}));
    assert_eq!(app["told"]["title"], "Rolling back to v1");
}

#[test]
fn a_pod_belongs_to_the_application_its_label_names_before_any_status_names_its_set() {
    let mut w = World::new();
    w.status("cells", json!([]));
    w.pod("web-a-0")["metadata"]["labels"]["cafe.sofastack.io/cafe-deployment"] = json!("web");
    let parts = w.parts();
    let pods: Vec<(&String, &Value)> =
        parts.0.iter().filter(|(k, _)| k.starts_with("pod/")).map(|(k, p)| (k, &p["cell"])).collect();
    assert_eq!(pods, [(&"pod/shop/web-a-0".to_owned(), &json!("CellA"))]);
}

#[test]
fn a_thousand_other_nodes_are_counted_and_a_change_among_them_is_one_small_part() {
    let mut w = World::new();
    for n in 0..1000 {
        let (name, cell) = (format!("sim-{n}"), if n < 500 { "CellA" } else { "CellB" });
        w.seen.put(ObjectKey::new("", &name), node(&name, cell, "True"));
    }
    let before = w.parts();
    assert_eq!(
        (&before.0["nodes/CellA"]["nodes"], &before.0["nodes/CellA"]["lost"]),
        (&json!(500), &json!(0))
    );
    let whole = serde_json::to_string(&before.0).unwrap().len();
    assert!(whole < 10_000, "{whole} bytes");
    w.seen.put(ObjectKey::new("", "sim-700"), node("sim-700", "CellB", "Unknown"));
    let change = Change::between(&before, &w.parts());
    let keys: Vec<&String> = change.set.keys().collect();
    assert_eq!(keys, ["cluster", "nodes/CellB"]);
    assert!(change.set["nodes/CellB"]["strip"].as_str().unwrap().contains('x'));
}

#[test]
fn one_pod_that_changes_does_not_send_the_others() {
    let mut w = World::new();
    let before = w.parts();
    w.drain("web-a-0", 0);
    let keys: Vec<String> = Change::between(&before, &w.parts()).set.into_keys().collect();
    assert_eq!(keys, ["app/shop/web", "pod/shop/web-a-0"]);
}

#[test]
fn time_alone_changes_nothing() {
    let mut w = World::new();
    w.status("waitsFor", json!({"reason": "Wait", "message": "m", "since": NOW}));
    let seen = w.observed();
    let later = Time::from_secs(NOW.secs() + 3600);
    assert!(Change::between(&Parts::of(&seen, NOW), &Parts::of(&seen, later)).is_empty());
}

#[test]
fn events_about_others_are_left_out_and_the_newest_come_first() {
    let mut w = World::new();
    let event = |at: i64, kind: &str, about: &str| {
        let fact = EventFact::of(
            &json!({"involvedObject": {"kind": kind, "name": about, "namespace": "shop"}, "type": "Normal",
            "reason": "R", "message": "m", "lastTimestamp": Time::from_secs(NOW.secs() + at).to_string()}),
        );
        (ObjectKey::new("shop", format!("{about}.{at}")), Fact::Event(fact.unwrap()))
    };
    let told = [
        (-5, "Pod", "web-a-0"),
        (-4, "Pod", "other"),
        (-3, "CafeDeployment", "web"),
        (-2000, "Pod", "web-a-0"),
        (-1, "InPlaceSet", "web-a"),
        (-6, "Node", "web-a-node-0"),
        (0, "Node", "sim-0"),
    ];
    for (key, fact) in told.map(|(at, kind, about)| event(at, kind, about)) {
        w.seen.put(key, fact);
    }
    let parts = w.parts();
    let about: Vec<&str> =
        parts.0["events"].as_array().unwrap().iter().map(|e| e["about"].as_str().unwrap()).collect();
    assert_eq!(about, ["web-a", "web", "web-a-0", "web-a-node-0"]);
}

#[test]
fn pods_beyond_the_limit_are_counted_and_their_states_still_known() {
    let mut w = World::new();
    for n in 0..700 {
        let name = format!("web-a-more-{n}");
        w.pods.insert(name.clone(), pod(&name, "web-a", "web-a-node-0"));
    }
    let parts = w.parts();
    let app = &parts.0["app/shop/web"];
    assert_eq!((&app["hidden"], &app["cells"][0]["states"]["serving"]), (&json!(112), &json!(706)));
    assert_eq!(parts.0.keys().filter(|k| k.starts_with("pod/")).count(), 600);
}

fn parts_of(map: BTreeMap<String, u8>) -> Parts {
    Parts(map.into_iter().map(|(k, v)| (k, Arc::new(json!(v)))).collect())
}

proptest! {
    #[test]
    fn a_change_turns_what_was_into_what_is(
        before in prop::collection::btree_map("[a-e]", 0u8..3, 0..5),
        after in prop::collection::btree_map("[a-e]", 0u8..3, 0..5),
    ) {
        let (before, after) = (parts_of(before), parts_of(after));
        let change = Change::between(&before, &after);
        prop_assert_eq!(change.is_empty(), before == after);
        let mut built = before;
        built.0.retain(|key, _| !change.gone.contains(key));
        built.0.extend(change.set);
        prop_assert_eq!(built, after);
    }
}

fn reading(requests: u64, failed: u64, open: u64) -> TrafficReading {
    TrafficReading::of(
        &json!([{"namespace": "shop", "name": "web", "totals": {"requests": requests, "failed": failed, "rps": 1.0},
        "endpoints": [{"port": "http", "pod": "web-a-0", "requests": requests, "open": open}, {"port": "admin", "pod": "web-a-0", "requests": 0, "open": 0}, {"pod": "web-a-1", "requests": 0, "open": 0}]}]),
    )
}

#[test]
fn totals_become_rates_and_quiet_pods_are_left_out() {
    let mut meter = Meter::default();
    meter.tick(Some(reading(1000, 1, 0)), NOW);
    let tick = meter.tick(Some(reading(1500, 3, 7)), NOW + std::time::Duration::from_millis(250));
    let moved = tick.services["shop/web"];
    assert_eq!((moved.rps, moved.failed, moved.requests_total, moved.failed_total), (2000.0, 2, 1500, 3));
    assert_eq!(tick.pods, BTreeMap::from([("shop/web-a-0".to_owned(), PodMoved { open: 7, rps: 2000.0 })]));
}

#[test]
fn a_proxy_that_starts_anew_shows_no_negative_traffic() {
    let mut meter = Meter::default();
    meter.tick(Some(reading(1000, 5, 0)), NOW);
    let tick = meter.tick(Some(reading(10, 0, 1)), NOW + std::time::Duration::from_secs(1));
    assert_eq!((tick.services["shop/web"].rps, tick.services["shop/web"].failed), (0.0, 0));
}

#[test]
fn failures_of_several_reports_between_two_ticks_are_summed() {
    let mut meter = Meter::default();
    let report = |t: f64, ok: u64, failed: u64| {
        LoadReading::of(
            &json!({"t": t, "sent": ok + failed, "ok": ok, "failed": failed, "p50_ms": 21.0, "p99_ms": 25.5}),
        )
        .unwrap()
    };
    meter.load(report(0.0, 0, 0));
    meter.load(report(100.0, 200, 1));
    meter.load(report(200.0, 400, 3));
    let moved = meter.tick(None, NOW).load.unwrap();
    assert_eq!((moved.failed, moved.failed_total, moved.rps), (3, 3, 2020.0));
    assert_eq!(meter.tick(None, NOW).load.unwrap().failed, 0, "told once");
    meter.load(report(50.0, 10, 0));
    assert_eq!(meter.tick(None, NOW).load.unwrap().failed_total, 0, "a new run");
    meter.load_ended();
    assert_eq!(meter.tick(None, NOW).load.unwrap().rps, 0.0);
}

#[test]
fn a_report_without_its_figures_is_none() {
    for body in [json!({}), json!({"t": "x", "failed": 0}), json!({"t": 1.0}), json!([])] {
        assert_eq!(LoadReading::of(&body), None, "{body}");
    }
}
