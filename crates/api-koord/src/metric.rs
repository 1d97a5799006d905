//! `NodeMetric`: what a node and its pods really use, as Koordinator's agent measures it.

use std::collections::BTreeMap;
use std::time::Duration;

use api_meta::{Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::Time;

use crate::{Amounts, Unreadable, json, names};

/// How often an agent reports when its object does not say: Koordinator's 60 s.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// `NodeMetric` (slo.koordinator.sh/v1alpha1): the fields that are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeMetric {
    /// Metadata; named like its node.
    pub metadata: ObjectMeta,
    /// How it is measured.
    pub spec: NodeMetricSpec,
    /// What was measured.
    pub status: NodeMetricStatus,
}

impl Object for NodeMetric {
    const RESOURCE: Resource =
        Resource::cluster("slo.koordinator.sh", "v1alpha1", "nodemetrics", "NodeMetric");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// How it is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeMetricSpec {
    /// The policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_collect_policy: Option<CollectPolicy>,
}

/// How often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectPolicy {
    /// Seconds between reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_interval_seconds: Option<u64>,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeMetricStatus {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_time: Option<Time>,
    /// The node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_metric: Option<NodeUsage>,
    /// Its pods'.
    pub pods_metric: Vec<PodUsage>,
}

/// Usage of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeUsage {
    /// Of everything on it.
    pub node_usage: ResourceMap,
}

/// Usage of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodUsage {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it uses.
    pub pod_usage: ResourceMap,
}

/// Amounts of resources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceMap {
    /// By name.
    pub resources: BTreeMap<String, Value>,
}

/// What a node's metric says, in numbers. Units: thousandths of a CPU, bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// When it was measured; nothing means never.
    pub updated: Option<Time>,
    /// How far apart reports are.
    pub interval: Duration,
    /// What everything on the node uses; nothing: not measured.
    pub usage: Option<Amounts>,
    /// What each pod uses, by `namespace/name`; pods without a measurement are absent.
    pub pods: BTreeMap<String, Amounts>,
}

impl Load {
    /// Reads a metric.
    pub fn of(metric: &NodeMetric) -> Load {
        let said = metric.spec.metric_collect_policy.as_ref().and_then(|p| p.report_interval_seconds);
        let pods = metric.status.pods_metric.iter().filter(|p| !p.pod_usage.resources.is_empty());
        let usage =
            |p: &PodUsage| (format!("{}/{}", p.namespace, p.name), Amounts::read(&p.pod_usage.resources));
        Load {
            updated: metric.status.update_time,
            interval: said.map_or(REPORT_INTERVAL, Duration::from_secs),
            usage: metric.status.node_metric.as_ref().map(|m| Amounts::read(&m.node_usage.resources)),
            pods: pods.map(usage).collect(),
        }
    }
}

/// Percent of a resource above which a node takes no more pods ([`names::USAGE_THRESHOLDS`] of a node). Zero: no threshold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageThresholds {
    /// By resource.
    pub usage_thresholds: BTreeMap<String, i64>,
}

impl UsageThresholds {
    /// Reads a node's annotation; nothing when it has none.
    pub fn of(annotations: &BTreeMap<String, String>) -> Result<Option<UsageThresholds>, Unreadable> {
        if !annotations.contains_key(names::USAGE_THRESHOLDS) {
            return Ok(None);
        }
        json(annotations, names::USAGE_THRESHOLDS).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_metric_speaks_of_node_and_pods_and_says_how_often() {
        let metric = json!({"metadata": {"name": "n"},
            "spec": {"metricCollectPolicy": {"reportIntervalSeconds": 30}},
            "status": {"updateTime": "2026-11-28T10:00:00Z",
                "nodeMetric": {"nodeUsage": {"resources": {"cpu": "1500m", "memory": "1Gi"}}},
                "podsMetric": [{"namespace": "d", "name": "p", "podUsage": {"resources": {"cpu": "1"}}},
                    {"namespace": "d", "name": "q", "podUsage": {}}]}});
        let load = Load::of(&NodeMetric::decode(&metric.to_string()).unwrap());
        assert_eq!(load.interval, Duration::from_secs(30));
        assert_eq!(load.usage, Some(Amounts::from([("cpu", 1500), ("memory", 1 << 30)])));
        assert_eq!(load.pods.keys().collect::<Vec<_>>(), ["d/p"], "what was not measured is not known");
        assert_eq!(Load::of(&NodeMetric::default()).interval, REPORT_INTERVAL);
    }

    #[test]
    fn thresholds_of_one_node_are_read_from_its_annotation() {
        let said = |text: &str| {
            UsageThresholds::of(&BTreeMap::from([(names::USAGE_THRESHOLDS.to_owned(), text.to_owned())]))
        };
        let read = said(r#"{"usageThresholds":{"cpu":70}}"#).unwrap().unwrap();
        assert_eq!(read.usage_thresholds.get("cpu"), Some(&70));
        assert!(said("{").is_err());
        assert_eq!(UsageThresholds::of(&BTreeMap::new()), Ok(None));
    }
}
