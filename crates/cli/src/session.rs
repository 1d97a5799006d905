//! What every verb works with.

use std::path::PathBuf;
use std::sync::Arc;

use api_client::{Client, Transport};
use stdx::Env;

use crate::{Catalogue, Io, Thinkers};

/// Which cluster is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Connect {
    /// Kubeconfig to read [default: $KUBECONFIG, the one `up` wrote, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context within the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// An open way to a cluster.
pub struct Connection {
    /// Carries requests.
    pub transport: Arc<dyn Transport>,
    /// Namespace meant when none is named.
    pub namespace: String,
}

impl From<Arc<dyn Transport>> for Connection {
    fn from(transport: Arc<dyn Transport>) -> Connection {
        Connection { transport, namespace: "default".to_owned() }
    }
}

/// Which namespace is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Scope {
    /// Namespace
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// A verb at work.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) env: Env,
    pub(crate) io: Io,
    /// Namespace meant when neither flag nor manifest names one.
    pub(crate) namespace: String,
    /// The controllers that are asked for reasons and plans.
    pub(crate) thinkers: Thinkers,
    catalogue: Option<Arc<Catalogue>>,
}

impl Session {
    pub(crate) fn new(connection: Connection, env: Env, io: Io, thinkers: Thinkers) -> Session {
        let client = Client::new(connection.transport, "knarr");
        Session { client, env, io, namespace: connection.namespace, thinkers, catalogue: None }
    }

    /// The namespace of a command.
    pub(crate) fn namespace(&self, scope: &Scope) -> String {
        scope.namespace.clone().unwrap_or_else(|| self.namespace.clone())
    }

    /// What the server serves; asked once.
    pub(crate) async fn catalogue(&mut self) -> anyhow::Result<Arc<Catalogue>> {
        if let Some(known) = &self.catalogue {
            return Ok(known.clone());
        }
        let found = Arc::new(Catalogue::fetch(&self.client).await?);
        self.catalogue = Some(found.clone());
        Ok(found)
    }
}
