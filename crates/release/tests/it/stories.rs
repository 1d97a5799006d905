//! What a release does, step by step, in words. Reviewed as documentation.

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
    let mut cluster = Cluster::with(Kind::InPlaceSet, &CELLS, published());
    cluster.confirms = true;
    expect_test::expect![[r#"
        0 s: RollingOut 1/3: CellA 0/5 updated, 0 available; CellB 0/5 updated, 0 available (Pods) group beta: 0 of 1 pods in cell CellA are updated and in service
          create controllerrevisions web#1
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"1/0"}
            [GroupStarted] group beta (CellA 1 + CellB 1): web#1
          create inplacesets web-cella: replicas 1, partition 0, image web:1
          create inplacesets web-cellb: replicas 1, partition 0, image web:1
        1 s: RollingOut 1/3: CellA 1/5 updated, 0 available; CellB 1/5 updated, 0 available (Pods) group beta: web-cella-1 is not ready yet
        3 s: WaitingForConfirmation 1/3: CellA 1/5 updated, 1 available; CellB 1/5 updated, 1 available (Confirmation) group beta is in service: set annotation cafe.sofastack.io/upgrade-confirmed=true to go on
            [GroupDone] group beta is in service and waits for confirmation
          annotate {"cafe.sofastack.io/upgrade-confirmed":"false"}
        4 s: RollingOut 2/3: CellA 1/5 updated, 1 available; CellB 1/5 updated, 1 available (Pods) group group-1: 1 of 3 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"1/1"}
            [GroupStarted] group group-1 (CellA 2 + CellB 2): web#1
          patch inplacesets web-cella: replicas 3
          patch inplacesets web-cellb: replicas 3
        5 s: RollingOut 2/3: CellA 3/5 updated, 1 available; CellB 3/5 updated, 1 available (Pods) group group-1: web-cella-3, web-cella-4 is not ready yet
        7 s: WaitingForConfirmation 2/3: CellA 3/5 updated, 3 available; CellB 3/5 updated, 3 available (Confirmation) group group-1 is in service: set annotation cafe.sofastack.io/upgrade-confirmed=true to go on
            [GroupDone] group group-1 is in service and waits for confirmation
          annotate {"cafe.sofastack.io/upgrade-confirmed":"false"}
        8 s: RollingOut 3/3: CellA 3/5 updated, 3 available; CellB 3/5 updated, 3 available (Pods) group group-2: 3 of 5 pods in cell CellA are updated and in service
          annotate {"cafe.sofastack.io/upgrade-confirmed":null,"knarr.dev/started-group":"1/2"}
            [GroupStarted] group group-2 (CellA 2 + CellB 2): web#1
          patch inplacesets web-cella: replicas 5
          patch inplacesets web-cellb: replicas 5
        9 s: RollingOut 3/3: CellA 5/5 updated, 3 available; CellB 5/5 updated, 3 available (Pods) group group-2: web-cella-7, web-cella-8 is not ready yet
        11 s: Stable 3/3: CellA 5/5 updated, 5 available; CellB 5/5 updated, 5 available
            [ReleaseDone] all pods are at web#1
            [GroupDone] group group-2 is in service
    "#]].assert_eq(&cluster.story(20));
    assert!(cluster.is_done());
}
