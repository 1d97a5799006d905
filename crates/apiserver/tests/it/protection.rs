//! What is not deleted, evicted or changed, and why.

use serde_json::{Value, json};

use crate::fixture::{World, pod};

const PODS: &str = "/api/v1/namespaces/ns/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/ns/deployments";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const PDBS: &str = "/apis/policy/v1/namespaces/ns/poddisruptionbudgets";
const GATE: &str = "InPlaceUpdateReady";

/// A pod that serves; with a gate and finalizers of traffic components when there are any.
async fn serving(w: &World, name: &str, protections: &[&str]) {
    let mut one = pod(name);
    one["spec"]["nodeName"] = json!("n");
    one["spec"]["readinessGates"] = json!([{"conditionType": GATE}]);
    one["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "10m"}});
    let names = protections.iter().map(|p| format!("prot.podopslifecycle.kusionstack.io/{p}"));
    one["metadata"]["finalizers"] = json!(names.collect::<Vec<_>>());
    w.post(PODS, one).await.created();
    let status = json!({"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True"}, {"type": GATE, "status": "True"},
    ]}});
    w.patch(&format!("{PODS}/{name}/status"), "strategic", status).await.ok();
}

async fn evict(w: &World, name: &str, query: &str) -> crate::fixture::Answer {
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    w.post(&format!("{PODS}/{name}/eviction{query}"), body).await
}

fn cause(answer: &crate::fixture::Answer) -> String {
    answer.body["details"]["causes"][0]["message"].as_str().unwrap_or_default().to_owned()
}

async fn close_gate(w: &World, name: &str, at: &str) {
    let status = json!({"status": {"conditions": [
        {"type": "Ready", "status": "False"}, {"type": GATE, "status": "False", "lastTransitionTime": at},
    ]}});
    w.patch(&format!("{PODS}/{name}/status"), "strategic", status).await.ok();
}

