//! Why an agent cannot go on.

/// A failure of the agent as a whole; failures of pods are reported on the pods.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port for logs cannot be opened.
    #[error("listen for log requests on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The API server refuses the node for good.
    #[error("register node {node}")]
    Register {
        /// Which node.
        node: String,
        /// Why not.
        #[source]
        source: api_client::Error,
    },
    /// The runtime's records are gone or cannot be read.
    #[error("read the runtime's records")]
    Runtime(#[source] std::io::Error),
}
