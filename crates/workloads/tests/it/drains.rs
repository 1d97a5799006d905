//! How pods leave traffic before they are changed or deleted, step by step, in words. Reviewed as documentation.

use api_core::drain;
use api_workload::names;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Kind};
use crate::stories::{in_place, recreate};

/// A ready set whose pods are in traffic that ends so many seconds after a gate is closed; `annotations` are on its pods.
fn serving(mut spec: Value, drains_in: u64, annotations: Value) -> Cluster {
    spec["template"] = json!({
        "metadata": {"labels": {"app": "web"}, "annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]},
    });
    let mut cluster = Cluster::with(spec).with_traffic(drains_in);
    cluster.finish(20);
    cluster.ticks(1);
    cluster.story(1);
    cluster
}

fn with_policy(policy: &str) -> Value {
    json!({drain::DEADLINE_SECONDS: "5", drain::DEADLINE_POLICY: policy})
}

#[test]
fn an_image_changes_only_when_traffic_has_ended_and_counts_when_it_is_back() {
    let mut cluster = serving(in_place(2, json!({"maxUnavailable": 1})), 3, json!({}));
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s, 1 of 2 available
          create controllerrevisions web#2
          patch clonesets/status web: 2 pods, 2 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable, 1 of them from now on
          patch clonesets/status web: 2 pods, 1 ready, 0 updated [None]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-A)
          (Why Draining) held until traffic ends: web-A waits for web since 2023-11-14T22:13:25Z (due 2023-11-14T22:14:25Z)
        4 s, 1 of 2 available
          -- web-A: let go
          patch pods web-A: revision web#2, main=web:2 [Restart]
          patch clonesets/status web: 2 pods, 1 ready, 1 updated [None]
        6 s, 1 of 2 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        7 s, 1 of 2 available
          -- web-A: protected
          patch clonesets/status web: 2 pods, 2 ready, 1 updated [None]
          patch pods/status web-B: InPlaceUpdateReady=False, Ready=False [Restart]
          patch clonesets/status web: 2 pods, 1 ready, 1 updated [None]
          (Why Draining) held until traffic ends: web-B waits for web since 2023-11-14T22:13:32Z (due 2023-11-14T22:14:32Z)
        11 s, 1 of 2 available
          -- web-B: let go
          patch pods web-B: revision web#2, main=web:2 [Restart]
          patch clonesets/status web: 2 pods, 1 ready, 2 updated [None]
        13 s, 1 of 2 available
          patch pods/status web-B: InPlaceUpdateReady=True [None]
        14 s, 2 of 2 available
          -- web-B: protected
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
    "#]].assert_eq(&cluster.story(20));
    assert!(cluster.is_done());
}

