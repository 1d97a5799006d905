//! The owner of all state: takes what mirrors and executors report, keeps the queues, plans, and hands plans out.
//!
//! ```text
//! mirrors ──Tiding──> owner { World, queues, expectations, brake, fuse } ──plan──> apply task ──Done──> owner
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use api_client::Class;
use api_meta::{ObjectKey, ObjectMeta, Resource};
use futures_util::FutureExt;
use reconcile::{
    Action, Brake, Expectations, Failure, Feed, Fuse, Mark, Permit, PermitRequest, Queue, Row, Target, Verb,
    World,
};
use stdx::{Env, Time};
use tokio::sync::mpsc;

use crate::events::Recorder;
use crate::execute::{Executor, Failed, Outcome, Write, is_namespace_terminating, is_race};
use crate::handle::{Handle, Whys};
use crate::lease::Election;
use crate::metrics::Metrics;
use crate::mirror::{self, Tiding};
use crate::pace::Pace;
use crate::{Clients, HostConfig, dynamic, tell};

/// Changes taken in before keys are planned again.
const TIDINGS_MAX: usize = 512;
/// In whose name is mirrored what the permit alone judges by.
const PERMIT: &str = "guard";
/// Keys of one controller planned before changes are taken in again.
const PLANS_MAX: usize = 64;

/// Runs controllers.
pub struct Host {
    pub(crate) env: Env,
    pub(crate) config: HostConfig,
    pub(crate) clients: Clients,
    pub(crate) permit: Arc<dyn Permit>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) whys: Arc<Whys>,
    pub(crate) world: World,
    pub(crate) mirrors: Vec<Mirror>,
    /// Identities of objects that we are deleting: their end is no surprise.
    farewells: BTreeSet<String>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) expectations: Expectations<Id>,
    pub(crate) brake: Brake,
    pub(crate) fuse: Fuse,
    pub(crate) recorder: Recorder,
    outbox: mpsc::Sender<Done>,
    done: mpsc::Receiver<Done>,
}

/// Number of the controller, and the key.
pub(crate) type Id = (usize, ObjectKey);

/// One mirrored kind.
pub(crate) struct Mirror {
    pub feed: Feed,
    /// Controllers that read it, with the number of their watch.
    readers: Vec<(usize, usize)>,
    /// Version up to which changes have been seen.
    reached: u64,
}

/// One controller.
pub(crate) struct Lane {
    pub row: Row,
    pub queue: Queue<ObjectKey>,
    pub executor: Executor,
    /// Numbers of the mirrors it reads; its own kind first.
    pub feeds: Vec<usize>,
    pub at_work: usize,
    /// Keys whose last plan changed something.
    pub paces: std::collections::BTreeMap<ObjectKey, Pace>,
}

/// What an apply task reports.
pub(crate) struct Done {
    pub lane: usize,
    pub key: ObjectKey,
    pub about: Target,
    pub plan: reconcile::Plan,
    /// The permits it was given, by the number of the action.
    pub granted: Vec<(usize, PermitRequest)>,
    pub outcome: Outcome,
    pub began: Time,
}

/// Why a host has ended.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Another host may be active now.
    #[error("the lease {0} was lost")]
    LeaseLost(String),
}

impl Host {
    /// A host for the controllers of a table. Nothing runs before [`Host::run`].
    pub fn new(
        clients: Clients,
        env: Env,
        rows: Vec<Row>,
        permit: Arc<dyn Permit>,
        config: HostConfig,
    ) -> Host {
        let metrics = Arc::new(Metrics::default());
        let mut world = World::new();
        let mut mirrors: Vec<Mirror> = Vec::new();
        let mut lanes = Vec::new();
        for (lane, row) in rows.into_iter().enumerate() {
            let executor = Executor {
                controller: row.name,
                client: clients(row.name),
                env: env.clone(),
                request_max: config.request_max,
                metrics: metrics.clone(),
            };
            let feeds = row.watches.iter().enumerate().map(|(watch, w)| {
                w.register(&mut world);
                mirror_of(&mut mirrors, w.feed(), (lane, watch))
            });
            let feeds = feeds.collect();
            let (queue, paces) = (Queue::new(), Default::default());
            lanes.push(Lane { row, queue, executor, feeds, at_work: 0, paces });
        }
        for watch in permit.watches() {
            watch.register(&mut world);
            number_of(&mut mirrors, watch.feed());
        }
        let (outbox, done) = mpsc::channel(config.workers.max(1) * lanes.len().max(1));
        let recorder = Recorder::start(&env, clients.clone(), metrics.clone());
        let fuse = Fuse::new(config.rates);
        Host {
            env,
            config,
            clients,
            permit,
            metrics,
            whys: Arc::default(),
            world,
            mirrors,
            farewells: BTreeSet::new(),
            lanes,
            expectations: Expectations::new(),
            brake: Brake::new(),
            fuse,
            recorder,
            outbox,
            done,
        }
    }

