//! The one binary: everything in one process, or one role per process.
//!
//! What is absent: decisions. This crate wires rooms together and turns flags into their configuration.

mod agents;
mod args;
mod backup;
mod companion;
mod home;
mod install;
mod kinds;
mod kubeconfig;
mod kubelet;
mod memory;
mod plane;
mod release;
mod renewal;
mod roles;
mod run;
mod shop;
mod traffic;
mod up;
mod webhook;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Requests build and drop trees of many small maps: see docs/adr/2026-11-20-allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs applications at very large scale on Kubernetes: places, releases, scales and protects them.
#[derive(Parser)]
#[command(name = "knarr", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more; twice for everything. KNARR_LOG takes a tracing filter
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Prove a release with zero failed requests: a cluster of its own, load, failures, a report; about ninety seconds
    Demo(demo::Args),
    /// Start a cluster in this process, and its node agents beside it
    Up(Box<up::Args>),
    /// Run single roles against the API server of a kubeconfig
    Run(Box<run::Args>),
    /// Print what a cluster needs before the controllers run there
    Install(install::Args),
    Store(backup::Args),
    /// Serve the example application
    #[command(hide = true)]
    Shop(shop::Args),
    /// Run process nodes
    #[command(hide = true)]
    NodeAgent(agents::Args),
    /// Serve the addresses of Services
    #[command(hide = true)]
    Proxy(traffic::Args),
    /// Send requests at a fixed rate, whatever the answers do
    #[command(hide = true)]
    Load(demo::load::Args),
    /// Hold one container
    #[command(hide = true)]
    Shim(ShimArgs),
    #[command(flatten)]
    Client(cli::Verb),
}

#[derive(clap::Args)]
struct ShimArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The shim must stay small: no runtime, no log of its own.
    if let Command::Shim(args) = cli.command {
        return node_process::shim_main(args.words);
    }
    log(cli.verbose);
    // Both kube-rs and our listener use rustls; ring is the provider for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&anyhow::Error::new(e).context("start the runtime")),
    };
    let outcome = runtime.block_on(dispatch(cli.command));
    // Whatever still runs in the background has nothing to say any more.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(e) => fail(&e),
    }
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => return demo::run(args, os::env(), connect).await,
        Command::Load(args) => demo::load::run(args).await?,
        Command::Up(args) => up::run(*args).await?,
        Command::Run(args) => run::run(*args).await?,
        Command::Install(args) => install::run(&args)?,
        Command::Store(args) => backup::run(args).await?,
        Command::Shop(args) => return Ok(shop::run(args).await),
        Command::NodeAgent(args) => agents::run(args).await?,
        Command::Proxy(args) => traffic::run(args).await?,
        Command::Shim(_) => {}
        Command::Client(verb) => return client(verb).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// The verbs of kubectl: their cluster is that of a kubeconfig, else the one `up` keeps in the default data directory.
async fn client(verb: cli::Verb) -> anyhow::Result<ExitCode> {
    let open = |wanted: cli::Connect| async move {
        let own = home::default_dir().join("kubeconfig");
        let unnamed = wanted.kubeconfig.is_none() && std::env::var_os("KUBECONFIG").is_none();
        let path = wanted.kubeconfig.or_else(|| (unnamed && own.exists()).then_some(own));
        let transport =
            api_client_kube::KubeTransport::open(path.as_deref(), wanted.context.as_deref()).await?;
        let namespace = transport.default_namespace().to_owned();
        Ok(cli::Connection { transport: std::sync::Arc::new(transport), namespace })
    };
    let all = [args::Role::Controllers, args::Role::Workloads];
    let thinkers =
        cli::Thinkers { rows: roles::rows(&all, roles::Place::Embedded), permit: Some(roles::permit(&all)) };
    Ok(cli::run_knowing(verb, os::env(), &mut Cli::command(), open, cli::Io::terminal(), thinkers).await)
}

/// The transport of a kubeconfig.
async fn connect(path: std::path::PathBuf) -> anyhow::Result<std::sync::Arc<dyn api_client::Transport>> {
    let transport = api_client_kube::KubeTransport::open(Some(&path), None).await?;
    Ok(std::sync::Arc::new(transport))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

fn log(verbose: u8) {
    // kube-rs reports failed connections itself; our own error says the same and what to do.
    let default = ["warn,kube_client=off", "info", "debug"][usize::from(verbose.min(2))];
    let filter = tracing_subscriber::EnvFilter::try_from_env("KNARR_LOG").unwrap_or_else(|_| default.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
