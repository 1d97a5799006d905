//! The story that is simulated: a CloneSet comes up, gets a new image, and is released under blows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use api_client::{Class, Client, List, ListOptions, MetaOnly, Patch, WatchEvent, WatchOptions, WriteOptions};
use api_core::Pod;
use api_meta::{Object, Resource};
use futures_util::StreamExt;
use serde_json::{Value, json};
use store::SimDisk;

use crate::audit::{Audit, Violation, describe};
use crate::chaos::{self, Appointment, Blow};
use crate::cluster::{Cluster, Setup};
use crate::executor::Executor;
use crate::log::Log;
use crate::machine::{Dice, SimClock};
use crate::network::Network;
use crate::{Faults, Plant};

/// How pods are updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// The container changes, the pod stays.
    InPlace,
    /// The pod is deleted and made anew.
    Recreate,
}

/// What is simulated. Equal plans give equal outcomes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Pods of the set.
    pub replicas: usize,
    /// How they are updated.
    pub update: Update,
    /// What goes wrong on the network.
    pub faults: Faults,
    /// Greatest number of crashes.
    pub crashes_max: u64,
    /// How many hosts run the controllers at the same time, none knowing of the others; one is right.
    pub hosts: usize,
    /// A bug put in on purpose.
    pub plant: Option<Plant>,
    /// Virtual time within which the release must be through.
    pub time_max: Duration,
}

impl Plan {
    /// A release on a bad day; the number of pods follows from the seed.
    pub fn rough(seed: u64) -> Plan {
        Plan {
            seed,
            replicas: [5, 10, 5, 15, 5, 5, 10, 5, 5, 5][usize::try_from(seed % 10).unwrap_or(0)],
            update: Update::InPlace,
            faults: Faults::ROUGH,
            crashes_max: 4,
            hosts: 1,
            plant: None,
            time_max: Duration::from_secs(30 * 60),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Every request, answer, event and fault, in order.
    pub log: String,
    /// Broken promises, in order.
    pub violations: Vec<Violation>,
    /// Virtual time from the change of the image until the last pod was through.
    pub took: Duration,
    /// Greatest number of unavailable pods during the release.
    pub worst: usize,
    /// Writes that the server acknowledged.
    pub acknowledged: u64,
}

const SETS: Resource = Resource::namespaced("apps.kruise.io", "v1beta1", "clonesets", "CloneSet");
const NAMESPACE: &str = "default";
const NAME: &str = "web";
const BEFORE: &str = "registry.example/web:v1";
const AFTER: &str = "registry.example/web:v2";
/// Share of the pods that may be unavailable.
const MAX_UNAVAILABLE: &str = "20%";
const NODES: usize = 4;
const NODE_CPU: u32 = 3;
/// How often things are looked at.
const TICK: Duration = Duration::from_millis(100);
/// What may still happen once all pods are through must happen within this time.
const CALM: Duration = Duration::from_secs(15);

/// Simulates one release, from the empty disk on.
pub fn run(plan: &Plan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O needs nothing of the machine").block_on(async {
        let executor = Executor::default();
        executor.run(Story::play(plan, &executor)).await
    })
}

/// The life of those who look on: no crash reaches it.
const ONLOOKERS: u64 = 0;

struct Story {
    plan: Plan,
    setup: Setup,
    cluster: Cluster,
    audit: Arc<Mutex<Audit>>,
    blows: std::vec::IntoIter<Appointment>,
    next_blow: Option<(Duration, Appointment)>,
}

impl Story {
    async fn play(plan: &Plan, executor: &Executor) -> Outcome {
        let clock = SimClock::start();
        let log = Log::new(clock);
        let network = Network::new(log.clone());
        let setup = Setup {
            seed: plan.seed,
            faults: plan.faults,
            plant: plan.plant,
            hosts: plan.hosts,
            nodes: NODES,
            node_cpu: NODE_CPU,
            executor: executor.clone(),
            clock,
            log,
            network,
            disk: SimDisk::new(plan.seed),
            dice: Arc::new(Dice::new(plan.seed, 1)),
        };
        if plan.plant == Some(Plant::LyingDisk) {
            setup.disk.lie_about_syncs();
        }
        let budget = plan.replicas.div_ceil(5);
        let in_place = plan.update == Update::InPlace;
        let audit = Audit::new(plan.replicas, budget, in_place, plan.hosts == 1, i64::from(NODE_CPU) * 1000);
        let mut story = Story {
            plan: plan.clone(),
            cluster: Cluster::new(setup.clone()),
            audit: Arc::new(Mutex::new(audit)),
            blows: chaos::appointments(&Dice::new(plan.seed, 2), plan.crashes_max).into_iter(),
            next_blow: None,
            setup,
        };
        let took = match story.tell().await {
            Ok(took) => took,
            Err(e) => {
                story.audit().accuse("survives", format!("{e:#}"));
                Duration::MAX
            }
        };
        story.cluster.crash();
        let audit = story.audit();
        for violation in audit.violations() {
            story.setup.log.line(&format!("broken: {violation}"));
        }
        Outcome {
            violations: audit.violations().to_vec(),
            took,
            worst: audit.worst(),
            acknowledged: story.setup.network.acks().count,
            log: story.setup.log.text(),
        }
    }

