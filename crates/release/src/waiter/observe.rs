//! What the traffic of one pod depends on.

use std::sync::Arc;

use api_core::{EndpointSlice, Pod, Service, drain};
use api_meta::ObjectKey;
use api_workload::names::cafe as words;
use reconcile::{Permission, Plan, Thinker, Watch, World};
use serde_json::Value;
use stdx::Time;

/// Label of a slice: its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Everything a plan depends on; built only from caches.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The Services whose traffic is waited for, in name order.
    pub services: Vec<Serving>,
    /// Services in whose slices the pod is a ready endpoint, whether or not they still select it.
    pub ready_in: Vec<String>,
}

/// A Service that may send the pod traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Its name.
    pub name: String,
    /// Seconds to wait after its endpoint left.
    pub seconds: u64,
}

/// The controller that waits.
pub enum Controller {}

impl Thinker for Controller {
    type Primary = Pod;
    type Observed = Observed;
    const NAME: &'static str = "traffic-waiter";

    fn watches() -> Vec<Watch> {
        vec![
            Watch::mapped::<Service>(|world, service| {
                let pods = world.cache::<Pod>().in_namespace(&service.metadata.namespace);
                let concerned = |p: &&Arc<Pod>| {
                    let finalizer = drain::protection_of(&service.metadata.name);
                    drain::gate(p).is_some()
                        && (selects(service, p) || p.metadata.finalizers.contains(&finalizer))
                };
                pods.filter(concerned).map(|p| p.metadata.key()).collect()
            }),
            Watch::mapped::<EndpointSlice>(|_, slice| {
                let names = slice.endpoints.iter().filter_map(|e| e["targetRef"]["name"].as_str());
                names.map(|n| ObjectKey::new(slice.metadata.namespace.clone(), n)).collect()
            }),
        ]
    }

    fn permissions() -> Vec<Permission> {
        vec![Permission { group: "", resource: "pods", verbs: &["patch"] }]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let pod = world.cache::<Pod>().get(key)?.clone();
        if drain::gate(&pod).is_none() {
            return Some(Observed { pod, services: Vec::new(), ready_in: Vec::new() });
        }
        let all = world.cache::<Service>().in_namespace(&key.namespace);
        let chosen = all.filter(|s| drain::takes_part(&pod) && selects(s, &pod) && is_waited_for(s, &pod));
        let services =
            chosen.map(|s| Serving { name: s.metadata.name.clone(), seconds: seconds(s) }).collect();
        let slices = world.cache::<EndpointSlice>().in_namespace(&key.namespace);
        let ready = slices.filter(|s| s.endpoints.iter().any(|e| is_ready_endpoint(e, &pod)));
        let mut ready_in: Vec<String> =
            ready.filter_map(|s| s.metadata.labels.get(SERVICE_NAME).cloned()).collect();
        ready_in.sort();
        ready_in.dedup();
        Some(Observed { pod, services, ready_in })
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        super::plan(seen, now)
    }
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let spec = &service.spec;
    let has = |(key, value): (&String, &String)| pod.metadata.labels.get(key) == Some(value);
    spec.r#type != "ExternalName"
        && !service.metadata.is_terminating()
        && !spec.selector.is_empty()
        && spec.selector.iter().all(has)
}

/// Pods of releases by cells always; others where the Service asks for it.
fn is_waited_for(service: &Service, pod: &Pod) -> bool {
    let of_release = pod.metadata.labels.contains_key(words::NAME_LABEL)
        || pod.metadata.controller().is_some_and(|o| o.kind == "InPlaceSet");
    of_release || service.metadata.annotations.contains_key(drain::DRAIN_SECONDS)
}

fn seconds(service: &Service) -> u64 {
    let asked = service.metadata.annotations.get(drain::DRAIN_SECONDS).and_then(|t| t.parse().ok());
    asked.unwrap_or(drain::DRAIN_SECONDS_DEFAULT)
}

/// An endpoint without a word about readiness counts as ready, as in the API.
fn is_ready_endpoint(endpoint: &Value, pod: &Pod) -> bool {
    endpoint["targetRef"]["uid"] == pod.metadata.uid && endpoint["conditions"]["ready"] != false
}
