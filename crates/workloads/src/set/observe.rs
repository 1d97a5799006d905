//! What a decision about a set depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_core::{ControllerRevision, Node, PersistentVolumeClaim, Pod};
use api_meta::{Cause, ObjectKey, ObjectMeta, Resource, Round};
use api_workload::{CloneSetSpec, CloneSetStatus};
use reconcile::{Failure, Target, World};
use serde_json::Value;
use workload_kit::{ids, podfact, revision};

/// The set itself, whatever its kind.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its kind.
    pub resource: Resource,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its status as last written, in the form that has all fields of all kinds.
    pub status: CloneSetStatus,
    /// How its kind writes a status.
    pub form: fn(&CloneSetStatus) -> Value,
}

impl Set {
    /// The set in exactly the version seen.
    pub(super) fn target(&self) -> Target {
        Target {
            resource: self.resource.clone(),
            key: self.metadata.key(),
            uid: self.metadata.uid.clone(),
            revision: Some(self.metadata.revision()),
        }
    }
}

/// Everything a plan depends on; built only from caches.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The set.
    pub set: Set,
    /// Its desired state with defaults, or what is wrong with it.
    pub spec: Result<CloneSetSpec, Vec<Cause>>,
    /// Its active pods.
    pub pods: Vec<Arc<Pod>>,
    /// Its pods that have ended or are ending.
    pub leaving: Vec<Arc<Pod>>,
    /// Its active pods that no longer match the selector.
    pub strays: Vec<Arc<Pod>>,
    /// Its revisions, oldest first.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// Names that a new revision might want and others have.
    pub taken: BTreeSet<String>,
    /// Its volume claims that are not ending.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Ids for new pods, as many as could be needed; ids of claims to be reused come first.
    pub ids: Vec<String>,
    /// Labels of the nodes that its pods are on; only when it spreads over topologies.
    pub nodes: BTreeMap<String, BTreeMap<String, String>>,
    /// Why the last plan could not be carried out.
    pub failure: Option<Failure>,
}

impl Observed {
    /// Gathers what belongs to the set. `claims` are the volume claims that it owns, for kinds that have any.
    pub(crate) fn of(
        world: &World,
        set: Set,
        spec: Result<CloneSetSpec, Vec<Cause>>,
        claims: Vec<Arc<PersistentVolumeClaim>>,
        failure: Option<Failure>,
    ) -> Observed {
        let mut revisions: Vec<_> =
            world.cache::<ControllerRevision>().owned_by(&set.metadata.uid).cloned().collect();
        revision::sort(&mut revisions);
        let mut seen = Observed {
            set,
            spec: Err(Vec::new()),
            pods: Vec::new(),
            leaving: Vec::new(),
            strays: Vec::new(),
            revisions,
            taken: BTreeSet::new(),
            claims,
            ids: Vec::new(),
            nodes: BTreeMap::new(),
            failure,
        };
        if let Ok(spec) = &spec {
            seen.gather(world, spec);
        }
        seen.spec = spec;
        seen
    }

    fn gather(&mut self, world: &World, spec: &CloneSetSpec) {
        let uid = &self.set.metadata.uid;
        let selector = spec.selector.selector().unwrap_or_default();
        for pod in world.cache::<Pod>().owned_by(uid) {
            let list = match pod.is_active() {
                false => &mut self.leaving,
                true if selector.matches(&pod.metadata.labels) => &mut self.pods,
                true => &mut self.strays,
            };
            list.push(pod.clone());
        }
        self.ids = self.free_ids(world, spec);
        self.taken = self.taken_names(world, spec);
        if !super::pods::topologies(&spec.template).is_empty() {
            let nodes = self.pods.iter().map(|p| ObjectKey::new("", p.spec.node_name.clone()));
            let known = nodes.filter_map(|key| world.cache::<Node>().get(&key));
            self.nodes = known.map(|n| (n.metadata.name.clone(), n.metadata.labels.clone())).collect();
        }
    }

    /// Ids that no pod has: those of claims left over first, when these are to be reused, then new ones. New ones follow
    /// from the identity and the version of the set, so that a repeated plan names the same pods.
    fn free_ids(&self, world: &World, spec: &CloneSetSpec) -> Vec<String> {
        let meta = &self.set.metadata;
        let all = self.pods.iter().chain(&self.leaving).chain(&self.strays);
        let in_use: BTreeSet<&str> = all.filter_map(|p| podfact::instance_id(&p.metadata.labels)).collect();
        let orphaned = self.claims.iter().filter_map(|c| podfact::instance_id(&c.metadata.labels));
        let orphaned: BTreeSet<&str> = orphaned.filter(|id| !in_use.contains(id)).collect();
        let surge =
            spec.update_strategy.rolling_update.max_surge.map_or(0, |s| s.of(spec.replicas, Round::Up));
        let wanted = usize::try_from(spec.replicas.saturating_add(surge)).unwrap_or(0);
        let missing = wanted.saturating_sub(self.pods.len()).min(super::pods::CREATE_MAX);
        let is_taken = |id: &str| {
            let key = ObjectKey::new(meta.namespace.clone(), super::pods::name(&meta.name, id));
            in_use.contains(id) || world.cache::<Pod>().get(&key).is_some()
        };
        let reused: Vec<String> = match spec.scale_strategy.enable_pvc_reuse {
            true => orphaned.into_iter().filter(|id| !is_taken(id)).map(str::to_owned).collect(),
            false => Vec::new(),
        };
        let seed = format!("{}/{}", meta.uid, meta.resource_version);
        let fresh = ids::fresh(&seed, missing, |id| is_taken(id) || reused.iter().any(|r| r == id));
        reused.into_iter().chain(fresh).take(missing).collect()
    }

    fn taken_names(&self, world: &World, spec: &CloneSetSpec) -> BTreeSet<String> {
        let data = revision::data(&spec.template);
        let meta = &self.set.metadata;
        let candidates = revision::candidate_names(&meta.name, &data, self.set.status.collision_count);
        let exists = |name: &String| {
            let key = ObjectKey::new(meta.namespace.clone(), name.clone());
            world.cache::<ControllerRevision>().get(&key).is_some()
        };
        candidates.into_iter().filter(exists).collect()
    }
}