#[test]
fn an_overdue_drain_is_held_until_traffic_ends() {
    let mut cluster = serving(in_place(2, json!({"maxUnavailable": 1})), 0, with_policy("Hold"));
    cluster.traffic.is_dead = true;
    cluster.image("web:2");
    let mut story = cluster.story(9);
    cluster.traffic.is_dead = false;
    story += "-- traffic is alive again\n";
    story += &cluster.story(4);
    expect_test::expect![[r#"
        0 s, 1 of 2 available
          create controllerrevisions web#2
          patch clonesets/status web: 2 pods, 2 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable, 1 of them from now on
          patch clonesets/status web: 2 pods, 1 ready, 0 updated [None]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-A)
          (Why Draining) held until traffic ends: web-A waits for web since 2023-11-14T22:13:25Z (due 2023-11-14T22:13:30Z)
        5 s, 1 of 2 available
          patch clonesets/status web: 2 pods, 1 ready, 0 updated, PodsStuck: 1 of 2 pods do not become ready: web-A on node-0 (its drain is overdue: web) [None]
          (Why PodsStuck) 1 of 2 pods do not become ready: web-A on node-0 (its drain is overdue: web)
          (Warning DrainOverdue) traffic does not end in time: web-A waits for web since 2023-11-14T22:13:25Z; end it there, or annotate the pod with knarr.dev/drain-deadline-policy: Force
        -- traffic is alive again
        1 s, 1 of 2 available
          -- web-A: let go
          patch clonesets/status web: 2 pods, 1 ready, 0 updated [None]
          patch pods web-A: revision web#2, main=web:2 [Restart]
          patch clonesets/status web: 2 pods, 1 ready, 1 updated [None]
        3 s, 1 of 2 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
    "#]].assert_eq(&story);
}

#[test]
fn an_overdue_drain_is_forced_where_the_pod_says_so() {
    let mut cluster = serving(in_place(1, json!({"maxUnavailable": 1})), 0, with_policy("Force"));
    cluster.traffic.is_dead = true;
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s, 0 of 1 available
          create controllerrevisions web#2
          patch clonesets/status web: 1 pods, 1 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          patch clonesets/status web: 1 pods, 0 ready, 0 updated [None]
          (Why Draining) held until traffic ends: web-A waits for web since 2023-11-14T22:13:25Z (due 2023-11-14T22:13:30Z)
        5 s, 0 of 1 available
          patch pods web-A: revision web#2, main=web:2 [Restart]
          patch clonesets/status web: 1 pods, 0 ready, 1 updated [None]
        7 s, 0 of 1 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        8 s, 1 of 1 available
          patch clonesets/status web: 1 pods, 1 ready, 1 updated [None]
    "#]].assert_eq(&cluster.story(12));
}

#[test]
fn an_overdue_drain_calls_the_release_back_where_the_pod_says_so() {
    let mut cluster = serving(in_place(3, json!({"maxUnavailable": 1})), 0, with_policy("RollBack"));
    cluster.traffic.is_dead = true;
    cluster.image("web:2");
    let mut story = cluster.story(12);
    let condition = cluster.set().status.conditions[0].clone();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "DrainOverdue"));
    cluster.traffic.is_dead = false;
    cluster.image("web:1");
    story += "-- the release goes back\n";
    story += &cluster.story(3);
    expect_test::expect![[r#"
        0 s, 2 of 3 available
          create controllerrevisions web#2
          patch clonesets/status web: 3 pods, 3 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          (Why UpdateHeld) held: 2 pods to be updated to web#2, because 1 of 1 allowed pod is unavailable, 1 of them from now on
          patch clonesets/status web: 3 pods, 2 ready, 0 updated [None]
          (Why UpdateHeld) held: 2 pods to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-A)
          (Why Draining) held until traffic ends: web-A waits for web since 2023-11-14T22:13:25Z (due 2023-11-14T22:13:30Z)
        5 s, 2 of 3 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
          patch clonesets/status web: 3 pods, 2 ready, 0 updated, DrainOverdue: the update to web#2 goes no further, because the traffic of web-A did not end in time and knarr.dev/drain-deadline-policy is RollBack [None]
          (Warning DrainOverdue) the update to web#2 goes no further, because the traffic of web-A did not end in time and knarr.dev/drain-deadline-policy is RollBack
        6 s, 3 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 0 updated, DrainOverdue: the update to web#2 goes no further, because the traffic of web-A did not end in time and knarr.dev/drain-deadline-policy is RollBack [None]
        -- the release goes back
        0 s, 3 of 3 available
          patch controllerrevisions web#3: revision number 3 [None]
          patch clonesets/status web: 3 pods, 3 ready, 3 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=True [None]
    "#]].assert_eq(&story);
    assert!(cluster.is_done() && cluster.starts.values().all(|n| *n == 1));
    cluster.image("web:2");
    cluster.finish(30);
}

