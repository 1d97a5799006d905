//! Service.

use api_meta::Cause;
use serde_json::{Value, json};

use super::check::{Findings, Path, default, each_mut, entries, given, int, list, put, remove, text};
use super::names;
use super::show::{age_of, none_if_empty};
use crate::registry::{Column, Context, Facts, Generation, Names};

pub(super) static SERVICE: Facts = Facts {
    default: default_service,
    prepare_create: |v, _| put(v, "status", json!({"loadBalancer": {}})),
    prepare_update: |new, old, context| {
        if context.subresource.is_empty() {
            drop_what_the_type_lacks(new, old);
        }
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        service(&mut found, v);
        found.causes
    },
    validate_update: service_update,
    warnings: |new, old| {
        let is_new = old.is_none_or(|o| o["spec"]["externalIPs"] != new["spec"]["externalIPs"]);
        let has = !list(&new["spec"], "externalIPs").is_empty();
        let text = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
        if has && is_new { vec![text.to_owned()] } else { Vec::new() }
    },
    generation: Generation::None,
    names: Names::Label,
    selectable: &["spec.clusterIP", "spec.type"],
    field: |v, name| match name {
        "spec.clusterIP" => text(&v["spec"], "clusterIP").to_owned(),
        _ => text(&v["spec"], "type").to_owned(),
    },
    columns: &SERVICE_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        vec![
            v["metadata"]["name"].clone(),
            spec["type"].clone(),
            none_if_empty(match text(spec, "clusterIP") {
                "" => list(spec, "clusterIPs").first().and_then(Value::as_str).unwrap_or_default(),
                ip => ip,
            }),
            external_ip(v).into(),
            none_if_empty(&ports(spec)),
            age_of(v, now).into(),
            names::show_labels(spec, "selector").into(),
        ]
    },
    ..Facts::PLAIN
};

static SERVICE_COLUMNS: [Column; 7] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Type", "string", "", 0),
    Column::new("Cluster-IP", "string", "", 0),
    Column::new("External-IP", "string", "", 0),
    Column::new("Port(s)", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("Selector", "string", "", 1),
];

fn ports(spec: &Value) -> String {
    let one = |p: &Value| {
        let (port, protocol) = (int(p, "port").unwrap_or(0), text(p, "protocol"));
        match int(p, "nodePort").unwrap_or(0) {
            0 => format!("{port}/{protocol}"),
            node => format!("{port}:{node}/{protocol}"),
        }
    };
    list(spec, "ports").iter().map(one).collect::<Vec<_>>().join(",")
}

fn external_ip(v: &Value) -> String {
    let spec = &v["spec"];
    let mut all: Vec<&str> = list(spec, "externalIPs").iter().filter_map(Value::as_str).collect();
    match text(spec, "type") {
        "ExternalName" => return text(spec, "externalName").to_owned(),
        "LoadBalancer" => {
            let ingress = list(&v["status"]["loadBalancer"], "ingress");
            let given: Vec<&str> = ingress
                .iter()
                .map(|i| if text(i, "ip").is_empty() { text(i, "hostname") } else { text(i, "ip") })
                .collect();
            if given.is_empty() && all.is_empty() {
                return "<pending>".to_owned();
            }
            all.splice(0..0, given);
        }
        _ => {}
    }
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

fn default_service(v: &mut Value) {
    let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
    default(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => drop(remove(spec, "sessionAffinityConfig")),
        "ClientIP" if given(&spec["sessionAffinityConfig"]["clientIP"], "timeoutSeconds").is_none() => {
            spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10_800}});
        }
        _ => {}
    }
    default(spec, "type", "ClusterIP");
    for port in each_mut(spec, "ports") {
        default(port, "protocol", "TCP");
        if port["targetPort"] == 0 || port["targetPort"] == "" || port["targetPort"].is_null() {
            let own = port["port"].clone();
            put(port, "targetPort", own);
        }
    }
    let kind = text(spec, "type").to_owned();
    let is_external = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    let has_ips = !list(spec, "externalIPs").is_empty();
    if is_external || (kind == "ClusterIP" && has_ips) {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
    for ingress in v.pointer_mut("/status/loadBalancer").into_iter().flat_map(|s| each_mut(s, "ingress")) {
        if !text(ingress, "ip").is_empty() {
            default(ingress, "ipMode", "VIP");
        }
    }
}

