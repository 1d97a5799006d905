//! What the verbs print.

use std::time::Duration;

use expect_test::expect;
use serde_json::json;

use crate::fixture::World;

const WEB: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: web
  labels: {app: web}
data:
  color: blue
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: shop:v1
";

#[tokio::test(start_paused = true)]
async fn apply_says_what_became_of_each_object() {
    let w = World::new("apply").await;
    let file = w.file("web.yaml", WEB);
    let line = format!("apply -f {file}");
    expect![[r#"
        configmap/web created
        deployment.apps/web created
    "#]]
    .assert_eq(&w.out(&line).await);
    expect![[r#"
        configmap/web unchanged
        deployment.apps/web unchanged
    "#]]
    .assert_eq(&w.out(&line).await);
    w.file("web.yaml", &WEB.replace("blue", "red").replace("replicas: 2", "replicas: 3"));
    let dir = w.dir().display().to_string();
    expect![[r#"
        configmap/web configured (server dry run)
        deployment.apps/web configured (server dry run)
    "#]]
    .assert_eq(&w.out(&format!("apply --dry-run -f {dir}")).await);
    expect![[r#"
        configmap/web configured
        deployment.apps/web configured
    "#]]
    .assert_eq(&w.out(&format!("apply -f {dir}")).await);
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_a_manifest_are_shown_by_file_line_and_field() {
    let w = World::new("mistakes").await;
    let bad =
        WEB.replace("        image: shop:v1", "        imag: shop:v1").replace("  color: blue", "  color: 5");
    let file = w.file("bad.yaml", &bad);
    expect![[r#"
        error: bad.yaml:7: data.color: expected string, got number
        error: bad.yaml:21: spec.template.spec.containers[name="main"].imag: no such field
    "#]]
    .assert_eq(&w.err(&format!("apply -f {file}")).await);
    let file = w.file("kind.yaml", "apiVersion: x.example.com/v1\nkind: Nope\nmetadata: {name: a}\n");
    expect![[r#"
        error: kind.yaml:2: no matches for kind "Nope" in version "x.example.com/v1"; if it is a custom kind, apply its definition first
    "#]].assert_eq(&w.err(&format!("apply -f {file}")).await);
    let file =
        w.file("ns.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: other\n");
    expect![[r#"
        error: ns.yaml:5: the namespace of the manifest is "other", but --namespace says "default"
    "#]]
    .assert_eq(&w.err(&format!("apply -n default -f {file}")).await);
}

#[tokio::test(start_paused = true)]
async fn conflicts_name_the_other_owner_and_the_way_out() {
    let w = World::new("conflicts").await;
    let file = w.file("web.yaml", WEB);
    w.out(&format!("apply --field-manager other -f {file}")).await;
    w.file("web.yaml", &WEB.replace("blue", "red"));
    expect![[r#"
        error: web.yaml: one field has another owner:
        web.yaml:7: .data.color: conflict with "other"
        Take them over with --force-conflicts, or leave them out of the manifest. (You are "knarr".)
    "#]]
    .assert_eq(&w.err(&format!("apply -f {file}")).await);
    // The Deployment was applied by the first try: both own its fields since then.
    expect![[r#"
        configmap/web configured
        deployment.apps/web unchanged
    "#]]
    .assert_eq(&w.out(&format!("apply --force-conflicts -f {file}")).await);
}

#[tokio::test(start_paused = true)]
async fn get_prints_tables_and_the_other_forms() {
    let w = World::new("get").await;
    let file = w.file("web.yaml", WEB);
    w.out(&format!("apply -f {file}")).await;
    let first_column = |text: &str| -> Vec<String> {
        text.lines().map(|l| l.split_whitespace().next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(first_column(&w.out("get deployments").await), ["NAME", "web"]);
    let both = w.out("get cm,deploy --show-labels").await;
    assert_eq!(first_column(&both), ["NAME", "configmap/web", "", "NAME", "deployment.apps/web"]);
    assert!(both.lines().nth(1).is_some_and(|l| l.ends_with("app=web")), "{both}");
    assert_eq!(first_column(&w.out("get deploy -A --no-headers").await), ["default"]);
    expect![[r#"
        configmap/web
        deployment.apps/web
    "#]]
    .assert_eq(&w.out("get cm/web deploy/web -o name").await);
    let yaml = w.out("get cm web -o yaml").await;
    let read: serde_json::Value = serde_yaml_ng::from_str(&yaml).unwrap();
    assert_eq!(
        (&read["data"]["color"], read["metadata"].get("managedFields")),
        (&json!("blue"), None),
        "{yaml}"
    );
    let json = w.out("get cm web -o json --show-managed-fields").await;
    assert!(json.starts_with("{\n    \"apiVersion\": \"v1\"") && json.contains("managedFields"), "{json}");
    assert_eq!(w.out("get cm web -o jsonpath={.data.color}").await, "blue");
    expect![[r#"
        NS        NAME   WANT
        default   web    2
    "#]]
    .assert_eq(
        &w.out(
            "get deploy -A -o custom-columns=NS:.metadata.namespace,NAME:.metadata.name,WANT:.spec.replicas",
        )
        .await,
    );
    assert_eq!(w.run("get pods").await.err, "No resources found in default namespace.\n");
    expect![[r#"
        Error from server (NotFound): pods "nope" not found
    "#]]
    .assert_eq(&w.err("get pod nope").await);
    expect![[r#"
        error: the server doesn't have a resource type "nopes"
    "#]]
    .assert_eq(&w.err("get nopes").await);
    assert_eq!(w.out("get pod nope --ignore-not-found").await, "");
}

#[tokio::test(start_paused = true)]
async fn watches_go_on_with_changes_under_one_head() {
    let w = World::new("watch").await;
    let file = w.file("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    w.out(&format!("apply -f {file}")).await;
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        w.file("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n");
        w.out(&format!("apply -f {file}")).await;
        w.out("delete cm a").await;
    };
    let (table, names, ()) = tokio::join!(
        w.run_for("get cm -w", Duration::from_secs(5)),
        w.run_for("get cm --watch-only -o name", Duration::from_secs(5)),
        later
    );
    let names_of = |text: &str| -> Vec<String> {
        text.lines().map(|l| l.split_whitespace().next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names_of(&table.out), ["NAME", "a", "b", "a"], "{table:?}");
    assert_eq!(names.out, "configmap/b\nconfigmap/a\n");
}

#[tokio::test(start_paused = true)]
async fn describe_shows_the_page_with_events() {
    let w = World::new("describe").await;
    let file = w.file("web.yaml", WEB);
    w.out(&format!("apply -f {file}")).await;
    let page = w.out("describe deploy web").await;
    assert!(page.contains("Replicas:           2 desired | 0 updated"), "{page}");
    assert!(page.contains("Image:        shop:v1"), "{page}");
    assert!(page.ends_with("Events:  <none>\n"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn delete_waits_until_objects_are_gone() {
    let w = World::new("delete").await;
    let file = w.file("web.yaml", WEB);
    w.out(&format!("apply -f {file}")).await;
    expect![[r#"
        configmap "web" deleted
        deployment.apps "web" deleted
    "#]]
    .assert_eq(&w.out(&format!("delete --cascade=background -f {file}")).await);
    expect![[r#"
        Error from server (NotFound): configmaps "web" not found
        Error from server (NotFound): deployments.apps "web" not found
    "#]]
    .assert_eq(&w.err(&format!("delete -f {file}")).await);
    assert!(w.err("delete pods").await.contains("say --all"));
    assert!(w.err("delete pod a --grace-period=0").await.contains("--force"));
}

#[tokio::test(start_paused = true)]
async fn delete_gives_up_after_its_timeout_and_names_what_is_left() {
    let w = World::new("stuck").await;
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: held\n  finalizers: [example.com/hold]\n";
    let file = w.file("held.yaml", held);
    w.out(&format!("apply -f {file}")).await;
    let said = w.run("delete cm held --timeout 5").await;
    assert_eq!(said.out, "configmap \"held\" deleted\n");
    expect![[r#"
        error: timed out waiting for held: it is being deleted; `knarr describe` shows its finalizers
    "#]]
    .assert_eq(&said.err);
}

#[tokio::test(start_paused = true)]
async fn logs_choose_the_container_and_ask_the_node() {
    let w = World::new("logs").await;
    let node = json!({"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.9"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}});
    let nodes = api_meta::Resource::cluster("", "v1", "nodes", "Node");
    let options = api_client::WriteOptions::default();
    let _: serde_json::Value = w.client().create(&nodes, "", &node, &options).await.unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  nodeName: n1\n  containers:\n  - {name: a, image: i}\n  - {name: b, image: i}\n";
    let file = w.file("pod.yaml", pod);
    w.out(&format!("apply -f {file}")).await;
    let said = w.run("logs p --tail 5").await;
    assert_eq!(said.err.lines().next(), Some("Defaulted container \"a\" out of: a, b"), "{said:?}");
    expect![[r#"
        error: container nope is not in pod p; it has: a, b
    "#]]
    .assert_eq(&w.err("logs p -c nope").await);
}

#[tokio::test(start_paused = true)]
async fn version_and_completion_need_no_more_than_they_say() {
    let w = World::new("version").await;
    let text = w.out("version").await;
    assert!(text.contains("Client Version: v") && text.contains("Server Version: v1.36.0+test"), "{text}");
    assert!(w.out("completion bash").await.contains("knarr"));
}
