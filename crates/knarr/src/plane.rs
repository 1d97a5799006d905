//! The embedded control plane's base: store, API server, listener.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use api_client::{Client, Patch, Transport, WriteOptions};
use api_meta::Resource;
use apiserver::auth::{Accounts, Authenticator, Issuer, Rbac, TableAuthorizer};
use apiserver::discovery::Discovery;
use apiserver::openapi::OpenApi;
use apiserver::registry::Registry;
use apiserver::{ApiServer, Rule, User, net};
use serde_json::{Value, json};
use stdx::Env;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::args::{Role, Server};
use crate::home::Home;
use crate::kubelet::Agents;
use crate::{kinds, kubeconfig, memory, roles};

/// User name of the node agents.
const AGENT_USER: &str = "system:knarr:node-agent";
/// Who issues the tokens of service accounts, as kubeadm's clusters have it.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// User name of the proxy.
const PROXY_USER: &str = "system:knarr:proxy";

/// A running base.
pub(crate) struct Plane {
    /// The server itself, for callers of this process.
    pub(crate) server: Arc<ApiServer>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The data directory.
    pub(crate) home: Home,
    /// N of the cluster's block 127.N.0.0/16.
    pub(crate) block: u8,
    /// Kubeconfig of the administrator.
    pub(crate) kubeconfig: PathBuf,
    /// Kubeconfig of the node agents.
    pub(crate) agent_kubeconfig: PathBuf,
    /// Kubeconfig of the proxy.
    pub(crate) proxy_kubeconfig: PathBuf,
    listener: JoinHandle<Result<(), net::ServeError>>,
    // Held as long as the plane lives: it is the lock on the data directory.
    _lock: store::DataDir,
}

impl Plane {
    /// Opens the store, bootstraps the server and starts to listen. `served` are the roles whose kinds it serves.
    pub(crate) async fn open(
        args: &Server,
        kubeconfig: Option<PathBuf>,
        served: &[Role],
        env: &Env,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Plane> {
        let dir = args.data_dir.clone().unwrap_or_else(crate::home::default_dir);
        let lock = store::DataDir::open(&dir)?;
        let mut home = Home::open(&dir)?;
        let block = home.block()?;
        let wanted = home.listen(args.listen);
        let socket = bind(wanted).await?;
        let address = socket.local_addr().context("ask the listener for its address")?;
        home.keep_listen(address)?;
        let certs = pki::Authority::open(&home.path("pki"), env)?;
        let admin = pki::token(&home.path("pki/admin.token"))?;
        let agent = pki::token(&home.path("pki/node-agent.token"))?;
        let proxy = pki::token(&home.path("pki/proxy.token"))?;
        let registry = Arc::new(Registry::new(apiserver::registry::builtin()));
        let store =
            store::open_dir(&lock, Arc::new(apiserver::Rows::new(&registry)), store::Limits::default())?;
        let accounts = accounts(&home, &store, reachable(address), env)?;
        let own = [("admin", admin.as_str()), (AGENT_USER, &agent), (PROXY_USER, &proxy)];
        let authenticator = authenticator(args, own, accounts)?;
        let server = ApiServer::new(config(store, registry, env, block, address, served)?);
        server.trust(authenticator.clone());
        if let Some(path) = &args.audit_log_path {
            let log = apiserver::AuditLog::open(path);
            server.audit_to(log.with_context(|| format!("open --audit-log-path {}", path.display()))?);
        }
        server.cap_memory(memory::cap(args.memory_max_mib), memory::resident);
        server.bootstrap().await.context("make the first objects")?;
        server.bootstrap_roles().await.context("make the first roles")?;
        if served.contains(&Role::Controllers) {
            server.gather_roles();
            server.require_accounts();
        }
        publish_authority(&server, certs.ca_pem()).await?;
        if served.contains(&Role::Workloads) {
            roles::install_crds(&server).await?;
        }
        let tls = tls(&certs, address, block, env)?;
        let handler = handler(server.clone());
        let listener =
            tokio::spawn(net::serve(socket, tls, authenticator, handler, net::Limits::default(), stop));
        let reach = reachable(address);
        let path = kubeconfig.unwrap_or_else(|| home.path("kubeconfig"));
        kubeconfig::write(&path, &kubeconfig::text(reach, certs.ca_pem(), "admin", &admin))?;
        let agent_path = home.path("agents.kubeconfig");
        kubeconfig::write(&agent_path, &kubeconfig::text(reach, certs.ca_pem(), "node-agent", &agent))?;
        let proxy_path = home.path("proxy.kubeconfig");
        kubeconfig::write(&proxy_path, &kubeconfig::text(reach, certs.ca_pem(), "proxy", &proxy))?;
        Ok(Plane {
            server,
            address: reach,
            home,
            block,
            kubeconfig: path,
            agent_kubeconfig: agent_path,
            proxy_kubeconfig: proxy_path,
            listener,
            _lock: lock,
        })
    }

    /// A client for a component of this process, under its own user.
    pub(crate) fn client(&self, name: &str) -> Client {
        let user = User::new(&roles::user_of(name), &[]);
        Client::new(self.server.transport(user), name)
    }

    /// The administrator's transport.
    pub(crate) fn admin(&self) -> Arc<dyn Transport> {
        self.server.transport(User::new("admin", &["system:masters"]))
    }

    /// Waits until the listener has ended.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        self.listener.await.context("listen")??;
        Ok(())
    }
}

