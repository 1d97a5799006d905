//! Random roles and bindings over few words, so that they meet; and every request those words can form.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use rbac::{Ask, Index, Kind, Rule, Who};
use serde_json::{Value, json};

/// A word that no rule mentions: what `*` stands for beyond the others.
pub(crate) const OTHER: &str = "other";

const VERBS: [&str; 3] = ["get", "list", "*"];
const GROUPS: [&str; 3] = ["", "apps", "*"];
const RESOURCES: [&str; 6] = ["pods", "pods/log", "*/log", "sets/scale", "*/scale", "*"];
const PATHS: [&str; 5] = ["/a", "/a*", "/a/b", "/a/*", "*"];
const NAMES: [&str; 2] = ["x", "y"];

fn some(words: &'static [&'static str], least: usize) -> impl Strategy<Value = Vec<String>> {
    let own = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
    subsequence(words, least..=words.len().min(least + 2)).prop_map(own)
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    let resources = (some(&VERBS, 1), some(&GROUPS, 1), some(&RESOURCES, 1), some(&NAMES, 0)).prop_map(
        |(verbs, api_groups, resources, resource_names)| Rule {
            verbs,
            api_groups,
            resources,
            resource_names,
            ..Rule::default()
        },
    );
    let paths = (some(&VERBS, 1), some(&PATHS, 1)).prop_map(|(verbs, non_resource_urls)| Rule {
        verbs,
        non_resource_urls,
        ..Rule::default()
    });
    prop_oneof![3 => resources, 1 => paths]
}

pub(crate) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(rule(), 0..4)
}

/// Every request that the words above, and one more of each sort, can form.
pub(crate) fn asks(namespace: &'static str) -> Vec<Ask<'static>> {
    let mut out = Vec::new();
    for verb in ["get", "list", OTHER] {
        for path in ["/", "/a", "/ab", "/a/", "/a/b", "/a/bc", "/other"] {
            out.push(Ask { verb, path, namespace, ..Ask::default() });
        }
        for group in ["", "apps", OTHER] {
            for resource in ["pods", "sets", OTHER] {
                for subresource in ["", "log", "scale", OTHER] {
                    for name in ["", "x", "y", OTHER] {
                        out.push(Ask { verb, group, resource, subresource, namespace, name, path: "" });
                    }
                }
            }
        }
    }
    out
}

/// An object of one of the four kinds, at one of few places.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    pub(crate) body: Value,
}

fn role() -> impl Strategy<Value = Object> {
    let labels = subsequence(vec!["p", "q"], 0..=2);
    let gathers = prop::option::weighted(0.3, select(vec!["p", "q"]));
    (select(vec!["", "n", "m"]), select(vec!["r", "s", "t"]), rules(), labels, gathers).prop_map(
        |(namespace, name, rules, labels, gathers)| {
            let labels: Value = labels.into_iter().map(|l| (l.to_owned(), json!("yes"))).collect();
            let mut body = json!({"metadata": {"labels": labels}, "rules": rules});
            if let Some(label) = gathers {
                let selector = json!({"matchLabels": {label: "yes"}});
                body["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
            }
            let kind = if namespace.is_empty() { Kind::ClusterRole } else { Kind::Role };
            Object { kind, namespace, name, body }
        },
    )
}

fn binding() -> impl Strategy<Value = Object> {
    let subjects = subsequence(
        vec![
            json!({"kind": "User", "name": "u"}),
            json!({"kind": "Group", "name": "g"}),
            json!({"kind": "ServiceAccount", "name": "a", "namespace": "n"}),
            json!({"kind": "ServiceAccount", "name": "a"}),
        ],
        0..=3,
    );
    (select(vec!["", "n", "m"]), select(vec!["b", "c"]), select(vec!["r", "s", "t"]), any::<bool>(), subjects)
        .prop_map(|(namespace, name, role, is_cluster, subjects)| {
            let is_cluster = is_cluster || namespace.is_empty();
            let body = json!({
                "roleRef": {"kind": if is_cluster { "ClusterRole" } else { "Role" }, "name": role},
                "subjects": subjects,
            });
            let kind = if namespace.is_empty() { Kind::ClusterRoleBinding } else { Kind::RoleBinding };
            Object { kind, namespace, name, body }
        })
}

/// Objects that come, and those that go again (`true`).
pub(crate) fn history() -> impl Strategy<Value = Vec<(Object, bool)>> {
    prop::collection::vec((prop_oneof![role(), binding()], prop::bool::weighted(0.25)), 0..25)
}

pub(crate) fn put(index: &mut Index, object: &Object) {
    let json = object.body.to_string();
    index.put(object.kind, object.namespace, object.name, json.as_bytes()).unwrap();
}

/// Who asks: a user alone, one in a group, a service account.
pub(crate) fn callers() -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("u", Vec::new()),
        ("v", vec!["g".to_owned()]),
        ("u", vec!["f".to_owned(), "g".to_owned()]),
        ("system:serviceaccount:n:a", Vec::new()),
        ("system:serviceaccount:m:a", Vec::new()),
    ]
}

pub(crate) fn who<'a>(caller: &'a (&'static str, Vec<String>)) -> Who<'a> {
    Who { name: caller.0, groups: &caller.1 }
}
