//! What there is in a namespace that asks for default stability, or did.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_core::{Deployment, Namespace, Node, PodDisruptionBudget};
use api_meta::ObjectKey;
use api_workload::names::cafe::CELL_LABEL;
use api_workload::{CafeDeployment, CloneSet, InPlaceSet};
use reconcile::World;

use crate::stability::workload::Workload;
use crate::stability::{STABILITY, is_ours};

/// A namespace, its workloads and its budgets.
#[derive(Default)]
pub struct Observed {
    /// It is going away: everything in it goes by itself.
    pub(crate) is_terminating: bool,
    /// It asks for default stability.
    pub(crate) is_enabled: bool,
    /// Its workloads: those that own pods, and CafeDeployments in place of their sets. By kind and name.
    pub(crate) workloads: Vec<Workload>,
    /// Budgets made here, in name order.
    pub(crate) ours: Vec<Arc<PodDisruptionBudget>>,
    /// Budgets of others, in name order.
    pub(crate) foreign: Vec<Arc<PodDisruptionBudget>>,
    /// Cells that nodes are in.
    pub(crate) cells: usize,
}

impl Observed {
    /// Looks around; nothing when the namespace is gone.
    pub(crate) fn of(world: &World, key: &ObjectKey) -> Option<Observed> {
        let namespace = world.cache::<Namespace>().get(key)?;
        let name = key.name.as_str();
        let budgets = world.cache::<PodDisruptionBudget>().in_namespace(name).cloned();
        let (ours, foreign): (Vec<_>, Vec<_>) = budgets.partition(|b| is_ours(b));
        let is_enabled = asks(namespace);
        let mut seen = Observed {
            is_terminating: namespace.metadata.is_terminating(),
            is_enabled,
            ours,
            foreign,
            ..Observed::default()
        };
        if !is_enabled && seen.ours.is_empty() {
            return Some(seen);
        }
        let alone = |w: &Workload| !w.is_owned;
        let deployments = world.cache::<Deployment>().in_namespace(name).map(|w| Workload::of_deployment(w));
        let clonesets = world.cache::<CloneSet>().in_namespace(name).map(|w| Workload::of_cloneset(w));
        let inplacesets = world.cache::<InPlaceSet>().in_namespace(name).map(|w| Workload::of_inplaceset(w));
        let cafes = world.cache::<CafeDeployment>().in_namespace(name).map(|w| Workload::of_cafe(w));
        let all = deployments.chain(clonesets).chain(inplacesets).chain(cafes);
        seen.workloads = all.flatten().filter(alone).collect();
        let cells: BTreeSet<&String> =
            world.cache::<Node>().iter().filter_map(|n| n.metadata.labels.get(CELL_LABEL)).collect();
        seen.cells = cells.len();
        Some(seen)
    }
}

/// Whether a namespace asks for default stability.
pub(crate) fn asks(namespace: &Namespace) -> bool {
    let meta = &namespace.metadata;
    meta.labels.get(STABILITY).is_some_and(|v| v == "enabled")
        && meta.annotations.get(STABILITY).is_none_or(|v| v != "disabled")
}
