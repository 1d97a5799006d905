//! Cluster addresses and node ports of Services, each given once.
//!
//! What is given is what stored Services hold: the sets here are a cache of it, filled on first need.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use api_meta::Cause;
use serde_json::{Value, json};
use store::KeyRange;

use crate::refuse::{Outcome, cause, internal, invalid};
use crate::registry::Served;
use crate::server::{ApiServer, ServiceRange};
use crate::stored;

/// What is taken.
#[derive(Debug, Default)]
struct Taken {
    ips: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u16>,
}

/// The allocator.
pub(crate) struct Addresses {
    range: ServiceRange,
    taken: Mutex<Option<Taken>>,
}

/// What one write was given; to be given back if it fails.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Given {
    ips: Vec<Ipv4Addr>,
    ports: Vec<u16>,
}

impl Given {
    pub(crate) fn give_back(self, addresses: &Addresses) {
        if let Some(taken) = addresses.taken().as_mut() {
            self.ips.iter().for_each(|ip| {
                taken.ips.remove(ip);
            });
            self.ports.iter().for_each(|port| {
                taken.ports.remove(port);
            });
        }
    }
}

impl Addresses {
    pub(crate) fn new(range: ServiceRange) -> Addresses {
        Addresses { range, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Option<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first address of the block, which belongs to the `kubernetes` Service.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.range.network) + 1)
    }

    pub(crate) fn range(&self) -> &ServiceRange {
        &self.range
    }

    fn contains(&self, ip: Ipv4Addr) -> bool {
        let base = u32::from(self.range.network);
        let n = u32::from(ip);
        n > base && n < base + self.size() - 1
    }

    fn size(&self) -> u32 {
        1 << (32 - u32::from(self.range.prefix.clamp(8, 30)))
    }

    /// Gives a new Service its address and ports; other objects nothing.
    pub(crate) fn allocate(
        &self,
        server: &ApiServer,
        served: &Served,
        object: &mut Value,
        dry_run: bool,
    ) -> Outcome<Given> {
        if &*served.storage_key != "services" {
            return Ok(Given::default());
        }
        self.give(server, served, object, dry_run)
    }

    /// Gives a changed Service what its new type needs and takes back what it no longer has.
    pub(crate) fn reallocate(
        &self,
        server: &ApiServer,
        served: &Served,
        new: &mut Value,
        old: &Value,
        dry_run: bool,
    ) -> Outcome<Given> {
        if &*served.storage_key != "services" {
            return Ok(Given::default());
        }
        keep_addresses(new, old);
        self.give(server, served, new, dry_run)
    }

    /// Takes back what a removed or changed Service no longer has.
    pub(crate) fn release(&self, served: &Served, object: &Value) {
        if &*served.storage_key != "services" {
            return;
        }
        if let Some(taken) = self.taken().as_mut() {
            ips_of(object).for_each(|ip| {
                taken.ips.remove(&ip);
            });
            ports_of(object).for_each(|port| {
                taken.ports.remove(&port);
            });
        }
    }

    /// Takes back what `old` had and `new` does not.
    pub(crate) fn release_difference(&self, served: &Served, new: &Value, old: &Value) {
        if &*served.storage_key != "services" {
            return;
        }
        let (ips, ports): (BTreeSet<_>, BTreeSet<_>) = (ips_of(new).collect(), ports_of(new).collect());
        if let Some(taken) = self.taken().as_mut() {
            ips_of(old).filter(|ip| !ips.contains(ip)).for_each(|ip| {
                taken.ips.remove(&ip);
            });
            ports_of(old).filter(|p| !ports.contains(p)).for_each(|p| {
                taken.ports.remove(&p);
            });
        }
    }

    fn give(&self, server: &ApiServer, served: &Served, object: &mut Value, dry_run: bool) -> Outcome<Given> {
        let mut guard = self.taken();
        let taken = match guard.as_mut() {
            Some(taken) => taken,
            None => guard.insert(load(server)?),
        };
        let own = own(server, object)?;
        let mut given = Given::default();
        let mut attempt = Attempt { addresses: self, server, taken, own: &own, given: &mut given };
        let causes = attempt.run(object);
        if !causes.is_empty() || dry_run {
            given.ips.iter().for_each(|ip| {
                taken.ips.remove(ip);
            });
            given.ports.iter().for_each(|port| {
                taken.ports.remove(port);
            });
            given = Given::default();
        }
        if causes.is_empty() {
            return Ok(given);
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        Err(invalid(&served.resource.group, &served.resource.kind, name, causes))
    }
}

