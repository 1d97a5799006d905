//! A CafeDeployment as the story sees it: a partial view of the published status.

use api_meta::{Condition, Object, ObjectMeta, Resource};
use serde::Deserialize;

use super::pod::version_of;

/// Annotation by which a group is confirmed.
pub(crate) const CONFIRMED: &str = "cafe.sofastack.io/upgrade-confirmed";

/// What a release is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Phase {
    /// Nothing to do.
    Stable,
    /// A group is on its way.
    RollingOut,
    /// A group is done, the next waits for a person.
    WaitingForConfirmation,
    /// Paused by its user.
    Paused,
    /// On the way back to an earlier revision.
    RollingBack,
    /// Stopped by itself.
    Held,
    /// Not told, or a word this program does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What a group is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum GroupPhase {
    /// Its turn has not come.
    Planned,
    /// On its way.
    Running,
    /// Done, and the next waits for a person.
    WaitingForConfirmation,
    /// Done.
    Done,
    /// Not told, or a word this program does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What matters of a CafeDeployment for the story.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CafeSeen {
    /// Name.
    pub name: String,
    /// Generation of the wish, and the one its status is about.
    pub generation: (i64, i64),
    /// Version its template asks for.
    pub version: String,
    /// Pods wanted.
    pub replicas: i64,
    /// What it does.
    pub phase: Phase,
    /// Revision it moves to.
    pub update_revision: String,
    /// The group table.
    pub groups: Vec<GroupSeen>,
    /// The cells.
    pub cells: Vec<CellSeen>,
    /// Value of the annotation by which a group is confirmed; empty when there is none.
    pub confirmed: String,
    /// What it waits for, in its own words.
    pub waits: String,
    /// Why it failed, in its own words; empty when it did not.
    pub failed: String,
}

/// A group of a release.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupSeen {
    /// Place in the order.
    pub index: usize,
    /// `beta`, `group-1` …
    pub name: String,
    /// Pods of each cell.
    pub cells: Vec<Share>,
    /// What it does.
    pub phase: GroupPhase,
}

/// The pods of a cell in a group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Share {
    /// Cell.
    pub name: String,
    /// How many.
    pub pods: usize,
}

/// A cell of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CellSeen {
    /// Cell.
    pub name: String,
    /// Pods it has by now.
    pub current: i64,
    /// Of them in service.
    pub available: i64,
    /// Of them of the new revision.
    pub updated: i64,
    /// Fewest that must be in service.
    pub min_available: i64,
    /// Its nodes are gone.
    pub lost: bool,
}

impl GroupSeen {
    /// Pods over all cells.
    pub fn size(&self) -> usize {
        self.cells.iter().map(|c| c.pods).sum()
    }
}

impl CafeSeen {
    /// Whether its status is about the present wish and nothing is left to do.
    pub fn is_settled(&self) -> bool {
        self.generation.1 >= self.generation.0 && self.phase == Phase::Stable
    }

    /// Whether a person must confirm before it goes on.
    pub fn asks(&self) -> bool {
        self.generation.1 >= self.generation.0
            && self.phase == Phase::WaitingForConfirmation
            && self.confirmed == "false"
    }
}

/// A CafeDeployment on the wire.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CafeDeployment {
    metadata: ObjectMeta,
    spec: Spec,
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    replicas: i64,
    template: api_core::PodTemplateSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: i64,
    update_revision: String,
    phase: Phase,
    groups: Vec<GroupSeen>,
    cells: Vec<CellSeen>,
    waits_for: Option<Waits>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waits {
    reason: String,
    message: String,
}

impl Object for CafeDeployment {
    const RESOURCE: Resource =
        Resource::namespaced("apps.cafe.cloud.alipay.com", "v1alpha1", "cafedeployments", "CafeDeployment");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl From<CafeDeployment> for CafeSeen {
    fn from(cafe: CafeDeployment) -> CafeSeen {
        let CafeDeployment { metadata, spec, status } = cafe;
        let image = spec.template.spec.containers.first().map(|c| c.image.clone()).unwrap_or_default();
        let failed = status.conditions.into_iter().find(|c| c.r#type == "Failed" && c.status == "True");
        CafeSeen {
            generation: (metadata.generation, status.observed_generation),
            version: version_of(&image).to_owned(),
            replicas: spec.replicas,
            phase: status.phase,
            update_revision: status.update_revision,
            groups: status.groups,
            cells: status.cells,
            confirmed: metadata.annotations.get(CONFIRMED).cloned().unwrap_or_default(),
            waits: status.waits_for.map(|w| words(&w.reason, &w.message)).unwrap_or_default(),
            failed: failed.map(|c| words(&c.reason, &c.message)).unwrap_or_default(),
            name: metadata.name,
        }
    }
}

fn words(reason: &str, message: &str) -> String {
    if message.is_empty() { reason.to_owned() } else { message.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(cafe: serde_json::Value) -> CafeSeen {
        serde_json::from_value::<CafeDeployment>(cafe).unwrap().into()
    }

    #[test]
    fn a_status_about_an_earlier_wish_settles_nothing() {
        let at = |observed: i64| {
            seen(json!({"metadata": {"name": "shop", "generation": 3},
                        "status": {"observedGeneration": observed, "phase": "Stable"}}))
        };
        assert!(!at(2).is_settled());
        assert!(at(3).is_settled());
    }

    #[test]
    fn a_group_is_confirmed_only_when_it_asks() {
        let with = |value: Option<&str>| {
            let cafe = json!({"metadata": {"annotations": value.map(|v| json!({CONFIRMED: v})).unwrap_or(json!({}))},
                              "status": {"phase": "WaitingForConfirmation"}});
            seen(cafe).asks()
        };
        assert!(with(Some("false")));
        assert!(!with(Some("true")) && !with(None));
    }

    #[test]
    fn words_this_program_does_not_know_are_no_mistake() {
        let cafe = seen(json!({"status": {"phase": "Dreaming", "groups": [
            {"index": 1, "name": "group-1", "phase": "Odd", "cells": [{"name": "A", "pods": 2}, {"name": "B", "pods": 2}]}]}}));
        assert_eq!(
            (cafe.phase, cafe.groups[0].phase, cafe.groups[0].size()),
            (Phase::Unknown, GroupPhase::Unknown, 4)
        );
    }
}
