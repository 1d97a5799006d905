//! What is to be listened on, who may be chosen, and which pods get or lose the finalizer of a Service. Pure.
//!
//! ```text
//!            ready in a slice, gate open           acknowledged
//!   Out ───────────────────────────────▶ Registering ─────────▶ Ready ──▶ chosen
//!    ▲                                   (finalizer is put on)    │
//!    │  nothing open, no connection left: finalizer is taken off  │ not ready, gone, gate closed, or terminating
//!    └──────────────────────────────────────── Out, counted ◀─────┘
//! ```
//!
//! A gate and the finalizers are on the same object, and every edit is fenced by its version: a finalizer never gets onto a
//! pod whose gate somebody has closed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use api_core::drain;
use api_meta::ObjectKey;
use serde_json::{Map, Value, json};

use crate::facts::{EndpointFact, Mode, PodFact, ServiceFact};
use crate::mirror::Mirror;

/// A Service's endpoint in one pod, over all ports: what is counted together before its finalizer goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Membership {
    /// The Service.
    pub(crate) service: ObjectKey,
    /// Uid of the pod.
    pub(crate) pod: String,
}

/// What runs between the proxy and one pod for one Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// It may still be chosen.
    pub(crate) admitting: bool,
    /// Open requests and connections of clients.
    pub(crate) open: usize,
    /// The proxy's own connections to it.
    pub(crate) connections: usize,
}

impl Load {
    /// Nothing runs, and nothing can begin.
    pub(crate) fn is_at_rest(self) -> bool {
        !self.admitting && self.open == 0 && self.connections == 0
    }
}

/// All that the decision depends on.
pub(crate) struct Observed<'a> {
    /// What is known of the cluster.
    pub(crate) mirror: &'a Mirror,
    /// What runs; what is missing is at rest.
    pub(crate) loads: &'a BTreeMap<Membership, Load>,
    /// Pods whose edit is under way, with the finalizers it takes off. Whether these are still there is not known.
    pub(crate) in_flight: &'a BTreeMap<ObjectKey, BTreeSet<String>>,
}

/// What is to be.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Ports of Services.
    pub(crate) routes: BTreeMap<RouteKey, Route>,
    /// Pods to be patched, in the order of their names; at most one edit for each.
    pub(crate) edits: Vec<Edit>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RouteKey {
    /// The Service.
    pub(crate) service: ObjectKey,
    /// Name of the port.
    pub(crate) port: String,
}

/// Where a port listens and leads.
#[derive(Debug, PartialEq)]
pub(crate) struct Route {
    /// Addresses to listen on.
    pub(crate) listen: Vec<SocketAddrV4>,
    /// How it is forwarded.
    pub(crate) mode: Mode,
    /// Its endpoints on loopback, eligible or not, by address.
    pub(crate) targets: Vec<Target>,
    /// Whether endpoints in the client's cell are preferred.
    pub(crate) prefers_cell: bool,
    /// How long a client stays with its endpoint.
    pub(crate) affinity: Option<Duration>,
    /// Endpoints that are not on loopback.
    pub(crate) elsewhere: usize,
}

/// An endpoint of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Address and port.
    pub(crate) address: SocketAddrV4,
    /// Name and uid of its pod; empty when it is none.
    pub(crate) pod: (String, String),
    /// Node of its pod; empty when not known.
    pub(crate) node: String,
    /// Its cell.
    pub(crate) cell: Option<String>,
    /// How it stands.
    pub(crate) standing: Standing,
    /// Whether it may be chosen.
    pub(crate) admitted: bool,
}

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// To be chosen.
    Ready,
    /// Ready, but not yet protected, or its pod is not known yet.
    Registering,
    /// Terminating and still serving: chosen when nothing is ready.
    Leaving,
    /// Not to be chosen.
    Out,
}

