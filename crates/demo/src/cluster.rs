//! The cluster of the story: an own `up` in an own directory, killed, started again, and cleared away whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use stdx::Env;
use tokio::process::{Child, Command};

use crate::load;
use crate::processes;
use crate::steps::CELLS;

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// This program.
    pub(crate) program: PathBuf,
    /// Where everything is kept.
    pub(crate) dir: PathBuf,
    /// Simulated nodes.
    pub(crate) nodes: usize,
    /// Nodes with real processes.
    pub(crate) process_nodes: usize,
    /// Seconds until a silent node counts as lost.
    pub(crate) grace_seconds: u32,
}

/// The running cluster.
pub(crate) struct Cluster {
    plan: Plan,
    up: Option<Child>,
}

/// How long `up` may take to end its pods after TERM.
const STOP: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Lines of its log shown when it ends by itself.
const LAST_WORDS: usize = 8;

impl Cluster {
    /// Makes the directory and starts `up` there.
    pub(crate) fn start(plan: Plan) -> anyhow::Result<Cluster> {
        fs::create_dir_all(&plan.dir).with_context(|| format!("make {}", plan.dir.display()))?;
        let catalogue = catalogue(&plan.program);
        let path = plan.dir.join("catalogue.yaml");
        fs::write(&path, catalogue).with_context(|| format!("write {}", path.display()))?;
        let mut cluster = Cluster { plan, up: None };
        cluster.up()?;
        Ok(cluster)
    }

    /// Starts `up`, anew or again.
    pub(crate) fn up(&mut self) -> anyhow::Result<()> {
        let path = self.log();
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("open {}", path.display()))?;
        let mut command = Command::new(&self.plan.program);
        command.args(words(&self.plan)).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A process group of its own: Ctrl-C in the terminal is for the story, which then ends this in order.
        command.process_group(0);
        let program = self.plan.program.display();
        self.up = Some(command.spawn().with_context(|| format!("start {program} up"))?);
        Ok(())
    }

    /// Process id of `up`.
    pub(crate) fn id(&self) -> Option<u32> {
        self.up.as_ref().and_then(Child::id)
    }

    /// Where everything is kept.
    pub(crate) fn dir(&self) -> &Path {
        &self.plan.dir
    }

    /// How to reach it.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.plan.dir.join("kubeconfig")
    }

    fn log(&self) -> PathBuf {
        self.plan.dir.join("up.log")
    }

    /// Fails when `up` has ended by itself, with its last words.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let Some(up) = &mut self.up else { return Ok(()) };
        let Some(status) = up.try_wait().context("look after up")? else { return Ok(()) };
        self.up = None;
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n  ");
        bail!("`knarr up` ended with {status}; its last words:\n  {last}")
    }

    /// Kills the control plane, and nothing else.
    pub(crate) async fn kill_plane(&mut self) -> anyhow::Result<()> {
        if let Some(mut up) = self.up.take() {
            up.kill().await.context("kill up")?;
        }
        Ok(())
    }

    /// Kills the agent of a cell, its shims and their processes. Returns how many there were.
    pub(crate) fn kill_cell(&self, cell: &str) -> anyhow::Result<usize> {
        let dir = self.plan.dir.join("agents").join(cell);
        match processes::kill_below(&dir) {
            0 => bail!("no process of {cell} was found by the records in {}", dir.display()),
            count => Ok(count),
        }
    }

    /// Ends everything in order, then by force what is left, and removes the directory.
    pub(crate) async fn stop(mut self, env: &Env) -> anyhow::Result<()> {
        if let Some(mut up) = self.up.take() {
            terminate(&up);
            let ended = tokio::select! {
                _ = up.wait() => true,
                () = env.sleep(STOP) => false,
            };
            if !ended {
                up.kill().await.context("kill up")?;
            }
        }
        clear(&self.plan.dir, env).await
    }

    /// Leaves it running.
    pub(crate) fn keep(mut self) {
        // Dropping a child of tokio neither ends nor forgets it.
        self.up.take();
    }
}

/// Kills what is left of a cluster by its records, and removes its directory.
pub(crate) async fn clear(dir: &Path, env: &Env) -> anyhow::Result<()> {
    // Twice: an agent may have started a container between the first look and its own end.
    for _ in 0..2 {
        if processes::kill_below(dir) > 0 {
            env.sleep(POLL).await;
        }
    }
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It is our child and has not been waited for: the pid is its own.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// The words of `up`.
fn words(plan: &Plan) -> Vec<String> {
    let path = |name: &str| plan.dir.join(name).to_string_lossy().into_owned();
    let pairs = [
        ("--listen", "127.0.0.1:0".to_owned()),
        ("--data-dir", plan.dir.to_string_lossy().into_owned()),
        ("--kubeconfig", path("kubeconfig")),
        ("--nodes", plan.nodes.to_string()),
        ("--process-nodes", plan.process_nodes.to_string()),
        ("--cells", CELLS.join(",")),
        ("--node-grace-period", plan.grace_seconds.to_string()),
        ("--catalogue", path("catalogue.yaml")),
    ];
    let pairs = pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
    std::iter::once("up".to_owned()).chain(pairs).collect()
}

/// One more good version than every cluster has.
fn catalogue(program: &Path) -> String {
    let command = serde_json::json!([program, "shop", "--version", "v4"]);
    format!("images:\n  knarr.dev/shop:v4:\n    command: {command}\n")
}

/// A load that runs as a process of its own.
pub(crate) struct Load {
    child: Child,
}

impl Load {
    /// Starts it; its lines come on the returned stream.
    pub(crate) fn start(
        program: &Path,
        args: &load::Args,
    ) -> anyhow::Result<(Load, tokio::process::ChildStdout)> {
        let mut command = Command::new(program);
        command.args(["load", "--url", &args.url.to_string(), "--rate", &args.rate.to_string()]);
        command.args(["--connections", &args.connections.to_string()]);
        command.args(["--connections-max", &args.connections_max.to_string()]);
        command.args(["--tick-ms", &args.tick_ms.to_string(), "--timeout-ms", &args.timeout_ms.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().context("start the load")?;
        let lines = child.stdout.take().context("read what the load says")?;
        Ok((Load { child }, lines))
    }

    /// Asks it to end; it says its sums first.
    pub(crate) fn finish(&self) {
        terminate(&self.child);
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await.context("wait for the load")?;
        if !status.success() {
            bail!("the load ended with {status}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_started_with_two_cells_and_a_port_of_its_own() {
        let plan = Plan {
            program: "/bin/knarr".into(),
            dir: "/tmp/d".into(),
            nodes: 1000,
            process_nodes: 4,
            grace_seconds: 4,
        };
        expect_test::expect![[
            "up --listen 127.0.0.1:0 --data-dir /tmp/d --kubeconfig /tmp/d/kubeconfig --nodes 1000 --process-nodes 4 --cells CellA,CellB --node-grace-period 4 --catalogue /tmp/d/catalogue.yaml"
        ]]
        .assert_eq(&words(&plan).join(" "));
        expect_test::expect![[r#"
            images:
              knarr.dev/shop:v4:
                command: ["/bin/knarr","shop","--version","v4"]
        "#]]
        .assert_eq(&catalogue(&plan.program));
    }
}
