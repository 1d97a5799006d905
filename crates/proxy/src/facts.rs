//! What the proxy keeps of each object: read from the wire, checked once, without what nobody here reads.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use api_core::{Pod, PodReadinessGate, ServicePort, drain};
use api_meta::{Condition, ObjectKey, ObjectMeta};
use serde::Deserialize;

/// Label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label of a node: its cell.
pub(crate) const CELL: &str = "cafe.sofastack.io/cell";
/// Annotation of a Service: `"true"` prefers endpoints in the client's cell.
const PREFER_CELL: &str = "knarr.dev/prefer-same-cell";
/// Condition of a Service: whether its ports are listened on.
pub(crate) const SERVING: &str = "knarr.dev/Serving";
/// Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_SECONDS_DEFAULT: u64 = 10_800;

/// How a port is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// HTTP/1.1, request by request.
    Http,
    /// Connection by connection.
    L4,
}

/// A TCP port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortFact {
    /// Its name, by which slices refer to it; may be empty when it is the only one.
    pub(crate) name: String,
    /// Number at the Service's address.
    pub(crate) port: u16,
    /// Number at 127.0.0.1.
    pub(crate) node_port: Option<u16>,
    /// How it is forwarded.
    pub(crate) mode: Mode,
}

/// A Service whose address is on loopback.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceFact {
    /// Its identity.
    pub(crate) uid: String,
    /// Its address, in 127.0.0.0/8.
    pub(crate) address: Ipv4Addr,
    /// Its TCP ports.
    pub(crate) ports: Vec<PortFact>,
    /// Its pods; empty when its slices are written by hand.
    pub(crate) selector: BTreeMap<String, String>,
    /// Whether endpoints in the client's cell are preferred.
    pub(crate) prefers_cell: bool,
    /// How long a client stays with its endpoint, if it does.
    pub(crate) affinity: Option<Duration>,
    /// The condition `knarr.dev/Serving` as it stands.
    pub(crate) serving: Option<Condition>,
}

/// An endpoint on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointFact {
    /// Its address, in 127.0.0.0/8.
    pub(crate) address: Ipv4Addr,
    /// Name and uid of its pod; absent when it is none.
    pub(crate) pod: Option<(String, String)>,
    /// Wanted for traffic.
    pub(crate) ready: bool,
    /// Able to answer, whether wanted or not.
    pub(crate) serving: bool,
    /// On its way out.
    pub(crate) terminating: bool,
    /// Its zone, which stands for its cell when its node has no label of one.
    pub(crate) zone: Option<String>,
}

/// A slice of a Service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceFact {
    /// Whose.
    pub(crate) service: ObjectKey,
    /// Names and numbers of the TCP ports at its endpoints.
    pub(crate) ports: Vec<(String, u16)>,
    /// Endpoints on loopback.
    pub(crate) endpoints: Vec<EndpointFact>,
    /// How many endpoints are elsewhere; these are never connected to.
    pub(crate) elsewhere: usize,
}

/// A pod on loopback, or one that somebody protects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodFact {
    /// Its identity.
    pub(crate) uid: String,
    /// Its version, as on the wire.
    pub(crate) version: String,
    /// Its address, if it is in 127.0.0.0/8.
    pub(crate) address: Option<Ipv4Addr>,
    /// Its node; empty while it has none.
    pub(crate) node: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// All its finalizers, in their order.
    pub(crate) finalizers: Vec<String>,
    /// The annotation that lists expected finalizers, as text.
    pub(crate) conditions: Option<String>,
    /// The finalizers that must be back before it counts as in service, by who puts them.
    pub(crate) expected: BTreeMap<String, String>,
    /// Whether it can be taken out of service by agreement.
    pub(crate) takes_part: bool,
    /// Whether its gate is closed: somebody wants it out of service.
    pub(crate) gate_closed: bool,
    /// Whether its deletion was asked for.
    pub(crate) terminating: bool,
}

impl PodFact {
    /// The version as a number.
    pub(crate) fn revision(&self) -> u64 {
        self.version.parse().unwrap_or(0)
    }

    /// Whether both are the same but for their version.
    pub(crate) fn says_as(&self, other: &PodFact) -> bool {
        let versionless = |fact: &PodFact| PodFact { version: String::new(), ..fact.clone() };
        versionless(self) == versionless(other)
    }
}

