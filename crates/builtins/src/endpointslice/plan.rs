//! What becomes of the slices of a Service: as few writes as possible, at most 100 endpoints a slice.

use std::collections::{BTreeMap, BTreeSet};

use api_core::{EndpointSlice, Pod, Service, ServicePort};
use api_meta::Object;
use reconcile::{Action, Form, Plan, Risk, Target};
use serde_json::{Value, json};

use crate::endpointslice::{MANAGED_BY, MANAGER, Observed, SERVICE_NAME};
use crate::kit;

/// Endpoints of one slice (upstream's default).
const ENDPOINTS_MAX: usize = 100;
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Address family and ports: endpoints that share both share slices. Ports in their JSON form, which orders them.
type Group = (&'static str, String);
/// Endpoints by address and pod.
type Endpoints = BTreeMap<(String, String), Value>;

pub(crate) fn plan(seen: &Observed) -> Plan {
    let mut plan = Plan::new();
    let service = &*seen.service;
    if service.spec.selector.is_empty()
        || service.spec.r#type == "ExternalName"
        || service.metadata.is_terminating()
    {
        return plan;
    }
    let mut groups = wanted(seen);
    let mut free = (0..)
        .map(|slot| kit::pod_name(&service.metadata.name, &service.metadata.uid, "", slot))
        .filter(|name| !seen.taken.contains(name));
    for family in families(service) {
        if groups.keys().all(|(f, _)| *f != family) {
            // Even without endpoints there is a slice that says so.
            groups.insert((family, "[]".to_owned()), Endpoints::new());
        }
    }
    let mut used = BTreeSet::new();
    for (group, endpoints) in groups {
        let own: Vec<&EndpointSlice> =
            seen.slices.iter().map(|s| &**s).filter(|s| is_of_group(s, &group)).collect();
        used.extend(own.iter().map(|s| s.metadata.name.clone()));
        fill(service, &group, endpoints, &own, &mut free, &mut plan);
    }
    for slice in seen.slices.iter().filter(|s| !used.contains(&s.metadata.name)) {
        plan.act(remove(slice));
    }
    plan
}

/// The endpoints that should be, by group.
fn wanted(seen: &Observed) -> BTreeMap<Group, Endpoints> {
    let mut groups: BTreeMap<Group, Endpoints> = BTreeMap::new();
    for pod in seen.pods.iter().filter(|p| !p.is_finished()) {
        let ports = json!(ports(&seen.service, pod)).to_string();
        for family in families(&seen.service) {
            let Some(address) = address(pod, family) else { continue };
            let endpoint = endpoint(seen, pod, address);
            let id = (address.to_owned(), pod.metadata.uid.clone());
            groups.entry((family, ports.clone())).or_default().insert(id, endpoint);
        }
    }
    groups
}

fn families(service: &Service) -> Vec<&'static str> {
    let named = service.spec.ip_families.iter().map(|f| if f == "IPv6" { "IPv6" } else { "IPv4" });
    let named: Vec<_> = named.collect();
    if named.is_empty() { vec!["IPv4"] } else { named }
}

fn address<'a>(pod: &'a Pod, family: &str) -> Option<&'a str> {
    let all = pod.status.pod_ips.iter().map(|ip| ip.ip.as_str()).chain([pod.status.pod_ip.as_str()]);
    all.filter(|ip| !ip.is_empty()).find(|ip| ip.contains(':') == (family == "IPv6"))
}

fn endpoint(seen: &Observed, pod: &Pod, address: &str) -> Value {
    let (meta, service) = (&pod.metadata, &seen.service);
    let (serving, terminating) = (pod.is_ready(), meta.is_terminating());
    let ready = service.spec.publish_not_ready_addresses || serving && !terminating;
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid},
    });
    if !pod.spec.node_name.is_empty() {
        endpoint["nodeName"] = json!(pod.spec.node_name);
    }
    if let Some(zone) = seen.zones.get(&pod.spec.node_name) {
        endpoint["zone"] = json!(zone);
    }
    if !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name {
        endpoint["hostname"] = json!(pod.spec.hostname);
    }
    endpoint
}

/// The ports of a Service as they are at one pod; a named port that the pod lacks is left out.
pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<Value> {
    let resolved = service.spec.ports.iter().filter_map(|port| {
        let mut out = json!({
            "name": port.name, "port": number_at(port, pod)?, "protocol": protocol(&port.protocol),
        });
        if let Some(app) = &port.app_protocol {
            out["appProtocol"] = json!(app);
        }
        Some(out)
    });
    resolved.collect()
}

