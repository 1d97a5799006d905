//! Resources of tiers: batch and mid pods ask for names of their own.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{Tier, names};

/// The name under which a tier is accounted. Production uses the native name; best effort below batch is not accounted.
pub fn resource_of(tier: Tier, native: &str) -> Option<&str> {
    match (tier, native) {
        (Tier::Prod, _) => Some(native),
        (Tier::Mid, "cpu") => Some(names::MID_CPU),
        (Tier::Mid, "memory") => Some(names::MID_MEMORY),
        (Tier::Batch, "cpu") => Some(names::BATCH_CPU),
        (Tier::Batch, "memory") => Some(names::BATCH_MEMORY),
        (Tier::Free, "cpu" | "memory") => None,
        _ => Some(native),
    }
}

/// Rewrites the native CPU and memory of every container of a pod on the wire to those of its tier, CPU in whole thousandths, as
/// Koordinator's webhook does on creation. Returns whether anything changed. Pods of production and free tier stay as they are.
pub fn to_tier_resources(pod: &mut Value, tier: Tier) -> bool {
    if !matches!(tier, Tier::Mid | Tier::Batch) {
        return false;
    }
    let mut changed = false;
    for field in ["containers", "initContainers"] {
        for container in pod["spec"][field].as_array_mut().into_iter().flatten() {
            let Some(resources) = container.get_mut("resources") else { continue };
            for list in ["requests", "limits"] {
                if let Some(list) = resources.get_mut(list).and_then(Value::as_object_mut) {
                    changed |= rename(list, tier);
                }
            }
        }
    }
    changed
}

fn rename(list: &mut Map<String, Value>, tier: Tier) -> bool {
    let mut changed = false;
    for native in ["cpu", "memory"] {
        let Some(name) = resource_of(tier, native) else { continue };
        let Some(value) = list.remove(native) else { continue };
        let milli =
            |v: &Value| crate::Amounts::read(&BTreeMap::from([("cpu".to_owned(), v.clone())])).get("cpu");
        let value = if native == "cpu" { json!(milli(&value).to_string()) } else { value };
        list.insert(name.to_owned(), value);
        changed = true;
    }
    changed
}

/// The annotation [`names::EXTENDED_RESOURCE_SPEC`] of a pod on the wire: what each container asks of batch resources.
/// `None` when no container asks for any. Init containers and the middle tier are not told, as upstream.
pub fn extended_spec(pod: &Value) -> Option<String> {
    let mut containers = Map::new();
    for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
        let mut lists = Map::new();
        for list in ["limits", "requests"] {
            let entries = container["resources"][list].as_object().into_iter().flatten();
            let batch: Map<String, Value> =
                entries.filter(|(name, _)| is_batch(name)).map(|(n, v)| (n.clone(), v.clone())).collect();
            if !batch.is_empty() {
                lists.insert(list.to_owned(), Value::Object(batch));
            }
        }
        if !lists.is_empty() {
            containers
                .insert(container["name"].as_str().unwrap_or_default().to_owned(), Value::Object(lists));
        }
    }
    (!containers.is_empty()).then(|| json!({ "containers": containers }).to_string())
}

fn is_batch(name: &str) -> bool {
    [names::BATCH_CPU, names::BATCH_MEMORY].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_pods_ask_for_batch_resources_and_say_so_to_the_node() {
        let mut pod = json!({"spec": {"containers": [{"name": "c", "resources": {
            "requests": {"cpu": "1500m", "memory": "1Gi", "ephemeral-storage": "1Gi"}, "limits": {"cpu": 2},
        }}]}});
        assert!(to_tier_resources(&mut pod, Tier::Batch));
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({
                "requests": {"kubernetes.io/batch-cpu": "1500", "kubernetes.io/batch-memory": "1Gi", "ephemeral-storage": "1Gi"},
                "limits": {"kubernetes.io/batch-cpu": "2000"},
            })
        );
        assert!(!to_tier_resources(&mut pod, Tier::Batch), "a second time changes nothing");
        let spec: Value = serde_json::from_str(&extended_spec(&pod).unwrap()).unwrap();
        assert_eq!(spec["containers"]["c"]["requests"]["kubernetes.io/batch-cpu"], "1500");
        assert_eq!(spec["containers"]["c"]["requests"]["ephemeral-storage"], Value::Null);
    }

    #[test]
    fn production_keeps_its_names_and_the_free_tier_is_not_accounted() {
        let mut pod =
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}});
        assert!(!to_tier_resources(&mut pod, Tier::Prod));
        assert_eq!(extended_spec(&pod), None);
        assert_eq!(resource_of(Tier::Free, "cpu"), None);
        assert_eq!(resource_of(Tier::Mid, "memory"), Some("kubernetes.io/mid-memory"));
        assert_eq!(resource_of(Tier::Batch, "nvidia.com/gpu"), Some("nvidia.com/gpu"));
    }
}