/// What the stored version of this Service holds already.
fn own(server: &ApiServer, object: &Value) -> Outcome<Taken> {
    let text = |k: &str| object["metadata"][k].as_str().unwrap_or_default();
    let key = store::Key::new("services", text("namespace"), text("name"));
    let Some(found) = server.store.get(&key).filter(|s| s.row.uid == *text("uid")) else {
        return Ok(Taken::default());
    };
    let old = stored::decode(&found)?;
    Ok(Taken { ips: ips_of(&old).collect(), ports: ports_of(&old).collect() })
}

fn load(server: &ApiServer) -> Outcome<Taken> {
    let range = KeyRange { resource: "services".into(), namespace: None };
    let page = server.store.list(&range, None, None, 0, None).map_err(internal)?;
    let mut taken = Taken::default();
    for item in &page.items {
        let service = stored::decode(item)?;
        taken.ips.extend(ips_of(&service));
        taken.ports.extend(ports_of(&service));
    }
    Ok(taken)
}

fn ips_of(service: &Value) -> impl Iterator<Item = Ipv4Addr> {
    let all: Vec<Ipv4Addr> = service["spec"]["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(std::iter::once(&service["spec"]["clusterIP"]))
        .filter_map(|ip| ip.as_str()?.parse().ok())
        .collect();
    all.into_iter()
}

fn ports_of(service: &Value) -> impl Iterator<Item = u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let ports = ports.filter_map(|p| p["nodePort"].as_u64());
    let check = service["spec"]["healthCheckNodePort"].as_u64();
    let all: Vec<u16> = ports.chain(check).filter_map(|p| u16::try_from(p).ok()).filter(|p| *p > 0).collect();
    all.into_iter()
}

/// A PUT without the address keeps it; so do ports that stay the same.
fn keep_addresses(new: &mut Value, old: &Value) {
    let kind = new["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" {
        return;
    }
    // Who changes the one address and leaves the list as it was means both.
    let (one, was) = (new["spec"]["clusterIP"].clone(), &old["spec"]["clusterIP"]);
    if one.as_str().is_some_and(|ip| !ip.is_empty())
        && one != *was
        && new["spec"]["clusterIPs"] == old["spec"]["clusterIPs"]
    {
        new["spec"]["clusterIPs"] = json!([one]);
    }
    for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let is_unset = new["spec"][key].as_str().is_none_or(str::is_empty) && !new["spec"][key].is_array();
        if is_unset && !old["spec"][key].is_null() {
            new["spec"][key] = old["spec"][key].clone();
        }
    }
    if !matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        return;
    }
    let before = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |b: &&Value| b["port"] == port["port"] && b["protocol"] == port["protocol"];
        let kept = before.iter().find(same).map(|b| b["nodePort"].clone());
        if let (true, Some(kept)) =
            (port["nodePort"].as_u64().unwrap_or(0) == 0, kept.filter(|k| !k.is_null()))
        {
            port["nodePort"] = kept;
        }
    }
}

struct Attempt<'a> {
    addresses: &'a Addresses,
    server: &'a ApiServer,
    taken: &'a mut Taken,
    own: &'a Taken,
    given: &'a mut Given,
}