/// A patch of one pod's finalizers and of the annotation that lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The pod.
    pub(crate) pod: ObjectKey,
    /// Its identity: the fence against another pod of this name.
    pub(crate) uid: String,
    /// Its version: the fence against changes that were not seen.
    pub(crate) version: String,
    /// All its finalizers as they are to be; absent when they stay.
    pub(crate) finalizers: Option<Vec<String>>,
    /// The annotation as it is to be, `None` inside for its removal; absent when it stays.
    pub(crate) conditions: Option<Option<String>>,
    /// Services that put their finalizer on.
    pub(crate) registers: BTreeSet<String>,
    /// Services that take their finalizer off.
    pub(crate) releases: BTreeSet<String>,
}

/// Decides. Before everything was listed once, nothing is.
pub(crate) fn plan(seen: &Observed<'_>) -> Plan {
    if !seen.mirror.is_synced() {
        return Plan::default();
    }
    let slices = Endpoints::of(seen.mirror);
    let mut routes = BTreeMap::new();
    for (key, service) in &seen.mirror.services {
        for port in &service.ports {
            let targets = slices.targets(seen, key, &port.name);
            let node_port = port.node_port.map(|n| SocketAddrV4::new(Ipv4Addr::LOCALHOST, n));
            let route = Route {
                listen: [SocketAddrV4::new(service.address, port.port)]
                    .into_iter()
                    .chain(node_port)
                    .collect(),
                mode: port.mode,
                targets,
                prefers_cell: service.prefers_cell,
                affinity: service.affinity,
                elsewhere: slices.elsewhere.get(key).copied().unwrap_or(0),
            };
            routes.insert(RouteKey { service: key.clone(), port: port.name.clone() }, route);
        }
    }
    let free = seen.mirror.pods.iter().filter(|(key, _)| !seen.in_flight.contains_key(key));
    let edits = free.filter_map(|(key, pod)| edit(seen, &slices, key, pod)).collect();
    Plan { routes, edits }
}

/// Address, and name and uid of the pod or two empty texts.
type EndpointId<'a> = (Ipv4Addr, &'a str, &'a str);

/// Endpoints of one port, with its number there.
type OfPort<'a> = BTreeMap<(EndpointId<'a>, u16), EndpointFact>;

/// The endpoints of all Services. One that is in two slices, as it may be while it moves, is as ready as the readier.
struct Endpoints<'a> {
    by_port: BTreeMap<(&'a ObjectKey, &'a str), OfPort<'a>>,
    /// The same for each Service and pod, over all ports.
    by_pod: BTreeMap<(&'a ObjectKey, &'a str), EndpointFact>,
    elsewhere: BTreeMap<&'a ObjectKey, usize>,
}

