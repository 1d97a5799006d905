//! The policy of a new cluster, and its repair.

use rbac::{Ask, Index, Kind, Repair, Rule, Who, bootstrap, repair};
use serde_json::{Value, json};

fn kind(object: &Value) -> Kind {
    match object["kind"].as_str() {
        Some("Role") => Kind::Role,
        Some("ClusterRole") => Kind::ClusterRole,
        Some("RoleBinding") => Kind::RoleBinding,
        Some("ClusterRoleBinding") => Kind::ClusterRoleBinding,
        other => panic!("{other:?}"),
    }
}

fn index() -> Index {
    let mut index = Index::new();
    for object in bootstrap::objects() {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or_default();
        let name = metadata["name"].as_str().unwrap();
        index.put(kind(&object), namespace, name, object.to_string().as_bytes()).unwrap();
    }
    index
}

fn find(kind: &str, name: &str) -> Value {
    let is_it = |o: &Value| o["kind"] == kind && o["metadata"]["name"] == name;
    bootstrap::objects().into_iter().find(is_it).unwrap()
}

#[test]
fn every_binding_of_the_first_policy_has_its_role_and_every_rule_is_whole() {
    let objects = bootstrap::objects();
    let names: std::collections::BTreeSet<String> =
        objects.iter().map(|o| format!("{}{}", o["kind"], o["metadata"])).collect();
    assert_eq!(names.len(), objects.len(), "none twice");
    for object in &objects {
        if let Some(role) = object.get("roleRef") {
            let is_role = |o: &&Value| o["kind"] == role["kind"] && o["metadata"]["name"] == role["name"];
            assert!(objects.iter().any(|o| is_role(&o)), "{role}");
        }
        for rule in object["rules"].as_array().into_iter().flatten() {
            let read: Rule = serde_json::from_value(rule.clone()).unwrap();
            let about_resources = !read.api_groups.is_empty() && !read.resources.is_empty();
            assert_eq!(about_resources, read.non_resource_urls.is_empty(), "{rule}");
            assert!(read.non_resource_urls.iter().all(|p| p.starts_with(['/', '*'])), "{rule}");
        }
    }
}

#[test]
fn masters_may_all_users_ask_about_themselves_and_strangers_see_health() {
    let index = index();
    let may = |groups: &[&str], ask: Ask<'_>| {
        let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        index.authorize(Who { name: "x", groups: &groups }, &ask).is_allowed()
    };
    let get = |path| Ask { verb: "get", path, ..Ask::default() };
    let review = Ask {
        verb: "create",
        group: "authorization.k8s.io",
        resource: "selfsubjectaccessreviews",
        ..Ask::default()
    };
    let secrets = Ask { verb: "list", resource: "secrets", ..Ask::default() };
    assert!(may(&["system:masters"], secrets) && may(&["system:masters"], get("/metrics")));
    assert!(may(&["system:authenticated"], review) && may(&["system:authenticated"], get("/apis/apps")));
    assert!(!may(&["system:authenticated"], secrets) && !may(&["system:authenticated"], get("/metrics")));
    assert!(
        may(&["system:unauthenticated"], get("/livez")) && !may(&["system:unauthenticated"], get("/apis"))
    );
}

#[test]
fn admin_edit_and_view_are_gathered_from_their_parts() {
    let index = index();
    let gathered: std::collections::BTreeMap<&str, Vec<Rule>> = index.aggregated().into_iter().collect();
    let may = |role: &str, verb, group, resource| {
        gathered[role].iter().any(|r| r.allows(&Ask { verb, group, resource, ..Ask::default() }))
    };
    let rbac = "rbac.authorization.k8s.io";
    assert!(may("view", "get", "", "pods") && !may("view", "get", "", "secrets"));
    assert!(may("edit", "get", "", "secrets") && may("edit", "list", "", "pods"));
    assert!(!may("edit", "create", rbac, "roles") && may("admin", "create", rbac, "roles"));
    assert!(may("admin", "delete", "apps", "deployments"));
}

#[test]
fn what_is_lost_comes_back_and_what_was_added_stays() {
    let role = find("ClusterRole", "system:basic-user");
    assert_eq!(repair(&role, &role), Repair::Nothing);
    let mut changed = role.clone();
    let extra = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]});
    changed["rules"] = json!([extra]);
    changed["metadata"]["labels"] = json!({"own": "label"});
    let Repair::Update(repaired) = repair(&role, &changed) else { panic!("must be repaired") };
    assert_eq!(repaired["rules"][0], extra);
    assert_eq!(repaired["metadata"]["labels"]["own"], "label");
    assert_eq!(repaired["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    assert_eq!(repair(&role, &repaired), Repair::Nothing, "repaired once is repaired");
}

#[test]
fn who_wants_to_be_left_alone_is_left_alone() {
    let role = find("ClusterRole", "system:basic-user");
    let mut changed = role.clone();
    changed["rules"] = Value::Null;
    changed["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = json!("false");
    assert_eq!(repair(&role, &changed), Repair::Nothing);
}

#[test]
fn a_binding_gets_its_subjects_back_and_one_to_another_role_is_made_anew() {
    let binding = find("ClusterRoleBinding", "system:discovery");
    let mut changed = binding.clone();
    changed["subjects"] = Value::Null;
    let Repair::Update(repaired) = repair(&binding, &changed) else { panic!("must be repaired") };
    assert_eq!(repaired["subjects"], binding["subjects"]);
    changed["roleRef"]["name"] = json!("cluster-admin");
    assert_eq!(repair(&binding, &changed), Repair::Recreate);
}