impl Attempt<'_> {
    fn run(&mut self, object: &mut Value) -> Vec<Cause> {
        let spec = &mut object["spec"];
        if !spec.is_object() {
            return Vec::new();
        }
        let kind = spec["type"].as_str().unwrap_or("ClusterIP").to_owned();
        if kind == "ExternalName" {
            // Validation has the words for an address that is of no use.
            if let (Some(ip), true) =
                (spec["clusterIP"].as_str().filter(|ip| !ip.is_empty()), spec["clusterIPs"].is_null())
            {
                spec["clusterIPs"] = json!([ip]);
            }
            return Vec::new();
        }
        let unequal = unequal(spec);
        if !unequal.is_empty() {
            return unequal;
        }
        let mut causes = self.address(spec);
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
            causes.extend(self.ports(spec, &kind));
        }
        causes
    }

    fn address(&mut self, spec: &mut Value) -> Vec<Cause> {
        let wanted = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        let unserved = unserved(spec);
        if !unserved.is_empty() {
            return unserved;
        }
        families(spec, wanted == "None");
        if wanted == "None" {
            spec["clusterIPs"] = json!(["None"]);
            return Vec::new();
        }
        if wanted.is_empty() {
            let Some(ip) = self.free_ip() else {
                let text = "Internal error: failed to allocate a serviceIP: range is full";
                return vec![cause("InternalError", "spec.clusterIPs", text)];
            };
            spec["clusterIP"] = json!(ip.to_string());
            spec["clusterIPs"] = json!([ip.to_string()]);
            return Vec::new();
        }
        spec["clusterIPs"] = json!([wanted]);
        let Ok(ip) = wanted.parse::<Ipv4Addr>() else { return Vec::new() };
        self.take_ip(ip).into_iter().collect()
    }

    fn take_ip(&mut self, ip: Ipv4Addr) -> Option<Cause> {
        if self.own.ips.contains(&ip) {
            self.taken.ips.insert(ip);
            return None;
        }
        if !self.own.ips.is_empty() {
            // An address that is given does not change; validation has the words for it.
            return None;
        }
        let range = &self.addresses.range;
        let why = if !self.addresses.contains(ip) {
            format!(
                "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}/{}",
                range.network, range.prefix
            )
        } else if self.taken.ips.insert(ip) {
            self.given.ips.push(ip);
            return None;
        } else {
            "provided IP is already allocated".to_owned()
        };
        let text = format!("Invalid value: [\"{ip}\"]: failed to allocate IP {ip}: {why}");
        Some(cause("FieldValueInvalid", "spec.clusterIPs", text))
    }

    /// A free address, looked for from a random place on; the first one is kept for the server itself.
    fn free_ip(&mut self) -> Option<Ipv4Addr> {
        let base = u32::from(self.addresses.range.network);
        let usable = self.addresses.size() - 3;
        let start = (self.server.env.rng.next_u64() % u64::from(usable)) as u32;
        let all = (0..usable).map(|i| Ipv4Addr::from(base + 2 + (start + i) % usable));
        let free = all.into_iter().find(|ip| !self.taken.ips.contains(ip))?;
        self.taken.ips.insert(free);
        self.given.ips.push(free);
        Some(free)
    }

    fn ports(&mut self, spec: &mut Value, kind: &str) -> Vec<Cause> {
        let automatic = spec["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true) || kind == "NodePort";
        let mut causes = Vec::new();
        for (i, port) in spec["ports"].as_array_mut().into_iter().flatten().enumerate() {
            let wanted = port["nodePort"].as_u64().unwrap_or(0);
            if wanted == 0 && automatic {
                match self.free_port() {
                    Some(free) => port["nodePort"] = json!(free),
                    None => causes.push(cause(
                        "InternalError",
                        "spec.ports",
                        "Internal error: no node port is free",
                    )),
                }
            } else if wanted != 0 {
                causes.extend(self.take_port(wanted, &format!("spec.ports[{i}].nodePort")));
            }
        }
        let is_local = spec["externalTrafficPolicy"] == "Local" && kind == "LoadBalancer";
        if is_local && spec["healthCheckNodePort"].as_u64().unwrap_or(0) == 0 {
            if let Some(free) = self.free_port() {
                spec["healthCheckNodePort"] = json!(free);
            }
        } else if let Some(wanted) = spec["healthCheckNodePort"].as_u64().filter(|p| *p > 0 && is_local) {
            causes.extend(self.take_port(wanted, "spec.healthCheckNodePort"));
        }
        causes
    }

    fn take_port(&mut self, wanted: u64, field: &str) -> Option<Cause> {
        let (first, last) = self.addresses.range.node_ports;
        let port = u16::try_from(wanted).ok().filter(|p| (first..=last).contains(p));
        let why = match port {
            Some(port) if self.own.ports.contains(&port) => {
                self.taken.ports.insert(port);
                return None;
            }
            Some(port) if self.taken.ports.insert(port) => {
                self.given.ports.push(port);
                return None;
            }
            Some(_) => "provided port is already allocated".to_owned(),
            None => {
                format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
            }
        };
        Some(cause("FieldValueInvalid", field, format!("Invalid value: {wanted}: {why}")))
    }

    fn free_port(&mut self) -> Option<u16> {
        let (first, last) = self.addresses.range.node_ports;
        let count = u64::from(last - first) + 1;
        let start = self.server.env.rng.next_u64() % count;
        let mut all = (0..count).map(|i| first + ((start + i) % count) as u16);
        let free = all.find(|p| !self.taken.ports.contains(p))?;
        self.taken.ports.insert(free);
        self.given.ports.push(free);
        Some(free)
    }
}