/// A Service on the wire.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceWire {
    pub(crate) metadata: ObjectMeta,
    spec: ServiceSpecWire,
    status: ServiceStatusWire,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpecWire {
    selector: Option<BTreeMap<String, String>>,
    ports: Option<Vec<ServicePort>>,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    r#type: String,
    session_affinity: String,
    session_affinity_config: Option<AffinityWire>,
    traffic_distribution: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AffinityWire {
    #[serde(rename = "clientIP")]
    client_ip: Option<ClientIpWire>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ClientIpWire {
    timeout_seconds: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServiceStatusWire {
    conditions: Option<Vec<Condition>>,
}

impl ServiceWire {
    /// What is kept; nothing when the proxy has no part in this Service.
    pub(crate) fn fact(self) -> Option<ServiceFact> {
        let spec = self.spec;
        let address: Ipv4Addr = spec.cluster_ip.parse().ok().filter(Ipv4Addr::is_loopback)?;
        let ports: Vec<PortFact> = spec.ports.unwrap_or_default().iter().filter_map(port).collect();
        if spec.r#type == "ExternalName" || ports.is_empty() || self.metadata.is_terminating() {
            return None;
        }
        let seconds = spec.session_affinity_config.and_then(|c| c.client_ip).and_then(|c| c.timeout_seconds);
        let affinity = Duration::from_secs(seconds.unwrap_or(AFFINITY_SECONDS_DEFAULT));
        let close = |text: &String| text == "PreferClose" || text == "PreferSameZone";
        let annotated = self.metadata.annotations.get(PREFER_CELL).is_some_and(|v| v == "true");
        Some(ServiceFact {
            uid: self.metadata.uid,
            address,
            ports,
            selector: spec.selector.unwrap_or_default(),
            prefers_cell: annotated || spec.traffic_distribution.as_ref().is_some_and(close),
            affinity: (spec.session_affinity == "ClientIP").then_some(affinity),
            serving: self.status.conditions.unwrap_or_default().into_iter().find(|c| c.r#type == SERVING),
        })
    }
}

fn port(port: &ServicePort) -> Option<PortFact> {
    if !matches!(port.protocol.as_str(), "" | "TCP") {
        return None;
    }
    let number = |n: i32| u16::try_from(n).ok().filter(|n| *n != 0);
    let is_http = port.app_protocol.as_deref().is_some_and(|p| p.eq_ignore_ascii_case("http"));
    Some(PortFact {
        name: port.name.clone(),
        port: number(port.port)?,
        node_port: port.node_port.and_then(number),
        mode: if is_http { Mode::Http } else { Mode::L4 },
    })
}

/// An EndpointSlice on the wire.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SliceWire {
    pub(crate) metadata: ObjectMeta,
    address_type: String,
    endpoints: Option<Vec<EndpointWire>>,
    ports: Option<Vec<SlicePortWire>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct EndpointWire {
    addresses: Option<Vec<String>>,
    conditions: Option<ConditionsWire>,
    target_ref: Option<TargetWire>,
    zone: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConditionsWire {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TargetWire {
    kind: String,
    name: String,
    uid: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SlicePortWire {
    name: Option<String>,
    port: Option<i32>,
    protocol: Option<String>,
}

impl SliceWire {
    /// What is kept; nothing when the slice belongs to no Service or is not of IPv4.
    pub(crate) fn fact(self) -> Option<SliceFact> {
        let service = self.metadata.labels.get(SERVICE_NAME)?;
        if self.address_type != "IPv4" {
            return None;
        }
        let all = self.endpoints.unwrap_or_default();
        let count = all.len();
        let endpoints: Vec<EndpointFact> = all.into_iter().filter_map(endpoint).collect();
        Some(SliceFact {
            service: ObjectKey::new(&*self.metadata.namespace, service),
            ports: self.ports.unwrap_or_default().into_iter().filter_map(slice_port).collect(),
            elsewhere: count - endpoints.len(),
            endpoints,
        })
    }
}

/// The addresses of one endpoint are interchangeable; the first is taken, as kube-proxy does.
fn endpoint(wire: EndpointWire) -> Option<EndpointFact> {
    let address = wire.addresses?.first()?.parse().ok().filter(Ipv4Addr::is_loopback)?;
    let conditions = wire.conditions.unwrap_or_default();
    // What is not said: ready is to be taken as true, serving as what ready is (discovery.k8s.io/v1).
    let ready = conditions.ready.unwrap_or(true);
    let pod = wire.target_ref.filter(|t| t.kind == "Pod").map(|t| (t.name, t.uid));
    Some(EndpointFact {
        address,
        pod,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        zone: wire.zone,
    })
}

fn slice_port(wire: SlicePortWire) -> Option<(String, u16)> {
    let number = u16::try_from(wire.port?).ok()?;
    let tcp = wire.protocol.is_none_or(|p| p.is_empty() || p == "TCP");
    tcp.then(|| (wire.name.unwrap_or_default(), number))
}

/// A pod on the wire.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct PodWire {
    pub(crate) metadata: ObjectMeta,
    spec: PodSpecWire,
    status: PodStatusWire,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodSpecWire {
    node_name: String,
    readiness_gates: Option<Vec<PodReadinessGate>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodStatusWire {
    #[serde(rename = "podIP")]
    pod_ip: String,
    conditions: Option<Vec<Condition>>,
}

impl PodWire {
    /// What is kept; nothing when the pod is neither on loopback nor protected by anybody.
    pub(crate) fn fact(self) -> Option<PodFact> {
        let address = self.status.pod_ip.parse().ok().filter(Ipv4Addr::is_loopback);
        let mut pod = Pod { metadata: self.metadata, ..Pod::default() };
        if address.is_none() && drain::protections(&pod).next().is_none() {
            return None;
        }
        pod.spec.readiness_gates = self.spec.readiness_gates.unwrap_or_default();
        pod.status.conditions = self.status.conditions.unwrap_or_default();
        let closed = |gate| pod.condition(gate).is_some_and(|c| c.status == "False");
        let gate_closed = drain::gate(&pod).is_some_and(closed);
        let (takes_part, expected) = (drain::takes_part(&pod), drain::expected(&pod));
        let terminating = pod.metadata.is_terminating();
        let mut meta = pod.metadata;
        Some(PodFact {
            address,
            node: self.spec.node_name,
            conditions: meta.annotations.remove(drain::AVAILABLE_CONDITIONS),
            uid: meta.uid,
            version: meta.resource_version,
            labels: meta.labels,
            finalizers: meta.finalizers,
            expected,
            takes_part,
            gate_closed,
            terminating,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn service(spec: Value) -> Option<ServiceFact> {
        from_value::<ServiceWire>(json!({"metadata": {"name": "web", "uid": "u"}, "spec": spec}))
            .unwrap()
            .fact()
    }

    #[test]
    fn only_services_with_a_loopback_address_are_served() {
        let ports =
            json!([{"port": 80, "appProtocol": "http"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
        let served = service(json!({"clusterIP": "127.4.0.9", "ports": ports})).unwrap();
        assert_eq!(served.ports.len(), 1, "UDP is not forwarded");
        assert_eq!(served.ports[0].mode, Mode::Http);
        for other in ["10.96.0.9", "None", "", "128.0.0.1", "::1"] {
            assert_eq!(service(json!({"clusterIP": other, "ports": ports})), None, "{other}");
        }
        assert_eq!(service(json!({"clusterIP": "127.4.0.9", "type": "ExternalName", "ports": ports})), None);
        assert_eq!(service(json!({"clusterIP": "127.4.0.9"})), None);
    }

    #[test]
    fn affinity_and_closeness_are_read_in_all_their_forms() {
        let ports = json!([{"port": 80}]);
        let of = |more: Value| {
            let mut spec = json!({"clusterIP": "127.4.0.9", "ports": ports});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            service(spec).unwrap()
        };
        assert_eq!(of(json!({})).affinity, None);
        let sticky = json!({"sessionAffinity": "ClientIP"});
        assert_eq!(of(sticky).affinity, Some(Duration::from_secs(10_800)));
        let short = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}});
        assert_eq!(of(short).affinity, Some(Duration::from_secs(5)));
        assert!(of(json!({"trafficDistribution": "PreferClose"})).prefers_cell);
        assert!(of(json!({"trafficDistribution": "PreferSameZone"})).prefers_cell);
        assert!(!of(json!({"trafficDistribution": "Other"})).prefers_cell);
    }

    #[test]
    fn endpoints_outside_of_loopback_are_counted_and_forgotten() {
        let slice = json!({
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": 8080}],
            "endpoints": [
                {"addresses": ["127.4.64.1"]}, {"addresses": ["10.0.0.1"]}, {"addresses": ["169.254.169.254"]},
                {"addresses": ["127.4.64.2"], "conditions": {"ready": false}},
            ],
        });
        let slice = from_value::<SliceWire>(slice).unwrap().fact().unwrap();
        assert_eq!(slice.elsewhere, 2);
        let seen: Vec<_> =
            slice.endpoints.iter().map(|e| (e.address.octets()[3], e.ready, e.serving)).collect();
        assert_eq!(seen, [(1, true, true), (2, false, false)]);
    }

    #[test]
    fn pods_elsewhere_are_kept_only_while_somebody_protects_them() {
        let pod = |ip: &str, finalizers: Value| {
            let pod = json!({"metadata": {"name": "a", "finalizers": finalizers}, "status": {"podIP": ip}});
            from_value::<PodWire>(pod).unwrap().fact()
        };
        assert!(pod("10.0.0.1", json!([])).is_none());
        assert!(pod("10.0.0.1", json!([drain::protection_of("web")])).is_some_and(|p| p.address.is_none()));
        assert!(pod("127.4.64.1", json!(null)).is_some_and(|p| p.address.is_some()));
    }
}
