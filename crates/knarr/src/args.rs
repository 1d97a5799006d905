//! Flags that several commands share, and their words.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// A part of Knarr that can run apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// API server and store.
    Apiserver,
    /// Kubernetes' own controllers: Deployment, ReplicaSet, EndpointSlice, garbage collection, namespaces.
    Controllers,
    /// CloneSet and its relatives.
    Workloads,
    /// Scheduler.
    Scheduler,
    /// Simulated and process nodes.
    Nodes,
}

impl Role {
    /// All roles, in starting order.
    pub const ALL: [Role; 5] = [Role::Apiserver, Role::Controllers, Role::Workloads, Role::Scheduler, Role::Nodes];
}

/// Where the API server listens and where it keeps things.
#[derive(Args, Clone, Debug)]
pub struct Server {
    /// Address of the API server; port 0 finds a free one and keeps it [default: the one used before, or 127.0.0.1:6443]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Directory of everything the cluster keeps [default: $XDG_DATA_HOME/knarr]
    #[arg(long, value_name = "DIR", env = "KNARR_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Further users, in kube-apiserver's format: CSV lines of token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
}

/// Which nodes to run.
#[derive(Args, Clone, Debug)]
pub struct Nodes {
    /// Simulated nodes: their pods are data
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub nodes: usize,
    /// Process nodes: their pods are local processes, without isolation
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub process_nodes: usize,
    /// Cells to spread the nodes over
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub cells: Vec<String>,
    /// Zones to spread the nodes over
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub zones: Vec<String>,
}