fn needs_cluster_ip(spec: &Value) -> bool {
    text(spec, "type") != "ExternalName"
}

fn needs_node_port(spec: &Value) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != Value::Bool(false),
        _ => false,
    }
}

fn needs_health_port(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

fn is_reached_from_outside(spec: &Value) -> bool {
    matches!(text(spec, "type"), "NodePort" | "LoadBalancer") || !list(spec, "externalIPs").is_empty()
}

/// Who changes the type leaves the fields of the former one as they are; they go.
fn drop_what_the_type_lacks(new: &mut Value, old: &Value) {
    let was = &old["spec"];
    let Some(spec) = new.get_mut("spec").filter(|s| s.is_object()) else { return };
    let unchanged = |spec: &Value, name: &str| spec[name] == was[name];
    if needs_cluster_ip(was) && !needs_cluster_ip(spec) {
        let clears = unchanged(spec, "clusterIP") && unchanged(spec, "clusterIPs");
        if clears {
            ["clusterIP", "clusterIPs"].iter().for_each(|n| drop(remove(spec, n)));
        }
        for name in ["ipFamilies", "ipFamilyPolicy"] {
            if unchanged(spec, name) {
                remove(spec, name);
            }
        }
        if unchanged(spec, "internalTrafficPolicy") {
            remove(spec, "internalTrafficPolicy");
        }
    }
    let same_ports = |spec: &Value| {
        let nodes = |s: &Value| list(s, "ports").iter().map(|p| p["nodePort"].clone()).collect::<Vec<_>>();
        nodes(spec) == nodes(was)
    };
    if needs_node_port(was) && !needs_node_port(spec) && same_ports(spec) {
        each_mut(spec, "ports").for_each(|p| drop(remove(p, "nodePort")));
    }
    if needs_health_port(was) && !needs_health_port(spec) && unchanged(spec, "healthCheckNodePort") {
        remove(spec, "healthCheckNodePort");
    }
    let was_balanced = text(was, "type") == "LoadBalancer" && text(spec, "type") != "LoadBalancer";
    for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if was_balanced && unchanged(spec, name) {
            remove(spec, name);
        }
    }
    let outside = is_reached_from_outside(was) && !is_reached_from_outside(spec);
    if outside && unchanged(spec, "externalTrafficPolicy") {
        remove(spec, "externalTrafficPolicy");
    }
}

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
/// A day in seconds: sessions may not be kept longer.
const AFFINITY_SECS_MAX: i64 = 86_400;

fn service(found: &mut Findings, v: &Value) {
    let (spec, path) = (&v["spec"], Path::Root("spec"));
    let kind = text(spec, "type");
    let is_headless =
        text(spec, "clusterIP") == "None" || list(spec, "clusterIPs").first().is_some_and(|ip| ip == "None");
    if list(spec, "ports").is_empty() && !is_headless && kind != "ExternalName" {
        found.required(&path.field("ports"), "");
    }
    match kind {
        "LoadBalancer" if is_headless => {
            found.invalid(
                &path.field("clusterIPs").index(0),
                "None",
                "may not be set to 'None' for LoadBalancer services",
            );
        }
        "NodePort" if is_headless => {
            found.invalid(
                &path.field("clusterIPs").index(0),
                "None",
                "may not be set to 'None' for NodePort services",
            );
        }
        "ExternalName" => external_name(found, &path, spec),
        _ => {}
    }
    port_list(found, &path, spec);
    names::labels(found, &path, spec, "selector");
    affinity(found, &path, spec);
    found.required_one_of(&path.field("type"), kind, &TYPES);
    addresses(found, &path, spec);
    node_ports(found, &path, spec);
    policies(found, &path, spec);
    balancer(found, &path, spec);
}

