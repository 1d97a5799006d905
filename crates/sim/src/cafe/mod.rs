//! A CafeDeployment comes up in its cells and is released by groups, with traffic on every pod, under blows.

mod audit;
mod plant;
mod traffic;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use api_client::{Client, Patch};
use api_meta::Resource;
use serde_json::{Value, json};

pub use plant::CafePlant;

use audit::{CafeAudit, Shape};
use traffic::{Requests, Traffic};

use crate::cluster::Setup;
use crate::executor::{self, Executor};
use crate::machine::Dice;
use crate::stage::{ONLOOKERS, Stage, Write, insist};
use crate::{Faults, Outcome};

/// What happens in the middle of the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Plain,
    /// Another version is wanted before the first is through.
    ChangeOfMind,
    /// The new version does not start: the release stops and goes back by itself.
    Broken,
    /// A person goes back after the first group.
    RolledBack,
    /// A person goes back when most pods are through.
    RolledBackLate,
    /// Traffic hangs: the pods' deadline passes, and their policy takes the release back.
    StuckTraffic,
}

/// What is simulated. Equal plans give equal outcomes.
#[derive(Clone, Debug)]
pub struct CafePlan {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Pods wanted in each cell.
    pub cells: Vec<usize>,
    /// Pods of a group.
    pub batch: usize,
    /// One pod of each cell comes first.
    pub is_beta: bool,
    /// A person confirms each group.
    pub is_confirmed: bool,
    /// Pods that stay available in each cell, where the user says so.
    pub cell_min: Option<usize>,
    /// `InPlaceSet`, `CloneSet` or `ReplicaSet`.
    pub pod_set: &'static str,
    /// What happens in the middle.
    pub turn: Turn,
    /// What goes wrong on the network.
    pub faults: Faults,
    /// Greatest number of crashes.
    pub crashes_max: u64,
    /// A bug put in on purpose.
    pub plant: Option<CafePlant>,
    /// Virtual time within which each part of the story must be through.
    pub time_max: Duration,
}

impl CafePlan {
    /// A release on a bad day; its shape follows from the seed.
    pub fn rough(seed: u64) -> CafePlan {
        let dice = Dice::new(seed, 7);
        let pick = |bound: u64| usize::try_from(dice.below(bound)).unwrap_or(0);
        let cells = match pick(4) {
            0 => vec![3, 3],
            1 => vec![4, 3],
            2 => vec![2, 2, 2],
            _ => vec![5, 5],
        };
        CafePlan {
            seed,
            batch: [2, 4, 3][pick(3)],
            is_beta: pick(3) > 0,
            is_confirmed: pick(2) == 0,
            cell_min: None,
            pod_set: ["InPlaceSet", "InPlaceSet", "InPlaceSet", "CloneSet", "ReplicaSet"][pick(5)],
            turn: [Turn::Plain, Turn::Plain, Turn::ChangeOfMind, Turn::Broken, Turn::RolledBack][pick(5)],
            cells,
            faults: Faults::ROUGH,
            crashes_max: 3,
            plant: None,
            time_max: Duration::from_secs(30 * 60),
        }
    }

    fn replicas(&self) -> usize {
        self.cells.iter().sum()
    }

    /// The groups over all cells, as a person counts them.
    fn groups(&self) -> Vec<usize> {
        let mut left = self.replicas();
        let mut groups = Vec::new();
        if self.is_beta {
            groups.push(self.cells.len().min(left));
            left -= groups[0];
        }
        while left > 0 {
            groups.push(self.batch.min(left));
            left -= self.batch.min(left);
        }
        groups
    }

    fn shape(&self) -> Shape {
        let name = |i: usize| CELLS[i].to_owned();
        let total = self.replicas();
        let cells: BTreeMap<String, usize> =
            self.cells.iter().enumerate().map(|(i, wanted)| (name(i), *wanted)).collect();
        // A group is spread over the cells by their size; one pod more is rounding.
        let share = |wanted: &usize| match self.cell_min {
            Some(least) => wanted.saturating_sub(least),
            None => (self.batch * wanted).div_ceil(total).max(1),
        };
        let nodes = (0..self.nodes()).map(|n| (format!("sim-{n}"), self.cell_of(n)));
        Shape {
            shares: cells.iter().map(|(cell, wanted)| (cell.clone(), share(wanted))).collect(),
            cells,
            groups: self.groups(),
            is_confirmed: self.is_confirmed,
            is_in_place: self.pod_set != "ReplicaSet",
            nodes: nodes.collect(),
        }
    }

