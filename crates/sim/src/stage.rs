//! What every story needs: the cluster, the blows it takes, a judge of every event, and stubborn writers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use api_client::{Class, Client, List, ListOptions, MetaOnly, Patch, WatchEvent, WatchOptions, WriteOptions};
use api_core::Pod;
use api_meta::{Object, Resource};
use futures_util::StreamExt;
use serde_json::Value;

use crate::audit::{Violation, describe};
use crate::chaos::{self, Appointment, Blow};
use crate::cluster::{Cluster, Setup};
use crate::log::Log;
use crate::machine::Dice;
use crate::release::Outcome;

/// How often things are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// The life of those who look on: no crash reaches it.
pub(crate) const ONLOOKERS: u64 = 0;

/// Who sees every event of every pod, once and in order.
pub(crate) trait Judge: Send + 'static {
    /// Takes one event.
    fn pod(&mut self, pod: &Pod, is_deleted: bool);

    /// Says that a promise was broken.
    fn accuse(&mut self, rule: &'static str, seen: String);

    /// What was broken, in order.
    fn violations(&self) -> &[Violation];
}

/// Where a story plays.
pub(crate) struct Stage<J> {
    pub(crate) setup: Setup,
    pub(crate) cluster: Cluster,
    judge: Arc<Mutex<J>>,
    blows: std::vec::IntoIter<Appointment>,
    next_blow: Option<(Duration, Appointment)>,
    /// Virtual time within which whatever is waited for must come.
    time_max: Duration,
}

impl<J: Judge> Stage<J> {
    pub(crate) fn new(setup: Setup, judge: Arc<Mutex<J>>, crashes_max: u64, time_max: Duration) -> Stage<J> {
        let blows = chaos::appointments(&Dice::new(setup.seed, 2), crashes_max).into_iter();
        Stage { cluster: Cluster::new(setup.clone()), judge, blows, next_blow: None, time_max, setup }
    }

    /// Ends the story: everything stops, and what came of it is told.
    pub(crate) fn end(&mut self, took: Duration, worst: usize) -> Outcome {
        self.cluster.crash();
        let (judge, setup) = (self.judge(), &self.setup);
        for violation in judge.violations() {
            setup.log.line(&format!("broken: {violation}"));
        }
        Outcome {
            violations: judge.violations().to_vec(),
            took,
            worst,
            acknowledged: setup.network.acks().count,
            log: setup.log.text(),
        }
    }

    pub(crate) fn judge(&self) -> MutexGuard<'_, J> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the judge every event of the pods with these labels from now on.
    pub(crate) fn watch(&self, namespace: &'static str, labels: String) {
        let client = self.setup.direct("auditor");
        let watching = watch(client, self.setup.log.clone(), self.judge.clone(), namespace, labels);
        self.setup.executor.spawn(ONLOOKERS, Box::pin(watching));
    }

    /// Whether a blow is still to come.
    pub(crate) fn is_armed(&self) -> bool {
        self.next_blow.is_some()
    }

    /// Waits for the next blow or a tick, whichever is first.
    pub(crate) async fn step(&mut self) -> anyhow::Result<()> {
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
    pub(crate) fn arm(&mut self) {
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

    pub(crate) async fn wait_until(&mut self, what: &str, holds: impl Fn(&J) -> bool) -> anyhow::Result<()> {
        let deadline = self.setup.clock.elapsed() + self.time_max;
        loop {
            if holds(&self.judge()) {
                self.setup.log.line(&format!("story: {what}"));
                return Ok(());
            }
            if self.setup.clock.elapsed() > deadline {
                anyhow::bail!("{what}: not within {} s", self.time_max.as_secs());
            }
            self.step().await?;
        }
    }

    /// Whatever the server has acknowledged is there, unless somebody asked for its deletion.
    pub(crate) async fn check_acknowledged(&self) {
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
                self.judge()
                    .accuse("acknowledged", format!("{path} was acknowledged at {version} and is {now}"));
            }
        }
    }
}

/// What somebody writes to one object of a collection.
pub(crate) enum Write {
    Create(Value),
    Patch(Patch),
}

/// Writes until the server has taken it, as a stubborn person would.
pub(crate) async fn insist(
    user: &Client,
    resource: &Resource,
    key: (&str, &str),
    write: Write,
) -> anyhow::Result<()> {
    const ATTEMPTS_MAX: usize = 600;
    let options = WriteOptions::default();
    for _ in 0..ATTEMPTS_MAX {
        let done = match &write {
            Write::Create(body) => user.create::<Value>(resource, key.0, body, &options).await,
            Write::Patch(patch) => user.patch::<Value>(resource, key, "", patch, &options).await,
        };
        match done {
            Ok(_) => return Ok(()),
            Err(e) if e.class() == Class::Exists => return Ok(()),
            // The kind is served a moment after its definition is there.
            Err(e) if matches!(e.class(), Class::Transient | Class::NotFound | Class::Conflict) => {
                tokio::time::sleep(TICK).await;
            }
            Err(e) => return Err(e).with_context(|| format!("write {resource} {}/{}", key.0, key.1)),
        }
    }
    anyhow::bail!("{resource} {}/{} could not be written in {ATTEMPTS_MAX} attempts", key.0, key.1)
}

/// Shows the auditor every event of every pod of the set, once and in order, across all crashes.
async fn watch<J: Judge>(client: Client, log: Log, judge: Arc<Mutex<J>>, namespace: &str, labels: String) {
    let audit = || judge.lock().unwrap_or_else(PoisonError::into_inner);
    let mut version = String::from("0");
    let mut newest = 0;
    loop {
        // What was once visible must not be unseen after a crash.
        let list = ListOptions { labels: labels.clone(), ..ListOptions::default() };
        if let Ok(list) = client.list::<Pod>(&Pod::RESOURCE, namespace, &list).await {
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
            match client.watch::<Pod>(&Pod::RESOURCE, namespace, &options).await {
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
