//! Conversion between the two served versions of CloneSet. Pure, and lossless up to "absent equals default":
//!
//! | v1alpha1 | v1beta1 |
//! |---|---|
//! | `updateStrategy.type` ReCreate, InPlaceIfPossible, InPlaceOnly | `type: RollingUpdate`, `rollingUpdate.podUpdatePolicy` |
//! | `updateStrategy.{partition, maxUnavailable, …}` | `updateStrategy.rollingUpdate.{…}` |
//! | `scaleStrategy.disablePVCReuse` | `scaleStrategy.enablePVCReuse`, inverted, always written |
//! | label …/cloneset-scaling-exclude-preparing-delete | `scaleStrategy.excludePreparingDelete` |
//! | annotations apps.kruise.io/image-predownload-* | `inPlaceUpdateStrategy.imagePreDownload*` |
//!
//! OpenKruise drops the rolling knobs of an `OnDelete` set; here they survive, and `podUpdatePolicy` travels in an annotation.

use serde_json::{Map, Value, json};

use crate::names;

type Object = Map<String, Value>;

/// Gives a CloneSet in another version. Versions are named `v1alpha1`, `v1beta1`, with or without the group.
pub fn convert(mut value: Value, from: &str, to: &str) -> Result<Value, String> {
    let (from, to) = (version(from)?, version(to)?);
    if from == to {
        return Ok(value);
    }
    let root = value.as_object_mut().ok_or("a CloneSet is an object")?;
    root.insert("apiVersion".to_owned(), json!(format!("{}/{}", names::GROUP, to.name())));
    let mut spec = match root.remove("spec") {
        Some(Value::Object(spec)) => spec,
        None | Some(Value::Null) => Object::new(),
        Some(_) => return Err("spec: is not an object".to_owned()),
    };
    let meta = entry_object(root, "metadata")?;
    match to {
        Version::Beta => to_beta(meta, &mut spec)?,
        Version::Alpha => to_alpha(meta, &mut spec)?,
    }
    root.insert("spec".to_owned(), Value::Object(spec));
    Ok(value)
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    Alpha,
    Beta,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Version::Alpha => "v1alpha1",
            Version::Beta => "v1beta1",
        }
    }
}

fn version(text: &str) -> Result<Version, String> {
    match text.strip_prefix("apps.kruise.io/").unwrap_or(text) {
        "v1alpha1" => Ok(Version::Alpha),
        "v1beta1" => Ok(Version::Beta),
        other => Err(format!("CloneSet has no version {other:?}")),
    }
}

fn to_beta(meta: &mut Object, spec: &mut Object) -> Result<(), String> {
    let scale = entry_object(spec, "scaleStrategy")?;
    let disabled = scale.remove("disablePVCReuse") == Some(json!(true));
    scale.insert("enablePVCReuse".to_owned(), json!(!disabled));
    if lookup(meta, "labels", names::EXCLUDE_PREPARING_DELETE_LABEL) == Some("true") {
        scale.insert("excludePreparingDelete".to_owned(), json!(true));
    }

    let mut rolling = take_object(spec, "updateStrategy")?;
    let kind = rolling.remove("type").filter(|t| !t.is_null() && t != "");
    predownload_to_fields(meta, &mut rolling)?;
    let mut update = Object::new();
    if kind == Some(json!("OnDelete")) {
        update.insert("type".to_owned(), json!("OnDelete"));
        if let Some(policy) = remove_from(meta, "annotations", names::POD_UPDATE_POLICY) {
            rolling.insert("podUpdatePolicy".to_owned(), policy);
        }
        if !rolling.is_empty() {
            update.insert("rollingUpdate".to_owned(), Value::Object(rolling));
        }
    } else {
        update.insert("type".to_owned(), json!("RollingUpdate"));
        rolling.insert("podUpdatePolicy".to_owned(), kind.unwrap_or_else(|| json!("ReCreate")));
        update.insert("rollingUpdate".to_owned(), Value::Object(rolling));
    }
    spec.insert("updateStrategy".to_owned(), Value::Object(update));
    Ok(())
}

fn to_alpha(meta: &mut Object, spec: &mut Object) -> Result<(), String> {
    let mut scale = take_object(spec, "scaleStrategy")?;
    if scale.remove("enablePVCReuse") != Some(json!(true)) {
        scale.insert("disablePVCReuse".to_owned(), json!(true));
    }
    if scale.remove("excludePreparingDelete") == Some(json!(true)) {
        insert_into(meta, "labels", names::EXCLUDE_PREPARING_DELETE_LABEL, "true".to_owned())?;
    } else if lookup(meta, "labels", names::EXCLUDE_PREPARING_DELETE_LABEL) == Some("true") {
        // The field decides in v1beta1; a label left over would turn it on again on the way back.
        remove_from(meta, "labels", names::EXCLUDE_PREPARING_DELETE_LABEL);
    }
    if !scale.is_empty() {
        spec.insert("scaleStrategy".to_owned(), Value::Object(scale));
    }

    let mut update = take_object(spec, "updateStrategy")?;
    let on_delete = update.remove("type") == Some(json!("OnDelete"));
    let mut rolling = take_object(&mut update, "rollingUpdate")?;
    let policy = rolling.remove("podUpdatePolicy").filter(|p| !p.is_null() && p != "");
    predownload_to_annotations(meta, &mut rolling)?;
    let kind = match policy {
        Some(Value::String(policy)) if on_delete => {
            insert_into(meta, "annotations", names::POD_UPDATE_POLICY, policy)?;
            json!("OnDelete")
        }
        _ if on_delete => json!("OnDelete"),
        Some(policy) => policy,
        None => json!("ReCreate"),
    };
    rolling.insert("type".to_owned(), kind);
    spec.insert("updateStrategy".to_owned(), Value::Object(rolling));
    Ok(())
}

