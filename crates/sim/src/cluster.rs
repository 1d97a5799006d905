//! The cluster: one plane on one disk, and the components that talk to it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api_client::{Body, Client, Error, Patch, Request, Response, Transport, WriteOptions};
use api_meta::{Reason, Resource, Status};
use apiserver::auth::TableAuthorizer;
use apiserver::{ApiServer, User};
use controller_host::{Host, HostConfig};
use serde_json::Value;
use stdx::BoxFuture;
use store::{Limits, RedbEngine, SimDisk, Store};

use crate::Plant;
use crate::executor::Executor;
use crate::faults::{Faults, Faulty};
use crate::log::Log;
use crate::machine::{Dice, Machine, SimClock};
use crate::network::Network;

/// Makes the table of controllers.
pub(crate) type Rows = Arc<dyn Fn() -> Vec<reconcile::Row> + Send + Sync>;

/// Makes who is asked before anything dangerous.
pub(crate) type Permits = Arc<dyn Fn() -> Arc<dyn reconcile::Permit> + Send + Sync>;

/// Puts something on the way of a component to the server.
pub(crate) type Around = Arc<dyn Fn(&str, Arc<dyn Transport>) -> Arc<dyn Transport> + Send + Sync>;

/// Everything that stays the same through all lives.
#[derive(Clone)]
pub(crate) struct Setup {
    /// The controllers, made anew for each life of their host.
    pub(crate) rows: Rows,
    /// Makes who is asked before anything dangerous, anew for each life of a host.
    pub(crate) permit: Permits,
    /// Cells over which the nodes are spread.
    pub(crate) cells: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) plant: Option<Plant>,
    /// A bug of one story alone.
    pub(crate) around: Option<Around>,
    /// Our own kinds are served.
    pub(crate) has_kinds: bool,
    /// What runs beside the plane.
    pub(crate) parts: &'static [Part],
    pub(crate) hosts: usize,
    pub(crate) nodes: usize,
    pub(crate) node_cpu: u32,
    pub(crate) executor: Executor,
    pub(crate) clock: SimClock,
    pub(crate) log: Log,
    pub(crate) network: Network,
    pub(crate) disk: SimDisk,
    pub(crate) dice: Arc<Dice>,
}

/// A component that can be restarted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Controllers,
    Scheduler,
    Nodes,
}

pub(crate) const PARTS: [Part; 3] = [Part::Controllers, Part::Scheduler, Part::Nodes];

/// The running cluster.
pub(crate) struct Cluster {
    setup: Setup,
    lives: u64,
    plane: Option<Machine>,
    parts: BTreeMap<Part, Machine>,
    /// What the disk looked like once; only for the bug that brings it back.
    backup: Option<Vec<u8>>,
}

/// There are no node agents to be reached in a simulation.
struct NoAgents;

impl apiserver::Nodes for NoAgents {
    fn get(&self, _: String, _: u16, _: String) -> BoxFuture<Result<Response, Error>> {
        Box::pin(async { Err(Error::Unreachable("simulated nodes have no agents".to_owned())) })
    }
}

/// A server without what only ours offers.
struct Plain(Arc<dyn Transport>);

impl Transport for Plain {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let path = request.uri().path();
        if !(path.starts_with("/apis/knarr.dev/") && path.ends_with("/bindings")) {
            return self.0.send(request);
        }
        let status = Status::failure(Reason::NotFound, "the server could not find the requested resource");
        let body = Body::Full(serde_json::json!(status).to_string().into());
        let mut response = Response::new(body);
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        Box::pin(async { Ok(response) })
    }
}

const CRDS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");
/// How often a plane may fail to come up before that counts as a bug.
const BOOTS_MAX: usize = 10;

impl Cluster {
    pub(crate) fn new(setup: Setup) -> Cluster {
        Cluster { setup, lives: 0, plane: None, parts: BTreeMap::new(), backup: None }
    }

    fn machine(&mut self) -> Machine {
        self.lives += 1;
        let seed = self.setup.seed.wrapping_add(self.lives.wrapping_mul(0x0123_4567_89AB_CDEF));
        Machine::new(&self.setup.executor, self.setup.clock, self.lives, seed)
    }

