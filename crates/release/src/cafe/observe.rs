//! What a decision about a CafeDeployment depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_core::{ControllerRevision, Node, Pod, ReplicaSet};
use api_meta::{Cause, Object, ObjectKey};
use api_workload::names::cafe as words;
use api_workload::{CafeDeployment, CafeDeploymentSpec, CloneSet, InPlaceSet, PodSetType};
use reconcile::{Permission, Plan, Thinker, Watch, World};
use serde_json::Value;
use stdx::Time;
use workload_kit::revision;

use super::groups;
use super::podset::{Maker, PodSet};

/// Everything a plan depends on; built only from caches.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The CafeDeployment.
    pub cafe: Arc<CafeDeployment>,
    /// Its desired state with defaults, or what is wrong with it.
    pub spec: Result<CafeDeploymentSpec, Vec<Cause>>,
    /// Its pod sets of the kind it asks for, in name order.
    pub sets: Vec<PodSet>,
    /// The pods of these sets, in name order.
    pub pods: Vec<SetPod>,
    /// Its revisions, oldest first.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// Names that a new revision might want and others have.
    pub taken: BTreeSet<String>,
    /// Names that its pod sets should have and others have.
    pub foreign: BTreeSet<String>,
    /// What is known of nodes, by name.
    pub nodes: BTreeMap<String, NodeFact>,
}

/// A pod and the set that owns it.
#[derive(Clone, Debug)]
pub struct SetPod {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its cell.
    pub cell: String,
    /// Name of its set.
    pub set: String,
}

/// A node as a release sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFact {
    /// Its cell, by the label of that unit.
    pub cell: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// Its condition Ready is True.
    pub is_ready: bool,
    /// It has the labels that the template's `nodeSelector` asks for. Taints and affinity are not looked at.
    pub is_meant: bool,
}

impl NodeFact {
    /// From a node, for pods of a template.
    pub fn of(node: &Node, template: &Value) -> NodeFact {
        let labels = &node.metadata.labels;
        let zone = labels.get(words::ZONE_LABEL).or_else(|| labels.get(words::ZONE_LABEL_FALLBACK));
        let ready = node.status.conditions.iter().find(|c| c.r#type == "Ready");
        let selector = template["spec"]["nodeSelector"].as_object();
        NodeFact {
            cell: labels.get(words::CELL_LABEL).cloned(),
            zone: zone.cloned(),
            is_ready: ready.is_some_and(|c| c.status == "True") && !node.metadata.is_terminating(),
            is_meant: selector
                .into_iter()
                .flatten()
                .all(|(k, v)| labels.get(k).map(String::as_str) == v.as_str()),
        }
    }
}

/// The CafeDeployment controller.
pub enum Controller {}

impl Thinker for Controller {
    type Primary = CafeDeployment;
    type Observed = Observed;
    const NAME: &'static str = "cafedeployment-controller";

    fn watches() -> Vec<Watch> {
        vec![
            Watch::owned::<InPlaceSet>(words::GROUP, "CafeDeployment"),
            Watch::owned::<CloneSet>(words::GROUP, "CafeDeployment"),
            Watch::owned::<ReplicaSet>(words::GROUP, "CafeDeployment"),
            Watch::owned::<ControllerRevision>(words::GROUP, "CafeDeployment"),
            Watch::mapped::<Pod>(|_, pod| {
                let name = pod.metadata.labels.get(words::NAME_LABEL);
                name.map(|n| ObjectKey::new(pod.metadata.namespace.clone(), n.clone())).into_iter().collect()
            }),
            // Nodes say much and often; a release that waits for them looks again by itself.
            Watch::silent::<Node>(),
        ]
    }

