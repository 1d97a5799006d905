//! Endpoints and EndpointSlice.

use serde_json::Value;
use stdx::Time;

use super::check::{Findings, Path, default, each_mut, given, int, list, put, text};
use super::names;
use super::show::age_of;
use crate::registry::{Cell, Column, Context, Facts, Generation};

pub(super) static ENDPOINTS: Facts = Facts {
    default: |v| {
        for subset in each_mut(v, "subsets") {
            for port in each_mut(subset, "ports") {
                default(port, "protocol", "TCP");
            }
        }
    },
    validate_create: |v, context| {
        let mut found = Findings::default();
        subsets(&mut found, v, context);
        found.causes
    },
    validate_update: |v, _, context| {
        let mut found = Findings::default();
        subsets(&mut found, v, context);
        found.causes
    },
    generation: Generation::None,
    columns: &ENDPOINTS_COLUMNS,
    row: |v, now| vec![v["metadata"]["name"].clone(), shown_endpoints(v).into(), age_of(v, now).into()],
    ..Facts::PLAIN
};

static ENDPOINTS_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Endpoints", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

/// Addresses shown in a cell at most.
const SHOWN_MAX: usize = 3;

fn shown(all: &[String]) -> String {
    match all.len() {
        0 => "<none>".to_owned(),
        n if n > SHOWN_MAX => format!("{} + {} more...", all[..SHOWN_MAX].join(","), n - SHOWN_MAX),
        _ => all.join(","),
    }
}

fn shown_endpoints(v: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(v, "subsets") {
        for address in list(subset, "addresses") {
            let ip = text(address, "ip");
            if list(subset, "ports").is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(list(subset, "ports").iter().map(|p| format!("{ip}:{}", int(p, "port").unwrap_or(0))));
        }
    }
    shown(&all)
}

/// Our own endpoint controllers may write loopback addresses, those of process nodes' pods, and the server its own.
/// Everybody else is refused, as upstream.
fn may_be_local(context: &Context<'_>) -> bool {
    matches!(
        context.user,
        "system:apiserver" | "system:knarr:endpoint-controller" | "system:knarr:endpointslice-controller"
    )
}

