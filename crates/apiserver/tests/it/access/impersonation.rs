use serde_json::json;

use super::{RBAC, binding, role, viewer, world};
use crate::fixture::{PODS, World};

const REVIEW: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn grant_everywhere(w: &World, name: &str, rules: serde_json::Value) {
    w.post(&format!("{RBAC}/clusterroles"), role(name, rules)).await.created();
    w.post(&format!("{RBAC}/clusterrolebindings"), binding(name, "ClusterRole", name)).await.created();
}

async fn acting(w: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> crate::fixture::Answer {
    let json = [("content-type", "application/json")];
    let headers: Vec<(&str, &str)> = headers.iter().copied().chain(json).collect();
    w.call(method, path, &headers, "{}".into()).await
}

#[tokio::test(start_paused = true)]
async fn plain_impersonation_asks_for_name_groups_uid_and_extras_one_by_one() {
    let w = world().await;
    let named = |resource: &str, name: &str| json!({"verbs": ["impersonate"], "apiGroups": [""], "resources": [resource], "resourceNames": [name]});
    grant_everywhere(&w, "a", json!([named("users", "alice"), named("groups", "devs")])).await;
    let viewer = viewer(&w);
    let who = [("impersonate-user", "alice"), ("impersonate-group", "devs")];
    let seen = acting(&viewer, "POST", REVIEW, &who).await.created();
    assert_eq!(seen["status"]["userInfo"]["groups"], json!(["devs", "system:authenticated"]));
    for more in [("impersonate-group", "ops"), ("impersonate-uid", "1"), ("impersonate-extra-scopes", "all")]
    {
        acting(&viewer, "POST", REVIEW, &[who[0], more]).await.refused(403);
    }
    let extra = json!({"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scopes", "uids"]});
    grant_everywhere(&w, "b", json!([extra])).await;
    let all = [who[0], ("impersonate-uid", "1"), ("impersonate-extra-scopes", "all")];
    let seen = acting(&viewer, "POST", REVIEW, &all).await.created();
    assert_eq!(seen["status"]["userInfo"]["extra"], json!({"scopes": ["all"]}));
    acting(&viewer, "POST", REVIEW, &[("impersonate-user", "bob")]).await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn constrained_impersonation_allows_the_named_deed_alone_and_never_masters() {
    let w = world().await;
    let alice = [("impersonate-user", "alice")];
    let viewer = viewer(&w);
    let refused = acting(&viewer, "GET", PODS, &alice).await.refused(403);
    let words = concat!(
        r#"pods is forbidden: User "viewer" cannot impersonate-on:user-info:list resource "pods" in API group "" "#,
        r#"in the namespace "ns""#
    );
    assert_eq!(refused, words);
    let be = json!({"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"], "resources": ["users", "groups"]});
    let list = json!({"verbs": ["impersonate-on:user-info:list"], "apiGroups": [""], "resources": ["pods"]});
    grant_everywhere(&w, "a", json!([be, list])).await;
    // Let through, and judged as alice then, who may nothing.
    let refused = acting(&viewer, "GET", PODS, &alice).await.refused(403);
    assert!(refused.contains(r#"User "alice" cannot list"#), "{refused}");
    let refused = acting(&viewer, "DELETE", &format!("{PODS}/a"), &alice).await.refused(403);
    assert!(refused.contains("impersonate-on:user-info:delete"), "{refused}");
    let masters = [alice[0], ("impersonate-group", "system:masters")];
    acting(&viewer, "GET", PODS, &masters).await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn a_service_account_is_impersonated_by_its_namespace_and_name() {
    let w = world().await;
    let who = [("impersonate-user", "system:serviceaccount:ns:robot")];
    let may = json!({
        "verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["robot"]
    });
    super::grant(&w, "r", json!([may])).await;
    let seen = acting(&viewer(&w), "POST", REVIEW, &who).await.created();
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
    assert_eq!(seen["status"]["userInfo"]["groups"], groups);
    let other = [("impersonate-user", "system:serviceaccount:other:robot")];
    acting(&viewer(&w), "POST", REVIEW, &other).await.refused(403);
}
