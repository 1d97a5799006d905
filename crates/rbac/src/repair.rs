//! What a cluster lost of the roles and bindings it began with.
//!
//! Only additions: what an administrator added stays, and an object whose annotation `autoupdate` is `false` is left alone.

use serde_json::{Map, Value};

use crate::cover::missing;
use crate::rule::Rule;

/// Objects with this annotation set to `false` are not repaired.
pub(crate) const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What must be done about an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Repair {
    /// It is as it should be, or wants to be left alone.
    Nothing,
    /// It must become this.
    Update(Value),
    /// It must be deleted and made anew: a binding that names another role cannot be changed.
    Recreate,
}

/// Compares an object of the cluster's first policy with the one that exists.
pub fn repair(expected: &Value, existing: &Value) -> Repair {
    if existing["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Repair::Nothing;
    }
    if existing["roleRef"] != expected["roleRef"] {
        return Repair::Recreate;
    }
    let mut new = existing.clone();
    for part in ["labels", "annotations"] {
        add_entries(&mut new["metadata"], part, &expected["metadata"][part]);
    }
    let lost = missing(&rules(existing), &rules(expected));
    extend(&mut new, "rules", lost.iter().filter_map(|rule| serde_json::to_value(rule).ok()));
    let selectors = |v: &Value| items(&v["aggregationRule"]["clusterRoleSelectors"]);
    let lost = difference(selectors(expected), &selectors(existing));
    if !lost.is_empty() {
        extend(&mut new["aggregationRule"], "clusterRoleSelectors", lost);
    }
    let lost = difference(items(&expected["subjects"]), &items(&existing["subjects"]));
    extend(&mut new, "subjects", lost);
    if new == *existing { Repair::Nothing } else { Repair::Update(new) }
}

fn items(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

fn rules(role: &Value) -> Vec<Rule> {
    // What cannot be read counts as not there.
    items(&role["rules"]).into_iter().filter_map(|rule| serde_json::from_value(rule).ok()).collect()
}

fn difference(expected: Vec<Value>, existing: &[Value]) -> Vec<Value> {
    expected.into_iter().filter(|one| !existing.contains(one)).collect()
}

/// Adds to a list; a list that is not there is made only when there is something to add.
fn extend(object: &mut Value, key: &str, more: impl IntoIterator<Item = Value>) {
    let more: Vec<Value> = more.into_iter().collect();
    if more.is_empty() {
        return;
    }
    let all = items(&object[key]).into_iter().chain(more).collect();
    object[key] = Value::Array(all);
}

/// Adds entries whose keys are not there; values that are there stay.
fn add_entries(metadata: &mut Value, part: &str, expected: &Value) {
    let empty = Map::new();
    let lost =
        expected.as_object().unwrap_or(&empty).iter().filter(|(key, _)| metadata[part].get(*key).is_none());
    let lost: Vec<(String, Value)> = lost.map(|(k, v)| (k.clone(), v.clone())).collect();
    for (key, value) in lost {
        metadata[part][key] = value;
    }
}