async fn budget(w: &World, allowed: i64) {
    let budget = json!({"metadata": {"name": "p"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    w.post(PDBS, budget).await.created();
    let status = json!({"status": {"disruptionsAllowed": allowed, "currentHealthy": 1 + allowed, "desiredHealthy": 1,
        "expectedPods": 2, "observedGeneration": 1}});
    w.patch(&format!("{PDBS}/p/status"), "merge", status).await.ok();
}

#[tokio::test(start_paused = true)]
async fn an_eviction_takes_a_pod_out_of_service_before_it_deletes_it() {
    let w = World::new().await;
    serving(&w, "a", &["web"]).await;
    let first = evict(&w, "a", "").await;
    assert_eq!(cause(&first), "pod a is being taken out of service first");
    assert_eq!(first.body["details"]["causes"][0]["reason"], "DisruptionBudget");
    assert_eq!(first.body["details"]["retryAfterSeconds"], 1);
    first.refused(429);
    let asked = w.get(&format!("{PODS}/a")).await.ok();
    let labels = &asked["metadata"]["labels"];
    assert!(labels["operating.podopslifecycle.kusionstack.io/evict"].is_string());
    assert_eq!(labels["operation-type.podopslifecycle.kusionstack.io/evict"], "evict");
    close_gate(&w, "a", "2100-01-01T00:00:00Z").await;
    let version = w.get(&format!("{PODS}/a")).await.ok()["metadata"]["resourceVersion"].clone();
    let second = evict(&w, "a", "").await;
    assert_eq!(cause(&second), "pod a is leaving service; traffic of web is still open");
    second.refused(429);
    let same = w.get(&format!("{PODS}/a")).await.ok();
    assert_eq!(same["metadata"]["resourceVersion"], version, "it is asked once");
    w.patch(&format!("{PODS}/a"), "merge", json!({"metadata": {"finalizers": null}})).await.ok();
    evict(&w, "a", "").await.created();
    assert!(w.get(&format!("{PODS}/a")).await.ok()["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_an_eviction_starts_nothing() {
    let w = World::new().await;
    serving(&w, "a", &["web"]).await;
    evict(&w, "a", "?dryRun=All").await.created();
    let pod = w.get(&format!("{PODS}/a")).await.ok();
    assert!(pod["metadata"]["labels"]["operating.podopslifecycle.kusionstack.io/evict"].is_null());
    assert!(pod["metadata"]["deletionTimestamp"].is_null());
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_spent_when_a_pod_begins_to_leave_service() {
    let w = World::new().await;
    serving(&w, "a", &["web"]).await;
    serving(&w, "b", &["web"]).await;
    budget(&w, 1).await;
    assert!(cause(&evict(&w, "a", "").await).contains("out of service"));
    let spent = w.get(&format!("{PDBS}/p")).await.ok();
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    assert!(spent["status"]["disruptedPods"]["a"].is_string());
    let second = evict(&w, "b", "").await;
    assert!(cause(&second).contains("does not allow evicting"), "{}", cause(&second));
    let b = w.get(&format!("{PODS}/b")).await.ok();
    assert!(
        b["metadata"]["labels"]["operating.podopslifecycle.kusionstack.io/evict"].is_null(),
        "nothing started"
    );
    // The first goes on without another payment.
    close_gate(&w, "a", "2100-01-01T00:00:00Z").await;
    w.patch(&format!("{PODS}/a"), "merge", json!({"metadata": {"finalizers": null}})).await.ok();
    evict(&w, "a", "").await.created();
    assert_eq!(w.get(&format!("{PDBS}/p")).await.ok()["status"]["disruptionsAllowed"], 0);
}

#[tokio::test(start_paused = true)]
async fn an_overdue_drain_goes_on_only_where_its_policy_says_so() {
    let w = World::new().await;
    serving(&w, "a", &["web"]).await;
    evict(&w, "a", "").await.refused(429);
    close_gate(&w, "a", "2001-01-01T00:00:00Z").await;
    let held = evict(&w, "a", "").await;
    assert!(
        cause(&held).starts_with("pod a is overdue leaving service: traffic of web is still open"),
        "{}",
        cause(&held)
    );
    let force = json!({"metadata": {"annotations": {"knarr.dev/drain-deadline-policy": "Force"}}});
    w.patch(&format!("{PODS}/a"), "merge", force).await.ok();
    evict(&w, "a", "").await.created();
}

#[tokio::test(start_paused = true)]
async fn pods_outside_the_protocol_are_evicted_as_ever() {
    let w = World::new().await;
    let mut plain = pod("a");
    plain["spec"]["nodeName"] = json!("n");
    plain["metadata"]["finalizers"] = json!(["prot.podopslifecycle.kusionstack.io/web"]);
    w.post(PODS, plain).await.created();
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    w.patch(&format!("{PODS}/a/status"), "merge", ready).await.ok();
    evict(&w, "a", "").await.created();
    serving(&w, "b", &[]).await;
    evict(&w, "b", "").await.created();
}

fn deployment(name: &str, replicas: i64, label: Option<&str>) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"policy.kruise.io/delete-protection": label}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}},
    })
}

#[tokio::test(start_paused = true)]
async fn a_labelled_workload_is_deleted_only_at_zero() {
    let w = World::new().await;
    w.post(DEPLOYMENTS, deployment("web", 2, Some("Cascading"))).await.created();
    let message = w.delete(&format!("{DEPLOYMENTS}/web"), Value::Null).await.refused(403);
    assert_eq!(
        message,
        "deployments.apps \"web\" is forbidden: it wants 2 replicas, and it is labelled \
         policy.kruise.io/delete-protection=Cascading: remove those, or the label, first"
    );
    w.delete(DEPLOYMENTS, Value::Null).await.refused(403);
    w.delete(&format!("{DEPLOYMENTS}/web?dryRun=All"), Value::Null).await.refused(403);
    w.patch(&format!("{DEPLOYMENTS}/web"), "merge", json!({"spec": {"replicas": 0}})).await.ok();
    w.delete(&format!("{DEPLOYMENTS}/web"), Value::Null).await.ok();
    w.post(DEPLOYMENTS, deployment("till", 0, Some("Always"))).await.created();
    w.delete(&format!("{DEPLOYMENTS}/till"), Value::Null).await.refused(403);
    w.post(DEPLOYMENTS, deployment("bad", 1, Some("Sometimes"))).await.refused(422);
    let message = w
        .patch(
            &format!("{DEPLOYMENTS}/till"),
            "merge",
            json!({"metadata": {"labels": {"policy.kruise.io/delete-protection": "x"}}}),
        )
        .await
        .refused(422);
    assert!(message.contains("supported values: \"Always\", \"Cascading\""), "{message}");
}

