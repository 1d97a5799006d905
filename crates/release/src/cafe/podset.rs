//! Pod sets of the three kinds, seen alike: what they keep, and the writes that change it.

use std::sync::Arc;

use api_core::{ReplicaSet, drain};
use api_meta::{Object, OwnerReference, Resource};
use api_workload::names::cafe as words;
use api_workload::{
    CafeDeployment, CafeDeploymentSpec, CloneSet, InPlaceSet, PodSetType, UnitType, set_suffix,
};
use reconcile::{Action, Form, Risk, Target};
use serde_json::{Map, Value, json};

/// A pod set of a CafeDeployment, whatever its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSet {
    /// The object in the version seen.
    pub target: Target,
    /// Cell whose pods it keeps.
    pub cell: String,
    /// Revision of the CafeDeployment that its template is made from.
    pub revision: String,
    /// Pods it keeps.
    pub replicas: i32,
    /// Of these, at the revision before.
    pub partition: i32,
    /// Time in readiness before a pod is available.
    pub min_ready_seconds: i32,
    /// Its template, whole.
    pub template: Value,
    /// It is being deleted.
    pub is_terminating: bool,
    /// Pods that its own controller counts; unknown until it has seen this version of the set.
    pub counted: Option<i32>,
    /// The revision of its own that it brings pods to, as its controller names it; empty where there is none.
    pub update_revision: String,
}

impl PodSet {
    /// From an InPlaceSet.
    pub fn of_inplaceset(set: &InPlaceSet) -> PodSet {
        let strategy = &set.spec["strategy"];
        let own = set.status.update_revision.clone();
        let found = PodSet::new(
            set,
            &set.spec,
            count(&strategy["partition"], 0),
            (set.status.observed_generation, set.status.replicas),
        );
        PodSet { update_revision: own, ..found }
    }

    /// From a CloneSet.
    pub fn of_cloneset(set: &CloneSet) -> PodSet {
        let rolling = &set.spec["updateStrategy"]["rollingUpdate"];
        let own = set.status.update_revision.clone();
        let found = PodSet::new(
            set,
            &set.spec,
            count(&rolling["partition"], 0),
            (set.status.observed_generation, set.status.replicas),
        );
        PodSet { update_revision: own, ..found }
    }

    /// From a ReplicaSet.
    pub fn of_replicaset(set: &ReplicaSet) -> PodSet {
        let spec = json!({
            "replicas": set.spec.replicas,
            "minReadySeconds": set.spec.min_ready_seconds,
            "template": set.spec.template,
        });
        PodSet::new(set, &spec, 0, (set.status.observed_generation, set.status.replicas))
    }

    fn new<T: Object>(object: &T, spec: &Value, partition: i32, (seen, pods): (i64, i32)) -> PodSet {
        let meta = object.meta();
        let labels = &spec["template"]["metadata"]["labels"];
        PodSet {
            target: Target::at(object),
            cell: meta.labels.get(words::UNIT_LABEL).cloned().unwrap_or_default(),
            revision: labels[words::REVISION_LABEL].as_str().unwrap_or_default().to_owned(),
            replicas: count(&spec["replicas"], 1),
            partition,
            min_ready_seconds: count(&spec["minReadySeconds"], 0),
            template: spec["template"].clone(),
            is_terminating: meta.is_terminating(),
            update_revision: String::new(),
            counted: (seen >= meta.generation).then_some(pods),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.target.key.name
    }
}

fn count(value: &Value, absent: i32) -> i32 {
    value.as_i64().map_or(absent, |n| i32::try_from(n).unwrap_or(i32::MAX))
}

/// What a pod set shall be like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub replicas: i32,
    pub partition: i32,
    pub template: Value,
    pub min_ready_seconds: i32,
}

/// Makes pod sets of one CafeDeployment.
pub(super) struct Maker<'a> {
    pub cafe: &'a Arc<CafeDeployment>,
    pub spec: &'a CafeDeploymentSpec,
}