#[test]
fn scaling_in_ends_traffic_first_and_deletes_then() {
    let mut cluster = serving(in_place(3, json!({"maxUnavailable": 1})), 2, json!({}));
    cluster.edit(|spec| spec["replicas"] = json!(1));
    expect_test::expect![[r#"
        0 s, 1 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 3 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [RemovePod]
          patch pods/status web-B: InPlaceUpdateReady=False, Ready=False [RemovePod]
          patch clonesets/status web: 3 pods, 1 ready, 3 updated [None]
          (Why Draining) held until traffic ends: web-A waits for web since 2023-11-14T22:13:25Z (due 2023-11-14T22:14:25Z), web-B waits for web since 2023-11-14T22:13:25Z (due 2023-11-14T22:14:25Z)
        3 s, 1 of 1 available
          -- web-A: let go
          -- web-B: let go
          delete pods web-A [RemovePod]
          delete pods web-B [RemovePod]
          patch clonesets/status web: 1 pods, 1 ready, 1 updated [None]
    "#]].assert_eq(&cluster.story(12));
    assert!(cluster.is_done());
}

#[test]
fn raising_replicas_during_a_drain_brings_the_pod_back() {
    let mut cluster = serving(in_place(3, json!({"maxUnavailable": 1})), 9, json!({}));
    let names = cluster.names();
    cluster.edit(|spec| spec["replicas"] = json!(2));
    let mut story = cluster.story(3);
    cluster.edit(|spec| spec["replicas"] = json!(3));
    story += "-- replicas are raised again\n";
    story += &cluster.story(4);
    expect_test::expect![[r#"
        0 s, 2 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 3 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [RemovePod]
          patch clonesets/status web: 3 pods, 2 ready, 3 updated [None]
          (Why Draining) held until traffic ends: web-A waits for web since 2023-11-14T22:13:25Z (due 2023-11-14T22:14:25Z)
        -- replicas are raised again
        0 s, 2 of 3 available
          patch clonesets/status web: 3 pods, 2 ready, 3 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        1 s, 3 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 3 updated [None]
    "#]].assert_eq(&story);
    assert!(cluster.is_done() && cluster.names() == names);
}

#[test]
fn pausing_during_a_drain_brings_the_pod_back() {
    let mut cluster = serving(in_place(2, json!({"maxUnavailable": 1})), 9, json!({}));
    cluster.image("web:2");
    cluster.ticks(3);
    cluster.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(true));
    cluster.ticks(3);
    assert_eq!((cluster.available(), cluster.set().status.updated_replicas), (2, 0));
    assert!(cluster.starts.values().all(|n| *n == 1));
}

#[test]
fn a_pod_that_is_made_anew_leaves_traffic_first() {
    let mut cluster = serving(recreate(2, json!({"maxUnavailable": 1})), 2, json!({}));
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s, 1 of 2 available
          create controllerrevisions web#2
          patch clonesets/status web: 2 pods, 2 ready, 0 updated [None]
          patch pods web-A: label apps.kruise.io/specified-delete="true" [None]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable, 1 of them from now on
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [RemovePod]
          patch clonesets/status web: 2 pods, 1 ready, 0 updated [None]
          (Why Draining) held until traffic ends: web-A waits for web since 2023-11-14T22:13:25Z (due 2023-11-14T22:14:25Z)
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-A)
        3 s, 1 of 2 available
          -- web-A: let go
          delete pods web-A [RemovePod]
          patch clonesets/status web: 1 pods, 1 ready, 0 updated [None]
          create pods web-B
          patch clonesets/status web: 2 pods, 1 ready, 1 updated [None]
          patch pods/status web-B: InPlaceUpdateReady=True [None]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-B)
        4 s, 1 of 2 available
          patch pods web-B: state Normal [None]
        6 s, 1 of 2 available
          -- web-B: protected
          patch clonesets/status web: 2 pods, 2 ready, 1 updated [None]
          patch pods web-C: label apps.kruise.io/specified-delete="true" [None]
          patch pods/status web-C: InPlaceUpdateReady=False, Ready=False [RemovePod]
          patch clonesets/status web: 2 pods, 1 ready, 1 updated [None]
          (Why Draining) held until traffic ends: web-C waits for web since 2023-11-14T22:13:31Z (due 2023-11-14T22:14:31Z)
        9 s, 1 of 2 available
          -- web-C: let go
          delete pods web-C [RemovePod]
          patch clonesets/status web: 1 pods, 1 ready, 1 updated [None]
          create pods web-D
          patch clonesets/status web: 2 pods, 1 ready, 2 updated [None]
          patch pods/status web-D: InPlaceUpdateReady=True [None]
        10 s, 1 of 2 available
          patch pods web-D: state Normal [None]
        12 s, 2 of 2 available
          -- web-D: protected
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
    "#]].assert_eq(&cluster.story(20));
    assert!(cluster.is_done());
}

#[test]
fn a_mark_taken_off_during_a_drain_brings_the_pod_back() {
    let mut cluster = serving(in_place(2, json!({"maxUnavailable": 1})), 9, json!({}));
    let names = cluster.names();
    cluster.pod(&names[0], |pod| pod["metadata"]["labels"][names::SPECIFIED_DELETE_LABEL] = json!("true"));
    cluster.ticks(3);
    assert_eq!(cluster.available(), 1);
    cluster.pod(&names[0], |pod| {
        pod["metadata"]["labels"].as_object_mut().unwrap().remove(names::SPECIFIED_DELETE_LABEL);
    });
    cluster.finish(4);
    assert_eq!(cluster.names(), names);
}

#[test]
fn a_pod_that_an_operation_asks_for_is_left_to_it() {
    let mut cluster = serving(in_place(3, json!({"maxUnavailable": 1})), 2, json!({}));
    let evicted = cluster.names()[0].clone();
    let label = format!("{}evict-1", drain::OPERATING);
    cluster.pod(&evicted, |pod| pod["metadata"]["labels"][&label] = json!("1"));
    cluster.image("web:2");
    let mut story = cluster.story(6);
    assert_eq!(
        (cluster.available(), cluster.set().status.updated_replicas),
        (2, 0),
        "its absence is the budget"
    );
    cluster.pod(&evicted, |pod| {
        pod["metadata"]["labels"].as_object_mut().unwrap().remove(&label);
    });
    story += "-- the operation is withdrawn\n";
    story += &cluster.story(3);
    expect_test::expect![[r#"
        0 s, 2 of 3 available
          create controllerrevisions web#2
          patch clonesets/status web: 3 pods, 3 ready, 0 updated [None]
          (Why OperationFirst) held: not updated while an operation wants them out of service: web-A
          (Why UpdateHeld) held: 2 pods to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-A)
        1 s, 2 of 3 available
          -- web-A: an operation closes the gate
          patch clonesets/status web: 3 pods, 2 ready, 0 updated [None]
        4 s, 2 of 3 available
          -- web-A: let go
        -- the operation is withdrawn
        0 s, 2 of 3 available
          patch pods/status web-A: InPlaceUpdateReady=False [Restart]
          patch pods web-A: revision web#2, main=web:2 [Restart]
          patch clonesets/status web: 3 pods, 2 ready, 1 updated [None]
        2 s, 2 of 3 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
    "#]].assert_eq(&story);
    cluster.finish(30);
}

#[test]
fn a_pod_on_a_silent_node_is_unavailable() {
    let mut cluster = serving(in_place(3, json!({"maxUnavailable": 1})), 0, json!({}));
    let lost = cluster.names()[0].clone();
    for (status, reason) in [("Unknown", "NodeStatusUnknown"), ("False", api_core::lost::NODE_NOT_READY)] {
        cluster.pod(&lost, |pod| {
            for condition in pod["status"]["conditions"].as_array_mut().unwrap() {
                if condition["type"] == "Ready" {
                    condition["status"] = json!(status);
                    condition["reason"] = json!(reason);
                }
            }
        });
        cluster.settle();
        assert_eq!(cluster.set().status.available_replicas, 2, "{status}");
    }
    cluster.image("web:2");
    cluster.look();
    cluster.settle();
    assert_eq!(cluster.available(), 2, "the lost pod is the whole budget");
}

/// The writes to one pod during an update of its image, in order.
fn writes_of_an_update(kind: Kind, with_traffic: bool) -> String {
    let template = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]},
    });
    let spec = match kind {
        Kind::CloneSet => in_place(1, json!({"maxUnavailable": 1})),
        Kind::InPlaceSet => json!({"replicas": 1}),
    };
    let mut cluster = Cluster::of(kind, spec);
    cluster.edit(|spec| spec["template"] = template);
    if with_traffic {
        cluster = cluster.with_traffic(2);
    }
    cluster.finish(20);
    cluster.ticks(2);
    cluster.history.clear();
    cluster.image("web:2");
    cluster.finish(20);
    cluster.ticks(3);
    let (name, history) = cluster.history.first_key_value().unwrap();
    assert_eq!(cluster.names().first(), Some(name));
    cluster.without_ids(history.join("\n"))
}

