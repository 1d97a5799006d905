//! A real API server in memory, and the command line in front of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_client::{Body, Client, Error, Patch, Response, Transport, WriteOptions};
use apiserver::registry::Registry;
use apiserver::{
    ApiServer, Attributes, Authorizer, Config, Decision, Limits, Nodes, Rows, Rule, ServiceRange, User,
    Version,
};
use clap::{CommandFactory, Parser};
use stdx::{BoxFuture, Env, Time};
use store::{MemoryDisk, MemoryEngine, Store};

struct Everybody;

impl Authorizer for Everybody {
    fn authorize(&self, _user: &User, _what: &Attributes<'_>) -> Decision {
        Decision::Allow
    }

    fn rules(&self, _user: &User) -> Vec<Rule> {
        Vec::new()
    }
}

/// Node agents that answer with the path they were asked for.
struct Echo;

impl Nodes for Echo {
    fn get(&self, _address: String, _port: u16, path: String) -> BoxFuture<Result<Response, Error>> {
        Box::pin(async move { Ok(http::Response::new(Body::Full(format!("{path}\n").into()))) })
    }
}

#[derive(Parser)]
#[command(name = "knarr")]
struct App {
    #[command(subcommand)]
    verb: cli::Verb,
}

/// A server, and a directory for manifests.
pub(crate) struct World {
    transport: Arc<dyn Transport>,
    pub(crate) env: Env,
    dir: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The controllers of the cluster, and those that are asked.
fn thinkers() -> cli::Thinkers {
    let rows = [builtins::rows(), workloads::rows(), release::rows(), guard::rows()];
    cli::Thinkers { rows: rows.into_iter().flatten().collect(), permit: Some(Arc::new(guard::Guard::new())) }
}

/// What a command printed.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) code: ExitCode,
    pub(crate) out: String,
    pub(crate) err: String,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl World {
    /// A fresh server; `name` keeps directories of tests apart.
    pub(crate) async fn new(name: &str) -> World {
        let env = os::virtual_env(Time::from_secs(1_800_000_000), 1);
        let registry = Arc::new(Registry::new(apiserver::kinds::served()));
        let engine = Box::new(MemoryEngine::new(MemoryDisk::default()));
        let store =
            Store::open(engine, Arc::new(Rows::new(&registry)), store::Limits::default().inline()).unwrap();
        let server = ApiServer::new(Config {
            store,
            env: env.clone(),
            registry,
            authorizer: Arc::new(Everybody),
            converters: BTreeMap::new(),
            facts: BTreeMap::new(),
            documents: vec![Arc::new(apiserver::discovery::Discovery::new())],
            nodes: Arc::new(Echo),
            version: Version {
                git_version: "v1.36.0+test".to_owned(),
                git_commit: String::new(),
                build_date: String::new(),
                platform: String::new(),
            },
            services: ServiceRange {
                network: [10, 96, 0, 0].into(),
                prefix: 16,
                node_ports: (30_000, 32_767),
                server: ([192, 0, 2, 1].into(), 6443),
            },
            limits: Limits::default(),
        });
        server.bootstrap().await.unwrap();
        let dir = std::env::temp_dir().join(format!("knarr-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        World { transport: server.transport(User::new("admin", &["system:masters"])), env, dir }
    }

    /// The same with our kinds, and nobody who acts on them.
    pub(crate) async fn bare_cluster(name: &str) -> World {
        let w = World::new(name).await;
        let definitions = api_meta::Resource::cluster(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
        );
        for definition in api_workload::crds().into_iter().chain(guard::crds()) {
            let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
            let options = WriteOptions { manager: "test".to_owned(), force: true, ..WriteOptions::default() };
            let patch = Patch::Apply(definition);
            let _: serde_json::Value =
                w.client().patch(&definitions, ("", &name), "", &patch, &options).await.unwrap();
        }
        // New definitions are served a moment later.
        w.pass(5).await;
        w
    }

    /// The same with a scheduler, and no nodes yet.
    pub(crate) async fn scheduled(name: &str) -> World {
        let w = World::bare_cluster(name).await;
        let scheduler = scheduler::Scheduler::new(w.client(), w.env.clone(), scheduler::Config::default());
        tokio::spawn(scheduler.run());
        w.pass(2).await;
        w
    }

    /// The same with controllers, a scheduler and four simulated nodes.
    pub(crate) async fn cluster(name: &str) -> World {
        World::cluster_of(name, &[]).await
    }

    /// The same with nodes in cells.
    pub(crate) async fn cluster_of(name: &str, cells: &[&str]) -> World {
        let w = World::bare_cluster(name).await;
        let thinkers = thinkers();
        let permit = thinkers.permit.unwrap();
        let clients = controller_host::over(w.client());
        let config = controller_host::HostConfig::alone();
        let host = controller_host::Host::new(clients, w.env.clone(), thinkers.rows, permit, config);
        tokio::spawn(host.run());
        let scheduler = scheduler::Scheduler::new(w.client(), w.env.clone(), scheduler::Config::default());
        tokio::spawn(scheduler.run());
        let mut nodes = node_sim::Config::new("test", 4);
        nodes.cells = cells.iter().map(|c| (*c).to_owned()).collect();
        let (client, env) = (w.client(), w.env.clone());
        tokio::spawn(async move { node_sim::run(client, env, nodes).await });
        w.pass(5).await;
        w
    }

    /// Lets time pass in the cluster.
    pub(crate) async fn pass(&self, secs: u64) {
        tokio::time::sleep(Duration::from_secs(secs)).await;
    }

    /// The same, which must say that something is not finished.
    pub(crate) async fn unfinished(&self, line: &str) -> String {
        let said = self.run(line).await;
        assert_eq!((said.code, said.err.as_str()), (ExitCode::from(2), ""), "{line}: {}", said.out);
        said.out
    }

    /// Writes the status of a CafeDeployment as its controller would.
    pub(crate) async fn cafe_status(&self, name: &str, status: serde_json::Value) {
        let cafes = api_meta::Resource::namespaced(
            "apps.cafe.cloud.alipay.com",
            "v1alpha1",
            "cafedeployments",
            "CafeDeployment",
        );
        let patch = Patch::Merge(serde_json::json!({"status": status}));
        let options = WriteOptions::default();
        let _: serde_json::Value =
            self.client().patch(&cafes, ("default", name), "status", &patch, &options).await.unwrap();
    }

    /// One object as the server has it.
    pub(crate) async fn object(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.out(&format!("get {line} -o json")).await).unwrap()
    }

    /// A client of the server.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.transport.clone(), "test")
    }

    /// Writes a manifest; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The directory in which manifests are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command line. The directory of manifests is cut from what it says.
    pub(crate) async fn run(&self, line: &str) -> Said {
        self.run_for(line, Duration::from_secs(3600)).await
    }

    /// The same, broken off after a while, as by Ctrl-C.
    pub(crate) async fn run_for(&self, line: &str, length: Duration) -> Said {
        let words = ["knarr"].into_iter().chain(line.split_whitespace());
        let app = App::try_parse_from(words).unwrap();
        let (out, err) = (Buffer::default(), Buffer::default());
        let io = cli::Io { out: Box::new(out.clone()), err: Box::new(err.clone()) };
        let transport = self.transport.clone();
        let open = |_: cli::Connect| async move { Ok(transport) };
        let mut command = App::command();
        let run = cli::run_knowing(app.verb, self.env.clone(), &mut command, open, io, thinkers());
        let code = tokio::time::timeout(length, run).await.unwrap_or(ExitCode::from(130));
        let dir = format!("{}/", self.dir.display());
        Said { code, out: out.text().replace(&dir, ""), err: err.text().replace(&dir, "") }
    }

    /// The same, which must succeed and say nothing on stderr.
    pub(crate) async fn out(&self, line: &str) -> String {
        let said = self.run(line).await;
        assert_eq!(
            (said.code, said.err.as_str()),
            (ExitCode::SUCCESS, ""),
            "{line}: {}{}",
            said.out,
            said.err
        );
        said.out
    }

    /// The same, which must fail; what it says on stderr.
    pub(crate) async fn err(&self, line: &str) -> String {
        let said = self.run(line).await;
        assert_eq!(said.code, ExitCode::FAILURE, "{line}: {}{}", said.out, said.err);
        said.err
    }
}
