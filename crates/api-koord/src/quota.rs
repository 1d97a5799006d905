//! Elastic quotas: scheduler-plugins' kind with Koordinator's labels and annotations.

use std::collections::BTreeMap;

use api_core::Pod;
use api_meta::{Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Amounts, Unreadable, json, names};

/// `ElasticQuota` (scheduling.sigs.k8s.io/v1alpha1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElasticQuota {
    /// Metadata; most of what Koordinator knows is here.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: ElasticQuotaSpec,
    /// Observed state.
    pub status: ElasticQuotaStatus,
}

impl Object for ElasticQuota {
    const RESOURCE: Resource =
        Resource::namespaced("scheduling.sigs.k8s.io", "v1alpha1", "elasticquotas", "ElasticQuota");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Desired state of an elastic quota.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ElasticQuotaSpec {
    /// What is its own.
    pub min: BTreeMap<String, Value>,
    /// What it never exceeds. A resource that is absent is not limited.
    pub max: BTreeMap<String, Value>,
}

/// Observed state of an elastic quota.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ElasticQuotaStatus {
    /// What its pods use.
    pub used: BTreeMap<String, Value>,
}

/// Everything an elastic quota says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaWords {
    /// Its name, unique over all namespaces.
    pub name: String,
    /// Where its object is.
    pub namespace: String,
    /// The quota above it. Empty for the root alone.
    pub parent: String,
    /// Its tree; empty: the cluster's own.
    pub tree: String,
    /// It has quotas below it.
    pub is_parent: bool,
    /// It is the root of a tree of its own.
    pub is_root: bool,
    /// The total of its tree is not taken off the cluster's own tree.
    pub beside_default: bool,
    /// What is its own.
    pub min: Amounts,
    /// What it never exceeds.
    pub max: Amounts,
    /// Its weight when unused resources are shared out; what it may use at most, when it says nothing.
    pub weight: Amounts,
    /// Others may use what it does not.
    pub lent: bool,
    /// Sums of minima are not checked.
    pub force: bool,
    /// Namespaces whose pods belong to it.
    pub namespaces: Vec<String>,
    /// What a tree of its own shares out.
    pub total: Option<Amounts>,
    /// Resources of which the maximum may not fall below what is used.
    pub strict: Vec<String>,
    /// What its pods use, as its status says.
    pub used: Amounts,
}

impl QuotaWords {
    /// Reads a quota. Errors: annotations that are no JSON of their form. A weight that cannot be read, or is zero, is the
    /// maximum, and so are unreadable namespaces none, as upstream reads them.
    pub fn of(quota: &ElasticQuota) -> Result<QuotaWords, Unreadable> {
        let (labels, annotations) = (&quota.metadata.labels, &quota.metadata.annotations);
        let label = |key: &str| labels.get(key).map_or("", String::as_str);
        let max = Amounts::read(&quota.spec.max);
        let weight = list(annotations, names::QUOTA_WEIGHT).ok().flatten().filter(|w| !w.is_zero());
        let name = quota.metadata.name.clone();
        let parent = match label(names::QUOTA_PARENT) {
            "" if name != names::ROOT_QUOTA => names::ROOT_QUOTA,
            said => said,
        };
        Ok(QuotaWords {
            namespace: quota.metadata.namespace.clone(),
            parent: parent.to_owned(),
            tree: label(names::QUOTA_TREE).to_owned(),
            is_parent: label(names::QUOTA_IS_PARENT) == "true",
            is_root: label(names::QUOTA_IS_ROOT) == "true",
            beside_default: label(names::QUOTA_BESIDE_DEFAULT) == "true",
            min: Amounts::read(&quota.spec.min),
            weight: weight.unwrap_or_else(|| max.clone()),
            max,
            lent: label(names::QUOTA_LENT) != "false",
            force: label(names::QUOTA_FORCE) == "true",
            namespaces: json(annotations, names::QUOTA_NAMESPACES).unwrap_or_default(),
            total: list(annotations, names::QUOTA_TOTAL)?,
            strict: json(annotations, names::QUOTA_STRICT_KEYS)?,
            used: Amounts::read(&quota.status.used),
            name,
        })
    }
}

fn list(annotations: &BTreeMap<String, String>, key: &str) -> Result<Option<Amounts>, Unreadable> {
    let said: Option<BTreeMap<String, Value>> = json(annotations, key)?;
    Ok(said.map(|list| Amounts::read(&list)))
}

/// The quota a pod's label names; none when it names none.
pub fn named(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.get(names::QUOTA_NAME).map(String::as_str).filter(|n| !n.is_empty())
}

/// Whether others of its quota may take the pod's place: so unless its label says `false`.
pub fn is_preemptible(pod: &Pod) -> bool {
    pod.metadata.labels.get(names::QUOTA_PREEMPTIBLE).is_none_or(|v| v != "false")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quota_speaks_through_labels_and_annotations_and_has_koordinator_s_defaults() {
        let quota: ElasticQuota = serde_json::from_value(json!({
            "metadata": {"name": "web", "labels": {names::QUOTA_PARENT: "shop", names::QUOTA_LENT: "false"},
                "annotations": {names::QUOTA_WEIGHT: r#"{"cpu":"2"}"#, names::QUOTA_NAMESPACES: r#"["a","b"]"#}},
            "spec": {"min": {"cpu": "1"}, "max": {"cpu": 4, "memory": "1Gi"}},
        }))
        .unwrap();
        let words = QuotaWords::of(&quota).unwrap();
        assert_eq!((words.parent.as_str(), words.lent, words.is_parent), ("shop", false, false));
        assert_eq!(words.weight, Amounts::from([("cpu", 2000)]));
        assert_eq!(words.max, Amounts::from([("cpu", 4000), ("memory", 1 << 30)]));
        assert_eq!(words.namespaces, ["a", "b"]);
    }

    #[test]
    fn without_a_weight_the_maximum_is_the_weight_and_without_a_parent_the_root_is() {
        let mut quota = ElasticQuota::default();
        quota.spec.max.insert("cpu".into(), json!("4"));
        for weight in ["", "no json", r#"{"cpu":"0"}"#] {
            quota.metadata.annotations.insert(names::QUOTA_WEIGHT.into(), weight.into());
            let words = QuotaWords::of(&quota).unwrap();
            assert_eq!((words.weight.get("cpu"), words.parent.as_str()), (4000, names::ROOT_QUOTA));
            assert!(words.lent);
        }
    }
}
