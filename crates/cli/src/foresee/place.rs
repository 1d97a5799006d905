//! Where a new pod could run, judged by labels, affinity and taints alone.

use std::collections::BTreeMap;

use api_core::{Node, NodeSelectorTerm, Pod, Taint, Toleration};

/// The fitting node with the fewest of `used` pods, the first by name among equals; nothing when none fits.
pub(super) fn choose<'n>(
    pod: &Pod,
    nodes: impl Iterator<Item = &'n Node>,
    used: &BTreeMap<String, usize>,
) -> Option<&'n Node> {
    let load = |node: &Node| used.get(&node.metadata.name).copied().unwrap_or(0);
    nodes.filter(|node| fits(pod, node)).min_by_key(|node| (load(node), node.metadata.name.clone()))
}

fn fits(pod: &Pod, node: &Node) -> bool {
    let ready = node.status.conditions.iter().find(|c| c.r#type == "Ready");
    let is_up = ready.is_none_or(|c| c.status == "True");
    let selected = pod.spec.node_selector.iter().all(|(k, v)| node.metadata.labels.get(k) == Some(v));
    let repels = |t: &&Taint| t.effect != "PreferNoSchedule";
    let tolerated = |taint: &Taint| pod.spec.tolerations.iter().any(|t| tolerates(t, taint));
    is_up
        && !node.spec.unschedulable
        && selected
        && node.spec.taints.iter().filter(repels).all(tolerated)
        && is_attracted(pod, node)
}

fn is_attracted(pod: &Pod, node: &Node) -> bool {
    let affinity = pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let Some(required) =
        affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())
    else {
        return true;
    };
    required.node_selector_terms.iter().any(|term| meets(term, node))
}

/// A term without requirements matches nothing, as in Kubernetes; one that cannot be judged here neither.
fn meets(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.iter().all(|e| {
        api_meta::LabelSelector { match_expressions: vec![e.clone()], ..Default::default() }
            .selector()
            .is_ok_and(|s| s.matches(&node.metadata.labels))
    });
    let fields =
        term.match_fields.iter().all(|e| e.key == "metadata.name" && e.values.contains(&node.metadata.name));
    !(term.match_expressions.is_empty() && term.match_fields.is_empty()) && labels && fields
}

fn tolerates(t: &Toleration, taint: &Taint) -> bool {
    let effect = t.effect.is_empty() || t.effect == taint.effect;
    let key = t.key.is_empty() || t.key == taint.key;
    effect && key && (t.operator == "Exists" || (!t.key.is_empty() && t.value == taint.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(name: &str, cell: &str, taints: Value) -> Node {
        serde_json::from_value(
            json!({"metadata": {"name": name, "labels": {"cell": cell}}, "spec": {"taints": taints}}),
        )
        .unwrap()
    }

    #[test]
    fn affinity_and_taints_place_a_pod_and_load_decides_among_equals() {
        let nodes = [
            node("a1", "a", json!([])),
            node("a2", "a", json!([])),
            node("b1", "b", json!([])),
            node("a0", "a", json!([{"key": "x", "value": "y", "effect": "NoSchedule"}])),
        ];
        let terms = json!([{"matchExpressions": [{"key": "cell", "operator": "In", "values": ["a"]}]}]);
        let pod: Pod = serde_json::from_value(json!({"spec": {"affinity": {"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}}))
        .unwrap();
        let at = |used: &[(&str, usize)]| {
            let used = used.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect();
            choose(&pod, nodes.iter(), &used).map(|n| n.metadata.name.clone())
        };
        assert_eq!(at(&[]).as_deref(), Some("a1"));
        assert_eq!(at(&[("a1", 2), ("a2", 1)]).as_deref(), Some("a2"));
        let mut homeless = pod.clone();
        homeless.spec.node_selector.insert("cell".into(), "b".into());
        assert!(choose(&homeless, nodes.iter(), &BTreeMap::new()).is_none());
        let mut tolerant = pod.clone();
        tolerant.spec.tolerations.push(Toleration { operator: "Exists".into(), ..Toleration::default() });
        let chosen = choose(&tolerant, nodes.iter(), &BTreeMap::new()).map(|n| n.metadata.name.clone());
        assert_eq!(chosen.as_deref(), Some("a0"));
    }
}
