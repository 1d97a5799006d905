//! What manifests would do, asked in front of a running cluster.

use api_client::{Patch, WriteOptions};
use expect_test::expect;
use serde_json::{Value, json};

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
            STEP   DOES       PODS
            1      create 4
          Available pods:
            CELL   NOW   LOWEST   MINIMUM   END
            all    0     0        3         4
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
            STEP   DOES       PODS
            1      delete 1   web-#0
            2      create 2
            3      delete 2   web-#1, web-#2
            4      create 2
            5      delete 1   web-#3
          Available pods:
            CELL   NOW   LOWEST   MINIMUM   END
            all    4     3        3         4
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
            STEP   DOES                 PODS
            1      restart in place 2   web-#0, web-#1
            2      restart in place 2   web-#2, web-#3
          Available pods:
            CELL   NOW   LOWEST   MINIMUM   END
            all    4     2        2         4
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
    let plan = w.out(&format!("plan -f {file}")).await;
    assert_eq!(plan, w.out(&format!("plan -f {file}")).await, "nothing changed, nothing else is foreseen");
    // A traffic component at work makes the same steps: it drains, and puts its finalizer back.
    let pods = api_meta::Resource::namespaced("", "v1", "pods", "Pod");
    let protect = json!({"metadata": {"finalizers": ["prot.podopslifecycle.kusionstack.io/web"], "annotations": {
        "pod.kusionstack.io/available-conditions": "{\"expectedFinalizers\":{\"Service/default/web\":\"prot.podopslifecycle.kusionstack.io/web\"}}"}}});
    for name in w.out("get pods -o name").await.lines() {
        let name = name.trim_start_matches("pod/");
        let (patch, options) = (Patch::Merge(protect.clone()), WriteOptions::default());
        let _: Value = w.client().patch(&pods, ("default", name), "", &patch, &options).await.unwrap();
    }
    assert_eq!(w.out(&format!("plan -f {file}")).await, plan);
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
            STEP   DOES                 PODS
            1      create 1
            2      restart in place 1   web-#0
          Available pods:
            CELL   NOW   LOWEST   MINIMUM   END
            all    4     4        4         5
          Held:
            partition keeps 3 of 5 pods at the revision before web-#1 (Partition, by cloneset.apps.kruise.io/web)
          End: 5 of 5 pods are available, 2 of them at web-#1

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
}

/// The published example, with a Service in front.
pub(crate) const CAFE: &str = "apiVersion: apps.cafe.cloud.alipay.com/v1alpha1
kind: CafeDeployment
metadata: {name: web}
spec:
  replicas: 10
  selector: {matchLabels: {app: web}}
  strategy: {upgradeType: Beta, batchSize: 4, needWaitingForConfirm: true}
  topology: {unitType: Cell, values: [CellA, CellB]}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: 'web:1'}]}
";

