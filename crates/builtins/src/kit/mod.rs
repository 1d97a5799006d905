//! What several built-in workloads share: names, owners, conditions, the order in which pods go.

mod claim;
mod leave;
mod names;
mod order;

pub(crate) use claim::{Claims, is_owner, owner_reference};
pub(crate) use leave::{Leave, fence, is_asked};
pub(crate) use names::{pod_name, template_hash};
pub(crate) use order::doomed_first;

use serde_json::{Map, Value, json};

/// The fields of `new` in which it differs from `old`, as a merge patch; nothing when they are equal.
pub(crate) fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Some(was), Some(is)) = (old.as_object(), new.as_object()) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (name, value) in is {
        let before = was.get(name).unwrap_or(&Value::Null);
        if let Some(change) = difference(before, value) {
            patch.insert(name.clone(), change);
        }
    }
    for name in was.keys().filter(|n| !is.contains_key(*n)) {
        patch.insert(name.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// A count as upstream writes it: zero is left out.
pub(crate) fn counted(count: i32) -> Value {
    if count == 0 { Value::Null } else { json!(count) }
}

/// An `i32` count of things.
pub(crate) fn count<T>(things: impl Iterator<Item = T>) -> i32 {
    i32::try_from(things.count()).unwrap_or(i32::MAX)
}
