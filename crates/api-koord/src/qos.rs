//! Quality of service: Koordinator's five, and what Kubernetes' three stand for.

use std::collections::BTreeMap;
use std::fmt;

use api_core::{Container, Pod};
use api_meta::Quantity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names;

/// How a pod's CPUs relate to those of others. Ordered from who gives way last to who gives way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Qos {
    /// System daemons.
    System,
    /// CPUs shared with nobody, best effort included.
    Lse,
    /// CPUs of its own; best effort may use their idle cycles.
    Lsr,
    /// The pool that is left.
    Ls,
    /// Best effort: everything but the CPUs of LSE.
    Be,
}

/// Kubernetes' own classes, from requests and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeQos {
    /// Every container has equal requests and limits of CPU and memory.
    Guaranteed,
    /// Something is asked for.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Qos::System => "SYSTEM",
            Qos::Lse => "LSE",
            Qos::Lsr => "LSR",
            Qos::Ls => "LS",
            Qos::Be => "BE",
        }
    }

    /// Reads the word; an unknown one is none, as upstream reads it.
    pub fn parse(text: &str) -> Option<Qos> {
        [Qos::System, Qos::Lse, Qos::Lsr, Qos::Ls, Qos::Be].into_iter().find(|q| q.as_str() == text)
    }

    /// What the pod's label says.
    pub fn labelled(pod: &Pod) -> Option<Qos> {
        pod.metadata.labels.get(names::QOS).and_then(|text| Qos::parse(text))
    }

    /// The label, or what Kubernetes' class stands for: Guaranteed is LSR, Burstable LS, BestEffort BE.
    pub fn of(pod: &Pod) -> Qos {
        Qos::labelled(pod).unwrap_or_else(|| match KubeQos::of(pod) {
            KubeQos::Guaranteed => Qos::Lsr,
            KubeQos::Burstable => Qos::Ls,
            KubeQos::BestEffort => Qos::Be,
        })
    }

    /// Whether the class has CPUs of its own.
    pub fn binds(self) -> bool {
        matches!(self, Qos::Lse | Qos::Lsr)
    }
}

impl fmt::Display for Qos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KubeQos {
    /// The class of a pod. Requests default to limits, as the API server fills them in.
    pub fn of(pod: &Pod) -> KubeQos {
        let all = || pod.spec.containers.iter().chain(&pod.spec.init_containers);
        if all().all(|c| is_empty(&c.resources.requests) && is_empty(&c.resources.limits)) {
            return KubeQos::BestEffort;
        }
        if all().all(is_guaranteed) { KubeQos::Guaranteed } else { KubeQos::Burstable }
    }
}

fn amount(list: &BTreeMap<String, Value>, name: &str) -> Option<Quantity> {
    let value = list.get(name)?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().ok().filter(|q: &Quantity| q.milli() > 0)
}

fn is_empty(list: &BTreeMap<String, Value>) -> bool {
    ["cpu", "memory"].iter().all(|name| amount(list, name).is_none())
}

fn is_guaranteed(container: &Container) -> bool {
    let (requests, limits) = (&container.resources.requests, &container.resources.limits);
    ["cpu", "memory"].iter().all(|name| {
        let limit = amount(limits, name);
        limit.is_some() && amount(requests, name).or(limit) == limit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(labels: Value, resources: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": labels},
            "spec": {"containers": [{"name": "c", "resources": resources}]},
        }))
        .unwrap()
    }

    #[test]
    fn without_a_label_kubernetes_class_decides() {
        let qos = |resources| Qos::of(&pod(json!({}), resources));
        assert_eq!(qos(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), Qos::Lsr);
        assert_eq!(qos(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})), Qos::Ls);
        assert_eq!(qos(json!({"requests": {"cpu": 1}})), Qos::Ls);
        assert_eq!(qos(json!({})), Qos::Be);
        assert_eq!(
            qos(json!({"requests": {"kubernetes.io/batch-cpu": "1"}})),
            Qos::Be,
            "extended resources do not count"
        );
    }

    #[test]
    fn the_label_goes_first_and_an_unknown_word_is_none() {
        assert_eq!(Qos::of(&pod(json!({"koordinator.sh/qosClass": "LSE"}), json!({}))), Qos::Lse);
        assert_eq!(Qos::labelled(&pod(json!({"koordinator.sh/qosClass": "lse"}), json!({}))), None);
    }
}
