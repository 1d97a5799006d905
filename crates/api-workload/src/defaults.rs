//! What OpenKruise's mutating webhook fills in (master, `SetDefaultsCloneSetV1beta1` and its v1alpha1 twin), apart from
//! the defaults inside pod templates.

use serde_json::{Map, Value, json};

/// Fills in the defaults of a CloneSet, in the version its `apiVersion` names.
pub fn default_cloneset(value: &mut Value) {
    let alpha = value["apiVersion"].as_str().is_some_and(|v| v.ends_with("/v1alpha1"));
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return };
    fill(spec, "replicas", json!(1));
    fill(spec, "revisionHistoryLimit", json!(10));
    let Some(update) = object(spec, "updateStrategy") else { return };
    if alpha {
        fill(update, "type", json!("ReCreate"));
        let policy = update["type"].clone();
        default_rolling(update, &policy);
        return;
    }
    fill(update, "type", json!("RollingUpdate"));
    if update["type"] == "RollingUpdate"
        && let Some(rolling) = object(update, "rollingUpdate")
    {
        fill(rolling, "podUpdatePolicy", json!("ReCreate"));
        let policy = rolling["podUpdatePolicy"].clone();
        default_rolling(rolling, &policy);
    }
}

fn default_rolling(rolling: &mut Map<String, Value>, policy: &Value) {
    if policy.as_str().is_some_and(|p| p.starts_with("InPlace")) {
        fill(rolling, "inPlaceUpdateStrategy", json!({}));
    }
    fill(rolling, "partition", json!(0));
    fill(rolling, "maxUnavailable", json!("20%"));
    fill(rolling, "maxSurge", json!(0));
}

/// Sets a member that is absent, null or empty text.
pub(crate) fn fill(map: &mut Map<String, Value>, key: &str, value: Value) {
    let unset = map.get(key).is_none_or(|v| v.is_null() || v == "");
    if unset {
        map.insert(key.to_owned(), value);
    }
}

/// The object at `key`, made when absent; nothing when something else is there.
pub(crate) fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    fill(map, key, json!({}));
    map.get_mut(key).and_then(Value::as_object_mut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_filled_in_its_own_shape() {
        let mut beta = json!({"apiVersion": "apps.kruise.io/v1beta1", "spec": {"updateStrategy": {
            "rollingUpdate": {"podUpdatePolicy": "InPlaceOnly", "maxUnavailable": 3}}}});
        default_cloneset(&mut beta);
        expect_test::expect![[r#"{"replicas":1,"revisionHistoryLimit":10,"updateStrategy":{"rollingUpdate":{"inPlaceUpdateStrategy":{},"maxSurge":0,"maxUnavailable":3,"partition":0,"podUpdatePolicy":"InPlaceOnly"},"type":"RollingUpdate"}}"#]]
            .assert_eq(&beta["spec"].to_string());
        let mut alpha = json!({"apiVersion": "apps.kruise.io/v1alpha1", "spec": {"replicas": 0}});
        default_cloneset(&mut alpha);
        expect_test::expect![[r#"{"replicas":0,"revisionHistoryLimit":10,"updateStrategy":{"maxSurge":0,"maxUnavailable":"20%","partition":0,"type":"ReCreate"}}"#]]
            .assert_eq(&alpha["spec"].to_string());
    }

    #[test]
    fn defaults_are_a_fixed_point() {
        let mut once =
            json!({"apiVersion": "apps.kruise.io/v1beta1", "spec": {"updateStrategy": {"type": "OnDelete"}}});
        default_cloneset(&mut once);
        let mut twice = once.clone();
        default_cloneset(&mut twice);
        assert_eq!(once, twice);
        assert_eq!(once["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    }
}
