//! What a person says to a release.

use expect_test::expect;
use serde_json::{Value, json};

use crate::fixture::World;
use crate::why::stable;

const CAFE: &str = "apiVersion: apps.cafe.cloud.alipay.com/v1alpha1
kind: CafeDeployment
metadata: {name: web}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  strategy: {upgradeType: Beta, batchSize: 4, needWaitingForConfirm: true}
  topology: {unitType: Cell, values: [CellA, CellB]}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: 'web:1'}]}
";

const CLONESET: &str = "apiVersion: apps.kruise.io/v1beta1
kind: CloneSet
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  updateStrategy: {rollingUpdate: {podUpdatePolicy: InPlaceIfPossible}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: 'web:1'}]}
";

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: main, image: 'shop:1'}]}
";

/// Group beta is done and waits for a person.
fn waiting() -> Value {
    json!({
        "observedGeneration": 1, "phase": "WaitingForConfirmation", "replicas": 6, "readyReplicas": 6, "availableReplicas": 6,
        "updatedReplicas": 2, "updatedReadyReplicas": 2, "updatedAvailableReplicas": 2, "currentRevision": "web-old", "updateRevision": "web-new",
        "groups": [
            {"index": 0, "name": "beta", "phase": "WaitingForConfirmation", "updated": 2, "ready": 2,
             "cells": [{"name": "CellA", "pods": 1}, {"name": "CellB", "pods": 1}]},
            {"index": 1, "name": "group-1", "phase": "Planned", "updated": 0, "ready": 0,
             "cells": [{"name": "CellA", "pods": 2}, {"name": "CellB", "pods": 2}]}],
        "cells": [
            {"name": "CellA", "podSet": "web-cella", "replicas": 3, "current": 3, "ready": 3, "available": 3, "updated": 1, "updatedAvailable": 1, "minAvailable": 2, "lost": false},
            {"name": "CellB", "podSet": "web-cellb", "replicas": 3, "current": 3, "ready": 3, "available": 3, "updated": 1, "updatedAvailable": 1, "minAvailable": 2, "lost": false}],
        "waitsFor": {"reason": "WaitingForConfirmation", "message": "group beta is done: confirm it to go on"},
    })
}

#[tokio::test(start_paused = true)]
async fn one_confirmation_is_given_once_and_only_when_it_is_asked_for() {
    let w = World::bare_cluster("release-confirm").await;
    let file = w.file("web.yaml", CAFE);
    w.out(&format!("apply -f {file}")).await;
    let name = "cafedeployment.apps.cafe.cloud.alipay.com/web";
    assert_eq!(w.out("release confirm web").await, format!("{name} waits for no confirmation\n"));
    w.cafe_status("web", waiting()).await;
    assert_eq!(w.out("release confirm web").await, format!("{name} confirmed: group-1 begins\n"));
    assert_eq!(
        w.out("release confirm web").await,
        format!("{name} was confirmed before; the next group begins\n")
    );
    let annotation = "jsonpath={.metadata.annotations.cafe\\.sofastack\\.io/upgrade-confirmed}";
    assert_eq!(w.out(&format!("get cafedeployment web -o {annotation}")).await, "true");
}