#[tokio::test(start_paused = true)]
async fn namespaces_and_workloads_are_protected_where_it_is_asked_for() {
    let w = World::new().await;
    w.post(DEPLOYMENTS, deployment("web", 2, None)).await.created();
    w.delete(&format!("{DEPLOYMENTS}/web"), Value::Null).await.ok();
    w.server.protect([apiserver::Protection::Namespaces, apiserver::Protection::Workloads]);
    w.post(DEPLOYMENTS, deployment("web", 2, None)).await.created();
    w.delete(&format!("{DEPLOYMENTS}/web"), Value::Null).await.refused(403);
    serving(&w, "a", &[]).await;
    let message = w.delete("/api/v1/namespaces/ns", Value::Null).await.refused(403);
    assert!(message.contains("1 active pods and 0 bound claims are in it"), "{message}");
    let mut owned = deployment("owned", 2, None);
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1", "controller": true}]);
    w.post(DEPLOYMENTS, owned).await.created();
    w.delete(&format!("{DEPLOYMENTS}/owned"), Value::Null).await.ok();
}

#[tokio::test(start_paused = true)]
async fn services_know_only_always() {
    let w = World::new().await;
    let service = |label: &str| {
        json!({"metadata": {"name": "s", "labels": {"policy.kruise.io/delete-protection": label}},
        "spec": {"ports": [{"port": 80}]}})
    };
    w.post("/api/v1/namespaces/ns/services", service("Cascading")).await.refused(422);
    w.post("/api/v1/namespaces/ns/services", service("Always")).await.created();
    w.delete("/api/v1/namespaces/ns/services/s", Value::Null).await.refused(403);
}

fn definition(labels: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com", "labels": labels},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    })
}

/// A definition, an object of it, and a pod two steps below.
async fn family(labels: Value) -> World {
    let w = World::new().await;
    w.post(DEFINITIONS, definition(labels)).await.created();
    for _ in 0..100 {
        if w.get("/apis/example.com/v1/widgets").await.code == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let body = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}});
    w.post("/apis/example.com/v1/namespaces/ns/widgets", body).await.created();
    w
}

fn owned_by(kind: &str, name: &str, owner: &Value) -> Value {
    json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": owner["metadata"]["uid"], "controller": true}])
}

