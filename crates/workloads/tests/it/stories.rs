//! What the controller does, step by step, in words. Reviewed as documentation.

use serde_json::{Value, json};

use crate::cluster::Cluster;

pub(crate) fn in_place(replicas: i32, rolling: Value) -> Value {
    rolling_set(replicas, "InPlaceIfPossible", rolling)
}

pub(crate) fn recreate(replicas: i32, rolling: Value) -> Value {
    rolling_set(replicas, "ReCreate", rolling)
}

pub(crate) fn rolling_set(replicas: i32, policy: &str, mut rolling: Value) -> Value {
    rolling["podUpdatePolicy"] = json!(policy);
    json!({"replicas": replicas, "updateStrategy": {"rollingUpdate": rolling}})
}

pub(crate) fn ready(spec: Value) -> Cluster {
    let mut cluster = Cluster::with(spec);
    cluster.finish(20);
    cluster
}

#[test]
fn a_new_set_gets_its_pods() {
    let mut cluster = Cluster::with(in_place(2, json!({})));
    let story = cluster.story(5);
    expect_test::expect![[r#"
        0 s, 0 of 2 available
          create controllerrevisions web#1
          patch clonesets/status web: 0 pods, 0 ready, 0 updated [None]
          create pods web-A
          create pods web-B
          patch clonesets/status web: 2 pods, 0 ready, 2 updated [None]
          patch pods/status web-B: InPlaceUpdateReady=True [None]
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        1 s, 0 of 2 available
          patch pods web-B: state Normal [None]
          patch pods web-A: state Normal [None]
        3 s, 2 of 2 available
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
    "#]]
    .assert_eq(&story);
    assert!(cluster.is_done());
}

#[test]
fn an_image_change_goes_through_pods_in_place_within_budget() {
    let mut cluster = ready(in_place(3, json!({"maxUnavailable": 1})));
    let before = cluster.active();
    cluster.image("web:2");
    let story = cluster.story(14);
    expect_test::expect![[r#"
        0 s, 2 of 3 available
          create controllerrevisions web#2
          patch clonesets/status web: 3 pods, 3 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          (Why UpdateHeld) held: 2 pods to be updated to web#2, because 1 of 1 allowed pod is unavailable, 1 of them from now on
          patch clonesets/status web: 3 pods, 2 ready, 0 updated [None]
          patch pods web-A: revision web#2, main=web:2 [Restart]
          (Why UpdateHeld) held: 2 pods to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-A)
          patch clonesets/status web: 3 pods, 2 ready, 1 updated [None]
        2 s, 2 of 3 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        3 s, 2 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 1 updated [None]
          patch pods/status web-B: InPlaceUpdateReady=False, Ready=False [Restart]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable, 1 of them from now on
          patch clonesets/status web: 3 pods, 2 ready, 1 updated [None]
          patch pods web-B: revision web#2, main=web:2 [Restart]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-B)
          patch clonesets/status web: 3 pods, 2 ready, 2 updated [None]
        5 s, 2 of 3 available
          patch pods/status web-B: InPlaceUpdateReady=True [None]
        6 s, 2 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 2 updated [None]
          patch pods/status web-C: InPlaceUpdateReady=False, Ready=False [Restart]
          patch clonesets/status web: 3 pods, 2 ready, 2 updated [None]
          patch pods web-C: revision web#2, main=web:2 [Restart]
          patch clonesets/status web: 3 pods, 2 ready, 3 updated [None]
        8 s, 2 of 3 available
          patch pods/status web-C: InPlaceUpdateReady=True [None]
        9 s, 3 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 3 updated [None]
    "#]].assert_eq(&story);
    let after = cluster.active();
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((&old.metadata.uid, &old.status.pod_ip), (&new.metadata.uid, &new.status.pod_ip));
        let instance = |pod: &api_core::Pod, i: usize| pod.status.container_statuses[i].container_id.clone();
        assert_ne!(instance(old, 0), instance(new, 0));
        assert_eq!(instance(old, 1), instance(new, 1));
    }
}

#[test]
fn a_change_that_needs_new_pods_replaces_them() {
    let mut cluster = ready(in_place(2, json!({"maxUnavailable": 1})));
    cluster
        .edit(|spec| spec["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}]));
    expect_test::expect![[r#"
        0 s, 1 of 2 available
          create controllerrevisions web#2
          patch clonesets/status web: 2 pods, 2 ready, 0 updated [None]
          patch pods web-A: label apps.kruise.io/specified-delete="true" [None]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable, 1 of them from now on
          delete pods web-A [RemovePod]
          patch clonesets/status web: 1 pods, 1 ready, 0 updated [None]
          create pods web-B
          patch clonesets/status web: 2 pods, 1 ready, 1 updated [None]
          patch pods/status web-B: InPlaceUpdateReady=True [None]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-B)
        1 s, 1 of 2 available
          patch pods web-B: state Normal [None]
        3 s, 1 of 2 available
          patch clonesets/status web: 2 pods, 2 ready, 1 updated [None]
          patch pods web-C: label apps.kruise.io/specified-delete="true" [None]
          delete pods web-C [RemovePod]
          patch clonesets/status web: 1 pods, 1 ready, 1 updated [None]
          create pods web-D
          patch clonesets/status web: 2 pods, 1 ready, 2 updated [None]
          patch pods/status web-D: InPlaceUpdateReady=True [None]
        4 s, 1 of 2 available
          patch pods web-D: state Normal [None]
        6 s, 2 of 2 available
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
    "#]].assert_eq(&cluster.story(16));
    assert!(cluster.is_done());
}

#[test]
fn surge_creates_before_it_deletes() {
    let mut cluster = ready(recreate(2, json!({"maxUnavailable": 0, "maxSurge": 1})));
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s, 2 of 3 available
          create controllerrevisions web#2
          patch clonesets/status web: 2 pods, 2 ready, 0 updated [None]
          create pods web-A
          patch clonesets/status web: 3 pods, 2 ready, 1 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=True [None]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable (web-A)
        1 s, 2 of 3 available
          patch pods web-A: state Normal [None]
        3 s, 2 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 1 updated [None]
          patch pods web-B: label apps.kruise.io/specified-delete="true" [None]
          delete pods web-B [RemovePod]
          patch clonesets/status web: 2 pods, 2 ready, 1 updated [None]
          create pods web-C
          patch clonesets/status web: 3 pods, 2 ready, 2 updated [None]
          patch pods/status web-C: InPlaceUpdateReady=True [None]
          (Why DeleteLimited) held: web-D not deleted yet, because 1 of 1 allowed pod is unavailable (web-C)
        4 s, 2 of 3 available
          patch pods web-C: state Normal [None]
        6 s, 2 of 2 available
          patch clonesets/status web: 3 pods, 3 ready, 2 updated [None]
          delete pods web-D [RemovePod]
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
    "#]].assert_eq(&cluster.story(20));
    assert!(cluster.is_done());
}

#[test]
fn partition_keeps_some_pods_old() {
    let mut cluster = ready(in_place(4, json!({"partition": "99%", "maxUnavailable": 2})));
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s, 3 of 4 available
          create controllerrevisions web#2
          patch clonesets/status web: 4 pods, 4 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          patch clonesets/status web: 4 pods, 3 ready, 0 updated [None]
          patch pods web-A: revision web#2, main=web:2 [Restart]
          patch clonesets/status web: 4 pods, 3 ready, 1 updated [None]
          (Why Partition) held: partition keeps 3 of 4 pods at the revision before web#2
        2 s, 3 of 4 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        3 s, 4 of 4 available
          patch clonesets/status web: 4 pods, 4 ready, 1 updated [None]
    "#]]
    .assert_eq(&cluster.story(6));
    let status = cluster.set().status;
    assert_eq!((status.updated_replicas, status.expected_updated_replicas), (1, 1));
    assert_ne!(status.current_revision, status.update_revision);
}

#[test]
fn a_stuck_pod_is_named_and_the_rest_goes_on() {
    let mut cluster = Cluster::with(in_place(4, json!({"maxUnavailable": 2})));
    cluster.nodes = 100;
    cluster.finish(10);
    let stuck = cluster.active()[1].clone();
    cluster.bad_nodes.insert(stuck.spec.node_name.clone());
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s, 2 of 4 available
          create controllerrevisions web#2
          patch clonesets/status web: 4 pods, 4 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          patch pods/status web-B: InPlaceUpdateReady=False, Ready=False [Restart]
          (Why UpdateHeld) held: 2 pods to be updated to web#2, because 2 of 2 allowed pods are unavailable, 2 of them from now on
          patch clonesets/status web: 4 pods, 2 ready, 0 updated [None]
          patch pods web-A: revision web#2, main=web:2 [Restart]
          patch pods web-B: revision web#2, main=web:2 [Restart]
          (Why UpdateHeld) held: 2 pods to be updated to web#2, because 2 of 2 allowed pods are unavailable (web-A, web-B)
          patch clonesets/status web: 4 pods, 2 ready, 2 updated [None]
        1 s, 2 of 4 available
          patch clonesets/status web: 4 pods, 2 ready, 2 updated, PodsStuck: 1 of 4 pods do not become ready: web-B on node-5 (image web:2 of container main cannot be pulled) [None]
          (Why PodsStuck) 1 of 4 pods do not become ready: web-B on node-5 (image web:2 of container main cannot be pulled)
        2 s, 2 of 4 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        3 s, 2 of 4 available
          patch clonesets/status web: 4 pods, 3 ready, 2 updated, PodsStuck: 1 of 4 pods do not become ready: web-B on node-5 (image web:2 of container main cannot be pulled) [None]
          patch pods/status web-C: InPlaceUpdateReady=False, Ready=False [Restart]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 2 of 2 allowed pods are unavailable (web-B), 1 of them from now on
          patch clonesets/status web: 4 pods, 2 ready, 2 updated, PodsStuck: 1 of 4 pods do not become ready: web-B on node-5 (image web:2 of container main cannot be pulled) [None]
          patch pods web-C: revision web#2, main=web:2 [Restart]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 2 of 2 allowed pods are unavailable (web-B, web-C)
          patch clonesets/status web: 4 pods, 2 ready, 3 updated, PodsStuck: 1 of 4 pods do not become ready: web-B on node-5 (image web:2 of container main cannot be pulled) [None]
        5 s, 2 of 4 available
          patch pods/status web-C: InPlaceUpdateReady=True [None]
        6 s, 2 of 4 available
          patch clonesets/status web: 4 pods, 3 ready, 3 updated, PodsStuck: 1 of 4 pods do not become ready: web-B on node-5 (image web:2 of container main cannot be pulled) [None]
          patch pods/status web-D: InPlaceUpdateReady=False, Ready=False [Restart]
          patch clonesets/status web: 4 pods, 2 ready, 3 updated, PodsStuck: 1 of 4 pods do not become ready: web-B on node-5 (image web:2 of container main cannot be pulled) [None]
          patch pods web-D: revision web#2, main=web:2 [Restart]
          patch clonesets/status web: 4 pods, 2 ready, 4 updated, PodsStuck: 1 of 4 pods do not become ready: web-B on node-5 (image web:2 of container main cannot be pulled) [None]
        8 s, 2 of 4 available
          patch pods/status web-D: InPlaceUpdateReady=True [None]
        9 s, 3 of 4 available
          patch clonesets/status web: 4 pods, 3 ready, 4 updated, PodsStuck: 1 of 4 pods do not become ready: web-B on node-5 (image web:2 of container main cannot be pulled) [None]
    "#]].assert_eq(&cluster.story(18));
    let status = cluster.set().status;
    assert_eq!((status.updated_replicas, status.updated_ready_replicas), (4, 3));
    let condition = status.conditions.iter().find(|c| c.r#type == "PodsStuck").unwrap();
    assert!(condition.message.contains(&stuck.metadata.name), "{}", condition.message);
    cluster.bad_nodes.clear();
    cluster.finish(10);
    assert_eq!(cluster.set().status.conditions, []);
}

#[test]
fn a_bad_image_stops_at_the_budget_and_can_be_taken_back() {
    let mut cluster = ready(in_place(5, json!({"maxUnavailable": 2})));
    cluster.bad_images.insert("web:bad".into());
    cluster.image("web:bad");
    cluster.ticks(10);
    assert_eq!((cluster.available(), cluster.set().status.updated_replicas), (3, 2));
    cluster.image("web:1");
    expect_test::expect![[r#"
        0 s, 3 of 5 available
          patch controllerrevisions web#3: revision number 3 [None]
          patch clonesets/status web: 5 pods, 3 ready, 3 updated, PodsStuck: 2 of 5 pods do not become ready: web-A on node-0 (image web:bad of container main cannot be pulled), web-B on node-1 (image web:bad of container main cannot be pulled) [None]
          patch pods web-A: revision web#3, main=web:1 [Restart]
          patch pods web-B: revision web#3, main=web:1 [Restart]
          (Why PodsStuck) 2 of 5 pods do not become ready: web-A on node-0 (image web:bad of container main cannot be pulled), web-B on node-1 (image web:bad of container main cannot be pulled)
          patch clonesets/status web: 5 pods, 3 ready, 5 updated [None]
        2 s, 3 of 5 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
          patch pods/status web-B: InPlaceUpdateReady=True [None]
        3 s, 5 of 5 available
          patch clonesets/status web: 5 pods, 5 ready, 5 updated [None]
    "#]].assert_eq(&cluster.story(6));
    assert!(cluster.is_done());
    let numbers: Vec<i64> = cluster.revisions().iter().map(|(_, n)| *n).collect();
    assert_eq!(numbers, [2, 3]);
}

#[test]
fn going_back_in_the_middle_touches_only_what_was_touched() {
    let mut cluster = ready(in_place(4, json!({"maxUnavailable": 1})));
    cluster.image("web:2");
    cluster.ticks(5);
    let moved = cluster.set().status.updated_replicas;
    cluster.image("web:1");
    cluster.finish(30);
    let restarts: Vec<i32> =
        cluster.active().iter().map(|p| p.status.container_statuses[0].restart_count).collect();
    let touched = restarts.iter().filter(|r| **r > 0).count();
    assert!((1..4).contains(&moved) && touched == usize::try_from(moved).unwrap(), "{moved} {restarts:?}");
}

#[test]
fn a_gate_closed_for_an_update_that_is_called_off_opens_again() {
    let mut cluster = ready(in_place(2, json!({"maxUnavailable": 1})));
    cluster.image("web:2");
    let mut told = String::new();
    while !told.contains("InPlaceUpdateReady=False") {
        told += &cluster.look();
    }
    cluster.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(true));
    expect_test::expect![[r#"
        0 s, 1 of 2 available
          patch clonesets/status web: 2 pods, 1 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=True [None]
          (Why UpdateHeld) held: 2 pods to be updated, because updateStrategy.rollingUpdate.paused is true
        1 s, 2 of 2 available
          patch clonesets/status web: 2 pods, 2 ready, 0 updated [None]
    "#]]
    .assert_eq(&cluster.story(4));
    assert_eq!(cluster.available(), 2);
    assert!(cluster.starts.values().all(|n| *n == 1));
}

#[test]
fn a_grace_period_lies_between_unready_and_the_change() {
    let mut cluster =
        ready(in_place(1, json!({"maxUnavailable": 1, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 3}})));
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s, 0 of 1 available
          create controllerrevisions web#2
          patch clonesets/status web: 1 pods, 1 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          patch clonesets/status web: 1 pods, 0 ready, 0 updated [None]
          patch pods web-A: revision web#2 [Restart]
          patch clonesets/status web: 1 pods, 0 ready, 1 updated [None]
        3 s, 0 of 1 available
          patch pods web-A: main=web:2 [Restart]
        5 s, 0 of 1 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        6 s, 1 of 1 available
          patch clonesets/status web: 1 pods, 1 ready, 1 updated [None]
    "#]]
    .assert_eq(&cluster.story(8));
    assert!(cluster.is_done());
}

#[test]
fn pods_named_for_deletion_go_and_are_replaced() {
    let mut cluster = ready(in_place(3, json!({"maxUnavailable": 1})));
    let names = cluster.names();
    let gone = names[..2].to_vec();
    cluster.edit(|spec| spec["scaleStrategy"]["podsToDelete"] = json!(gone));
    expect_test::expect![[r#"
        0 s, 2 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 3 updated [None]
          delete pods web-A [RemovePod]
          (Why DeleteLimited) held: web-B not deleted yet, because 1 of 1 allowed pod is unavailable, 1 of them from now on
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
          create pods web-C
          patch clonesets/status web: 3 pods, 2 ready, 3 updated [None]
          patch pods/status web-C: InPlaceUpdateReady=True [None]
          (Why DeleteLimited) held: web-B not deleted yet, because 1 of 1 allowed pod is unavailable (web-C)
          patch clonesets web: podsToDelete [String("web-B")] [None]
          patch clonesets/status web: 3 pods, 2 ready, 3 updated [None]
        1 s, 2 of 3 available
          patch pods web-C: state Normal [None]
        3 s, 2 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 3 updated [None]
          delete pods web-B [RemovePod]
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
          create pods web-D
          patch clonesets/status web: 3 pods, 2 ready, 3 updated [None]
          patch pods/status web-D: InPlaceUpdateReady=True [None]
          patch clonesets web: podsToDelete [] [None]
          patch clonesets/status web: 3 pods, 2 ready, 3 updated [None]
        4 s, 2 of 3 available
          patch pods web-D: state Normal [None]
        6 s, 3 of 3 available
          patch clonesets/status web: 3 pods, 3 ready, 3 updated [None]
    "#]]
    .assert_eq(&cluster.story(14));
    assert!(cluster.is_done() && cluster.names().iter().all(|n| !gone.contains(n)));
    assert_eq!(cluster.set().read_spec().unwrap().scale_strategy.pods_to_delete, Vec::<String>::new());
}

#[test]
fn pods_named_for_deletion_count_towards_scaling_in() {
    let mut cluster = ready(in_place(4, json!({"maxUnavailable": 2})));
    let gone = cluster.names()[1].clone();
    cluster.edit(|spec| {
        spec["scaleStrategy"]["podsToDelete"] = json!([gone]);
        spec["replicas"] = json!(3);
    });
    cluster.finish(10);
    assert!(!cluster.names().contains(&gone) && cluster.starts.len() == 8);
}

#[test]
fn creation_pauses_while_too_many_pods_are_unavailable() {
    let mut spec = in_place(5, json!({}));
    spec["scaleStrategy"] = json!({"maxUnavailable": 2});
    let mut cluster = Cluster::with(spec);
    expect_test::expect![[r#"
        0 s, 0 of 2 available
          create controllerrevisions web#1
          patch clonesets/status web: 0 pods, 0 ready, 0 updated [None]
          create pods web-A
          create pods web-B
          (Warning ScaleUpLimited) scaleUp is limited because of scaleStrategy.maxUnavailable, limit: 2
          (Why ScaleUpLimited) held: 3 of 5 missing pods not created yet, because 2 of 2 allowed pods are unavailable, 2 of them from now on (scaleStrategy.maxUnavailable)
          patch clonesets/status web: 2 pods, 0 ready, 2 updated [None]
          patch pods/status web-B: InPlaceUpdateReady=True [None]
          patch pods/status web-A: InPlaceUpdateReady=True [None]
          (Warning ScaleUpLimited) scaleUp is limited because of scaleStrategy.maxUnavailable, limit: 0
          (Why ScaleUpLimited) held: 3 of 3 missing pods not created yet, because 2 of 2 allowed pods are unavailable (web-B, web-A) (scaleStrategy.maxUnavailable)
        1 s, 0 of 2 available
          patch pods web-B: state Normal [None]
          patch pods web-A: state Normal [None]
        3 s, 2 of 4 available
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
          create pods web-C
          create pods web-D
          (Warning ScaleUpLimited) scaleUp is limited because of scaleStrategy.maxUnavailable, limit: 2
          (Why ScaleUpLimited) held: 1 of 3 missing pods not created yet, because 2 of 2 allowed pods are unavailable, 2 of them from now on (scaleStrategy.maxUnavailable)
          patch clonesets/status web: 4 pods, 2 ready, 4 updated [None]
          patch pods/status web-D: InPlaceUpdateReady=True [None]
          patch pods/status web-C: InPlaceUpdateReady=True [None]
          (Warning ScaleUpLimited) scaleUp is limited because of scaleStrategy.maxUnavailable, limit: 0
          (Why ScaleUpLimited) held: 1 of 1 missing pods not created yet, because 2 of 2 allowed pods are unavailable (web-D, web-C) (scaleStrategy.maxUnavailable)
        4 s, 2 of 4 available
          patch pods web-D: state Normal [None]
          patch pods web-C: state Normal [None]
        6 s, 4 of 5 available
          patch clonesets/status web: 4 pods, 4 ready, 4 updated [None]
          create pods web-E
          patch clonesets/status web: 5 pods, 4 ready, 5 updated [None]
          patch pods/status web-E: InPlaceUpdateReady=True [None]
        7 s, 4 of 5 available
          patch pods web-E: state Normal [None]
        9 s, 5 of 5 available
          patch clonesets/status web: 5 pods, 5 ready, 5 updated [None]
    "#]].assert_eq(&cluster.story(12));
    assert!(cluster.is_done());
}

#[test]
fn a_delete_hook_holds_a_pod_until_it_is_taken_off() {
    let mut spec = in_place(2, json!({"maxUnavailable": 1}));
    spec["lifecycle"] =
        json!({"preDelete": {"labelsHandler": {"registered": "true"}, "markPodNotReady": true}});
    spec["template"] = json!({
        "metadata": {"labels": {"app": "web", "registered": "true"}},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]},
    });
    let mut cluster = ready(spec);
    let gone = cluster.names()[0].clone();
    cluster.edit(|spec| spec["scaleStrategy"]["podsToDelete"] = json!([gone]));
    let mut story = cluster.story(3);
    cluster.pod(&gone, |pod| pod["metadata"]["labels"]["registered"] = json!("false"));
    story += "-- the hook is taken off\n";
    story += &cluster.story(6);
    expect_test::expect![[r#"
        0 s, 1 of 2 available
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
          patch pods/status web-A: KruisePodReady=False, Ready=False [Restart]
          patch clonesets/status web: 2 pods, 1 ready, 2 updated [None]
          patch pods web-A: state PreparingDelete [None]
        1 s, 1 of 2 available
          (Why PreDeleteHook) held: web-A waits for its preDelete hook to be taken off
        -- the hook is taken off
        0 s, 1 of 2 available
          delete pods web-A [RemovePod]
          patch clonesets/status web: 1 pods, 1 ready, 1 updated [None]
          create pods web-B
          patch clonesets/status web: 2 pods, 1 ready, 2 updated [None]
          patch pods/status web-B: InPlaceUpdateReady=True, KruisePodReady=True [None]
          patch clonesets web: podsToDelete [] [None]
          patch clonesets/status web: 2 pods, 1 ready, 2 updated [None]
        1 s, 1 of 2 available
          patch pods web-B: state Normal [None]
        3 s, 2 of 2 available
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
    "#]]
    .assert_eq(&story);
}

#[test]
fn raising_replicas_keeps_pods_that_wait_for_their_delete_hook() {
    let mut spec = in_place(3, json!({"maxUnavailable": 1}));
    spec["lifecycle"] = json!({"preDelete": {"finalizersHandler": ["shop.io/drain"]}});
    spec["template"] = json!({
        "metadata": {"labels": {"app": "web"}, "finalizers": ["shop.io/drain"]},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]},
    });
    let mut cluster = ready(spec);
    let names = cluster.names();
    cluster.edit(|spec| spec["replicas"] = json!(2));
    cluster.ticks(3);
    assert_eq!(cluster.available(), 2);
    cluster.edit(|spec| spec["replicas"] = json!(3));
    cluster.finish(10);
    assert_eq!(cluster.names(), names);
}

#[test]
fn update_hooks_are_asked_before_and_after() {
    let mut spec = in_place(1, json!({"maxUnavailable": 1}));
    spec["lifecycle"] =
        json!({"inPlaceUpdate": {"labelsHandler": {"in-service": "true"}, "markPodNotReady": true}});
    spec["template"] = json!({
        "metadata": {"labels": {"app": "web", "in-service": "true"}},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]},
    });
    let mut cluster = ready(spec);
    let name = cluster.names()[0].clone();
    cluster.image("web:2");
    let mut story = cluster.story(2);
    cluster.pod(&name, |pod| pod["metadata"]["labels"]["in-service"] = json!("false"));
    story += "-- the hook is taken off\n";
    story += &cluster.story(5);
    cluster.pod(&name, |pod| pod["metadata"]["labels"]["in-service"] = json!("true"));
    story += "-- the hook is put on again\n";
    story += &cluster.story(3);
    expect_test::expect![[r#"
        0 s, 0 of 1 available
          create controllerrevisions web#2
          patch clonesets/status web: 1 pods, 1 ready, 0 updated [None]
          patch pods/status web-A: KruisePodReady=False, Ready=False [Restart]
          patch clonesets/status web: 1 pods, 0 ready, 0 updated [None]
          patch pods web-A: state PreparingUpdate [None]
        1 s, 0 of 1 available
          (Why InPlaceUpdateHook) held: web-A waits for its inPlaceUpdate hook to be taken off
        -- the hook is taken off
        0 s, 0 of 1 available
          patch pods/status web-A: InPlaceUpdateReady=False [Restart]
          patch pods web-A: revision web#2, state Updating, main=web:2 [Restart]
          patch clonesets/status web: 1 pods, 0 ready, 1 updated [None]
        2 s, 0 of 1 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
          patch pods/status web-A: KruisePodReady=True [None]
          patch pods web-A: state Updated [None]
        3 s, 0 of 1 available
          patch clonesets/status web: 1 pods, 1 ready, 1 updated [None]
        -- the hook is put on again
        0 s, 1 of 1 available
          patch pods web-A: state Normal [None]
          patch clonesets/status web: 1 pods, 1 ready, 1 updated [None]
    "#]]
    .assert_eq(&story);
    assert!(cluster.is_done());
}

#[test]
fn a_new_pod_waits_for_its_first_hook() {
    let mut spec = in_place(1, json!({}));
    spec["lifecycle"] = json!({"preNormal": {"finalizersHandler": ["shop.io/warm"]}});
    let mut cluster = Cluster::with(spec);
    cluster.ticks(6);
    let status = cluster.set().status;
    assert_eq!((status.ready_replicas, status.available_replicas), (1, 0));
    let name = cluster.names()[0].clone();
    cluster.pod(&name, |pod| pod["metadata"]["finalizers"] = json!(["shop.io/warm"]));
    cluster.finish(3);
}

#[test]
fn on_delete_updates_pods_when_somebody_deletes_them() {
    let spec = json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}});
    let mut cluster = ready(spec);
    cluster.image("web:2");
    cluster.ticks(3);
    assert_eq!((cluster.available(), cluster.set().status.updated_replicas), (2, 0));
    let name = cluster.names()[0].clone();
    cluster.pod(&name, |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    cluster.ticks(8);
    assert_eq!((cluster.available(), cluster.set().status.updated_replicas), (2, 1));
}

#[test]
fn a_paused_set_still_makes_its_pods_ready() {
    let mut cluster = ready(in_place(2, json!({"paused": true})));
    cluster.edit(|spec| spec["replicas"] = json!(4));
    cluster.finish(10);
    cluster.image("web:2");
    cluster.ticks(3);
    assert_eq!(cluster.set().status.updated_replicas, 0);
}

#[test]
fn in_place_only_never_replaces_a_pod() {
    let mut cluster = ready(rolling_set(2, "InPlaceOnly", json!({"maxUnavailable": 1})));
    let names = cluster.names();
    cluster.edit(|spec| spec["template"]["spec"]["containers"][0]["args"] = json!(["x"]));
    cluster.ticks(4);
    assert_eq!(cluster.names(), names);
    let status = cluster.set().status;
    let told = cluster
        .without_ids(status.conditions.iter().map(|c| format!("{}: {}\n", c.r#type, c.message)).collect());
    expect_test::expect![[r#"
        FailedUpdate: find Pod web-A update strategy is InPlaceOnly but can not update in-place
    "#]]
    .assert_eq(&told);
}

#[test]
fn failed_pods_are_replaced() {
    let mut cluster = ready(in_place(2, json!({})));
    let name = cluster.names()[0].clone();
    cluster.pod(&name, |pod| pod["status"]["phase"] = json!("Failed"));
    cluster.ticks(6);
    assert_eq!((cluster.available(), cluster.pods().len()), (2, 3));
}

#[test]
fn claims_follow_their_pods() {
    let template = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
    for reuse in [true, false] {
        let mut spec = recreate(2, json!({"maxUnavailable": 2}));
        spec["volumeClaimTemplates"] = template.clone();
        spec["scaleStrategy"] = json!({"enablePVCReuse": reuse});
        let mut cluster = ready(spec);
        let claims = cluster.claims();
        let pods = cluster.active();
        assert_eq!(claims.len(), 2);
        for (pod, claim) in pods.iter().zip(&claims) {
            let id = pod.metadata.name.rsplit('-').next().unwrap();
            assert_eq!(claim, &format!("data-web-{id}"));
            assert_eq!(pod.spec.volumes[0]["persistentVolumeClaim"]["claimName"], json!(claim));
        }
        // A pod that others take away.
        let gone = api_meta::ObjectKey::new("shop", pods[0].metadata.name.clone());
        cluster.bench.drop(&<api_core::Pod as api_meta::Object>::RESOURCE, &gone);
        cluster.finish(10);
        assert_eq!((cluster.claims() == claims, cluster.claims().len()), (reuse, 2), "reuse {reuse}");
        // Pods that the controller deletes take their claims along.
        cluster.edit(|spec| spec["replicas"] = json!(0));
        cluster.finish(10);
        assert_eq!(cluster.claims(), Vec::<String>::new());
    }
}

#[test]
fn only_some_old_revisions_are_kept() {
    let mut spec = in_place(1, json!({"maxUnavailable": 1}));
    spec["revisionHistoryLimit"] = json!(2);
    let mut cluster = ready(spec);
    for version in 2..=6 {
        cluster.image(&format!("web:{version}"));
        cluster.finish(10);
    }
    let numbers: Vec<i64> = cluster.revisions().iter().map(|(_, n)| *n).collect();
    assert_eq!(numbers, [4, 5, 6]);
}

#[test]
fn available_means_ready_for_long_enough() {
    let mut spec = in_place(2, json!({"maxUnavailable": 1}));
    spec["minReadySeconds"] = json!(5);
    let mut cluster = Cluster::with(spec);
    cluster.ticks(5);
    let status = cluster.set().status;
    assert_eq!((status.ready_replicas, status.available_replicas), (2, 0));
    let wake = cluster.plan().wake.unwrap();
    assert!(wake > cluster.bench.now);
    cluster.finish(8);
    cluster.image("web:2");
    cluster.ticks(6);
    assert_eq!(cluster.set().status.updated_replicas, 1);
    cluster.finish(20);
}

#[test]
fn progress_is_judged_when_a_deadline_is_set() {
    let mut spec = in_place(2, json!({"maxUnavailable": 1}));
    spec["progressDeadlineSeconds"] = json!(10);
    let mut cluster = ready(spec);
    let reason = |c: &Cluster| {
        let status = c.set().status;
        let found = status.conditions.into_iter().find(|c| c.r#type == "Progressing").unwrap();
        format!("{} {}: {}", found.status, found.reason, found.message)
    };
    assert_eq!(reason(&cluster), "True CloneSetAvailable: CloneSet is available");
    cluster.bad_images.insert("web:bad".into());
    cluster.image("web:bad");
    cluster.ticks(3);
    assert_eq!(reason(&cluster), "True CloneSetUpdated: CloneSet is progressing");
    cluster.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(true));
    cluster.ticks(20);
    assert_eq!(reason(&cluster), "True CloneSetPaused: CloneSet is paused");
    cluster.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(false));
    cluster.ticks(14);
    let update = cluster.set().status.update_revision;
    assert_eq!(
        reason(&cluster),
        format!("False ProgressDeadlineExceeded: CloneSet revision {update} has timed out progressing")
    );
    cluster.image("web:3");
    cluster.ticks(2);
    assert_eq!(reason(&cluster), "True CloneSetUpdated: CloneSet is progressing");
    cluster.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(1));
    cluster.ticks(20);
    assert_eq!(
        reason(&cluster),
        "True ProgressPartitionAvailable: CloneSet has been paused due to partition ready"
    );
}

#[test]
fn a_spec_that_is_wrong_is_named_and_nothing_is_touched() {
    let mut cluster = ready(in_place(2, json!({})));
    cluster.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!("5"));
    cluster.edit(|spec| spec["replicas"] = json!(0));
    expect_test::expect![[r#"
        0 s, 2 of 2 available
          patch clonesets/status web: 2 pods, 2 ready, 2 updated, FailedScale: spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "5": failed GetScaledValueFromIntOrPercent for maxUnavailable: invalid value for IntOrString: invalid type: string is not a percentage [None]
          (Warning InvalidSpec) spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "5": failed GetScaledValueFromIntOrPercent for maxUnavailable: invalid value for IntOrString: invalid type: string is not a percentage
    "#]].assert_eq(&cluster.story(2));
    cluster.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(5));
    cluster.finish(5);
    assert_eq!(cluster.set().status.conditions, []);
}

#[test]
fn pods_that_no_longer_match_are_let_go_and_replaced() {
    let mut cluster = ready(in_place(2, json!({})));
    let name = cluster.names()[0].clone();
    cluster.pod(&name, |pod| pod["metadata"]["labels"]["app"] = json!("debug"));
    cluster.ticks(6);
    let let_go = cluster.active().into_iter().find(|p| p.metadata.name == name).unwrap();
    assert_eq!(let_go.metadata.owner_references, []);
    assert_eq!((cluster.available(), cluster.set().status.replicas), (3, 2));
}

#[test]
fn a_terminating_set_is_left_alone() {
    let mut cluster = ready(in_place(2, json!({})));
    let key = cluster.key.clone();
    cluster.bench.edit(&<api_workload::CloneSet as api_meta::Object>::RESOURCE, &key, |set| {
        set["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        set["metadata"]["finalizers"] = json!(["orphan"]);
        set["spec"]["replicas"] = json!(9);
    });
    cluster.ticks(3);
    assert_eq!(cluster.active().len(), 2);
}

#[test]
fn pods_are_updated_in_the_order_asked_for() {
    let mut cluster = ready(in_place(
        6,
        json!({"maxUnavailable": 1, "priorityStrategy": {"weightPriority": [
            {"weight": 10, "matchSelector": {"matchLabels": {"tier": "canary"}}}]}}),
    ));
    let canaries: Vec<String> = cluster.names()[3..5].to_vec();
    for name in &canaries {
        cluster.pod(name, |pod| pod["metadata"]["labels"]["tier"] = json!("canary"));
    }
    cluster.settle();
    cluster.image("web:2");
    let story = cluster.story(30);
    let order: Vec<&str> = story
        .lines()
        .filter(|l| l.contains("InPlaceUpdateReady=False"))
        .filter_map(|l| l.split_whitespace().nth(2))
        .collect();
    assert_eq!(order.len(), 6);
    let first: Vec<String> =
        cluster.starts.keys().filter(|(pod, _)| canaries.contains(pod)).map(|(pod, _)| pod.clone()).collect();
    assert!(first.len() == 4 && order[0] < order[2], "{story}");
}

#[test]
fn metadata_alone_changes_without_a_restart() {
    let mut cluster = ready(in_place(2, json!({"maxUnavailable": 1})));
    cluster.edit(|spec| spec["template"]["metadata"]["annotations"] = json!({"note": "x"}));
    expect_test::expect![[r#"
        0 s, 2 of 2 available
          create controllerrevisions web#2
          patch clonesets/status web: 2 pods, 2 ready, 0 updated [None]
          patch pods web-A: revision web#2 [None]
          (Why UpdateHeld) held: 1 pod to be updated to web#2, because 1 of 1 allowed pod is unavailable, 1 of them from now on
          patch clonesets/status web: 2 pods, 2 ready, 1 updated [None]
          patch pods web-B: revision web#2 [None]
          patch clonesets/status web: 2 pods, 2 ready, 2 updated [None]
    "#]].assert_eq(&cluster.story(6));
    assert!(cluster.is_done());
    assert!(cluster.active().iter().all(|p| p.metadata.annotations.contains_key("note")));
    assert!(cluster.starts.values().all(|n| *n == 1));
}

#[test]
fn a_repeated_plan_names_the_same_pods() {
    let mut cluster = Cluster::with(in_place(3, json!({})));
    cluster.look();
    assert_eq!(cluster.plan(), cluster.plan());
    let first = cluster.plan();
    // Carried out halfway, then looked at again.
    for action in &first.actions[..first.actions.len() - 1] {
        cluster.act(action).unwrap();
    }
    cluster.settle();
    assert_eq!(cluster.active().len(), 3);
}
