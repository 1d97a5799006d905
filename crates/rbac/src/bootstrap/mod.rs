//! The roles and bindings of a new cluster: upstream's, from a table of words.

use serde_json::{Value, json};

use crate::repair::AUTOUPDATE;

/// The table; its own head explains it.
const TABLE: &str = include_str!("policy.table");
/// API group of all these objects.
const GROUP: &str = "rbac.authorization.k8s.io";
const READ: [&str; 3] = ["get", "list", "watch"];
const CHANGE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// What a new cluster has, as objects of `rbac.authorization.k8s.io/v1`: roles before their bindings, cluster-wide ones first.
pub fn objects() -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for line in TABLE.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (line.starts_with(' '), out.last_mut()) {
            (true, Some(object)) if object["roleRef"].is_null() => push(object, "rules", rule(&words)),
            (true, Some(object)) => push(object, "subjects", subject(&words)),
            (_, _) => out.push(head(&words)),
        }
    }
    out
}

fn push(object: &mut Value, list: &str, item: Value) {
    match object[list].as_array_mut() {
        Some(items) => items.push(item),
        None => object[list] = json!([item]),
    }
}

/// `role NAME …` or `bind NAME …`, with pairs of words behind.
fn head(words: &[&str]) -> Value {
    let after = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied();
    let (is_role, name) = (words[0] == "role", words[1]);
    let scope = if after("in").is_some() { "" } else { "Cluster" };
    let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    if let Some(role) = after("joins") {
        labels[aggregate_to(role)] = json!("true");
    }
    let mut out = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": if is_role { format!("{scope}Role") } else { format!("{scope}RoleBinding") },
        "metadata": {"name": name, "labels": labels, "annotations": {AUTOUPDATE: "true"}},
    });
    if let Some(namespace) = after("in") {
        out["metadata"]["namespace"] = json!(namespace);
    }
    if !is_role {
        let role = after("to").unwrap_or(name);
        out["roleRef"] = json!({"apiGroup": GROUP, "kind": format!("{scope}Role"), "name": role});
    }
    if let Some(role) = after("gathers") {
        out["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {aggregate_to(role): "true"}}]});
    }
    out
}

fn aggregate_to(role: &str) -> String {
    format!("{GROUP}/aggregate-to-{role}")
}

fn rule(words: &[&str]) -> Value {
    let verbs = verbs(words[0]);
    let list = |at: usize| words.get(at).map(|w| w.split(',').collect::<Vec<_>>());
    let paths = list(1).unwrap_or_default();
    let Some(resources) = list(2) else { return json!({"verbs": verbs, "nonResourceURLs": paths}) };
    let groups: Vec<&str> = paths.into_iter().map(|g| if g == "core" { "" } else { g }).collect();
    let mut out = json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
    if let Some(names) = list(3) {
        out["resourceNames"] = json!(names);
    }
    out
}

fn verbs(text: &str) -> Vec<&str> {
    let of = |word| match word {
        "read" => READ.to_vec(),
        "change" => CHANGE.to_vec(),
        "all" => [READ.as_slice(), CHANGE.as_slice()].concat(),
        verb => vec![verb],
    };
    let mut out: Vec<&str> = text.split(',').flat_map(of).collect();
    out.sort_unstable();
    out
}

fn subject(words: &[&str]) -> Value {
    match (words[0], words[1].split_once('/')) {
        ("account", Some((namespace, name))) => {
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
        ("group", _) => json!({"apiGroup": GROUP, "kind": "Group", "name": words[1]}),
        _ => json!({"apiGroup": GROUP, "kind": "User", "name": words[1]}),
    }
}
