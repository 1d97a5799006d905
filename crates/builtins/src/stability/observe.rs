//! What there is in a namespace that asks for default stability, or did.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_core::{Deployment, Namespace, Node, PodDisruptionBudget};
use api_meta::ObjectKey;
use api_workload::names::cafe::CELL_LABEL;
use api_workload::{CafeDeployment, CloneSet, InPlaceSet};
use reconcile::World;

use crate::stability::workload::{SpreadBy, Workload};
use crate::stability::{STABILITY, is_ours};

/// A namespace, its workloads and its budgets.
#[derive(Default)]
pub struct Observed {
    /// It is going away: everything in it goes by itself.
    pub(crate) is_terminating: bool,
    /// It asks for default stability.
    pub(crate) is_enabled: bool,
    /// Its workloads: those that nobody owns, and the sets of CafeDeployments. By kind and name.
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
        let deployments = world.cache::<Deployment>().in_namespace(name).map(|w| Workload::of_deployment(w));
        let clonesets = world.cache::<CloneSet>().in_namespace(name).map(|w| Workload::of_cloneset(w));
        let inplacesets = world.cache::<InPlaceSet>().in_namespace(name).map(|w| Workload::of_inplaceset(w));
        let cafes = world.cache::<CafeDeployment>().in_namespace(name).map(|w| Workload::of_cafe(w));
        let cafes: Vec<Workload> = cafes.flatten().filter(|w| w.owner.is_none()).collect();
        let others = deployments.chain(clonesets).chain(inplacesets).flatten();
        seen.workloads = others.filter_map(|w| in_its_place(w, &cafes)).collect();
        seen.workloads.extend(cafes);
        let cells: BTreeSet<&String> =
            world.cache::<Node>().iter().filter_map(|n| n.metadata.labels.get(CELL_LABEL)).collect();
        seen.cells = cells.len();
        Some(seen)
    }
}

/// A workload that nobody owns, or a set of a CafeDeployment, which says for it whether it wants anything and how it spreads.
fn in_its_place(workload: Workload, cafes: &[Workload]) -> Option<Workload> {
    let Some(owner) = &workload.owner else { return Some(workload) };
    let cafe = cafes.iter().find(|c| c.target.uid == *owner && c.has_sets)?;
    Some(Workload {
        is_off: workload.is_off || cafe.is_off,
        is_terminating: workload.is_terminating || cafe.is_terminating,
        spread: SpreadBy::Kind,
        ..workload
    })
}

/// Whether a namespace asks for default stability.
pub(crate) fn asks(namespace: &Namespace) -> bool {
    let meta = &namespace.metadata;
    meta.labels.get(STABILITY).is_some_and(|v| v == "enabled")
        && meta.annotations.get(STABILITY).is_none_or(|v| v != "disabled")
}
