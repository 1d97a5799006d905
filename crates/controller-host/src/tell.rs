//! Notes and failures as occurrences for the recorder.

use reconcile::{Failure, Note, Severity, Target, Verb};

use crate::events::{Occurrence, Recorder};

/// Tells a note; those for `why` alone are no events.
pub(crate) fn note(recorder: &Recorder, controller: &'static str, about: &Target, note: &Note) {
    if note.severity == Severity::Why {
        return;
    }
    recorder.tell(Occurrence {
        controller,
        about: note.about.clone().unwrap_or_else(|| about.clone()),
        severity: note.severity,
        reason: note.reason,
        message: note.message.clone(),
    });
}

/// Tells that something could not be created or deleted, in kube-controller-manager's words.
pub(crate) fn failure(recorder: &Recorder, controller: &'static str, about: &Target, failure: &Failure) {
    let (reason, doing) = match failure.verb {
        Verb::Create => ("FailedCreate", "creating"),
        Verb::Delete => ("FailedDelete", "deleting"),
        Verb::Require | Verb::Patch => return,
    };
    recorder.tell(Occurrence {
        controller,
        about: about.clone(),
        severity: Severity::Warning,
        reason,
        message: format!("Error {doing}: {}", failure.message),
    });
}
