//! `managedFields` with texts in place of trees.
//!
//! The sets of fields are larger than the object they are about, and most writes leave most of them alone. So an object on its way
//! through a server may hold each `fieldsV1` as its text: one string to copy and compare in place of hundreds of small maps.
//! [`update`](super::update) and [`apply`](super::apply) read both forms and leave the folded one behind. Whoever shows such an object to
//! others (an encoder, a webhook) unfolds it.

use serde_json::Value;

/// Whether a `fieldsV1` is folded; a text that is no JSON object is somebody's mistake and stays the text it is.
pub fn is_folded(fields: &Value) -> bool {
    let Value::String(text) = fields else { return false };
    text.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A list of entries with its sets folded; nothing when they are so already, or it is no list.
pub(super) fn list(entries: &Value) -> Option<Value> {
    let is_tree = |entry: &Value| entry.get("fieldsV1").is_some_and(Value::is_object);
    let list = entries.as_array().filter(|list| list.iter().any(is_tree))?;
    let mut list = list.clone();
    for fields in list.iter_mut().filter_map(|entry| entry.get_mut("fieldsV1")).filter(|f| f.is_object()) {
        // Keys are sorted in both, so equal sets have equal texts.
        *fields = Value::String(fields.to_string());
    }
    Some(Value::Array(list))
}

/// Turns the folded sets of an object into trees.
pub fn unfold(object: &mut Value) {
    let list = object.pointer_mut(super::entries::LIST).and_then(Value::as_array_mut);
    for entry in list.into_iter().flatten() {
        let Some(fields) = entry.get_mut("fieldsV1") else { continue };
        if let Value::String(text) = fields
            && text.starts_with('{')
            && let Ok(tree) = serde_json::from_str(text)
        {
            *fields = tree;
        }
    }
}
