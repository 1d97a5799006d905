//! Endpoints: the older form of [`crate::endpointslice`], which `kubectl get endpoints` and older clients still read.
//!
//! Upstream's controller deletes the object after its Service; here it has the Service as owner, and the garbage collector
//! does. At most 1000 addresses are told, as upstream. Absent: more than one address family.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::{Endpoints, Pod, Service};
use api_meta::{Object, ObjectKey};
use reconcile::{Action, Form, Permission, Plan, Risk, Target, Thinker, Watch, World};
use serde_json::{Value, json};
use stdx::Time;

use crate::endpointslice::observe::selects;
use crate::endpointslice::plan::ports;
use crate::endpointslice::selecting;
use crate::kit;

/// Addresses told (as kube-controller-manager 1.36).
const ADDRESSES_MAX: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The Endpoints controller.
pub struct EndpointsOfServices;

/// A Service, its pods and its Endpoints.
pub struct Observed {
    /// The Service.
    service: Arc<Service>,
    /// The pods it selects, in name order.
    pods: Vec<Arc<Pod>>,
    /// The object of its name.
    endpoints: Option<Arc<Endpoints>>,
}

impl Thinker for EndpointsOfServices {
    type Primary = Service;
    type Observed = Observed;
    const NAME: &'static str = "endpoint-controller";

    fn watches() -> Vec<Watch> {
        vec![
            Watch::mapped::<Pod>(selecting),
            Watch::mapped::<Endpoints>(|_, endpoints| vec![endpoints.metadata.key()]),
        ]
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission { group: "", resource: "endpoints", verbs: &["get", "create", "patch"] },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let service = world.cache::<Service>().get(key)?.clone();
        let pods = world.cache::<Pod>().in_namespace(&key.namespace).filter(|pod| selects(&service, pod));
        let pods = pods.cloned().collect();
        Some(Observed { service, pods, endpoints: world.cache::<Endpoints>().get(key).cloned() })
    }

    fn plan(seen: &Observed, _: Time) -> Plan {
        let mut plan = Plan::new();
        let service = &*seen.service;
        let is_ours = !service.spec.selector.is_empty()
            && service.spec.r#type != "ExternalName"
            && !service.metadata.is_terminating();
        if is_ours {
            plan.actions.extend(write(seen));
        }
        plan
    }
}

fn write(seen: &Observed) -> Option<Action> {
    let service = &*seen.service;
    let (subsets, is_cut) = subsets(seen);
    let mut metadata = json!({ "labels": labels(service) });
    if is_cut {
        metadata["annotations"] = json!({OVER_CAPACITY: "truncated"});
    }
    let Some(old) = &seen.endpoints else {
        metadata["name"] = json!(service.metadata.name);
        metadata["namespace"] = json!(service.metadata.namespace);
        metadata["ownerReferences"] = json!([kit::owner_reference(service)]);
        let body = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets});
        return Some(Action::Create { resource: Endpoints::RESOURCE, body });
    };
    let mut body = json!({});
    if sorted(&old.subsets) != sorted(&subsets) {
        body["subsets"] = if subsets.is_empty() { Value::Null } else { json!(subsets) };
    }
    if let Some(change) = kit::difference(&json!(old.metadata.labels), &metadata["labels"]) {
        body["metadata"]["labels"] = change;
    }
    if old.metadata.annotations.contains_key(OVER_CAPACITY) != is_cut {
        body["metadata"]["annotations"][OVER_CAPACITY] =
            if is_cut { json!("truncated") } else { Value::Null };
    }
    let target = Target::at(&**old);
    (body != json!({})).then_some(Action::Patch {
        target,
        subresource: "",
        form: Form::Merge,
        body,
        risk: Risk::None,
    })
}

/// The server may keep addresses and subsets in an order of its own.
fn sorted(subsets: &[Value]) -> Vec<Value> {
    let mut subsets = subsets.to_vec();
    for subset in &mut subsets {
        for list in subset.as_object_mut().into_iter().flat_map(|s| s.values_mut()) {
            list.as_array_mut().into_iter().for_each(|l| l.sort_by_cached_key(Value::to_string));
        }
    }
    subsets.sort_by_cached_key(Value::to_string);
    subsets
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    if service.spec.cluster_ip == "None" {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// Addresses by their ports; terminating and ended pods are not told. Says whether some had to be left out.
fn subsets(seen: &Observed) -> (Vec<Value>, bool) {
    let service = &*seen.service;
    let mut groups: BTreeMap<String, [BTreeMap<String, Value>; 2]> = BTreeMap::new();
    let told = seen.pods.iter().filter(|p| p.is_active() && !p.status.pod_ip.is_empty());
    let told: Vec<&Arc<Pod>> = told.collect();
    for pod in told.iter().take(ADDRESSES_MAX) {
        let ports = json!(ports(service, pod)).to_string();
        let ready = pod.is_ready() || service.spec.publish_not_ready_addresses;
        let group = groups.entry(ports).or_default();
        group[usize::from(!ready)].insert(pod.status.pod_ip.clone(), address(pod, service));
    }
    let subset = |(ports, [ready, unready]): (String, [BTreeMap<String, Value>; 2])| {
        let ports: Value = serde_json::from_str(&ports).expect("written above");
        let mut subset = json!({});
        for (field, addresses) in [("addresses", ready), ("notReadyAddresses", unready)] {
            if !addresses.is_empty() {
                subset[field] = json!(addresses.into_values().collect::<Vec<_>>());
            }
        }
        if ports.as_array().is_some_and(|p| !p.is_empty()) {
            subset["ports"] = named(ports);
        }
        subset
    };
    (groups.into_iter().map(subset).collect(), told.len() > ADDRESSES_MAX)
}

/// In this form a port without a name has no field `name`.
fn named(mut ports: Value) -> Value {
    for port in ports.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if port.get("name").is_some_and(|n| n == "") {
            port.remove("name");
        }
    }
    ports
}

fn address(pod: &Pod, service: &Service) -> Value {
    let meta = &pod.metadata;
    let mut address = json!({
        "ip": pod.status.pod_ip,
        "targetRef": {"kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid},
    });
    if !pod.spec.node_name.is_empty() {
        address["nodeName"] = json!(pod.spec.node_name);
    }
    if !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name {
        address["hostname"] = json!(pod.spec.hostname);
    }
    address
}
