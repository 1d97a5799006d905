//! Create, read, update, patch, delete.

use serde_json::json;
use store::{Expect, Key, Op};

use crate::fixture::{MAPS, PODS, World, config_map, pod, version};

#[tokio::test(start_paused = true)]
async fn a_created_object_is_read_back_as_it_was_answered() {
    let w = World::new().await;
    let made = w.post(MAPS, config_map("a", "v")).await.created();
    assert_eq!(made["metadata"]["namespace"], "ns");
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "test");
    assert_eq!(w.get(&format!("{MAPS}/a")).await.ok(), made);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_once_and_generated_ones_differ() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "v")).await.created();
    assert_eq!(w.post(MAPS, config_map("a", "v")).await.refused(409), "configmaps \"a\" already exists");
    let generated = json!({"metadata": {"generateName": "g-"}});
    let (x, y) = (w.post(MAPS, generated.clone()).await.created(), w.post(MAPS, generated).await.created());
    assert!(x["metadata"]["name"].as_str().unwrap().starts_with("g-"));
    assert_ne!(x["metadata"]["name"], y["metadata"]["name"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_of_a_stale_version_is_refused_and_one_without_version_is_not() {
    let w = World::new().await;
    let first = w.post(MAPS, config_map("a", "1")).await.created();
    let mut second = first.clone();
    second["data"]["k"] = json!("2");
    let second = w.put(&format!("{MAPS}/a"), second).await.ok();
    assert!(version(&second) > version(&first));
    let refused = w.put(&format!("{MAPS}/a"), first).await.refused(409);
    assert_eq!(
        refused,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the \
         latest version and try again"
    );
    let third = w.put(&format!("{MAPS}/a"), config_map("a", "3")).await.ok();
    assert_eq!(third["metadata"]["uid"], second["metadata"]["uid"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_gives_no_new_version() {
    let w = World::new().await;
    let first = w.post(MAPS, config_map("a", "1")).await.created();
    let before = w.revision();
    let again = w.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": "1"}})).await.ok();
    assert_eq!((again, w.revision()), (first.clone(), before));
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    let put = w.put(&format!("{MAPS}/a"), config_map("a", "1")).await.ok();
    assert_eq!((version(&put), w.revision()), (version(&first), before));
}

#[tokio::test(start_paused = true)]
async fn patches_of_all_forms_change_the_stored_object() {
    let w = World::new().await;
    w.post(PODS, pod("a")).await.created();
    let path = format!("{PODS}/a");
    let merged = w.patch(&path, "merge", json!({"metadata": {"labels": {"m": "1"}}})).await.ok();
    assert_eq!(merged["metadata"]["labels"], json!({"app": "a", "m": "1"}));
    let ops = json!([{"op": "add", "path": "/metadata/labels/j", "value": "1"}]);
    w.patch(&path, "json", ops).await.ok();
    let strategic = json!({"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}});
    let changed = w.patch(&path, "strategic", strategic).await.ok();
    assert_eq!(changed["spec"]["containers"].as_array().unwrap().len(), 1);
    assert_eq!(changed["spec"]["containers"][0]["image"], "nginx:2");
    assert_eq!(changed["metadata"]["generation"], 2);
    let applied = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": "y"}}});
    let applied = w.patch(&format!("{path}?fieldManager=m"), "apply", applied).await.ok();
    assert_eq!(applied["metadata"]["labels"], json!({"app": "a", "m": "1", "j": "1", "x": "y"}));
}

#[tokio::test(start_paused = true)]
async fn apply_creates_what_is_missing_and_names_conflicts() {
    let w = World::new().await;
    let path = format!("{MAPS}/a?fieldManager=one");
    let made = w.patch(&path, "apply", config_map("a", "1")).await.created();
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Apply");
    let other = format!("{MAPS}/a?fieldManager=two");
    let refused = w.patch(&other, "apply", config_map("a", "2")).await.refused(409);
    assert!(refused.contains("Apply failed with 1 conflict: conflict with \"one\": .data.k"), "{refused}");
    let forced = w.patch(&format!("{other}&force=true"), "apply", config_map("a", "2")).await.ok();
    assert_eq!(forced["data"]["k"], "2");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_created_in_a_namespace_that_is_missing_or_going() {
    let w = World::new().await;
    let refused = w.post("/api/v1/namespaces/none/configmaps", config_map("a", "1")).await.refused(404);
    assert_eq!(refused, "namespaces \"none\" not found");
    let going = w.delete("/api/v1/namespaces/ns", json!(null)).await.ok();
    assert_eq!(going["status"]["phase"], "Terminating");
    let refused = w.post(MAPS, config_map("a", "1")).await.refused(403);
    assert!(refused.contains("unable to create new content in namespace ns because it is being terminated"));
    let finalize = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}, "spec": {}});
    w.put("/api/v1/namespaces/ns/finalize", finalize).await.ok();
    w.get("/api/v1/namespaces/ns").await.refused(404);
}

#[tokio::test(start_paused = true)]
async fn unknown_fields_are_dropped_warned_of_or_refused() {
    let w = World::new().await;
    let mut map = config_map("a", "1");
    map["nope"] = json!(1);
    let strict = w.post(&format!("{MAPS}?fieldValidation=Strict"), map.clone()).await.refused(400);
    assert_eq!(
        strict,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"nope\""
    );
    let warned = w.post(MAPS, map).await;
    assert_eq!(warned.warnings, ["299 - \"unknown field \\\"nope\\\"\""]);
    assert!(warned.created().get("nope").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_stores_nothing() {
    let w = World::new().await;
    let before = w.revision();
    w.post(&format!("{MAPS}?dryRun=All"), config_map("a", "1")).await.created();
    assert_eq!(w.revision(), before);
    w.get(&format!("{MAPS}/a")).await.refused(404);
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_node_goes_at_once_and_one_with_a_node_in_two_steps() {
    let w = World::new().await;
    w.post(PODS, pod("a")).await.created();
    w.delete(&format!("{PODS}/a"), json!(null)).await.ok();
    w.get(&format!("{PODS}/a")).await.refused(404);
    w.post(PODS, pod("b")).await.created();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "b"}, "target": {"kind": "Node", "name": "n"}});
    w.post(&format!("{PODS}/b/binding"), binding.clone()).await.created();
    let refused = w.post(&format!("{PODS}/b/binding"), binding).await.refused(409);
    assert!(refused.contains("is already assigned to node"), "{refused}");
    let going = w.delete(&format!("{PODS}/b"), json!(null)).await.ok();
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
    let last =
        w.delete(&format!("{PODS}/b"), json!({"kind": "DeleteOptions", "gracePeriodSeconds": 0})).await.ok();
    assert_eq!(last["metadata"]["deletionGracePeriodSeconds"], 0);
    w.get(&format!("{PODS}/b")).await.refused(404);
}

/// Removes the pod as soon as its time of grace is over, as a node does.
async fn node_that_removes(w: World, name: String) {
    let key = Key::new("pods", "ns", &name);
    loop {
        tokio::task::yield_now().await;
        let Some(pod) = w.server.store().get(&key) else { return };
        let seen = w.get(&format!("{PODS}/{name}")).await.body;
        if seen["metadata"]["deletionGracePeriodSeconds"] == 0 {
            let gone = Op::Delete { key: key.clone(), expect: Expect::At(pod.revision), last: None };
            let _one_of_two_is_first = w.server.store().write(gone).await;
        }
    }
}

#[test]
fn a_pod_deleted_by_force_is_gone_as_asked_though_its_node_was_faster() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // With a thread that writes, so that others get their turn between a pod's last sight and its end.
        let w = World::with(store::Limits::default()).await;
        for round in 0..50 {
            let name = format!("p{round}");
            w.post(PODS, pod(&name)).await.created();
            let target = json!({"kind": "Node", "name": "n"});
            let binding =
                json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
            w.post(&format!("{PODS}/{name}/binding"), binding).await.created();
            let node = tokio::spawn(node_that_removes(w.clone(), name.clone()));
            let force = json!({"kind": "DeleteOptions", "gracePeriodSeconds": 0});
            let last = w.delete(&format!("{PODS}/{name}"), force).await.ok();
            assert_eq!(last["metadata"]["deletionGracePeriodSeconds"], 0);
            w.get(&format!("{PODS}/{name}")).await.refused(404);
            node.await.unwrap();
        }
    });
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let w = World::new().await;
    let mut map = config_map("a", "1");
    map["metadata"]["finalizers"] = json!(["example.com/f"]);
    w.post(MAPS, map).await.created();
    let going = w.delete(&format!("{MAPS}/a"), json!(null)).await.ok();
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let added = json!({"metadata": {"finalizers": ["example.com/f", "example.com/g"]}});
    w.patch(&format!("{MAPS}/a"), "merge", added).await.refused(422);
    w.patch(&format!("{MAPS}/a"), "merge", json!({"metadata": {"finalizers": null}})).await.ok();
    w.get(&format!("{MAPS}/a")).await.refused(404);
}

#[tokio::test(start_paused = true)]
async fn deletion_respects_its_preconditions() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "1")).await.created();
    let stale = json!({"kind": "DeleteOptions", "preconditions": {"uid": "x"}});
    w.delete(&format!("{MAPS}/a"), stale).await.refused(409);
    let done = w.delete(&format!("{MAPS}/a"), json!(null)).await.ok();
    assert_eq!((done["kind"].as_str(), done["status"].as_str()), (Some("Status"), Some("Success")));
}

