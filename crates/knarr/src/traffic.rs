//! The proxy as a process of its own: it forwards while the control plane is away, and is started again when it dies.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api_client::Client;
use api_client_kube::KubeTransport;
use stdx::Env;
use tokio::sync::watch;

use crate::companion::{self, Companion};

/// Name of its record.
const RECORD: &str = "proxy";
/// How often its life is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Flags of the hidden command `proxy`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// How to reach the API server.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Its directory; it ends itself when it is gone.
    #[arg(long)]
    state_dir: PathBuf,
    /// Where it answers about itself.
    #[arg(long)]
    status_listen: SocketAddr,
}

/// What `up` wants of it.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// How it reaches the API server.
    pub(crate) kubeconfig: PathBuf,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Where it answers about itself.
    pub(crate) status: SocketAddr,
}

/// Whether the proxy of an earlier start still runs.
pub(crate) fn is_running(dir: &Path) -> bool {
    Companion::find(dir, RECORD).is_some()
}

impl Wanted {
    async fn ensure(&self, env: &Env) -> anyhow::Result<Companion> {
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let words = vec![
            "proxy".to_owned(),
            "--kubeconfig".to_owned(),
            path(&self.kubeconfig),
            "--state-dir".to_owned(),
            path(&self.dir),
            "--status-listen".to_owned(),
            self.status.to_string(),
        ];
        Companion::ensure(&self.dir, RECORD, words, env).await
    }

    /// Keeps one alive until `stop` turns true, and ends it then.
    ///
    /// # Errors
    /// When the first one cannot be started.
    pub(crate) async fn keep(
        self,
        env: &Env,
        mut stop: watch::Receiver<bool>,
    ) -> anyhow::Result<tokio::task::JoinHandle<()>> {
        let mut proxy = self.ensure(env).await?;
        let env = env.clone();
        Ok(tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|s| *s) => break,
                    () = env.sleep(LOOK) => {}
                }
                if proxy.is_alive() {
                    continue;
                }
                tracing::warn!(log = %self.dir.join("proxy.log").display(), "the proxy has ended; starting another");
                match self.ensure(&env).await {
                    Ok(next) => proxy = next,
                    Err(error) => tracing::error!(%error, "the proxy cannot be started; trying again"),
                }
            }
            proxy.stop(&env).await;
        }))
    }
}

/// Each client takes about three files: as many as may be.
fn open_many() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

/// The proxy itself.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    // A session of its own: Ctrl-C in the terminal of `up` is not meant for it.
    let _ = rustix::process::setsid();
    open_many();
    let transport = KubeTransport::open(Some(&args.kubeconfig), None).await?;
    let client = Client::new(Arc::new(transport), "proxy");
    let env = os::env();
    let ends = async {
        tokio::select! {
            () = companion::terminated() => {}
            () = companion::directory_gone(&args.state_dir, &env) => {}
        }
    };
    let config = proxy::Config { status_listen: args.status_listen };
    proxy::run(client, env.clone(), config, ends).await?;
    Ok(())
}