impl Maker<'_> {
    pub(super) fn resource(&self) -> Resource {
        match self.spec.pod_set_type {
            PodSetType::CloneSet => CloneSet::RESOURCE,
            PodSetType::ReplicaSet => ReplicaSet::RESOURCE,
            PodSetType::InPlaceSet | PodSetType::StatefulSet => InPlaceSet::RESOURCE,
        }
    }

    /// Name of the pod set of a cell; ReplicaSets are one for each revision.
    pub(super) fn name(&self, cell: &str, revision: &str) -> String {
        let base = format!("{}-{}", self.cafe.metadata.name, set_suffix(cell));
        match self.spec.pod_set_type {
            PodSetType::ReplicaSet => format!("{base}-{}", workload_kit::revision::short(revision)),
            _ => base,
        }
    }

    /// A template of the CafeDeployment as the pods of a cell get it: kept in the cell, labelled with cell and revision.
    pub(super) fn template(&self, template: &Value, cell: &str, revision: &str) -> Value {
        let mut template = template.clone();
        template["metadata"]["labels"][words::UNIT_LABEL] = json!(cell);
        template["metadata"]["labels"][words::NAME_LABEL] = json!(self.cafe.metadata.name);
        template["metadata"]["labels"][words::REVISION_LABEL] = json!(revision);
        if !self.spec.traffic.is_empty() {
            let name = |t: &String| (format!("Traffic/{t}"), json!(drain::protection_of(t)));
            let expected: Map<String, Value> = self.spec.traffic.iter().map(name).collect();
            let text = json!({"expectedFinalizers": expected}).to_string();
            template["metadata"]["annotations"][drain::AVAILABLE_CONDITIONS] = json!(text);
        }
        keep_in(&mut template, self.spec.topology.unit_type, cell);
        if self.spec.pod_set_type == PodSetType::ReplicaSet {
            add_gate(&mut template, drain::SERVICE_READY);
        }
        template
    }

    pub(super) fn create(&self, cell: &str, revision: &str, wanted: &Wanted) -> Action {
        let resource = self.resource();
        let meta = &self.cafe.metadata;
        let mut labels = json!(meta.labels);
        labels[words::UNIT_LABEL] = json!(cell);
        labels[words::NAME_LABEL] = json!(meta.name);
        let mut selector = json!(self.spec.selector);
        selector["matchLabels"][words::UNIT_LABEL] = json!(cell);
        if self.spec.pod_set_type == PodSetType::ReplicaSet {
            selector["matchLabels"][words::REVISION_LABEL] = json!(revision);
        }
        let mut spec = json!({
            "replicas": wanted.replicas,
            "selector": selector,
            "template": wanted.template,
            "minReadySeconds": wanted.min_ready_seconds,
        });
        self.set_partition(&mut spec, wanted.partition);
        let body = json!({
            "apiVersion": resource.api_version(),
            "kind": resource.kind,
            "metadata": {
                "name": self.name(cell, revision),
                "namespace": meta.namespace,
                "labels": labels,
                "ownerReferences": [owner_reference(self.cafe)],
            },
            "spec": spec,
        });
        Action::Create { resource, body }
    }

    /// Brings a set to what is wanted; nothing when it is so. A template is told by its revision, because servers fill
    /// in defaults.
    pub(super) fn change(&self, set: &PodSet, wanted: &Wanted) -> Option<Action> {
        let mut spec = json!({});
        if set.replicas != wanted.replicas {
            spec["replicas"] = json!(wanted.replicas);
        }
        if set.min_ready_seconds != wanted.min_ready_seconds {
            spec["minReadySeconds"] = json!(wanted.min_ready_seconds);
        }
        if self.spec.pod_set_type != PodSetType::ReplicaSet {
            if set.partition != wanted.partition {
                self.set_partition(&mut spec, wanted.partition);
            }
            if !is_template(&set.template, &wanted.template) {
                spec["template"] = difference(&set.template, &wanted.template);
            }
        }
        if spec == json!({}) {
            return None;
        }
        let body = json!({ "spec": spec });
        Some(Action::Patch {
            target: set.target.clone(),
            subresource: "",
            form: Form::Merge,
            body,
            risk: Risk::None,
        })
    }

    fn set_partition(&self, spec: &mut Value, partition: i32) {
        match self.spec.pod_set_type {
            PodSetType::ReplicaSet => {}
            // The partition is the budget: the set's own would make a group wait for pods outside of it.
            PodSetType::CloneSet => {
                spec["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {
                    "podUpdatePolicy": "InPlaceIfPossible", "partition": partition,
                    "maxUnavailable": "100%", "maxSurge": 0,
                }});
            }
            PodSetType::InPlaceSet | PodSetType::StatefulSet => {
                spec["strategy"] = json!({"partition": partition});
            }
        }
    }

    /// Deletes a set that keeps no pods.
    pub(super) fn delete(&self, set: &PodSet) -> Action {
        Action::Delete {
            target: set.target.clone(),
            grace_seconds: None,
            propagation: None,
            risk: Risk::None,
        }
    }
}

