//! Processes beside `up` that outlive it: started by one `up`, found again by the next.
//!
//! A companion is this program with a hidden command, in a session of its own. Its directory keeps a record of it: pid, start
//! time and flags. One with other flags or of another version is replaced; what it holds (pods, connections) is its own care.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use stdx::Env;

/// What is remembered of a companion.
#[derive(Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// Clock ticks since boot when it started: tells it from a later process of the same pid.
    started: u64,
    #[serde(default)]
    words: Vec<String>,
    version: String,
}

/// How long a companion may take to end.
const STOP: Duration = Duration::from_secs(9);
const POLL: Duration = Duration::from_millis(50);

/// A running companion.
pub(crate) struct Companion {
    record: Record,
    path: PathBuf,
    name: String,
}

impl Companion {
    /// Finds the one of an earlier start, or starts one. `dir` keeps `NAME.json`, its record, and `NAME.log`.
    pub(crate) async fn ensure(
        dir: &Path,
        name: &str,
        words: Vec<String>,
        env: &Env,
    ) -> anyhow::Result<Companion> {
        pki::make_dir(dir)?;
        let path = dir.join(format!("{name}.json"));
        if let Some(found) = Companion::find(dir, name) {
            if found.record.words == words && found.record.version == env!("CARGO_PKG_VERSION") {
                tracing::info!(pid = found.record.pid, name, "found the process of an earlier start");
                return Ok(found);
            }
            // KILL, not TERM: what it holds is to stay for its successor.
            found.record.signal(rustix::process::Signal::KILL);
            found.record.gone(env, STOP).await;
        }
        let record = start(dir, name, &words)?;
        pki::write_private(&path, &serde_json::to_vec(&record)?)?;
        Ok(Companion { record, path, name: name.to_owned() })
    }

    /// The one that a record in `dir` names, while it lives.
    pub(crate) fn find(dir: &Path, name: &str) -> Option<Companion> {
        let path = dir.join(format!("{name}.json"));
        let record: Record = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        record.is_alive().then(|| Companion { record, path, name: name.to_owned() })
    }

    /// Whether it lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.record.is_alive()
    }

    /// Ends it, and with it what it holds.
    pub(crate) async fn stop(self, env: &Env) {
        self.record.signal(rustix::process::Signal::TERM);
        if !self.record.gone(env, STOP).await {
            tracing::warn!(
                pid = self.record.pid,
                name = self.name,
                "the process did not end in time; killed"
            );
            self.record.signal(rustix::process::Signal::KILL);
        }
        let _ = fs::remove_file(&self.path);
    }
}

impl Record {
    fn is_alive(&self) -> bool {
        os::start_ticks(self.pid) == Some(self.started)
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

fn start(dir: &Path, name: &str, words: &[String]) -> anyhow::Result<Record> {
    let program = std::env::current_exe().context("find the program itself")?;
    let log_path = dir.join(format!("{name}.log"));
    let log = fs::OpenOptions::new().create(true).append(true).open(&log_path);
    let log = log.with_context(|| format!("open {}", log_path.display()))?;
    let mut command = Command::new(&program);
    command.args(words).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn().with_context(|| format!("start {} {name}", program.display()))?;
    let pid = i32::try_from(child.id())?;
    let started = os::start_ticks(pid)
        .with_context(|| format!("the process {name} ended at once; see {}", log_path.display()))?;
    // Its end is noticed by pid; this thread only keeps it from becoming a zombie.
    std::thread::Builder::new().name("companion".into()).spawn(move || child.wait())?;
    Ok(Record { pid, started, words: words.to_vec(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Completes when the process is told to end.
pub(crate) async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("a runtime with signals is running");
    terminate.recv().await;
}

/// How often a companion looks after its directory.
const DIRECTORY_LOOK: Duration = Duration::from_secs(2);

/// Completes when a directory is gone, or another one is in its place.
pub(crate) async fn directory_gone(dir: &Path, env: &Env) {
    use std::os::unix::fs::MetadataExt;
    let identity = |dir: &Path| fs::metadata(dir).map(|m| (m.dev(), m.ino())).ok();
    let own = identity(dir);
    while own.is_some() && identity(dir) == own {
        env.sleep(DIRECTORY_LOOK).await;
    }
}
