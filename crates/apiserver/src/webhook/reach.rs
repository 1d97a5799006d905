//! From a `clientConfig` to addresses, within bounds: a configuration may not make the server talk to whatever it likes.
//!
//! What may be connected to is judged by the address itself, after names were resolved, and the connection goes to just that
//! address: a name cannot point elsewhere the next time. Redirects are not followed (see [`super::call`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::Value;
use store::{Key, KeyRange, Store};

use crate::stored;

/// Which addresses webhooks may have, beyond ordinary ones. Never: unspecified, broadcast and multicast addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// 127.0.0.0/8 and ::1: where pods and operators of a cluster in one machine are. Whoever may write configurations
    /// can then have JSON posted over TLS to programs of this machine.
    pub loopback: bool,
    /// 169.254.0.0/16 and fe80::/10, and the few other addresses where clouds tell machines their secrets.
    pub link_local: bool,
}

impl Default for Reach {
    /// For a cluster in one machine: loopback, nothing link-local.
    fn default() -> Reach {
        Reach { loopback: true, link_local: false }
    }
}

/// Where clouds tell machines their secrets beyond link-local addresses: Alibaba, Azure, Oracle, and AWS over IPv6.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)),
];

/// The address of IPv4 that one of IPv6 stands for: mapped, compatible, translated (64:ff9b::/96), or 6to4 (2002::/16).
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else { return address.to_canonical() };
    let parts = v6.segments();
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // Not ::1 and ::, which are themselves.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => of(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        _ => address,
    }
}

impl Reach {
    /// Whether an address may be connected to.
    pub fn admits(self, address: IpAddr) -> bool {
        let address = plain(address);
        let is_link_local = METADATA.contains(&address)
            || match address {
                IpAddr::V4(v4) => v4.is_link_local(),
                IpAddr::V6(v6) => v6.is_unicast_link_local(),
            };
        let is_never = match address {
            // All of 0.0.0.0/8 reaches this machine on some systems.
            IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_broadcast() || v4.is_multicast(),
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
        };
        !is_never && (self.loopback || !address.is_loopback()) && (self.link_local || !is_link_local)
    }
}

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// At a URL.
    Url { host: String, port: u16, path: String, shown: String },
    /// Behind a Service of this cluster.
    Service { namespace: String, name: String, port: u16, path: String },
}

impl Target {
    /// Reads a `clientConfig`.
    pub(crate) fn read(client: &Value) -> Option<Target> {
        let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
        if let Some(url) = client["url"].as_str() {
            let uri: http::Uri = url.parse().ok()?;
            let host = uri.host()?.trim_matches(['[', ']']).to_owned();
            let path = uri.path_and_query().map_or("/".to_owned(), |p| p.as_str().to_owned());
            return Some(Target::Url {
                host,
                port: uri.port_u16().unwrap_or(443),
                path,
                shown: url.to_owned(),
            });
        }
        let service = client.get("service").filter(|s| s.is_object())?;
        let path = text(service, "path");
        Some(Target::Service {
            namespace: text(service, "namespace"),
            name: text(service, "name"),
            port: service["port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or(443),
            path: if path.is_empty() { "/".to_owned() } else { path },
        })
    }

    /// The name that the certificate must have, which is also the host of the request.
    pub(crate) fn host(&self) -> String {
        match self {
            Target::Url { host, .. } => host.clone(),
            Target::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
        }
    }

    /// Host and port as the `Host` header has them.
    pub(super) fn authority(&self) -> String {
        let (host, port) = match self {
            Target::Url { port, .. } | Target::Service { port, .. } => (self.host(), port),
        };
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Path and query to post to; `query` is added.
    pub(super) fn path(&self, query: &str) -> String {
        let (Target::Url { path, .. } | Target::Service { path, .. }) = self;
        with_query(path, query)
    }

    /// The URL as messages show it.
    pub(super) fn shown(&self, query: &str) -> String {
        match self {
            Target::Url { shown, .. } => with_query(shown, query),
            Target::Service { path, .. } => with_query(&format!("https://{}{path}", self.authority()), query),
        }
    }

    /// Addresses to try, one after the other.
    pub(super) async fn addresses(&self, store: &Store, reach: Reach) -> Result<Vec<SocketAddr>, String> {
        let found = match self {
            Target::Url { host, port, .. } => lookup(host, *port).await?,
            Target::Service { namespace, name, port, .. } => endpoints(store, namespace, name, *port)?,
        };
        let admitted: Vec<SocketAddr> = found.iter().copied().filter(|a| reach.admits(a.ip())).collect();
        match (admitted.is_empty(), found.first()) {
            (true, Some(first)) => {
                Err(format!("dial tcp {first}: this server does not call webhooks at such addresses"))
            }
            _ => Ok(admitted),
        }
    }
}

fn with_query(path: &str, query: &str) -> String {
    match (query.is_empty(), path.contains('?')) {
        (true, _) => path.to_owned(),
        (false, true) => format!("{path}&{query}"),
        (false, false) => format!("{path}?{query}"),
    }
}

async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
    if found.is_empty() { Err(format!("dial tcp: lookup {host}: no such host")) } else { Ok(found) }
}

/// The ready endpoints of a Service, found in the store: this works before any proxy does. A Service without slices of its
/// own, but with an address, is called at that.
fn endpoints(store: &Store, namespace: &str, name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let service = store.get(&Key::new("services", namespace, name));
    let service = service.and_then(|s| stored::decode(&s).ok());
    let service = service.ok_or_else(|| format!("service {name:?} not found"))?;
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let wanted = ports
        .find(|p| p["port"] == port)
        .ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let port_name = wanted["name"].as_str().unwrap_or_default();
    let range =
        KeyRange { resource: "endpointslices.discovery.k8s.io".into(), namespace: Some(namespace.into()) };
    let of_service = |s: &store::Stored| s.row.labels().get("kubernetes.io/service-name") == Some(name);
    let slices = store.list(&range, None, None, 0, Some(&of_service)).map_err(|e| e.to_string())?;
    let found: Vec<SocketAddr> = slices
        .items
        .iter()
        .filter_map(|s| stored::decode(s).ok())
        .flat_map(|s| ready(&s, port_name))
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let address = service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse::<IpAddr>().ok());
    match address.filter(|_| slices.items.is_empty()) {
        Some(address) => Ok(vec![SocketAddr::new(address, port)]),
        None => Err(format!("no endpoints available for service {name:?}")),
    }
}

