//! The annotation of client-side apply, kept in step while kubectl moves to server-side apply.

use serde_json::Value;

use super::Change;
use crate::fieldset::FieldSet;
use crate::typed::Walker;

pub(super) const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manager for which the annotation matters.
pub(super) const KUBECTL: &str = "kubectl";

/// All annotations of an object together, as upstream limits them.
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str().filter(|t| !t.is_empty())
}

/// The fields that client-side apply set and that still have the value it gave them: kubectl may take these over.
pub(super) fn owned(change: &Change<'_>, walker: &Walker<'_>, live: &Value) -> Option<FieldSet> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if last.get("apiVersion")?.as_str()? != change.api_version {
        return None;
    }
    let diff = walker.compare(&last, live);
    let set = walker.field_set(&last);
    Some(set.difference(&diff.modified).difference(&diff.added).difference(&diff.removed))
}

/// Writes what was applied into the annotation of the result, if the result carries one.
pub(super) fn sync(result: &mut Value, applied: &Value) {
    if annotation(result).is_none() {
        return;
    }
    let mut applied = applied.clone();
    if let Some(Value::Object(annotations)) = applied.pointer_mut("/metadata/annotations") {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{applied}\n");
    let Some(Value::Object(annotations)) = result.pointer_mut("/metadata/annotations") else { return };
    let others: usize = annotations
        .iter()
        .filter(|(k, _)| *k != ANNOTATION)
        .map(|(k, v)| k.len() + v.as_str().map_or(0, str::len))
        .sum();
    if others + ANNOTATION.len() + text.len() > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    } else {
        annotations.insert(ANNOTATION.to_owned(), Value::from(text));
    }
}
