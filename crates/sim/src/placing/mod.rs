//! The scheduler's story: pods of many kinds come and go on nodes that shrink, close, leave and come back, while another scheduler
//! binds pods too, the network is bad and the scheduler dies now and then.
//!
//! Only the plane and the scheduler run; everything else is one stubborn user. What is absent: kubelets (a bound pod is bound and
//! no more), and controllers (pods of lost nodes are deleted by the user).

mod audit;
mod kinds;
mod plant;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use api_client::{Class, Client, DeleteOptions, Patch, WriteOptions};
use api_core::{Node, Pod};
use api_meta::{Object, Resource};
use serde_json::{Value, json};

use crate::Faults;
use crate::cluster::{Part, Setup};
use crate::executor::{self, Executor};
use crate::machine::Dice;
use crate::release::Outcome;
use crate::stage::{Stage, TICK, Write, insist};
pub use audit::PlacingAudit;
use kinds::NodeKind;
pub use plant::PlacingPlant;

/// What is simulated. Equal plans give equal outcomes.
#[derive(Clone, Debug)]
pub struct PlacingPlan {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Nodes at the beginning, and the most there ever are.
    pub nodes: usize,
    /// Virtual time in which things happen.
    pub length: Duration,
    /// What goes wrong on the network.
    pub faults: Faults,
    /// Greatest number of crashes.
    pub crashes_max: u64,
    /// A bug put in on purpose.
    pub plant: Option<PlacingPlant>,
}

impl PlacingPlan {
    /// A bad day; the number of nodes follows from the seed.
    pub fn rough(seed: u64) -> PlacingPlan {
        PlacingPlan {
            seed,
            nodes: [3, 5, 4, 8][usize::try_from(seed % 4).unwrap_or(0)],
            length: Duration::from_secs(60),
            faults: Faults::ROUGH,
            crashes_max: 3,
            plant: None,
        }
    }
}

const NAMESPACE: &str = "default";
const QUOTAS: Resource =
    Resource::namespaced("scheduling.sigs.k8s.io", "v1alpha1", "elasticquotas", "ElasticQuota");
const DEFINITIONS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");
/// Pods alive at once.
const PODS_MAX: usize = 60;
/// When nothing happens any more, every pod that fits somewhere has a place within this time: the longest pause of the queue,
/// a late watch and a few lost requests together.
const PLACED_WITHIN: Duration = Duration::from_secs(90);

/// Simulates one story, from the empty disk on.
pub fn run_placing(plan: &PlacingPlan) -> Outcome {
    executor::in_virtual_time(async |executor| Story::play(plan, executor).await)
}

struct Story {
    plan: PlacingPlan,
    stage: Stage<PlacingAudit>,
    dice: Dice,
    user: Client,
    made: usize,
}

impl Story {
    async fn play(plan: &PlacingPlan, executor: &Executor) -> Outcome {
        let mut setup = Setup::new(plan.seed, executor, Arc::new(Vec::new));
        setup.faults = plan.faults;
        setup.parts = &[Part::Scheduler];
        // None of them is asked for here, and making them takes longer than a whole story.
        setup.has_kinds = false;
        setup.around = plan.plant.map(plant::around);
        let clock = setup.clock;
        let mut audit = PlacingAudit::new(Box::new(move || clock.elapsed()));
        audit.is_calm = plan.crashes_max == 0 && plan.faults.is_none() && plan.plant.is_none();
        let crashes = plan.crashes_max;
        let stage = Stage::new(setup, Arc::new(Mutex::new(audit)), crashes, Duration::from_secs(600));
        let user = stage.setup.direct("user");
        let mut story = Story { plan: plan.clone(), stage, dice: Dice::new(plan.seed, 7), user, made: 0 };
        if let Err(e) = story.tell().await {
            story.audit().accuse("survives", format!("{e:#}"));
        }
        let took = story.stage.setup.clock.elapsed();
        let worst = story.audit().bound();
        story.stage.end(took, worst)
    }

