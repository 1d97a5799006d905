//! Starts roles over an API server, whichever it is, and says what each component may do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api_client::{Client, Patch, WriteOptions};
use api_meta::Resource;
use api_workload::names::cafe;
use apiserver::{ApiServer, Rule, User};
use controller_host::{Clients, Handle, Host, HostConfig};
use reconcile::{AllowAll, Permission, Permit, Row};
use serde_json::Value;
use stdx::Env;
use tokio::sync::watch;

use crate::args::{Nodes, Role};

/// Name of the scheduler as a component.
pub(crate) const SCHEDULER: &str = "scheduler";
/// Name of the simulated nodes as a component.
pub(crate) const NODE_SIM: &str = "node-sim";
/// Name of the board.
pub(crate) const CONSOLE: &str = "console";
/// Name of the proxy.
pub(crate) const PROXY: &str = "proxy";
/// Name of what a host does beside its controllers: events, the leader's lease.
pub(crate) const HOST: &str = "controller-host";

/// User name of a component of this process.
pub(crate) fn user_of(component: &str) -> String {
    format!("system:knarr:{component}")
}

/// Whose cluster it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Our own: the proxy counts what is open.
    Embedded,
    /// A foreign one: kube-proxy counts nothing, so a controller waits in its stead.
    Fleet,
}

/// The controllers of the given roles.
pub(crate) fn rows(roles: &[Role], place: Place) -> Vec<Row> {
    let mut out = Vec::new();
    if roles.contains(&Role::Controllers) {
        // The kinds of the workloads role are served only where it runs; on a fleet they are installed.
        let has_ours = place == Place::Fleet || roles.contains(&Role::Workloads);
        out.extend(if has_ours { builtins::rows() } else { builtins::rows_without_our_kinds() });
    }
    if roles.contains(&Role::Workloads) {
        out.extend(workloads::rows());
        out.extend(::release::rows());
        out.extend(guard::rows());
        if place == Place::Fleet {
            out.extend(::release::fleet_rows());
            out.extend(guard::fleet_rows());
            if !roles.contains(&Role::Controllers) {
                out.push(Row::of::<builtins::stability::Stability>());
            }
        }
    }
    out
}

/// What the components of a role may do on a foreign cluster.
pub(crate) fn fleet_rules(role: Role) -> Vec<Rule> {
    let rows = rows(&[role], Place::Fleet);
    let mut names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    names.push(HOST);
    match role {
        Role::Controllers => names.extend(controller_host::duties().iter().map(|(name, _)| *name)),
        Role::Scheduler => names = vec![SCHEDULER],
        _ => {}
    }
    let mine = |(name, rules): (String, Vec<Rule>)| names.contains(&name.as_str()).then_some(rules);
    rules().into_iter().filter_map(mine).flatten().collect()
}

/// What each component may do: of controllers, what their rows list and what they watch.
pub(crate) fn rules() -> Vec<(String, Vec<Rule>)> {
    let rows = rows(&[Role::Controllers, Role::Workloads], Place::Fleet);
    let mut out: Vec<(String, Vec<Rule>)> =
        rows.iter().map(|row| (row.name.to_owned(), rules_of(row))).collect();
    let duties = controller_host::duties();
    out.extend(duties.into_iter().map(|(name, may)| (name.to_owned(), permitted(&may))));
    let read = ["get", "list", "watch"];
    out.push((
        SCHEDULER.to_owned(),
        vec![
            rule("", &["pods", "nodes", "namespaces"], &read),
            rule("policy", &["poddisruptionbudgets"], &read),
            rule("", &["persistentvolumeclaims", "persistentvolumes"], &["get", "list", "watch", "patch"]),
            rule("storage.k8s.io", &["storageclasses", "csinodes"], &read),
            rule("", &["pods"], &["delete"]),
            rule("scheduling.sigs.k8s.io", &["elasticquotas", "podgroups"], &read),
            rule("scheduling.k8s.io", &["podgroups"], &read),
            rule("slo.koordinator.sh", &["nodemetrics"], &read),
            rule("topology.node.k8s.io", &["noderesourcetopologies"], &read),
            rule("scheduling.koordinator.sh", &["devices"], &read),
            rule("", &["pods/binding", "bindings"], &["create"]),
            rule("knarr.dev", &["bindings"], &["create"]),
            rule("", &["pods/status"], &["patch"]),
            rule("", &["events"], &["create", "patch"]),
            rule("events.k8s.io", &["events"], &["create", "patch"]),
        ],
    ));
    out.push((
        NODE_SIM.to_owned(),
        vec![
            rule("", &["pods", "nodes"], &read),
            rule("", &["nodes"], &["create", "patch", "update", "delete"]),
            rule("", &["nodes/status", "pods/status"], &["patch", "update"]),
            rule("", &["pods"], &["delete"]),
            rule("coordination.k8s.io", &["leases"], &["get", "list", "watch", "create", "patch", "update"]),
        ],
    ));
    out.push((
        CONSOLE.to_owned(),
        vec![
            rule("", &["pods", "nodes", "events"], &read),
            rule(cafe::GROUP, &["cafedeployments"], &["get", "list", "watch", "patch"]),
        ],
    ));
    out.push((
        PROXY.to_owned(),
        vec![
            rule("", &["services", "pods", "nodes"], &read),
            rule("discovery.k8s.io", &["endpointslices"], &read),
            rule("", &["pods", "services/status"], &["patch"]),
            rule("", &["events"], &["create", "patch"]),
        ],
    ));
    out.push((
        HOST.to_owned(),
        vec![
            rule("", &["events"], &["create", "patch"]),
            rule("events.k8s.io", &["events"], &["create", "patch"]),
            rule("coordination.k8s.io", &["leases"], &["get", "create", "patch", "update"]),
        ],
    ));
    out
}