#[tokio::test(start_paused = true)]
async fn status_shows_groups_and_cells_and_says_by_its_code_whether_it_is_done() {
    let w = World::bare_cluster("release-status").await;
    let file = w.file("web.yaml", CAFE);
    w.out(&format!("apply -f {file}")).await;
    w.cafe_status("web", waiting()).await;
    expect![[r#"
        cafedeployment.apps.cafe.cloud.alipay.com/web in default: group beta is done and waits for confirmation
        web-old -> web-new: 6 pods, 2 updated, 6 ready, 6 available

        GROUP     CellA   CellB   PODS   PHASE                    DONE               TOOK
        beta      1       1       2      WaitingForConfirmation   [##########] 2/2
        group-1   2       2       4      Planned                  [----------] 0/4

        CELL    WANTED   UPDATED   AVAILABLE   MINIMUM   STATE
        CellA   3        1         3           2         well
        CellB   3        1         3           2         well

        Waits for: group beta is done: confirm it to go on
        To go on: knarr release confirm web
        Why: knarr why cafedeployment.apps.cafe.cloud.alipay.com/web
    "#]].assert_eq(&w.unfinished("release status web").await);
    let data: Value = serde_json::from_str(&w.unfinished("release status web -o json").await).unwrap();
    assert_eq!(
        (&data["done"], &data["groups"][1]["cells"]),
        (&false.into(), &json!([{"name": "CellA", "pods": 2}, {"name": "CellB", "pods": 2}]))
    );
    let said = w.run("release status web --watch --timeout 5").await;
    assert_eq!(said.code, std::process::ExitCode::from(2), "{said:?}");
    let mut done = waiting();
    done["phase"] = json!("Stable");
    done["updatedReplicas"] = json!(6);
    done["updatedAvailableReplicas"] = json!(6);
    done["waitsFor"] = Value::Null;
    w.cafe_status("web", done).await;
    assert!(w.out("release status web -o wide").await.contains("POD-SET"));
}

#[tokio::test(start_paused = true)]
async fn pause_and_continue_may_be_said_twice_and_reach_each_kind() {
    let w = World::bare_cluster("release-pause").await;
    for (text, object) in
        [(CAFE, "cafedeployment/web"), (CLONESET, "cloneset/web"), (DEPLOYMENT, "deployment/shop")]
    {
        let file = w.file("web.yaml", text);
        w.out(&format!("apply -f {file}")).await;
        let said = async |word: &str| {
            let out = w.out(&format!("release {word} {object}")).await;
            out.split_once(' ').unwrap().1.trim_end().to_owned()
        };
        assert_eq!(said("continue").await, "is not paused");
        assert_eq!(said("pause").await, "paused: nothing new begins");
        assert_eq!(said("pause").await, "is paused already");
        assert_eq!(said("continue").await, "goes on");
    }
    let spec = w.object("cloneset web").await["spec"]["updateStrategy"]["rollingUpdate"]["paused"].clone();
    assert_eq!(spec, false);
    expect![[r#"
        error: "web" is the name of several workloads; say one of: cafedeployment.apps.cafe.cloud.alipay.com/web, cloneset.apps.kruise.io/web
    "#]]
    .assert_eq(&w.err("release pause web").await);
    expect![[r#"
        error: no CafeDeployment, CloneSet or Deployment is named "nope" in namespace default; -n NAME looks in another, TYPE/NAME names another kind
    "#]]
    .assert_eq(&w.err("release pause nope").await);
}

#[tokio::test(start_paused = true)]
async fn a_cloneset_and_a_deployment_go_back_to_a_revision() {
    let w = World::cluster("release-rollback").await;
    for (text, object, selector) in
        [(CLONESET, "cloneset/web", "web"), (DEPLOYMENT, "deployment/shop", "shop")]
    {
        let file = w.file("w.yaml", text);
        w.out(&format!("apply -f {file}")).await;
        w.pass(30).await;
        assert!(
            w.err(&format!("release rollback {object}")).await.contains("has no revision before this one")
        );
        let two = text.replace(":1'", ":2'");
        w.file("w.yaml", &two);
        w.out(&format!("apply -f {file}")).await;
        w.pass(30).await;
        assert!(w.out(&format!("release abort {object}")).await.contains("has no release under way"));
        assert!(w.out(&format!("release rollback {object}")).await.contains("goes back to"));
        w.pass(30).await;
        assert!(w.out(&format!("release status {object}")).await.contains(": done\n"));
        let image =
            w.out(&format!("get {object} -o jsonpath={{.spec.template.spec.containers[0].image}}")).await;
        assert_eq!(image, format!("{selector}:1"));
        let unknown = w.err(&format!("release rollback {object} --to 99")).await;
        assert!(unknown.contains("there is no revision \"99\"; there are: "), "{unknown}");
        let newest = w.out(&format!("release rollback {object} --to 3")).await;
        assert!(
            newest.contains("already, or on its way there"),
            "a rollback said again does nothing: {newest}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_lifts_the_pause_and_names_the_last_good_revision() {
    let w = World::cluster("release-abort").await;
    let file = w.file("web.yaml", CLONESET);
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    let paused =
        CLONESET.replace("web:1", "web:2").replace("{podUpdatePolicy", "{paused: true, podUpdatePolicy");
    w.file("web.yaml", &paused);
    w.out(&format!("apply -f {file}")).await;
    w.pass(5).await;
    expect![[r#"
        cloneset.apps.kruise.io/web in default: paused
        web-#0: 3 pods, 0 updated, 3 ready, 3 available

        To go on: knarr release continue web
        Why: knarr why cloneset.apps.kruise.io/web
    "#]]
    .assert_eq(&stable(&w.unfinished("release status web").await));
    let said = w.out("release abort web").await;
    assert!(
        said.contains("aborted: goes back to web-") && said.ends_with("; the pause is lifted\n"),
        "{said}"
    );
    w.pass(30).await;
    assert!(w.out("release abort web").await.contains("has no release under way"));
}

#[tokio::test(start_paused = true)]
async fn a_cafe_deployment_is_asked_by_annotation_with_a_name_that_means_the_same_twice() {
    let w = World::bare_cluster("release-cafe-back").await;
    let file = w.file("web.yaml", CAFE);
    w.out(&format!("apply -f {file}")).await;
    let uid = w.object("cafedeployment web").await["metadata"]["uid"].clone();
    for (number, name) in [(1, "web-old"), (2, "web-new")] {
        let template = json!({"$patch": "replace", "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": format!("web:{number}")}]}});
        let revision = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": name, "ownerReferences": [
            {"apiVersion": "apps.cafe.cloud.alipay.com/v1alpha1", "kind": "CafeDeployment", "name": "web", "uid": uid, "controller": true}]},
            "revision": number, "data": {"spec": {"template": template}}});
        let file = w.file("revision.json", &revision.to_string());
        w.out(&format!("apply -f {file}")).await;
    }
    w.cafe_status("web", waiting()).await;
    w.file("web.yaml", &CAFE.replace("web:1", "web:2"));
    w.out(&format!("apply -f {file}")).await;
    assert!(w.out("release abort web").await.ends_with("aborted: goes back to web-old (revision 1)\n"));
    assert!(w.out("release abort web").await.ends_with("is asked already to go back to web-old\n"));
    assert!(
        w.out("release rollback web --to old").await.ends_with("is asked already to go back to web-old\n")
    );
    let asked =
        w.object("cafedeployment web").await["metadata"]["annotations"]["knarr.dev/rollback-to"].clone();
    assert_eq!(asked, "web-old");
}
