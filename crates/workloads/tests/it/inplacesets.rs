//! What the controller of InPlaceSets does, step by step, in words. Reviewed as documentation.

use serde_json::{Value, json};

use crate::cluster::{Cluster, Kind};

fn set(spec: Value) -> Cluster {
    let mut cluster = Cluster::of(Kind::InPlaceSet, spec);
    cluster.finish(20);
    cluster
}

fn partition(cluster: &mut Cluster, partition: i32) {
    cluster.edit(|spec| spec["strategy"] = json!({"partition": partition}));
}

#[test]
fn a_new_inplaceset_gets_its_pods() {
    let mut cluster = Cluster::of(Kind::InPlaceSet, json!({"replicas": 2}));
    expect_test::expect![[r#"
        0 s, 0 of 2 available
          create controllerrevisions web#1
          patch inplacesets/status web: 0 pods, 0 ready, 0 updated [None]
          create pods web-A
          create pods web-B
          patch inplacesets/status web: 2 pods, 0 ready, 2 updated [None]
          patch pods/status web-B: InPlaceUpdateReady=True [None]
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        1 s, 0 of 2 available
          patch pods web-B: state Normal [None]
          patch pods web-A: state Normal [None]
        3 s, 2 of 2 available
          patch inplacesets/status web: 2 pods, 2 ready, 2 updated [None]
    "#]]
    .assert_eq(&cluster.story(5));
    assert!(cluster.is_done());
    let pod = &cluster.active()[0];
    assert_eq!(pod.metadata.owner_references[0].kind, "InPlaceSet");
    assert_eq!(
        cluster.bench.get(&<api_workload::InPlaceSet as api_meta::Object>::RESOURCE, &cluster.key).unwrap()["status"]
            ["selector"],
        "app=web"
    );
}

#[test]
fn all_pods_that_the_partition_does_not_keep_are_changed_at_once() {
    let mut cluster = set(json!({"replicas": 3, "strategy": {"partition": 3}}));
    let before = cluster.active();
    cluster.image("web:2");
    let mut story = cluster.story(2);
    partition(&mut cluster, 1);
    story += "-- the partition keeps one\n";
    story += &cluster.story(5);
    partition(&mut cluster, 0);
    story += "-- the partition keeps none\n";
    story += &cluster.story(5);
    expect_test::expect![[r#"
        0 s, 3 of 3 available
          create controllerrevisions web#2
          patch inplacesets/status web: 3 pods, 3 ready, 0 updated [None]
          (Why Partition) held: partition keeps 3 of 3 pods at the revision before web#2
        -- the partition keeps one
        0 s, 1 of 3 available
          patch inplacesets/status web: 3 pods, 3 ready, 0 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          patch pods/status web-B: InPlaceUpdateReady=False, Ready=False [Restart]
          patch inplacesets/status web: 3 pods, 1 ready, 0 updated [None]
          patch pods web-A: revision web#2, main=web:2 [Restart]
          patch pods web-B: revision web#2, main=web:2 [Restart]
          patch inplacesets/status web: 3 pods, 1 ready, 2 updated [None]
          (Why Partition) held: partition keeps 1 of 3 pods at the revision before web#2
        2 s, 1 of 3 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
          patch pods/status web-B: InPlaceUpdateReady=True [None]
        3 s, 3 of 3 available
          patch inplacesets/status web: 3 pods, 3 ready, 2 updated [None]
        -- the partition keeps none
        0 s, 2 of 3 available
          patch inplacesets/status web: 3 pods, 3 ready, 2 updated [None]
          patch pods/status web-A: InPlaceUpdateReady=False, Ready=False [Restart]
          patch inplacesets/status web: 3 pods, 2 ready, 2 updated [None]
          patch pods web-A: revision web#2, main=web:2 [Restart]
          patch inplacesets/status web: 3 pods, 2 ready, 3 updated [None]
        2 s, 2 of 3 available
          patch pods/status web-A: InPlaceUpdateReady=True [None]
        3 s, 3 of 3 available
          patch inplacesets/status web: 3 pods, 3 ready, 3 updated [None]
    "#]]
    .assert_eq(&story);
    for (old, new) in before.iter().zip(&cluster.active()) {
        assert_eq!((&old.metadata.uid, &old.status.pod_ip), (&new.metadata.uid, &new.status.pod_ip));
    }
}

#[test]
fn what_cannot_be_changed_in_place_is_made_anew() {
    let mut cluster = set(json!({"replicas": 2, "strategy": {"partition": 1}}));
    let before = cluster.names();
    cluster.edit(|spec| spec["template"]["spec"]["containers"][0]["args"] = json!(["x"]));
    cluster.ticks(8);
    let kept = cluster.names().iter().filter(|n| before.contains(n)).count();
    assert_eq!((kept, cluster.available(), cluster.set().status.updated_replicas), (1, 2, 1));
}

#[test]
fn a_template_taken_back_brings_back_what_had_moved_and_nothing_else() {
    let mut cluster = set(json!({"replicas": 4, "strategy": {"partition": 4}}));
    cluster.image("web:2");
    partition(&mut cluster, 2);
    cluster.ticks(6);
    assert_eq!(cluster.set().status.updated_replicas, 2);
    cluster.image("web:1");
    partition(&mut cluster, 0);
    cluster.finish(10);
    let mut restarts: Vec<i32> =
        cluster.active().iter().map(|p| p.status.container_statuses[0].restart_count).collect();
    restarts.sort_unstable();
    assert_eq!(restarts, [0, 0, 2, 2]);
}

#[test]
fn a_pod_that_others_delete_is_made_again() {
    let mut cluster = set(json!({"replicas": 3, "strategy": {"partition": 3}}));
    cluster.image("web:2");
    cluster.settle();
    let gone = api_meta::ObjectKey::new("shop", cluster.names()[1].clone());
    cluster.bench.drop(&<api_core::Pod as api_meta::Object>::RESOURCE, &gone);
    cluster.ticks(6);
    let status = cluster.set().status;
    assert_eq!(
        (cluster.available(), status.updated_replicas),
        (3, 0),
        "the partition holds for new pods too"
    );
}

#[test]
fn mistakes_in_an_inplaceset_are_named_and_nothing_is_touched() {
    let mut cluster = set(json!({"replicas": 2}));
    cluster.edit(|spec| spec["strategy"] = json!({"partition": "10%"}));
    cluster.edit(|spec| spec["replicas"] = json!(0));
    expect_test::expect![[r#"
        0 s, 2 of 2 available
          patch inplacesets/status web: 2 pods, 2 ready, 2 updated, FailedScale: spec.strategy.partition: Invalid value: "10%": must be a 32-bit integer [None]
          (Warning InvalidSpec) spec.strategy.partition: Invalid value: "10%": must be a 32-bit integer
    "#]].assert_eq(&cluster.story(1));
    assert_eq!(cluster.active().len(), 2);
}
