//! The embedded control plane's base: store, API server, listener.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
use crate::renewal::{self, Kubeconfig, Renewal, Shown};
use crate::{backup, kinds, memory, roles};

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
    listener: JoinHandle<()>,
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
        let hosts = hosts(address, block);
        let shown = Shown::read(&home.path("pki"), &hosts, env)?;
        let admin = pki::token(&home.path("pki/admin.token"))?;
        let agent = pki::token(&home.path("pki/node-agent.token"))?;
        let proxy = pki::token(&home.path("pki/proxy.token"))?;
        let registry = Arc::new(Registry::new(apiserver::registry::builtin()));
        let store =
            store::open_dir(&lock, Arc::new(apiserver::Rows::new(&registry)), store::Limits::default())?;
        let accounts = accounts(&shown, &store, reachable(address), env)?;
        let own = [("admin", admin.as_str()), (AGENT_USER, &agent), (PROXY_USER, &proxy)];
        let authenticator = authenticator(args, own, accounts.clone())?;
        let server = ApiServer::new(config(store, registry, env, block, address, served)?);
        server.trust(authenticator.clone());
        if let Some(path) = &args.audit_log_path {
            server.audit_to(audit_log(args, path)?);
        }
        let dir = home.path("");
        server.keep_in_backups(Box::new(move || backup::keys(&dir)));
        server.add_figures(Arc::new(memory::figures));
        server.cap_memory(memory::cap(args.memory_max_mib), memory::resident);
        server.bootstrap().await.context("make the first objects")?;
        server.bootstrap_roles().await.context("make the first roles")?;
        if served.contains(&Role::Controllers) {
            server.gather_roles();
            server.require_accounts();
        }
        publish_authority(&server, shown.authority()).await?;
        if served.contains(&Role::Workloads) {
            roles::install_crds(&server).await?;
        }
        let keys = Arc::new(net::Keys::new(shown.tls()?)?);
        let limits = net::Limits::default();
        let serve =
            net::serve_with(socket, keys.clone(), authenticator, service(&server), limits, stop.clone());
        let listener = tokio::spawn(serve);
        let reach = reachable(address);
        let path = kubeconfig.unwrap_or_else(|| home.path("kubeconfig"));
        let (agent_path, proxy_path) = (home.path("agents.kubeconfig"), home.path("proxy.kubeconfig"));
        let kubeconfigs = vec![
            Kubeconfig { path: path.clone(), user: "admin", token: admin },
            Kubeconfig { path: agent_path.clone(), user: "node-agent", token: agent },
            Kubeconfig { path: proxy_path.clone(), user: "proxy", token: proxy },
        ];
        renewal::write(&kubeconfigs, reach, shown.authority())?;
        let renewal = Renewal {
            dir: home.path("pki"),
            hosts,
            reach,
            kubeconfigs,
            server: server.clone(),
            keys,
            accounts,
            env: env.clone(),
            shown,
        };
        tokio::spawn(renewal.run(stop));
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
        self.listener.await.context("listen")
    }
}

/// Lets pods know whom to believe: controllers copy this ConfigMap into every namespace.
pub(crate) async fn publish_authority(server: &Arc<ApiServer>, ca_pem: &str) -> anyhow::Result<()> {
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

fn service(server: &Arc<ApiServer>) -> net::Service {
    let (to, refuses) = (server.clone(), server.clone());
    net::Service {
        handler: Arc::new(move |user, request| to.handle(user, request)),
        refuse: Some(Arc::new(move |user, request, status| refuses.refuse(user, request, status))),
    }
}

fn audit_log(args: &Server, path: &Path) -> anyhow::Result<apiserver::AuditLog> {
    let log = apiserver::AuditLog::open(path);
    let log = log.with_context(|| format!("open --audit-log-path {}", path.display()))?;
    let log = log.rotated(apiserver::AuditRotation {
        bytes_max: args.audit_log_maxsize << 20,
        backups_max: args.audit_log_maxbackup,
        age_max: Duration::from_secs(args.audit_log_maxage * 24 * 3600),
    });
    let Some(file) = &args.audit_policy_file else { return Ok(log) };
    let read = || -> anyhow::Result<apiserver::AuditPolicy> {
        Ok(apiserver::AuditPolicy::read(&std::fs::read_to_string(file)?)?)
    };
    Ok(log.judged_by(read().with_context(|| format!("read --audit-policy-file {}", file.display()))?))
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
    shown: &Shown,
    store: &store::Store,
    address: SocketAddr,
    env: &Env,
) -> anyhow::Result<Arc<Accounts>> {
    let issuer = Issuer { name: ISSUER.to_owned(), keys_url: format!("https://{address}/openid/v1/jwks") };
    let accounts = Accounts::new(store.clone(), env.clone(), shown.signing(), issuer)
        .context("remove pki/service-account.key to have a new one made")?;
    shown.give_to(&accounts)?;
    Ok(Arc::new(accounts))
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

/// Names and addresses of the server's certificate.
fn hosts(address: SocketAddr, block: u8) -> Vec<String> {
    let mut hosts: Vec<String> =
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1"]
            .map(str::to_owned)
            .into();
    hosts.push(format!("127.{block}.0.1"));
    let ip = address.ip().to_string();
    if !hosts.contains(&ip) {
        hosts.push(ip);
    }
    hosts
}
