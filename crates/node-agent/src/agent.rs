//! The loop: pods in, looks when something changed, orders to the runtime, reports out.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_client::{Client, Delta, MetaOnly, Reflector};
use api_core::Pod;
use api_meta::{Object, ObjectKey};
use node_core::{ContainerFact, Deletion, NoteKind, ProbeKind, Step};
use stdx::{Env, Time};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::error::Error;
use crate::events::Events;
use crate::hooks::Hook;
use crate::order::PodOrder;
use crate::report::{self, Report};
use crate::resolve::{self, Around, Sources};
use crate::runtime::{PodRuntime, PodTrace, Refusal};
use crate::worker::{Preparation, Worker};
use crate::{logs, node, probe};

/// Most steps of one look.
const STEPS_MAX: usize = 32;
/// Wait before a pod that could not be made ready is tried again.
const PREPARE_AGAIN: Duration = Duration::from_secs(5);
/// Wait before tokens that could not be renewed are asked for again.
const RENEW_AGAIN: Duration = Duration::from_secs(30);
/// Time between looks at what running containers do that they should not.
const REMARKS_EVERY: Duration = Duration::from_secs(5);
/// Grace of containers when the agent ends with its pods.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Grace of pods whose object is gone and which nobody can be asked about.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);
/// Longest wait for anything when nothing happens.
const IDLE: Duration = Duration::from_secs(30);

/// Where log requests find a pod's identity.
pub(crate) type Directory = Arc<Mutex<BTreeMap<ObjectKey, String>>>;

enum Event {
    Pod(usize, Box<Delta<Pod>>),
    Prepared(String, Result<(Sources, IpAddr), Refusal>),
    /// New tokens for the volumes of a pod.
    Renewed(String, Result<Sources, Refusal>),
    Probed {
        uid: String,
        container: usize,
        kind: ProbeKind,
        attempt: u32,
        answer: probe::Answer,
    },
    /// An object that seemed to be gone: is it?
    Confirmed {
        uid: String,
        is_gone: bool,
    },
    NodeFailed(Error),
}

struct Agent<R> {
    client: Client,
    env: Env,
    config: Config,
    runtime: Arc<R>,
    workers: BTreeMap<String, Worker>,
    keys: BTreeMap<ObjectKey, String>,
    /// Pods the runtime knew at the start, until the API tells of them.
    traces: BTreeMap<String, PodTrace>,
    /// Pods to be ended that have no object any more.
    orphans: BTreeSet<String>,
    synced: BTreeSet<usize>,
    remarks_at: Time,
    events: Events,
    reports: mpsc::UnboundedSender<Report>,
    sender: mpsc::UnboundedSender<Event>,
    directory: Directory,
}

/// Serves the nodes until `shutdown` completes; then ends their pods.
///
/// # Errors
/// When the log port cannot be opened, a node is refused for good, or the runtime's records are gone: in the last case
/// the pods have been ended too.
pub async fn run<R: PodRuntime>(
    client: Client,
    env: Env,
    config: Config,
    runtime: Arc<R>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let client = client.named("knarr-agent");
    let directory = Directory::default();
    let traces = runtime.pods().await.map_err(Error::Runtime)?;
    let known = traces.iter().map(|t| (ObjectKey::new(&t.namespace, &t.name), t.uid.clone()));
    directory.lock().expect("no holder panics").extend(known);
    let (sender, receiver) = mpsc::unbounded_channel();
    let ended = sender.clone();
    let ended = async move { ended.closed().await };
    let port = logs::serve(&env, config.log_listen, runtime.clone(), directory.clone(), ended).await?;
    start_nodes(&client, &env, &config, port, &sender);
    let agent = Agent {
        events: Events::start(client.clone(), &env),
        reports: report::start(client.clone(), &env),
        remarks_at: env.now(),
        client,
        env,
        config,
        runtime,
        workers: BTreeMap::new(),
        keys: BTreeMap::new(),
        traces: traces.into_iter().map(|t| (t.uid.clone(), t)).collect(),
        orphans: BTreeSet::new(),
        synced: BTreeSet::new(),
        sender,
        directory,
    };
    agent.run(receiver, shutdown).await
}

