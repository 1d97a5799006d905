//! The node agent as a process of its own: started by `up`, found again by the next `up`.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api_client::Client;
use api_client_kube::KubeTransport;
use node_agent::NodeConfig;
use node_process::{AgentConfig, Catalogue, agent_main};
use serde::{Deserialize, Serialize};
use stdx::Env;
use tokio::signal::unix::{SignalKind, signal};

/// Flags of the hidden command `node-agent`.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Args {
    /// How to reach the API server.
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    /// Where pods keep their state; the agent ends itself when it is gone.
    #[arg(long)]
    pub(crate) state_dir: PathBuf,
    /// N of the cluster's block 127.N.0.0/16.
    #[arg(long)]
    pub(crate) block: u8,
    /// How many nodes.
    #[arg(long)]
    pub(crate) nodes: usize,
    /// Cells to spread them over.
    #[arg(long, value_delimiter = ',')]
    pub(crate) cells: Vec<String>,
    /// Zones to spread them over.
    #[arg(long, value_delimiter = ',')]
    pub(crate) zones: Vec<String>,
    /// Images beside the built-in ones.
    #[arg(long)]
    pub(crate) catalogue: Option<PathBuf>,
}

/// What `up` remembers of the agent it started.
#[derive(Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// Clock ticks since boot when it started: tells it from a later process of the same pid.
    started: u64,
    args: Args,
    version: String,
}

/// How long an agent may take to end its pods.
const STOP: Duration = Duration::from_secs(9);
const POLL: Duration = Duration::from_millis(50);
const LEASE_RENEWAL: Duration = Duration::from_secs(10);

/// A running agent.
pub(crate) struct Agent {
    record: Record,
    path: PathBuf,
}

impl Agent {
    /// Finds the agent of an earlier start, or starts one. One with other flags is replaced; its pods go on.
    pub(crate) async fn ensure(args: Args, env: &Env) -> anyhow::Result<Agent> {
        pki::make_dir(&args.state_dir)?;
        let path = args.state_dir.join("agent.json");
        let found: Option<Record> = fs::read(&path).ok().and_then(|b| serde_json::from_slice(&b).ok());
        if let Some(record) = found.filter(Record::is_alive) {
            if record.args == args && record.version == env!("CARGO_PKG_VERSION") {
                tracing::info!(pid = record.pid, "found the node agent of an earlier start");
                return Ok(Agent { record, path });
            }
            // KILL, not TERM: the pods are to stay.
            record.signal(rustix::process::Signal::KILL);
            record.gone(env, STOP).await;
        }
        let record = start(&args)?;
        pki::write_private(&path, &serde_json::to_vec(&record)?)?;
        Ok(Agent { record, path })
    }

    /// Ends the agent and with it the pods.
    pub(crate) async fn stop(self, env: &Env) {
        self.record.signal(rustix::process::Signal::TERM);
        if !self.record.gone(env, STOP).await {
            tracing::warn!(pid = self.record.pid, "the node agent did not end in time; killed");
            self.record.signal(rustix::process::Signal::KILL);
        }
        let _ = fs::remove_file(&self.path);
    }
}

impl Record {
    fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if self.is_alive()
            && let Some(pid) = rustix::process::Pid::from_raw(self.pid)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    async fn gone(&self, env: &Env, patience: Duration) -> bool {
        let end = env.now() + patience;
        while self.is_alive() {
            if env.now() > end {
                return false;
            }
            env.sleep(POLL).await;
        }
        true
    }
}

/// Start time of a living process, in clock ticks since boot (field 22 of /proc/PID/stat); zombies do not count.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut after_name = stat.rsplit_once(')')?.1.split_whitespace();
    if after_name.next()? == "Z" {
        return None;
    }
    after_name.nth(18)?.parse().ok()
}

fn start(args: &Args) -> anyhow::Result<Record> {
    let program = std::env::current_exe().context("find the program itself")?;
    let log_path = args.state_dir.join("agent.log");
    let log = fs::OpenOptions::new().create(true).append(true).open(&log_path);
    let log = log.with_context(|| format!("open {}", log_path.display()))?;
    let mut command = Command::new(&program);
    command
        .arg("node-agent")
        .arg("--kubeconfig")
        .arg(&args.kubeconfig)
        .arg("--state-dir")
        .arg(&args.state_dir);
    command.args(["--block", &args.block.to_string(), "--nodes", &args.nodes.to_string()]);
    for (flag, names) in [("--cells", &args.cells), ("--zones", &args.zones)] {
        if !names.is_empty() {
            command.args([flag, &names.join(",")]);
        }
    }
    if let Some(catalogue) = &args.catalogue {
        command.arg("--catalogue").arg(catalogue);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn().with_context(|| format!("start the node agent {}", program.display()))?;
    let pid = i32::try_from(child.id())?;
    let started = started(pid).context("the node agent ended at once")?;
    // Its end is noticed by pid; this thread only keeps it from becoming a zombie.
    std::thread::Builder::new().name("agent".into()).spawn(move || child.wait())?;
    Ok(Record { pid, started, args: args.clone(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// The agent itself.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    // A session of its own: Ctrl-C in the terminal of `up` is not meant for it.
    let _ = rustix::process::setsid();
    let transport = KubeTransport::open(Some(Path::new(&args.kubeconfig)), None).await?;
    let client = Client::new(Arc::new(transport), "node-agent");
    let program = std::env::current_exe().context("find the program itself")?;
    let mut catalogue = Catalogue::builtin(&program);
    if let Some(file) = &args.catalogue {
        catalogue.add_file(file)?;
    }
    let config = AgentConfig {
        nodes: (0..args.nodes).map(|index| node(index, &args)).collect(),
        block: args.block,
        catalogue,
        state_dir: args.state_dir.clone(),
        shim: vec![program.to_string_lossy().into_owned(), "shim".to_owned()],
        log_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        lease_renewal: LEASE_RENEWAL,
    };
    let shutdown = async {
        let mut terminate = signal(SignalKind::terminate()).expect("a runtime with signals is running");
        terminate.recv().await;
    };
    agent_main(client, os::env(), config, shutdown).await?;
    Ok(())
}

/// Nodes are spread over cells and zones in turn.
fn node(index: usize, args: &Args) -> NodeConfig {
    let pick = |names: &[String]| (!names.is_empty()).then(|| names[index % names.len()].clone());
    NodeConfig {
        name: format!("process-{index}"),
        cell: pick(&args.cells),
        zone: pick(&args.zones),
        labels: BTreeMap::new(),
        capacity: BTreeMap::new(),
    }
}
