//! The way a pod leaves service before it is deleted, for controllers that hold no gate of their own: they ask by label, and
//! the drain controller closes the gate. Pods that take no part are free at once, and nothing is written to them.

use api_core::{Pod, drain};
use reconcile::{Action, Form, Risk, Target};
use stdx::Time;
use workload_kit::drain::{Policy, Progress, progress, request, withdraw};

/// What is to be done before a pod may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Nothing: delete it.
    Free,
    /// Ask for it; see [`Leave::ask`].
    Ask,
    /// It was asked for; its deadline ends then.
    Waits(Option<Time>),
    /// Its deadline has passed, and its owner wants a person to decide. Names of those that still hold it.
    Held(Vec<String>),
}

impl Leave {
    /// How far a pod is on its way out for operation `id`.
    pub(crate) fn of(pod: &Pod, id: &str, now: Time) -> Leave {
        let (due, held) = match progress(pod, now) {
            Progress::Free | Progress::Overdue { policy: Policy::Force, .. } => return Leave::Free,
            Progress::InService => (None, None),
            Progress::Draining { due, .. } => (Some(due), None),
            Progress::Overdue { waits_for, .. } => (None, Some(waits_for)),
        };
        if !is_asked(pod, id) {
            return Leave::Ask;
        }
        held.map_or(Leave::Waits(due), Leave::Held)
    }

    /// Asks for the pod to leave: the first step of its removal, and the one that costs the application.
    pub(crate) fn ask(pod: &Pod, id: &str, now: Time) -> Action {
        patch(pod, request(id, id, now), Risk::RemovePod)
    }

    /// Takes the request back; nothing when there is none.
    pub(crate) fn withdrawn(pod: &Pod, id: &str) -> Option<Action> {
        is_asked(pod, id).then(|| patch(pod, withdraw(id), Risk::None))
    }
}

/// The fence of a deletion. A pod that takes part in the protocol is deleted in the version that was judged or not at all: its
/// traffic may have come since. The version of any other is nobody's business.
pub(crate) fn fence(pod: &Pod) -> Target {
    if drain::takes_part(pod) { Target::at(pod) } else { Target::of(pod) }
}

/// Whether operation `id` has asked for the pod to leave.
pub(crate) fn is_asked(pod: &Pod, id: &str) -> bool {
    drain::requests(pod).any(|other| other == id)
}

fn patch(pod: &Pod, body: serde_json::Value, risk: Risk) -> Action {
    Action::Patch { target: Target::of(pod), subresource: "", form: Form::Merge, body, risk }
}
