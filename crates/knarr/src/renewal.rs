//! Certificates and keys of a running control plane: looked at every minute, renewed before they end, taken up when they were replaced.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use apiserver::auth::Accounts;
use apiserver::{ApiServer, net};
use stdx::Env;
use tokio::sync::watch;

use crate::{kubeconfig, plane};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);

/// A kubeconfig that this process writes.
pub(crate) struct Kubeconfig {
    pub(crate) path: PathBuf,
    pub(crate) user: &'static str,
    pub(crate) token: String,
}

/// What is looked after.
pub(crate) struct Renewal {
    pub(crate) dir: PathBuf,
    /// Names and addresses the server answers to.
    pub(crate) hosts: Vec<String>,
    pub(crate) reach: SocketAddr,
    pub(crate) kubeconfigs: Vec<Kubeconfig>,
    pub(crate) server: Arc<ApiServer>,
    pub(crate) keys: Arc<net::Keys>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) env: Env,
    /// What is in use.
    pub(crate) shown: Shown,
}

/// Certificates and keys as they are on disk.
#[derive(PartialEq, Eq)]
pub(crate) struct Shown {
    authority: String,
    certificate: String,
    key: String,
    signing: pki::SigningKeys,
}

impl Shown {
    /// Reads what is there, and makes again what is about to end.
    pub(crate) fn read(dir: &std::path::Path, hosts: &[String], env: &Env) -> anyhow::Result<Shown> {
        let authority = pki::Authority::open(dir, env)?;
        let subject = pki::Subject { name: "kube-apiserver", groups: &[], hosts };
        let identity = authority.server("apiserver", &subject, env)?;
        Ok(Shown {
            authority: authority.ca_pem().to_owned(),
            certificate: identity.cert_pem,
            key: identity.key_pem,
            signing: pki::signing_keys(dir, env)?,
        })
    }

    /// Certificate of the authority, in PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// For a listener.
    pub(crate) fn tls(&self) -> anyhow::Result<net::Tls> {
        Ok(net::Tls {
            chain: pki::certificates(&self.certificate),
            key: pki::private_key(&self.key)
                .context("read the server's key: remove the folder pki to have a new one made")?,
            client_authorities: pki::certificates(&self.authority),
        })
    }

    /// For tokens of service accounts.
    pub(crate) fn give_to(&self, accounts: &Accounts) -> anyhow::Result<()> {
        let older: Vec<&[u8]> = self.signing.older.iter().map(|key| key.secret_der()).collect();
        accounts.replace_keys(self.signing.current.secret_der(), &older).context(
            "use the keys of service accounts: remove pki/service-account.key to have a new one made",
        )
    }

    /// The key that signs tokens, PKCS #8.
    pub(crate) fn signing(&self) -> &[u8] {
        self.signing.current.secret_der()
    }
}

impl Renewal {
    /// Looks until `stop` turns true. What cannot be read or used is told, and tried again at the next look.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.env.sleep(LOOK) => {}
            }
            if let Err(error) = self.look().await {
                tracing::error!(
                    "certificates and keys were not all taken up, the next look is in a minute: {error:#}"
                );
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let now = Shown::read(&self.dir, &self.hosts, &self.env)?;
        if now == self.shown {
            return Ok(());
        }
        self.keys.replace(now.tls()?)?;
        now.give_to(&self.accounts)?;
        if now.authority != self.shown.authority {
            write(&self.kubeconfigs, self.reach, &now.authority)?;
            plane::publish_authority(&self.server, &now.authority).await?;
        }
        tracing::info!("certificates and keys were renewed or replaced");
        self.shown = now;
        Ok(())
    }
}

/// Writes kubeconfigs that believe this authority.
pub(crate) fn write(all: &[Kubeconfig], reach: SocketAddr, authority: &str) -> anyhow::Result<()> {
    for Kubeconfig { path, user, token } in all {
        kubeconfig::write(path, &kubeconfig::text(reach, authority, user, token))?;
    }
    Ok(())
}
