//! What is left over: names of pods that are gone, revisions beyond the limit.

use reconcile::{Action, Form, Plan, Risk, Target};
use serde_json::json;
use workload_kit::revision;

use super::view::View;

/// Shortens `podsToDelete` to pods that are there, and the history to its limit.
pub(super) fn steps(view: &View<'_>) -> Plan {
    let mut plan = Plan::new();
    let names = &view.spec.scale_strategy.pods_to_delete;
    let is_there = |name: &&String| view.members.iter().any(|m| m.name() == name.as_str());
    let left: Vec<&String> = names.iter().filter(is_there).collect();
    if left.len() < names.len() {
        plan.act(Action::Patch {
            target: view.seen.set.target(),
            subresource: "",
            form: Form::Merge,
            body: json!({"spec": {"scaleStrategy": {"podsToDelete": left}}}),
            risk: Risk::None,
        });
    }
    let live = [view.update_name(), view.history.current.metadata.name.as_str()];
    let limit = view.spec.revision_history_limit;
    for revision in revision::surplus(&view.seen.revisions, &live, &view.seen.pods, limit) {
        plan.act(Action::Delete {
            target: Target::of(&*revision),
            grace_seconds: None,
            propagation: None,
            risk: Risk::None,
        });
    }
    plan
}
