use serde_json::json;
use store::Window;

use super::{RBAC, bare_world, binding, bindings, grant, role, roles, rule, viewer, world};
use crate::fixture::{MAPS, config_map};

#[tokio::test(start_paused = true)]
async fn a_grant_holds_from_the_next_request_until_it_is_taken_back() {
    let w = world().await;
    let viewer = viewer(&w);
    w.post(MAPS, config_map("a", "1")).await.created();
    let refused = viewer.get(&format!("{MAPS}/a")).await.refused(403);
    let words = r#"configmaps "a" is forbidden: User "viewer" cannot get resource "configmaps" in API group "" in the namespace "ns""#;
    assert_eq!(refused, words);
    grant(&w, "r", json!([rule(&["get"], "", "configmaps")])).await;
    viewer.get(&format!("{MAPS}/a")).await.ok();
    viewer.get(MAPS).await.refused(403);
    w.patch(
        &format!("{}/r", roles()),
        "json",
        json!([{"op": "add", "path": "/rules/0/verbs/-", "value": "list"}]),
    )
    .await
    .ok();
    viewer.get(MAPS).await.ok();
    w.delete(&format!("{}/r", bindings()), json!(null)).await.ok();
    viewer.get(MAPS).await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_missing_is_named_in_the_refusal() {
    let w = world().await;
    w.post(&format!("{RBAC}/clusterrolebindings"), binding("b", "ClusterRole", "gone")).await.created();
    let refused = viewer(&w).get("/api/v1/nodes").await.refused(403);
    let words = concat!(
        r#"nodes is forbidden: User "viewer" cannot list resource "nodes" in API group "" at the cluster scope: "#,
        r#"RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found"#
    );
    assert_eq!(refused, words);
}

#[tokio::test(start_paused = true)]
async fn rows_of_own_components_hold_beside_roles() {
    let w = bare_world(store::Limits::default().inline()).await;
    let component = w.as_user(apiserver::User::new("component", &[]));
    component.get("/api/v1/nodes").await.ok();
    component.get(MAPS).await.refused(403);
    // Without the roles of a new cluster nobody else may anything.
    viewer(&w).get("/livez").await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn the_index_begins_anew_when_history_is_gone() {
    let limits =
        store::Limits { window: Window { events_max: 5, bytes_max: 1 << 20 }, ..store::Limits::default() };
    let w = bare_world(limits.inline()).await;
    let viewer = viewer(&w);
    viewer.get(MAPS).await.refused(403);
    grant(&w, "r", json!([rule(&["list"], "", "configmaps")])).await;
    for n in 0..20 {
        w.post(MAPS, config_map(&format!("m{n}"), "1")).await.created();
    }
    viewer.get(MAPS).await.ok();
    w.delete(&format!("{}/r", bindings()), json!(null)).await.ok();
    for n in 0..20 {
        w.post(MAPS, config_map(&format!("n{n}"), "1")).await.created();
    }
    viewer.get(MAPS).await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn reviews_tell_the_binding_that_allows_and_all_that_one_may() {
    let w = world().await;
    grant(&w, "r", json!([rule(&["get"], "", "configmaps")])).await;
    let attributes = json!({"namespace": "ns", "verb": "get", "resource": "configmaps"});
    let about_me = json!({"spec": {"resourceAttributes": attributes}});
    let own =
        viewer(&w).post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", about_me).await.created();
    let reason = r#"RBAC: allowed by RoleBinding "r/ns" of Role "r" to User "viewer""#;
    assert_eq!(own["status"], json!({"allowed": true, "reason": reason}));
    let local = "/apis/authorization.k8s.io/v1/namespaces/ns/localsubjectaccessreviews";
    let about_viewer = json!({"spec": {"user": "viewer", "resourceAttributes": attributes}});
    assert_eq!(w.post(local, about_viewer).await.created()["status"]["reason"], reason);
    let elsewhere =
        json!({"spec": {"user": "viewer", "resourceAttributes": {"namespace": "other", "verb": "get"}}});
    let refused = w.post(local, elsewhere).await.refused(422);
    assert!(refused.contains("must match metadata.namespace"), "{refused}");
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let held = viewer(&w).post(rules, json!({"spec": {"namespace": "ns"}})).await.created();
    let resources = held["status"]["resourceRules"].as_array().unwrap();
    assert!(resources.contains(&rule(&["get"], "", "configmaps")), "{held}");
    assert!(!held["status"]["nonResourceRules"].as_array().unwrap().is_empty(), "{held}");
    assert_eq!(held["status"]["incomplete"], false);
}

#[tokio::test(start_paused = true)]
async fn an_aggregated_role_grants_at_once_and_says_so_once_it_is_gathered() {
    let w = world().await;
    w.server.gather_roles();
    w.post(&bindings(), binding("b", "ClusterRole", "view")).await.created();
    viewer(&w).get("/api/v1/namespaces/ns/pods").await.ok();
    viewer(&w).get("/api/v1/namespaces/ns/secrets").await.refused(403);
    let mut more = role("more", json!([rule(&["list"], "", "secrets")]));
    more["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    w.post(&format!("{RBAC}/clusterroles"), more).await.created();
    viewer(&w).get("/api/v1/namespaces/ns/secrets").await.ok();
    let wanted = rule(&["list"], "", "secrets");
    let mut last = json!(null);
    for _ in 0..50 {
        last = w.get(&format!("{RBAC}/clusterroles/view")).await.ok();
        if last["rules"].as_array().is_some_and(|rules| rules.contains(&wanted)) {
            return;
        }
        tokio::time::advance(std::time::Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    panic!("not gathered: {last}");
}

#[tokio::test(start_paused = true)]
async fn roles_are_acted_on_and_carry_no_warning() {
    let w = world().await;
    let answer = w.post(&roles(), role("r", json!([rule(&["get"], "", "pods")]))).await;
    assert_eq!(answer.warnings, Vec::<String>::new());
}
