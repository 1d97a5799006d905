//! JSON Merge Patch (RFC 7386).

use serde_json::{Map, Value};

/// Lays `patch` over `target`: maps merge, nulls delete, everything else replaces.
pub fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    for (name, value) in patch {
        match value {
            Value::Null => {
                map.remove(name);
            }
            _ => apply(map.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}