    fn audit(&self) -> MutexGuard<'_, PlacingAudit> {
        self.stage.judge()
    }

    async fn tell(&mut self) -> anyhow::Result<()> {
        self.stage.cluster.start().await?;
        self.stage.watch(NAMESPACE, String::new());
        insist(&self.user, &DEFINITIONS, ("", ""), Write::Create(kinds::quota_definition())).await?;
        insist(&self.user, &QUOTAS, (NAMESPACE, kinds::QUOTA.0), Write::Create(kinds::quota())).await?;
        self.audit().quota_is_there();
        for i in 0..self.plan.nodes {
            self.put_node(i).await?;
        }
        self.stage.arm();
        let end = self.stage.setup.clock.elapsed() + self.plan.length;
        let middle = end - self.plan.length / 2;
        let mut rested = false;
        while self.stage.setup.clock.elapsed() < end {
            self.stage.step().await?;
            if self.dice.happens(350) {
                self.happen().await?;
            }
            if !rested && self.stage.setup.clock.elapsed() > middle {
                rested = true;
                self.rest().await?;
            }
        }
        while self.stage.is_armed() {
            self.stage.step().await?;
        }
        self.rest().await?;
        self.stage.check_acknowledged().await;
        Ok(())
    }

    /// Nothing happens for a while; then everybody who fits somewhere must have a place.
    async fn rest(&mut self) -> anyhow::Result<()> {
        self.stage.setup.log.line("story: rest");
        let end = self.stage.setup.clock.elapsed() + PLACED_WITHIN;
        while self.stage.setup.clock.elapsed() < end {
            // Blows have their time; a rest begins anew after one.
            tokio::time::sleep(TICK).await;
        }
        let (nodes, pods) = self.truth().await?;
        self.audit().rested(&nodes, &pods);
        Ok(())
    }

    /// What the server knows.
    async fn truth(&self) -> anyhow::Result<(Vec<Node>, Vec<Pod>)> {
        let nodes = self.user.list::<Node>(&Node::RESOURCE, "", &Default::default()).await?;
        let pods = self.user.list::<Pod>(&Pod::RESOURCE, NAMESPACE, &Default::default()).await?;
        Ok((nodes.items, pods.items))
    }

    /// One thing happens.
    async fn happen(&mut self) -> anyhow::Result<()> {
        match self.dice.below(20) {
            0..=6 => self.create_pods().await,
            7..=12 => self.delete_pods().await,
            13..=14 => self.change_node().await,
            15 => self.lose_node().await,
            16 => self.bring_node_back().await,
            _ => self.bind_elsewhere().await,
        }
    }

    async fn create_pods(&mut self) -> anyhow::Result<()> {
        if self.dice.happens(150) && self.audit().alive() < PODS_MAX {
            self.made += 1;
            for (name, body) in kinds::gang(&format!("g{}", self.made)) {
                self.put_pod(&name, body).await?;
            }
            return Ok(());
        }
        for _ in 0..=self.dice.below(6) {
            if self.audit().alive() >= PODS_MAX {
                return Ok(());
            }
            self.made += 1;
            let name = format!("p{}", self.made);
            let body = kinds::pod(&name, &self.dice);
            self.put_pod(&name, body).await?;
        }
        Ok(())
    }

    async fn put_pod(&self, name: &str, body: Value) -> anyhow::Result<()> {
        insist(&self.user, &Pod::RESOURCE, (NAMESPACE, name), Write::Create(body)).await
    }

    async fn delete_pods(&mut self) -> anyhow::Result<()> {
        for _ in 0..=self.dice.below(3) {
            let names = self.audit().names();
            let Some(name) = self.any(&names) else { return Ok(()) };
            self.remove_pod(&name).await?;
        }
        Ok(())
    }

    fn any(&self, all: &[String]) -> Option<String> {
        let at = usize::try_from(self.dice.below(all.len() as u64)).unwrap_or(0);
        all.get(at).cloned()
    }

    async fn remove_pod(&self, name: &str) -> anyhow::Result<()> {
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        match self.user.delete(&Pod::RESOURCE, (NAMESPACE, name), &options).await {
            Ok(_) => Ok(()),
            Err(e) if matches!(e.class(), Class::NotFound | Class::Transient | Class::Conflict) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// A node comes, as big as its number says.
    async fn put_node(&mut self, number: usize) -> anyhow::Result<()> {
        let kind = NodeKind::of(number);
        // Told before it is so: from now on it may be filled.
        self.audit().node_may(&kind.name, kind.cpu_milli, kind.pods);
        insist(&self.user, &Node::RESOURCE, ("", &kind.name), Write::Create(kind.object())).await?;
        self.write_room(&kind.name, kind.cpu_milli, kind.pods).await?;
        // A new node is tainted until it is ready; there is nobody here to say so.
        let ready = Patch::Merge(json!({"spec": {"taints": kind.object()["spec"]["taints"]}}));
        insist(&self.user, &Node::RESOURCE, ("", &kind.name), Write::Patch(ready)).await
    }

    async fn write_room(&self, name: &str, cpu_milli: i64, pods: i64) -> anyhow::Result<()> {
        let room = json!({"cpu": format!("{cpu_milli}m"), "memory": "64Gi", "pods": pods.to_string()});
        let patch = Patch::Merge(json!({"status": {"allocatable": room, "capacity": room}}));
        for _ in 0..600 {
            let options = WriteOptions::default();
            match self.user.patch::<Value>(&Node::RESOURCE, ("", name), "status", &patch, &options).await {
                Ok(_) => return Ok(()),
                Err(e) if e.class() == Class::NotFound => return Ok(()),
                Err(_) => tokio::time::sleep(TICK).await,
            }
        }
        anyhow::bail!("node {name} could not be written")
    }

    /// A node shrinks, grows, closes or opens.
    async fn change_node(&mut self) -> anyhow::Result<()> {
        let names = self.audit().nodes();
        let Some(name) = self.any(&names) else { return Ok(()) };
        if self.dice.happens(500) {
            let kind = NodeKind::named(&name);
            let cpu = kind.cpu_milli * i64::try_from(self.dice.below(5)).unwrap_or(0) / 4;
            let pods = (kind.pods * i64::try_from(self.dice.below(4)).unwrap_or(0) / 3).max(1);
            self.audit().node_may(&name, cpu, pods);
            self.write_room(&name, cpu, pods).await?;
            // Told once more: the smaller room is in force from here on.
            self.audit().node_may(&name, cpu, pods);
            return Ok(());
        }
        let closed = self.dice.happens(500);
        if !closed {
            self.audit().node_closed(&name, false);
        }
        let patch = Patch::Merge(json!({"spec": {"unschedulable": closed}}));
        insist(&self.user, &Node::RESOURCE, ("", &name), Write::Patch(patch)).await?;
        self.audit().node_closed(&name, closed);
        Ok(())
    }

    async fn lose_node(&mut self) -> anyhow::Result<()> {
        let names = self.audit().nodes();
        let Some(name) = self.any(&names).filter(|_| names.len() > 1) else { return Ok(()) };
        let gone = self.user.delete(&Node::RESOURCE, ("", &name), &DeleteOptions::default()).await;
        if gone.is_err() {
            return Ok(());
        }
        let lost = self.audit().node_gone(&name);
        for pod in lost {
            self.remove_pod(&pod).await?;
        }
        Ok(())
    }

    async fn bring_node_back(&mut self) -> anyhow::Result<()> {
        let there = self.audit().nodes();
        let missing = (0..self.plan.nodes).find(|i| !there.contains(&NodeKind::of(*i).name));
        match missing {
            Some(number) => self.put_node(number).await,
            None => Ok(()),
        }
    }

    /// Another scheduler binds a pod that waits, its own or ours, without a look at who has room.
    async fn bind_elsewhere(&mut self) -> anyhow::Result<()> {
        let waiting = self.audit().waiting();
        let nodes = self.audit().nodes();
        let (Some(name), Some(node)) = (self.any(&waiting), self.any(&nodes)) else { return Ok(()) };
        self.audit().claim(&name);
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"namespace": NAMESPACE, "name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let done = self.user.post::<Value>(&Pod::RESOURCE, (NAMESPACE, &name), "binding", &binding).await;
        // Without a clear answer it may have been either: the claim stays, and the pod is not held against ours.
        if done.is_err_and(|e| e.class() == Class::Conflict) {
            self.audit().disclaim(&name);
        }
        Ok(())
    }
}