/// Addresses of a slice that are ready, at the port of that name.
fn ready(slice: &Value, port_name: &str) -> Vec<SocketAddr> {
    let mut ports = slice["ports"].as_array().into_iter().flatten();
    let port = ports.find(|p| p["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = port.and_then(|p| p["port"].as_u64()).and_then(|p| u16::try_from(p).ok()) else {
        return Vec::new();
    };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|e| e["conditions"]["ready"] != false);
    let addresses = ready.filter_map(|e| e["addresses"][0].as_str()?.parse::<IpAddr>().ok());
    addresses.map(|a| SocketAddr::new(a, port)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn urls_and_services_are_read() {
        let url = Target::read(&json!({"url": "https://[::1]:8443/convert"})).unwrap();
        assert_eq!((url.host().as_str(), url.authority().as_str()), ("::1", "[::1]:8443"));
        assert_eq!(url.shown("timeout=3s"), "https://[::1]:8443/convert?timeout=3s");
        let service =
            Target::read(&json!({"service": {"namespace": "a", "name": "b", "path": "/x"}})).unwrap();
        assert_eq!(service.host(), "b.a.svc");
        assert_eq!(service.shown("timeout=10s"), "https://b.a.svc:443/x?timeout=10s");
        assert_eq!(service.path(""), "/x");
        assert_eq!(Target::read(&json!({})), None);
    }

    #[test]
    fn a_configuration_does_not_reach_what_it_should_not() {
        let admits = |reach: Reach, ip: &str| reach.admits(ip.parse().unwrap());
        let (open, closed) =
            (Reach { loopback: true, link_local: true }, Reach { loopback: false, link_local: false });
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(admits(Reach::default(), ip) && !admits(closed, ip), "{ip}");
        }
        let secrets = [
            "169.254.169.254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
        ];
        for ip in secrets {
            assert!(admits(open, ip) && !admits(Reach::default(), ip), "{ip}");
        }
        for ip in ["0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "224.0.0.1", "ff02::1"] {
            assert!(!admits(open, ip), "{ip}");
        }
        for ip in ["10.0.0.1", "192.0.2.7", "2001:db8::1"] {
            assert!(admits(closed, ip), "{ip}");
        }
    }

    #[test]
    fn only_ready_endpoints_at_the_named_port_are_called() {
        let slice = json!({
            "ports": [{"name": "web", "port": 80}, {"name": "hook", "port": 9443}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.3"], "conditions": {}}
            ]
        });
        let shown: Vec<String> = ready(&slice, "hook").iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.2:9443", "10.0.0.3:9443"]);
        assert!(ready(&slice, "other").is_empty());
    }
}