/// How the pod sets and revisions of a CafeDeployment refer to it.
pub(super) fn owner_reference(cafe: &CafeDeployment) -> OwnerReference {
    OwnerReference {
        api_version: CafeDeployment::RESOURCE.api_version(),
        kind: CafeDeployment::RESOURCE.kind.to_string(),
        name: cafe.metadata.name.clone(),
        uid: cafe.metadata.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Adds the cell to every alternative of the required node affinity.
fn keep_in(template: &mut Value, unit: UnitType, cell: &str) {
    let is = |key: &str| json!({"key": key, "operator": "In", "values": [cell]});
    let ways = match unit {
        UnitType::None => return,
        UnitType::Cell => vec![vec![is(words::CELL_LABEL)]],
        UnitType::Zone => vec![
            vec![is(words::ZONE_LABEL)],
            vec![
                json!({"key": words::ZONE_LABEL, "operator": "DoesNotExist"}),
                is(words::ZONE_LABEL_FALLBACK),
            ],
        ],
    };
    let required =
        &mut template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = required["nodeSelectorTerms"].as_array().cloned().unwrap_or_default();
    let terms = if terms.is_empty() { vec![json!({})] } else { terms };
    let with = |term: &Value, way: &[Value]| {
        let mut term = term.clone();
        let mut all = term["matchExpressions"].as_array().cloned().unwrap_or_default();
        all.extend(way.iter().cloned());
        term["matchExpressions"] = json!(all);
        term
    };
    let all: Vec<Value> =
        terms.iter().flat_map(|t| ways.iter().map(|w| with(t, w)).collect::<Vec<_>>()).collect();
    required["nodeSelectorTerms"] = json!(all);
}

fn add_gate(template: &mut Value, gate: &str) {
    let gates = &mut template["spec"]["readinessGates"];
    let mut all = gates.as_array().cloned().unwrap_or_default();
    if !all.iter().any(|g| g["conditionType"] == gate) {
        all.push(json!({ "conditionType": gate }));
    }
    *gates = json!(all);
}

/// Whether a template is the wanted one, as far as a server may have filled in defaults: the same revision, kept in the
/// same cell, with the same traffic.
fn is_template(held: &Value, wanted: &Value) -> bool {
    let same = |path: &str| held.pointer(path) == wanted.pointer(path);
    let label = words::REVISION_LABEL.replace('/', "~1");
    same(&format!("/metadata/labels/{label}"))
        && same(&format!("/metadata/annotations/{}", drain::AVAILABLE_CONDITIONS.replace('/', "~1")))
        && same("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution")
}

/// The merge patch that makes `old` into `new`: members that are no longer there become null, lists are replaced whole.
pub(super) fn difference(old: &Value, new: &Value) -> Value {
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else { return new.clone() };
    let mut patch = Map::new();
    for key in before.keys().filter(|k| !after.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        match before.get(key) {
            Some(same) if same == value => {}
            Some(other) => {
                patch.insert(key.clone(), difference(other, value));
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_kept_in_its_cell_whatever_else_it_asks_of_nodes() {
        let disk = json!({"key": "disk", "operator": "In", "values": ["ssd"]});
        let mut template = json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [disk]}, {"matchFields": []}]}}}}});
        keep_in(&mut template, UnitType::Cell, "CellA");
        let terms = &template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            ["nodeSelectorTerms"];
        expect_test::expect![[r#"[{"matchExpressions":[{"key":"disk","operator":"In","values":["ssd"]},{"key":"cafe.sofastack.io/cell","operator":"In","values":["CellA"]}]},{"matchExpressions":[{"key":"cafe.sofastack.io/cell","operator":"In","values":["CellA"]}],"matchFields":[]}]"#]]
            .assert_eq(&terms.to_string());
    }

    #[test]
    fn a_zone_falls_back_to_the_label_of_kubernetes() {
        let mut template = json!({});
        keep_in(&mut template, UnitType::Zone, "z1");
        expect_test::expect![[r#"{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"cafe.sofastack.io/zone","operator":"In","values":["z1"]}]},{"matchExpressions":[{"key":"cafe.sofastack.io/zone","operator":"DoesNotExist"},{"key":"topology.kubernetes.io/zone","operator":"In","values":["z1"]}]}]}}}}"#]]
            .assert_eq(&template["spec"].to_string());
    }

    #[test]
    fn a_difference_says_what_is_gone() {
        let old = json!({"a": {"x": 1, "y": [1]}, "b": 2, "c": 3});
        let new = json!({"a": {"x": 1, "y": [2]}, "c": 3, "d": 4});
        assert_eq!(difference(&old, &new), json!({"a": {"y": [2]}, "b": null, "d": 4}));
    }
}