fn subsets(found: &mut Findings, v: &Value, context: &Context<'_>) {
    let root = Path::Root("subsets");
    for (i, subset) in list(v, "subsets").iter().enumerate() {
        let path = root.index(i);
        if list(subset, "addresses").is_empty() && list(subset, "notReadyAddresses").is_empty() {
            found.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for name in ["addresses", "notReadyAddresses"] {
            let at = path.field(name);
            for (i, address) in list(subset, name).iter().enumerate() {
                let ip = text(address, "ip");
                let here = at.index(i);
                let faults = names::ip(ip);
                if faults.is_empty() && may_be_local(context) {
                    continue;
                }
                if faults.is_empty() {
                    super::network::not_local(found, &here.field("ip"), ip);
                } else {
                    found.faults(&here.field("ip"), ip, faults);
                    found.invalid(&here.field("ip"), ip, "must be a valid IP address");
                }
            }
        }
        let at = path.field("ports");
        let many = list(subset, "ports").len() > 1;
        for (i, port) in list(subset, "ports").iter().enumerate() {
            let here = at.index(i);
            let name = text(port, "name");
            if name.is_empty() && many {
                found.required(&here.field("name"), "");
            } else if !name.is_empty() {
                found.faults(&here.field("name"), name, names::label(name));
            }
            found.port(&here.field("port"), int(port, "port").unwrap_or(0));
            found.required_one_of(&here.field("protocol"), text(port, "protocol"), &["SCTP", "TCP", "UDP"]);
        }
    }
}

// --- EndpointSlice ------------------------------------------------------------------------------------------------

pub(super) static ENDPOINT_SLICE: Facts = Facts {
    default: |v| {
        for port in each_mut(v, "ports") {
            if given(port, "name").is_none() {
                put(port, "name", "".into());
            }
            default(port, "protocol", "TCP");
        }
    },
    validate_create: |v, context| {
        let mut found = Findings::default();
        slice(&mut found, v, context);
        found.causes
    },
    validate_update: |new, old, context| {
        let mut found = Findings::default();
        found.immutable(&Path::Root("addressType"), &new["addressType"], &old["addressType"]);
        if found.is_empty() {
            slice(&mut found, new, context);
        }
        found.causes
    },
    generation: Generation::Whole,
    columns: &SLICE_COLUMNS,
    row: slice_row,
    ..Facts::PLAIN
};

static SLICE_COLUMNS: [Column; 5] = [
    Column::new("Name", "string", "name", 0),
    Column::new("AddressType", "string", "", 0),
    Column::new("Ports", "string", "", 0),
    Column::new("Endpoints", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn slice_row(v: &Value, now: Time) -> Vec<Cell> {
    let unset = |text: String| if text.is_empty() { "<unset>".to_owned() } else { text };
    let ports: Vec<String> = list(v, "ports")
        .iter()
        .map(|p| int(p, "port").map_or_else(|| "*".to_owned(), |n| n.to_string()))
        .collect();
    let addresses: Vec<String> = list(v, "endpoints")
        .iter()
        .flat_map(|e| list(e, "addresses"))
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    let join = |all: &[String]| if all.is_empty() { String::new() } else { shown(all) };
    vec![
        v["metadata"]["name"].clone(),
        v["addressType"].clone(),
        unset(join(&ports)).into(),
        unset(join(&addresses)).into(),
        age_of(v, now).into(),
    ]
}

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;

fn slice(found: &mut Findings, v: &Value, context: &Context<'_>) {
    let root = Path::Root("");
    let kind = text(v, "addressType");
    found.required_one_of(&root.field("addressType"), kind, &["FQDN", "IPv4", "IPv6"]);
    let at = root.field("endpoints");
    if list(v, "endpoints").len() > ENDPOINTS_MAX {
        found.too_many(&at, list(v, "endpoints").len(), ENDPOINTS_MAX);
        return;
    }
    for (i, endpoint) in list(v, "endpoints").iter().enumerate() {
        let path = at.index(i);
        let addresses = path.field("addresses");
        match list(endpoint, "addresses").len() {
            0 => found.required(&addresses, "must contain at least 1 address"),
            n if n > ADDRESSES_MAX => found.too_many(&addresses, n, ADDRESSES_MAX),
            _ => {}
        }
        for (i, address) in list(endpoint, "addresses").iter().enumerate() {
            let address = address.as_str().unwrap_or_default();
            let here = addresses.index(i);
            if kind == "FQDN" {
                found.faults(&here, address, names::subdomain(address));
                continue;
            }
            let malformed = names::ip(address);
            if malformed.is_empty() {
                // What is wrong with the family is said of the list.
                found.faults(&addresses, address, other_family(kind, address));
                if !may_be_local(context) {
                    super::network::not_local(found, &here, address);
                }
            }
            found.faults(&here, address, malformed);
        }
        let node = text(endpoint, "nodeName");
        if !node.is_empty() {
            found.faults(&path.field("nodeName"), node, names::subdomain(node));
        }
        let host = text(endpoint, "hostname");
        if !host.is_empty() {
            found.faults(&path.field("hostname"), host, names::label(host));
        }
    }
    slice_ports(found, &root.field("ports"), v);
}

/// What is wrong with a well-formed address of another family than the slice's.
fn other_family(kind: &str, address: &str) -> Vec<String> {
    match (kind, address.contains(':')) {
        ("IPv4", true) => vec!["must be an IPv4 address".to_owned()],
        ("IPv6", false) => vec!["must be an IPv6 address".to_owned()],
        _ => Vec::new(),
    }
}

fn slice_ports(found: &mut Findings, at: &Path<'_>, v: &Value) {
    let mut seen = std::collections::BTreeSet::new();
    for (i, port) in list(v, "ports").iter().enumerate() {
        let path = at.index(i);
        let name = text(port, "name");
        if !name.is_empty() {
            found.faults(&path.field("name"), name, names::label(name));
        }
        if !seen.insert(name) {
            found.duplicate(&path.field("name"), name);
        }
        if let Some(n) = int(port, "port") {
            found.port(&path.field("port"), n);
        }
        found.required_one_of(&path.field("protocol"), text(port, "protocol"), &["SCTP", "TCP", "UDP"]);
    }
}
