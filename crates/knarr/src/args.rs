//! Flags that several commands share, and their words.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum, ValueHint};
use serde_json::Value;

/// A part of Knarr that can run apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Role {
    /// API server and store.
    Apiserver,
    /// Kubernetes' own controllers: Deployment, ReplicaSet, EndpointSlice, garbage collection, namespaces.
    Controllers,
    /// CloneSet, InPlaceSet, CafeDeployment; drain, guard, default stability.
    Workloads,
    /// Scheduler.
    Scheduler,
    /// Simulated and process nodes.
    Nodes,
    /// Service addresses on this machine.
    Proxy,
    /// The board: a page that shows releases as they go.
    Console,
}

impl Role {
    /// All roles, in starting order.
    pub(crate) const ALL: [Role; 7] = [
        Role::Apiserver,
        Role::Controllers,
        Role::Workloads,
        Role::Scheduler,
        Role::Nodes,
        Role::Proxy,
        Role::Console,
    ];

    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Apiserver => "apiserver",
            Role::Controllers => "controllers",
            Role::Workloads => "workloads",
            Role::Scheduler => "scheduler",
            Role::Nodes => "nodes",
            Role::Proxy => "proxy",
            Role::Console => "console",
        }
    }
}

/// Where the API server listens and where it keeps things.
#[derive(Args, Clone, Debug)]
pub(crate) struct Server {
    /// Address of the API server; port 0 finds a free one and keeps it [default: the one used before, or 127.0.0.1:6443]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Directory of everything the cluster keeps [default: $XDG_DATA_HOME/knarr]
    #[arg(long, value_name = "DIR", env = "KNARR_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Further users, in kube-apiserver's format: CSV lines of token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    pub(crate) token_auth_file: Option<PathBuf>,
    /// Append events of requests to this file, in Kubernetes' audit format; --audit-policy-file says which
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log_path: Option<PathBuf>,
    /// Put the audit log aside when it is this long [default: never]
    #[arg(long, value_name = "MIB", default_value_t = 0, requires = "audit_log_path",
          value_parser = clap::value_parser!(u64).range(..=1 << 40))]
    pub(crate) audit_log_maxsize: u64,
    /// Keep so many audit logs that were put aside [default: all]
    #[arg(long, value_name = "N", default_value_t = 0, requires = "audit_log_path")]
    pub(crate) audit_log_maxbackup: usize,
    /// Keep audit logs that were put aside for so long [default: for ever]
    #[arg(long, value_name = "DAYS", default_value_t = 0, requires = "audit_log_path",
          value_parser = clap::value_parser!(u64).range(..=36_500))]
    pub(crate) audit_log_maxage: u64,
    /// What the audit log tells: a Policy of audit.k8s.io/v1 [default: every request at level Metadata]
    #[arg(long, value_name = "FILE", requires = "audit_log_path")]
    pub(crate) audit_policy_file: Option<PathBuf>,
    /// When told to stop, say so at /readyz for this long before connections are closed
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) shutdown_delay_duration: u64,
    /// Resident memory beyond which lists and most writes are answered with 429 [default: nine tenths of what there is]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(64..))]
    pub(crate) memory_max_mib: Option<u64>,
}

/// A name that becomes a node's label, and for cells a directory: as Kubernetes wants values of labels.
fn label_value(text: &str) -> Result<String, String> {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let fits = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if fits && text.len() <= 63 && is_end(text.chars().next()) && is_end(text.chars().last()) {
        return Ok(text.to_owned());
    }
    Err("use up to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
        .to_owned())
}

/// Which nodes to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Nodes {
    /// Simulated nodes: their pods are data
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) nodes: usize,
    /// Process nodes: their pods are local processes, without isolation
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) process_nodes: usize,
    /// Images of process nodes beside the built-in ones: a YAML file of name -> command
    #[arg(long, value_name = "FILE")]
    pub(crate) catalogue: Option<PathBuf>,
    /// Cells to spread the nodes over
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = label_value)]
    pub(crate) cells: Vec<String>,
    /// Seconds after which a process node that was not heard of counts as lost; its heartbeats follow. Simulated nodes: at least 40
    #[arg(long, value_name = "SECONDS", default_value_t = 40, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) node_grace_period: u32,
    /// Zones to spread the nodes over
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = label_value)]
    pub(crate) zones: Vec<String>,
}

