//! What one object costs, in the names that quotas use.

use serde_json::Value;
use stdx::Time;

use super::Counted;
use crate::amount::{Amount, Amounts};
use crate::pod::{self, Side, list, text};

/// Kinds that are counted under their plain plural too.
const LEGACY: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];
/// Compute resources of pods.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Ends the names that count the claims of one class.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";
/// Begins the names of huge pages.
const HUGE_PAGES: &str = "hugepages-";

/// Whether a name in a quota counts objects of a collection.
pub(super) fn is_of(resource: &str, name: &str) -> bool {
    resource_of(name) == resource
}

/// The collection that a name in a quota counts.
pub(super) fn resource_of(name: &str) -> String {
    if let Some(counted) = name.strip_prefix("count/") {
        return counted.to_owned();
    }
    if name == "requests.storage" || name.contains(OF_CLASS) {
        return "persistentvolumeclaims".to_owned();
    }
    match name {
        "services.nodeports" | "services.loadbalancers" => "services".to_owned(),
        plain if LEGACY.contains(&plain) => plain.to_owned(),
        // Compute, huge pages, extended resources.
        _ => "pods".to_owned(),
    }
}

/// Whether requests and limits state a resource that quotas name.
pub(super) fn states(resources: &Value, name: &str) -> bool {
    match name.strip_prefix("limits.") {
        Some(limit) => !resources["limits"][limit].is_null(),
        None => !resources["requests"][name.trim_start_matches("requests.")].is_null(),
    }
}

/// What an object costs. Zeros are kept where upstream counts them.
pub fn cost(counted: Counted<'_>, now: Time) -> Amounts {
    let Counted { resource, object } = counted;
    let one = Amount::count(1);
    let mut out = Amounts::from([(format!("count/{resource}"), one)]);
    match resource {
        "pods" => of_pod(&mut out, object, now),
        "services" => of_service(&mut out, &object["spec"]),
        "persistentvolumeclaims" => of_claim(&mut out, object),
        plain if LEGACY.contains(&plain) => drop(out.insert(plain.to_owned(), one)),
        _ => {}
    }
    out
}

/// Pods that have ended, or should be gone by now, take nothing but their place in the store.
fn of_pod(out: &mut Amounts, pod: &Value, now: Time) {
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) || is_overdue(pod, now) {
        return;
    }
    out.insert("pods".to_owned(), Amount::count(1));
    let spec = &pod["spec"];
    for (name, amount) in pod::total_with_overhead(spec, Side::Requests) {
        if COMPUTE.contains(&name.as_str()) || name.starts_with(HUGE_PAGES) {
            out.insert(name.clone(), amount);
            out.insert(format!("requests.{name}"), amount);
        } else if is_extended(&name) {
            out.insert(format!("requests.{name}"), amount);
        }
    }
    for (name, amount) in pod::total_with_overhead(spec, Side::Limits) {
        if COMPUTE.contains(&name.as_str()) {
            out.insert(format!("limits.{name}"), amount);
        }
    }
}

fn is_overdue(pod: &Value, now: Time) -> bool {
    let at = pod["metadata"]["deletionTimestamp"].as_str().and_then(|t| t.parse::<Time>().ok());
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
    match (at, grace) {
        (Some(at), Some(grace)) => now > at + std::time::Duration::from_secs(grace),
        _ => false,
    }
}

/// Resources of a domain that is not Kubernetes' own.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| !domain.ends_with("kubernetes.io"))
}

fn of_service(out: &mut Amounts, spec: &Value) {
    let ports = list(spec, "ports").count();
    let own_ports = list(spec, "ports").filter(|p| p["nodePort"].as_u64().unwrap_or(0) != 0).count();
    let (node_ports, balancers) = match text(spec, "type") {
        "NodePort" => (ports, 0),
        // A balancer needs node ports unless it was told to do without.
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"] == false => (own_ports, 1),
        "LoadBalancer" => (ports, 1),
        _ => (0, 0),
    };
    out.insert("services".to_owned(), Amount::count(1));
    out.insert("services.nodeports".to_owned(), Amount::count(node_ports));
    out.insert("services.loadbalancers".to_owned(), Amount::count(balancers));
}

fn of_claim(out: &mut Amounts, claim: &Value) {
    let spec = &claim["spec"];
    let older = text(&claim["metadata"]["annotations"], "volume.beta.kubernetes.io/storage-class");
    let class = if older.is_empty() { text(spec, "storageClassName") } else { older };
    let storage = Amount::read(&spec["resources"]["requests"]["storage"]);
    out.insert("persistentvolumeclaims".to_owned(), Amount::count(1));
    if !class.is_empty() {
        out.insert(format!("{class}{OF_CLASS}persistentvolumeclaims"), Amount::count(1));
    }
    // While a volume grows, what is being made counts.
    let made = Amount::read(&claim["status"]["allocatedResources"]["storage"]);
    let Some(storage) = storage.max(made) else { return };
    out.insert("requests.storage".to_owned(), storage);
    if !class.is_empty() {
        out.insert(format!("{class}{OF_CLASS}requests.storage"), storage);
    }
}
