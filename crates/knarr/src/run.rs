//! `knarr run`: single roles against the API server of a kubeconfig, or the API server alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use api_client::Client;
use api_client_kube::KubeTransport;
use controller_host::{HostConfig, LeaseConfig, over};
use stdx::Env;
use tokio::sync::watch;

use crate::args::{Board, Decisions, Nodes, Role, Scheduling, Server};
use crate::{roles, up, webhook};

/// Flags of `run`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Roles to run
    #[arg(long = "role", value_name = "ROLE,…", value_delimiter = ',', required = true)]
    roles: Vec<Role>,
    /// Cluster to work on [default: KUBECONFIG, ~/.kube/config, or the service account of this pod]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context within the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    decisions: Decisions,
    #[command(flatten)]
    scheduling: Scheduling,
    #[command(flatten)]
    board: Board,
    /// Address of the conversion webhook (role workloads)
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    webhook_listen: SocketAddr,
    /// Service by which the API server reaches the webhook; without one it is called at its address
    #[arg(long, value_name = "NAMESPACE/NAME")]
    webhook_service: Option<webhook::Service>,
    /// Compete for a lease, so that several may run and one acts
    #[arg(long, value_name = "NAMESPACE/NAME")]
    leader_lease: Option<String>,
}

/// Runs until a signal.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.roles.contains(&Role::Apiserver) {
        if args.roles.len() > 1 {
            bail!(
                "role apiserver brings its own store: run it alone, or everything together with `knarr up`"
            );
        }
        return up::run(up::Args::apiserver_only(args.server)).await;
    }
    let env = os::env();
    // Read before anything starts, so that a mistake costs nothing.
    let scheduling = args.scheduling.read()?;
    let transport = KubeTransport::open(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
    let client = Client::new(Arc::new(transport), "knarr");
    let (stop, stopped) = watch::channel(false);
    let config = match &args.leader_lease {
        None => HostConfig::alone(),
        Some(lease) => {
            let (namespace, name) =
                lease.split_once('/').context("--leader-lease: expected NAMESPACE/NAME")?;
            let identity = stdx::uid(&*env.rng);
            HostConfig::elected(LeaseConfig { namespace: namespace.into(), name: name.into(), identity })
        }
    };
    let guard = roles::permit(&args.roles);
    let whom = (&args.roles[..], roles::Place::Fleet);
    roles::start_controllers(whom, over(client.clone()), &env, guard.clone(), config);
    if args.roles.contains(&Role::Scheduler) {
        let setup = (scheduling, args.decisions.open()?);
        roles::start_scheduler(client.named(roles::SCHEDULER), &env, setup, guard);
    }
    if args.roles.contains(&Role::Nodes) {
        // Process nodes have addresses that only the embedded server accepts: here all nodes are simulated.
        roles::start_simulated(client.named(roles::NODE_SIM), &env, &args.nodes);
    }
    if args.roles.contains(&Role::Proxy) {
        start_proxy(client.named(roles::PROXY), &env, stopped.clone());
    }
    if args.roles.contains(&Role::Console) {
        let listen = args.board.console_listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let dir = args.server.data_dir.clone().unwrap_or_else(crate::home::default_dir);
        pki::make_dir(&dir)?;
        let token = pki::token(&dir.join("board.token"))?;
        let at = (listen, token.as_str());
        let link = roles::start_board(client.named(roles::CONSOLE), &env, at, None, stopped.clone()).await?;
        eprintln!("board: {link}");
    }
    let webhook = if args.roles.contains(&Role::Workloads) {
        let dir = args.server.data_dir.clone().unwrap_or_else(crate::home::default_dir).join("webhook");
        let (client, env) = (client.named("workloads-webhook"), env.clone());
        Some(tokio::spawn(async move {
            webhook::run(client, env, &dir, args.webhook_listen, args.webhook_service, stopped).await
        }))
    } else {
        None
    };
    eprintln!("running {}; Ctrl-C stops", names(&args.roles));
    up::signal().await?;
    let _ = stop.send(true);
    if let Some(webhook) = webhook {
        webhook.await.context("conversion webhook")??;
    }
    Ok(())
}

/// In this process: whoever runs single roles keeps them alive.
fn start_proxy(client: Client, env: &Env, mut stopped: watch::Receiver<bool>) {
    let inner = env.clone();
    env.spawn("proxy", async move {
        let ends = async move {
            let _ = stopped.wait_for(|s| *s).await;
        };
        let config = proxy::Config { status_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };
        if let Err(error) = proxy::run(client, inner, config, ends).await {
            tracing::error!(%error, "the proxy stopped");
        }
    });
}

fn names(roles: &[Role]) -> String {
    let names: Vec<String> = roles.iter().map(|r| r.name().to_owned()).collect();
    names.join(", ")
}
