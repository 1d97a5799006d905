//! The choreography: what is applied, confirmed, killed, and waited for. It judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
use api_client::{Client, ListOptions};
use api_core::Node;
use api_meta::Object;
use serde_json::Value;
use stdx::Env;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::cluster::{Cluster, Load};
use crate::facts::{CafeDeployment, CafeSeen, Chronicle, Entry, Fact, Mark, Micros, Phase, World};
use crate::judge::{Rules, Verdict, judge};
use crate::objects::{self, NAMESPACE, PORT, SERVICES};
use crate::screen::Screen;
use crate::steps::{CELLS, DOOMED, SHOP, STOCK, StepId, UNDRAINED};
use crate::{load, mirror};

/// Everything the story has in hand. Whoever drops a story half-way still ends the cluster, which is not part of it.
pub(crate) struct Story<'a> {
    pub(crate) env: &'a Env,
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) client: Client,
    pub(crate) screen: &'a mut Screen,
    pub(crate) chronicle: &'a mut Chronicle,
    pub(crate) rules: &'a Rules,
    pub(crate) steps: &'a [StepId],
    pub(crate) load: LoadPlan,
    /// Wait after the moment at which something could be killed.
    pub(crate) fuse: Duration,
    world: World,
    facts: mpsc::Receiver<Fact>,
    tell: mpsc::Sender<Fact>,
    loads: BTreeMap<&'static str, Load>,
    objects: Vec<Value>,
}

/// How the loads run.
#[derive(Clone, Debug)]
pub(crate) struct LoadPlan {
    pub(crate) program: std::path::PathBuf,
    pub(crate) rate: f64,
}

/// Connections of each load: at 20 ms a request, 2,000 requests per second keep 40 busy.
pub(crate) const CONNECTIONS: usize = 64;
const CONNECTIONS_MAX: usize = 512;
const TICK_MS: u64 = 200;
const TIMEOUT_MS: u64 = 2000;
/// Time that a roll-out or a release may take before the story is given up.
const ROLL: Duration = Duration::from_secs(90);
/// Time that anything else may take.
const SOON: Duration = Duration::from_secs(30);
/// Between the end of a group and its confirmation: time for a person to look.
const LOOK: Duration = Duration::from_millis(400);
/// Traffic that is watched before and after a step's own acts.
const CALM: Duration = Duration::from_secs(1);
/// Times that a control whose release lost nothing goes back and is released again.
const CONTROL_REPEATS_MAX: usize = 3;
/// How long the control plane stays away.
const AWAY: Duration = Duration::from_secs(3);
const DRAW_EVERY: Duration = Duration::from_millis(100);