    fn nodes(&self) -> usize {
        self.cells.len() * NODES_PER_CELL
    }

    /// Simulated nodes are dealt to the cells in turn.
    fn cell_of(&self, node: usize) -> String {
        CELLS[node % self.cells.len()].to_owned()
    }
}

const CELLS: [&str; 3] = ["CellA", "CellB", "CellC"];
const CAFES: Resource =
    Resource::namespaced("apps.cafe.cloud.alipay.com", "v1alpha1", "cafedeployments", "CafeDeployment");
const NAMESPACE: &str = "default";
const NAME: &str = "web";
const KEY: (&str, &str) = (NAMESPACE, NAME);
const NODES_PER_CELL: usize = 3;
const NODE_CPU: u32 = 4;
const CONFIRMED: &str = "cafe.sofastack.io/upgrade-confirmed";
/// What may still happen once all pods are through must happen within this time.
const CALM: Duration = Duration::from_secs(15);

fn image(version: &str) -> String {
    format!("registry.example/web:{version}")
}

/// Simulates one release by cells and groups, from the empty disk on.
pub fn run_cafe(plan: &CafePlan) -> Outcome {
    executor::in_virtual_time(async |executor| Story::play(plan, executor).await)
}

struct Story {
    plan: CafePlan,
    stage: Stage<CafeAudit>,
    requests: Requests,
    person: Dice,
    /// When the person gets round to confirming.
    confirms_at: Option<Duration>,
    is_stuck: Arc<AtomicBool>,
}

impl Story {
    async fn play(plan: &CafePlan, executor: &Executor) -> Outcome {
        let plant = plan.plant;
        let mut setup = Setup::new(plan.seed, executor, Arc::new(move || plant::rows(plant)));
        setup.permit = Arc::new(|| Arc::new(guard::Guard::new()));
        setup.faults = plan.faults;
        setup.nodes = plan.nodes();
        setup.node_cpu = NODE_CPU;
        setup.cells = CELLS[..plan.cells.len()].iter().map(|c| (*c).to_owned()).collect();
        let requests = Requests::default();
        let audit = CafeAudit::new(plan.shape(), setup.clock, requests.clone());
        let stage = Stage::new(setup, Arc::new(Mutex::new(audit)), plan.crashes_max, plan.time_max);
        let person = Dice::new(plan.seed, 3);
        let is_stuck = Arc::default();
        let mut story = Story { plan: plan.clone(), stage, requests, person, confirms_at: None, is_stuck };
        let took = match story.tell().await {
            Ok(took) => took,
            Err(e) => {
                let told = story.audit().told();
                let cafe = story.cafe().await.map_or(Value::Null, |c| c["status"]["waitsFor"].clone());
                story.accuse("converges", format!("{e:#}: {told}; it waits for {cafe}"));
                Duration::MAX
            }
        };
        story.stage.end(took, 0)
    }

