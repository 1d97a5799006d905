//! What a host is told at start.

use std::sync::Arc;
use std::time::Duration;

use api_client::Client;
use reconcile::{Rate, Rates};

/// Gives each controller a client in its own name: a user of its own in the embedded server, a user agent elsewhere.
pub type Clients = Arc<dyn Fn(&str) -> Client + Send + Sync>;

/// All controllers over one connection, told apart by their user agent.
pub fn over(client: Client) -> Clients {
    Arc::new(move |name| client.named(name))
}

/// Limits and roles of a host.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Keys of one controller whose plans are carried out at a time.
    pub workers: usize,
    /// How fast a controller may destroy.
    pub rates: Rates,
    /// How long a key waits for the caches to show what was written for it.
    pub expect_max: Duration,
    /// How long one request may take.
    pub request_max: Duration,
    /// Whether it also deletes namespaces and collects garbage: only where no other controller manager does.
    pub duties: bool,
    /// The lease that makes one of several hosts the active one; none when there is only one host.
    pub lease: Option<LeaseConfig>,
}

/// A lease to compete for.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// This host among the competitors.
    pub identity: String,
}

impl HostConfig {
    /// One host, alone with its API server.
    pub fn alone() -> HostConfig {
        HostConfig {
            workers: 16,
            rates: Rates {
                restart: Rate { burst: 1000, per_second: 100 },
                remove_pod: Rate { burst: 2000, per_second: 200 },
                destroy: Rate { burst: 1000, per_second: 100 },
            },
            expect_max: Duration::from_secs(30),
            request_max: Duration::from_secs(30),
            duties: false,
            lease: None,
        }
    }

    /// The same, with the duties of a cluster's own controller manager.
    pub fn with_duties(self) -> HostConfig {
        HostConfig { duties: true, ..self }
    }

    /// One of several hosts, of which the holder of the lease acts.
    pub fn elected(lease: LeaseConfig) -> HostConfig {
        HostConfig { lease: Some(lease), ..HostConfig::alone() }
    }
}
