//! What a pod or template may say (`ValidatePodSpec` of kube-apiserver 1.36).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::check::{Findings, Path, flag, given, int, list, text};
use super::super::names;
use super::container::Containers;
use super::resources::{self, Subject};
use super::{placing, security, volume};

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// A whole pod.
pub(super) fn pod(found: &mut Findings, pod: &Value) {
    annotations(found, pod);
    spec(found, &Path::Root("spec"), &pod["spec"]);
    gates_and_node(found, &pod["spec"]);
}

fn annotations(found: &mut Findings, pod: &Value) {
    if let Some(mirror) = given(&pod["metadata"]["annotations"], MIRROR)
        && text(&pod["spec"], "nodeName").is_empty()
    {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        found.invalid(&Path::Root("metadata.annotations").key(MIRROR), mirror.clone(), why);
    }
    let at = Path::Root("metadata.annotations");
    let containers = ["initContainers", "containers", "ephemeralContainers"];
    let has_container =
        |name: &str| containers.iter().any(|k| list(&pod["spec"], k).iter().any(|c| text(c, "name") == name));
    for (key, value) in super::super::check::entries(&pod["metadata"], "annotations") {
        if key == DELETION_COST && !is_cost(value.as_str().unwrap_or_default()) {
            found.invalid(&at.key(key), "", "must be a 32bit integer");
        }
        if let Some(name) = key.strip_prefix(APP_ARMOR).filter(|name| !has_container(name)) {
            found.invalid(&at.key(key), name, "container not found");
        }
    }
}

/// A whole number of 32 bits without a plus or leading zeros.
fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = !text.starts_with('+') && (digits.len() == 1 || !digits.starts_with('0'));
    is_plain && text.parse::<i32>().is_ok()
}