    /// What others may ask of it while it runs.
    pub fn handle(&self) -> Handle {
        Handle { metrics: self.metrics.clone(), whys: self.whys.clone() }
    }

    /// Runs until the lease is lost; without one, for ever. Dropping the future ends the planning; plans under way are
    /// carried out.
    pub async fn run(mut self) -> HostError {
        let Some(lease) = self.config.lease.clone() else {
            self.own().await;
            unreachable!("the owner task runs for ever");
        };
        let name = format!("{}/{}", lease.namespace, lease.name);
        let mut election = Election::new((self.clients)("controller-host"), self.env.clone(), lease);
        election.win().await;
        tracing::info!(lease = %name, "lease taken");
        tokio::select! {
            biased;
            () = election.keep() => HostError::LeaseLost(name),
            () = self.own() => unreachable!("the owner task runs for ever"),
        }
    }

    async fn own(&mut self) {
        let start = || dynamic::start(&self.env, &self.clients, &self.permit, &self.config, &self.metrics);
        let _duties = self.config.duties.then(start);
        let (inbox, mut tidings) = mpsc::channel(mirror::INBOX);
        for (number, mirror) in self.mirrors.iter().enumerate() {
            let client = match mirror.readers.first() {
                Some((lane, _)) => self.lanes[*lane].executor.client.clone(),
                None => (self.clients)(PERMIT),
            };
            mirror::start(&self.env, client, number, mirror.feed.clone(), inbox.clone());
        }
        loop {
            let due = self.dispatch();
            let now = self.env.now();
            let sleep = match due {
                Some(at) => self.env.sleep(at.since(now)),
                None => Box::pin(std::future::pending()),
            };
            tokio::select! {
                biased;
                Some(done) = self.done.recv() => self.finish(done),
                Some(tiding) = tidings.recv() => self.take(tiding, &mut tidings),
                () = sleep => {}
            }
        }
    }

    /// Takes in a tiding and those that wait behind it, up to a limit.
    fn take(&mut self, first: Tiding, more: &mut mpsc::Receiver<Tiding>) {
        let mut next = Some(first);
        for _ in 0..TIDINGS_MAX {
            let Some(tiding) = next.take() else { break };
            self.tiding(tiding);
            next = more.try_recv().ok();
        }
        if let Some(tiding) = next {
            self.tiding(tiding);
        }
        self.permit.observe(&self.world, self.env.now());
    }

    fn tiding(&mut self, tiding: Tiding) {
        match tiding {
            Tiding::Relisted { feed, before, gone } => {
                let now = self.env.now();
                self.brake.relisted(feed, before, gone, now);
            }
            Tiding::Change { feed, delta, version } => {
                self.change(feed, delta, version);
                self.reached(feed, version);
            }
        }
    }

    fn change(&mut self, number: usize, delta: api_client::Delta<reconcile::AnyObject>, version: u64) {
        let feed = self.mirrors[number].feed.clone();
        let (old, new) = match delta {
            api_client::Delta::Applied(object) => (feed.apply(&mut self.world, object.clone()), Some(object)),
            api_client::Delta::Deleted(key) => (feed.remove(&mut self.world, &key), None),
            api_client::Delta::Synced(revision) => return feed.set_synced(&mut self.world, revision),
        };
        let is_end = new.is_none() && version > 0;
        self.metrics.watched(&feed.resource().to_string(), feed.len(&self.world));
        let meta = |object: &Option<reconcile::AnyObject>| -> Option<ObjectMeta> {
            object.as_ref().and_then(|o| feed.meta(o)).cloned()
        };
        let (before, after) = (meta(&old), meta(&new));
        if let (Some(before), Some(after)) = (&before, &after)
            && before.resource_version == after.resource_version
        {
            return;
        }
        for (lane, watch) in self.mirrors[number].readers.clone() {
            for object in [&old, &new].into_iter().flatten() {
                let lane = &mut self.lanes[lane];
                for key in lane.row.watches[watch].keys(&self.world, &**object) {
                    self.metrics.added(lane.row.name);
                    lane.queue.add(key);
                }
            }
        }
        let gone = match (&before, &after) {
            (Some(before), Some(after)) if before.uid != after.uid => Some(&before.uid),
            (_, Some(after)) => after.is_terminating().then_some(&after.uid),
            (before, None) => before.as_ref().map(|b| &b.uid),
        };
        let Some(uid) = gone else { return };
        let free = self.expectations.gone(number, uid);
        self.release(free);
        let is_announced =
            self.farewells.remove(uid) || before.as_ref().is_none_or(ObjectMeta::is_terminating);
        if is_end && !is_announced {
            let left = feed.len(&self.world);
            self.brake.vanished(number, left, self.env.now());
        }
    }

