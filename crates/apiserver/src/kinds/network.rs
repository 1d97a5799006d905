//! Ingress, IngressClass, NetworkPolicy, and rules about addresses and ports.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::check::{Findings, Path, default, each_mut, given, int, list, text};
use super::names;
use super::show::{age_of, none_if_empty};
use crate::registry::{Column, Facts};

/// A port by number or name.
pub(super) fn target_port(found: &mut Findings, path: &Path<'_>, port: &Value) {
    match port {
        Value::String(name) => found.faults(path, name, names::port_name(name)),
        other => found.port(path, other.as_i64().unwrap_or(0)),
    }
}

/// Addresses that mean this machine or this link.
pub(super) fn not_local(found: &mut Findings, path: &Path<'_>, ip: &str) {
    let why = match ip.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => "may not be unspecified (0.0.0.0 or ::)",
        Ok(ip) if ip.is_loopback() => "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        Ok(IpAddr::V4(ip)) if ip.is_link_local() => {
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        }
        Ok(IpAddr::V4(ip)) if ip.octets()[..3] == [224, 0, 0] => {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        }
        _ => return,
    };
    found.invalid(path, ip, why);
}

// --- Ingress ------------------------------------------------------------------------------------------------------

const CLASS: &str = "kubernetes.io/ingress.class";

