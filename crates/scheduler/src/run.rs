//! The loop that owns everything.

use std::sync::Arc;
use std::time::Duration;

use api_client::{Client, Reflector};
use api_core::{Namespace, Node, PersistentVolumeClaim, Pod, PodDisruptionBudget};
use api_koord::device::Device;
use api_koord::gang::{PodGroup, WorkloadPodGroup};
use api_koord::metric::NodeMetric;
use api_koord::quota::ElasticQuota;
use api_koord::topology::NodeResourceTopology;
use api_meta::Object;
use reconcile::{AllowAll, Permit};
use stdx::{BoxFuture, Env, Time};
use tokio::sync::mpsc;

use crate::binder::{self, Binder, Bulk, Fate};
use crate::classes::ClassSteps;
use crate::core::{Bind, Core, Outcome};
use crate::evictor::{Evicted, Evictor};
use crate::inbox::{self, Change, Inlets, MIRRORS, OptionalKind, Projector};
use crate::optional;
use crate::steps::Steps;
use crate::storage::{self, Storekeeper};
use crate::teller::Teller;
use crate::{Config, DecisionLog, Metrics};

/// A scheduler; does nothing until it runs.
pub struct Scheduler {
    client: Client,
    env: Env,
    config: Config,
    steps: Box<dyn Steps>,
    guard: Arc<dyn Permit>,
    metrics: Arc<Metrics>,
    log: Option<DecisionLog>,
}

impl Scheduler {
    /// A scheduler that speaks to the API server behind `client`.
    pub fn new(client: Client, env: Env, config: Config) -> Scheduler {
        let metrics = Arc::new(Metrics::default());
        let (steps, guard) = (Box::new(ClassSteps::new(&config.classes)), Arc::new(AllowAll));
        Scheduler { client, env, config, steps, guard, metrics, log: None }
    }

    /// The same, asking this permit point before it sends anybody away.
    pub fn with_guard(self, guard: Arc<dyn Permit>) -> Scheduler {
        Scheduler { guard, ..self }
    }

    /// The same, which writes down its decisions.
    pub fn logging(self, log: DecisionLog) -> Scheduler {
        Scheduler { log: Some(log), ..self }
    }

    /// Its figures.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Runs until dropped. Everything it does happens within this future.
    pub async fn run(self) {
        let projector = Projector::new(self.config.classes.clone());
        let (inlets, changes) = inbox::channel(projector.clone());
        let optional = self.mirror_classes(&inlets);
        let mirror = |resource| Reflector::new(self.client.clone(), self.env.clone(), resource);
        let budgets = mirror(PodDisruptionBudget::RESOURCE).run_into(inlets.of(inbox::Budgets));
        let claims = mirror(PersistentVolumeClaim::RESOURCE).run_into(inlets.of(inbox::Claims));
        let volumes = mirror(storage::VOLUMES).run_into(inlets.of(inbox::Volumes));
        let classes = mirror(storage::CLASSES).run_into(inlets.of(inbox::Classes));
        let limits = mirror(storage::CSI_NODES).run_into(inlets.of(inbox::Limits));
        let pods = mirror(Pod::RESOURCE).run_into(inlets.pods);
        let nodes = mirror(Node::RESOURCE).run_into(inlets.nodes);
        let namespaces = mirror(Namespace::RESOURCE).run_into(inlets.namespaces);
        let desk = Desk::new(self, projector);
        let storage = async { tokio::join!(claims, volumes, classes, limits) };
        tokio::join!(pods, nodes, namespaces, budgets, storage, optional, desk.run(changes));
    }

    /// Mirrors of the kinds that a cluster may not have.
    fn mirror_classes(&self, inlets: &Inlets) -> impl Future<Output = ()> + Send + use<> {
        let at = || (self.client.clone(), self.env.clone());
        fn of<T: OptionalKind>((client, env): (Client, Env), inlets: &Inlets) -> BoxFuture<()> {
            Box::pin(optional::mirror(client, env, inlets.optional::<T>()))
        }
        let all = [
            of::<ElasticQuota>(at(), inlets),
            of::<PodGroup>(at(), inlets),
            of::<WorkloadPodGroup>(at(), inlets),
            of::<NodeMetric>(at(), inlets),
            of::<NodeResourceTopology>(at(), inlets),
            of::<Device>(at(), inlets),
        ];
        async {
            futures_util::future::join_all(all).await;
        }
    }
}

/// The state of a running scheduler.
struct Desk {
    env: Env,
    projector: Projector,
    synced: [bool; MIRRORS],
    core: Core,
    binder: Binder,
    evictor: Evictor,
    storekeeper: Storekeeper,
    teller: Teller,
    metrics: Arc<Metrics>,
    client: Client,
    decisions_per_turn: usize,
    log: Option<DecisionLog>,
}

impl Desk {
    fn new(scheduler: Scheduler, projector: Projector) -> Desk {
        let Scheduler { client, env, config, steps, guard, metrics, mut log } = scheduler;
        let mut core = Core::with(&config.profiles, steps).guarded(guard);
        if let Some(log) = &mut log {
            log.begin(config.configuration.clone());
            core.snapshot.keep_journal();
        }
        Desk {
            env: env.clone(),
            projector,
            synced: [false; MIRRORS],
            core,
            log,
            binder: Binder::new(
                client.clone(),
                env.clone(),
                config.binds_in_flight_max,
                config.bind_batch_max,
            ),
            evictor: Evictor::new(client.clone(), env.clone()),
            storekeeper: Storekeeper::new(client.clone()),
            teller: Teller::new(client.clone(), env.clone(), config.notes_in_flight_max),
            metrics,
            client,
            decisions_per_turn: config.decisions_per_turn.max(1),
        }
    }

