//! What an agent must be told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The nodes an agent serves and how it presents them.
#[derive(Clone, Debug)]
pub struct Config {
    /// The nodes.
    pub nodes: Vec<NodeConfig>,
    /// Value of the label and taint `knarr.dev/runtime`.
    pub runtime: String,
    /// The nodes' address, also `status.hostIP` of their pods.
    pub host_address: String,
    /// Where log requests are answered; loopback.
    pub log_listen: SocketAddr,
    /// Time between two renewals of a node's Lease, a quarter of how long one lasts: so long a silent node counts as alive.
    /// The kubelet's are 10 s and 40 s.
    pub lease_renewal: Duration,
}

impl Config {
    /// `leaseDurationSeconds` of the nodes' Leases.
    pub(crate) fn lease_seconds(&self) -> u64 {
        self.lease_renewal.saturating_mul(4).as_secs().max(1)
    }
}

/// One node.
#[derive(Clone, Debug, Default)]
pub struct NodeConfig {
    /// Name.
    pub name: String,
    /// Cell it belongs to, if any.
    pub cell: Option<String>,
    /// Zone it belongs to, if any.
    pub zone: Option<String>,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// What it has; empty for what the machine has, divided by the nodes.
    pub capacity: BTreeMap<String, String>,
}