fn rules_of(row: &Row) -> Vec<Rule> {
    let watched = row.watches.iter().map(|w| {
        let r = w.resource();
        rule(&r.group, &[&r.plural], &["get", "list", "watch"])
    });
    let may = permitted(&row.permissions);
    let events = [
        rule("", &["events"], &["create", "patch"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ];
    watched.chain(may).chain(events).collect()
}

fn permitted(may: &[Permission]) -> Vec<Rule> {
    may.iter().map(|p| rule(p.group, &[p.resource], p.verbs)).collect()
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Rule {
    let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Rule { groups: vec![group.to_owned()], resources: own(resources), verbs: own(verbs) }
}

/// Starts the controllers of the given roles; nothing when they have none.
pub(crate) fn start_controllers(
    (roles, place): (&[Role], Place),
    clients: Clients,
    env: &Env,
    guard: Arc<dyn Permit>,
    mut config: HostConfig,
) -> Option<Handle> {
    let rows = rows(roles, place);
    if rows.is_empty() {
        return None;
    }
    config.duties = roles.contains(&Role::Controllers);
    let host = Host::new(clients, env.clone(), rows, guard, config);
    let handle = host.handle();
    env.spawn("controllers", async move {
        let error = host.run().await;
        tracing::error!(%error, "controllers stopped");
        // Another host may hold the lease now: running on without it could act twice.
        std::process::exit(1);
    });
    Some(handle)
}

/// Who is asked before anything dangerous: the guard, wherever its kinds are served, which the workloads role brings.
pub(crate) fn permit(roles: &[Role]) -> Arc<dyn Permit> {
    if roles.contains(&Role::Workloads) { Arc::new(guard::Guard::new()) } else { Arc::new(AllowAll) }
}

/// Starts the board; gives the link that opens it.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) async fn start_board(
    client: Client,
    env: &Env,
    (listen, token): (SocketAddr, &str),
    traffic: Option<SocketAddr>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<String> {
    let config = console::Config {
        listen,
        token: console::Token::new(token)
            .context("read the board's token: remove its file to have one made")?,
        allowed_hosts: vec![format!("localhost:{}", listen.port())],
        traffic,
        limits: console::Limits::default(),
    };
    let board = console::Console::bind(config).await.with_context(|| {
        format!("open the board on {listen}: choose another address with --console-listen")
    })?;
    let link = board.link();
    let inner = env.clone();
    env.spawn("board", async move { board.serve(client, inner, stopped).await });
    Ok(link)
}

/// Starts the scheduler; it asks the guard before it sends anybody away for a more important pod.
pub(crate) fn start_scheduler(
    client: Client,
    env: &Env,
    (config, log): (scheduler::Config, Option<scheduler::DecisionLog>),
    guard: Arc<dyn Permit>,
) -> Arc<scheduler::Metrics> {
    let scheduler = scheduler::Scheduler::new(client, env.clone(), config).with_guard(guard);
    let scheduler = match log {
        Some(log) => scheduler.logging(log),
        None => scheduler,
    };
    let metrics = scheduler.metrics();
    env.spawn("scheduler", scheduler.run());
    metrics
}

/// Starts the simulated nodes.
pub(crate) fn start_simulated(client: Client, env: &Env, nodes: &Nodes) {
    if nodes.nodes == 0 {
        return;
    }
    let mut config = node_sim::Config::new("knarr", nodes.nodes);
    let grace = Duration::from_secs(u64::from(nodes.node_grace_period));
    config.lease_renewal = config.lease_renewal.max(grace / 4);
    config.cells = nodes.cells.clone();
    config.zones = nodes.zones.clone();
    let env_ = env.clone();
    env.spawn("simulated nodes", async move {
        if let Err(error) = node_sim::run(client, env_, config).await {
            tracing::error!(%error, "simulated nodes stopped");
        }
    });
}

const CRDS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");

/// Puts our CustomResourceDefinitions into the embedded server.
pub(crate) async fn install_crds(server: &Arc<ApiServer>) -> anyhow::Result<()> {
    let admin = Client::new(server.transport(User::new("knarr", &["system:masters"])), "knarr");
    for crd in crate::kinds::crds() {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let options = WriteOptions { manager: "knarr".to_owned(), force: true, ..WriteOptions::default() };
        let _: Value = admin
            .patch(&CRDS, ("", &name), "", &Patch::Apply(crd), &options)
            .await
            .with_context(|| format!("install CustomResourceDefinition {name}"))?;
    }
    Ok(())
}