fn external_name(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    if !list(spec, "clusterIPs").is_empty() {
        found.forbidden(&path.field("clusterIPs"), "may not be set for ExternalName services");
    }
    let name = text(spec, "externalName").trim_end_matches('.');
    if name.is_empty() {
        found.required(&path.field("externalName"), "");
    } else {
        found.faults(&path.field("externalName"), text(spec, "externalName"), names::subdomain(name));
    }
}

fn port_list(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("ports");
    let all = list(spec, "ports");
    let mut seen = std::collections::BTreeSet::new();
    for (i, port) in all.iter().enumerate() {
        let path = at.index(i);
        let name = text(port, "name");
        if name.is_empty() {
            if all.len() > 1 {
                found.required(&path.field("name"), "");
            }
        } else {
            found.faults(&path.field("name"), name, names::label(name));
            if !seen.insert(name) {
                found.duplicate(&path.field("name"), name);
            }
        }
        found.port(&path.field("port"), int(port, "port").unwrap_or(0));
        found.required_one_of(&path.field("protocol"), text(port, "protocol"), &["SCTP", "TCP", "UDP"]);
        super::network::target_port(found, &path.field("targetPort"), &port["targetPort"]);
        let app = text(port, "appProtocol");
        if !app.is_empty() {
            found.faults(&path.field("appProtocol"), app, names::qualified(app));
        }
    }
    for (i, port) in all.iter().enumerate() {
        let same = |p: &Value| p["port"] == port["port"] && p["protocol"] == port["protocol"];
        if all[..i].iter().any(same) {
            let shown = json!({"Name": "", "Protocol": port["protocol"], "AppProtocol": null, "Port": port["port"], "TargetPort": 0, "NodePort": 0});
            found.duplicate(&at.index(i), shown);
        }
    }
}

fn affinity(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let kind = text(spec, "sessionAffinity");
    found.required_one_of(&path.field("sessionAffinity"), kind, &["ClientIP", "None"]);
    let at = path.field("sessionAffinityConfig");
    match kind {
        "ClientIP" => {
            let secs = int(&spec["sessionAffinityConfig"]["clientIP"], "timeoutSeconds").unwrap_or(0);
            if secs <= 0 || secs > AFFINITY_SECS_MAX {
                let at = at.field("clientIP");
                let why = format!("must be greater than 0 and less than {AFFINITY_SECS_MAX}");
                found.invalid(&at.field("timeoutSeconds"), secs, &why);
            }
        }
        "None" if given(spec, "sessionAffinityConfig").is_some() => {
            found.forbidden(&at, "must not be set when session affinity is None");
        }
        _ => {}
    }
}

fn addresses(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("clusterIPs");
    for (i, ip) in list(spec, "clusterIPs").iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if ip != "None" {
            found.faults(&at.index(i), ip, names::ip(ip));
        }
    }
    let at = path.field("externalIPs");
    for (i, ip) in list(spec, "externalIPs").iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        let faults = names::ip(ip);
        if faults.is_empty() {
            super::network::not_local(found, &at.index(i), ip);
        }
        found.faults(&at.index(i), ip, faults);
    }
    let at = path.field("ipFamilies");
    let mut seen = std::collections::BTreeSet::new();
    for (i, family) in list(spec, "ipFamilies").iter().enumerate() {
        let family = family.as_str().unwrap_or_default();
        found.one_of(&at.index(i), family, &["IPv4", "IPv6"]);
        if !seen.insert(family) {
            found.duplicate(&at.index(i), family);
        }
    }
    let policy = text(spec, "ipFamilyPolicy");
    if !policy.is_empty() {
        let all = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        found.one_of(&path.field("ipFamilyPolicy"), policy, &all);
        let is_open = text(spec, "clusterIP") == "None" && entries(spec, "selector").next().is_none();
        if policy == "RequireDualStack" && !is_open {
            let why = "this cluster is not configured for dual-stack services";
            found.invalid(&path.field("ipFamilyPolicy"), policy, why);
        }
    }
}

