use serde_json::{Value, json};

use super::{RBAC, bare_world, world};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().filter_map(|i| i["metadata"]["name"].as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_cluster_has_upstreams_roles_and_a_second_start_changes_nothing() {
    let w = world().await;
    let roles = w.get(&format!("{RBAC}/clusterroles")).await.ok();
    for name in ["cluster-admin", "admin", "edit", "view", "system:node", "system:controller:job-controller"]
    {
        assert!(names(&roles).contains(&name), "{name}");
    }
    let admin = w.get(&format!("{RBAC}/clusterrolebindings/cluster-admin")).await.ok();
    assert_eq!(admin["subjects"][0]["name"], "system:masters");
    assert_eq!(admin["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    assert_eq!(admin["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"], "true");
    let before = w.revision();
    w.server.bootstrap_roles().await.unwrap();
    assert_eq!(w.revision(), before);
}

#[tokio::test(start_paused = true)]
async fn a_start_puts_back_what_was_lost_and_leaves_alone_who_says_so() {
    let w = world().await;
    let path = |name: &str| format!("{RBAC}/clusterroles/{name}");
    w.patch(&path("system:basic-user"), "merge", json!({"rules": []})).await.ok();
    let keep_out = json!({
        "rules": [], "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}
    });
    w.patch(&path("system:discovery"), "merge", keep_out).await.ok();
    w.delete(&path("view"), json!(null)).await.ok();
    let binding = format!("{RBAC}/clusterrolebindings/system:basic-user");
    w.delete(&binding, json!(null)).await.ok();
    let other = json!({
        "metadata": {"name": "system:basic-user"}, "roleRef": {"kind": "ClusterRole", "name": "edit"}, "subjects": []
    });
    w.post(&format!("{RBAC}/clusterrolebindings"), other).await.created();
    w.server.bootstrap_roles().await.unwrap();
    // As single rules, one for each resource.
    assert_eq!(w.get(&path("system:basic-user")).await.ok()["rules"].as_array().map(Vec::len), Some(3));
    assert_eq!(w.get(&path("system:discovery")).await.ok()["rules"], json!(null));
    w.get(&path("view")).await.ok();
    let mended = w.get(&binding).await.ok();
    assert_eq!(mended["roleRef"]["name"], "system:basic-user");
    assert_eq!(mended["subjects"][0]["name"], "system:authenticated");
}

#[tokio::test(start_paused = true)]
async fn strangers_see_health_and_users_discovery() {
    let w = world().await;
    let stranger = w.as_user(apiserver::User::anonymous());
    for path in ["/livez", "/readyz", "/healthz", "/version"] {
        stranger.get(path).await;
        assert_eq!(stranger.get(path).await.code, 200, "{path}");
    }
    for path in ["/apis", "/metrics", "/api/v1/pods", "/openid/v1/jwks"] {
        stranger.get(path).await.refused(403);
    }
    let user = super::viewer(&w);
    assert_ne!(user.get("/apis").await.code, 403);
    user.get("/metrics").await.refused(403);
    let bare = bare_world(store::Limits::default().inline()).await;
    bare.as_user(apiserver::User::anonymous()).get("/livez").await.refused(403);
}
