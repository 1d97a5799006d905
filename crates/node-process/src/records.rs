//! The files that agent and shims share. Each is written whole under another name and then renamed, by one writer.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use api_core::ResourceRequirements;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stdx::Time;

/// `pod.json`, by the agent: what a pod keeps over restarts of everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PodRecord {
    pub(crate) node: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) address: Ipv4Addr,
}

/// `config.json`, by the agent: what a shim is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceConfig {
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) id: String,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working_dir: PathBuf,
    pub(crate) resources: ResourceRequirements,
    pub(crate) created_micros: i64,
    /// Arguments before the stage with which a shim calls itself again.
    pub(crate) shim_args: Vec<String>,
    /// Bytes after which the log is rotated; one old file is kept.
    pub(crate) log_bytes_max: u64,
}

/// `start.json`, by the shim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartRecord {
    pub(crate) pid: i32,
    /// Start time of `pid` in clock ticks since boot: a pid alone may have been given to another process.
    pub(crate) ticks: u64,
    pub(crate) shim_pid: i32,
    pub(crate) shim_ticks: u64,
    pub(crate) started_micros: i64,
}

/// `exit.json`, by the shim; by the agent when the shim is gone without a word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) message: String,
    pub(crate) started_micros: Option<i64>,
    pub(crate) finished_micros: i64,
}

/// `stop.json`, by the agent: by when the container must have ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StopRecord {
    pub(crate) kill_at_micros: i64,
}

/// The directory of one instance.
#[derive(Clone, Debug)]
pub(crate) struct InstanceDir(pub(crate) PathBuf);

impl InstanceDir {
    pub(crate) fn of(pod: &Path, container: &str, attempt: u32) -> InstanceDir {
        InstanceDir(pod.join("containers").join(container).join(attempt.to_string()))
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    pub(crate) fn start(&self) -> PathBuf {
        self.0.join("start.json")
    }

    pub(crate) fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    pub(crate) fn stop(&self) -> PathBuf {
        self.0.join("stop.json")
    }

    /// Last words of a start that failed.
    pub(crate) fn start_error(&self) -> PathBuf {
        self.0.join("start-error")
    }

    /// A pipe that wakes the shim.
    pub(crate) fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(crate) fn old_log(&self) -> PathBuf {
        self.0.join("log.1")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

/// Reads a record; nothing when it is not there.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a record so that a reader sees all of it or nothing.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(record).map_err(io::Error::from)?;
    let new = path.with_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, path)
}

/// The machine's time, for processes that have no `Env`.
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