    fn reached(&mut self, number: usize, version: u64) {
        let mirror = &mut self.mirrors[number];
        if version > mirror.reached {
            mirror.reached = version;
            let free = self.expectations.reached(number, version);
            self.release(free);
        }
    }

    fn release(&mut self, keys: Vec<Id>) {
        for (lane, key) in keys {
            self.lanes[lane].queue.add(key);
        }
    }

    /// Plans the keys that are due; gives back when the next one is.
    fn dispatch(&mut self) -> Option<Time> {
        let now = self.env.now();
        for ((lane, key), marks) in self.expectations.overdue(now) {
            let controller = self.lanes[lane].row.name;
            tracing::warn!(controller, %key, ?marks, "the cache did not show what was written; looking anyway");
            self.lanes[lane].queue.add(key);
        }
        let mut due = self.expectations.next_deadline();
        for lane in 0..self.lanes.len() {
            if !self.is_synced(lane) {
                continue;
            }
            for plans in 0.. {
                if plans == PLANS_MAX {
                    due = Some(now);
                    break;
                }
                if self.lanes[lane].at_work >= self.config.workers {
                    break;
                }
                let Some(key) = self.lanes[lane].queue.pop(now) else { break };
                if self.expectations.holds(&(lane, key.clone())) {
                    // Its release adds it again.
                    self.lanes[lane].queue.done(&key);
                    continue;
                }
                self.look(lane, &key);
            }
            let lane = &self.lanes[lane];
            self.metrics.depth(lane.row.name, lane.queue.len());
            due = earliest(due, lane.queue.next_due().filter(|_| lane.at_work < self.config.workers));
        }
        due
    }

    fn is_synced(&self, lane: usize) -> bool {
        self.lanes[lane].feeds.iter().all(|f| self.mirrors[*f].feed.synced(&self.world).is_some())
    }

    /// Gives a granted plan to a task of its own.
    pub(crate) fn hand_out(
        &mut self,
        lane: usize,
        key: ObjectKey,
        about: Target,
        plan: reconcile::Plan,
        granted: Vec<(usize, PermitRequest)>,
    ) {
        let began = self.env.now();
        for action in &plan.actions {
            if let Action::Delete { target, .. } = action
                && self.mirrors.iter().any(|m| is_same(&target.resource, m.feed.resource()))
            {
                self.farewells.insert(target.uid.clone());
            }
        }
        self.lanes[lane].at_work += 1;
        let (executor, outbox) = (self.lanes[lane].executor.clone(), self.outbox.clone());
        self.env.spawn("apply", async move {
            let work = std::panic::AssertUnwindSafe(executor.carry_out(&plan.actions)).catch_unwind();
            let outcome = work.await.unwrap_or_else(|_| Outcome {
                failure: Some(Failed {
                    verb: Verb::Patch,
                    resource: about.resource.clone(),
                    error: api_client::Error::Unbuildable("the executor panicked".to_owned()),
                }),
                ..Outcome::default()
            });
            // The owner has ended: nobody waits for the outcome.
            let _ = outbox.send(Done { lane, key, about, plan, granted, outcome, began }).await;
        });
    }

    fn finish(&mut self, done: Done) {
        self.lanes[done.lane].at_work -= 1;
        self.expect(done.lane, &done.key, &done.outcome.writes);
        self.tell_done(&done);
        let now = self.env.now();
        self.settle(&done, now);
        let took = now.since(done.began);
        match &done.outcome.failure {
            None => {
                let controller = self.lanes[done.lane].row.name;
                self.metrics.reconciled(controller, "success", took);
                self.lanes[done.lane].queue.forget(&done.key);
                if self.world.failure(controller, &done.key).is_some() {
                    self.world.set_failure(controller, &done.key, None);
                    self.lanes[done.lane].queue.add(done.key.clone());
                }
            }
            Some(failed) => self.fail(&done, failed, now),
        }
        self.lanes[done.lane].queue.done(&done.key);
    }