#[tokio::test(start_paused = true)]
async fn a_definition_whose_objects_own_running_pods_is_not_deleted() {
    let w = family(json!({})).await;
    let widget = w.get("/apis/example.com/v1/namespaces/ns/widgets/w").await.ok();
    let mut web = deployment("web", 0, None);
    web["metadata"]["ownerReferences"] = owned_by("Widget", "w", &widget);
    w.post(DEPLOYMENTS, web).await.created();
    let web = w.get(&format!("{DEPLOYMENTS}/web")).await.ok();
    for n in 0..4 {
        let mut one = pod(&format!("web-{n}"));
        one["metadata"]["ownerReferences"] = owned_by("Deployment", "web", &web);
        w.post(PODS, one).await.created();
    }
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let message = w.delete(&path, Value::Null).await.refused(403);
    assert_eq!(
        message,
        "customresourcedefinitions.apiextensions.k8s.io \"widgets.example.com\" is forbidden: 1 Widget would go, and with \
         it what runs: 4 Pods (ns/web-0, ns/web-1, ns/web-2, …); kinds like this are protected while they are in use: \
         remove those first"
    );
    w.delete(DEFINITIONS, Value::Null).await.refused(403);
    for n in 0..4 {
        w.delete(&format!("{PODS}/web-{n}"), json!({"gracePeriodSeconds": 0})).await.ok();
    }
    w.delete(&path, Value::Null).await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_definition_whose_objects_own_nothing_goes_as_ever_unless_labelled() {
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let w = family(json!({"policy.kruise.io/delete-protection": "Cascading"})).await;
    let message = w.delete(&path, Value::Null).await.refused(403);
    assert!(message.contains("1 objects of it live"), "{message}");
    let w = family(json!({})).await;
    w.delete(&path, Value::Null).await.ok();
}

const PUBS: &str = "/apis/policy.kruise.io/v1beta1/namespaces/ns/podunavailablebudgets";

/// Two pods that serve, under a budget that lets one go.
async fn under_budget(operations: Value) -> World {
    let w = World::new().await;
    w.post(DEFINITIONS, api_workload::budget_crd()).await.created();
    for _ in 0..100 {
        if w.get("/apis/policy.kruise.io/v1beta1/podunavailablebudgets").await.code == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    serving(&w, "a", &[]).await;
    serving(&w, "b", &[]).await;
    let budget = json!({"apiVersion": "policy.kruise.io/v1beta1", "kind": "PodUnavailableBudget", "metadata": {"name": "p"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "maxUnavailable": 1, "protectOperations": operations}});
    w.post(PUBS, budget).await.created();
    w
}

async fn judged(w: &World, allowed: i64) {
    let status = json!({"status": {"unavailableAllowed": allowed, "currentAvailable": 1 + allowed, "desiredAvailable": 1,
        "totalReplicas": 2, "observedGeneration": 1}});
    w.patch(&format!("{PUBS}/p/status"), "merge", status).await.ok();
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_budget_is_spent_by_deletions_updates_and_evictions() {
    let w = under_budget(json!([])).await;
    let message = w.delete(&format!("{PODS}/a"), Value::Null).await.refused(403);
    assert!(message.contains("the unavailable budget p has not been counted yet"), "{message}");
    judged(&w, 1).await;
    w.delete(&format!("{PODS}/a?dryRun=All"), Value::Null).await.ok();
    w.delete(&format!("{PODS}/a"), Value::Null).await.ok();
    let spent = w.get(&format!("{PUBS}/p")).await.ok();
    assert_eq!(spent["status"]["unavailableAllowed"], 0);
    assert!(spent["status"]["disruptedPods"]["a"].is_string());
    let image = json!({"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}});
    let message = w.patch(&format!("{PODS}/b"), "strategic", image.clone()).await.refused(403);
    assert_eq!(
        message,
        "pods \"b\" is forbidden: the unavailable budget p keeps 1 of 2 pods available and 2 are: no more may become \
         unavailable now"
    );
    assert!(cause(&evict(&w, "b", "").await).contains("no more may become unavailable"));
    w.patch(&format!("{PODS}/b"), "merge", json!({"metadata": {"annotations": {"x": "y"}}})).await.ok();
    judged(&w, 1).await;
    w.patch(&format!("{PODS}/b"), "strategic", image).await.ok();
    assert!(w.get(&format!("{PUBS}/p")).await.ok()["status"]["unavailablePods"]["b"].is_string());
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_budget_protects_only_pods_that_serve_against_what_it_names() {
    let w = under_budget(json!(["EVICT"])).await;
    judged(&w, 0).await;
    evict(&w, "a", "").await.refused(429);
    close_gate(&w, "b", "2100-01-01T00:00:00Z").await;
    evict(&w, "b", "").await.created();
    w.delete(&format!("{PODS}/a"), Value::Null).await.ok();
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_budget_holds_resizes_where_it_names_them() {
    let resize = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "20m"}}}]}});
    let w = under_budget(json!(["RESIZE"])).await;
    judged(&w, 0).await;
    let message = w.patch(&format!("{PODS}/a/resize"), "strategic", resize.clone()).await.refused(403);
    assert!(message.contains("the unavailable budget p keeps 1 of 2 pods available"), "{message}");
    let w = under_budget(json!([])).await;
    judged(&w, 0).await;
    w.patch(&format!("{PODS}/a/resize"), "strategic", resize).await.ok();
}