/// (annotation, field, whether the field may be a share).
const PREDOWNLOAD: [(&str, &str, bool); 3] = [
    (names::PREDOWNLOAD_PARALLELISM, "imagePreDownloadParallelism", true),
    (names::PREDOWNLOAD_TIMEOUT, "imagePreDownloadTimeoutSeconds", false),
    (names::PREDOWNLOAD_MIN_READY, "imagePreDownloadMinUpdatedReadyPods", false),
];

fn predownload_to_fields(meta: &Object, rolling: &mut Object) -> Result<(), String> {
    for (annotation, field, share) in PREDOWNLOAD {
        if let Some(value) = lookup(meta, "annotations", annotation).and_then(|t| predownload(t, share)) {
            entry_object(rolling, "inPlaceUpdateStrategy")?.insert(field.to_owned(), value);
        }
    }
    Ok(())
}

fn predownload_to_annotations(meta: &mut Object, rolling: &mut Object) -> Result<(), String> {
    let present = rolling.get("inPlaceUpdateStrategy").is_some_and(Value::is_object);
    let mut strategy = take_object(rolling, "inPlaceUpdateStrategy")?;
    let was_empty = strategy.is_empty();
    for (annotation, field, share) in PREDOWNLOAD {
        match strategy.remove(field) {
            Some(Value::Null) | None => {
                // Unset in v1beta1: an annotation that still says something would set it again.
                if lookup(meta, "annotations", annotation).is_some_and(|t| predownload(t, share).is_some()) {
                    remove_from(meta, "annotations", annotation);
                }
            }
            Some(Value::String(text)) => insert_into(meta, "annotations", annotation, text)?,
            Some(other) => insert_into(meta, "annotations", annotation, other.to_string())?,
        }
    }
    if !strategy.is_empty() || (present && was_empty) {
        rolling.insert("inPlaceUpdateStrategy".to_owned(), Value::Object(strategy));
    }
    Ok(())
}

/// The value an annotation stands for; nothing when it says nothing usable.
fn predownload(text: &str, share: bool) -> Option<Value> {
    match text.parse::<i32>() {
        Ok(n) => Some(json!(n)),
        Err(_) if share && !text.is_empty() => Some(json!(text)),
        Err(_) => None,
    }
}

fn lookup<'a>(meta: &'a Object, map: &str, key: &str) -> Option<&'a str> {
    meta.get(map)?.get(key)?.as_str()
}

fn insert_into(meta: &mut Object, map: &str, key: &str, value: String) -> Result<(), String> {
    entry_object(meta, map)?.insert(key.to_owned(), Value::String(value));
    Ok(())
}

/// Removes an entry of a map, and the map when nothing is left in it.
fn remove_from(meta: &mut Object, map: &str, key: &str) -> Option<Value> {
    let entries = meta.get_mut(map)?.as_object_mut()?;
    let old = entries.remove(key);
    if entries.is_empty() {
        meta.remove(map);
    }
    old
}

fn entry_object<'a>(map: &'a mut Object, key: &str) -> Result<&'a mut Object, String> {
    let slot = map.entry(key).or_insert_with(|| json!({}));
    if slot.is_null() {
        *slot = json!({});
    }
    slot.as_object_mut().ok_or_else(|| format!("{key}: is not an object"))
}

