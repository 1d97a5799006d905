//! `knarr up`: a whole cluster from one command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use controller_host::{Clients, HostConfig};
use stdx::Env;
use tokio::signal::unix::{self, Signal, SignalKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::agents;
use crate::args::{Board, Decisions, Nodes, Role, Scheduling, Server};
use crate::companion::Companion;
use crate::plane::Plane;
use crate::{release, roles, traffic};

/// Flags of `up`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    server: Server,
    /// Kubeconfig to write [default: in the data directory]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    nodes: Nodes,
    /// Leave these roles out; without `workloads` its kinds are not served either
    #[arg(long, value_name = "ROLE,…", value_delimiter = ',')]
    without: Vec<Role>,
    /// Refuse to delete these while they are in use, as if they were labelled policy.kruise.io/delete-protection=Cascading:
    /// namespaces, workloads
    #[arg(long, value_name = "WHAT,…", value_delimiter = ',')]
    protect: Vec<apiserver::Protection>,
    #[command(flatten)]
    decisions: Decisions,
    #[command(flatten)]
    scheduling: Scheduling,
    #[command(flatten)]
    board: Board,
    /// Apply the manifests of this directory, then those of its folder `release`, one release after the other
    #[arg(long, value_name = "DIR")]
    apply: Option<PathBuf>,
}

impl Args {
    /// The API server alone.
    pub(crate) fn apiserver_only(server: Server) -> Args {
        let nodes = Nodes {
            nodes: 0,
            process_nodes: 0,
            catalogue: None,
            cells: Vec::new(),
            node_grace_period: 40,
            zones: Vec::new(),
        };
        let without = Role::ALL.into_iter().filter(|r| *r != Role::Apiserver).collect();
        Args {
            server,
            kubeconfig: None,
            nodes,
            without,
            protect: Vec::new(),
            decisions: Decisions::default(),
            scheduling: Scheduling::default(),
            board: Board::default(),
            apply: None,
        }
    }

    fn roles(&self) -> Vec<Role> {
        Role::ALL.into_iter().filter(|r| !self.without.contains(r)).collect()
    }
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.without.contains(&Role::Apiserver) {
        anyhow::bail!(
            "--without apiserver: use `knarr run --role … --kubeconfig FILE` against another API server"
        );
    }
    let env = os::env();
    // From the first moment on: a signal that nobody listens for is lost.
    let mut signals = Signals::listen()?;
    let roles = args.roles();
    // Read before anything starts, so that a mistake costs nothing.
    let releases = args.apply.as_deref().map(release::Releases::read).transpose()?;
    let scheduling = args.scheduling.read()?;
    let (stop, stopped) = watch::channel(false);
    let mut plane = Plane::open(&args.server, args.kubeconfig.clone(), &roles, &env, stopped.clone()).await?;
    plane.server.protect(args.protect.iter().copied());
    start(&plane, &roles, &env, &args, scheduling)?;
    let companions = agents(&plane, &roles, &env, &args).await?;
    let (proxy, traffic) = proxy(&mut plane, &roles, &env, stopped.clone()).await?;
    let board = board(&mut plane, &roles, &env, &args, traffic, stopped).await?;
    greet(&plane, &args, board.as_deref());
    let store = plane.server.store().clone();
    let outcome = tokio::select! {
        biased;
        () = signals.next() => Ok(()),
        error = store.failed() => Err(anyhow::Error::new(error).context("the store can no longer write")),
        outcome = work(&mut plane, releases, &env) => match outcome {
            Ok(()) => stay(&store, &mut signals).await,
            // The cluster stays up: whoever made the mistake can mend it and apply again.
            Err(e) => {
                eprintln!("error: {e:#}");
                eprintln!("the cluster stays up; Ctrl-C stops it");
                stay(&store, &mut signals).await
            }
        },
    };
    eprintln!("stopping; once more ends it at once");
    let leave = async {
        plane.server.announce_departure();
        env.sleep(Duration::from_secs(args.server.shutdown_delay_duration)).await;
        plane.server.end_watches();
        let _ = stop.send(true);
        // Pods leave after their traffic does: the proxy ends with them.
        futures_util::future::join_all(companions.into_iter().map(|c| c.stop(&env))).await;
        if let Some(proxy) = proxy {
            proxy.await.context("end the proxy")?;
        }
        plane.finish().await
    };
    tokio::select! {
        biased;
        () = signals.next() => outcome.and_then(|()| Err(anyhow::anyhow!("stopped at once; what was under way was left"))),
        left = leave => outcome.and(left),
    }
}

