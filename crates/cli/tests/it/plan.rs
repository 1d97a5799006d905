//! What manifests would do, asked in front of a running cluster.

use expect_test::expect;
use serde_json::Value;

use crate::fixture::World;
use crate::why::stable;

const SERVICE: &str = "---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

const CLONESET: &str = "apiVersion: apps.kruise.io/v1beta1
kind: CloneSet
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  updateStrategy: {rollingUpdate: {maxUnavailable: 2, podUpdatePolicy: InPlaceIfPossible}}
  template:
    metadata: {labels: {app: web}}
    spec:
      readinessGates: [{conditionType: InPlaceUpdateReady}]
      containers: [{name: main, image: 'web:1'}]
";

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: 'web:1'}]}
";

#[tokio::test(start_paused = true)]
async fn a_new_deployment_would_be_created_and_nothing_is() {
    let w = World::cluster("plan-new").await;
    let file = w.file("web.yaml", DEPLOYMENT);
    expect![[r#"
        deployment.apps/web in default: would be created
          Steps:
            STEP   DOES       CELLS              PODS
            1      create 4   CellA 2, CellB 2
          Available pods:
            CELL    NOW   LOWEST   MINIMUM   END
            CellA   0     0        -         2
            CellB   0     0        -         2
            all     0     0        3         4
          End: 4 of 4 pods are available

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
    assert_eq!(w.run("get deploy,rs,pods").await.out, "");
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_is_foreseen_step_by_step_and_cuts_pods_off() {
    let w = World::cluster("plan-deployment").await;
    let file = w.file("web.yaml", &format!("{DEPLOYMENT}{SERVICE}"));
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    w.file("web.yaml", &DEPLOYMENT.replace("web:1", "web:2"));
    let before = w.object("deploy,rs,pods").await;
    expect![[r#"
        deployment.apps/web in default: would be configured
          Changes:
            spec.template.spec.containers[main].image: web:1 -> web:2
          Steps:
            STEP   DOES       CELLS              PODS
            1      delete 1   CellB 1            web-#0
            2      create 2   CellA 1, CellB 1
            3      delete 2   CellA 2            web-#1, web-#2
            4      create 2   CellA 1, CellB 1
            5      delete 1   CellB 1            web-#3
          Available pods:
            CELL    NOW   LOWEST   MINIMUM   END
            CellA   2     1        -         2
            CellB   2     1        -         2
            all     4     3        3         4
          Services:
            SERVICE   READY NOW   LOWEST   END   PODS LEAVE TRAFFIC
            web       4           3        4     4, of which 4 are cut off while they serve
          End: 4 of 4 pods are available

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
    assert_eq!(w.object("deploy,rs,pods").await, before, "a plan writes nothing");
}

#[tokio::test(start_paused = true)]
async fn an_in_place_update_restarts_pods_within_their_budget() {
    let w = World::cluster("plan-cloneset").await;
    let file = w.file("web.yaml", &format!("{CLONESET}{SERVICE}"));
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    w.file("web.yaml", &CLONESET.replace("web:1", "web:2"));
    expect![[r#"
        cloneset.apps.kruise.io/web in default: would be configured
          Changes:
            spec.template.spec.containers[main].image: web:1 -> web:2
          Steps:
            STEP   DOES                 CELLS              PODS
            1      restart in place 2   CellA 1, CellB 1   web-#0, web-#1
            2      restart in place 2   CellA 1, CellB 1   web-#2, web-#3
          Available pods:
            CELL    NOW   LOWEST   MINIMUM   END
            CellA   2     1        -         2
            CellB   2     1        -         2
            all     4     2        2         4
          Services:
            SERVICE   READY NOW   LOWEST   END   PODS LEAVE TRAFFIC
            web       4           2        4     4, each by its gate first
          End: 4 of 4 pods are available, 4 of them at web-#4

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
    let json: Value = serde_json::from_str(&w.out(&format!("plan -o json -f {file}")).await).unwrap();
    let all = json["availability"].as_array().unwrap().last().unwrap();
    assert_eq!((&json["finishes"], &all["lowest"]), (&true.into(), &2.into()), "{json}");
    assert_eq!(w.out(&format!("plan -f {file}")).await, w.out(&format!("plan -f {file}")).await);
}

#[tokio::test(start_paused = true)]
async fn what_a_partition_holds_and_what_is_unchanged_are_told() {
    let w = World::cluster("plan-partition").await;
    let cloneset = CLONESET.replace("maxUnavailable: 2", "partition: 3");
    let file = w.file("web.yaml", &cloneset);
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    expect![[r#"
        cloneset.apps.kruise.io/web in default: would be unchanged
          End: no pod is touched; 4 of 4 pods are available, 4 of them at web-#0

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
    w.file("web.yaml", &cloneset.replace("web:1", "web:2").replace("replicas: 4", "replicas: 5"));
    expect![[r#"
        cloneset.apps.kruise.io/web in default: would be configured
          Changes:
            spec.replicas: 4 -> 5
            spec.template.spec.containers[main].image: web:1 -> web:2
          Steps:
            STEP   DOES                 CELLS     PODS
            1      create 1             CellA 1
            2      restart in place 1   CellB 1   web-#0
          Available pods:
            CELL    NOW   LOWEST   MINIMUM   END
            CellA   2     2        -         3
            CellB   2     1        -         2
            all     4     4        4         5
          Held:
            partition keeps 3 of 5 pods at the revision before web-#1 (Partition, by cloneset.apps.kruise.io/web)
          End: 5 of 5 pods are available, 2 of them at web-#1

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
}