    fn audit(&self) -> MutexGuard<'_, Audit> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&mut self) -> anyhow::Result<Duration> {
        self.cluster.start().await?;
        let auditor = watch(self.setup.direct("auditor"), self.setup.log.clone(), self.audit.clone());
        self.setup.executor.spawn(ONLOOKERS, Box::pin(auditor));
        self.release().await
    }

    async fn release(&mut self) -> anyhow::Result<Duration> {
        let user = self.setup.direct("user");
        // Half of the stories are disturbed from the beginning, the others once the release has begun.
        if self.plan.seed.is_multiple_of(2) {
            self.arm();
        }
        insist(&user, Write::Create(self.set())).await?;
        let replicas = self.plan.replicas;
        self.wait_until("all pods up", |audit| audit.available() == replicas && audit.has_converged(BEFORE))
            .await?;
        if !self.plan.seed.is_multiple_of(2) {
            self.arm();
        }
        let began = self.setup.clock.elapsed();
        self.setup.log.line("release: begins");
        self.cluster.back_up();
        self.audit().begin_release();
        let image =
            json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": AFTER}]);
        insist(&user, Write::Patch(Patch::Json(image))).await?;
        let converged = self.wait_until("release through", |audit| audit.has_converged(AFTER)).await;
        let took = self.setup.clock.elapsed().saturating_sub(began);
        if let Err(e) = &converged {
            self.audit().accuse("survives", format!("{e:#}"));
        } else {
            // Blows that are still to come must not undo anything.
            while self.next_blow.is_some() {
                self.step().await?;
            }
            self.wait_until("set content", |_| true).await?;
            self.wait_for_status(&user).await;
            tokio::time::sleep(CALM).await;
        }
        self.audit().finish(AFTER);
        self.check_acknowledged().await;
        Ok(took)
    }

    /// The set, with everything a user would write.
    fn set(&self) -> Value {
        let kind = match self.plan.update {
            Update::InPlace => "InPlaceIfPossible",
            Update::Recreate => "ReCreate",
        };
        json!({
            "apiVersion": "apps.kruise.io/v1beta1", "kind": "CloneSet",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "replicas": self.plan.replicas,
                "selector": {"matchLabels": {"app": NAME}},
                "template": {
                    "metadata": {"labels": {"app": NAME}},
                    "spec": {"containers": [{
                        "name": "main", "image": BEFORE,
                        "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}},
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                    }]},
                },
                "updateStrategy": {"rollingUpdate": {"podUpdatePolicy": kind, "maxUnavailable": MAX_UNAVAILABLE}},
            },
        })
    }

    /// Waits for the next blow or a tick, whichever is first.
    async fn step(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep(TICK).await;
        let Some((at, blow)) = self.next_blow else { return Ok(()) };
        if self.setup.clock.elapsed() < at {
            return Ok(());
        }
        self.strike(blow).await?;
        self.arm();
        Ok(())
    }

    /// Makes the next appointment.
    fn arm(&mut self) {
        let now = self.setup.clock.elapsed();
        self.next_blow = self.blows.next().map(|b| (now + b.after, b));
    }

    async fn strike(&mut self, appointment: Appointment) -> anyhow::Result<()> {
        match appointment.blow {
            Blow::Restart(part) => {
                self.cluster.restart(part, appointment.away).await;
                return Ok(());
            }
            Blow::PowerLoss(operations) => {
                self.setup.log.line(&format!("power: lost in {operations} operations"));
                self.setup.disk.crash_in(operations);
                for _ in 0..50 {
                    if self.setup.disk.is_down() {
                        break;
                    }
                    tokio::time::sleep(TICK).await;
                }
            }
            Blow::Crash => {}
        }
        self.cluster.crash();
        tokio::time::sleep(appointment.away).await;
        self.cluster.start().await?;
        self.check_acknowledged().await;
        Ok(())
    }

    async fn wait_until(&mut self, what: &str, holds: impl Fn(&Audit) -> bool) -> anyhow::Result<()> {
        let deadline = self.setup.clock.elapsed() + self.plan.time_max;
        loop {
            if holds(&self.audit()) {
                self.setup.log.line(&format!("story: {what}"));
                return Ok(());
            }
            if self.setup.clock.elapsed() > deadline {
                anyhow::bail!("{what}: not within {} s", self.plan.time_max.as_secs());
            }
            self.step().await?;
        }
    }

    /// The set's own status must come to say that it is through.
    async fn wait_for_status(&mut self, user: &Client) {
        let deadline = self.setup.clock.elapsed() + self.plan.time_max;
        let wanted = json!(self.plan.replicas);
        let mut last = Value::Null;
        while self.setup.clock.elapsed() <= deadline {
            if let Ok(set) = user.get::<Value>(&SETS, NAMESPACE, NAME).await {
                last = set["status"].clone();
                let is_through = ["replicas", "updatedAvailableReplicas", "availableReplicas"]
                    .iter()
                    .all(|f| last[f] == wanted);
                if is_through && last["observedGeneration"] == set["metadata"]["generation"] {
                    return;
                }
            }
            tokio::time::sleep(TICK).await;
        }
        self.audit().accuse("status", format!("the set says {last}"));
    }

    /// Whatever the server has acknowledged is there, unless somebody asked for its deletion.
    async fn check_acknowledged(&self) {
        let client = self.setup.direct("witness");
        let mut promised: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
        for (path, version) in &self.setup.network.acks().versions {
            let (collection, name) = path.rsplit_once('/').unwrap_or(("", path));
            promised.entry(collection.to_owned()).or_default().push((name.to_owned(), *version));
        }
        for (collection, objects) in promised {
            let listed = client.json::<List<MetaOnly>>(http::Method::GET, &collection, &[], None).await;
            // The plane may be down again by now; then the next look decides.
            let Ok(listed) = listed else { continue };
            let found: BTreeMap<String, u64> =
                listed.items.iter().map(|o| (o.metadata.name.clone(), o.metadata.revision())).collect();
            for (name, version) in objects {
                let path = format!("{collection}/{name}");
                let is_deleted = self.setup.network.acks().deleted.contains(&path);
                if found.get(&name).is_some_and(|v| *v >= version) || is_deleted {
                    continue;
                }
                let now = found.get(&name).map_or("gone".to_owned(), |v| format!("at {v}"));
                self.audit()
                    .accuse("acknowledged", format!("{path} was acknowledged at {version} and is {now}"));
            }
        }
    }
}

