//! What a release does, step by step, in words. Reviewed as documentation.

use api_core::{Pod, drain};
use api_meta::{Object, ObjectKey};
use api_workload::CafePhase;
use api_workload::names::cafe as words;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Kind};

const CELLS: [&str; 2] = ["CellA", "CellB"];

fn published() -> Value {
    json!({"replicas": 10, "strategy": {"upgradeType": "Beta", "batchSize": 4, "needWaitingForConfirm": true}})
}

fn beta(replicas: i32, batch_size: i32) -> Value {
    json!({"replicas": replicas, "strategy": {"upgradeType": "Beta", "batchSize": batch_size}})
}

fn ready(kind: Kind, spec: Value) -> Cluster {
    let mut cluster = Cluster::with(kind, &CELLS, spec);
    cluster.confirms = true;
    cluster.finish(60);
    cluster.confirms = false;
    cluster
}

#[test]
fn the_published_example_rolls_out_by_one_two_two_in_each_cell() {
    let mut cluster = Cluster::with(Kind::InPlace, &CELLS, published());
    cluster.confirms = true;
    expect_test::expect![[r#"
        0 s: RollingOut 1/3: CellA 0/5 updated, 0 available; CellB 0/5 updated, 0 available (Pods) group beta: 0 of 1 pods in cell CellA are updated and in service
          create controllerrevisions web#1
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"1/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#1
          create inplacesets web-cella: replicas 1, partition 0, image web:1
          create inplacesets web-cellb: replicas 1, partition 0, image web:1
        1 s: RollingOut 1/3: CellA 1/5 updated, 0 available; CellB 1/5 updated, 0 available (Pods) group beta: not in service yet: web-cella-1: not ready
        3 s: WaitingForConfirmation 1/3: CellA 1/5 updated, 1 available; CellB 1/5 updated, 1 available (Confirmation) group beta is in service: set annotation cafe.sofastack.io/upgrade-confirmed=true to go on
            [GroupDone] group beta is in service and waits for confirmation
          annotate {"cafe.sofastack.io/upgrade-confirmed":"false"}
        4 s: RollingOut 2/3: CellA 1/5 updated, 1 available; CellB 1/5 updated, 1 available (Pods) group group-1: 1 of 3 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"1/1"}
            [GroupStarted] group group-1 (CellA 2 + CellB 2): web#1
          patch inplacesets web-cella: replicas 3
          patch inplacesets web-cellb: replicas 3
        5 s: RollingOut 2/3: CellA 3/5 updated, 1 available; CellB 3/5 updated, 1 available (Pods) group group-1: not in service yet: web-cella-3, web-cella-4: not ready
        7 s: WaitingForConfirmation 2/3: CellA 3/5 updated, 3 available; CellB 3/5 updated, 3 available (Confirmation) group group-1 is in service: set annotation cafe.sofastack.io/upgrade-confirmed=true to go on
            [GroupDone] group group-1 is in service and waits for confirmation
          annotate {"cafe.sofastack.io/upgrade-confirmed":"false"}
        8 s: RollingOut 3/3: CellA 3/5 updated, 3 available; CellB 3/5 updated, 3 available (Pods) group group-2: 3 of 5 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"1/2"}
            [GroupStarted] group group-2 (CellA 2 + CellB 2): web#1
          patch inplacesets web-cella: replicas 5
          patch inplacesets web-cellb: replicas 5
        9 s: RollingOut 3/3: CellA 5/5 updated, 3 available; CellB 5/5 updated, 3 available (Pods) group group-2: not in service yet: web-cella-7, web-cella-8: not ready
        11 s: Stable 3/3: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available
            [GroupDone] group group-2 is in service
            [ReleaseDone] all pods are at web#1
    "#]].assert_eq(&cluster.story(20));
    assert!(cluster.is_done());
}