/// Waits for a signal, or for the store to fail.
async fn stay(store: &store::Store, signals: &mut Signals) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = signals.next() => Ok(()),
        error = store.failed() => Err(anyhow::Error::new(error).context("the store can no longer write")),
    }
}

fn start(
    plane: &Plane,
    roles: &[Role],
    env: &Env,
    args: &Args,
    scheduling: scheduler::Config,
) -> anyhow::Result<()> {
    let server = plane.server.clone();
    let clients: Clients = std::sync::Arc::new(move |name| {
        let user = apiserver::User::new(&roles::user_of(name), &[]);
        api_client::Client::new(server.transport(user), name)
    });
    let guard = roles::permit(roles);
    let whom = (roles, roles::Place::Embedded);
    if let Some(handle) = roles::start_controllers(whom, clients, env, guard.clone(), HostConfig::alone()) {
        plane.server.add_figures(std::sync::Arc::new(move || handle.metrics()));
    }
    if roles.contains(&Role::Scheduler) {
        let log = args.decisions.open()?;
        let metrics = roles::start_scheduler(plane.client(roles::SCHEDULER), env, (scheduling, log), guard);
        plane.server.add_figures(std::sync::Arc::new(move || metrics.text()));
    }
    if roles.contains(&Role::Nodes) {
        roles::start_simulated(plane.client(roles::NODE_SIM), env, &args.nodes);
    }
    Ok(())
}

async fn agents(plane: &Plane, roles: &[Role], env: &Env, args: &Args) -> anyhow::Result<Vec<Companion>> {
    if !roles.contains(&Role::Nodes) || args.nodes.process_nodes == 0 {
        return Ok(Vec::new());
    }
    let wanted = agents::Wanted {
        kubeconfig: plane.agent_kubeconfig.clone(),
        dir: plane.home.path("agents"),
        block: plane.block,
        nodes: args.nodes.process_nodes,
        cells: args.nodes.cells.clone(),
        zones: args.nodes.zones.clone(),
        catalogue: args.nodes.catalogue.clone(),
        grace_seconds: args.nodes.node_grace_period,
    };
    wanted.ensure(env).await
}

/// Starts the proxy, and says where it answers about itself.
async fn proxy(
    plane: &mut Plane,
    roles: &[Role],
    env: &Env,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<(Option<JoinHandle<()>>, Option<SocketAddr>)> {
    if !roles.contains(&Role::Proxy) {
        return Ok((None, None));
    }
    let dir = plane.home.path("proxy");
    let status = plane.home.port("proxy", traffic::is_running(&dir))?;
    let wanted =
        traffic::Wanted { kubeconfig: plane.proxy_kubeconfig.clone(), dir: plane.home.path("proxy"), status };
    Ok((Some(wanted.keep(env, stopped).await?), Some(status)))
}

/// Starts the board, and gives the link that opens it.
async fn board(
    plane: &mut Plane,
    roles: &[Role],
    env: &Env,
    args: &Args,
    traffic: Option<SocketAddr>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<Option<String>> {
    if !roles.contains(&Role::Console) {
        return Ok(None);
    }
    let listen = match args.board.console_listen {
        Some(listen) => listen,
        None => plane.home.port("board", false)?,
    };
    let token = pki::token(&plane.home.path("pki/board.token"))?;
    roles::start_board(plane.client(roles::CONSOLE), env, (listen, &token), traffic, stopped).await.map(Some)
}

fn greet(plane: &Plane, args: &Args, board: Option<&str>) {
    eprintln!("Knarr is up at https://{}", plane.address);
    eprintln!("  kubeconfig: {}", plane.kubeconfig.display());
    if args.without.contains(&Role::Nodes) {
        eprintln!("  nodes: none of its own");
    } else {
        let (sim, process) = (args.nodes.nodes, args.nodes.process_nodes);
        eprintln!(
            "  nodes: {sim} simulated, {process} with local processes (no isolation: catalogue images only)"
        );
    }
    if let Some(link) = board {
        eprintln!("  board: {link}");
    }
    eprintln!("  one process, one disk, no high availability; Ctrl-C stops it, the same --data-dir goes on");
}

async fn work(plane: &mut Plane, releases: Option<release::Releases>, env: &Env) -> anyhow::Result<()> {
    let Some(releases) = releases else { return Ok(()) };
    let client = api_client::Client::new(plane.admin(), "knarr");
    releases.run(&client, env, &plane.home.path("applied.json")).await
}

/// Ctrl-C and SIGTERM.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> anyhow::Result<Signals> {
        Ok(Signals {
            interrupt: unix::signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            terminate: unix::signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn signal() -> anyhow::Result<()> {
    Signals::listen()?.next().await;
    Ok(())
}
