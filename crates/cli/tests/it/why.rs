//! What holds an object, asked in front of a running cluster.

use api_client::{Patch, WriteOptions};
use expect_test::expect;
use serde_json::{Value, json};

use crate::fixture::World;

const WEB: &str = "apiVersion: apps.kruise.io/v1beta1
kind: CloneSet
metadata:
  name: web
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  updateStrategy: {rollingUpdate: {partition: 3, maxUnavailable: 1}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: web:1
";

/// Names that follow from random identities become letters.
pub(crate) fn stable(text: &str) -> String {
    let mut out = text.to_owned();
    let mut known: Vec<String> = Vec::new();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
        let id = word.strip_prefix("web-").unwrap_or_default();
        let is_id =
            (5..=17).contains(&id.len()) && id.chars().any(|c| c.is_ascii_digit() || !"aeiou".contains(c));
        if is_id && !known.iter().any(|k| k == word) {
            known.push(word.to_owned());
        }
    }
    for (i, name) in known.iter().enumerate() {
        out = out.replace(name.as_str(), &format!("web-#{i}"));
    }
    out
}

#[tokio::test(start_paused = true)]
async fn a_cloneset_tells_that_its_partition_holds_the_rest() {
    let w = World::cluster("why-partition").await;
    let file = w.file("web.yaml", WEB);
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    expect![[r#"
        cloneset.apps.kruise.io/web in default
          State:     complete: 4 of 4 pods are available
          Held by:   nothing
    "#]]
    .assert_eq(&stable(&w.out("why cloneset/web").await));
    w.file("web.yaml", &WEB.replace("web:1", "web:2"));
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    expect![[r#"
        cloneset.apps.kruise.io/web in default
          State:     complete: 4 of 4 pods are available
          Held by:   partition keeps 3 of 4 pods at the revision before web-#0 (Partition, by cloneset.apps.kruise.io/web)
          Can do:    let more pods follow: lower the partition (kubectl edit cloneset.apps.kruise.io/web)
    "#]].assert_eq(&stable(&w.out("why cloneset web").await));
}

#[tokio::test(start_paused = true)]
async fn a_pending_pod_tells_the_scheduler_s_reason_and_whose_it_is() {
    let w = World::cluster("why-pending").await;
    let web = WEB
        .replace("replicas: 4", "replicas: 1")
        .replace("        image: web:1\n", "        image: web:1\n      nodeSelector: {disk: fast}\n");
    let file = w.file("web.yaml", &web);
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    let pod = w.out("get pods -o name").await;
    expect![[r#"
        pod/web-#0 in default
          Part of:   cloneset.apps.kruise.io/web
          State:     Pending, not in service, not placed yet
          Held by:   1 of 1 pods do not become ready: web-#0 (no node has room for it) (PodsStuck, by cloneset.apps.kruise.io/web)
          Waits for: Unschedulable: 0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling. (for 30s)
          Placing:   4 nodes (as sim-0): node(s) didn't match Pod's node affinity/selector (NodeAffinity)
          Can do:    make room, add nodes that fit, or ask for less: the scheduler's reason is above
                     4 nodes (as sim-0) would do with label disk=fast
          Warnings:  FailedScheduling: 0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling., 30s ago (pod/web-#0)
    "#]].assert_eq(&stable(&w.out(&format!("why {}", pod.trim())).await));
}

#[tokio::test(start_paused = true)]
async fn a_draining_pod_names_the_components_and_the_deadline() {
    let w = World::cluster("why-drain").await;
    let pod = "apiVersion: v1
kind: Pod
metadata:
  name: a
  labels: {operating.podopslifecycle.kusionstack.io/evict-1: '1', operation-type.podopslifecycle.kusionstack.io/evict-1: evict}
  finalizers: [prot.podopslifecycle.kusionstack.io/web]
spec:
  readinessGates: [{conditionType: pod.kusionstack.io/service-ready}]
  containers: [{name: main, image: 'web:1'}]
";
    let file = w.file("pod.yaml", pod);
    w.out(&format!("apply -f {file}")).await;
    w.pass(20).await;
    let pods = api_meta::Resource::namespaced("", "v1", "pods", "Pod");
    let closed = json!({"type": "pod.kusionstack.io/service-ready", "status": "False", "lastTransitionTime": w.env.now()});
    let (patch, options) =
        (Patch::Strategic(json!({"status": {"conditions": [closed]}})), WriteOptions::default());
    let _: Value = w.client().patch(&pods, ("default", "a"), "status", &patch, &options).await.unwrap();
    w.pass(20).await;
    let early = w.out("why pod/a").await;
    w.pass(120).await;
    let late = w.out("why pod/a").await;
    expect![[r#"
        pod/a in default
          State:     Running, not in service, on node sim-0
          Held by:   operation evict-1 (evict) asks for pod a to be taken out of service (Operation, by pod/a)
          Waits for: readiness gate pod.kusionstack.io/service-ready is closed (for 40s)
                     pod a is out of traffic, and web still finishes what it has open; overdue in 40s, then it waits for a person (Draining, by pod/a, for 20s)
          Placing:   sim-0: it is there; score 399 (NodeResourcesFit 99, TaintToleration 300), 4 of 4 nodes would do; next is sim-1 with 399
        ---
        pod/a in default
          State:     Running, not in service, on node sim-0
          Held by:   operation evict-1 (evict) asks for pod a to be taken out of service (Operation, by pod/a)
                     the drain of pod a is overdue: web has not let go; it waits for a person (DrainOverdue, by pod/a, for 2m20s)
          Waits for: readiness gate pod.kusionstack.io/service-ready is closed (for 2m40s)
          Placing:   sim-0: it is there; score 399 (NodeResourcesFit 99, TaintToleration 300), 4 of 4 nodes would do; next is sim-1 with 399
          Can do:    end the open connections of pod a, or let it go all the same: kubectl annotate pod a knarr.dev/drain-deadline-policy=Force --overwrite
          Warnings:  DrainOverdue: web has not let go of it in time: end its traffic, or set annotation knarr.dev/drain-deadline-policy=Force, 80s ago (pod/a)
    "#]]
    .assert_eq(&format!("{early}---\n{late}"));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_a_finalizer_holds_says_so() {
    let w = World::cluster("why-finalizer").await;
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: held\n  finalizers: [example.com/hold]\n";
    let file = w.file("held.yaml", held);
    w.out(&format!("apply -f {file}")).await;
    w.out("delete cm held --wait=false").await;
    w.pass(7).await;
    expect![[r#"
        configmap/held in default
          State:     being deleted since 7s
          Waits for: its deletion waits until example.com/hold is taken off by who put it there (Finalizer)
          Can do:    find out why its owner has not taken it off; taking it off by hand skips that owner's work
    "#]].assert_eq(&w.out("why cm/held").await);
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_node_and_a_brake_are_named_with_the_way_out() {
    let w = World::cluster("why-node").await;
    let node = api_meta::Resource::cluster("", "v1", "nodes", "Node");
    let patch = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    let options = WriteOptions::default();
    let _: Value = w.client().patch(&node, ("", "sim-0"), "", &patch, &options).await.unwrap();
    w.pass(5).await;
    expect![[r#"
        node/sim-0
          State:     ready, with 0 pods
          Held by:   no pod is placed here (Cordoned)
                     taint node.kubernetes.io/unschedulable keeps pods away that do not tolerate it (NoSchedule)
          Can do:    let pods come again: kubectl uncordon sim-0
    "#]].assert_eq(&w.out("why node sim-0").await);
    let web = WEB.replace("partition: 3, ", "");
    let file = w.file("web.yaml", &web);
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    w.out("brake on --reason fire").await;
    w.file("web.yaml", &web.replace("replicas: 4", "replicas: 2"));
    w.out(&format!("apply -f {file}")).await;
    w.pass(1).await;
    expect![[r#"
        cloneset.apps.kruise.io/web in default
          State:     2 pods too many are still to go
          Held by:   delete pod web-#0: the brake of Guard/default was put on by admin: fire; `knarr brake off` lets go (Held, by cloneset.apps.kruise.io/web)
          Can do:    release the brake when it is safe: knarr brake off
    "#]].assert_eq(&stable(&w.out("why cloneset/web").await));
    let data: Value = serde_json::from_str(&w.out("why cloneset/web -o json").await).unwrap();
    assert_eq!(data["held"][0]["reason"], "Held", "{data}");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_waits_for_confirmation_says_how_to_go_on() {
    let w = World::cluster_of("why-cafe", &["CellA", "CellB"]).await;
    let file = w.file("web.yaml", crate::plan::CAFE);
    w.out(&format!("apply -f {file}")).await;
    w.pass(60).await;
    expect![[r#"
        cafedeployment.apps.cafe.cloud.alipay.com/web in default
          State:     group beta is done and waits for confirmation
          Held by:   group beta is in service: set annotation cafe.sofastack.io/upgrade-confirmed=true to go on (Confirmation, by cafedeployment.apps.cafe.cloud.alipay.com/web, for 60s)
          Waits for: CellMinimum: too few pods are available in CellA, CellB (by cafedeployment.apps.cafe.cloud.alipay.com/web)
          Can do:    look at the group that is done, then: knarr release confirm cafedeployment.apps.cafe.cloud.alipay.com/web
    "#]].assert_eq(&stable(&w.out("why cafedeployment/web").await));
    w.out("release pause web").await;
    w.out("release confirm web").await;
    w.pass(60).await;
    expect![[r#"
        cafedeployment.apps.cafe.cloud.alipay.com/web in default
          State:     paused
          Held by:   spec.strategy.pause is true (Paused, by cafedeployment.apps.cafe.cloud.alipay.com/web, for 60s)
          Waits for: CellMinimum: too few pods are available in CellA, CellB (by cafedeployment.apps.cafe.cloud.alipay.com/web)
          Can do:    let it go on: knarr release continue cafedeployment.apps.cafe.cloud.alipay.com/web
    "#]].assert_eq(&stable(&w.out("why cafedeployment/web").await));
}
