use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// Taints after the plan, as `key:effect`; `-` when there is nothing to do.
fn check(taints: Value, conditions: Value, expected: Expect) {
    let node = json!({"metadata": {"name": "n", "resourceVersion": "7"}, "spec": {"taints": taints}, "status": {"conditions": conditions}});
    let node: Arc<Node> = Arc::new(serde_json::from_value(node).unwrap());
    let plan = Nodes::plan(&node, Time::from_secs(0));
    let said = match plan.actions.as_slice() {
        [] => "-".to_owned(),
        [Action::Patch { target, body, .. }] => {
            assert_eq!(target.revision, Some(7), "the list is fenced");
            let after: Vec<Taint> = serde_json::from_value(body["spec"]["taints"].clone()).unwrap();
            let mut settled = Node::clone(&node);
            settled.spec.taints.clone_from(&after);
            assert_eq!(Nodes::plan(&Arc::new(settled), Time::from_secs(9)), Plan::new(), "done once");
            after.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    };
    expected.assert_eq(&said);
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status})
}

const NEW: &str = "node.kubernetes.io/not-ready";

#[test]
fn a_node_that_says_it_is_ready_loses_the_taint_it_was_born_with() {
    let born = json!([{"key": NEW, "effect": "NoSchedule"}, {"key": "mine", "effect": "NoSchedule"}]);
    check(born, json!([condition("Ready", "True")]), expect!["mine:NoSchedule"]);
}

#[test]
fn a_node_that_has_said_nothing_is_left_as_it_is() {
    check(json!([{"key": NEW, "effect": "NoSchedule"}]), json!([]), expect!["-"]);
    check(json!([]), json!([condition("MemoryPressure", "True")]), expect!["-"]);
}

#[test]
fn bad_conditions_taint() {
    check(
        json!([]),
        json!([condition("Ready", "False")]),
        expect!["node.kubernetes.io/not-ready:NoSchedule"],
    );
    check(
        json!([]),
        json!([condition("Ready", "Unknown"), condition("DiskPressure", "True")]),
        expect!["node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/disk-pressure:NoSchedule"],
    );
}

#[test]
fn what_is_right_is_left_in_its_order() {
    let there = json!([{"key": NEW, "effect": "NoSchedule"}, {"key": "mine", "effect": "NoExecute"}]);
    check(there, json!([condition("Ready", "False")]), expect!["-"]);
    check(json!([{"key": NEW, "effect": "NoExecute"}]), json!([condition("Ready", "True")]), expect!["-"]);
}