    fn permissions() -> Vec<Permission> {
        let rule = |group, resource, verbs| Permission { group, resource, verbs };
        vec![
            rule(words::GROUP, "cafedeployments", &["patch"]),
            rule(words::GROUP, "cafedeployments/status", &["patch"]),
            rule(words::GROUP, "cafedeployments/finalizers", &["update"]),
            rule(words::GROUP, "inplacesets", &["create", "patch", "delete"]),
            rule("apps.kruise.io", "clonesets", &["create", "patch", "delete"]),
            rule("apps", "replicasets", &["create", "patch", "delete"]),
            rule("apps", "controllerrevisions", &["create", "patch", "delete"]),
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let cafe = world.cache::<CafeDeployment>().get(key)?.clone();
        let uid = &cafe.metadata.uid;
        let spec = cafe.read_spec();
        let mut revisions: Vec<_> = world.cache::<ControllerRevision>().owned_by(uid).cloned().collect();
        revision::sort(&mut revisions);
        let nodes = world.cache::<Node>().iter();
        let mut seen = Observed {
            cafe: cafe.clone(),
            sets: Vec::new(),
            pods: Vec::new(),
            revisions,
            taken: BTreeSet::new(),
            foreign: BTreeSet::new(),
            nodes: nodes
                .map(|n| (n.metadata.name.clone(), NodeFact::of(n, &cafe.spec["template"])))
                .collect(),
            spec: Err(Vec::new()),
        };
        if let Ok(spec) = &spec {
            seen.gather(world, spec);
        }
        seen.spec = spec;
        Some(seen)
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        super::plan(seen, now)
    }
}

impl Observed {
    fn gather(&mut self, world: &World, spec: &CafeDeploymentSpec) {
        let uid = &self.cafe.metadata.uid;
        let owned: Vec<(String, PodSet)> = match spec.pod_set_type {
            PodSetType::InPlaceSet => sets(world, uid, PodSet::of_inplaceset),
            PodSetType::CloneSet => sets(world, uid, PodSet::of_cloneset),
            PodSetType::ReplicaSet => sets(world, uid, PodSet::of_replicaset),
            PodSetType::StatefulSet => Vec::new(),
        };
        for (uid, set) in owned {
            let pods = world.cache::<Pod>().owned_by(&uid);
            let member = |pod: &Arc<Pod>| SetPod {
                pod: pod.clone(),
                cell: set.cell.clone(),
                set: set.name().to_owned(),
            };
            self.pods.extend(pods.map(member));
            self.sets.push(set);
        }
        self.pods.sort_by(|a, b| a.pod.metadata.name.cmp(&b.pod.metadata.name));
        self.sets.sort_by(|a, b| a.name().cmp(b.name()));
        self.taken = self.taken_names(world, spec);
        self.foreign = self.foreign_names(world, spec);
    }

    fn taken_names(&self, world: &World, spec: &CafeDeploymentSpec) -> BTreeSet<String> {
        let meta = &self.cafe.metadata;
        let data = revision::data(&spec.template);
        let names = revision::candidate_names(&meta.name, &data, self.cafe.status.collision_count);
        let has = |name: &String| {
            let key = ObjectKey::new(meta.namespace.clone(), name.clone());
            let found = world.cache::<ControllerRevision>().get(&key);
            found.is_some_and(|r| r.metadata.controller().is_none_or(|o| o.uid != meta.uid))
        };
        names.into_iter().filter(has).collect()
    }

    /// Only for kinds with one set for each cell: the name of a ReplicaSet has a hash in it.
    fn foreign_names(&self, world: &World, spec: &CafeDeploymentSpec) -> BTreeSet<String> {
        let maker = Maker { cafe: &self.cafe, spec };
        let names = groups::cells(spec).into_iter().map(|cell| maker.name(&cell.name, ""));
        let namespace = &self.cafe.metadata.namespace;
        let is_foreign = |name: &String| {
            let key = ObjectKey::new(namespace.clone(), name.clone());
            match spec.pod_set_type {
                PodSetType::InPlaceSet => self.is_foreign::<InPlaceSet>(world, &key),
                PodSetType::CloneSet => self.is_foreign::<CloneSet>(world, &key),
                PodSetType::ReplicaSet | PodSetType::StatefulSet => false,
            }
        };
        names.filter(is_foreign).collect()
    }

    fn is_foreign<T: Object>(&self, world: &World, key: &ObjectKey) -> bool {
        let uid = &self.cafe.metadata.uid;
        let found = world.cache::<T>().get(key);
        found.is_some_and(|set| set.meta().controller().is_none_or(|o| o.uid != *uid))
    }
}

fn sets<T: Object>(world: &World, owner: &str, view: fn(&T) -> PodSet) -> Vec<(String, PodSet)> {
    world.cache::<T>().owned_by(owner).map(|set| (set.meta().uid.clone(), view(set))).collect()
}
