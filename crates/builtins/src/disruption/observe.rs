//! What a budget's status depends on.

use std::sync::Arc;

use api_core::{Pod, PodDisruptionBudget};
use api_meta::ObjectKey;
use reconcile::World;

use crate::disruption::owners::{self, Scale};

/// A budget, its pods and how many of them there should be.
pub struct Observed {
    /// The budget.
    pub budget: Arc<PodDisruptionBudget>,
    /// The pods it covers, in name order.
    pub pods: Vec<Arc<Pod>>,
    /// What the controllers of the pods want.
    pub scale: Scale,
}

impl Observed {
    /// Looks around; nothing when the budget is gone.
    pub(crate) fn of<const OURS: bool>(world: &World, key: &ObjectKey) -> Option<Observed> {
        let budget = world.cache::<PodDisruptionBudget>().get(key)?.clone();
        let all = world.cache::<Pod>().in_namespace(&key.namespace);
        let pods: Vec<Arc<Pod>> = all.filter(|pod| covers(&budget, pod)).cloned().collect();
        let scale = owners::scale::<OURS>(world, &pods);
        Some(Observed { budget, pods, scale })
    }
}

/// Whether a budget covers a pod. No selector covers nothing, an empty one everything; an unreadable one nothing.
pub(crate) fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.selector.as_ref().and_then(|s| s.selector().ok());
    selector.is_some_and(|s| s.matches(&pod.metadata.labels))
}
