//! Node objects, their status and their Leases.

use std::time::Duration;

use api_client::{Class, Client, Patch, WriteOptions};
use api_core::{Lease, Node};
use api_meta::Object;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use stdx::{Env, Time};

use crate::config::{Config, NodeConfig};
use crate::error::Error;

const LEASES: &str = "kube-node-lease";
/// The whole status is reported again after so many renewals of the Lease.
const STATUS_EVERY: u32 = 6;
/// Wait before an unanswered request is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Registers one node and keeps it alive until the future is dropped.
///
/// # Errors
/// When the server refuses the node for good.
pub(crate) async fn keep(
    client: Client,
    env: Env,
    config: Config,
    place: usize,
    log_port: u16,
) -> Result<(), Error> {
    let node = &config.nodes[place];
    let uid = register(&client, &env, &config, node, log_port).await?;
    let mut turn = 0u32;
    loop {
        // The Lease first: a node that says it is ready and does not renew would be doubted at once.
        renew(&client, &env, &config, &node.name, &uid).await;
        if turn % STATUS_EVERY == 1 || !is_believed(&client, &node.name).await {
            // A Node that somebody deleted, or gave up as silent, comes back: its processes are still here.
            register(&client, &env, &config, node, log_port).await?;
        }
        turn = turn.wrapping_add(1);
        env.sleep(config.lease_renewal).await;
    }
}

/// Whether the server shows the node as ready, as far as it can be asked.
async fn is_believed(client: &Client, name: &str) -> bool {
    match client.get::<Node>(&Node::RESOURCE, "", name).await {
        Ok(node) => node.status.conditions.iter().any(|c| c.r#type == "Ready" && c.status == "True"),
        Err(error) => !error.is_not_found(),
    }
}

/// Makes the Node, or brings the one that is there up to date; tries until the server answers.
async fn register(
    client: &Client,
    env: &Env,
    config: &Config,
    node: &NodeConfig,
    log_port: u16,
) -> Result<String, Error> {
    loop {
        match try_register(client, env, config, node, log_port).await {
            Ok(uid) => return Ok(uid),
            Err(error) if matches!(error.class(), Class::Invalid | Class::Forbidden | Class::Bug) => {
                return Err(Error::Register { node: node.name.clone(), source: error });
            }
            Err(error) => {
                tracing::debug!(node = %node.name, %error, "node not registered yet");
                env.sleep(RETRY).await;
            }
        }
    }
}

async fn try_register(
    client: &Client,
    env: &Env,
    config: &Config,
    node: &NodeConfig,
    log_port: u16,
) -> Result<String, api_client::Error> {
    let object = object(config, node, log_port, env.now());
    let options = WriteOptions::default();
    let made: Result<Node, api_client::Error> = client.create(&Node::RESOURCE, "", &object, &options).await;
    let uid = match made {
        Ok(made) => made.metadata.uid,
        Err(error) if error.class() == Class::Exists => {
            let labels = Patch::Merge(json!({"metadata": {"labels": object["metadata"]["labels"]}}));
            let there: Node = client.patch(&Node::RESOURCE, ("", &node.name), "", &labels, &options).await?;
            there.metadata.uid
        }
        Err(error) => return Err(error),
    };
    let status = Patch::Strategic(json!({"metadata": {"uid": uid}, "status": object["status"]}));
    let _: IgnoredAny = client.patch(&Node::RESOURCE, ("", &node.name), "status", &status, &options).await?;
    Ok(uid)
}

async fn renew(client: &Client, env: &Env, config: &Config, name: &str, uid: &str) {
    let spec = json!({
        "holderIdentity": name,
        "leaseDurationSeconds": config.lease_seconds(),
        "renewTime": env.now().to_micro_string(),
    });
    let options = WriteOptions::default();
    let patch = Patch::Merge(json!({"spec": spec}));
    let renewed: Result<IgnoredAny, api_client::Error> =
        client.patch(&Lease::RESOURCE, (LEASES, name), "", &patch, &options).await;
    let error = match renewed {
        Ok(_) => return,
        Err(error) if !error.is_not_found() => error,
        Err(_) => {
            let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}]);
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": LEASES, "ownerReferences": owner},
                "spec": spec,
            });
            let made: Result<IgnoredAny, api_client::Error> =
                client.create(&Lease::RESOURCE, LEASES, &lease, &options).await;
            match made {
                Ok(_) => return,
                Err(error) => error,
            }
        }
    };
    tracing::debug!(node = name, %error, "lease not renewed");
}

fn object(config: &Config, node: &NodeConfig, log_port: u16, now: Time) -> Value {
    let runtime = &config.runtime;
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels(config, node)},
        "spec": {"taints": [{"key": "knarr.dev/runtime", "value": runtime, "effect": "NoSchedule"}]},
        "status": status(config, node, log_port, now),
    })
}

fn labels(config: &Config, node: &NodeConfig) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: &str| out.insert(key.to_owned(), json!(value));
    put("kubernetes.io/hostname", &node.name);
    put("kubernetes.io/os", std::env::consts::OS);
    put("kubernetes.io/arch", arch());
    put("knarr.dev/runtime", &config.runtime);
    if let Some(zone) = &node.zone {
        put("topology.kubernetes.io/zone", zone);
    }
    if let Some(cell) = &node.cell {
        put("cafe.sofastack.io/cell", cell);
    }
    for (key, value) in &node.labels {
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

fn status(config: &Config, node: &NodeConfig, log_port: u16, now: Time) -> Value {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
               "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let conditions = [
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "memory is not watched on this kind of node",
        ),
        condition(
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "disks are not watched on this kind of node",
        ),
        condition(
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "processes are not counted on this kind of node",
        ),
        condition("Ready", "True", "KubeletReady", "the node's agent is posting ready status"),
    ];
    let capacity = capacity(config, node);
    json!({
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": config.host_address},
            {"type": "Hostname", "address": node.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": log_port}},
        "nodeInfo": {
            "architecture": arch(),
            "bootID": one_line("/proc/sys/kernel/random/boot_id"),
            "containerRuntimeVersion": format!("{}://{}", config.runtime, env!("CARGO_PKG_VERSION")),
            "kernelVersion": one_line("/proc/sys/kernel/osrelease"),
            "kubeProxyVersion": "",
            "kubeletVersion": format!("v1.36.0-knarr-{}", config.runtime),
            "machineID": "",
            "operatingSystem": std::env::consts::OS,
            "osImage": "Knarr node",
            "systemUUID": "",
        },
    })
}

fn one_line(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// What the node offers: as configured, or the machine's share of it. The machine's CPUs are offered by every node, because
/// nothing here limits what a process uses.
fn capacity(config: &Config, node: &NodeConfig) -> Value {
    if !node.capacity.is_empty() {
        return json!(node.capacity);
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("MemTotal:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    let share = total.unwrap_or(1 << 20) / config.nodes.len().max(1) as u64;
    json!({"cpu": cpus.to_string(), "memory": format!("{share}Ki"), "pods": "110"})
}
