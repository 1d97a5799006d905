//! Counts what quotas are about: lists what is there live, asks the planner, carries out.

use std::collections::BTreeMap;

use api_client::{Client, Error, ListOptions};
use api_meta::{ObjectKey, Resource};
use builtins::quota::{self, Content, ResourceQuota};
use reconcile::{Feed, Queue, World};
use serde_json::Value;
use stdx::Time;
use tokio::sync::mpsc;

use super::Duty;
use super::discovery::{Discovery, discover};
use crate::mirror::{self, Tiding};

const PAGE: usize = 500;

/// Runs for ever.
pub(super) async fn run(duty: Duty) {
    let feed = Feed::of::<ResourceQuota>();
    let (inbox, tidings) = mpsc::channel(mirror::INBOX);
    mirror::start(&duty.env, duty.client.clone(), 0, feed.clone(), inbox);
    let mut world = World::new();
    feed.register(&mut world);
    let mut count = Count { duty, feed, world, queue: Queue::new(), changed: BTreeMap::new() };
    count.own(tidings).await;
}

struct Count {
    duty: Duty,
    feed: Feed,
    world: World,
    queue: Queue<ObjectKey>,
    /// When each quota was last seen to change.
    changed: BTreeMap<ObjectKey, Time>,
}

impl Count {
    async fn own(&mut self, mut tidings: mpsc::Receiver<Tiding>) {
        loop {
            while let Ok(tiding) = tidings.try_recv() {
                self.take(tiding);
            }
            if let Some(key) = self.queue.pop(self.duty.env.now()) {
                self.look(&key).await;
                self.queue.done(&key);
                continue;
            }
            let now = self.duty.env.now();
            let sleep = match self.queue.next_due() {
                Some(at) => self.duty.env.sleep(at.since(now)),
                None => Box::pin(std::future::pending()),
            };
            tokio::select! {
                biased;
                tiding = tidings.recv() => match tiding {
                    Some(tiding) => self.take(tiding),
                    None => return,
                },
                () = sleep => {}
            }
        }
    }

    fn take(&mut self, tiding: Tiding) {
        let Tiding::Change { delta, .. } = tiding else { return };
        match delta {
            api_client::Delta::Applied(object) => {
                if let Some(key) = self.feed.meta(&object).map(|m| m.key()) {
                    self.changed.insert(key.clone(), self.duty.env.now());
                    self.queue.add(key);
                }
                self.feed.apply(&mut self.world, object);
            }
            api_client::Delta::Deleted(key) => {
                self.changed.remove(&key);
                self.feed.remove(&mut self.world, &key);
            }
            api_client::Delta::Synced(_) => {}
        }
    }

    async fn look(&mut self, key: &ObjectKey) {
        let Some(quota) = self.world.cache::<ResourceQuota>().get(key).cloned() else { return };
        let started = self.duty.env.now();
        let content = match self.content(key, &quota::counted(&quota)).await {
            Ok(content) => content,
            Err(error) => {
                tracing::debug!(quota = %key.name, %error, "cannot find out what is in the namespace");
                self.queue.add_after_failure(key.clone(), started);
                return;
            }
        };
        let unchanged_for = self.changed.get(key).map(|at| started.since(*at)).unwrap_or_default();
        let plan = quota::plan(&quota, &content, unchanged_for, started);
        if let Some(at) = plan.wake {
            self.queue.add_at(key.clone(), at);
        }
        let mut outcome = "success";
        for action in &plan.actions {
            match self.duty.executor.act(action).await {
                Ok(_) => self.queue.forget(key),
                // Charged, changed or deleted since: the mirror tells, and the next look counts anew.
                Err(error) if crate::execute::is_race(&error) => {}
                Err(error) => {
                    tracing::debug!(quota = %key.name, %error, "the count could not be written");
                    self.queue.add_after_failure(key.clone(), self.duty.env.now());
                    outcome = "error";
                }
            }
        }
        self.duty.metrics.reconciled(self.duty.controller, outcome, self.duty.env.now().since(started));
    }

    /// Everything of these collections in the namespace of a quota, as listed now.
    async fn content(&self, key: &ObjectKey, counted: &[String]) -> Result<Content, Error> {
        let discovery = discover(&self.duty.client).await?;
        let mut content = Content::default();
        for name in counted {
            let Some(resource) = collection(&discovery, name) else { continue };
            match list(&self.duty.client, resource, &key.namespace).await {
                Ok(items) => content.objects.extend(items.into_iter().map(|o| (name.clone(), o))),
                // The kind has gone since it was discovered.
                Err(error) if error.is_not_found() => {}
                Err(error) => content.unlisted.push((name.clone(), error.to_string())),
            }
        }
        Ok(content)
    }
}

/// The collection that quotas call `plural` or `plural.group`.
fn collection<'a>(discovery: &'a Discovery, name: &str) -> Option<&'a Resource> {
    let kinds = discovery.kinds.iter().filter(|k| k.resource.namespaced && k.offers(&["list"]));
    kinds.map(|k| &k.resource).find(|r| r.to_string() == name)
}

async fn list(client: &Client, resource: &Resource, namespace: &str) -> Result<Vec<Value>, Error> {
    let mut options = ListOptions { limit: PAGE, ..ListOptions::default() };
    let mut items = Vec::new();
    loop {
        let page = client.list::<Value>(resource, namespace, &options).await?;
        items.extend(page.items);
        options.r#continue = page.metadata.r#continue;
        if options.r#continue.is_empty() {
            return Ok(items);
        }
    }
}