impl<'a> Endpoints<'a> {
    fn of(mirror: &'a Mirror) -> Endpoints<'a> {
        let mut all =
            Endpoints { by_port: BTreeMap::new(), by_pod: BTreeMap::new(), elsewhere: BTreeMap::new() };
        for slice in mirror.slices.values() {
            *all.elsewhere.entry(&slice.service).or_default() += slice.elsewhere;
            for fact in &slice.endpoints {
                let (name, uid) = fact.pod.as_ref().map_or(("", ""), |(name, uid)| (name, uid));
                if !uid.is_empty() {
                    join(all.by_pod.entry((&slice.service, uid)), fact);
                }
                for (port, number) in &slice.ports {
                    let of_port = all.by_port.entry((&slice.service, port)).or_default();
                    join(of_port.entry(((fact.address, name, uid), *number)), fact);
                }
            }
        }
        all
    }

    /// The endpoints of one port, with how each stands.
    fn targets(&self, seen: &Observed<'_>, service: &ObjectKey, port: &str) -> Vec<Target> {
        let found = self.by_port.get(&(service, port)).into_iter().flatten();
        let mut targets: Vec<Target> = found
            .map(|(((address, name, uid), number), fact)| {
                let key = ObjectKey::new(&*service.namespace, *name);
                let pod = seen.mirror.pods.get(&key).filter(|p| p.uid == *uid);
                let node = pod.map_or_else(String::new, |p| p.node.clone());
                Target {
                    address: SocketAddrV4::new(*address, *number),
                    pod: ((*name).to_owned(), (*uid).to_owned()),
                    cell: cell(seen.mirror, &node).or_else(|| fact.zone.clone()),
                    standing: standing(seen, service, fact, &key, pod),
                    node,
                    admitted: false,
                }
            })
            .collect();
        let best = if targets.iter().any(|t| t.standing == Standing::Ready) {
            Standing::Ready
        } else {
            Standing::Leaving
        };
        for target in &mut targets {
            target.admitted = target.standing == best;
        }
        targets
    }
}

fn join<K: Ord>(entry: std::collections::btree_map::Entry<'_, K, EndpointFact>, fact: &EndpointFact) {
    let known = entry.or_insert_with(|| fact.clone());
    known.ready |= fact.ready;
    known.serving |= fact.serving;
    known.terminating &= fact.terminating;
}

/// The cell of a node, as far as known.
pub(crate) fn cell(mirror: &Mirror, node: &str) -> Option<String> {
    mirror.cells.get(node).cloned()
}

fn standing(
    seen: &Observed<'_>,
    service: &ObjectKey,
    fact: &EndpointFact,
    key: &ObjectKey,
    pod: Option<&PodFact>,
) -> Standing {
    let takes_part = pod.is_some_and(|p| p.takes_part);
    if fact.terminating || pod.is_some_and(|p| p.terminating) {
        let is_outside = fact.pod.is_none() || pod.is_some_and(|p| !p.takes_part);
        let may_answer = fact.serving && is_outside;
        return if may_answer { Standing::Leaving } else { Standing::Out };
    }
    if !fact.ready {
        return Standing::Out;
    }
    let Some(pod) = pod else {
        // Whether a pod that was not seen yet takes part is not known; what is no pod cannot.
        return if fact.pod.is_some() { Standing::Registering } else { Standing::Ready };
    };
    if !takes_part {
        return Standing::Ready;
    }
    if pod.gate_closed {
        return Standing::Out;
    }
    let finalizer = drain::protection_of(&service.name);
    let doubted = seen.in_flight.get(key).is_some_and(|dropped| dropped.contains(&finalizer));
    let protected = pod.finalizers.contains(&finalizer) && !doubted;
    if protected { Standing::Ready } else { Standing::Registering }
}

/// Whom a finalizer or an expected entry of a pod belongs to, and what it says there.
struct Tie<'a> {
    /// A Service in the pod's namespace.
    service: ObjectKey,
    fact: Option<&'a ServiceFact>,
    /// The pod is to be sent traffic for it, now or as soon as it is protected.
    in_service: bool,
    /// The pod belongs to it, ready or not.
    belongs: bool,
}

impl<'a> Tie<'a> {
    fn of(
        seen: &'a Observed<'_>,
        slices: &Endpoints<'_>,
        key: &ObjectKey,
        pod: &PodFact,
        name: &str,
    ) -> Tie<'a> {
        let service = ObjectKey::new(&*key.namespace, name);
        let fact = seen.mirror.services.get(&service);
        let endpoint = slices.by_pod.get(&(&service, pod.uid.as_str()));
        let stands = endpoint.map(|e| standing(seen, &service, e, key, Some(pod)));
        let in_service = fact.is_some() && matches!(stands, Some(Standing::Ready | Standing::Registering));
        let labelled = |(k, v): (&String, &String)| pod.labels.get(k) == Some(v);
        let belongs = fact.is_some_and(|f| {
            if f.selector.is_empty() { endpoint.is_some() } else { f.selector.iter().all(labelled) }
        });
        Tie { service, fact, in_service, belongs }
    }
}