fn take_object(map: &mut Object, key: &str) -> Result<Object, String> {
    match map.remove(key) {
        Some(Value::Object(object)) => Ok(object),
        None | Some(Value::Null) => Ok(Object::new()),
        Some(_) => Err(format!("{key}: is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(value: &Value, over: &str) -> (Value, Value) {
        let home = value["apiVersion"].as_str().unwrap().to_owned();
        let there = convert(value.clone(), &home, over).unwrap();
        let back = convert(there.clone(), over, &home).unwrap();
        (there, back)
    }

    #[test]
    fn the_sample_becomes_a_rolling_update_in_place() {
        let alpha = json!({"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "metadata": {"name": "sample"},
            "spec": {"replicas": 5, "updateStrategy": {"type": "InPlaceIfPossible", "maxUnavailable": 2}}});
        let (beta, back) = there_and_back(&alpha, "v1beta1");
        expect_test::expect![[r#"
            {
              "apiVersion": "apps.kruise.io/v1beta1",
              "kind": "CloneSet",
              "metadata": {
                "name": "sample"
              },
              "spec": {
                "replicas": 5,
                "scaleStrategy": {
                  "enablePVCReuse": true
                },
                "updateStrategy": {
                  "rollingUpdate": {
                    "maxUnavailable": 2,
                    "podUpdatePolicy": "InPlaceIfPossible"
                  },
                  "type": "RollingUpdate"
                }
              }
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&beta).unwrap());
        assert_eq!(back, alpha);
    }

    #[test]
    fn alpha_survives_the_way_there_and_back() {
        let knobs = json!({"partition": "20%", "maxUnavailable": 1, "maxSurge": "10%", "paused": true,
            "priorityStrategy": {"orderPriority": [{"orderedKey": "k"}]}, "scatterStrategy": [{"key": "a", "value": "b"}]});
        for kind in ["ReCreate", "InPlaceIfPossible", "InPlaceOnly", "OnDelete"] {
            let mut update = knobs.clone();
            update["type"] = json!(kind);
            update["inPlaceUpdateStrategy"] = json!({"gracePeriodSeconds": 3});
            let alpha = json!({"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet",
                "metadata": {"name": "a", "labels": {names::EXCLUDE_PREPARING_DELETE_LABEL: "true"},
                    "annotations": {names::PREDOWNLOAD_PARALLELISM: "50%", names::PREDOWNLOAD_TIMEOUT: "30", names::PREDOWNLOAD_MIN_READY: "junk"}},
                "spec": {"scaleStrategy": {"disablePVCReuse": true, "podsToDelete": ["x"]}, "updateStrategy": update},
                "status": {"replicas": 1}});
            let (beta, back) = there_and_back(&alpha, "v1beta1");
            assert_eq!(back, alpha, "{kind}");
            assert_eq!(beta["spec"]["scaleStrategy"]["excludePreparingDelete"], true);
            let rolling = &beta["spec"]["updateStrategy"]["rollingUpdate"];
            assert_eq!(rolling["inPlaceUpdateStrategy"]["imagePreDownloadParallelism"], "50%");
            assert_eq!(rolling["inPlaceUpdateStrategy"]["imagePreDownloadTimeoutSeconds"], 30);
        }
    }

    #[test]
    fn beta_survives_the_way_there_and_back() {
        for (kind, policy) in [
            ("RollingUpdate", "ReCreate"),
            ("RollingUpdate", "InPlaceOnly"),
            ("OnDelete", "InPlaceIfPossible"),
        ] {
            for exclude in [true, false] {
                for reuse in [true, false] {
                    let mut scale = json!({"enablePVCReuse": reuse, "maxUnavailable": "25%"});
                    if exclude {
                        scale["excludePreparingDelete"] = json!(true);
                    }
                    let beta = json!({"apiVersion": "apps.kruise.io/v1beta1", "kind": "CloneSet", "metadata": {"name": "a"},
                        "spec": {"scaleStrategy": scale, "updateStrategy": {"type": kind, "rollingUpdate": {
                            "podUpdatePolicy": policy, "partition": 3,
                            "inPlaceUpdateStrategy": {"gracePeriodSeconds": 1, "imagePreDownloadParallelism": 4,
                                "imagePreDownloadMinUpdatedReadyPods": 2}}}}});
                    let (_, back) = there_and_back(&beta, "v1alpha1");
                    // Label and annotations stay as a trace of having been there; what they say is what the fields say.
                    let mut back_plain = back.clone();
                    back_plain["metadata"] = beta["metadata"].clone();
                    assert_eq!(back_plain, beta);
                    assert_eq!(there_and_back(&back, "v1alpha1").1, back);
                }
            }
        }
    }

    #[test]
    fn a_field_unset_in_beta_is_unset_in_alpha() {
        let beta = json!({"apiVersion": "apps.kruise.io/v1beta1", "kind": "CloneSet",
            "metadata": {"name": "a", "labels": {names::EXCLUDE_PREPARING_DELETE_LABEL: "true"},
                "annotations": {names::PREDOWNLOAD_TIMEOUT: "30"}}, "spec": {"scaleStrategy": {"enablePVCReuse": true}}});
        let (alpha, back) = there_and_back(&beta, "v1alpha1");
        assert_eq!(alpha["metadata"], json!({"name": "a"}));
        assert_eq!(back["spec"]["scaleStrategy"], beta["spec"]["scaleStrategy"]);
    }

    #[test]
    fn what_is_no_cloneset_is_refused() {
        assert!(convert(json!([]), "v1alpha1", "v1beta1").is_err());
        assert!(convert(json!({"spec": {"updateStrategy": 1}}), "v1alpha1", "v1beta1").is_err());
        assert_eq!(convert(json!({}), "v1", "v1beta1"), Err("CloneSet has no version \"v1\"".to_owned()));
    }
}