fn start_nodes(
    client: &Client,
    env: &Env,
    config: &Config,
    port: u16,
    sender: &mpsc::UnboundedSender<Event>,
) {
    for place in 0..config.nodes.len() {
        let (keep, failed) =
            (node::keep(client.clone(), env.clone(), config.clone(), place, port), sender.clone());
        let ended = sender.clone();
        env.spawn("node", async move {
            tokio::select! {
                biased;
                () = ended.closed() => {}
                kept = keep => if let Err(error) = kept {
                    let _ = failed.send(Event::NodeFailed(error));
                },
            }
        });
        let selector = format!("spec.nodeName={}", config.nodes[place].name);
        let mirror = Reflector::new(client.clone(), env.clone(), Pod::RESOURCE).fields(selector);
        let (pods, ended) = (sender.clone(), sender.clone());
        env.spawn("node pods", async move {
            tokio::select! {
                biased;
                () = ended.closed() => {}
                () = mirror.run(move |delta| pods.send(Event::Pod(place, Box::new(delta))).is_ok()) => {}
            }
        });
    }
}

impl<R: PodRuntime> Agent<R> {
    async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        let mut shutdown = std::pin::pin!(shutdown);
        let runtime = self.runtime.clone();
        loop {
            let now = self.env.now();
            let next =
                self.workers.values().filter_map(|w| w.wake).min().unwrap_or(now + IDLE).min(now + IDLE);
            let sleep = self.env.sleep(next.since(now));
            let changed = tokio::select! {
                biased;
                () = &mut shutdown => {
                    self.end_all().await;
                    return Ok(());
                }
                Some(event) = events.recv() => match self.take(event) {
                    Ok(changed) => changed,
                    Err(error) => return Err(error),
                },
                changed = runtime.changed() => match changed {
                    Ok(changed) => changed,
                    Err(error) => {
                        tracing::warn!(%error, "the runtime's records are gone; ending the pods");
                        self.end_all().await;
                        return Err(Error::Runtime(error));
                    }
                },
                () = sleep => Vec::new(),
            };
            for uid in changed {
                self.sync(&uid).await;
            }
            self.elapse().await;
        }
    }

    /// Looks at the pods whose time has come.
    async fn elapse(&mut self) {
        let now = self.env.now();
        let due = self.workers.iter().filter(|(_, w)| w.wake.is_some_and(|at| at <= now));
        let due: Vec<String> = due.map(|(uid, _)| uid.clone()).collect();
        for uid in due {
            self.sync(&uid).await;
        }
        self.end_orphans().await;
        if self.remarks_at <= now {
            self.remarks_at = now + REMARKS_EVERY;
            self.look_for_remarks(now).await;
        }
    }

    /// Takes in one event; returns the pods to look at.
    fn take(&mut self, event: Event) -> Result<Vec<String>, Error> {
        match event {
            Event::Pod(place, delta) => Ok(self.pod(place, *delta)),
            Event::Prepared(uid, outcome) => {
                self.prepared(&uid, outcome);
                Ok(vec![uid])
            }
            Event::Renewed(uid, outcome) => {
                self.renewed(&uid, outcome);
                Ok(vec![uid])
            }
            Event::Probed { uid, container, kind, attempt, answer } => {
                self.probed(&uid, container, kind, attempt, answer);
                Ok(vec![uid])
            }
            Event::Confirmed { uid, is_gone } => {
                if !is_gone {
                    return Ok(Vec::new());
                }
                match self.workers.get_mut(&uid) {
                    Some(worker) => worker.deletion = Deletion::Gone,
                    None => _ = self.orphans.insert(uid.clone()),
                }
                Ok(vec![uid])
            }
            Event::NodeFailed(error) => Err(error),
        }
    }

    fn pod(&mut self, place: usize, delta: Delta<Pod>) -> Vec<String> {
        match delta {
            Delta::Applied(pod) => self.applied(pod),
            Delta::Deleted(key) => {
                if let Some(uid) = self.keys.get(&key) {
                    self.confirm(uid.clone(), key);
                }
                Vec::new()
            }
            Delta::Synced(_) => {
                if self.synced.insert(place) && self.synced.len() == self.config.nodes.len() {
                    for (uid, trace) in std::mem::take(&mut self.traces) {
                        self.confirm(uid, ObjectKey::new(trace.namespace, trace.name));
                    }
                }
                Vec::new()
            }
        }
    }

    fn applied(&mut self, pod: Pod) -> Vec<String> {
        let (key, uid) = (pod.metadata.key(), pod.metadata.uid.clone());
        let old = self.keys.insert(key.clone(), uid.clone()).filter(|old| *old != uid);
        self.directory.lock().expect("no holder panics").insert(key, uid.clone());
        let trace = self.traces.remove(&uid);
        match self.workers.get_mut(&uid) {
            Some(worker) => worker.update(pod),
            None => {
                let address = trace.and_then(|t| t.address);
                self.workers.insert(uid.clone(), Worker::new(pod, address));
            }
        }
        let mut concerned = vec![uid];
        if let Some(old) = old {
            // Another pod took the name: the old one is certainly gone.
            if let Some(worker) = self.workers.get_mut(&old) {
                worker.deletion = Deletion::Gone;
                concerned.push(old);
            }
        }
        concerned
    }

    /// Asks the server itself whether an object is gone before its processes are ended: a mirror alone may be mistaken.
    fn confirm(&self, uid: String, key: ObjectKey) {
        let (client, env, sender) = (self.client.clone(), self.env.clone(), self.sender.clone());
        self.env.spawn("node confirm", async move {
            let is_gone = loop {
                match client.get::<MetaOnly>(&Pod::RESOURCE, &key.namespace, &key.name).await {
                    Ok(there) => break there.metadata.uid != uid,
                    Err(error) if error.is_not_found() => break true,
                    Err(_) if sender.is_closed() => return,
                    Err(_) => env.sleep(PREPARE_AGAIN).await,
                }
            };
            let _ = sender.send(Event::Confirmed { uid, is_gone });
        });
    }

    /// Looks at one pod until nothing more is to be done.
    async fn sync(&mut self, uid: &str) {
        let runtime = self.runtime.clone();
        for _ in 0..STEPS_MAX {
            let now = self.env.now();
            self.prepare(uid, now);
            self.renew(uid, now);
            self.refill(uid, now).await;
            let Some(worker) = self.workers.get_mut(uid) else { return };
            let facts = runtime.facts(uid, &worker.shape).await;
            let outcome = worker.decide(&facts, &self.config.host_address, now);
            for note in &outcome.notes {
                self.events.tell(&worker.pod, note.kind, note.reason, &note.message, now);
            }
            for (container, kind) in &outcome.probes {
                let attempt = facts[*container].instance.as_ref().map_or(0, |i| i.attempt);
                Self::start_probe(
                    &self.runtime,
                    &self.env,
                    &self.sender,
                    worker,
                    (*container, *kind, attempt),
                );
            }
            let is_over = outcome.steps.contains(&Step::Remove);
            if let Some((patch, is_final)) = worker.news(&outcome.status, is_over, now) {
                let meta = &worker.pod.metadata;
                let (namespace, name) = (meta.namespace.clone(), meta.name.clone());
                let _ = self.reports.send(Report { namespace, name, uid: uid.to_owned(), patch, is_final });
            }
            let retry = match worker.preparation {
                Preparation::Wanted(at) if at > now => Some(at),
                _ => None,
            };
            let others = [retry, worker.tell_at, worker.renew_at];
            worker.wake = outcome.wake.into_iter().chain(others.into_iter().flatten()).min();
            if is_over && worker.deletion == Deletion::Gone {
                runtime.remove(uid).await;
                return self.forget(uid);
            }
            if outcome.steps.is_empty() || is_over {
                return;
            }
            for step in &outcome.steps {
                self.apply(uid, step, &facts).await;
            }
        }
        tracing::warn!(uid, "pod does not settle");
    }

    fn forget(&mut self, uid: &str) {
        let Some(worker) = self.workers.remove(uid) else { return };
        let key = worker.pod.metadata.key();
        if self.keys.get(&key).is_some_and(|u| u == uid) {
            self.keys.remove(&key);
            self.directory.lock().expect("no holder panics").remove(&key);
        }
    }

    async fn apply(&mut self, uid: &str, step: &Step, facts: &[ContainerFact]) {
        let Some(worker) = self.workers.get_mut(uid) else { return };
        let name = |i: usize| worker.shape.containers[i].name.clone();
        match *step {
            Step::Start { container, attempt } => self.start(uid, container, attempt).await,
            Step::Stop { container, grace } if facts[container].is_alive() => {
                let attempt = facts[container].instance.as_ref().map_or(0, |i| i.attempt);
                let hook = worker
                    .container(container)
                    .and_then(|c| Hook::of("preStop", &self.runtime, &self.env, &self.events, worker, c));
                let name = name(container);
                match hook {
                    // A hook runs once; a shorter grace while it runs goes straight to the container.
                    Some(hook) if worker.stopped.insert((container, attempt)) => {
                        self.env.spawn("node hook", hook.then_stop(grace));
                    }
                    _ => self.runtime.stop(uid, &name, grace).await,
                }
            }
            Step::Resize { container } => {
                let resources = worker.shape.containers[container].resources.clone();
                self.runtime.resize(uid, &name(container), &resources).await;
            }
            Step::Stop { .. } | Step::Remove => {}
        }
    }

    async fn start(&mut self, uid: &str, i: usize, attempt: u32) {
        let now = self.env.now();
        let Some(worker) = self.workers.get_mut(uid) else { return };
        let Preparation::Done(sources) = &worker.preparation else { return };
        let address = worker.address.map(|a| a.to_string()).unwrap_or_default();
        let host_address = &self.config.host_address;
        let around = Around { pod: &worker.pod, address: &address, host_address, sources };
        let Some(container) = worker.container(i) else { return };
        let image = container.image.clone();
        let order = resolve::container(&around, container, attempt);
        let started = match order {
            Ok(order) => self.runtime.start(uid, &order).await,
            Err(refusal) => Err(refusal),
        };
        match started {
            Ok(()) => {
                let message = format!("Created container {}", worker.shape.containers[i].name);
                self.events.tell(&worker.pod, NoteKind::Normal, "Created", &message, now);
                let grace = Duration::from_secs(u64::try_from(worker.shape.grace_secs).unwrap_or(0));
                let hook = worker
                    .container(i)
                    .and_then(|c| Hook::of("postStart", &self.runtime, &self.env, &self.events, worker, c));
                if let Some(hook) = hook {
                    self.env.spawn("node hook", hook.after_start(grace));
                }
            }
            Err(refusal) => {
                let shape = worker.shape.clone();
                worker.memory.start_failed(&shape, i, &refusal.reason, &refusal.message, now);
                let message = format!("Failed to start image \"{image}\": {}", refusal.message);
                self.events.tell(&worker.pod, NoteKind::Warning, "Failed", &message, now);
            }
        }
    }

    /// Asks for the pod's address and volumes when they are needed.
    fn prepare(&mut self, uid: &str, now: Time) {
        let Some(worker) = self.workers.get_mut(uid).filter(|w| w.wants_preparation(now)) else { return };
        worker.preparation = Preparation::Asked;
        let (client, runtime, sender) = (self.client.clone(), self.runtime.clone(), self.sender.clone());
        let (env, pod, uid) = (self.env.clone(), worker.pod.clone(), uid.to_owned());
        self.env.spawn("node prepare", async move {
            let outcome = async {
                let sources = Sources::read(&client, &env, &pod).await?;
                let order: PodOrder = resolve::pod(&pod, &sources)?;
                resolve::check(&pod, &sources)?;
                Ok((sources, runtime.prepare(&order).await?))
            };
            let outcome = outcome.await;
            let _ = sender.send(Event::Prepared(uid, outcome));
        });
    }

    fn prepared(&mut self, uid: &str, outcome: Result<(Sources, IpAddr), Refusal>) {
        let now = self.env.now();
        let Some(worker) = self.workers.get_mut(uid) else { return };
        match outcome {
            Ok((sources, address)) => {
                worker.address = Some(address);
                worker.renew_at = sources.renew_at();
                worker.preparation = Preparation::Done(Arc::new(sources));
                worker.refusal = None;
            }
            Err(refusal) => {
                self.events.tell(&worker.pod, NoteKind::Warning, &refusal.reason, &refusal.message, now);
                worker.preparation = Preparation::Wanted(now + PREPARE_AGAIN);
                worker.refusal = Some(refusal);
            }
        }
    }

    /// Asks for new tokens when it is time.
    fn renew(&mut self, uid: &str, now: Time) {
        let Some(worker) = self.workers.get_mut(uid) else { return };
        let Some(sources) = worker.take_renewal(now) else { return };
        let (client, env, sender) = (self.client.clone(), self.env.clone(), self.sender.clone());
        let (pod, uid) = (worker.pod.clone(), uid.to_owned());
        self.env.spawn("node renew", async move {
            let outcome = Sources::clone(&sources).renewed(&client, &env, &pod).await;
            let _ = sender.send(Event::Renewed(uid, outcome));
        });
    }

    /// What is in the volumes stays when there are no new tokens: they are still good for a fifth of their life.
    fn renewed(&mut self, uid: &str, outcome: Result<Sources, Refusal>) {
        let now = self.env.now();
        let Some(worker) = self.workers.get_mut(uid) else { return };
        match outcome {
            Ok(sources) => {
                worker.renew_at = sources.renew_at();
                worker.preparation = Preparation::Done(Arc::new(sources));
                worker.wants_refill = true;
            }
            Err(refusal) => {
                self.events.tell(&worker.pod, NoteKind::Warning, &refusal.reason, &refusal.message, now);
                worker.renew_at = Some(now + RENEW_AGAIN);
            }
        }
    }

    /// Brings renewed tokens to the volumes. Not where they were asked for: calls for one pod come one after the other.
    async fn refill(&mut self, uid: &str, now: Time) {
        let Some(worker) = self.workers.get_mut(uid) else { return };
        if !std::mem::take(&mut worker.wants_refill) || worker.deletion == Deletion::Gone {
            return;
        }
        let Preparation::Done(sources) = &worker.preparation else { return };
        let filled = match resolve::pod(&worker.pod, sources) {
            Ok(order) => self.runtime.prepare(&order).await.map(drop),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = filled {
            self.events.tell(&worker.pod, NoteKind::Warning, &refusal.reason, &refusal.message, now);
            worker.renew_at = Some(now + RENEW_AGAIN);
        }
    }

    fn start_probe(
        runtime: &Arc<R>,
        env: &Env,
        sender: &mpsc::UnboundedSender<Event>,
        worker: &Worker,
        (i, kind, attempt): (usize, ProbeKind, u32),
    ) {
        let (Some(container), Some(probe)) = (worker.container(i), worker.probe(i, kind)) else { return };
        let Some(timing) = worker.shape.containers[i].probe(kind) else { return };
        let uid = worker.pod.metadata.uid.clone();
        let target = probe::Target {
            uid: uid.clone(),
            address: worker.address,
            container: container.clone(),
            probe: probe.clone(),
            timeout: timing.timeout,
        };
        let (runtime, sender) = (runtime.clone(), sender.clone());
        env.spawn("node probe", async move {
            let answer = probe::run(&*runtime, &target).await;
            let _ = sender.send(Event::Probed { uid, container: i, kind, attempt, answer });
        });
    }

    fn probed(&mut self, uid: &str, i: usize, kind: ProbeKind, attempt: u32, answer: probe::Answer) {
        let now = self.env.now();
        let Some(worker) = self.workers.get_mut(uid) else { return };
        let shape = worker.shape.clone();
        worker.memory.probe_result(&shape, i, kind, attempt, answer.is_ok());
        match answer {
            Ok(()) => _ = worker.unhealthy.remove(&(i, kind)),
            Err(why) if worker.unhealthy.get(&(i, kind)) != Some(&why) => {
                let message = format!("{} probe failed: {why}", kind.word());
                self.events.tell(&worker.pod, NoteKind::Warning, "Unhealthy", &message, now);
                worker.unhealthy.insert((i, kind), why);
            }
            Err(_) => {}
        }
    }

    async fn look_for_remarks(&mut self, now: Time) {
        for (uid, worker) in &mut self.workers {
            for remark in self.runtime.remarks(uid).await {
                if worker.remarks.insert(remark.clone()) {
                    self.events.tell(&worker.pod, NoteKind::Warning, remark.reason, &remark.message, now);
                }
            }
        }
    }

    /// Ends pods that have no object any more, and removes what is left of them.
    async fn end_orphans(&mut self) {
        if self.orphans.is_empty() {
            return;
        }
        let Ok(traces) = self.runtime.pods().await else { return };
        for trace in traces {
            if !self.orphans.contains(&trace.uid) {
                continue;
            }
            for container in &trace.alive {
                self.runtime.stop(&trace.uid, container, ORPHAN_GRACE).await;
            }
            if trace.alive.is_empty() {
                self.runtime.remove(&trace.uid).await;
                self.orphans.remove(&trace.uid);
                tracing::info!(namespace = %trace.namespace, name = %trace.name, "ended a pod whose object is gone");
            }
        }
    }

    /// Ends every pod, whatever the API says, and waits until they have ended.
    async fn end_all(&mut self) {
        let deadline = self.env.now() + SHUTDOWN_GRACE + Duration::from_secs(2);
        let mut asked = BTreeSet::new();
        while self.env.now() < deadline {
            let Ok(traces) = self.runtime.pods().await else { return };
            let alive: Vec<(String, String)> = traces
                .into_iter()
                .flat_map(|t| t.alive.into_iter().map(move |c| (t.uid.clone(), c)))
                .collect();
            if alive.is_empty() {
                return;
            }
            for (uid, container) in alive {
                let own = self.workers.get(&uid).map(|w| u64::try_from(w.shape.grace_secs).unwrap_or(0));
                let grace = own.map_or(SHUTDOWN_GRACE, |s| Duration::from_secs(s).min(SHUTDOWN_GRACE));
                if asked.insert((uid.clone(), container.clone())) {
                    self.runtime.stop(&uid, &container, grace).await;
                }
            }
            self.env.sleep(Duration::from_millis(50)).await;
        }
        tracing::warn!("some containers have not ended in time");
    }
}
