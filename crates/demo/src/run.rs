//! From flags to an exit code: the cluster is made, the story told, everything cleared away, the report written.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api_client::{Client, Transport};
use stdx::Env;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Args;
use crate::cluster::{self, Cluster, Plan};
use crate::facts::Chronicle;
use crate::judge::{Rules, Verdict, unclaimed};
use crate::report::{self, Conditions};
use crate::screen::{self, Screen};
use crate::steps::{CELLS, StepId, chosen};
use crate::story::{CONNECTIONS, LoadPlan, Story};

/// Nodes with real processes: two in each cell, so that a cell is more than one machine.
const PROCESS_NODES: usize = 4;
/// Seconds until a silent process node counts as lost.
const GRACE_SECONDS: u32 = 4;
/// How long the API server may take until it answers for the first time.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// The fuse of what is killed is shorter than this; the seed picks it.
const FUSE_MS_MAX: u64 = 250;
/// Exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Tells the story. `connect` makes a transport of the kubeconfig that the cluster writes.
///
/// # Errors
/// When the cluster does not start, or the report cannot be written. What does not hold in the story is no error: the table
/// and the report say it, and the exit code is 1.
pub async fn run<F, R>(args: Args, env: Env, connect: F) -> anyhow::Result<ExitCode>
where
    F: Fn(PathBuf) -> R,
    R: Future<Output = anyhow::Result<Arc<dyn Transport>>>,
{
    check(&args)?;
    let mut ends = Ends::listen()?;
    let program = std::env::current_exe().context("find the program itself")?;
    let plan = Plan {
        dir: directory(&args, &env)?,
        program,
        nodes: args.nodes,
        process_nodes: PROCESS_NODES,
        grace_seconds: GRACE_SECONDS,
    };
    let began = env.now();
    let mut screen = Screen::new();
    let mut chronicle = Chronicle::default();
    let mut cluster = Cluster::start(plan.clone())?;
    let told = tokio::select! {
        biased;
        () = ends.next() => None,
        told = tell(&args, &env, &plan, &mut cluster, &mut screen, &mut chronicle, connect) => Some(told),
    };
    screen.close();
    put_away(&args, &env, cluster, told.is_some(), &mut ends).await?;
    let Some(told) = told else { return Ok(ExitCode::from(INTERRUPTED)) };
    let verdicts = told?;
    let conditions = conditions(&args, began.micros(), env.now().micros());
    let loose = unclaimed(&chronicle, &chosen(args.only));
    conclude(&args.report, &chronicle, &verdicts, &loose, &conditions)
}

fn check(args: &Args) -> anyhow::Result<()> {
    if !(args.rate >= 1.0 && args.rate <= 20_000.0) {
        bail!("--rate {}: give 1 to 20000 requests per second", args.rate);
    }
    if let Some(dir) = args.dir.as_deref().filter(|d| d.exists()) {
        bail!("--dir {}: it is there already; the story makes a cluster of its own", dir.display());
    }
    // Found out now and not after a minute and a half.
    let folder = args.report.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|f| !f.is_dir()) {
        bail!("--report {}: there is no folder {}", args.report.display(), folder.display());
    }
    Ok(())
}

fn directory(args: &Args, env: &Env) -> anyhow::Result<PathBuf> {
    let dir = args.dir.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("knarr-demo-{:08x}", env.rng.next_u64() & 0xffff_ffff))
    });
    std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    dir.canonicalize().with_context(|| format!("find {}", dir.display()))
}