#[test]
fn the_published_example_is_released_and_rolled_back_by_the_same_groups() {
    let mut cluster = ready(Kind::InPlace, published());
    cluster.image("web:2");
    cluster.confirms = true;
    expect_test::expect![[r#"
        0 s: RollingOut 1/3: CellA 0/5 updated, 5 available; CellB 0/5 updated, 5 available (Pods) group beta: 0 of 1 pods in cell CellA are updated and in service
          create controllerrevisions web#2
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#2
          patch inplacesets web-cella: partition 4, image web:2
          patch inplacesets web-cellb: partition 4, image web:2
        1 s: RollingOut 1/3: CellA 1/5 updated, 4 available; CellB 1/5 updated, 4 available (Pods) group beta: not in service yet: web-cella-1: not ready
        2 s: WaitingForConfirmation 1/3: CellA 1/5 updated, 5 available; CellB 1/5 updated, 5 available (Confirmation) group beta is in service: set annotation cafe.sofastack.io/upgrade-confirmed=true to go on
            [GroupDone] group beta is in service and waits for confirmation
          annotate {"cafe.sofastack.io/upgrade-confirmed":"false"}
        3 s: RollingOut 2/3: CellA 1/5 updated, 5 available; CellB 1/5 updated, 5 available (Pods) group group-1: 1 of 3 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/1"}
            [GroupStarted] group group-1 (CellA 2 + CellB 2): web#2
          patch inplacesets web-cella: partition 2
          patch inplacesets web-cellb: partition 2
        4 s: RollingOut 2/3: CellA 3/5 updated, 3 available; CellB 3/5 updated, 3 available (Pods) group group-1: not in service yet: web-cella-3, web-cella-4: not ready
        5 s: WaitingForConfirmation 2/3: CellA 3/5 updated, 5 available; CellB 3/5 updated, 5 available (Confirmation) group group-1 is in service: set annotation cafe.sofastack.io/upgrade-confirmed=true to go on
            [GroupDone] group group-1 is in service and waits for confirmation
          annotate {"cafe.sofastack.io/upgrade-confirmed":"false"}
        6 s: RollingOut 3/3: CellA 3/5 updated, 5 available; CellB 3/5 updated, 5 available (Pods) group group-2: 3 of 5 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/2"}
            [GroupStarted] group group-2 (CellA 2 + CellB 2): web#2
          patch inplacesets web-cella: partition 0
          patch inplacesets web-cellb: partition 0
        7 s: RollingOut 3/3: CellA 5/5 updated, 3 available; CellB 5/5 updated, 3 available (Pods) group group-2: not in service yet: web-cella-7, web-cella-8: not ready
        8 s: Stable 3/3: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available
            [GroupDone] group group-2 is in service
            [ReleaseDone] all pods are at web#2
    "#]].assert_eq(&cluster.story(30));
    assert!(cluster.is_done());
    cluster.annotate(words::ROLLBACK_TO, "previous");
    expect_test::expect![[r#"
        0 s: RollingBack 1/3: CellA 0/5 updated, 5 available; CellB 0/5 updated, 5 available (Pods) group beta: 0 of 1 pods in cell CellA are updated and in service
          annotate {"knarr.dev/rollback-to":null}, template "web:1"
            [RollBack] going back from web#2 to web#1
          patch controllerrevisions web#1: 
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"3/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#1
          patch inplacesets web-cella: partition 4, image web:1
          patch inplacesets web-cellb: partition 4, image web:1
        1 s: RollingBack 1/3: CellA 1/5 updated, 4 available; CellB 1/5 updated, 4 available (Pods) group beta: not in service yet: web-cella-1: not ready
        2 s: WaitingForConfirmation 1/3: CellA 1/5 updated, 5 available; CellB 1/5 updated, 5 available (Confirmation) group beta is in service: set annotation cafe.sofastack.io/upgrade-confirmed=true to go on
            [GroupDone] group beta is in service and waits for confirmation
          annotate {"cafe.sofastack.io/upgrade-confirmed":"false"}
        3 s: RollingBack 2/3: CellA 1/5 updated, 5 available; CellB 1/5 updated, 5 available (Pods) group group-1: 1 of 3 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"3/1"}
            [GroupStarted] group group-1 (CellA 2 + CellB 2): web#1
          patch inplacesets web-cella: partition 2
          patch inplacesets web-cellb: partition 2
        4 s: RollingBack 2/3: CellA 3/5 updated, 3 available; CellB 3/5 updated, 3 available (Pods) group group-1: not in service yet: web-cella-3, web-cella-4: not ready
        5 s: WaitingForConfirmation 2/3: CellA 3/5 updated, 5 available; CellB 3/5 updated, 5 available (Confirmation) group group-1 is in service: set annotation cafe.sofastack.io/upgrade-confirmed=true to go on
            [GroupDone] group group-1 is in service and waits for confirmation
          annotate {"cafe.sofastack.io/upgrade-confirmed":"false"}
        6 s: RollingBack 3/3: CellA 3/5 updated, 5 available; CellB 3/5 updated, 5 available (Pods) group group-2: 3 of 5 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"3/2"}
            [GroupStarted] group group-2 (CellA 2 + CellB 2): web#1
          patch inplacesets web-cella: partition 0
          patch inplacesets web-cellb: partition 0
        7 s: RollingBack 3/3: CellA 5/5 updated, 3 available; CellB 5/5 updated, 3 available (Pods) group group-2: not in service yet: web-cella-7, web-cella-8: not ready
        8 s: Stable 3/3: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available
            [GroupDone] group group-2 is in service
            [ReleaseDone] all pods are at web#1
    "#]].assert_eq(&cluster.story(30));
    assert!(cluster.is_done());
    assert_eq!(cluster.at("CellA", "web:1") + cluster.at("CellB", "web:1"), 10);
}

#[test]
fn one_confirmation_releases_exactly_one_group_even_when_it_comes_early() {
    let mut cluster = ready(Kind::InPlace, published());
    cluster.image("web:2");
    cluster.tick();
    cluster.confirm();
    for _ in 0..12 {
        cluster.tick();
    }
    expect_test::expect![[r#"
        beta CellA 1 + CellB 1: Done
        group-1 CellA 2 + CellB 2: WaitingForConfirmation
        group-2 CellA 2 + CellB 2: Planned
    "#]]
    .assert_eq(&cluster.groups());
    assert_eq!(cluster.annotation(words::CONFIRMED).as_deref(), Some("false"));
    for _ in 0..12 {
        cluster.tick();
    }
    assert_eq!(cluster.running_group(), None, "nobody has confirmed it a second time");
}

#[test]
fn uneven_cells_are_released_evenly() {
    let mut spec = beta(12, 4);
    spec["topology"] =
        json!({"values": ["CellA", "CellB", "CellC"], "unitReplicas": {"CellB": "25%", "CellC": 1}});
    let mut cluster = Cluster::with(Kind::InPlace, &["CellA", "CellB", "CellC"], spec);
    cluster.finish(60);
    cluster.image("web:2");
    cluster.finish(60);
    expect_test::expect![[r#"
        beta CellA 1 + CellB 1 + CellC 1: Done
        group-1 CellA 3 + CellB 1: Done
        group-2 CellA 3 + CellB 1: Done
        group-3 CellA 1: Done
    "#]]
    .assert_eq(&cluster.groups());
}

#[test]
fn a_scale_out_comes_in_groups_and_a_scale_in_at_once() {
    let mut cluster = ready(Kind::InPlace, beta(4, 4));
    cluster.edit(|c| c["spec"]["replicas"] = json!(10));
    expect_test::expect![[r#"
        0 s: RollingOut 1/2: CellA 2/5 updated, 2 available; CellB 2/5 updated, 2 available (Pods) group beta: 2 of 3 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#1
          patch inplacesets web-cella: replicas 3
          patch inplacesets web-cellb: replicas 3
        1 s: RollingOut 1/2: CellA 3/5 updated, 2 available; CellB 3/5 updated, 2 available (Pods) group beta: not in service yet: web-cella-5: not ready
        3 s: RollingOut 2/2: CellA 3/5 updated, 3 available; CellB 3/5 updated, 3 available (Pods) group group-1: 3 of 5 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/1"}
            [GroupStarted] group group-1 (CellA 2 + CellB 2): web#1
          patch inplacesets web-cella: replicas 5
          patch inplacesets web-cellb: replicas 5
            [GroupDone] group beta is in service
        4 s: RollingOut 2/2: CellA 5/5 updated, 3 available; CellB 5/5 updated, 3 available (Pods) group group-1: not in service yet: web-cella-7, web-cella-8: not ready
        6 s: Stable 2/2: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available
            [GroupDone] group group-1 is in service
            [ReleaseDone] all pods are at web#1
    "#]].assert_eq(&cluster.story(20));
    cluster.edit(|c| c["spec"]["replicas"] = json!(3));
    expect_test::expect![[r#"
        0 s: RollingOut : CellA 5/2 updated, 5 available; CellB 5/1 updated, 5 available (Pods) cell CellA has 5 pods on the way to 2
          patch inplacesets web-cella: replicas 2
          patch inplacesets web-cellb: replicas 1
        1 s: Stable : CellA 2/2 updated, 2 available; CellB 1/1 updated, 1 available
            [ReleaseDone] all pods are at web#1
    "#]]
    .assert_eq(&cluster.story(10));
    assert!(cluster.is_done());
}

#[test]
fn a_change_of_mind_in_the_middle_is_planned_from_what_is_there() {
    let mut cluster = ready(Kind::InPlace, beta(10, 4));
    cluster.image("web:2");
    cluster.story(3);
    cluster.image("web:3");
    expect_test::expect![[r#"
        0 s: RollingOut 1/3: CellA 0/5 updated, 3 available; CellB 0/5 updated, 3 available (Pods) group beta: 0 of 1 pods in cell CellA are updated and in service
          create controllerrevisions web#3
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"3/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#3
          patch inplacesets web-cella: partition 4, image web:3
          patch inplacesets web-cellb: partition 4, image web:3
        1 s: RollingOut 1/3: CellA 1/5 updated, 4 available; CellB 1/5 updated, 4 available (Pods) group beta: not in service yet: web-cella-3: not ready
        2 s: RollingOut 2/3: CellA 1/5 updated, 5 available; CellB 1/5 updated, 5 available (Pods) group group-1: 1 of 3 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"3/1"}
            [GroupStarted] group group-1 (CellA 2 + CellB 2): web#3
          patch inplacesets web-cella: partition 2
          patch inplacesets web-cellb: partition 2
            [GroupDone] group beta is in service
        3 s: RollingOut 2/3: CellA 3/5 updated, 3 available; CellB 3/5 updated, 3 available (Pods) group group-1: not in service yet: web-cella-1, web-cella-4: not ready
        4 s: RollingOut 3/3: CellA 3/5 updated, 5 available; CellB 3/5 updated, 5 available (Pods) group group-2: 3 of 5 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"3/2"}
            [GroupStarted] group group-2 (CellA 2 + CellB 2): web#3
          patch inplacesets web-cella: partition 0
          patch inplacesets web-cellb: partition 0
            [GroupDone] group group-1 is in service
        5 s: RollingOut 3/3: CellA 5/5 updated, 3 available; CellB 5/5 updated, 3 available (Pods) group group-2: not in service yet: web-cella-7, web-cella-8: not ready
        6 s: Stable 3/3: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available
            [GroupDone] group group-2 is in service
            [ReleaseDone] all pods are at web#3
    "#]].assert_eq(&cluster.story(20));
    assert!(cluster.is_done());
}

#[test]
fn more_replicas_in_the_middle_go_on_after_the_groups_that_are_done() {
    let mut cluster = ready(Kind::InPlace, beta(10, 4));
    cluster.image("web:2");
    cluster.story(2);
    cluster.edit(|c| c["spec"]["replicas"] = json!(14));
    cluster.finish(60);
    expect_test::expect![[r#"
        beta CellA 1 + CellB 1: Done
        group-1 CellA 2 + CellB 2: Done
        group-2 CellA 2 + CellB 2: Done
        group-3 CellA 1 + CellB 1: Done
    "#]]
    .assert_eq(&cluster.groups());
}

#[test]
fn a_broken_version_stops_in_the_beta_group_and_goes_back_by_itself() {
    let mut cluster = ready(Kind::InPlace, beta(10, 4));
    cluster.annotate(words::ON_FAILURE, "RollBack");
    cluster.bad_images.insert("web:2".to_owned());
    cluster.touched.clear();
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s: RollingOut 1/3: CellA 0/5 updated, 5 available; CellB 0/5 updated, 5 available (Pods) group beta: 0 of 1 pods in cell CellA are updated and in service
          create controllerrevisions web#2
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#2
          patch inplacesets web-cella: partition 4, image web:2
          patch inplacesets web-cellb: partition 4, image web:2
        1 s: RollingBack 1/1: CellA 4/5 updated, 4 available; CellB 4/5 updated, 4 available (Pods) group beta: 4 of 5 pods in cell CellA are updated and in service
          annotate {}, template "web:1"
            [RollBack] pod web-cella-1: container main keeps failing: going back from web#2 to web#1
          patch controllerrevisions web#1: 
            [ReleaseFailed] pod web-cella-1: container main keeps failing: went back from web#2 to web#1
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"3/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#1
          patch inplacesets web-cella: partition 0, image web:1
          patch inplacesets web-cellb: partition 0, image web:1
        2 s: RollingBack 1/1: CellA 5/5 updated, 4 available; CellB 5/5 updated, 4 available (Pods) group beta: not in service yet: web-cella-1: not ready
        3 s: Stable 1/1: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available
            [GroupDone] group beta is in service
            [ReleaseDone] all pods are at web#1
    "#]].assert_eq(&cluster.story(20));
    assert!(cluster.is_done());
    assert_eq!(cluster.touched.len(), 2);
    let failed = cluster.cafe().status.conditions.into_iter().find(|c| c.r#type == "Failed").unwrap();
    assert_eq!((failed.status.as_str(), failed.reason.as_str()), ("True", "PodFailed"));
    cluster.image("web:3");
    cluster.finish(60);
    let failed = cluster.cafe().status.conditions.into_iter().find(|c| c.r#type == "Failed").unwrap();
    assert_eq!(failed.status, "False");
    assert_eq!(cluster.annotation(words::ROLLED_BACK), None);
}

#[test]
fn a_broken_version_is_held_for_a_person_unless_going_back_was_asked_for() {
    let mut cluster = ready(Kind::InPlace, beta(10, 4));
    cluster.bad_images.insert("web:2".to_owned());
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s: RollingOut 1/3: CellA 0/5 updated, 5 available; CellB 0/5 updated, 5 available (Pods) group beta: 0 of 1 pods in cell CellA are updated and in service
          create controllerrevisions web#2
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#2
          patch inplacesets web-cella: partition 4, image web:2
          patch inplacesets web-cellb: partition 4, image web:2
        1 s: Held 1/3: CellA 1/5 updated, 4 available; CellB 1/5 updated, 4 available (PodFailed) pod web-cella-1: container main keeps failing: the release is held in group beta; mend the template, or roll back with annotation knarr.dev/rollback-to=previous
            [ReleaseFailed] pod web-cella-1: container main keeps failing
    "#]].assert_eq(&cluster.story(20));
    assert_eq!(cluster.phase(), CafePhase::Held);
    cluster.annotate(words::ROLLBACK_TO, "previous");
    cluster.finish(30);
    assert_eq!(cluster.touched.len(), 2);
}

#[test]
fn a_pause_stops_between_pods_and_goes_on_where_it_was() {
    let mut cluster = ready(Kind::InPlace, beta(10, 4));
    cluster.image("web:2");
    cluster.tick();
    cluster.edit(|c| c["spec"]["strategy"]["pause"] = json!(true));
    for _ in 0..10 {
        cluster.tick();
    }
    expect_test::expect!["Paused 1/3: CellA 1/5 updated, 5 available; CellB 1/5 updated, 5 available (Paused) spec.strategy.pause is true"].assert_eq(&cluster.line());
    cluster.edit(|c| c["spec"]["strategy"]["pause"] = json!(false));
    cluster.finish(40);
}

#[test]
fn a_lost_cell_neither_stops_the_others_nor_is_forgotten() {
    let mut cluster = ready(Kind::InPlace, beta(10, 4));
    cluster.image("web:2");
    cluster.story(2);
    cluster.set_node_ready("CellB", false);
    cluster.run_nodes();
    expect_test::expect![[r#"
        0 s: RollingOut 2/3: CellA 1/5 updated, 5 available; CellB 1/5 updated, 0 available lost (Pods) group group-1: 1 of 3 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/1"}
            [GroupStarted] group group-1 (CellA 2 + CellB 2): web#2
          patch inplacesets web-cella: partition 2
            [GroupDone] group beta is in service
        1 s: RollingOut 2/3: CellA 3/5 updated, 3 available; CellB 1/5 updated, 0 available lost (Pods) group group-1: not in service yet: web-cella-3, web-cella-4: not ready
        2 s: RollingOut 3/3: CellA 3/5 updated, 5 available; CellB 1/5 updated, 0 available lost (Pods) group group-2: 3 of 5 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/2"}
            [GroupStarted] group group-2 (CellA 2 + CellB 2): web#2
          patch inplacesets web-cella: partition 0
            [GroupDone] group group-1 is in service
        3 s: RollingOut 3/3: CellA 5/5 updated, 3 available; CellB 1/5 updated, 0 available lost (Pods) group group-2: not in service yet: web-cella-7, web-cella-8: not ready
        4 s: RollingOut 3/3: CellA 5/5 updated, 5 available; CellB 1/5 updated, 0 available lost (CellLost) cell CellB has no ready node: its pods follow when it is back
            [GroupDone] group group-2 is in service
    "#]]
    .assert_eq(&cluster.story(25));
    assert_eq!((cluster.at("CellA", "web:2"), cluster.available("CellA")), (5, 5));
    cluster.set_node_ready("CellB", true);
    expect_test::expect![[r#"
        0 s: RollingOut 3/3: CellA 5/5 updated, 5 available; CellB 1/5 updated, 0 available (Pods) cell CellB has 5 pods on the way to 5
        1 s: RollingOut 3/3: CellA 5/5 updated, 5 available; CellB 1/5 updated, 5 available (Pods) group group-2: 1 of 5 pods in cell CellB are updated and in service
          patch inplacesets web-cellb: partition 2
        2 s: RollingOut 3/3: CellA 5/5 updated, 5 available; CellB 3/5 updated, 3 available (Pods) group group-2: not in service yet: web-cellb-2, web-cellb-5: not ready
        3 s: RollingOut 3/3: CellA 5/5 updated, 5 available; CellB 3/5 updated, 5 available (Pods) group group-2: 3 of 5 pods in cell CellB are updated and in service
          patch inplacesets web-cellb: partition 0
        4 s: RollingOut 3/3: CellA 5/5 updated, 5 available; CellB 5/5 updated, 3 available (Pods) group group-2: not in service yet: web-cellb-6, web-cellb-9: not ready
        5 s: Stable 3/3: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available
            [ReleaseDone] all pods are at web#2
    "#]]
    .assert_eq(&cluster.story(25));
    assert!(cluster.is_done());
}

#[test]
fn a_full_cell_gives_its_quota_to_one_that_has_room() {
    let mut spec = beta(10, 4);
    spec["topology"] = json!({"autoReschedule": {"enable": true, "initialDelaySeconds": 5}});
    let mut cluster = Cluster::with(Kind::InPlace, &CELLS, spec);
    cluster.room.insert("CellA".to_owned(), 3);
    expect_test::expect![[r#"
        0 s: RollingOut 1/3: CellA 0/5 updated, 0 available; CellB 0/5 updated, 0 available (Pods) group beta: 0 of 1 pods in cell CellA are updated and in service
          create controllerrevisions web#1
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"1/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#1
          create inplacesets web-cella: replicas 1, partition 0, image web:1
          create inplacesets web-cellb: replicas 1, partition 0, image web:1
        1 s: RollingOut 1/3: CellA 1/5 updated, 0 available; CellB 1/5 updated, 0 available (Pods) group beta: not in service yet: web-cella-1: not ready
        3 s: RollingOut 2/3: CellA 1/5 updated, 1 available; CellB 1/5 updated, 1 available (Pods) group group-1: 1 of 3 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"1/1"}
            [GroupStarted] group group-1 (CellA 2 + CellB 2): web#1
          patch inplacesets web-cella: replicas 3
          patch inplacesets web-cellb: replicas 3
            [GroupDone] group beta is in service
        4 s: RollingOut 2/3: CellA 3/5 updated, 1 available; CellB 3/5 updated, 1 available (Pods) group group-1: not in service yet: web-cella-3, web-cella-4: not ready
        6 s: RollingOut 3/3: CellA 3/5 updated, 3 available; CellB 3/5 updated, 3 available (Pods) group group-2: 3 of 5 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"1/2"}
            [GroupStarted] group group-2 (CellA 2 + CellB 2): web#1
          patch inplacesets web-cella: replicas 5
          patch inplacesets web-cellb: replicas 5
            [GroupDone] group group-1 is in service
        7 s: RollingOut 3/3: CellA 5/5 updated, 3 available; CellB 5/5 updated, 3 available (NoRoom) no node in cell CellA has room for web-cella-7, web-cella-8
        9 s: RollingOut 3/3: CellA 5/5 updated, 3 available; CellB 5/5 updated, 5 available (NoRoom) no node in cell CellA has room for web-cella-7, web-cella-8
        12 s: RollingOut 3/3: CellA 5/3 updated, 3 available; CellB 5/7 updated, 5 available (Pods) group group-2: 5 of 7 pods in cell CellB are updated and in service
            [Rescheduled] 2 pods moved from cell CellA, which has no room, to CellB
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/2"}
            [GroupStarted] group group-2 (CellB 2): web#1
          patch inplacesets web-cella: replicas 3
          patch inplacesets web-cellb: replicas 7
        13 s: RollingOut 3/3: CellA 3/3 updated, 3 available; CellB 7/7 updated, 5 available (Pods) group group-2: not in service yet: web-cellb-11, web-cellb-12: not ready
        15 s: Stable 3/3: CellA 3/3 updated, 3 available; CellB 7/7 updated, 7 available
            [GroupDone] group group-2 is in service
            [ReleaseDone] all pods are at web#1
    "#]].assert_eq(&cluster.story(40));
    assert!(cluster.is_done());
    assert_eq!((cluster.at("CellA", "web:1"), cluster.at("CellB", "web:1")), (3, 7));
}

#[test]
fn a_cell_below_its_minimum_gives_up_no_pod_that_serves() {
    let mut cluster = ready(Kind::InPlace, beta(10, 4));
    cluster.annotate(words::CELL_MIN_AVAILABLE, "5");
    cluster.image("web:2");
    for _ in 0..10 {
        cluster.tick();
    }
    expect_test::expect!["RollingOut 1/3: CellA 0/5 updated, 5 available; CellB 0/5 updated, 5 available (CellMinimum) 5 pods are available in cell CellA and 5 must stay so: no further pod is taken out"].assert_eq(&cluster.line());
    assert_eq!((cluster.available("CellA"), cluster.available("CellB")), (5, 5));
    cluster.annotate(words::CELL_MIN_AVAILABLE, "80%");
    cluster.finish(60);
}

#[test]
fn replicasets_move_in_opposite_directions_group_by_group() {
    let mut cluster = ready(Kind::Replica, beta(10, 4));
    cluster.image("web:2");
    expect_test::expect![[r#"
        0 s: RollingOut 1/3: CellA 0/5 updated, 5 available; CellB 0/5 updated, 5 available (Pods) group beta: 0 of 1 pods in cell CellA are updated and in service
          create controllerrevisions web#2
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#2
          create replicasets web-cella-cd6d557d9: replicas 1, image web:2
          create replicasets web-cellb-cd6d557d9: replicas 1, image web:2
        1 s: RollingOut 1/3: CellA 1/5 updated, 5 available; CellB 1/5 updated, 5 available (Pods) group beta: not in service yet: web-cella-cd6d557d9-11: not ready
        3 s: RollingOut 2/3: CellA 1/5 updated, 6 available; CellB 1/5 updated, 6 available (Pods) group group-1: 1 of 3 pods in cell CellA are updated and in service
          patch replicasets web-cella-58c78fbbc8: replicas 4
          patch replicasets web-cellb-58c78fbbc8: replicas 4
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/1"}
            [GroupStarted] group group-1 (CellA 2 + CellB 2): web#2
          patch replicasets web-cella-cd6d557d9: replicas 3
          patch replicasets web-cellb-cd6d557d9: replicas 3
            [GroupDone] group beta is in service
        4 s: RollingOut 2/3: CellA 3/5 updated, 5 available; CellB 3/5 updated, 5 available (Pods) group group-1: not in service yet: web-cella-cd6d557d9-13, web-cella-cd6d557d9-14: not ready
        6 s: RollingOut 3/3: CellA 3/5 updated, 7 available; CellB 3/5 updated, 7 available (Pods) group group-2: 3 of 5 pods in cell CellA are updated and in service
          patch replicasets web-cella-58c78fbbc8: replicas 2
          patch replicasets web-cellb-58c78fbbc8: replicas 2
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"2/2"}
            [GroupStarted] group group-2 (CellA 2 + CellB 2): web#2
          patch replicasets web-cella-cd6d557d9: replicas 5
          patch replicasets web-cellb-cd6d557d9: replicas 5
            [GroupDone] group group-1 is in service
        7 s: RollingOut 3/3: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available (Pods) group group-2: not in service yet: web-cella-cd6d557d9-17, web-cella-cd6d557d9-18: not ready
        9 s: RollingOut 3/3: CellA 5/5 updated, 7 available; CellB 5/5 updated, 7 available (Pods) cell CellA has 7 pods on the way to 5
          patch replicasets web-cella-58c78fbbc8: replicas 0
          patch replicasets web-cellb-58c78fbbc8: replicas 0
            [GroupDone] group group-2 is in service
        10 s: Stable 3/3: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available
          delete replicasets web-cella-58c78fbbc8
          delete replicasets web-cellb-58c78fbbc8
            [ReleaseDone] all pods are at web#2
    "#]].assert_eq(&cluster.story(30));
    assert!(cluster.is_done());
}

#[test]
fn clonesets_are_released_as_inplacesets_are() {
    let mut cluster = ready(Kind::Clone, published());
    cluster.image("web:2");
    cluster.confirms = true;
    cluster.finish(60);
    expect_test::expect![[r#"
        beta CellA 1 + CellB 1: Done
        group-1 CellA 2 + CellB 2: Done
        group-2 CellA 2 + CellB 2: Done
    "#]]
    .assert_eq(&cluster.groups());
}

#[test]
fn what_cannot_be_done_is_said_in_a_condition() {
    let mut cluster = Cluster::with(Kind::InPlace, &CELLS, beta(4, 2));
    cluster.edit(|c| c["spec"]["podSetType"] = json!("StatefulSet"));
    cluster.settle();
    let accepted = cluster.cafe().status.conditions.into_iter().find(|c| c.r#type == "Accepted").unwrap();
    assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), ("False", "NotSupported"));
    assert!(accepted.message.contains("not supported here yet"));
}

#[test]
fn an_unknown_revision_to_go_back_to_is_refused_and_nothing_moves() {
    let mut cluster = ready(Kind::InPlace, beta(4, 2));
    cluster.touched.clear();
    cluster.annotate(words::ROLLBACK_TO, "web-nothing");
    let notes = cluster.plan().notes;
    assert_eq!(notes[0].reason, "RevisionNotFound");
    cluster.finish(5);
    assert!(cluster.touched.is_empty() && cluster.annotation(words::ROLLBACK_TO).is_none());
}

/// A release whose controller dies before each of its writes in turn, and is started again.
#[test]
fn killed_at_every_write_and_resumed_it_gives_the_same_groups() {
    let run = |kill_at: usize| {
        let mut cluster = ready(Kind::InPlace, published());
        cluster.image("web:2");
        cluster.confirms = true;
        let (mut writes, mut started) = (0, Vec::new());
        for _ in 0..16 {
            for _ in 0..60 {
                let plan = cluster.plan();
                if plan.is_quiet() {
                    break;
                }
                for action in &plan.actions {
                    writes += 1;
                    if writes == kill_at {
                        // It dies here; the world goes on for a while without it.
                        (0..3).for_each(|_| cluster.world_tick());
                        break;
                    }
                    cluster.act(action).unwrap();
                    started.extend(
                        cluster.annotation(words::STARTED_GROUP).filter(|g| started.last() != Some(g)),
                    );
                }
            }
            cluster.world_tick();
        }
        assert!(cluster.is_done(), "killed before write {kill_at}: {}", cluster.line());
        (writes, started, cluster.groups())
    };
    let (writes, started, groups) = run(usize::MAX);
    assert!(writes > 10);
    for kill_at in 1..=writes {
        let (_, again, same) = run(kill_at);
        assert_eq!((&again, &same), (&started, &groups), "killed before write {kill_at}");
    }
}

/// Gives a pod a gate, and a traffic component that protects it.
fn protect(
    cluster: &mut Cluster,
    name: &str,
    gate: &str,
    since: stdx::Time,
    finalizers: &Value,
    annotations: &Value,
) {
    cluster.bench.edit(&Pod::RESOURCE, &ObjectKey::new("shop", name), |p| {
        p["spec"]["readinessGates"] = json!([{"conditionType": drain::INPLACE_READY}]);
        p["metadata"]["finalizers"] = finalizers.clone();
        p["metadata"]["annotations"] = annotations.clone();
        let condition = json!({"type": drain::INPLACE_READY, "status": gate, "lastTransitionTime": since});
        p["status"]["conditions"].as_array_mut().unwrap().push(condition);
    });
}

#[test]
fn a_group_is_done_when_the_traffic_of_its_pods_is_back() {
    let mut cluster = ready(Kind::InPlace, beta(4, 2));
    let expected =
        json!({"expectedFinalizers": {"Service/shop/web": drain::protection_of("web")}}).to_string();
    let annotations = json!({drain::AVAILABLE_CONDITIONS: expected});
    cluster.image("web:2");
    cluster.tick();
    let now = cluster.bench.now;
    protect(&mut cluster, "web-cella-1", "True", now, &json!([]), &annotations);
    for _ in 0..4 {
        cluster.run_nodes();
        cluster.settle();
        cluster.bench.pass(1);
    }
    expect_test::expect!["RollingOut 1/2: CellA 1/2 updated, 1 available; CellB 1/2 updated, 2 available (Pods) group beta: not in service yet: web-cella-1: its traffic is not back"].assert_eq(&cluster.line());
    let finalizers = json!([drain::protection_of("web")]);
    protect(&mut cluster, "web-cella-1", "True", now, &finalizers, &annotations);
    cluster.settle();
    assert_eq!(cluster.running_group(), Some(1));
}

#[test]
fn where_nobody_counts_requests_the_status_says_waited_not_drained() {
    let mut cluster = ready(Kind::InPlace, beta(4, 2));
    cluster.image("web:2");
    cluster.settle();
    let (now, finalizers) = (cluster.bench.now, json!([drain::protection_of("web")]));
    let left = json!({release::waiter::LEFT: json!({"web": now}).to_string()});
    protect(&mut cluster, "web-cella-1", "False", now, &finalizers, &left);
    cluster.settle();
    expect_test::expect!["RollingOut 1/2: CellA 0/2 updated, 1 available; CellB 0/2 updated, 2 available (Drain) the drain time of web for pod web-cella-1: nobody counts requests, waited, not drained"].assert_eq(&cluster.line());
}

#[test]
fn a_drain_that_is_overdue_takes_the_release_back_when_the_pod_says_so() {
    let mut cluster = ready(Kind::InPlace, beta(4, 2));
    cluster.image("web:2");
    cluster.settle();
    let (now, finalizers) = (cluster.bench.now, json!([drain::protection_of("web")]));
    let annotations = json!({drain::DEADLINE_SECONDS: "5", drain::DEADLINE_POLICY: "RollBack"});
    protect(&mut cluster, "web-cella-1", "False", now, &finalizers, &annotations);
    cluster.settle();
    expect_test::expect!["RollingOut 1/2: CellA 0/2 updated, 1 available; CellB 0/2 updated, 2 available (Drain) web still sends requests to pod web-cella-1"].assert_eq(&cluster.line());
    assert_eq!(cluster.plan().wake, Some(now + std::time::Duration::from_secs(5)));
    cluster.bench.pass(5);
    let plan = cluster.plan();
    expect_test::expect!["pod web-cella-1: traffic of web has not ended within its deadline"]
        .assert_eq(plan.notes[0].message.split(": going").next().unwrap());
    cluster.settle();
    assert_eq!(cluster.phase(), CafePhase::RollingBack, "the pod is still out of service");
    assert!(cluster.annotation(words::ROLLED_BACK).is_some());
    // Its set opens the gate again, because it is as wanted.
    cluster.bench.edit(&Pod::RESOURCE, &ObjectKey::new("shop", "web-cella-1"), |p| {
        p["status"]["conditions"][1]["status"] = json!("True");
    });
    cluster.settle();
    assert_eq!(cluster.phase(), CafePhase::Stable);
}

#[test]
fn a_pod_counts_when_it_has_been_ready_for_long_enough() {
    let mut spec = beta(4, 2);
    spec["strategy"]["minReadySeconds"] = json!(10);
    let mut cluster = Cluster::with(Kind::InPlace, &CELLS, spec);
    for _ in 0..6 {
        cluster.tick();
    }
    cluster.settle();
    expect_test::expect!["RollingOut 1/2: CellA 1/2 updated, 0 available; CellB 1/2 updated, 0 available (Pods) group beta: not in service yet: web-cella-1: ready for less than 10 seconds"].assert_eq(&cluster.line());
    let wake = cluster.plan().wake.unwrap();
    assert!(wake <= cluster.bench.now + std::time::Duration::from_secs(5));
    cluster.finish(60);
}

#[test]
fn revisions_beyond_the_limit_go_when_nobody_has_them() {
    let mut spec = beta(4, 4);
    spec["historyLimit"] = json!(1);
    let mut cluster = ready(Kind::InPlace, spec);
    for n in 2..6 {
        cluster.image(&format!("web:{n}"));
        cluster.finish(40);
    }
    let kept = cluster.bench.list(&api_core::ControllerRevision::RESOURCE);
    let image = |r: &&Value| r.pointer("/data/spec/template/spec/containers/0/image").cloned().unwrap();
    let mut images: Vec<String> = kept.iter().map(|r| image(r).as_str().unwrap().to_owned()).collect();
    images.sort();
    assert_eq!(images, ["web:4", "web:5"]);
}

#[test]
fn a_cell_that_is_left_gives_its_pods_up_when_the_others_serve_for_them() {
    let mut cluster = ready(Kind::InPlace, beta(8, 4));
    cluster.edit(|c| c["spec"]["topology"]["values"] = json!(["CellA"]));
    let mut least = 8;
    while !cluster.is_done() {
        cluster.tick();
        least = least.min(cluster.available("CellA") + cluster.available("CellB"));
        assert!(cluster.bench.now < stdx::Time::from_secs(1_700_000_200), "{}", cluster.line());
    }
    assert_eq!((least, cluster.available("CellA"), cluster.available("CellB")), (8, 8, 0));
    assert_eq!(cluster.bench.list(&api_workload::InPlaceSet::RESOURCE).len(), 1);
}

#[test]
fn no_group_is_passed_by_while_no_cell_has_a_node() {
    let mut cluster = Cluster::with(Kind::InPlace, &CELLS, beta(10, 4));
    CELLS.iter().for_each(|c| cluster.set_node_ready(c, false));
    for _ in 0..5 {
        cluster.tick();
    }
    expect_test::expect!["RollingOut 0/3: CellA 0/5 updated, 0 available lost; CellB 0/5 updated, 0 available lost (CellLost) no cell has a ready node"].assert_eq(&cluster.line());
    assert!(cluster.pods().is_empty());
    CELLS.iter().for_each(|c| cluster.set_node_ready(c, true));
    cluster.finish(40);
}
