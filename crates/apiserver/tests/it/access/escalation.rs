use serde_json::json;

use super::{RBAC, binding, bindings, grant, role, roles, rule, viewer, world};
use crate::fixture::World;

const GROUP: &str = "rbac.authorization.k8s.io";

/// The viewer may write roles and bindings, and holds reading config maps.
async fn author(w: &World) -> World {
    let write = ["create", "get", "update", "patch"];
    let rules =
        [rule(&write, GROUP, "roles"), rule(&write, GROUP, "rolebindings"), rule(&["get"], "", "configmaps")];
    grant(w, "author", json!(rules)).await;
    viewer(w)
}

#[tokio::test(start_paused = true)]
async fn nobody_writes_a_role_with_rules_they_do_not_hold() {
    let w = world().await;
    let author = author(&w).await;
    author.post(&roles(), role("same", json!([rule(&["get"], "", "configmaps")]))).await.created();
    let refused = author
        .post(&roles(), role("more", json!([rule(&["get", "list"], "", "secrets")])))
        .await
        .refused(403);
    let words = concat!(
        r#"roles.rbac.authorization.k8s.io "more" is forbidden: user "viewer" (groups=["viewers" "system:authenticated"]) "#,
        "is attempting to grant RBAC permissions not currently held:\n",
        r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#
    );
    assert_eq!(refused, words);
    let add = json!([{"op": "add", "path": "/rules/0/verbs/-", "value": "delete"}]);
    let refused = author.patch(&format!("{}/same", roles()), "json", add).await.refused(403);
    assert!(
        refused.ends_with(r#"{APIGroups:[""], Resources:["configmaps"], Verbs:["delete"]}"#),
        "{refused}"
    );
    let applied = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": {"name": "new"},
        "rules": [rule(&["*"], "", "secrets")],
    });
    author.patch(&format!("{}/new?fieldManager=m", roles()), "apply", applied).await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn nobody_binds_a_role_with_rules_they_do_not_hold() {
    let w = world().await;
    let author = author(&w).await;
    author.post(&bindings(), binding("a", "ClusterRole", "cluster-admin")).await.refused(403);
    author.post(&bindings(), binding("a", "ClusterRole", "view")).await.refused(403);
    let refused = author.post(&bindings(), binding("a", "Role", "missing")).await.refused(404);
    assert_eq!(refused, r#"rolebindings.rbac.authorization.k8s.io "missing" not found"#);
    author.post(&bindings(), binding("a", "Role", "author")).await.created();
    w.post(&bindings(), binding("b", "ClusterRole", "edit")).await.created();
    let more = json!({"subjects": [{"kind": "User", "name": "viewer"}, {"kind": "User", "name": "friend"}]});
    // What they hold by the binding itself they may hand on with it.
    author.patch(&format!("{}/b", bindings()), "merge", more).await.ok();
}

#[tokio::test(start_paused = true)]
async fn who_may_escalate_or_bind_may_grant_more_than_they_hold() {
    let w = world().await;
    let author = author(&w).await;
    let secrets = || json!([rule(&["list"], "", "secrets")]);
    w.post(&roles(), role("secrets", secrets())).await.created();
    author.post(&bindings(), binding("s", "Role", "secrets")).await.refused(403);
    let named = json!({"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["roles"], "resourceNames": ["secrets"]});
    grant(&w, "binder", json!([named])).await;
    author.post(&bindings(), binding("s", "Role", "secrets")).await.created();
    author.post(&bindings(), binding("t", "ClusterRole", "edit")).await.refused(403);
    author.post(&roles(), role("any", json!([rule(&["*"], "*", "*")]))).await.refused(403);
    grant(&w, "escalator", json!([rule(&["escalate"], GROUP, "roles")])).await;
    author.post(&roles(), role("any", json!([rule(&["*"], "*", "*")]))).await.created();
}

#[tokio::test(start_paused = true)]
async fn only_who_holds_everything_says_what_a_role_gathers() {
    let w = world().await;
    let all = ["create", "get", "update", "patch"];
    w.post(&format!("{RBAC}/clusterroles"), role("author", json!([rule(&all, GROUP, "clusterroles")])))
        .await
        .created();
    w.post(&format!("{RBAC}/clusterrolebindings"), binding("author", "ClusterRole", "author"))
        .await
        .created();
    let gathering = json!({
        "metadata": {"name": "g"}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    });
    let refused = viewer(&w).post(&format!("{RBAC}/clusterroles"), gathering.clone()).await.refused(403);
    assert!(refused.ends_with("must have cluster-admin privileges to use the aggregationRule"), "{refused}");
    w.post(&format!("{RBAC}/clusterroles"), gathering).await.created();
    let less = json!({"aggregationRule": null});
    viewer(&w).patch(&format!("{RBAC}/clusterroles/g"), "merge", less).await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn owners_and_finalizers_may_be_changed_without_holding_the_rules() {
    let w = world().await;
    let author = author(&w).await;
    w.post(&roles(), role("any", json!([rule(&["*"], "*", "*")]))).await.created();
    let path = format!("{}/any", roles());
    author.patch(&path, "merge", json!({"metadata": {"finalizers": ["a.example/b"]}})).await.ok();
    author.patch(&path, "merge", json!({"metadata": {"labels": {"a": "b"}}})).await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn a_role_may_be_deleted_without_holding_its_rules() {
    let w = world().await;
    let mut held_back = role("any", json!([rule(&["*"], "*", "*")]));
    held_back["metadata"]["finalizers"] = json!(["a.example/b"]);
    w.post(&roles(), held_back).await.created();
    grant(&w, "deleter", json!([rule(&["delete"], GROUP, "roles")])).await;
    let path = format!("{}/any", roles());
    viewer(&w).delete(&path, json!(null)).await.ok();
    assert!(w.get(&path).await.ok()["metadata"]["deletionTimestamp"].is_string());
}
