//! Bodies in Kubernetes' protobuf envelope.

use serde_json::Value;

use super::decode::{Expected, unrecognized};
use crate::refuse::Outcome;

/// The object in a protobuf body, with the version and kind that the envelope names.
pub(crate) fn decode(bytes: &[u8], expected: &Expected<'_>) -> Outcome<Value> {
    let unreadable = |e: api_schema::proto::ProtoError| unrecognized(expected, &e.to_string(), bytes);
    let envelope = api_schema::proto::open(bytes).map_err(unreadable)?;
    let is_expected = envelope.kind.is_empty() || envelope.kind == expected.kind;
    let mut object = match expected.schema {
        Some(schema) if is_expected => api_schema::proto::decode(schema, envelope.raw).map_err(unreadable)?,
        // Another kind: the check of kind and version has the words for it.
        _ => serde_json::json!({}),
    };
    for (key, text) in [("apiVersion", envelope.api_version), ("kind", envelope.kind)] {
        if !text.is_empty() {
            object[key] = Value::String(text);
        }
    }
    Ok(object)
}