    /// Tells the permit what became of its grants, and expects no end of what was not deleted.
    fn settle(&mut self, done: &Done, now: Time) {
        for (action, request) in &done.granted {
            let is_lost = done.outcome.fates.is_empty() && done.outcome.failure.is_some();
            let untried = if is_lost { reconcile::Outcome::Unknown } else { reconcile::Outcome::Undone };
            let fate = done.outcome.fates.get(*action).copied().unwrap_or(untried);
            self.permit.settle(request, fate, now);
        }
        for (number, action) in done.plan.actions.iter().enumerate() {
            let fate = done.outcome.fates.get(number).copied().unwrap_or(reconcile::Outcome::Undone);
            if let (Action::Delete { target, .. }, reconcile::Outcome::Undone) = (action, fate) {
                self.farewells.remove(&target.uid);
            }
        }
    }

    fn fail(&mut self, done: &Done, failed: &Failed, now: Time) {
        let lane = &mut self.lanes[done.lane];
        let controller = lane.row.name;
        self.metrics.retried(controller);
        let retry_after = failed.error.status().and_then(|s| s.details.as_ref()?.retry_after_seconds);
        let again = match retry_after.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0) {
            Some(secs) => {
                let at = now + std::time::Duration::from_secs(secs);
                lane.queue.add_at(done.key.clone(), at);
                at
            }
            None => lane.queue.add_after_failure(done.key.clone(), now),
        };
        let again_ms = u64::try_from(again.since(now).as_millis()).unwrap_or(u64::MAX);
        let result = if is_race(&failed.error) { "requeue" } else { "error" };
        self.metrics.reconciled(controller, result, now.since(done.began));
        let (key, error, resource) = (&done.key, &failed.error, &failed.resource);
        let quiet = is_race(error) || error.status().is_some_and(is_namespace_terminating);
        match error.class() {
            _ if quiet => {
                tracing::debug!(controller, %key, %resource, %error, again_ms, "overtaken; looking again");
                return;
            }
            Class::Bug => tracing::error!(controller, %key, %resource, %error, again_ms, "plan failed"),
            _ => tracing::warn!(controller, %key, %resource, %error, again_ms, "plan failed"),
        }
        let failure = Failure { verb: failed.verb, resource: resource.clone(), message: error.to_string() };
        tell::failure(&self.recorder, controller, &done.about, &failure);
        self.world.set_failure(controller, &done.key, Some(failure));
    }

    /// Holds the key until the caches it reads show the writes.
    fn expect(&mut self, lane: usize, key: &ObjectKey, writes: &[Write]) {
        let mut marks = Vec::new();
        for number in &self.lanes[lane].feeds {
            let mirror = &self.mirrors[*number];
            let newest = writes.iter().filter_map(|w| match w {
                Write::At { resource, revision } if is_same(resource, mirror.feed.resource()) => {
                    Some(*revision)
                }
                _ => None,
            });
            let newest = newest.max().filter(|r| *r > mirror.reached);
            marks.extend(newest.map(|revision| Mark::Reached { feed: *number, revision }));
            for write in writes {
                if let Write::Gone { resource, key, uid } = write
                    && is_same(resource, mirror.feed.resource())
                    && mirror.shows(&self.world, key, uid)
                {
                    marks.push(Mark::Gone { feed: *number, uid: uid.clone() });
                }
            }
        }
        let until = self.env.now() + self.config.expect_max;
        self.expectations.expect((lane, key.clone()), marks, until);
    }
}

impl Mirror {
    /// Whether it still shows this very object as staying.
    fn shows(&self, world: &World, key: &ObjectKey, uid: &str) -> bool {
        let object = self.feed.get(world, key);
        let meta = object.as_ref().and_then(|o| self.feed.meta(o));
        meta.is_some_and(|m| m.uid == uid && !m.is_terminating())
    }
}

/// The number of the mirror of a kind, which gets a reader.
fn mirror_of(mirrors: &mut Vec<Mirror>, feed: &Feed, reader: (usize, usize)) -> usize {
    let number = number_of(mirrors, feed);
    mirrors[number].readers.push(reader);
    number
}

/// The number of the mirror of a kind; a new one when nobody has asked for it yet.
fn number_of(mirrors: &mut Vec<Mirror>, feed: &Feed) -> usize {
    mirrors.iter().position(|m| m.feed.is_same(feed)).unwrap_or_else(|| {
        mirrors.push(Mirror { feed: feed.clone(), readers: Vec::new(), reached: 0 });
        mirrors.len() - 1
    })
}

fn is_same(a: &Resource, b: &Resource) -> bool {
    a.group == b.group && a.plural == b.plural
}

fn earliest(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Whether an action writes the status of the key's own object, which stays right whatever is held back.
pub(crate) fn is_own_status(action: &Action, about: &Target) -> bool {
    matches!(action, Action::Patch { target, subresource: "status", .. } if target.uid == about.uid)
}