    fn audit(&self) -> MutexGuard<'_, CafeAudit> {
        self.stage.judge()
    }

    fn accuse(&self, rule: &'static str, seen: String) {
        crate::stage::Judge::accuse(&mut *self.audit(), rule, seen);
    }

    fn user(&self) -> Client {
        self.stage.setup.direct("user")
    }

    async fn cafe(&self) -> Option<Value> {
        self.user().get::<Value>(&CAFES, NAMESPACE, NAME).await.ok()
    }

    async fn tell(&mut self) -> anyhow::Result<Duration> {
        self.stage.cluster.start().await?;
        self.stage.watch(NAMESPACE, format!("app={NAME}"));
        self.start_traffic();
        if self.plan.seed.is_multiple_of(2) {
            self.stage.arm();
        }
        insist(&self.user(), &CAFES, KEY, Write::Create(self.object())).await?;
        self.until("rolled out", |audit| audit.has_converged(&image("v1"))).await?;
        self.until_stable("v1").await?;
        if !self.plan.seed.is_multiple_of(2) {
            self.stage.arm();
        }
        let began = self.stage.setup.clock.elapsed();
        let last = self.release().await?;
        let took = self.stage.setup.clock.elapsed().saturating_sub(began);
        // Blows that are still to come must not undo anything.
        while self.stage.is_armed() {
            self.step().await?;
        }
        self.until("still there", |audit| audit.has_converged(&image(last))).await?;
        self.until_stable(last).await?;
        tokio::time::sleep(CALM).await;
        if !self.audit().has_converged(&image(last)) {
            let told = self.audit().told();
            self.accuse("converges", format!("not all in service with {last}: {told}"));
        }
        self.stage.check_acknowledged().await;
        Ok(took)
    }

    /// The release with its turn; gives back the version in the end.
    async fn release(&mut self) -> anyhow::Result<&'static str> {
        match self.plan.turn {
            Turn::Plain => {
                self.want("v2").await?;
                self.until("released", |audit| audit.has_converged(&image("v2"))).await?;
                Ok("v2")
            }
            Turn::ChangeOfMind => {
                self.want("v2").await?;
                self.until("begun", |audit| audit.touched() > 0).await?;
                self.want("v3").await?;
                self.until("released after all", |audit| audit.has_converged(&image("v3"))).await?;
                Ok("v3")
            }
            Turn::Broken => {
                self.want("bad").await?;
                self.until("begun", |audit| audit.touched() > 0).await?;
                self.until_back().await?;
                let (touched, most) = (self.audit().touched(), self.plan.groups()[0]);
                if touched > most {
                    let seen = format!("{touched} pods got the broken version, the first group has {most}");
                    self.accuse("stops-early", seen);
                }
                self.until("went back", |audit| audit.has_converged(&image("v1"))).await?;
                Ok("v1")
            }
            Turn::StuckTraffic => {
                self.is_stuck.store(true, Ordering::Relaxed);
                self.want("v2").await?;
                self.until_back().await?;
                self.is_stuck.store(false, Ordering::Relaxed);
                self.until("went back", |audit| audit.has_converged(&image("v1"))).await?;
                Ok("v1")
            }
            Turn::RolledBack | Turn::RolledBackLate => {
                let few = if self.plan.turn == Turn::RolledBack { 0 } else { self.plan.replicas() / 2 };
                self.want("v2").await?;
                self.until("begun", |audit| audit.touched() > few).await?;
                self.audit().begin_release(&image("v1"));
                let back = json!({"metadata": {"annotations": {"knarr.dev/rollback-to": "previous"}}});
                insist(&self.user(), &CAFES, KEY, Write::Patch(Patch::Merge(back))).await?;
                self.until("went back", |audit| audit.has_converged(&image("v1"))).await?;
                Ok("v1")
            }
        }
    }

    async fn want(&mut self, version: &str) -> anyhow::Result<()> {
        self.stage.setup.log.line(&format!("release: {version}"));
        self.audit().begin_release(&image(version));
        let path = "/spec/template/spec/containers/0/image";
        let body = json!([{"op": "replace", "path": path, "value": image(version)}]);
        insist(&self.user(), &CAFES, KEY, Write::Patch(Patch::Json(body))).await
    }

    /// Waits until the controller wants the first version again by itself.
    async fn until_back(&mut self) -> anyhow::Result<()> {
        let deadline = self.stage.setup.clock.elapsed() + self.plan.time_max;
        loop {
            let cafe = self.cafe().await.unwrap_or_default();
            if cafe["spec"]["template"]["spec"]["containers"][0]["image"] == image("v1").as_str() {
                let touched = self.audit().touched();
                self.stage.setup.log.line(&format!("release: went back by itself after {touched} pods"));
                return Ok(());
            }
            if self.stage.setup.clock.elapsed() > deadline {
                anyhow::bail!("a broken version did not go back");
            }
            self.step().await?;
        }
    }

    /// Waits for what the pods show, confirming groups on the way.
    async fn until(&mut self, what: &str, holds: impl Fn(&CafeAudit) -> bool) -> anyhow::Result<()> {
        let deadline = self.stage.setup.clock.elapsed() + self.plan.time_max;
        while !holds(&self.audit()) {
            if self.stage.setup.clock.elapsed() > deadline {
                anyhow::bail!("{what}: not within {} s", self.plan.time_max.as_secs());
            }
            self.step().await?;
        }
        self.stage.setup.log.line(&format!("story: {what}"));
        Ok(())
    }

    /// Waits until the status says that all is well.
    async fn until_stable(&mut self, version: &str) -> anyhow::Result<()> {
        let deadline = self.stage.setup.clock.elapsed() + self.plan.time_max;
        let wanted = json!(self.plan.replicas());
        loop {
            let cafe = self.cafe().await.unwrap_or_default();
            let status = &cafe["status"];
            let all = ["replicas", "availableReplicas", "updatedReplicas", "updatedAvailableReplicas"];
            if all.iter().all(|f| status[f] == wanted)
                && status["phase"] == "Stable"
                && status["observedGeneration"] == cafe["metadata"]["generation"]
            {
                return Ok(());
            }
            if self.stage.setup.clock.elapsed() > deadline {
                anyhow::bail!("with all pods at {version} the status says {status}");
            }
            self.step().await?;
        }
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        self.confirm().await;
        self.stage.step().await
    }

    /// A person who sees "false" and says "true", some time later.
    async fn confirm(&mut self) {
        if !self.plan.is_confirmed {
            return;
        }
        let now = self.stage.setup.clock.elapsed();
        match self.confirms_at {
            Some(at) if at > now => {}
            Some(_) => self.say_confirmed().await,
            None => {
                let asked =
                    self.cafe().await.is_some_and(|c| c["metadata"]["annotations"][CONFIRMED] == "false");
                if asked {
                    self.confirms_at = Some(now + self.person.shorter_than(Duration::from_secs(5)));
                }
            }
        }
    }

    async fn say_confirmed(&mut self) {
        let Some(cafe) = self.cafe().await else { return };
        self.confirms_at = None;
        if cafe["metadata"]["annotations"][CONFIRMED] != "false" {
            return;
        }
        // Counted before it is written: the next group may begin before the answer is here.
        self.audit().confirm();
        let body = json!({"metadata": {
            "annotations": {CONFIRMED: "true"}, "resourceVersion": cafe["metadata"]["resourceVersion"],
        }});
        let options = api_client::WriteOptions::default();
        let said = self.user().patch::<Value>(&CAFES, KEY, "", &Patch::Merge(body), &options).await;
        let outcome = said.map_or_else(|e| e.to_string(), |_| "done".to_owned());
        self.stage.setup.log.line(&format!("person: confirms: {outcome}"));
    }

    fn start_traffic(&self) {
        let setup = &self.stage.setup;
        let traffic = Traffic {
            client: setup.client("traffic"),
            clock: setup.clock,
            dice: Dice::new(setup.seed, 5),
            log: setup.log.clone(),
            requests: self.requests.clone(),
            namespace: NAMESPACE,
            labels: format!("app={NAME}"),
            is_stuck: self.is_stuck.clone(),
            is_hasty: self.plan.plant == Some(CafePlant::HastyTraffic),
        };
        setup.executor.spawn(ONLOOKERS, Box::pin(traffic.run()));
    }

    /// The CafeDeployment, with everything a user would write.
    fn object(&self) -> Value {
        let plan = &self.plan;
        let cells = &CELLS[..plan.cells.len()];
        let mut annotations = json!({"knarr.dev/sim-fail-pull": image("bad")});
        if plan.turn == Turn::StuckTraffic {
            annotations["knarr.dev/drain-deadline-seconds"] = json!("8");
            annotations["knarr.dev/drain-deadline-policy"] = json!("RollBack");
        }
        let mut own = json!({"knarr.dev/on-failure": "RollBack"});
        if let Some(least) = plan.cell_min {
            own["knarr.dev/cell-min-available"] = json!(least.to_string());
        }
        let fixed: BTreeMap<&str, usize> = cells.iter().copied().zip(plan.cells.iter().copied()).collect();
        json!({
            "apiVersion": "apps.cafe.cloud.alipay.com/v1alpha1", "kind": "CafeDeployment",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "annotations": own},
            "spec": {
                "replicas": plan.replicas(),
                "podSetType": plan.pod_set,
                "selector": {"matchLabels": {"app": NAME}},
                "template": {
                    "metadata": {
                        "labels": {"app": NAME},
                        "annotations": annotations,
                    },
                    "spec": {"containers": [{
                        "name": "main", "image": image("v1"),
                        "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}},
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                    }]},
                },
                "strategy": {
                    "upgradeType": if plan.is_beta { "Beta" } else { "Batch" },
                    "batchSize": plan.batch,
                    "needWaitingForConfirm": plan.is_confirmed,
                },
                "topology": {"unitType": "Cell", "values": cells, "unitReplicas": fixed},
            },
        })
    }
}