#[tokio::test(start_paused = true)]
async fn status_is_written_through_its_own_door_alone() {
    let w = World::new().await;
    w.post(PODS, pod("a")).await.created();
    let through_main =
        w.patch(&format!("{PODS}/a"), "merge", json!({"status": {"phase": "Running"}})).await.ok();
    assert_eq!(through_main["status"]["phase"], "Pending");
    let patch = json!({"status": {"phase": "Running"}, "spec": {"nodeName": "x"}});
    let through_status = w.patch(&format!("{PODS}/a/status"), "merge", patch).await.ok();
    assert_eq!(through_status["status"]["phase"], "Running");
    assert!(through_status["spec"].get("nodeName").is_none());
    assert_eq!(through_status["metadata"]["generation"], 1);
    let managers = through_status["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|m| m["subresource"] == "status"));
}

#[tokio::test(start_paused = true)]
async fn strangers_are_refused_in_upstreams_words() {
    let w = World::new().await;
    let stranger = w.as_user(apiserver::User::new("viewer", &[]));
    assert_eq!(
        stranger.get(PODS).await.refused(403),
        "pods is forbidden: User \"viewer\" cannot list resource \"pods\" in API group \"\" in the namespace \"ns\""
    );
    assert_eq!(
        stranger.get("/metrics").await.refused(403),
        "forbidden: User \"viewer\" cannot get path \"/metrics\""
    );
}

#[tokio::test(start_paused = true)]
async fn who_writes_what_nothing_acts_on_is_told() {
    let w = World::new().await;
    let spec =
        json!({"group": "a.example", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1});
    let service = json!({"metadata": {"name": "v1.a.example"}, "spec": spec});
    let made = w.post("/apis/apiregistration.k8s.io/v1/apiservices", service).await;
    let told = "299 - \"APIService objects are stored, but nothing in this server acts on them\"";
    assert_eq!(made.warnings, [told]);
    made.created();
    assert!(w.post(MAPS, config_map("a", "1")).await.warnings.is_empty());
}
