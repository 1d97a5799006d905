//! Hooks in the life of a pod: states kept in a label, hooks kept in labels and finalizers.

use api_core::Pod;
use api_workload::{LifecycleHook, names};
use serde_json::{Value, json};
use stdx::Time;

/// Where a pod is in its life as its workload sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No label: made by somebody else, or before hooks existed.
    Unset,
    /// New; waits for its preNormal hook, or for a node when there is none.
    PreparingNormal,
    /// In service.
    Normal,
    /// Waits for the hook before an in-place update.
    PreparingUpdate,
    /// Is being changed.
    Updating,
    /// Changed; waits for the hook after an in-place update.
    Updated,
    /// Waits for the hook before its deletion.
    PreparingDelete,
    /// Something else.
    Unknown(String),
}

impl State {
    /// The state of a pod.
    pub fn of(pod: &Pod) -> State {
        match pod.metadata.labels.get(names::LIFECYCLE_STATE_LABEL).map_or("", String::as_str) {
            "" => State::Unset,
            "PreparingNormal" => State::PreparingNormal,
            "Normal" => State::Normal,
            "PreparingUpdate" => State::PreparingUpdate,
            "Updating" => State::Updating,
            "Updated" => State::Updated,
            "PreparingDelete" => State::PreparingDelete,
            other => State::Unknown(other.to_owned()),
        }
    }

    /// As the label says it.
    pub fn as_str(&self) -> &str {
        match self {
            State::Unset => "",
            State::PreparingNormal => "PreparingNormal",
            State::Normal => "Normal",
            State::PreparingUpdate => "PreparingUpdate",
            State::Updating => "Updating",
            State::Updated => "Updated",
            State::PreparingDelete => "PreparingDelete",
            State::Unknown(text) => text,
        }
    }

    /// Whether no hook stands between the pod and availability.
    pub fn is_settled(&self) -> bool {
        matches!(self, State::Unset | State::Normal)
    }
}

/// Patch that brings a pod into a state.
pub fn state_patch(state: &State, now: Time) -> Value {
    json!({"metadata": {
        "labels": {names::LIFECYCLE_STATE_LABEL: state.as_str()},
        "annotations": {names::LIFECYCLE_TIMESTAMP: now},
    }})
}

/// The same, and puts the hook on the pod again, so that its owner is asked a second time.
pub fn state_patch_with_hook(state: &State, hook: &LifecycleHook, now: Time) -> Value {
    let mut patch = state_patch(state, now);
    for (key, value) in &hook.labels_handler {
        patch["metadata"]["labels"][key] = json!(value);
    }
    if !hook.finalizers_handler.is_empty() {
        patch["metadata"]["finalizers"] = json!(hook.finalizers_handler);
    }
    patch
}

/// Whether any part of the hook is on the pod.
pub fn is_hooked(hook: Option<&LifecycleHook>, pod: &Pod) -> bool {
    hook.is_some_and(|hook| {
        hook.finalizers_handler.iter().any(|f| pod.metadata.finalizers.contains(f))
            || hook.labels_handler.iter().any(|(k, v)| pod.metadata.labels.get(k) == Some(v))
    })
}

/// Whether every part of the hook is on the pod; no hook is never on.
pub fn is_all_hooked(hook: Option<&LifecycleHook>, pod: &Pod) -> bool {
    hook.is_some_and(|hook| {
        hook.finalizers_handler.iter().all(|f| pod.metadata.finalizers.contains(f))
            && hook.labels_handler.iter().all(|(k, v)| pod.metadata.labels.get(k) == Some(v))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_on_in_part_or_whole() {
        let hook = LifecycleHook {
            labels_handler: [("drain".to_owned(), "true".to_owned())].into(),
            finalizers_handler: vec!["a/b".into()],
            mark_pod_not_ready: false,
        };
        let mut pod = Pod::default();
        assert!(!is_hooked(Some(&hook), &pod) && !is_all_hooked(Some(&hook), &pod));
        pod.metadata.finalizers.push("a/b".into());
        assert!(is_hooked(Some(&hook), &pod) && !is_all_hooked(Some(&hook), &pod));
        pod.metadata.labels.insert("drain".into(), "true".into());
        assert!(is_all_hooked(Some(&hook), &pod) && !is_all_hooked(None, &pod) && !is_hooked(None, &pod));
    }
}