#[test]
fn an_update_in_place_is_three_writes_and_two_of_each_traffic_component() {
    let alone = writes_of_an_update(Kind::CloneSet, false);
    expect_test::expect![[r#"
        InPlaceUpdateReady=False, Ready=False
        revision web#2, main=web:2
        InPlaceUpdateReady=True"#]]
    .assert_eq(&alone);
    let in_traffic = writes_of_an_update(Kind::CloneSet, true);
    expect_test::expect![[r#"
        InPlaceUpdateReady=False, Ready=False
        let go
        revision web#2, main=web:2
        InPlaceUpdateReady=True
        protected"#]]
    .assert_eq(&in_traffic);
    assert_eq!(writes_of_an_update(Kind::InPlaceSet, false), alone);
    assert_eq!(writes_of_an_update(Kind::InPlaceSet, true), in_traffic);
    assert_eq!((alone.lines().count(), in_traffic.lines().count()), (3, 5));
}

#[test]
fn a_set_looks_again_when_a_drain_is_due() {
    let mut cluster = serving(in_place(2, json!({"maxUnavailable": 1})), 9, with_policy("Hold"));
    let begun = cluster.bench.now;
    cluster.image("web:2");
    cluster.settle();
    assert_eq!(cluster.plan().wake, Some(begun + std::time::Duration::from_secs(5)));
}

#[test]
fn a_pod_that_opts_in_is_told_of_its_update_by_label() {
    let mut cluster = serving(in_place(1, json!({"maxUnavailable": 1})), 2, json!({}));
    let name = cluster.names()[0].clone();
    cluster.pod(&name, |pod| pod["metadata"]["labels"][drain::CONTROL] = json!("true"));
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s, 0 of 1 available
          create controllerrevisions web#2
          patch clonesets/status web: 1 pods, 1 ready, 0 updated [None]
          patch pods web-A: label preparing.podopslifecycle.kusionstack.io/knarr-update="1700000005000000" [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          patch clonesets/status web: 1 pods, 0 ready, 0 updated [None]
          (Why Draining) held until traffic ends: web-A waits for web since 2023-11-14T22:13:25Z (due 2023-11-14T22:14:25Z)
        3 s, 0 of 1 available
          -- web-A: let go
          patch pods web-A: revision web#2, label operate.podopslifecycle.kusionstack.io/knarr-update="1700000008000000", main=web:2 [Restart]
          patch clonesets/status web: 1 pods, 0 ready, 1 updated [None]
        5 s, 0 of 1 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
          patch pods web-A: label operate.podopslifecycle.kusionstack.io/knarr-update=null, label operating.podopslifecycle.kusionstack.io/knarr-update=null, label operation-type.podopslifecycle.kusionstack.io/knarr-update=null, label preparing.podopslifecycle.kusionstack.io/knarr-update=null [None]
        6 s, 1 of 1 available
          -- web-A: protected
          patch clonesets/status web: 1 pods, 1 ready, 1 updated [None]
    "#]].assert_eq(&cluster.story(10));
    assert!(cluster.is_done());
    cluster.image("web:3");
    cluster.look();
    cluster.look();
    cluster.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(true));
    cluster.ticks(3);
    let labels = &cluster.active()[0].metadata.labels;
    assert!(labels.keys().all(|k| !k.contains("knarr-update")), "called off: {labels:?}");
}
