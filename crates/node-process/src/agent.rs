//! The agent of a cluster's process nodes, ready to be called from a program's main.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api_client::Client;
use node_agent::NodeConfig;
use stdx::Env;

use crate::catalogue::Catalogue;
use crate::runtime::{OpenError, ProcessRuntime};

/// What the agent must be told.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The nodes it serves: usually all process nodes of the cluster, in one process.
    pub nodes: Vec<NodeConfig>,
    /// N of the cluster's block 127.N.0.0/16.
    pub block: u8,
    /// Its share of the pod addresses, below [`crate::SHARES`], when several agents serve one cluster; all when alone.
    pub share: Option<u8>,
    /// Images.
    pub catalogue: Catalogue,
    /// Where pods live; one agent per directory.
    pub state_dir: PathBuf,
    /// Program and arguments that lead to [`crate::shim_main`]: `[/path/knarr, shim]`.
    pub shim: Vec<String>,
    /// Where log requests are answered; port 0 for a free one.
    pub log_listen: SocketAddr,
    /// Time between two renewals of a node's Lease.
    pub lease_renewal: Duration,
}

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory cannot be used, or another agent uses it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The agent could not go on.
    #[error(transparent)]
    Agent(#[from] node_agent::Error),
}

/// Serves the nodes until `shutdown` completes, then ends their pods within ten seconds. An agent that is killed leaves
/// its pods running, and the next one on the same directory adopts them. When the directory vanishes, agent and pods end.
///
/// # Errors
/// When the directory is in use or unusable, the log port is taken, or the API server refuses the nodes.
pub async fn agent_main(
    client: Client,
    env: Env,
    config: AgentConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), AgentError> {
    let AgentConfig { nodes, block, share, catalogue, state_dir, shim, log_listen, lease_renewal } = config;
    let runtime = ProcessRuntime::open(&state_dir, (block, share), catalogue, shim, env.clone())?;
    let agent = node_agent::Config {
        nodes,
        runtime: "process".to_owned(),
        host_address: "127.0.0.1".to_owned(),
        log_listen,
        lease_renewal,
    };
    node_agent::run(client, env, agent, Arc::new(runtime), shutdown).await?;
    Ok(())
}
