//! Empties and finalizes terminating namespaces: lists what is there live, asks the planner, carries out.

use std::collections::BTreeMap;
use std::time::Duration;

use api_client::{Error, MetaOnly};
use api_core::Namespace;
use api_meta::{ObjectKey, Resource};
use builtins::namespace::{self, Content};
use futures_util::future::join_all;
use reconcile::{Action, Verb};

use super::Duty;
use super::desk::{Desk, Next, list};
use super::discovery::discover;
use crate::mirror::Tiding;

/// Requests under way at a time.
const BATCH: usize = 32;
/// After deletions: most objects go at once, so the next look comes soon.
const SOON: Duration = Duration::from_millis(50);

/// Runs for ever.
pub(super) async fn run(duty: Duty) {
    let desk = Desk::open::<Namespace>(&duty.env, &duty.client);
    let mut sweep = Sweep { duty, desk, undeleted: BTreeMap::new() };
    while let Some(next) = sweep.desk.next().await {
        match next {
            Next::Told(tiding) => sweep.take(tiding),
            Next::Due(key) => {
                sweep.look(&key).await;
                sweep.desk.queue.done(&key);
            }
        }
    }
}

struct Sweep {
    duty: Duty,
    desk: Desk,
    /// What the last attempt on a namespace could not delete.
    undeleted: BTreeMap<ObjectKey, Vec<String>>,
}

impl Sweep {
    fn take(&mut self, tiding: Tiding) {
        let Tiding::Change { delta, .. } = tiding else { return };
        match delta {
            api_client::Delta::Applied(object) => {
                let meta = self.desk.feed.meta(&object);
                if let Some(key) = meta.filter(|m| m.is_terminating()).map(|m| m.key()) {
                    self.desk.queue.add(key);
                }
                self.desk.feed.apply(&mut self.desk.world, object);
            }
            api_client::Delta::Deleted(key) => {
                self.undeleted.remove(&key);
                self.desk.feed.remove(&mut self.desk.world, &key);
            }
            api_client::Delta::Synced(_) => {}
        }
    }

    async fn look(&mut self, key: &ObjectKey) {
        let Some(namespace) = self.desk.world.cache::<Namespace>().get(key).cloned() else { return };
        if !namespace.metadata.is_terminating() || namespace.spec.finalizers.is_empty() {
            return;
        }
        let now = self.duty.env.now();
        let content = match self.content(key).await {
            Ok(content) => content,
            Err(error) => {
                tracing::debug!(namespace = key.name, %error, "cannot find out what is in the namespace");
                self.desk.queue.add_after_failure(key.clone(), now);
                return;
            }
        };
        let plan = namespace::plan(&namespace, &content, now);
        if let Some(at) = plan.wake {
            self.desk.queue.add_at(key.clone(), at);
        }
        let failures = self.carry_out(key, &plan.actions).await;
        self.duty.metrics.reconciled(
            self.duty.controller,
            if failures.is_empty() { "success" } else { "error" },
            self.duty.env.now().since(now),
        );
        if failures.is_empty() {
            self.desk.queue.forget(key);
            let deleted = plan.actions.iter().any(|a| a.verb() == Verb::Delete);
            if deleted {
                self.desk.queue.add_at(key.clone(), self.duty.env.now() + SOON);
            }
        } else {
            tracing::debug!(namespace = key.name, ?failures, "not everything could be deleted");
            self.desk.queue.add_after_failure(key.clone(), self.duty.env.now());
        }
        self.undeleted.insert(key.clone(), failures);
    }

    /// Carries out what is granted, one refusal notwithstanding; gives back what failed.
    async fn carry_out(&mut self, key: &ObjectKey, actions: &[Action]) -> Vec<String> {
        let mut failures = Vec::new();
        for batch in actions.chunks(BATCH) {
            let mut granted = Vec::new();
            for action in batch {
                match self.duty.ask(&key.name, action, self.duty.env.now()) {
                    Ok(()) => granted.push(action),
                    Err(wait) => self.desk.queue.add_at(key.clone(), self.duty.env.now() + wait),
                }
            }
            let executor = &self.duty.executor;
            let results = join_all(granted.iter().map(|action| executor.act(action))).await;
            for (action, result) in granted.iter().zip(results) {
                match result {
                    Ok(_) => {}
                    // Gone, or replaced: the next look tells.
                    Err(error) if crate::execute::is_race(&error) => {
                        self.desk.queue.add_at(key.clone(), self.duty.env.now() + SOON);
                    }
                    Err(error) => {
                        failures.push(format!("{} {}: {error}", action.resource(), action.key().name))
                    }
                }
            }
        }
        failures
    }

    /// Everything in a namespace, as listed now.
    async fn content(&self, key: &ObjectKey) -> Result<Content, Error> {
        let discovery = discover(&self.duty.client).await?;
        let mut content = Content {
            undiscovered: discovery.failures,
            undeleted: self.undeleted.get(key).cloned().unwrap_or_default(),
            ..Content::default()
        };
        let client = self.duty.client.metadata_only();
        let kinds: Vec<Resource> = discovery
            .kinds
            .into_iter()
            .filter(|k| k.resource.namespaced && k.offers(&["list", "delete"]))
            .map(|k| k.resource)
            .collect();
        for batch in kinds.chunks(BATCH) {
            let lists = join_all(batch.iter().map(|r| list::<MetaOnly>(&client, r, &key.name))).await;
            for (resource, list) in batch.iter().zip(lists) {
                match list {
                    Ok(items) => {
                        content.objects.extend(items.iter().map(|o| namespace::found(resource, &o.metadata)));
                    }
                    // The kind has gone since it was discovered.
                    Err(error) if error.is_not_found() => {}
                    Err(error) => content.unlisted.push((resource.clone(), error.to_string())),
                }
            }
        }
        Ok(content)
    }
}