fn number_at(port: &ServicePort, pod: &Pod) -> Option<i64> {
    match &port.target_port {
        Some(Value::String(name)) => {
            let sidecars = pod.spec.init_containers.iter().filter(|c| c.restart_policy.is_some());
            let mut all = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
            let same = protocol(&port.protocol);
            all.find(|p| p.name == *name && protocol(&p.protocol) == same).map(|p| p.container_port.into())
        }
        Some(Value::Number(number)) if number.as_i64() != Some(0) => number.as_i64(),
        _ => Some(port.port.into()),
    }
}

fn protocol(text: &str) -> &str {
    if text.is_empty() { "TCP" } else { text }
}

fn is_of_group(slice: &EndpointSlice, (family, ports): &Group) -> bool {
    slice.address_type == *family && json!(slice.ports) == read(ports)
}

fn read(ports: &str) -> Value {
    serde_json::from_str(ports).expect("written by this module")
}

fn id_of(endpoint: &Value) -> (String, String) {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (text(&endpoint["addresses"][0]), text(&endpoint["targetRef"]["uid"]))
}

/// Brings the slices of one group up to date: each keeps what is still wanted; what is new goes where there is room, the
/// fullest slice first; what finds none gets new slices; slices left empty go, but for one.
fn fill(
    service: &Service,
    group: &Group,
    mut wanted: Endpoints,
    own: &[&EndpointSlice],
    free: &mut impl Iterator<Item = String>,
    plan: &mut Plan,
) {
    let mut contents: Vec<(&EndpointSlice, Endpoints)> = Vec::new();
    for slice in own {
        let kept = slice.endpoints.iter().filter_map(|e| wanted.remove_entry(&id_of(e)));
        contents.push((slice, kept.collect()));
    }
    let mut by_room: Vec<usize> = (0..contents.len()).collect();
    by_room.sort_by_key(|i| std::cmp::Reverse(contents[*i].1.len()));
    for i in by_room {
        while contents[i].1.len() < ENDPOINTS_MAX
            && let Some((id, endpoint)) = wanted.pop_first()
        {
            contents[i].1.insert(id, endpoint);
        }
    }
    let mut new = Vec::new();
    while !wanted.is_empty() {
        let rest = wanted.split_off(&wanted.keys().nth(ENDPOINTS_MAX).cloned().unwrap_or_else(after_all));
        new.push(std::mem::replace(&mut wanted, rest));
    }
    let nothing = new.is_empty() && contents.iter().all(|(_, e)| e.is_empty());
    if nothing && contents.is_empty() {
        new.push(Endpoints::new());
    }
    for endpoints in new {
        let name = free.next().unwrap_or_default();
        plan.act(create(service, group, name, endpoints));
    }
    for (number, (slice, endpoints)) in contents.into_iter().enumerate() {
        if endpoints.is_empty() && !(nothing && number == 0) {
            plan.act(remove(slice));
        } else {
            plan.actions.extend(update(service, slice, endpoints));
        }
    }
}

/// A key behind every address.
fn after_all() -> (String, String) {
    ("\u{10ffff}".to_owned(), String::new())
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    if service.spec.cluster_ip == "None" {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn create(service: &Service, (family, ports): &Group, name: String, endpoints: Endpoints) -> Action {
    let body = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "generateName": format!("{}-", service.metadata.name),
            "namespace": service.metadata.namespace,
            "labels": labels(service), "ownerReferences": [kit::owner_reference(service)],
        },
        "addressType": family, "ports": read(ports),
        "endpoints": endpoints.into_values().collect::<Vec<_>>(),
    });
    Action::Create { resource: EndpointSlice::RESOURCE, body }
}

fn update(service: &Service, slice: &EndpointSlice, endpoints: Endpoints) -> Option<Action> {
    let before: Endpoints = slice.endpoints.iter().map(|e| (id_of(e), e.clone())).collect();
    let mut body = json!({});
    if before != endpoints {
        body["endpoints"] = json!(endpoints.into_values().collect::<Vec<_>>());
    }
    if slice.metadata.labels != labels(service) {
        let change = kit::difference(&json!(slice.metadata.labels), &json!(labels(service)));
        body["metadata"]["labels"] = change.unwrap_or_default();
    }
    (body != json!({})).then(|| Action::Patch {
        target: Target::at(slice),
        subresource: "",
        form: Form::Merge,
        body,
        risk: Risk::None,
    })
}

fn remove(slice: &EndpointSlice) -> Action {
    Action::Delete { target: Target::at(slice), grace_seconds: None, propagation: None, risk: Risk::None }
}
