//! EndpointSlice: which pods stand behind a Service (discovery.k8s.io/v1, as kube-controller-manager 1.36).
//!
//! Absent: topology hints, the trigger-time annotation, mirroring of hand-made Endpoints.

pub(crate) mod observe;
pub(crate) mod plan;
#[cfg(test)]
mod tests;

use api_core::{EndpointSlice, Node, Pod, Service};
use api_meta::ObjectKey;
use reconcile::{Permission, Plan, Thinker, Watch, World};
use stdx::Time;

pub use observe::Observed;

/// The EndpointSlice controller.
pub struct EndpointSlices;

/// Who manages a slice, as upstream names itself: proxies and tools look for it.
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Thinker for EndpointSlices {
    type Primary = Service;
    type Observed = Observed;
    const NAME: &'static str = "endpointslice-controller";

    fn watches() -> Vec<Watch> {
        vec![
            Watch::mapped::<Pod>(selecting),
            Watch::owned::<EndpointSlice>("", "Service"),
            Watch::silent::<Node>(),
        ]
    }

    fn permissions() -> Vec<Permission> {
        let verbs = &["get", "create", "patch", "delete"];
        vec![
            Permission { group: "discovery.k8s.io", resource: "endpointslices", verbs },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        Observed::of(world, key)
    }

    fn plan(seen: &Observed, _: Time) -> Plan {
        plan::plan(seen)
    }
}

/// The Services that select a pod.
pub(crate) fn selecting(world: &World, pod: &Pod) -> Vec<ObjectKey> {
    let meta = &pod.metadata;
    if meta.labels.is_empty() {
        return Vec::new();
    }
    let services = world.cache::<Service>().in_namespace(&meta.namespace);
    services.filter(|s| observe::selects(s, pod)).map(|s| s.metadata.key()).collect()
}