    async fn run(mut self, mut changes: mpsc::Receiver<Change>) {
        let mut discovery = Box::pin(binder::discover(self.client.clone(), self.env.clone()));
        let mut bulk = Bulk::Unknown;
        loop {
            while let Ok(change) = changes.try_recv() {
                self.take(change);
            }
            let now = self.env.now();
            self.core.end_waits(now);
            self.tell_outcomes(now);
            self.forget_left();
            let more = self.is_synced() && self.decide();
            if let Some(log) = &mut self.log {
                log.tell(&mut self.core.snapshot);
            }
            self.binder.start();
            self.evictor.start();
            self.storekeeper.start();
            self.teller.start();
            self.tell_metrics();
            if more {
                tokio::task::yield_now().await;
            }
            let now = self.env.now();
            let due = match self.core.next_due() {
                _ if more => Duration::ZERO,
                Some(at) if self.binder.has_room() && self.is_synced() => at.since(now),
                _ => Duration::MAX,
            };
            let alarm = alarm(&self.env, due);
            tokio::select! {
                biased;
                Some(change) = changes.recv() => self.take(change),
                fates = self.binder.next() => self.settle(fates),
                evicted = self.evictor.next() => self.tell_evicted(&evicted),
                (uid, written) = self.storekeeper.next() => {
                    self.core.volumes_written(&uid, written, self.env.now());
                }
                () = self.teller.next() => {}
                found = &mut discovery, if bulk == Bulk::Unknown => {
                    bulk = found;
                    self.binder.set_bulk(found);
                }
                () = alarm => {}
            }
        }
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Synced(mirror) => self.synced[mirror] = true,
            change => self.core.take(change, self.env.now()),
        }
    }

    fn is_synced(&self) -> bool {
        self.synced.iter().all(|s| *s)
    }

    fn forget_left(&mut self) {
        for uid in std::mem::take(&mut self.core.left) {
            self.teller.forget(&uid);
        }
    }

    /// Decides a turn's worth; says whether there is more to do at once.
    fn decide(&mut self) -> bool {
        for _ in 0..self.decisions_per_turn {
            if !self.binder.has_room() {
                return false;
            }
            let begun = self.env.now();
            if !self.core.decide(begun) {
                return false;
            }
            self.metrics.decided(self.env.now().since(begun));
            self.tell_outcomes(begun);
        }
        self.core.queue.is_ready(self.env.now())
    }

    /// Hands on what became of pods.
    fn tell_outcomes(&mut self, now: Time) {
        while let Some(outcome) = self.core.outcome() {
            match outcome {
                Outcome::Bind(bind) => {
                    tracing::debug!(pod = %bind.pod.key(), node = %bind.placement.node, score = bind.placement.score, "placed");
                    self.binder.push(bind);
                }
                Outcome::Refused(pod, refusal) => {
                    self.metrics.refused();
                    self.teller.refused(&pod, &refusal.message(), now);
                }
                Outcome::Volumes(pod, plan) => self.storekeeper.push(pod.uid.clone(), plan),
                Outcome::Failed(pod, why) => {
                    self.metrics.failed();
                    tracing::info!(pod = %pod.key(), why, "not carried out");
                    self.teller.errored(&pod, &why, now);
                }
                Outcome::Nominated(pod, node) => self.teller.nominate(&pod, node.as_deref()),
                Outcome::Evict(eviction) => {
                    tracing::debug!(pod = %eviction.preemptor.key(), node = %eviction.node, victims = eviction.victims.len(), "makes room");
                    self.metrics.preempts(eviction.victims.len() + eviction.unbound.len());
                    for victim in &eviction.unbound {
                        self.teller.preempted(victim, (&eviction.preemptor, &eviction.node), true, now);
                    }
                    if !eviction.victims.is_empty() {
                        self.evictor.push(eviction);
                    }
                }
            }
        }
    }

    fn settle(&mut self, fates: Vec<(Bind, Fate)>) {
        let now = self.env.now();
        for (bind, fate) in fates {
            match fate {
                Fate::Bound => {
                    self.core.bound(&bind, now);
                    self.metrics.bound(now.since(bind.since));
                    self.teller.scheduled(&bind.pod, &bind.placement.node, now);
                }
                Fate::Found(pod) => {
                    self.core.found(&bind, self.projector.change(&pod), now);
                }
                Fate::Gone => {
                    self.core.unbound(&bind, now);
                }
                Fate::Failed(why) => {
                    self.metrics.failed();
                    tracing::info!(pod = %bind.pod.key(), node = %bind.placement.node, attempts = bind.attempts, why, "bind failed");
                    self.core.unbound(&bind, now);
                    self.teller.errored(&bind.pod, &format!("binding rejected: {why}"), now);
                }
            }
        }
    }

    fn tell_evicted(&mut self, evicted: &Evicted) {
        let now = self.env.now();
        let eviction = &evicted.eviction;
        for (victim, outcome) in eviction.victims.iter().zip(&evicted.outcomes) {
            if matches!(outcome, reconcile::Outcome::Done(_)) {
                self.teller.preempted(victim, (&eviction.preemptor, &eviction.node), false, now);
            }
        }
        self.core.evicted(evicted, now);
    }

    fn tell_metrics(&self) {
        let core = &self.core;
        self.metrics.set(
            core.queue.counts(),
            core.snapshot.len(),
            core.snapshot.pods(),
            self.teller.dropped(),
        );
        if let Some(log) = &self.log {
            self.metrics.set_log(log.counts());
        }
    }
}

/// Sleeps for `length`; for ever when that is beyond all measure.
async fn alarm(env: &Env, length: Duration) {
    match length {
        Duration::ZERO => {}
        Duration::MAX => std::future::pending().await,
        _ => env.sleep(length).await,
    }
}