impl<'a> Story<'a> {
    /// Takes its place; nothing is done yet.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of them are borrowed from the one caller, each for its own end"
    )]
    pub(crate) fn new(
        env: &'a Env,
        cluster: &'a mut Cluster,
        client: Client,
        screen: &'a mut Screen,
        chronicle: &'a mut Chronicle,
        rules: &'a Rules,
        steps: &'a [StepId],
        load: LoadPlan,
        fuse: Duration,
    ) -> anyhow::Result<Story<'a>> {
        let (tell, facts) = mpsc::channel(mirror::FACTS_MAX);
        Ok(Story {
            env,
            cluster,
            client,
            screen,
            chronicle,
            rules,
            steps,
            load,
            fuse,
            world: World::default(),
            facts,
            tell,
            loads: BTreeMap::new(),
            objects: objects::needed(steps)?,
        })
    }

    /// Tells all steps. Stops at the first that could not be told to its end; its verdict says why.
    pub(crate) async fn tell(&mut self, nodes: usize) -> anyhow::Result<Vec<Verdict>> {
        let cells = self.nodes_ready(nodes).await?;
        mirror::start(&self.client, self.env, cells, &self.tell);
        let mut told = Vec::new();
        for id in self.steps {
            self.screen.begin(id.step());
            self.mark(Mark::Begin(*id));
            let outcome = self.step(*id).await;
            self.mark(Mark::End(*id));
            let trouble = outcome.err().map(|e| format!("{e:#}"));
            self.screen.end(id.step(), &self.verdict(*id, trouble.as_ref()));
            let is_over = trouble.is_some();
            told.push((*id, trouble));
            if is_over {
                break;
            }
        }
        self.finish_loads().await?;
        // Anew: a request that was due in a step may have failed after its end.
        Ok(told.iter().map(|(id, trouble)| self.verdict(*id, trouble.as_ref())).collect())
    }

    fn verdict(&self, id: StepId, trouble: Option<&String>) -> Verdict {
        let mut verdict = judge(id, self.chronicle, self.rules);
        // First of all: the others may follow from it.
        verdict.complaints.splice(0..0, trouble.cloned());
        verdict
    }

    async fn step(&mut self, id: StepId) -> anyhow::Result<()> {
        match id {
            StepId::RollOut => self.roll_out().await,
            StepId::Release => self.release(id).await,
            StepId::Broken => self.broken().await,
            StepId::PlaneKill => self.plane_kill().await,
            StepId::Undrained | StepId::Stock => self.control(id).await,
            StepId::CellDeath => self.cell_death().await,
        }
    }

    async fn roll_out(&mut self) -> anyhow::Result<()> {
        for object in &self.objects {
            objects::apply(&self.client, object).await?;
        }
        let apps = objects::apps(self.steps);
        let replicas = self.rules.replicas;
        let is_up = move |w: &World| apps.iter().all(|app| is_rolled_out(w, app, "v1", replicas));
        self.roll("all pods are in service", is_up).await?;
        self.start_load(SHOP).await?;
        self.pause(CALM).await
    }

    async fn release(&mut self, id: StepId) -> anyhow::Result<()> {
        self.change(id.step().app, id.step().version).await
    }

    async fn broken(&mut self) -> anyhow::Result<()> {
        let version = StepId::Broken.step().version;
        let before = self.world.pods_of(SHOP).map(|p| p.version().to_owned()).next().unwrap_or_default();
        self.apply(StepId::Broken).await?;
        let has_failed = |w: &World| w.pods_of(SHOP).any(|p| p.version() == version && !p.broken.is_empty());
        self.wait("a pod of the broken version fails", SOON, has_failed).await?;
        let has_stopped = |w: &World| {
            let stopped =
                |c: &CafeSeen| matches!(c.phase, Phase::Held | Phase::RollingBack) || !c.failed.is_empty();
            w.cafes.get(SHOP).is_some_and(stopped)
        };
        self.wait("the release stops", SOON, has_stopped).await?;
        let replicas = self.rules.replicas;
        let is_back = move |w: &World| {
            serving(w, SHOP, &before) == replicas
                && w.cafes.get(SHOP).is_some_and(|c| c.phase != Phase::RollingBack)
        };
        self.roll("all pods are back at the version before", is_back).await?;
        self.pause(CALM).await
    }

    async fn plane_kill(&mut self) -> anyhow::Result<()> {
        let id = StepId::PlaneKill;
        self.apply(id).await?;
        self.mid_group(id).await?;
        self.mark(Mark::PlaneKilled);
        self.cluster.kill_plane().await?;
        self.screen.note("the control plane is dead; traffic goes on");
        self.pause(AWAY).await?;
        self.cluster.up()?;
        self.answers().await?;
        self.mark(Mark::PlaneBack);
        self.screen.note("it is back");
        self.rolled_out(id).await?;
        self.pause(CALM).await
    }

    async fn control(&mut self, id: StepId) -> anyhow::Result<()> {
        let app = id.step().app;
        self.start_load(app).await?;
        self.pause(CALM).await?;
        self.change(app, id.step().version).await?;
        // What is lost without an agreement is chance: there and back again, until chance has struck or was asked enough.
        for _ in 0..CONTROL_REPEATS_MAX {
            if self.has_failed(app) {
                break;
            }
            self.screen.note("no request failed by chance: back and once more");
            self.change(app, "v1").await?;
            self.change(app, id.step().version).await?;
        }
        self.finish_load(app).await
    }

    /// Releases a version, and watches its traffic for a moment longer.
    async fn change(&mut self, app: &'static str, version: &'static str) -> anyhow::Result<()> {
        objects::apply(&self.client, &objects::released(&self.objects, app, version)?).await?;
        let replicas = self.rules.replicas;
        let is_done = move |w: &World| is_rolled_out(w, app, version, replicas);
        self.roll(&format!("all pods of {app} serve {version}"), is_done).await?;
        self.pause(CALM).await
    }

    /// Whether any request to an application has failed.
    fn has_failed(&self, app: &str) -> bool {
        let is_failure = |e: &Entry| matches!(&e.fact, Fact::Load(a, load::Line::Failure(_)) if a == app);
        self.chronicle.entries().iter().any(is_failure)
    }

    async fn cell_death(&mut self) -> anyhow::Result<()> {
        let id = StepId::CellDeath;
        self.apply(id).await?;
        self.mid_group(id).await?;
        let addresses = self.world.pods_of(SHOP).filter(|p| p.cell == DOOMED).map(|p| p.ip.clone()).collect();
        let at = self.now();
        let processes = self.cluster.kill_cell(DOOMED)?;
        let until = self.now();
        let mark = Mark::CellKilled { cell: DOOMED.to_owned(), until, processes, addresses };
        self.take(at, Fact::Mark(mark));
        self.screen.note(&format!("{DOOMED} is dead: {processes} processes"));
        let version = id.step().version;
        let is_done = move |w: &World| {
            let mut left = w.pods_of(SHOP).filter(|p| p.cell == CELLS[0]).peekable();
            let says_lost = |c: &CafeSeen| c.cells.iter().any(|c| c.name == DOOMED && c.lost);
            left.peek().is_some()
                && left.all(|p| p.version() == version && p.in_service())
                && w.cafes.get(SHOP).is_some_and(says_lost)
        };
        self.roll("the other cell finishes the release, and the status says that one is lost", is_done)
            .await?;
        self.pause(CALM).await
    }

    /// Waits until a group after the first has pods on their way, and a moment longer.
    async fn mid_group(&mut self, id: StepId) -> anyhow::Result<()> {
        let version = id.step().version;
        let is_mid = move |w: &World| {
            let updated = || w.pods_of(SHOP).filter(|p| p.version() == version);
            updated().count() > CELLS.len() && updated().any(|p| !p.in_service())
        };
        self.roll("the second group is on its way", is_mid).await?;
        self.pause(self.fuse).await?;
        self.roll("a group is on its way", is_mid).await
    }

    async fn apply(&mut self, id: StepId) -> anyhow::Result<()> {
        let step = id.step();
        objects::apply(&self.client, &objects::released(&self.objects, step.app, step.version)?).await
    }

    async fn rolled_out(&mut self, id: StepId) -> anyhow::Result<()> {
        let (step, replicas) = (id.step(), self.rules.replicas);
        let is_done = move |w: &World| is_rolled_out(w, step.app, step.version, replicas);
        self.roll(&format!("all pods of {} serve {}", step.app, step.version), is_done).await
    }

    /// Waits for something that takes groups to come about, and confirms each group that asks.
    async fn roll(&mut self, what: &str, is_done: impl Fn(&World) -> bool) -> anyhow::Result<()> {
        let end = self.env.now() + ROLL;
        loop {
            let asks = |w: &World| w.cafes.values().any(CafeSeen::asks);
            let left = end.since(self.env.now());
            self.wait(what, left, |w| is_done(w) || asks(w)).await?;
            if is_done(&self.world) {
                return Ok(());
            }
            self.pause(LOOK).await?;
            let waiting: Vec<String> =
                self.world.cafes.values().filter(|c| c.asks()).map(|c| c.name.clone()).collect();
            for app in waiting {
                self.mark(Mark::Confirmed(app.clone()));
                objects::confirm(&self.client, &app).await?;
                let is_heard = |w: &World| w.cafes.get(&app).is_none_or(|c| !c.asks());
                self.wait("the confirmation is heard", SOON, is_heard).await?;
            }
        }
    }

    /// Takes facts in until something is so.
    async fn wait(
        &mut self,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&World) -> bool,
    ) -> anyhow::Result<()> {
        let end = self.env.now() + patience;
        while !is_so(&self.world) {
            let now = self.env.now();
            if now >= end {
                bail!("it did not come about within {} s that {what}{}", patience.as_secs(), self.held());
            }
            self.next(end.since(now)).await?;
        }
        Ok(())
    }

    /// Takes facts in for a while.
    async fn pause(&mut self, length: Duration) -> anyhow::Result<()> {
        let end = self.env.now() + length;
        loop {
            let left = end.since(self.env.now());
            if left.is_zero() {
                return Ok(());
            }
            self.next(left).await?;
        }
    }

    /// One fact, or one drawing of the screen, whichever comes first.
    async fn next(&mut self, patience: Duration) -> anyhow::Result<()> {
        let fact = tokio::select! {
            biased;
            fact = self.facts.recv() => fact,
            () = self.env.sleep(DRAW_EVERY.min(patience)) => {
                self.screen.draw(&self.world, self.now());
                return self.cluster.check();
            }
        };
        let at = self.now();
        fact.into_iter().for_each(|f| self.take(at, f));
        Ok(())
    }

    fn take(&mut self, at: Micros, fact: Fact) {
        self.world.see(&fact);
        self.screen.see(&fact);
        self.chronicle.push(at, fact);
    }

    fn mark(&mut self, mark: Mark) {
        self.take(self.now(), Fact::Mark(mark));
    }

    fn now(&self) -> Micros {
        self.env.now().micros()
    }

    /// What the deployments wait for, for a message.
    fn held(&self) -> String {
        let waits = self.world.cafes.values().filter(|c| !c.waits.is_empty() || !c.failed.is_empty());
        let all: Vec<String> = waits.map(|c| format!("{}: {}{}", c.name, c.failed, c.waits)).collect();
        if all.is_empty() { String::new() } else { format!(" ({})", all.join("; ")) }
    }

    /// Waits until all nodes are ready. Returns the cells of those with real processes.
    async fn nodes_ready(&mut self, wanted: usize) -> anyhow::Result<BTreeMap<String, String>> {
        const CELL: &str = "cafe.sofastack.io/cell";
        let end = self.env.now() + ROLL;
        loop {
            let nodes = self.client.list::<Node>(&Node::RESOURCE, "", &ListOptions::default()).await;
            let nodes = nodes.context("list nodes")?.items;
            let is_ready =
                |n: &&Node| n.status.conditions.iter().any(|c| c.r#type == "Ready" && c.status == "True");
            let ready = nodes.iter().filter(is_ready).count();
            if ready >= wanted {
                let is_process =
                    |n: &&Node| n.metadata.labels.get("knarr.dev/runtime").is_some_and(|r| r == "process");
                let cell = |n: &Node| Some((n.metadata.name.clone(), n.metadata.labels.get(CELL)?.clone()));
                let cells: BTreeMap<String, String> =
                    nodes.iter().filter(is_process).filter_map(cell).collect();
                let found: BTreeSet<&str> = cells.values().map(String::as_str).collect();
                if found != CELLS.into_iter().collect() {
                    bail!("the nodes with local processes are in {found:?}; the story needs {CELLS:?}");
                }
                return Ok(cells);
            }
            if self.env.now() >= end {
                bail!("{ready} of {wanted} nodes are ready after {} s", ROLL.as_secs());
            }
            self.screen.doing(&format!("{ready} of {wanted} nodes are ready"));
            self.env.sleep(DRAW_EVERY * 5).await;
            self.cluster.check()?;
        }
    }

    /// Waits until the API server answers.
    async fn answers(&mut self) -> anyhow::Result<()> {
        let end = self.env.now() + SOON;
        loop {
            let key = CafeDeployment::RESOURCE;
            match self.client.get::<CafeDeployment>(&key, NAMESPACE, SHOP).await {
                Ok(_) => return Ok(()),
                Err(error) if self.env.now() >= end => {
                    return Err(error).context("reach the control plane after its restart");
                }
                Err(_) => self.pause(DRAW_EVERY).await?,
            }
        }
    }

    /// Starts the load on a Service, once the Service answers.
    async fn start_load(&mut self, app: &'static str) -> anyhow::Result<()> {
        let address = self.service_address(app).await?;
        self.service_answers(app, &address).await?;
        let args = load::Args {
            url: format!("http://{address}:{PORT}/").parse().context("make the URL of the load")?,
            rate: self.load.rate,
            connections: CONNECTIONS,
            connections_max: CONNECTIONS_MAX,
            seconds: None,
            timeout_ms: TIMEOUT_MS,
            tick_ms: TICK_MS,
            events: "-".into(),
        };
        let (load, lines) = Load::start(&self.load.program, &args)?;
        self.loads.insert(app, load);
        self.env.spawn("load", mirror::listen(app.to_owned(), lines, self.tell.clone()));
        Ok(())
    }

    async fn service_address(&self, app: &str) -> anyhow::Result<String> {
        let service = self.client.get::<Value>(&SERVICES, NAMESPACE, app).await;
        let service = service.with_context(|| format!("read the Service {app}"))?;
        let address = service["spec"]["clusterIP"].as_str().filter(|a| !a.is_empty() && *a != "None");
        address.map(str::to_owned).with_context(|| format!("the Service {app} has no address"))
    }

    async fn service_answers(&mut self, app: &str, address: &str) -> anyhow::Result<()> {
        let end = self.env.now() + SOON;
        loop {
            let error = match ask(address).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.env.now() >= end {
                return Err(error).with_context(|| format!("ask the Service {app} at {address}:{PORT}"));
            }
            self.pause(DRAW_EVERY).await?;
        }
    }

    /// Ends a load and takes in all it has to say.
    async fn finish_load(&mut self, app: &str) -> anyhow::Result<()> {
        let Some(load) = self.loads.remove(app) else { return Ok(()) };
        load.finish();
        let name = app.to_owned();
        let end = self.env.now() + SOON;
        let has_ended = |c: &Chronicle| {
            let is_end = |e: &crate::facts::Entry| matches!(&e.fact, Fact::Load(app, load::Line::End(_)) if *app == name);
            c.entries().iter().rev().any(is_end)
        };
        while !has_ended(self.chronicle) {
            if self.env.now() >= end {
                bail!("the load on {app} does not end");
            }
            self.next(DRAW_EVERY).await?;
        }
        load.wait().await
    }

    async fn finish_loads(&mut self) -> anyhow::Result<()> {
        for app in [SHOP, UNDRAINED, STOCK] {
            self.finish_load(app).await?;
        }
        Ok(())
    }
}

/// Pods of an application that serve a version.
fn serving(world: &World, app: &str, version: &str) -> usize {
    world.pods_of(app).filter(|p| p.version() == version && p.in_service()).count()
}

/// All pods there are serve the version, and the deployment has nothing left to do.
fn is_rolled_out(world: &World, app: &str, version: &str, replicas: usize) -> bool {
    let is_settled =
        app == STOCK || world.cafes.get(app).is_some_and(|c| c.version == version && c.is_settled());
    is_settled && world.pods_of(app).count() == replicas && serving(world, app, version) == replicas
}

/// Asks a Service once, on a connection of its own.
async fn ask(address: &str) -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect((address, PORT)).await?;
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        let text = String::from_utf8_lossy(&answer);
        bail!("it answers {}", text.lines().next().unwrap_or_default());
    }
    Ok(())
}