/// What the scheduler writes down.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Decisions {
    /// Write every decision of the scheduler, with what it rests on, to this file and its four predecessors of 64 MiB; `knarr simulate
    /// log` makes them once more
    #[arg(long, value_name = "FILE")]
    pub(crate) decision_log: Option<PathBuf>,
}

impl Decisions {
    /// Begins the log, if one is wanted.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn open(&self) -> anyhow::Result<Option<scheduler::DecisionLog>> {
        let open = |path: &PathBuf| {
            let log = scheduler::DecisionLog::open(scheduler::LogSettings::new(path.clone()));
            log.with_context(|| format!("write the decision log {}", path.display()))
        };
        self.decision_log.as_ref().map(open).transpose()
    }
}

/// How the scheduler is set up.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Scheduling {
    /// KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1) for the scheduler, as kube-scheduler takes it with --config
    #[arg(long, visible_alias = "config", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) scheduler_config: Option<PathBuf>,
}

impl Scheduling {
    /// The configuration; notes on what of the file makes no difference are printed.
    ///
    /// # Errors
    /// When the file cannot be read, or asks for what this scheduler does not do.
    pub(crate) fn read(&self) -> anyhow::Result<scheduler::Config> {
        let Some(path) = &self.scheduler_config else { return Ok(scheduler::Config::default()) };
        let context = || format!("read --scheduler-config {}", path.display());
        let text = std::fs::read_to_string(path).with_context(context)?;
        let value: Value = serde_yaml_ng::from_str(&text).with_context(context)?;
        let (config, notes) = scheduler::Config::of_upstream(&value).with_context(context)?;
        for note in notes {
            eprintln!("note: {}: {note}", path.display());
        }
        Ok(config)
    }
}

/// Where the board is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Board {
    /// Address of the board (role console) [default: a free port of 127.0.0.1, kept]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) console_listen: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a configuration file.
    fn read(text: &str) -> Result<Vec<String>, String> {
        let dir = std::env::temp_dir().join(format!("knarr-args-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("{:x}.yaml", text.len()));
        std::fs::write(&path, text).unwrap();
        let read = Scheduling { scheduler_config: Some(path.clone()) }.read();
        std::fs::remove_file(&path).unwrap();
        let shown = path.display().to_string();
        read.map(|c| c.profiles.into_iter().map(|p| p.name).collect())
            .map_err(|e| format!("{e:#}").replace(&shown, "FILE"))
    }

    const HEAD: &str = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

    #[test]
    fn a_scheduler_s_configuration_is_read_as_it_is_and_refused_by_name() {
        let profiles =
            format!("{HEAD}leaderElection: {{leaderElect: false}}\nprofiles: [{{schedulerName: packing}}]\n");
        assert_eq!(read(&profiles), Ok(vec!["packing".to_owned(), "knarr".to_owned()]));
        assert_eq!(
            read(&format!("{HEAD}extenders: [{{urlPrefix: http://x}}]\n")),
            Err("read --scheduler-config FILE: extenders: not supported: extenders".to_owned())
        );
        let other = "apiVersion: v1\nkind: ConfigMap\n";
        assert_eq!(
            read(other),
            Err("read --scheduler-config FILE: expected kind KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1: ConfigMap of v1".to_owned())
        );
        assert!(read("a: [").unwrap_err().starts_with("read --scheduler-config FILE: "));
        let absent = Scheduling { scheduler_config: Some("/nowhere/at/all".into()) }.read();
        assert!(
            format!("{:#}", absent.unwrap_err())
                .contains("read --scheduler-config /nowhere/at/all: No such file")
        );
    }

    #[test]
    fn names_of_cells_are_values_of_labels() {
        assert_eq!(label_value("CellA"), Ok("CellA".to_owned()));
        let long = "a".repeat(64);
        for bad in ["", "/etc", "../x", ".hidden", "a b", "a/", long.as_str()] {
            assert!(label_value(bad).is_err(), "{bad}");
        }
    }
}
