//! What the decision about a ReplicaSet depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_core::{Pod, ReplicaSet};
use api_meta::{ObjectKey, Selector};
use reconcile::{Failure, Thinker, World};

use crate::kit::Claims;
use crate::replicaset::ReplicaSets;

/// A ReplicaSet and what belongs to it.
pub struct Observed {
    /// The set.
    pub set: Arc<ReplicaSet>,
    /// Its pods by what is to be done with them.
    pub(crate) claims: Claims<Pod>,
    /// Active pods by node, of this set and of those under the same controller.
    pub crowds: BTreeMap<String, i32>,
    /// Names in the namespace that its pods cannot take.
    pub taken: BTreeSet<String>,
    /// What went wrong when the last plan was carried out.
    pub failure: Option<Failure>,
}

impl Observed {
    /// Looks around; nothing when the set is gone.
    pub(crate) fn of(world: &World, key: &ObjectKey) -> Option<Observed> {
        let set = world.cache::<ReplicaSet>().get(key)?.clone();
        let pods = world.cache::<Pod>();
        let claims = match selector(&set) {
            Some(selector) => Claims::of(pods, &set.metadata, &selector),
            None => Claims { kept: Vec::new(), adopted: Vec::new(), released: Vec::new() },
        };
        let prefix = format!("{}-", set.metadata.name);
        let taken = pods
            .in_namespace_from(&key.namespace, &prefix)
            .map(|p| p.metadata.name.clone())
            .take_while(|name| name.starts_with(&prefix))
            .collect();
        let crowds = crowds(world, &set);
        let failure = world.failure(ReplicaSets::NAME, key).cloned();
        Some(Observed { set, claims, crowds, taken, failure })
    }
}

/// The selector of a set; nothing when it is unreadable or would select everything, which validation forbids.
pub(crate) fn selector(set: &ReplicaSet) -> Option<Selector> {
    set.spec.selector.selector().ok().filter(|s| !s.is_empty())
}

fn crowds(world: &World, set: &ReplicaSet) -> BTreeMap<String, i32> {
    let pods = world.cache::<Pod>();
    let mut owners = BTreeSet::from([set.metadata.uid.clone()]);
    if let Some(owner) = set.metadata.controller() {
        let siblings = world.cache::<ReplicaSet>().owned_by(&owner.uid);
        owners.extend(siblings.map(|s| s.metadata.uid.clone()));
    }
    let mut crowds = BTreeMap::new();
    for pod in owners.iter().flat_map(|uid| pods.owned_by(uid)).filter(|p| p.is_active()) {
        *crowds.entry(pod.spec.node_name.clone()).or_default() += 1;
    }
    crowds
}
