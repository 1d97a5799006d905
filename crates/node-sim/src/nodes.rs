//! Node objects and Leases as they are written.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};
use stdx::Time;

use crate::config::Config;
use crate::rules::OWNER;

/// The Node object with this number.
pub(crate) fn object(config: &Config, number: usize, address: Ipv4Addr, now: Time) -> Value {
    let name = name(config, number);
    let mut spec = Map::new();
    if !config.taints.is_empty() {
        spec.insert("taints".to_owned(), config.taints.iter().map(|t| taint(t)).collect());
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "labels": labels(config, number),
            "annotations": {OWNER: config.owner},
            "name": name,
        },
        "spec": spec,
        "status": status(config, &name, address, now),
    })
}

pub(crate) fn name(config: &Config, number: usize) -> String {
    format!("{}{number}", config.name_prefix)
}

pub(crate) fn labels(config: &Config, number: usize) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: &str| out.insert(key.to_owned(), json!(value));
    put("kubernetes.io/hostname", &name(config, number));
    put("kubernetes.io/os", "linux");
    put("kubernetes.io/arch", arch());
    put("knarr.dev/runtime", "sim");
    if !config.zones.is_empty() {
        put("topology.kubernetes.io/zone", &config.zones[number % config.zones.len()]);
    }
    if !config.cells.is_empty() {
        // Cells are spread across the turns of zones, so that equal numbers of both do not make pairs.
        let zones = config.zones.len().max(1);
        let turn = if zones.is_multiple_of(config.cells.len()) { number / zones } else { 0 };
        put("cafe.sofastack.io/cell", &config.cells[(number + turn) % config.cells.len()]);
    }
    for (key, value) in &config.labels {
        put(key, value);
    }
    out
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Reads `key=value:Effect`.
fn taint(text: &str) -> Value {
    let (rest, effect) = text.rsplit_once(':').unwrap_or((text, "NoSchedule"));
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    json!({"key": key, "value": value, "effect": effect})
}

pub(crate) fn status(config: &Config, name: &str, address: Ipv4Addr, now: Time) -> Value {
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| {
        json!({"type": kind, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message,
               "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let fine = [
        ("MemoryPressure", "KubeletHasSufficientMemory", "simulated node has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "simulated node has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "simulated node has sufficient PID available"),
    ];
    let mut conditions: Vec<Value> =
        fine.into_iter().map(|(kind, reason, message)| condition(kind, false, reason, message)).collect();
    conditions.push(condition("Ready", true, "KubeletReady", "simulated node is posting ready status"));
    json!({
        "capacity": config.capacity,
        "allocatable": config.capacity,
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": address.to_string()},
            {"type": "Hostname", "address": name},
        ],
        "nodeInfo": {
            "architecture": arch(),
            "bootID": "",
            "containerRuntimeVersion": concat!("sim://", env!("CARGO_PKG_VERSION")),
            "kernelVersion": "simulated",
            "kubeProxyVersion": "",
            "kubeletVersion": "v1.36.0-knarr-sim",
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": "Knarr simulated node",
            "systemUUID": "",
        },
    })
}

/// The spec of a renewed Lease.
pub(crate) fn lease_spec(config: &Config, name: &str, now: Time) -> Value {
    json!({
        "holderIdentity": name,
        "leaseDurationSeconds": config.lease_seconds(),
        "renewTime": now.to_micro_string(),
    })
}

/// A new Lease, owned by its Node as the kubelet's is.
pub(crate) fn lease(config: &Config, name: &str, uid: &str, now: Time) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}],
        },
        "spec": lease_spec(config, name, now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_nodes_in_every_zone() {
        let mut config = Config::new("t", 8);
        config.cells = vec!["a".into(), "b".into()];
        config.zones = vec!["x".into(), "y".into()];
        let pair = |i: usize| {
            let labels = labels(&config, i);
            format!("{}{}", labels["cafe.sofastack.io/cell"], labels["topology.kubernetes.io/zone"])
        };
        let pairs: std::collections::BTreeSet<String> = (0..8).map(pair).collect();
        assert_eq!(pairs.len(), 4);
    }

    #[test]
    fn taints_are_read_from_text() {
        assert_eq!(taint("a/b=c:NoExecute"), json!({"key": "a/b", "value": "c", "effect": "NoExecute"}));
    }
}