async fn tell<F, R>(
    args: &Args,
    env: &Env,
    plan: &Plan,
    cluster: &mut Cluster,
    screen: &mut Screen,
    chronicle: &mut Chronicle,
    connect: F,
) -> anyhow::Result<Vec<Verdict>>
where
    F: Fn(PathBuf) -> R,
    R: Future<Output = anyhow::Result<Arc<dyn Transport>>>,
{
    screen.doing(&format!("a cluster of its own starts in {}", plan.dir.display()));
    let client = reach(env, cluster, connect).await?;
    let rules = Rules::of_the_story(&CELLS);
    let steps = chosen(args.only);
    let load = LoadPlan { program: plan.program.clone(), rate: args.rate };
    let fuse = Duration::from_millis(args.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) % FUSE_MS_MAX);
    let mut story = Story::new(env, cluster, client, screen, chronicle, &rules, &steps, load, fuse)?;
    story.tell(args.nodes + PROCESS_NODES).await
}

/// A client, once the API server answers.
async fn reach<F, R>(env: &Env, cluster: &mut Cluster, connect: F) -> anyhow::Result<Client>
where
    F: Fn(PathBuf) -> R,
    R: Future<Output = anyhow::Result<Arc<dyn Transport>>>,
{
    let kubeconfig = cluster.kubeconfig();
    let end = env.now() + START;
    loop {
        cluster.check()?;
        if kubeconfig.exists() {
            let client = Client::new(connect(kubeconfig.clone()).await?, "knarr-demo");
            match client.raw("/readyz", &[]).await {
                Ok(_) => return Ok(client),
                Err(error) if env.now() >= end => return Err(error).context("wait for the API server"),
                Err(_) => {}
            }
        } else if env.now() >= end {
            bail!("no kubeconfig in {} after {} s", cluster.dir().display(), START.as_secs());
        }
        env.sleep(POLL).await;
    }
}

/// Ends the cluster and clears it away, or leaves it. A further Ctrl-C meanwhile does it by force.
async fn put_away(
    args: &Args,
    env: &Env,
    cluster: Cluster,
    is_whole: bool,
    ends: &mut Ends,
) -> anyhow::Result<()> {
    let dir = cluster.dir().to_owned();
    if args.keep && is_whole {
        say(&format!("the cluster stays up: KUBECONFIG={}", cluster.kubeconfig().display()));
        let id = cluster.id().map_or_else(String::new, |id| format!(": kill {id}"));
        say(&format!("it ends on TERM{id}; its directory is {}", dir.display()));
        cluster.keep();
        return Ok(());
    }
    say("clearing away; Ctrl-C again does it by force");
    tokio::select! {
        biased;
        () = ends.next() => cluster::clear(&dir, env).await,
        stopped = cluster.stop(env) => stopped,
    }
}

/// Prints the table and writes the report.
fn conclude(
    path: &Path,
    chronicle: &Chronicle,
    verdicts: &[Verdict],
    loose: &[String],
    conditions: &Conditions,
) -> anyhow::Result<ExitCode> {
    let html = report::html(chronicle, verdicts, loose, conditions);
    std::fs::write(path, html).with_context(|| format!("write {}", path.display()))?;
    print(&format!("\n{}", screen::table(verdicts)));
    for complaint in loose {
        print(&format!("also: {complaint}\n"));
    }
    print(&format!("report: {}\n", path.display()));
    let holds =
        loose.is_empty() && verdicts.iter().all(Verdict::holds) && verdicts.len() == conditions.steps.len();
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn conditions(args: &Args, began: i64, ended: i64) -> Conditions {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |path: &str, name: &str| {
        let text = read(path);
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("", |(_, v)| v).trim().to_owned()
    };
    let steps: Vec<StepId> = chosen(args.only);
    Conditions {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        began,
        ended,
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        cpu: field("/proc/cpuinfo", "model name"),
        memory: field("/proc/meminfo", "MemTotal"),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        rate: args.rate,
        connections: CONNECTIONS,
        nodes: args.nodes,
        process_nodes: PROCESS_NODES,
        seed: args.seed,
        steps,
    }
}

fn say(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
}

fn print(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

/// Ctrl-C and TERM, each time they come.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    fn listen() -> anyhow::Result<Ends> {
        Ok(Ends {
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
