//! Processes of a cluster, found by the records in its data directory and ended only when they are still the same ones.
//!
//! A record names a pid and its start time. A pid alone may have been given to another process long ago, so the signal goes
//! through a handle on the process whose start time was compared after the handle was taken.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;

/// A process that a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot.
    pub(crate) ticks: u64,
}

/// Record of an agent or a proxy.
#[derive(Deserialize)]
struct Companion {
    pid: i32,
    started: u64,
}

/// Record of a container.
#[derive(Deserialize)]
struct Container {
    pid: i32,
    ticks: u64,
    shim_pid: i32,
    shim_ticks: u64,
}

/// Folders below a data directory that are looked into; pods' own files lie deeper.
const DEPTH_MAX: usize = 9;

impl Process {
    /// Sends a signal if it is still the process of the record. True when it was sent.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.pid > 1) else { return false };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        self.is_alive() && pidfd_send_signal(handle, signal).is_ok()
    }

    /// Whether the process of the record still runs.
    pub(crate) fn is_alive(&self) -> bool {
        os::start_ticks(self.pid) == Some(self.ticks)
    }
}

/// The processes whose records lie below a directory, those that would start others again first: agents, shims, containers.
pub(crate) fn below(dir: &Path) -> Vec<Process> {
    let mut files = Vec::new();
    records(dir, DEPTH_MAX, &mut files);
    let (mut companions, mut shims, mut containers) = (Vec::new(), Vec::new(), Vec::new());
    for bytes in files.iter().filter_map(|file| fs::read(file).ok()) {
        if let Ok(c) = serde_json::from_slice::<Container>(&bytes) {
            shims.push(Process { pid: c.shim_pid, ticks: c.shim_ticks });
            containers.push(Process { pid: c.pid, ticks: c.ticks });
        } else if let Ok(c) = serde_json::from_slice::<Companion>(&bytes) {
            companions.push(Process { pid: c.pid, ticks: c.started });
        }
    }
    [companions, shims, containers].concat()
}

fn records(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if kind.is_dir() && depth > 0 {
            records(&path, depth - 1, out);
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "json") {
            out.push(path);
        }
    }
}

/// Kills everything whose record lies below a directory. Returns how many processes were killed.
pub(crate) fn kill_below(dir: &Path) -> usize {
    below(dir).iter().filter(|p| p.signal(Signal::KILL)).count()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("knarr-demo-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn write(path: &Path, text: String) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn only_the_very_process_of_a_record_is_killed() {
        let dir = scratch("same");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let ticks = os::start_ticks(pid).unwrap();
        let other = Process { pid, ticks: ticks + 1 };
        assert!(!other.signal(Signal::KILL), "another process has got the pid since");
        assert!(child.try_wait().unwrap().is_none());
        write(&dir.join("CellA/agent.json"), format!(r#"{{"pid":{pid},"started":{ticks},"version":"0"}}"#));
        assert_eq!(kill_below(&dir), 1);
        assert!(!child.wait().unwrap().success());
        assert_eq!(kill_below(&dir), 0, "it is gone");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn agents_die_before_shims_and_shims_before_containers() {
        let dir = scratch("order");
        let start = r#"{"pid":30,"ticks":3,"shim_pid":20,"shim_ticks":2,"started_micros":0}"#;
        write(&dir.join("pods/u/containers/shop/0/start.json"), start.to_owned());
        write(&dir.join("agent.json"), r#"{"pid":10,"started":1,"words":[],"version":"0"}"#.to_owned());
        write(&dir.join("cluster.json"), r#"{"listen":"127.0.0.1:1"}"#.to_owned());
        let pids: Vec<i32> = below(&dir).iter().map(|p| p.pid).collect();
        assert_eq!(pids, [10, 20, 30]);
        fs::remove_dir_all(dir).unwrap();
    }
}