pub(super) static INGRESS: Facts = Facts {
    validate_create: |v, _| {
        let mut found = Findings::default();
        let annotation = text(&v["metadata"]["annotations"], CLASS);
        let class = text(&v["spec"], "ingressClassName");
        if !annotation.is_empty() && !class.is_empty() && annotation != class {
            let why = "must match `ingressClassName` when both are specified";
            found.invalid(&Path::Root("annotations.kubernetes.io/ingress.class"), annotation, why);
        }
        ingress(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |v, _, context| {
        let mut found = Findings::default();
        if context.subresource.is_empty() {
            ingress(&mut found, &v["spec"]);
        }
        found.causes
    },
    columns: &INGRESS_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        let balancers: Vec<&str> = list(&v["status"]["loadBalancer"], "ingress")
            .iter()
            .map(|i| if text(i, "ip").is_empty() { text(i, "hostname") } else { text(i, "ip") })
            .collect();
        let ports = if list(spec, "tls").is_empty() { "80" } else { "80, 443" };
        let class = match text(spec, "ingressClassName") {
            "" => text(&v["metadata"]["annotations"], CLASS),
            class => class,
        };
        vec![
            v["metadata"]["name"].clone(),
            none_if_empty(class),
            hosts(spec).into(),
            balancers.join(",").into(),
            ports.into(),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

static INGRESS_COLUMNS: [Column; 6] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Class", "string", "", 0),
    Column::new("Hosts", "string", "", 0),
    Column::new("Address", "string", "", 0),
    Column::new("Ports", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn hosts(spec: &Value) -> String {
    let all: Vec<&str> =
        list(spec, "rules").iter().map(|r| text(r, "host")).filter(|h| !h.is_empty()).collect();
    match all.len() {
        0 => "*".to_owned(),
        n if n > 3 => format!("{} + {} more...", all[..3].join(","), n - 3),
        _ => all.join(","),
    }
}

fn ingress(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    if list(spec, "rules").is_empty() && given(spec, "defaultBackend").is_none() {
        found.invalid(&path, json!(null), "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(backend) = given(spec, "defaultBackend") {
        self::backend(found, &path.field("defaultBackend"), backend);
    }
    let rules = path.field("rules");
    for (i, rule) in list(spec, "rules").iter().enumerate() {
        let at = rules.index(i);
        host(found, &at.field("host"), text(rule, "host"));
        let Some(http) = given(rule, "http") else { continue };
        let at = at.field("http");
        let at = at.field("paths");
        if list(http, "paths").is_empty() {
            found.required(&at, "");
        }
        for (i, one) in list(http, "paths").iter().enumerate() {
            http_path(found, &at.index(i), one);
        }
    }
    let tls = path.field("tls");
    for (i, one) in list(spec, "tls").iter().enumerate() {
        let at = tls.index(i);
        let secret = text(one, "secretName");
        if !secret.is_empty() {
            found.faults(&at.field("secretName"), secret, names::subdomain(secret));
        }
        let at = at.field("hosts");
        for (i, name) in list(one, "hosts").iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            let faults =
                if name.contains('*') { names::wildcard_subdomain(name) } else { names::subdomain(name) };
            found.faults(&at.index(i), name, faults);
        }
    }
    let class = text(spec, "ingressClassName");
    if !class.is_empty() {
        found.faults(&path.field("ingressClassName"), class, names::subdomain(class));
    }
}

fn host(found: &mut Findings, at: &Path<'_>, host: &str) {
    if host.is_empty() {
        return;
    }
    if host.parse::<IpAddr>().is_ok() {
        found.invalid(at, host, "must be a DNS name, not an IP address");
    }
    let faults = if host.contains('*') { names::wildcard_subdomain(host) } else { names::subdomain(host) };
    found.faults(at, host, faults);
}

fn http_path(found: &mut Findings, at: &Path<'_>, one: &Value) {
    let path = text(one, "path");
    match text(one, "pathType") {
        "" => found.required(&at.field("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !path.starts_with('/') {
                found.invalid(&at.field("path"), path, "must be an absolute path");
            }
            for odd in ["//", "/./", "/../", "%2f", "%2F"] {
                if path.contains(odd) {
                    found.invalid(&at.field("path"), path, &format!("must not contain '{odd}'"));
                }
            }
            for odd in ["/..", "/."] {
                if path.ends_with(odd) {
                    found.invalid(&at.field("path"), path, &format!("cannot end with '{odd}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.starts_with('/') {
                found.invalid(&at.field("path"), path, "must be an absolute path");
            }
        }
        other => {
            found.not_supported(&at.field("pathType"), other, &["Exact", "ImplementationSpecific", "Prefix"])
        }
    }
    backend(found, &at.field("backend"), &one["backend"]);
}

fn backend(found: &mut Findings, at: &Path<'_>, backend: &Value) {
    match (given(backend, "service"), given(backend, "resource")) {
        (Some(_), Some(_)) => found.invalid(at, "", "cannot set both resource and service backends"),
        (None, None) => found.invalid(at, "", "resource or service backend is required"),
        (None, Some(resource)) => {
            let path = at.field("resource");
            for name in ["kind", "name"].into_iter().filter(|name| text(resource, name).is_empty()) {
                found.required(&path.field(name), &format!("{name} is required"));
            }
        }
        (Some(service), None) => {
            let path = at.field("service");
            let name = text(service, "name");
            if name.is_empty() {
                found.required(&path.field("name"), "");
            } else {
                found.faults(&path.field("name"), name, names::label_1035(name));
            }
            let port = &service["port"];
            let (name, number) = (text(port, "name"), int(port, "number").unwrap_or(0));
            match (name.is_empty(), number == 0) {
                (false, false) => found.invalid(at, "", "cannot set both port name & port number"),
                (true, true) => found.required(at, "port name or number is required"),
                (false, true) => {
                    found.faults(&path.field("port").field("name"), name, names::port_name(name))
                }
                (true, false) => found.port(&path.field("port").field("number"), number),
            }
        }
    }
}

pub(super) static INGRESS_CLASS: Facts = Facts {
    validate_create: |v, _| {
        let mut found = Findings::default();
        controller(&mut found, v);
        found.causes
    },
    validate_update: |new, old, _| {
        let mut found = Findings::default();
        let (now, was) = (&new["spec"]["controller"], &old["spec"]["controller"]);
        found.immutable(&Path::Root("spec.controller"), now, was);
        if found.is_empty() {
            controller(&mut found, new);
        }
        found.causes
    },
    columns: &INGRESS_CLASS_COLUMNS,
    row: |v, now| {
        let parameters = &v["spec"]["parameters"];
        let shown = match (text(parameters, "kind"), text(parameters, "apiGroup")) {
            ("", _) => "<none>".to_owned(),
            (kind, "") => format!("{kind}/{}", text(parameters, "name")),
            (kind, group) => format!("{kind}.{group}/{}", text(parameters, "name")),
        };
        vec![
            v["metadata"]["name"].clone(),
            v["spec"]["controller"].clone(),
            shown.into(),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

static INGRESS_CLASS_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Controller", "string", "", 0),
    Column::new("Parameters", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn controller(found: &mut Findings, v: &Value) {
    let controller = text(&v["spec"], "controller");
    let at = Path::Root("spec.controller");
    if controller.is_empty() {
        found.required(&at, "");
    } else if controller.len() > 250 {
        found.too_long(&at, 250);
    } else {
        found.faults(&at, controller, names::domain_prefixed_path(controller));
    }
}

// --- NetworkPolicy ------------------------------------------------------------------------------------------------

pub(super) static NETWORK_POLICY: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        for direction in ["ingress", "egress"] {
            for rule in each_mut(spec, direction) {
                each_mut(rule, "ports").for_each(|p| default(p, "protocol", "TCP"));
            }
        }
        if list(spec, "policyTypes").is_empty() {
            let both = !list(spec, "egress").is_empty();
            spec["policyTypes"] = if both { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        }
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        policy(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |v, _, _| {
        let mut found = Findings::default();
        policy(&mut found, &v["spec"]);
        found.causes
    },
    columns: &POLICY_COLUMNS,
    row: |v, now| {
        let shown = match names::show_selector(&v["spec"]["podSelector"]) {
            text if text.is_empty() => "<none>".to_owned(),
            text => text,
        };
        vec![v["metadata"]["name"].clone(), shown.into(), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

static POLICY_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Pod-Selector", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn policy(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    names::selector(found, &path.field("podSelector"), &spec["podSelector"]);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let at = path.field(direction);
        for (i, rule) in list(spec, direction).iter().enumerate() {
            let here = at.index(i);
            let ports = here.field("ports");
            for (i, port) in list(rule, "ports").iter().enumerate() {
                policy_port(found, &ports.index(i), port);
            }
            let at = here.field(peers);
            for (i, peer) in list(rule, peers).iter().enumerate() {
                policy_peer(found, &at.index(i), peer);
            }
        }
    }
    let at = path.field("policyTypes");
    let types = list(spec, "policyTypes");
    if types.len() > 2 {
        found.invalid(&at, spec["policyTypes"].clone(), "may not specify more than two policyTypes");
        return;
    }
    for (i, kind) in types.iter().enumerate() {
        found.one_of(&at.index(i), kind.as_str().unwrap_or_default(), &["Ingress", "Egress"]);
    }
}

fn policy_port(found: &mut Findings, path: &Path<'_>, port: &Value) {
    found.one_of(&path.field("protocol"), text(port, "protocol"), &["SCTP", "TCP", "UDP"]);
    let number = given(port, "port");
    if let Some(p) = number {
        target_port(found, &path.field("port"), p);
    }
    if let Some(end) = int(port, "endPort") {
        let at = path.field("endPort");
        match number {
            None => found.invalid(&at, end, "may not be specified when `port` is not specified"),
            Some(Value::String(_)) => {
                found.invalid(&at, end, "may not be specified when `port` is non-numeric")
            }
            Some(p) if p.as_i64().unwrap_or(0) > end => {
                found.invalid(&at, end, "must be greater than or equal to `port`");
            }
            Some(_) => found.port(&at, end),
        }
    }
}

fn policy_peer(found: &mut Findings, path: &Path<'_>, peer: &Value) {
    let mut count = 0;
    for name in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = given(peer, name) {
            count += 1;
            names::selector(found, &path.field(name), selector);
        }
    }
    if let Some(block) = given(peer, "ipBlock") {
        let at = path.field("ipBlock");
        ip_block(found, &at, block);
        if count > 0 {
            found.forbidden(path, "may not specify both ipBlock and another peer");
        }
        count += 1;
    }
    if count == 0 {
        found.required(path, "must specify a peer");
    }
}

fn ip_block(found: &mut Findings, at: &Path<'_>, block: &Value) {
    let cidr = text(block, "cidr");
    if cidr.is_empty() {
        found.required(&at.field("cidr"), "");
        return;
    }
    found.faults(&at.field("cidr"), cidr, names::cidr(cidr));
    let Some(whole) = names::parse_cidr(cidr) else { return };
    let except = at.field("except");
    for (i, one) in list(block, "except").iter().enumerate() {
        let one = one.as_str().unwrap_or_default();
        found.faults(&except.index(i), one, names::cidr(one));
        let Some(part) = names::parse_cidr(one) else { continue };
        if !contains(whole, part) {
            found.invalid(&except.index(i), one, &format!("must be a strict subset of `cidr`: {cidr:?}"));
        }
    }
}

fn contains((whole, bits): (IpAddr, u8), (part, longer): (IpAddr, u8)) -> bool {
    let head = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)).checked_shr(32 - u32::from(bits)).unwrap_or(0),
        IpAddr::V6(ip) => u128::from(ip).checked_shr(128 - u32::from(bits)).unwrap_or(0),
    };
    whole.is_ipv4() == part.is_ipv4() && longer > bits && head(whole) == head(part)
}
