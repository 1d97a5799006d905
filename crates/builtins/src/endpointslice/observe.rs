//! What the slices of a Service depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_core::{EndpointSlice, Node, Pod, Service};
use api_meta::ObjectKey;
use reconcile::World;

use crate::endpointslice::{MANAGED_BY, MANAGER};

/// A Service, its pods and its slices.
pub struct Observed {
    /// The Service.
    pub service: Arc<Service>,
    /// The pods it selects, in name order.
    pub pods: Vec<Arc<Pod>>,
    /// Zones of their nodes.
    pub zones: BTreeMap<String, String>,
    /// Its slices under this controller, in name order.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// Names that new slices cannot take.
    pub taken: BTreeSet<String>,
}

impl Observed {
    /// Looks around; nothing when the Service is gone.
    pub(crate) fn of(world: &World, key: &ObjectKey) -> Option<Observed> {
        let service = world.cache::<Service>().get(key)?.clone();
        let pods = world.cache::<Pod>().in_namespace(&key.namespace).filter(|pod| selects(&service, pod));
        let pods: Vec<Arc<Pod>> = pods.cloned().collect();
        let zone = |name: &String| {
            let node = world.cache::<Node>().get(&ObjectKey::new("", &**name))?;
            Some((name.clone(), node.metadata.labels.get("topology.kubernetes.io/zone")?.clone()))
        };
        let nodes: BTreeSet<&String> = pods.iter().map(|p| &p.spec.node_name).collect();
        let zones = nodes.into_iter().filter_map(zone).collect();
        let all = world.cache::<EndpointSlice>();
        let ours = |s: &&Arc<EndpointSlice>| s.metadata.labels.get(MANAGED_BY).is_some_and(|m| m == MANAGER);
        let slices = all.owned_by(&service.metadata.uid).filter(ours).cloned().collect();
        let prefix = format!("{}-", key.name);
        let names = all.in_namespace_from(&key.namespace, &prefix).map(|s| s.metadata.name.clone());
        let taken = names.take_while(|n| n.starts_with(&prefix)).collect();
        Some(Observed { service, pods, zones, slices, taken })
    }
}

/// Whether a Service with a selector selects a pod.
pub(crate) fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = &service.spec.selector;
    !selector.is_empty() && selector.iter().all(|(key, value)| pod.metadata.labels.get(key) == Some(value))
}