    /// Brings everything up; a loss of power on the way is tried again.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        for _ in 0..BOOTS_MAX {
            let machine = self.machine();
            match boot(&self.setup, &machine).await {
                Ok(()) => {
                    self.setup.log.line("plane: up");
                    self.plane = Some(machine);
                    for part in self.setup.parts {
                        self.start_part(*part);
                    }
                    return Ok(());
                }
                Err(e) if self.setup.disk.is_down() => {
                    self.setup.log.line(&format!("plane: no power while starting: {e:#}"));
                    self.setup.network.cut();
                    machine.kill();
                    self.setup.disk.restart();
                }
                Err(e) => return Err(e),
            }
        }
        anyhow::bail!("the plane did not come up in {BOOTS_MAX} attempts")
    }

    /// Ends every process at once, as a crash of the machine would, and lets the disk forget what was not synced.
    pub(crate) fn crash(&mut self) {
        self.setup.log.line("crash: everything");
        self.setup.network.cut();
        for machine in std::mem::take(&mut self.parts).into_values().chain(self.plane.take()) {
            machine.kill();
        }
        self.setup.disk.restart();
        if let Some(backup) = self.backup.take() {
            self.setup.disk.set_image(backup);
        }
    }

    /// Remembers the disk as it is, once, where the bug is to bring it back.
    pub(crate) fn back_up(&mut self) {
        if self.setup.plant == Some(Plant::RestoredBackup) && self.backup.is_none() {
            self.backup = Some(self.setup.disk.image());
        }
    }

    /// Ends one component and starts it anew after `pause`.
    pub(crate) async fn restart(&mut self, part: Part, pause: Duration) {
        // Where that one does not run, another is hit.
        let part = if self.setup.parts.contains(&part) { part } else { self.setup.parts[0] };
        self.setup.log.line(&format!("crash: {part:?}"));
        if let Some(machine) = self.parts.remove(&part) {
            machine.kill();
        }
        tokio::time::sleep(pause).await;
        self.start_part(part);
    }

    fn start_part(&mut self, part: Part) {
        let machine = self.machine();
        let setup = self.setup.clone();
        let env = machine.env();
        match part {
            Part::Controllers => {
                for _ in 0..setup.hosts {
                    let clients = setup.clone();
                    let clients: controller_host::Clients = Arc::new(move |name| clients.client(name));
                    let rows = (setup.rows)();
                    let permit = (setup.permit)();
                    let host = Host::new(clients, env.clone(), rows, permit, HostConfig::alone());
                    machine.spawn(async move {
                        host.run().await;
                    });
                }
            }
            Part::Scheduler => {
                let scheduler =
                    scheduler::Scheduler::new(setup.client("scheduler"), env, scheduler::Config::upstream());
                machine.spawn(scheduler.run());
            }
            Part::Nodes => {
                let mut config = node_sim::Config::new("sim", setup.nodes);
                config.cells = setup.cells.clone();
                config.capacity.insert("cpu".to_owned(), setup.node_cpu.to_string());
                let client = setup.client("node-sim");
                machine.spawn(async move {
                    if let Err(e) = node_sim::run(client, env, config).await {
                        setup.log.line(&format!("nodes: {e}"));
                    }
                });
            }
        }
        self.parts.insert(part, machine);
    }
}

impl Setup {
    /// A calm cluster of one host and one node.
    pub(crate) fn new(seed: u64, executor: &Executor, rows: Rows) -> Setup {
        let clock = SimClock::start();
        let log = Log::new(clock);
        Setup {
            rows,
            permit: Arc::new(|| Arc::new(reconcile::AllowAll)),
            cells: Vec::new(),
            seed,
            faults: Faults::NONE,
            plant: None,
            around: None,
            has_kinds: true,
            parts: &PARTS,
            hosts: 1,
            nodes: 1,
            node_cpu: 1,
            executor: executor.clone(),
            clock,
            network: Network::new(log.clone()),
            log,
            disk: SimDisk::new(seed),
            dice: Arc::new(Dice::new(seed, 1)),
        }
    }

    /// The client of a component, with everything that can go wrong on its way.
    pub(crate) fn client(&self, component: &str) -> Client {
        let port: Arc<dyn Transport> = self.network.port(component);
        // Half of the clusters are plain Kubernetes, where every pod is bound by a request of its own.
        let port = if self.seed.is_multiple_of(2) { port } else { Arc::new(Plain(port)) };
        let faulty = Arc::new(Faulty::new(port, self.faults, self.dice.clone(), self.log.clone()));
        let bugged = Plant::wrap(self.plant, component, faulty);
        let bugged = self.around.as_ref().map_or(bugged.clone(), |around| around(component, bugged));
        Client::new(bugged, component)
    }

    /// A client on whose way nothing goes wrong but the plane's own death.
    pub(crate) fn direct(&self, name: &str) -> Client {
        Client::new(self.network.port(name), name)
    }
}

async fn boot(setup: &Setup, machine: &Machine) -> anyhow::Result<()> {
    let registry = Arc::new(apiserver::registry::Registry::new(apiserver::registry::builtin()));
    let engine = RedbEngine::open(setup.disk.clone()).context("open the disk")?;
    let rows = Arc::new(apiserver::Rows::new(&registry));
    let store = Store::open(Box::new(engine), rows, Limits::default().inline()).context("open the store")?;
    let server = ApiServer::new(apiserver::Config {
        store,
        env: machine.env(),
        registry,
        // Every component is in the group that may do all.
        authorizer: Arc::new(TableAuthorizer::new()),
        converters: BTreeMap::new(),
        facts: std::collections::BTreeMap::new(),
        documents: Vec::new(),
        nodes: Arc::new(NoAgents),
        version: apiserver::Version {
            git_version: "v1.36.0".to_owned(),
            git_commit: String::new(),
            build_date: "1970-01-01T00:00:00Z".to_owned(),
            platform: "linux/amd64".to_owned(),
        },
        services: apiserver::ServiceRange {
            network: Ipv4Addr::new(127, 64, 0, 0),
            prefix: 18,
            node_ports: (30_000, 32_767),
            server: (Ipv4Addr::LOCALHOST, 6443),
        },
        limits: apiserver::Limits::default(),
    });
    server.bootstrap().await.context("make the first objects")?;
    let admin = server.transport(User::new("knarr", &["system:masters"]));
    if setup.has_kinds {
        install_crds(&Client::new(admin, "knarr")).await?;
    }
    setup.network.connect(Arc::new(move |user| -> Arc<dyn Transport> {
        server.transport(User::new(user, &["system:masters"]))
    }));
    Ok(())
}

async fn install_crds(admin: &Client) -> anyhow::Result<()> {
    for crd in api_workload::crds().into_iter().chain(guard::crds()) {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let options = WriteOptions { force: true, ..WriteOptions::default() };
        let _: Value = admin
            .patch(&CRDS, ("", &name), "", &Patch::Apply(crd), &options)
            .await
            .with_context(|| format!("install CustomResourceDefinition {name}"))?;
    }
    Ok(())
}
