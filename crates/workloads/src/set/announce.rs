//! What an update in place says to components that know PodOpsLifecycle by its labels alone; for pods that opt in.
//!
//! ```text
//! preparing ─> (gate False, traffic ends) ─> operate, with the images ─> (gate True) ─> both off
//! ```
//!
//! Two more writes for each pod; none for pods that do not ask. Such a component joins the drain as every other does: by
//! its finalizer. The labels only tell it early, and by name.

use api_core::{Pod, drain};
use serde_json::{Value, json};
use stdx::Time;
use workload_kit::drain::withdraw;

/// Id of the operation.
const ID: &str = "knarr-update";

fn label(prefix: &str) -> String {
    format!("{prefix}{ID}")
}

/// Whether the pod was told that an update begins.
pub(super) fn is_begun(pod: &Pod) -> bool {
    pod.metadata.labels.contains_key(&label(drain::PREPARING))
}

/// Strategic patch that says that an update begins; nothing when it is said, or nobody wants to know.
pub(super) fn begin(pod: &Pod, now: Time) -> Option<Value> {
    let label = label(drain::PREPARING);
    (drain::is_controlled(pod) && !is_begun(pod))
        .then(|| json!({"metadata": {"labels": {label: now.micros().to_string()}}}))
}

/// Adds to the patch that changes the images that the operation goes on.
pub(super) fn operate(pod: &Pod, patch: &mut Value, now: Time) {
    if drain::is_controlled(pod) {
        patch["metadata"]["labels"][label(drain::OPERATE)] = json!(now.micros().to_string());
    }
}

/// Strategic patch that says that it is over; nothing when nothing was said.
pub(super) fn end(pod: &Pod) -> Option<Value> {
    let is_said = is_begun(pod) || pod.metadata.labels.contains_key(&label(drain::OPERATE));
    is_said.then(|| withdraw(ID))
}