#[tokio::test(start_paused = true)]
async fn the_published_example_is_foreseen_group_by_group_and_cell_by_cell() {
    let w = World::cluster_of("plan-cafe", &["CellA", "CellB"]).await;
    let file = w.file("web.yaml", &format!("{CAFE}{SERVICE}"));
    expect![[r#"
        cafedeployment.apps.cafe.cloud.alipay.com/web in default: would be created
          Groups:
            GROUP     CellA   CellB   PODS
            beta      1       1       2
            group-1   2       2       4
            group-2   2       2       4
          Steps:
            STEP   GROUP     DOES       CELLS              PODS
            1      beta      create 2   CellA 1, CellB 1
            2      group-1   create 4   CellA 2, CellB 2
            3      group-2   create 4   CellA 2, CellB 2
          Available pods:
            CELL    NOW   LOWEST   MINIMUM   END
            CellA   0     0        3         5
            CellB   0     0        3         5
            all     0     0        -         10
          Services:
            SERVICE   READY NOW   LOWEST   END   PODS LEAVE TRAFFIC
            web       0           0        10    none
          Confirmations:
            after group beta: knarr release confirm web
            after group-1: knarr release confirm web
          End: 10 of 10 pods are available, 10 of them at web-#0

        service/web in default: would be created
          End: nothing that runs is concerned

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
    w.out(&format!("apply -f {file}")).await;
    for _ in 0..3 {
        w.pass(60).await;
        w.out("release confirm web").await;
    }
    w.pass(60).await;
    assert!(w.out("release status web").await.contains("10 updated, 10 ready, 10 available"));
    w.file("web.yaml", &format!("{}{SERVICE}", CAFE.replace("web:1", "web:2")));
    expect![[r#"
        cafedeployment.apps.cafe.cloud.alipay.com/web in default: would be configured
          Changes:
            spec.template.spec.containers[main].image: web:1 -> web:2
          Groups:
            GROUP     CellA   CellB   PODS
            beta      1       1       2
            group-1   2       2       4
            group-2   2       2       4
          Steps:
            STEP   GROUP     DOES                 CELLS              PODS
            1      beta      restart in place 2   CellA 1, CellB 1   web-#0, web-#1
            2      group-1   restart in place 4   CellA 2, CellB 2   web-#2, web-#3, web-#4, web-#5
            3      group-2   restart in place 4   CellA 2, CellB 2   web-#6, web-#7, web-#8, web-#9
          Available pods:
            CELL    NOW   LOWEST   MINIMUM   END
            CellA   5     3        3         5
            CellB   5     3        3         5
            all     10    6        -         10
          Services:
            SERVICE   READY NOW   LOWEST   END   PODS LEAVE TRAFFIC
            web       10          6        10    10, each by its gate first
          Confirmations:
            after group beta: knarr release confirm web
            after group-1: knarr release confirm web
          End: 10 of 10 pods are available, 10 of them at web-#10

        service/web in default: would be unchanged
          End: nothing that runs is concerned

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
}

#[tokio::test(start_paused = true)]
async fn the_brake_and_disruption_budgets_are_foreseen_as_they_would_hold() {
    let w = World::cluster("plan-held").await;
    let file = w.file("web.yaml", CLONESET);
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    w.file("web.yaml", &CLONESET.replace("web:1", "web:2"));
    w.out("brake on --reason fire").await;
    expect![[r#"
        cloneset.apps.kruise.io/web in default: would be configured
          Changes:
            spec.template.spec.containers[main].image: web:1 -> web:2
          Held:
            take pod web-#0 out of traffic: the brake of Guard/default was put on by admin: fire; `knarr brake off` lets go (Held, by cloneset.apps.kruise.io/web)
          End: it does not finish: 0 of 4 pods of this batch are updated; 4 of 4 pods are available, 0 of them at web-#1

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
    w.out("brake off").await;
    let budget = "apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
";
    let budget = w.file("budget.yaml", budget);
    w.out(&format!("apply -f {budget}")).await;
    w.pass(5).await;
    expect![[r#"
        cloneset.apps.kruise.io/web in default: would be configured
          Changes:
            spec.template.spec.containers[main].image: web:1 -> web:2
          Steps:
            STEP   DOES                 PODS
            1      restart in place 1   web-#0
            2      restart in place 1   web-#1
            3      restart in place 1   web-#2
            4      restart in place 1   web-#3
          Available pods:
            CELL   NOW   LOWEST   MINIMUM   END
            all    4     3        2         4
          Held:
            PodDisruptionBudget default/web: 3 of 4 pods are available and 3 must stay; waits until one more is; slows 3 steps down, which go on by themselves (Held, by cloneset.apps.kruise.io/web)
          End: 4 of 4 pods are available, 4 of them at web-#4

        Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.
        Nothing was changed; `knarr apply` with the same files does it.
    "#]].assert_eq(&stable(&w.out(&format!("plan -f {file}")).await));
}