/// What is wrong between an address and the list of addresses.
fn unequal(spec: &Value) -> Vec<Cause> {
    let one = spec["clusterIP"].as_str().unwrap_or_default();
    let all = spec["clusterIPs"].as_array().map_or(&[][..], Vec::as_slice);
    let why = match (one, all) {
        (_, []) => return Vec::new(),
        ("", _) => "must be empty when `clusterIP` is not specified",
        (one, [first, ..]) if first != one => "first value must match `clusterIP`",
        (_, [_, _, ..]) if all.iter().any(|ip| ip == "None") => "'None' must be the first and only value",
        _ => return Vec::new(),
    };
    let text = format!("Invalid value: {}: {why}", spec["clusterIPs"]);
    vec![cause("FieldValueInvalid", "spec.clusterIPs", text)]
}

/// Addresses and families of the other kind, for which there is no range here.
fn unserved(spec: &Value) -> Vec<Cause> {
    let is_headless = spec["clusterIP"] == "None";
    let families = spec["ipFamilies"].as_array().map_or(&[][..], Vec::as_slice);
    let ip = spec["clusterIP"].as_str().unwrap_or_default();
    if families.is_empty() && ip.parse::<std::net::Ipv6Addr>().is_ok() {
        let text = format!("Invalid value: [{ip:?}]: IPv6 is not configured on this cluster");
        return vec![cause("FieldValueInvalid", "spec.clusterIPs[0]", text)];
    }
    let has_selector = spec["selector"].as_object().is_some_and(|s| !s.is_empty());
    if is_headless && !has_selector || families.first() != Some(&json!("IPv6")) {
        return Vec::new();
    }
    let text = "Invalid value: \"IPv6\": not configured on this cluster";
    vec![cause("FieldValueInvalid", "spec.ipFamilies[0]", text)]
}

/// One family, unless a headless Service without selector leaves it open.
fn families(spec: &mut Value, is_headless: bool) {
    let has_selector = spec["selector"].as_object().is_some_and(|s| !s.is_empty());
    if is_headless && !has_selector && spec["ipFamilies"].is_null() && spec["ipFamilyPolicy"].is_null() {
        spec["ipFamilies"] = json!(["IPv4", "IPv6"]);
        spec["ipFamilyPolicy"] = json!("RequireDualStack");
        return;
    }
    if spec["ipFamilyPolicy"].is_null() {
        spec["ipFamilyPolicy"] = json!("SingleStack");
    }
    if spec["ipFamilies"].is_null() {
        spec["ipFamilies"] = json!(["IPv4"]);
    }
}
