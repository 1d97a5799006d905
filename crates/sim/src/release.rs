//! The story that is simulated: a CloneSet comes up, gets a new image, and is released under blows.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use api_client::{Client, Patch};
use api_core::Pod;
use api_meta::Resource;
use serde_json::{Value, json};

use crate::audit::{Audit, Violation};
use crate::cluster::Setup;
use crate::executor::{self, Executor};
use crate::stage::{Judge, Stage, TICK, Write, insist};
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
    /// Greatest number of unavailable pods during the release; how many pods were bound in a story of the scheduler.
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
/// What may still happen once all pods are through must happen within this time.
const CALM: Duration = Duration::from_secs(15);

/// Simulates one release, from the empty disk on.
pub fn run(plan: &Plan) -> Outcome {
    executor::in_virtual_time(async |executor| Story::play(plan, executor).await)
}

struct Story {
    plan: Plan,
    stage: Stage<Audit>,
}

impl Judge for Audit {
    fn pod(&mut self, pod: &Pod, is_deleted: bool) {
        Audit::pod(self, pod, is_deleted);
    }

    fn accuse(&mut self, rule: &'static str, seen: String) {
        Audit::accuse(self, rule, seen);
    }

    fn violations(&self) -> &[Violation] {
        Audit::violations(self)
    }
}

impl Story {
    async fn play(plan: &Plan, executor: &Executor) -> Outcome {
        let plant = plan.plant;
        let mut setup = Setup::new(plan.seed, executor, Arc::new(move || Plant::rows(plant)));
        setup.faults = plan.faults;
        setup.plant = plant;
        setup.hosts = plan.hosts;
        setup.nodes = NODES;
        setup.node_cpu = NODE_CPU;
        if plant == Some(Plant::LyingDisk) {
            setup.disk.lie_about_syncs();
        }
        let budget = plan.replicas.div_ceil(5);
        let in_place = plan.update == Update::InPlace;
        let audit = Audit::new(plan.replicas, budget, in_place, plan.hosts == 1, i64::from(NODE_CPU) * 1000);
        let stage = Stage::new(setup, Arc::new(Mutex::new(audit)), plan.crashes_max, plan.time_max);
        let mut story = Story { plan: plan.clone(), stage };
        let took = match story.tell().await {
            Ok(took) => took,
            Err(e) => {
                story.audit().accuse("survives", format!("{e:#}"));
                Duration::MAX
            }
        };
        let worst = story.audit().worst();
        story.stage.end(took, worst)
    }

    fn audit(&self) -> MutexGuard<'_, Audit> {
        self.stage.judge()
    }

    async fn tell(&mut self) -> anyhow::Result<Duration> {
        self.stage.cluster.start().await?;
        self.stage.watch(NAMESPACE, format!("app={NAME}"));
        self.release().await
    }

    async fn release(&mut self) -> anyhow::Result<Duration> {
        let user = self.stage.setup.direct("user");
        // Half of the stories are disturbed from the beginning, the others once the release has begun.
        if self.plan.seed.is_multiple_of(2) {
            self.stage.arm();
        }
        insist(&user, &SETS, (NAMESPACE, NAME), Write::Create(self.set())).await?;
        let replicas = self.plan.replicas;
        self.stage
            .wait_until("all pods up", |audit| audit.available() == replicas && audit.has_converged(BEFORE))
            .await?;
        if !self.plan.seed.is_multiple_of(2) {
            self.stage.arm();
        }
        let began = self.stage.setup.clock.elapsed();
        self.stage.setup.log.line("release: begins");
        self.stage.cluster.back_up();
        self.audit().begin_release();
        let image =
            json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": AFTER}]);
        insist(&user, &SETS, (NAMESPACE, NAME), Write::Patch(Patch::Json(image))).await?;
        let converged = self.stage.wait_until("release through", |audit| audit.has_converged(AFTER)).await;
        let took = self.stage.setup.clock.elapsed().saturating_sub(began);
        if let Err(e) = &converged {
            self.audit().accuse("survives", format!("{e:#}"));
        } else {
            // Blows that are still to come must not undo anything.
            while self.stage.is_armed() {
                self.stage.step().await?;
            }
            self.stage.wait_until("set content", |_| true).await?;
            self.wait_for_status(&user).await;
            tokio::time::sleep(CALM).await;
        }
        self.audit().finish(AFTER);
        self.stage.check_acknowledged().await;
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

    /// The set's own status must come to say that it is through.
    async fn wait_for_status(&mut self, user: &Client) {
        let deadline = self.stage.setup.clock.elapsed() + self.plan.time_max;
        let wanted = json!(self.plan.replicas);
        let mut last = Value::Null;
        while self.stage.setup.clock.elapsed() <= deadline {
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
}