fn node_ports(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("ports");
    let mut seen = std::collections::BTreeSet::new();
    for (i, port) in list(spec, "ports").iter().enumerate() {
        let Some(n) = int(port, "nodePort").filter(|n| *n != 0) else { continue };
        let here = at.index(i).to_string();
        let here = Path::Root(&here);
        if text(spec, "type") == "ClusterIP" {
            found.forbidden(&here.field("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        if !seen.insert((n, text(port, "protocol"))) {
            found.duplicate(&here.field("nodePort"), n);
        }
    }
}

fn policies(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let external = text(spec, "externalTrafficPolicy");
    let at = path.field("externalTrafficPolicy");
    if is_reached_from_outside(spec) {
        found.required_one_of(&at, external, &["Cluster", "Local"]);
    } else if !external.is_empty() {
        found.invalid(&at, external, "may only be set for externally-accessible services");
    }
    let health = int(spec, "healthCheckNodePort").unwrap_or(0);
    let at = path.field("healthCheckNodePort");
    if !needs_health_port(spec) && health != 0 {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        found.invalid(&at, health, why);
    } else if needs_health_port(spec) && health != 0 {
        found.port(&at, health);
    }
    if needs_cluster_ip(spec) {
        let internal = text(spec, "internalTrafficPolicy");
        found.required_one_of(&path.field("internalTrafficPolicy"), internal, &["Cluster", "Local"]);
    }
    let distribution = text(spec, "trafficDistribution");
    if !distribution.is_empty() {
        let all = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        found.one_of(&path.field("trafficDistribution"), distribution, &all);
    }
}

fn balancer(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let is_balancer = text(spec, "type") == "LoadBalancer";
    // Upstream spells the field like its Go name here.
    let ranges = path.field("LoadBalancerSourceRanges");
    if !list(spec, "loadBalancerSourceRanges").is_empty() && !is_balancer {
        found.forbidden(&ranges, "may only be used when `type` is 'LoadBalancer'");
    }
    for (i, range) in list(spec, "loadBalancerSourceRanges").iter().enumerate() {
        let range = range.as_str().unwrap_or_default().trim();
        found.faults(&ranges.index(i), range, names::cidr(range));
    }
    let at = path.field("allocateLoadBalancerNodePorts");
    match (is_balancer, given(spec, "allocateLoadBalancerNodePorts")) {
        (true, None) => found.required(&at, ""),
        (false, Some(_)) => found.forbidden(&at, "may only be used when `type` is 'LoadBalancer'"),
        _ => {}
    }
    if let Some(class) = given(spec, "loadBalancerClass").and_then(Value::as_str) {
        let at = path.field("loadBalancerClass");
        if is_balancer {
            found.faults(&at, class, names::qualified(class));
        } else {
            found.forbidden(&at, "may only be used when `type` is 'LoadBalancer'");
        }
    }
}

fn service_update(new: &Value, old: &Value, context: &Context<'_>) -> Vec<Cause> {
    let mut found = Findings::default();
    if context.subresource == "status" {
        let has = !list(&new["status"]["loadBalancer"], "ingress").is_empty();
        if has && text(&new["spec"], "type") != "LoadBalancer" {
            let at = Path::Root("status.loadBalancer.ingress");
            found.forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'");
        }
        return found.causes;
    }
    let (spec, was) = (&new["spec"], &old["spec"]);
    let stays = needs_cluster_ip(spec) && needs_cluster_ip(was);
    let first = |s: &Value| list(s, "clusterIPs").first().cloned().unwrap_or(s["clusterIP"].clone());
    if stays && !text(was, "clusterIP").is_empty() && first(spec) != first(was) {
        let shown = spec["clusterIPs"].clone();
        found.invalid(&Path::Root("spec.clusterIPs").index(0), shown, "may not change once set");
    }
    let both = text(spec, "type") == "LoadBalancer" && text(was, "type") == "LoadBalancer";
    if both && spec["loadBalancerClass"] != was["loadBalancerClass"] {
        let shown = spec["loadBalancerClass"].clone();
        found.invalid(&Path::Root("spec.loadBalancerClass"), shown, "may not change once set");
    }
    service(&mut found, new);
    found.causes
}
