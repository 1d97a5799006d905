//! The patch forms that planners use, over trees without a schema; lists merge by the keys that core kinds declare.
//!
//! The server's own patches (`api-patch`) need its tables, which no client has. Planners touch few lists, and these are known.

use serde_json::{Map, Value};

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let object = object_of(target);
    for (name, change) in fields {
        if change.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// Strategic merge; a list that no key is known for is replaced.
pub(crate) fn strategic(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let object = object_of(target);
    for (name, change) in fields {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = change.as_array().cloned().unwrap_or_default();
            if let Some(Value::Array(items)) = object.get_mut(list) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        match change {
            _ if name.starts_with('$') => {}
            Value::Null => {
                object.remove(name);
            }
            Value::Array(items) => list(object.entry(name.clone()).or_insert(Value::Null), items, name),
            _ => strategic(object.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

fn object_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

/// How the items of a list are told apart.
enum Identity {
    /// By a field.
    Field(&'static str),
    /// By themselves: a set of plain values.
    Value,
}

fn identity(list: &str) -> Option<Identity> {
    Some(Identity::Field(match list {
        "containers" | "initContainers" | "env" | "volumes" => "name",
        "conditions" => "type",
        "ownerReferences" => "uid",
        "volumeMounts" => "mountPath",
        "ports" => "containerPort",
        "finalizers" => return Some(Identity::Value),
        _ => return None,
    }))
}

fn list(target: &mut Value, items: &[Value], name: &str) {
    let Some(identity) = identity(name) else {
        *target = Value::Array(items.to_vec());
        return;
    };
    let mut merged = target.as_array().cloned().unwrap_or_default();
    for item in items {
        let same = |old: &Value| match identity {
            Identity::Field(field) => old.get(field) == item.get(field),
            Identity::Value => old == item,
        };
        let at = merged.iter().position(same);
        let goes = item.get("$patch").is_some_and(|p| p == "delete");
        match at {
            Some(at) if goes => {
                merged.remove(at);
            }
            Some(at) => strategic(&mut merged[at], item),
            None if goes => {}
            None => merged.push(item.clone()),
        }
    }
    *target = Value::Array(merged);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_of_core_kinds_merge_by_their_key_and_others_are_replaced() {
        let mut pod = json!({"metadata": {"finalizers": ["a"]}, "x": [1],
            "spec": {"containers": [{"name": "m", "image": "i:1"}, {"name": "s"}]}});
        let patch = json!({"metadata": {"finalizers": ["b"]}, "x": [2],
            "spec": {"containers": [{"name": "m", "image": "i:2"}]}});
        strategic(&mut pod, &patch);
        let after = json!({"metadata": {"finalizers": ["a", "b"]}, "x": [2],
            "spec": {"containers": [{"name": "m", "image": "i:2"}, {"name": "s"}]}});
        assert_eq!(pod, after);
    }

    #[test]
    fn items_and_values_are_taken_out_by_directive() {
        let mut pod =
            json!({"metadata": {"ownerReferences": [{"uid": "1"}, {"uid": "2"}], "finalizers": ["a", "b"]}});
        let patch = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "1"}],
            "$deleteFromPrimitiveList/finalizers": ["a"]}});
        strategic(&mut pod, &patch);
        assert_eq!(pod, json!({"metadata": {"ownerReferences": [{"uid": "2"}], "finalizers": ["b"]}}));
    }

    #[test]
    fn null_removes() {
        let mut object = json!({"a": 1, "b": {"c": 2}});
        merge(&mut object, &json!({"a": null, "b": {"d": 3}}));
        assert_eq!(object, json!({"b": {"c": 2, "d": 3}}));
    }
}
