//! A workload, as far as its protection goes, whatever its kind.

use std::collections::BTreeMap;

use api_core::Deployment;
use api_meta::{LabelSelector, Object, OwnerReference, Resource};
use api_workload::{CafeDeployment, CloneSet, InPlaceSet};
use reconcile::Target;
use serde::Deserialize;
use serde_json::Value;

use crate::stability::STABILITY;

/// A workload of any of the kinds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workload {
    /// Its kind.
    pub resource: Resource,
    /// It, in the version seen.
    pub target: Target,
    /// Pods wanted.
    pub replicas: i32,
    /// Its pods.
    pub selector: LabelSelector,
    /// Labels its pods are born with.
    pub labels: BTreeMap<String, String>,
    /// Identity of the workload that owns it, and is protected in its place unless it is a CafeDeployment.
    pub owner: Option<String>,
    /// Its pods are protected by its sets, cell by cell.
    pub has_sets: bool,
    /// It wants no default stability.
    pub is_off: bool,
    /// It is going away.
    pub is_terminating: bool,
    /// How its pods are spread.
    pub spread: SpreadBy,
    /// It has no pods, and none can come of the version seen.
    pub is_empty: bool,
}

/// Who says how pods are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpreadBy {
    /// The template: constraints or affinity.
    Template,
    /// The kind itself: over cells.
    Kind,
    /// Nobody but the scheduler.
    Nobody,
}

impl Workload {
    /// A Deployment; nothing when its selector selects everything.
    pub(crate) fn of_deployment(deployment: &Deployment) -> Option<Workload> {
        let (spec, status) = (&deployment.spec, &deployment.status);
        let replicas = spec.replicas.unwrap_or(1);
        let none_comes = replicas == 0 || spec.paused;
        let is_empty = none_comes && status.replicas == 0 && status.terminating_replicas.unwrap_or(0) == 0;
        Workload::new(deployment, replicas, spec.selector.clone(), &spec.template, is_empty)
    }

    /// A CloneSet; see [`Workload::of_deployment`].
    pub(crate) fn of_cloneset(set: &CloneSet) -> Option<Workload> {
        Workload::of_wire(set, &set.spec, set.status.replicas)
    }

    /// An InPlaceSet; see [`Workload::of_deployment`].
    pub(crate) fn of_inplaceset(set: &InPlaceSet) -> Option<Workload> {
        Workload::of_wire(set, &set.spec, set.status.replicas)
    }

    /// A CafeDeployment, which spreads over cells by itself; see [`Workload::of_deployment`].
    pub(crate) fn of_cafe(cafe: &CafeDeployment) -> Option<Workload> {
        let workload = Workload::of_wire(cafe, &cafe.spec, cafe.status.replicas)?;
        let has_sets = cafe.spec["podSetType"] != "ReplicaSet";
        Some(Workload { spread: SpreadBy::Kind, has_sets, ..workload })
    }

    fn of_wire<T: Object>(workload: &T, spec: &Value, pods: i32) -> Option<Workload> {
        let replicas = spec["replicas"].as_i64().map_or(1, |n| i32::try_from(n).unwrap_or(i32::MAX));
        let selector = LabelSelector::deserialize(&spec["selector"]).ok()?;
        Workload::new(workload, replicas, selector, &spec["template"], replicas == 0 && pods == 0)
    }

    fn new<T: Object>(
        workload: &T,
        replicas: i32,
        selector: LabelSelector,
        template: &Value,
        is_empty: bool,
    ) -> Option<Workload> {
        selector.selector().ok().filter(|s| !s.is_empty())?;
        let meta = workload.meta();
        let labels = template["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        Some(Workload {
            resource: T::RESOURCE,
            target: Target::at(workload),
            replicas,
            selector,
            labels: labels.collect(),
            owner: meta.controller().map(|o| o.uid.clone()),
            has_sets: false,
            is_off: meta.annotations.get(STABILITY).is_some_and(|v| v == "disabled"),
            is_terminating: meta.is_terminating(),
            spread: if says(&template["spec"]) { SpreadBy::Template } else { SpreadBy::Nobody },
            is_empty,
        })
    }

    /// The reference by which the workload controls its budget. It does not block the workload's deletion: on clusters that
    /// guard such references this would need a right over every workload.
    pub(crate) fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.resource.api_version(),
            kind: self.resource.kind.to_string(),
            name: self.target.key.name.clone(),
            uid: self.target.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }
}

/// Whether a pod's spec says anything about its place among other pods, or on which nodes it must be.
fn says(spec: &Value) -> bool {
    let has = |field: &str| match &spec[field] {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    };
    has("topologySpreadConstraints") || has("affinity")
}
