//! Single decisions with their reasons, as upstream words them.

use rbac::{Ask, Index, Kind, Who};
use serde_json::{Value, json};

fn index(objects: &[(Kind, &str, &str, Value)]) -> Index {
    let mut index = Index::new();
    for (kind, namespace, name, body) in objects {
        index.put(*kind, namespace, name, body.to_string().as_bytes()).unwrap();
    }
    index
}

fn pods(verbs: &[&str]) -> Value {
    json!({"rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}]})
}

fn bound(kind: &str, name: &str, subjects: Value) -> Value {
    json!({"roleRef": {"kind": kind, "name": name}, "subjects": subjects})
}

fn verdict(index: &Index, user: &str, namespace: &str) -> String {
    let groups = ["g".to_owned()];
    let ask = Ask { verb: "list", resource: "pods", namespace, ..Ask::default() };
    let verdict = index.authorize(Who { name: user, groups: &groups }, &ask);
    format!("{} {verdict}", if verdict.is_allowed() { "yes" } else { "no" }).trim().to_owned()
}

#[test]
fn the_reason_names_binding_role_and_subject() {
    let subjects = json!([
        {"kind": "User", "name": "u"},
        {"kind": "ServiceAccount", "name": "a"},
        {"kind": "Group", "name": "none"},
    ]);
    let index = index(&[
        (Kind::Role, "n", "r", pods(&["list"])),
        (Kind::RoleBinding, "n", "b", bound("Role", "r", subjects)),
    ]);
    assert_eq!(
        verdict(&index, "u", "n"),
        r#"yes RBAC: allowed by RoleBinding "b/n" of Role "r" to User "u""#
    );
    let account = "system:serviceaccount:n:a";
    let expected = r#"yes RBAC: allowed by RoleBinding "b/n" of Role "r" to ServiceAccount "a/n""#;
    assert_eq!(verdict(&index, account, "n"), expected);
    assert_eq!(verdict(&index, "u", "m"), "no");
    assert_eq!(verdict(&index, "u", ""), "no");
}

#[test]
fn a_missing_role_is_named_in_the_refusal_and_does_not_stand_in_the_way() {
    let group = json!([{"kind": "Group", "name": "g"}]);
    let mut index = index(&[
        (Kind::ClusterRoleBinding, "", "a", bound("ClusterRole", "gone", group.clone())),
        (Kind::RoleBinding, "n", "b", bound("Role", "lost", group.clone())),
    ]);
    assert_eq!(
        verdict(&index, "u", ""),
        r#"no RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found"#
    );
    let both = concat!(
        r#"no RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, "#,
        r#"role.rbac.authorization.k8s.io "lost" not found]"#
    );
    assert_eq!(verdict(&index, "u", "n"), both);
    index.put(Kind::Role, "n", "lost", pods(&["*"]).to_string().as_bytes()).unwrap();
    assert!(verdict(&index, "u", "n").starts_with("yes"));
}

#[test]
fn a_binding_of_a_namespace_lends_a_cluster_role_to_that_namespace_alone() {
    let index = index(&[
        (Kind::ClusterRole, "", "r", pods(&["list"])),
        (Kind::RoleBinding, "n", "b", bound("ClusterRole", "r", json!([{"kind": "User", "name": "u"}]))),
    ]);
    assert!(verdict(&index, "u", "n").starts_with("yes"));
    assert_eq!(verdict(&index, "u", ""), "no");
}

#[test]
fn aggregated_roles_gather_through_other_aggregated_roles_and_around_circles() {
    let gathering = |label: &str, of: &str| {
        json!({
            "metadata": {"labels": {of: "true"}}, "rules": null,
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]},
        })
    };
    let mut leaf = pods(&["list"]);
    leaf["metadata"] = json!({"labels": {"to-b": "true"}});
    let user = json!([{"kind": "User", "name": "u"}]);
    let mut index = index(&[
        (Kind::ClusterRole, "", "a", gathering("to-a", "to-b")),
        (Kind::ClusterRole, "", "b", gathering("to-b", "to-a")),
        (Kind::ClusterRole, "", "leaf", leaf),
        (Kind::ClusterRoleBinding, "", "x", bound("ClusterRole", "a", user)),
    ]);
    assert!(verdict(&index, "u", "n").starts_with("yes"));
    let rules: Vec<usize> = index.aggregated().iter().map(|(_, rules)| rules.len()).collect();
    assert_eq!(rules, [1, 1]);
    index.remove(Kind::ClusterRole, "", "leaf");
    assert_eq!(verdict(&index, "u", "n"), "no");
}

#[test]
fn an_object_that_cannot_be_read_grants_nothing() {
    let user = json!([{"kind": "User", "name": "u"}]);
    let mut index = index(&[
        (Kind::ClusterRole, "", "r", pods(&["list"])),
        (Kind::ClusterRoleBinding, "", "b", bound("ClusterRole", "r", user)),
    ]);
    assert!(verdict(&index, "u", "").starts_with("yes"));
    index.put(Kind::ClusterRole, "", "r", br#"{"rules": "all"}"#).unwrap_err();
    assert!(verdict(&index, "u", "").starts_with("no"));
}