/// What is to be changed at one pod.
fn edit(seen: &Observed<'_>, slices: &Endpoints<'_>, key: &ObjectKey, pod: &PodFact) -> Option<Edit> {
    let (mut finalizers, mut expected) = (pod.finalizers.clone(), pod.expected.clone());
    let (mut registers, mut releases) = (BTreeSet::new(), BTreeSet::new());
    if pod.takes_part && !pod.terminating && pod.address.is_some() {
        for name in services_of(slices, key, pod) {
            if Tie::of(seen, slices, key, pod, name).in_service {
                let finalizer = drain::protection_of(name);
                expected.insert(employer(key, name), finalizer.clone());
                if !finalizers.contains(&finalizer) {
                    finalizers.push(finalizer);
                    registers.insert(name.to_owned());
                }
            }
        }
    }
    for finalizer in &pod.finalizers {
        let Some(name) = finalizer.strip_prefix(drain::PROTECTION) else { continue };
        let tie = Tie::of(seen, slices, key, pod, name);
        if is_ours(pod, key, finalizer, &tie) && is_over(seen, pod, &tie) {
            finalizers.retain(|f| f != finalizer);
            releases.insert(name.to_owned());
        }
    }
    for entry in pod.expected.keys() {
        let Some(name) = service_in(key, entry) else { continue };
        let protects = finalizers.contains(&drain::protection_of(name));
        if !protects && !Tie::of(seen, slices, key, pod, name).belongs {
            expected.remove(entry);
        }
    }
    let changed = finalizers != pod.finalizers;
    let relisted = expected != pod.expected;
    (changed || relisted).then(|| Edit {
        pod: key.clone(),
        uid: pod.uid.clone(),
        version: pod.version.clone(),
        finalizers: changed.then_some(finalizers),
        conditions: relisted.then(|| conditions(pod, &expected)),
        registers,
        releases,
    })
}

/// Names of the Services that list the pod.
fn services_of<'a>(
    slices: &'a Endpoints<'_>,
    key: &'a ObjectKey,
    pod: &'a PodFact,
) -> impl Iterator<Item = &'a str> {
    let listed =
        slices.by_pod.keys().filter(|(service, uid)| service.namespace == key.namespace && *uid == pod.uid);
    listed.map(|(service, _)| service.name.as_str())
}

/// A finalizer is ours when the pod says that a Service put it on, or when it is named as a served Service and nobody else
/// claims it. Other traffic components use the same prefix.
fn is_ours(pod: &PodFact, key: &ObjectKey, finalizer: &String, tie: &Tie<'_>) -> bool {
    let own = employer(key, &tie.service.name);
    let claims: Vec<&String> =
        pod.expected.iter().filter(|(_, f)| *f == finalizer).map(|(by, _)| by).collect();
    claims.contains(&&own) || claims.is_empty() && tie.fact.is_some()
}

/// Whether a finalizer of ours has done its work.
fn is_over(seen: &Observed<'_>, pod: &PodFact, tie: &Tie<'_>) -> bool {
    if !pod.takes_part && !pod.terminating {
        // Nobody waits for it any more; left on, it would only hold up the pod's deletion.
        return true;
    }
    let membership = Membership { service: tie.service.clone(), pod: pod.uid.clone() };
    let at_rest = seen.loads.get(&membership).is_none_or(|load| load.is_at_rest());
    !tie.in_service && at_rest
}

/// Under which name a Service puts its finalizer on a pod of its namespace.
fn employer(pod: &ObjectKey, service: &str) -> String {
    format!("Service/{}/{service}", pod.namespace)
}

/// The Service in such a name, if it is one of the pod's namespace.
fn service_in<'a>(pod: &ObjectKey, employer: &'a str) -> Option<&'a str> {
    employer.strip_prefix("Service/")?.strip_prefix(pod.namespace.as_str())?.strip_prefix('/')
}

/// The annotation with these finalizers in it; what else it says stays.
fn conditions(pod: &PodFact, expected: &BTreeMap<String, String>) -> Option<String> {
    let text = pod.conditions.as_deref().unwrap_or_default();
    let mut all: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    if expected.is_empty() {
        all.remove("expectedFinalizers");
    } else {
        all.insert("expectedFinalizers".to_owned(), json!(expected));
    }
    (!all.is_empty()).then(|| Value::Object(all).to_string())
}

#[cfg(test)]
mod tests;
