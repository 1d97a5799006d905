//! What the decision about a Deployment depends on.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::{Deployment, Pod, ReplicaSet};
use api_meta::{ObjectKey, Selector};
use reconcile::{Failure, Thinker, World};

use crate::deployment::Deployments;
use crate::kit::Claims;

/// A Deployment and what belongs to it.
pub struct Observed {
    /// The Deployment.
    pub deployment: Arc<Deployment>,
    /// Its ReplicaSets by what is to be done with them.
    pub(crate) claims: Claims<ReplicaSet>,
    /// A ReplicaSet of another owner, or of another template, has the name of the next one.
    pub name_taken: bool,
    /// Pods of the ReplicaSets, by the uid of theirs, that have not ended.
    pub pods: BTreeMap<String, Vec<Arc<Pod>>>,
    /// What went wrong when the last plan was carried out.
    pub failure: Option<Failure>,
}

impl Observed {
    /// Looks around; nothing when the Deployment is gone.
    pub(crate) fn of(world: &World, key: &ObjectKey) -> Option<Observed> {
        let deployment = world.cache::<Deployment>().get(key)?.clone();
        let sets = world.cache::<ReplicaSet>();
        let claims = match selector(&deployment) {
            Some(selector) => Claims::of(sets, &deployment.metadata, &selector),
            None => Claims { kept: Vec::new(), adopted: Vec::new(), released: Vec::new() },
        };
        let next = ObjectKey::new(&*key.namespace, super::sets::next_name(&deployment));
        let name_taken = sets.get(&next).is_some();
        let all = world.cache::<Pod>();
        let pods_of = |set: &Arc<ReplicaSet>| {
            let uid = &set.metadata.uid;
            (uid.clone(), all.owned_by(uid).filter(|pod| !pod.is_finished()).cloned().collect())
        };
        let pods = claims.kept.iter().chain(&claims.adopted).map(pods_of).collect();
        let failure = world.failure(Deployments::NAME, key).cloned();
        Some(Observed { deployment, claims, name_taken, pods, failure })
    }
}

/// The selector of a Deployment; nothing when it is unreadable or selects everything.
pub(crate) fn selector(deployment: &Deployment) -> Option<Selector> {
    deployment.spec.selector.selector().ok().filter(|s| !s.is_empty())
}
