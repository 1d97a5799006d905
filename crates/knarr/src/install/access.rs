//! Who Knarr is in a cluster, and what it may do there.

use std::collections::{BTreeMap, BTreeSet};

use apiserver::Rule;
use serde_json::{Value, json};

use super::name_of;
use crate::args::Role;
use crate::roles;

/// ServiceAccount, ClusterRole and binding of a role; a Role for its lease.
pub(super) fn manifests(role: Role, namespace: &str) -> Vec<Value> {
    let name = name_of(role);
    let subject = json!([{"kind": "ServiceAccount", "name": name, "namespace": namespace}]);
    let meta = json!({"name": name});
    let inside = json!({"name": name, "namespace": namespace});
    let group = "rbac.authorization.k8s.io";
    let leases = json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "patch", "update"]}]);
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": inside}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": meta, "rules": rules(role)}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": meta,
               "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name}, "subjects": subject}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": inside, "rules": leases}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": inside,
               "roleRef": {"apiGroup": group, "kind": "Role", "name": name}, "subjects": subject}),
    ]
}

/// The rules of all components of a role together: one verb list for each resource, sorted.
fn rules(role: Role) -> Vec<Value> {
    let mut verbs: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for rule in roles::fleet_rules(role).into_iter().chain(conversion(role)) {
        for group in &rule.groups {
            for resource in &rule.resources {
                let known = verbs.entry((group.clone(), resource.clone())).or_default();
                known.extend(rule.verbs.iter().cloned());
            }
        }
    }
    // Resources of one group with the same verbs share a rule.
    let mut shared: BTreeMap<(String, Vec<String>), Vec<String>> = BTreeMap::new();
    for ((group, resource), verbs) in verbs {
        shared.entry((group, verbs.into_iter().collect())).or_default().push(resource);
    }
    let rule =
        |((group, verbs), resources)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    shared.into_iter().map(rule).collect()
}

/// The conversion webhook writes its address into the definitions.
fn conversion(role: Role) -> Option<Rule> {
    let own = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    (role == Role::Workloads).then(|| Rule {
        groups: own(&["apiextensions.k8s.io"]),
        resources: own(&["customresourcedefinitions"]),
        verbs: own(&["get", "patch"]),
    })
}