fn gates_and_node(found: &mut Findings, spec: &Value) {
    if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
        found.forbidden(
            &Path::Root("spec.nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        );
    }
}

/// A pod template.
pub(in super::super) fn template(found: &mut Findings, path: &Path<'_>, template: &Value) {
    // Upstream leaves `metadata` out of the path.
    names::labels(found, path, &template["metadata"], "labels");
    let annotations = path.field("annotations");
    for (key, _) in super::super::check::entries(&template["metadata"], "annotations") {
        found.faults(&annotations, key, names::qualified(&key.to_lowercase()));
    }
    spec(found, &path.field("spec"), &template["spec"]);
    if !list(&template["spec"], "ephemeralContainers").is_empty() {
        found.forbidden(
            &path.field("spec").field("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// A pod's spec, wherever it stands.
pub(in super::super) fn spec(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let volumes = volume::check(found, path, spec);
    let containers = Containers {
        volumes,
        claims: list(spec, "resourceClaims").iter().map(|c| text(c, "name")).collect(),
        grace: int(spec, "terminationGracePeriodSeconds"),
        host_network: flag(spec, "hostNetwork"),
    };
    containers.check(found, path, spec);
    claims(found, path, spec);
    policies(found, path, spec);
    names::labels(found, path, spec, "nodeSelector");
    security::pod(found, path, spec);
    placing::affinity(found, path, spec);
    dns_config(found, path, spec);
    gates(found, path, spec);
    placing::spreading(found, path, spec);
    identity(found, path, spec);
    placing::tolerations(found, path, spec);
    host_aliases(found, path, spec);
    class_names(found, path, spec);
    let os = text(&spec["os"], "name");
    if given(spec, "os").is_some() {
        found.required_one_of(&path.field("os"), os, &["linux", "windows"]);
    }
    match os {
        "windows" => security::windows(found, path, spec),
        "linux" => security::linux(found, path, spec),
        _ => {}
    }
}

/// Resources of a pod as a whole.
pub(super) fn pod_resources(found: &mut Findings, pod: &Value) {
    let path = Path::Root("spec.resources");
    resources::requirements(found, &path, &pod["spec"]["resources"], &[], Subject::Pod);
}

fn claims(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("resourceClaims");
    let mut seen = BTreeSet::new();
    for (i, claim) in list(spec, "resourceClaims").iter().enumerate() {
        let path = at.index(i);
        let name = text(claim, "name");
        if name.is_empty() {
            found.required(&path.field("name"), "");
        } else {
            found.faults(&path.field("name"), name, names::label(name));
            if !seen.insert(name) {
                found.duplicate(&path.field("name"), name);
            }
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        match sources.iter().filter(|s| given(claim, s).is_some()).count() {
            1 => {}
            0 => found.invalid(
                &path,
                claim.clone(),
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            ),
            _ => found.invalid(
                &path,
                claim.clone(),
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
        }
    }
}

fn policies(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    found.required_one_of(
        &path.field("restartPolicy"),
        text(spec, "restartPolicy"),
        &["Always", "OnFailure", "Never"],
    );
    const DNS: [&str; 4] = ["Default", "ClusterFirstWithHostNet", "ClusterFirst", "None"];
    const SHOWN: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    let dns = text(spec, "dnsPolicy");
    if dns.is_empty() {
        found.required(&path.field("dnsPolicy"), "");
    } else if !DNS.contains(&dns) {
        found.not_supported(&path.field("dnsPolicy"), dns, &SHOWN);
    }
}

const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

fn dns_config(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("dnsConfig");
    let config = given(spec, "dnsConfig");
    if text(spec, "dnsPolicy") == "None" {
        match config {
            None => {
                found.required(&at, "must provide `dnsConfig` when `dnsPolicy` is None");
                return;
            }
            Some(c) if list(c, "nameservers").is_empty() => {
                let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
                found.required(&at.field("nameservers"), why);
                return;
            }
            Some(_) => {}
        }
    }
    let Some(config) = config else { return };
    let servers = at.field("nameservers");
    if list(config, "nameservers").len() > NAMESERVERS_MAX {
        found.invalid(
            &servers,
            config["nameservers"].clone(),
            &format!("must not have more than {NAMESERVERS_MAX} nameservers"),
        );
    }
    for (i, server) in list(config, "nameservers").iter().enumerate() {
        let ip = server.as_str().unwrap_or_default();
        found.faults(&servers.index(i), ip, names::ip(ip));
    }
    let searches = at.field("searches");
    if list(config, "searches").len() > SEARCHES_MAX {
        found.invalid(
            &searches,
            config["searches"].clone(),
            &format!("must not have more than {SEARCHES_MAX} search paths"),
        );
    }
    for (i, search) in list(config, "searches").iter().enumerate() {
        let search = search.as_str().unwrap_or_default();
        let name = search.trim_end_matches('.').replace('_', "a");
        if search != "." {
            found.faults(&searches.index(i), search, names::subdomain(&name));
        }
    }
    let options = at.field("options");
    for (i, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            found.required(&options.index(i), "must not be empty");
        }
    }
}

fn gates(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("readinessGates");
    for (i, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        found.faults(&at.index(i).field("conditionType"), kind, names::qualified(kind));
    }
    let at = path.field("schedulingGates");
    let mut seen = BTreeSet::new();
    for (i, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        found.faults(&at.index(i), name, names::qualified(name));
        if !seen.insert(name) {
            found.duplicate(&at.index(i), name);
        }
    }
}

fn identity(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let mut check = |name: &str, rule: fn(&str) -> Vec<String>| {
        let value = text(spec, name);
        if !value.is_empty() {
            found.faults(&path.field(name), value, rule(value));
        }
    };
    check("serviceAccountName", names::subdomain);
    check("nodeName", names::subdomain);
    check("hostname", names::label);
    check("subdomain", names::label);
    check("hostnameOverride", names::subdomain);
    if let Some(n) = int(spec, "activeDeadlineSeconds").filter(|n| !(1..=i64::from(i32::MAX)).contains(n)) {
        found.invalid(&path.field("activeDeadlineSeconds"), n, "must be between 1 and 2147483647, inclusive");
    }
}

fn host_aliases(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("hostAliases");
    for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
        let path = at.index(i);
        let ip = text(alias, "ip");
        found.faults(&path.field("ip"), ip, names::ip(ip));
        let hosts = path.field("hostnames");
        for (i, host) in list(alias, "hostnames").iter().enumerate() {
            let host = host.as_str().unwrap_or_default();
            found.faults(&hosts.index(i), host, names::subdomain(host));
        }
    }
}

fn class_names(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    for name in ["priorityClassName", "runtimeClassName"] {
        let value = text(spec, name);
        if !value.is_empty() {
            found.faults(&path.field(name), value, names::subdomain(value));
        }
    }
    if given(spec, "preemptionPolicy").is_some() {
        let policy = text(spec, "preemptionPolicy");
        found.required_one_of(&path.field("preemptionPolicy"), policy, &["Never", "PreemptLowerPriority"]);
    }
    let at = path.field("overhead");
    for (name, value) in super::super::check::entries(spec, "overhead") {
        resources::container_resource_name(found, &at.key(name), name);
        resources::resource_value(found, &at.key(name), name, value);
    }
}

/// Volumes by name with the kind of their source, for who checks containers apart from a pod.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a str>;