enum Write {
    Create(Value),
    Patch(Patch),
}

/// Writes until the server has taken it, as a stubborn person would.
async fn insist(user: &Client, write: Write) -> anyhow::Result<()> {
    const ATTEMPTS_MAX: usize = 600;
    let options = WriteOptions::default();
    for _ in 0..ATTEMPTS_MAX {
        let done = match &write {
            Write::Create(body) => user.create::<Value>(&SETS, NAMESPACE, body, &options).await,
            Write::Patch(patch) => user.patch::<Value>(&SETS, (NAMESPACE, NAME), "", patch, &options).await,
        };
        match done {
            Ok(_) => return Ok(()),
            Err(e) if e.class() == Class::Exists => return Ok(()),
            // The kind is served a moment after its definition is there.
            Err(e) if matches!(e.class(), Class::Transient | Class::NotFound | Class::Conflict) => {
                tokio::time::sleep(TICK).await;
            }
            Err(e) => return Err(e).context("write the set"),
        }
    }
    anyhow::bail!("the set could not be written in {ATTEMPTS_MAX} attempts")
}

/// Shows the auditor every event of every pod of the set, once and in order, across all crashes.
async fn watch(client: Client, log: Log, audit: Arc<Mutex<Audit>>) {
    let audit = || audit.lock().unwrap_or_else(PoisonError::into_inner);
    let labels = format!("app={NAME}");
    let mut version = String::from("0");
    let mut newest = 0;
    loop {
        // What was once visible must not be unseen after a crash.
        let list = ListOptions { labels: labels.clone(), ..ListOptions::default() };
        if let Ok(list) = client.list::<Pod>(&Pod::RESOURCE, NAMESPACE, &list).await {
            let head: u64 = list.metadata.resource_version.parse().unwrap_or(0);
            if head < newest {
                audit().accuse(
                    "visible-is-durable",
                    format!("version {newest} was seen and now the newest is {head}"),
                );
            }
            if version == "0" {
                version = list.metadata.resource_version;
            }
            let options = WatchOptions {
                labels: labels.clone(),
                resource_version: version.clone(),
                ..WatchOptions::default()
            };
            match client.watch::<Pod>(&Pod::RESOURCE, NAMESPACE, &options).await {
                Ok(mut events) => {
                    while let Some(Ok(event)) = events.next().await {
                        match event {
                            WatchEvent::Applied(pod) => {
                                version.clone_from(&pod.metadata.resource_version);
                                newest = pod.metadata.revision();
                                log.line(&describe(&pod, "applied"));
                                audit().pod(&pod, false);
                            }
                            WatchEvent::Deleted(pod) => {
                                version.clone_from(&pod.metadata.resource_version);
                                newest = pod.metadata.revision();
                                log.line(&describe(&pod, "deleted"));
                                audit().pod(&pod, true);
                            }
                            WatchEvent::Bookmark(at) => {
                                newest = at.parse().unwrap_or(newest);
                                version = at;
                            }
                        }
                    }
                }
                Err(e) if e.class() == Class::Expired => {
                    audit().accuse("history", format!("events after {version} are gone: {e}"));
                    return;
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(TICK).await;
    }
}
