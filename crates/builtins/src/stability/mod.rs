//! Default stability: in namespaces that ask for it, workloads of two or more replicas that declare no protection get one.
//!
//! ```text
//! namespace labelled knarr.dev/default-stability=enabled
//!   workload without a disruption budget ──> a budget of ours, owned by it          kept in step, taken back
//!   workload without a word on spreading ──> constraints in its template            only where no pod can be touched by it
//! ```
//!
//! The annotation `knarr.dev/default-stability: disabled`, on a workload or on the namespace, ends it and takes our budgets
//! back. A budget of anybody else over the same pods ends ours: two over one pod make its eviction an error.
//! Which kinds declare a maxUnavailable by themselves, and why nothing is added there: docs/adr/2026-11-28-default-stability.md.
//! What is absent: StatefulSets and DaemonSets (both go one pod at a time), and any change that would roll pods out.

mod budget;
mod observe;
mod spread;
#[cfg(test)]
mod tests;
mod workload;

use api_core::{Deployment, Namespace, Node, PodDisruptionBudget};
use api_meta::{Object, ObjectKey};
use api_workload::{CafeDeployment, CloneSet, InPlaceSet};
use reconcile::{Permission, Plan, Thinker, Watch, World};
use stdx::Time;

pub use observe::Observed;

/// Label of a namespace (`enabled`) and of what is made because of it (`true`); annotation that ends it (`disabled`).
pub const STABILITY: &str = "knarr.dev/default-stability";

/// Protects workloads that declare no protection.
pub struct Stability;

impl Thinker for Stability {
    type Primary = Namespace;
    type Observed = Observed;
    const NAME: &'static str = "default-stability-controller";

    fn watches() -> Vec<Watch> {
        vec![
            Watch::mapped::<Deployment>(namespace_of),
            Watch::mapped::<CloneSet>(namespace_of),
            Watch::mapped::<InPlaceSet>(namespace_of),
            Watch::mapped::<CafeDeployment>(namespace_of),
            Watch::mapped::<PodDisruptionBudget>(|world, budget| {
                if is_ours(budget) {
                    return vec![ObjectKey::new("", &*budget.metadata.namespace)];
                }
                namespace_of(world, budget)
            }),
            // Cells are drawn before there are workloads in them, and a look that comes late does no harm.
            Watch::silent::<Node>(),
        ]
    }

    fn permissions() -> Vec<Permission> {
        let verbs = &["create", "patch", "delete"];
        vec![
            Permission { group: "policy", resource: "poddisruptionbudgets", verbs },
            Permission { group: "apps", resource: "deployments", verbs: &["patch"] },
            Permission { group: "apps.kruise.io", resource: "clonesets", verbs: &["patch"] },
            Permission {
                group: api_workload::names::cafe::GROUP,
                resource: "inplacesets",
                verbs: &["patch"],
            },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        Observed::of(world, key)
    }

    fn plan(seen: &Observed, _: Time) -> Plan {
        let mut plan = Plan::new();
        if seen.is_terminating {
            return plan;
        }
        budget::steps(seen, &mut plan);
        spread::steps(seen, &mut plan);
        plan
    }
}

/// The namespace of an object, when it asks for default stability.
fn namespace_of<T: Object>(world: &World, object: &T) -> Vec<ObjectKey> {
    let key = ObjectKey::new("", &*object.meta().namespace);
    let asks = world.cache::<Namespace>().get(&key).is_some_and(|n| observe::asks(n));
    asks.then_some(key).into_iter().collect()
}

/// Whether a budget was made here.
fn is_ours(budget: &PodDisruptionBudget) -> bool {
    budget.metadata.labels.get(STABILITY).is_some_and(|v| v == "true")
}
