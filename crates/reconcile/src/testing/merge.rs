//! The patch forms as far as planners use them; lists merge by the keys that core kinds declare.

use serde_json::{Map, Value};

/// RFC 7386.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let object = as_object(target);
    for (name, change) in fields {
        if change.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// Strategic merge for the lists that planners touch; other lists are replaced.
pub(super) fn strategic(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let object = as_object(target);
    for (name, change) in fields {
        if name.starts_with("$setElementOrder/") || name == "$patch" {
            continue;
        }
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            drop_values(object, list, change);
            continue;
        }
        match (change, list_key(name)) {
            (Value::Null, _) => {
                object.remove(name);
            }
            (Value::Array(items), Some(key)) => {
                merge_list(object.entry(name.clone()).or_insert(Value::Null), items, key);
            }
            _ => strategic(object.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

fn drop_values(object: &mut Map<String, Value>, list: &str, gone: &Value) {
    let gone = gone.as_array().cloned().unwrap_or_default();
    if let Some(Value::Array(items)) = object.get_mut(list) {
        items.retain(|i| !gone.contains(i));
    }
}

/// Field that identifies an element; empty for sets of plain values.
fn list_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "containers" | "initContainers" | "env" | "volumes" => "name",
        "conditions" => "type",
        "ownerReferences" => "uid",
        "volumeMounts" => "mountPath",
        "ports" => "containerPort",
        "finalizers" => "",
        _ => return None,
    })
}

fn merge_list(target: &mut Value, items: &[Value], key: &str) {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let list = target.as_array_mut().expect("made a list above");
    for item in items {
        let same = |old: &Value| if key.is_empty() { old == item } else { old.get(key) == item.get(key) };
        let at = list.iter().position(same);
        let delete = item.get("$patch").is_some_and(|p| p == "delete");
        match at {
            Some(at) if delete => {
                list.remove(at);
            }
            Some(at) => strategic(&mut list[at], item),
            None if delete => {}
            None => list.push(item.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_of_core_kinds_merge_by_their_key() {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b"}]}});
        strategic(&mut pod, &json!({"spec": {"containers": [{"name": "a", "image": "x:2"}]}}));
        assert_eq!(pod, json!({"spec": {"containers": [{"name": "a", "image": "x:2"}, {"name": "b"}]}}));
    }

    #[test]
    fn an_owner_is_taken_out_by_uid() {
        let mut pod = json!({"metadata": {"ownerReferences": [{"uid": "1"}, {"uid": "2"}]}});
        let patch = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "1"}]}});
        strategic(&mut pod, &patch);
        assert_eq!(pod, json!({"metadata": {"ownerReferences": [{"uid": "2"}]}}));
    }

    #[test]
    fn null_removes() {
        let mut object = json!({"a": 1, "b": {"c": 2}});
        merge(&mut object, &json!({"a": null, "b": {"d": 3}}));
        assert_eq!(object, json!({"b": {"c": 2, "d": 3}}));
    }
}
