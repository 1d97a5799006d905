//! Counts what quotas are about: lists what is there live, asks the planner, carries out.

use std::collections::BTreeMap;

use api_client::Error;
use api_meta::{ObjectKey, Resource};
use builtins::quota::{self, Content, ResourceQuota};
use stdx::Time;

use super::Duty;
use super::desk::{Desk, Next, list};
use super::discovery::{Discovery, discover};
use crate::mirror::Tiding;

/// Runs for ever.
pub(super) async fn run(duty: Duty) {
    let desk = Desk::open::<ResourceQuota>(&duty.env, &duty.client);
    let mut count = Count { duty, desk, changed: BTreeMap::new() };
    while let Some(next) = count.desk.next().await {
        match next {
            Next::Told(tiding) => count.take(tiding),
            Next::Due(key) => {
                count.look(&key).await;
                count.desk.queue.done(&key);
            }
        }
    }
}

struct Count {
    duty: Duty,
    desk: Desk,
    /// When each quota was last seen to change.
    changed: BTreeMap<ObjectKey, Time>,
}

impl Count {
    fn take(&mut self, tiding: Tiding) {
        let Tiding::Change { delta, .. } = tiding else { return };
        match delta {
            api_client::Delta::Applied(object) => {
                if let Some(key) = self.desk.feed.meta(&object).map(|m| m.key()) {
                    self.changed.insert(key.clone(), self.duty.env.now());
                    self.desk.queue.add(key);
                }
                self.desk.feed.apply(&mut self.desk.world, object);
            }
            api_client::Delta::Deleted(key) => {
                self.changed.remove(&key);
                self.desk.feed.remove(&mut self.desk.world, &key);
            }
            api_client::Delta::Synced(_) => {}
        }
    }

    async fn look(&mut self, key: &ObjectKey) {
        let Some(quota) = self.desk.world.cache::<ResourceQuota>().get(key).cloned() else { return };
        let started = self.duty.env.now();
        let content = match self.content(key, &quota::counted(&quota)).await {
            Ok(content) => content,
            Err(error) => {
                tracing::debug!(quota = %key.name, %error, "cannot find out what is in the namespace");
                self.desk.queue.add_after_failure(key.clone(), started);
                return;
            }
        };
        let unchanged_for = self.changed.get(key).map(|at| started.since(*at)).unwrap_or_default();
        let plan = quota::plan(&quota, &content, unchanged_for, started);
        if let Some(at) = plan.wake {
            self.desk.queue.add_at(key.clone(), at);
        }
        let mut outcome = "success";
        for action in &plan.actions {
            match self.duty.executor.act(action).await {
                Ok(_) => self.desk.queue.forget(key),
                // Charged, changed or deleted since: the mirror tells, and the next look counts anew.
                Err(error) if crate::execute::is_race(&error) => {}
                Err(error) => {
                    tracing::debug!(quota = %key.name, %error, "the count could not be written");
                    self.desk.queue.add_after_failure(key.clone(), self.duty.env.now());
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