/// Lets pods know whom to believe: controllers copy this ConfigMap into every namespace.
async fn publish_authority(server: &Arc<ApiServer>, ca_pem: &str) -> anyhow::Result<()> {
    const MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
    let client = Client::new(server.transport(User::new("knarr", &["system:masters"])), "knarr");
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kube-root-ca.crt", "namespace": "kube-system"},
        "data": {"ca.crt": ca_pem},
    });
    let options = WriteOptions { force: true, ..WriteOptions::default() };
    let key = ("kube-system", "kube-root-ca.crt");
    let written: Result<Value, _> = client.patch(&MAPS, key, "", &Patch::Apply(body), &options).await;
    written.context("publish the authority's certificate")?;
    Ok(())
}

fn handler(server: Arc<ApiServer>) -> net::Handler {
    Arc::new(move |user, request| server.handle(user, request))
}

/// Takes the port, or says what to do.
async fn bind(wanted: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(listener),
        Err(e) if e.kind() == ErrorKind::AddrInUse => bail!(
            "listen on {wanted}: another program has this port; choose another with --listen, or let one be found and \
             kept with --listen 127.0.0.1:0"
        ),
        Err(e) => Err(e).with_context(|| format!("listen on {wanted}")),
    }
}

/// The address that a client on this machine uses.
fn reachable(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port())) } else { bound }
}

/// Tokens of service accounts, signed with a key that is kept.
fn accounts(
    home: &Home,
    store: &store::Store,
    address: SocketAddr,
    env: &Env,
) -> anyhow::Result<Arc<Accounts>> {
    let key = pki::signing_key(&home.path("pki/service-account.key"))?;
    let issuer = Issuer { name: ISSUER.to_owned(), keys_url: format!("https://{address}/openid/v1/jwks") };
    let accounts = Accounts::new(store.clone(), env.clone(), key.secret_der(), issuer);
    Ok(Arc::new(accounts.context("remove pki/service-account.key to have a new one made")?))
}

fn authenticator(
    args: &Server,
    own: [(&str, &str); 3],
    accounts: Arc<Accounts>,
) -> anyhow::Result<Arc<Authenticator>> {
    let mut who = Authenticator::new();
    who.add_accounts(accounts);
    for (name, token) in own {
        let groups: &[&str] = match name {
            "admin" => &["system:masters"],
            AGENT_USER => &["system:nodes"],
            _ => &[],
        };
        who.add(token, User::new(name, groups));
    }
    if let Some(path) = &args.token_auth_file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read --token-auth-file {}", path.display()))?;
        who.add_file(&text).with_context(|| format!("read --token-auth-file {}", path.display()))?;
    }
    Ok(Arc::new(who))
}

fn authorizer() -> TableAuthorizer {
    let mut table = TableAuthorizer::new();
    for (name, rules) in roles::rules() {
        table.allow(&roles::user_of(&name), rules);
    }
    let one = |group: &str, resources: &[&str], verbs: &[&str]| Rule {
        groups: vec![group.to_owned()],
        resources: resources.iter().map(|r| (*r).to_owned()).collect(),
        verbs: verbs.iter().map(|v| (*v).to_owned()).collect(),
    };
    table.allow(
        AGENT_USER,
        [
            one("", &["pods", "nodes", "configmaps", "secrets", "services"], &["get", "list", "watch"]),
            one("", &["nodes"], &["create", "patch", "update"]),
            one("", &["nodes/status", "pods/status"], &["patch", "update"]),
            one("", &["pods"], &["delete"]),
            one("", &["events"], &["create", "patch"]),
            one("events.k8s.io", &["events"], &["create", "patch"]),
            one("coordination.k8s.io", &["leases"], &["get", "create", "patch", "update"]),
            one("", &["serviceaccounts/token"], &["create"]),
        ],
    );
    table
}

fn config(
    store: store::Store,
    registry: Arc<Registry>,
    env: &Env,
    block: u8,
    address: SocketAddr,
    served: &[Role],
) -> anyhow::Result<apiserver::Config> {
    let IpAddr::V4(ip) = reachable(address).ip() else {
        bail!("--listen {address}: only IPv4 addresses are served")
    };
    let authorizer = Rbac::new(store.clone(), authorizer());
    let (converters, facts) = match served.contains(&Role::Workloads) {
        true => (kinds::converters(), kinds::facts()),
        false => Default::default(),
    };
    Ok(apiserver::Config {
        store,
        env: env.clone(),
        registry,
        authorizer: Arc::new(authorizer),
        converters,
        facts,
        documents: vec![Arc::new(Discovery::new()), Arc::new(OpenApi::new())],
        nodes: Arc::new(Agents::new()),
        version: apiserver::Version {
            git_version: concat!("v1.36.0+knarr.", env!("CARGO_PKG_VERSION")).to_owned(),
            git_commit: option_env!("KNARR_COMMIT").unwrap_or_default().to_owned(),
            build_date: "1970-01-01T00:00:00Z".to_owned(),
            platform: "linux/amd64".to_owned(),
        },
        services: apiserver::ServiceRange {
            network: Ipv4Addr::new(127, block, 0, 0),
            prefix: 18,
            node_ports: (30_000, 32_767),
            server: (ip, address.port()),
        },
        limits: apiserver::Limits::default(),
    })
}

fn tls(certs: &pki::Authority, address: SocketAddr, block: u8, env: &Env) -> anyhow::Result<net::Tls> {
    let mut hosts: Vec<String> =
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1"]
            .map(str::to_owned)
            .into();
    hosts.push(format!("127.{block}.0.1"));
    let ip = address.ip().to_string();
    if !hosts.contains(&ip) {
        hosts.push(ip);
    }
    let identity = certs.server(
        "apiserver",
        &pki::Subject { name: "kube-apiserver", groups: &[], hosts: &hosts },
        env,
    )?;
    Ok(net::Tls {
        chain: pki::certificates(&identity.cert_pem),
        key: pki::private_key(&identity.key_pem)
            .context("read the server's key: remove the folder pki to have a new one made")?,
        client_authorities: pki::certificates(certs.ca_pem()),
    })
}
