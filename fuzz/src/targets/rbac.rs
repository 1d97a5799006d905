//! Roles and bindings as they are stored, questions to them, and the algebra of rules.

use rbac::{Ask, Index, Kind, Rule, Who, compact, missing};

use super::{Target, seeds};
use crate::parts::{split, texts};

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "rbac",
        run: roles,
        seeds: || {
            seeds(&[
                "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"pods/log\"],\"verbs\":[\"get\",\"*\"],\"resourceNames\":[\"a\"]}]}\0{\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"r\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"u\"},{\"kind\":\"Group\",\"name\":\"g\"},{\"kind\":\"ServiceAccount\",\"name\":\"s\",\"namespace\":\"n\"}]}\0get pods log n a /x",
                "{\"rules\":[{\"nonResourceURLs\":[\"/healthz*\",\"*\"],\"verbs\":[\"get\"]}],\"aggregationRule\":{\"clusterRoleSelectors\":[{\"matchLabels\":{\"a\":\"b\"}}]},\"metadata\":{\"labels\":{\"a\":\"b\"}}}\0{}\0get",
            ])
        },
        words: &[
            "apiGroups",
            "resources",
            "verbs",
            "resourceNames",
            "nonResourceURLs",
            "*",
            "*/",
            "/scale",
            "rules",
            "roleRef",
            "subjects",
            "kind",
            "name",
            "namespace",
            "aggregationRule",
            "clusterRoleSelectors",
            "matchLabels",
        ],
    }]
}

fn roles(data: &[u8]) {
    let [role, binding, ask] = split(data);
    let mut index = Index::new();
    let _ = index.put(Kind::ClusterRole, "", "r", role);
    let _ = index.put(Kind::ClusterRoleBinding, "", "b", binding);
    let Some([ask]) = texts(ask) else { return };
    let words: Vec<&str> = ask.splitn(6, ' ').collect();
    let word = |i: usize| words.get(i).copied().unwrap_or_default();
    let groups = ["g".to_owned()];
    let who = Who { name: "u", groups: &groups };
    let ask = Ask {
        verb: word(0),
        group: "",
        resource: word(1),
        subresource: word(2),
        namespace: word(3),
        name: word(4),
        path: word(5),
    };
    let _ = index.authorize(who, &ask).to_string();
    let held = index.rules(who, word(3));
    let _ = (rbac::confirm(who, &held, &held.rules), index.aggregated());
    algebra(&held.rules, &ask);
}

/// Compacted rules allow what the rules allowed, and all rules include each.
fn algebra(rules: &[Rule], ask: &Ask<'_>) {
    let fewer = compact(rules.to_vec());
    let allows = |rules: &[Rule]| rules.iter().any(|r| r.allows(ask));
    assert_eq!(allows(&fewer), allows(rules));
    assert_eq!(missing(rules, rules), Vec::new(), "rules include themselves");
    assert_eq!(missing(&fewer, rules), Vec::new(), "compacted rules include all");
}
