//! Tiers: bands of priority, each with resources of its own.

use std::fmt;
use std::ops::RangeInclusive;

use api_core::Pod;
use serde::{Deserialize, Serialize};

use crate::{Qos, Unreadable, names};

/// A band of priorities. Ordered from the strongest promise to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Accounted against capacity.
    #[serde(rename = "koord-prod")]
    Prod,
    /// Accounted against what production is predicted to leave.
    #[serde(rename = "koord-mid")]
    Mid,
    /// Accounted against what production leaves now; may be squeezed.
    #[serde(rename = "koord-batch")]
    Batch,
    /// Not accounted; may be evicted at any time.
    #[serde(rename = "koord-free")]
    Free,
}

impl Tier {
    /// All of them, strongest first.
    pub const ALL: [Tier; 4] = [Tier::Prod, Tier::Mid, Tier::Batch, Tier::Free];

    /// The name of its PriorityClass and its word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Prod => "koord-prod",
            Tier::Mid => "koord-mid",
            Tier::Batch => "koord-batch",
            Tier::Free => "koord-free",
        }
    }

    /// Reads the word; an unknown one is none.
    pub fn parse(text: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|t| t.as_str() == text)
    }

    /// The priorities that belong to it.
    pub fn band(self) -> RangeInclusive<i32> {
        match self {
            Tier::Prod => 9000..=9999,
            Tier::Mid => 7000..=7999,
            Tier::Batch => 5000..=5999,
            Tier::Free => 3000..=3999,
        }
    }

    /// The priority of a pod that names the tier alone.
    pub fn default_priority(self) -> i32 {
        self.band().start() + 500
    }

    /// The tier whose band holds the priority.
    pub fn of_priority(priority: i32) -> Option<Tier> {
        Tier::ALL.into_iter().find(|t| t.band().contains(&priority))
    }

    /// What the pod says: its label, else the band of its priority. A label with an unknown word is none, as upstream reads it.
    pub fn said(pod: &Pod) -> Option<Tier> {
        match pod.metadata.labels.get(names::PRIORITY_CLASS) {
            Some(text) => Tier::parse(text),
            None => pod.spec.priority.and_then(Tier::of_priority),
        }
    }

    /// What the pod says, else what its quality of service stands for: batch for BE, production for the rest.
    pub fn of(pod: &Pod) -> Tier {
        Tier::said(pod).unwrap_or_else(|| Tier::of_qos(Qos::of(pod)))
    }

    /// The tier that a quality of service stands for when nothing else is said.
    pub fn of_qos(qos: Qos) -> Tier {
        if qos == Qos::Be { Tier::Batch } else { Tier::Prod }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Order within the tier: label `koordinator.sh/priority`; 0 when absent.
pub fn sub_priority(pod: &Pod) -> Result<i32, Unreadable> {
    match pod.metadata.labels.get(names::SUB_PRIORITY).map(String::as_str) {
        None | Some("") => Ok(0),
        Some(text) => text.parse().map_err(|_| Unreadable::new(names::SUB_PRIORITY, "not a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(labels: serde_json::Value, priority: Option<i32>) -> Pod {
        serde_json::from_value(json!({"metadata": {"labels": labels}, "spec": {"priority": priority}}))
            .unwrap()
    }

    #[test]
    fn a_label_goes_before_the_number_and_the_number_before_the_quality_of_service() {
        assert_eq!(
            Tier::of(&pod(json!({"koordinator.sh/priority-class": "koord-mid"}), Some(9500))),
            Tier::Mid
        );
        assert_eq!(Tier::of(&pod(json!({}), Some(5999))), Tier::Batch);
        assert_eq!(
            Tier::of(&pod(json!({}), Some(6000))),
            Tier::Batch,
            "between bands: a pod that asks for nothing is BE"
        );
        assert_eq!(Tier::of(&pod(json!({"koordinator.sh/qosClass": "LS"}), None)), Tier::Prod);
    }

    #[test]
    fn each_band_has_its_default_inside() {
        for tier in Tier::ALL {
            assert_eq!(Tier::of_priority(tier.default_priority()), Some(tier));
            assert_eq!(Tier::parse(tier.as_str()), Some(tier));
        }
    }

    #[test]
    fn the_order_within_a_tier_is_a_whole_number() {
        assert_eq!(sub_priority(&pod(json!({"koordinator.sh/priority": "-3"}), None)), Ok(-3));
        assert_eq!(sub_priority(&pod(json!({}), None)), Ok(0));
        assert!(sub_priority(&pod(json!({"koordinator.sh/priority": "high"}), None)).is_err());
    }
}
