//! The guard's own kinds, `knarr.dev/v1alpha1`: what an operator sets while everything runs.

use std::collections::BTreeMap;

use api_meta::{Cause, IntOrPercent, Object, ObjectMeta, Resource};
use reconcile::{Rate, Risk};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::Time;

/// The Guard that counts.
pub const DEFAULT: &str = "default";

/// What controllers may disturb. Only the one named [`DEFAULT`] counts; none means no limits but disruption budgets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Guard {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: GuardSpec,
    /// Observed state.
    pub status: GuardStatus,
}

impl Object for Guard {
    const RESOURCE: Resource = Resource::cluster("knarr.dev", "v1alpha1", "guards", "Guard");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// Desired state of the guard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardSpec {
    /// The operator's switch.
    pub brake: BrakeSpec,
    /// Budgets and rates.
    pub limits: Limits,
    /// Name of the [`EmergencyPlan`] in force; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub plan: String,
}

/// Holds dangerous actions while it is on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrakeSpec {
    /// Whether it holds.
    pub on: bool,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who has set it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The least risk that is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskName>,
}

/// A risk as the API writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RiskName {
    /// [`Risk::Restart`].
    Restart,
    /// [`Risk::RemovePod`].
    RemovePod,
    /// [`Risk::Destroy`].
    Destroy,
}

impl From<RiskName> for Risk {
    fn from(name: RiskName) -> Risk {
        match name {
            RiskName::Restart => Risk::Restart,
            RiskName::RemovePod => Risk::RemovePod,
            RiskName::Destroy => Risk::Destroy,
        }
    }
}

/// Budgets and rates; what is absent is without limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// All pods together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Away>,
    /// The pods of each cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<Away>,
    /// Cells by name, in place of `cell`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cells: BTreeMap<String, Away>,
    /// The pods of each workload that owns pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Away>,
    /// How fast, all controllers together.
    pub rates: RateLimits,
}

/// How many pods of a scope may be away at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Away {
    /// A number, or a share of the scope's pods, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
}

/// Rates by risk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimits {
    /// Of [`Risk::Restart`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RateLimit>,
    /// Of [`Risk::RemovePod`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_pod: Option<RateLimit>,
    /// Of [`Risk::Destroy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroy: Option<RateLimit>,
}

/// So many at once, and so many per second over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimit {
    /// At once.
    pub burst: u32,
    /// Over time.
    pub per_second: u32,
}

impl From<RateLimit> for Rate {
    fn from(limit: RateLimit) -> Rate {
        Rate { burst: limit.burst, per_second: limit.per_second }
    }
}

/// A named set of limits and switches, prepared in quiet times. What it sets replaces what the Guard says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmergencyPlan {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: EmergencyPlanSpec,
}

impl Object for EmergencyPlan {
    const RESOURCE: Resource = Resource::cluster("knarr.dev", "v1alpha1", "emergencyplans", "EmergencyPlan");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// What an emergency plan changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmergencyPlanSpec {
    /// For whom and when.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The brake as the plan wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brake: Option<BrakeSpec>,
    /// Limits that replace the Guard's, one by one.
    pub limits: Limits,
}

/// Observed state of the guard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardStatus {
    /// Generation seen.
    pub observed_generation: i64,
    /// The brake in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brake: Option<BrakeStatus>,
    /// The plan in force.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub plan: String,
    /// What is wrong with the settings; empty when nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trouble: String,
    /// Plans held back now.
    pub held: i32,
    /// The first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// Pods away from workloads that want them.
    pub away: i32,
    /// The same by cell; cells without any are left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cells: BTreeMap<String, i32>,
}

/// A brake that is on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrakeStatus {
    /// Why.
    pub reason: String,
    /// Who has set it.
    pub by: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// A plan that is held back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hold {
    /// Whose plan.
    pub controller: String,
    /// For which object.
    pub object: String,
    /// The rule, the numbers, and the object that holds.
    pub reason: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// What is wrong with a Guard or an EmergencyPlan beyond its schema.
pub fn validate(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut fault = |field: &str, message: String| {
        causes.push(Cause { reason: "FieldValueInvalid".into(), field: field.to_owned(), message });
    };
    if object["kind"] == "Guard" && object["metadata"]["name"] != DEFAULT {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        fault(
            "metadata.name",
            format!("Invalid value: {name:?}: the only Guard that counts is named \"{DEFAULT}\""),
        );
    }
    let limits = &object["spec"]["limits"];
    let scopes = ["cluster", "cell", "workload"].map(|s| (s.to_owned(), &limits[s]));
    let cells =
        limits["cells"].as_object().into_iter().flatten().map(|(name, v)| (format!("cells[{name}]"), v));
    for (scope, away) in scopes.into_iter().chain(cells) {
        let value = &away["maxUnavailable"];
        let is_count = value.as_i64().is_some_and(|n| (0..=i64::from(i32::MAX)).contains(&n));
        let is_share = value
            .as_str()
            .and_then(IntOrPercent::parse_percent)
            .is_some_and(|p| matches!(p, IntOrPercent::Percent(n) if (0..=100).contains(&n)));
        if !value.is_null() && !is_count && !is_share {
            let field = format!("spec.limits.{scope}.maxUnavailable");
            fault(&field, format!("Invalid value: {value}: must be a count or a share of at most 100%"));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_that_mean_nothing_are_named() {
        let guard = json!({"kind": "Guard", "metadata": {"name": "mine"}, "spec": {"limits": {
            "cluster": {"maxUnavailable": -1}, "cell": {"maxUnavailable": "200%"}, "workload": {"maxUnavailable": "25%"},
            "cells": {"a": {"maxUnavailable": "five"}},
        }}});
        let fields: Vec<String> = validate(&guard).into_iter().map(|c| c.field).collect();
        let expected = [
            "metadata.name",
            "spec.limits.cluster.maxUnavailable",
            "spec.limits.cell.maxUnavailable",
            "spec.limits.cells[a].maxUnavailable",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_guard_reads_as_it_is_written() {
        let text = json!({"metadata": {"name": "default"}, "spec": {
            "brake": {"on": true, "by": "lin", "reason": "flood", "risk": "RemovePod"},
            "limits": {"cell": {"maxUnavailable": "10%"}, "rates": {"destroy": {"burst": 1, "perSecond": 1}}},
            "plan": "night",
        }});
        let guard: Guard = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(guard.spec.limits.cell.unwrap().max_unavailable, Some(IntOrPercent::Percent(10)));
        assert_eq!(serde_json::to_value(&guard.spec).unwrap(), text["spec"]);
    }
}
