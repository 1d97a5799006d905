//! Pieces of table rows that many kinds share.

use serde_json::Value;
use stdx::Time;

use super::check::{list, text};
use crate::registry::{Cell, human_duration};

/// Age of an object: `5m`, `<unknown>`.
pub(super) fn age_of(object: &Value, now: Time) -> String {
    since(now, text(&object["metadata"], "creationTimestamp"))
}

/// Time passed since a moment in text form.
pub(super) fn since(now: Time, moment: &str) -> String {
    moment.parse().map_or_else(|_| "<unknown>".to_owned(), |at| ago(now, at))
}

/// Time passed since a moment.
pub(super) fn ago(now: Time, at: Time) -> String {
    human_duration(now.since(at))
}

/// The text, or `<none>`.
pub(super) fn none_if_empty(text: &str) -> Cell {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// The text, or `<unset>`.
pub(super) fn unset_if_empty(text: &str) -> Cell {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

/// Names and images of a spec's containers.
pub(super) fn containers(spec: &Value) -> (String, String) {
    let join =
        |name: &str| list(spec, "containers").iter().map(|c| text(c, name)).collect::<Vec<_>>().join(",");
    (join("name"), join("image"))
}

/// A number or text as it stands.
pub(super) fn plain(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A count that is zero when absent.
pub(super) fn count(v: &Value, name: &str) -> Cell {
    super::check::int(v, name).unwrap_or(0).into()
}
