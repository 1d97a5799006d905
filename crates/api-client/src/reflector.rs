//! Keeps a consumer in step with a collection: list, then watch, then resume; list again only when history is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use api_meta::{Object, ObjectKey, Resource};
use futures_util::StreamExt;
use stdx::Env;

use crate::{Class, Client, Error, ListOptions, WatchEvent, WatchOptions};

/// A change of the mirrored collection.
#[derive(Debug)]
pub enum Delta<T> {
    /// Added or changed.
    Applied(T),
    /// Gone.
    Deleted(ObjectKey),
    /// The mirror now equals a consistent list at this version (sent after every list) or has caught up with it (bookmark).
    Synced(u64),
}

/// Mirrors one collection into a sink. The sink sees each change once and in order.
pub struct Reflector {
    client: Client,
    env: Env,
    resource: Resource,
    namespace: String,
    labels: String,
    fields: String,
}

const PAGE: usize = 500;
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A watch that has run this long was healthy: the next trouble starts from the shortest wait again.
const HEALTHY: Duration = Duration::from_secs(5);

impl Reflector {
    /// A reflector over all namespaces.
    pub fn new(client: Client, env: Env, resource: Resource) -> Reflector {
        Reflector {
            client,
            env,
            resource,
            namespace: String::new(),
            labels: String::new(),
            fields: String::new(),
        }
    }

    /// Only objects with this field selector.
    pub fn fields(mut self, fields: impl Into<String>) -> Reflector {
        self.fields = fields.into();
        self
    }

    /// Only objects with these labels.
    pub fn labels(mut self, labels: impl Into<String>) -> Reflector {
        self.labels = labels.into();
        self
    }

    /// Only one namespace.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Reflector {
        self.namespace = namespace.into();
        self
    }

    /// Runs until `sink` returns false. Trouble is logged and retried with growing waits.
    pub async fn run<T: Object>(self, mut sink: impl FnMut(Delta<T>) -> bool + Send) {
        let mut known = BTreeSet::new();
        let mut version: Option<String> = None;
        let mut wait = BACKOFF_MIN;
        loop {
            let started = self.env.now();
            let outcome = self.round(&mut known, &mut version, &mut sink).await;
            let error = match outcome {
                Ok(Flow::Stop) => return,
                Ok(Flow::Resume) => None,
                Err(e) => Some(e),
            };
            if self.env.now().since(started) >= HEALTHY {
                wait = BACKOFF_MIN;
            }
            if let Some(error) = error {
                match error.class() {
                    Class::Expired => version = None,
                    Class::Transient => {}
                    // The kind may not be served yet, or the permission not granted yet.
                    _ => version = None,
                }
                tracing::debug!(resource = %self.resource, %error, "mirror interrupted");
                self.env.sleep(wait).await;
                wait = (wait * 2).min(BACKOFF_MAX);
            }
        }
    }

    async fn round<T: Object>(
        &self,
        known: &mut BTreeSet<ObjectKey>,
        version: &mut Option<String>,
        sink: &mut (impl FnMut(Delta<T>) -> bool + Send),
    ) -> Result<Flow, Error> {
        let from = match version.clone() {
            Some(v) => v,
            None => {
                let Some(v) = self.relist(known, sink).await? else { return Ok(Flow::Stop) };
                *version = Some(v.clone());
                v
            }
        };
        let options = WatchOptions {
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            resource_version: from,
            timeout_seconds: None,
        };
        let mut events = self.client.watch::<T>(&self.resource, &self.namespace, &options).await?;
        while let Some(event) = events.next().await {
            let delta = match event? {
                WatchEvent::Applied(object) => {
                    *version = Some(object.meta().resource_version.clone());
                    known.insert(object.meta().key());
                    Delta::Applied(object)
                }
                WatchEvent::Deleted(object) => {
                    *version = Some(object.meta().resource_version.clone());
                    known.remove(&object.meta().key());
                    Delta::Deleted(object.meta().key())
                }
                WatchEvent::Bookmark(v) => {
                    let revision = v.parse().unwrap_or(0);
                    *version = Some(v);
                    Delta::Synced(revision)
                }
            };
            if !sink(delta) {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Resume)
    }

    /// Lists everything and tells the sink what came, what changed and what went. Returns the list's version.
    async fn relist<T: Object>(
        &self,
        known: &mut BTreeSet<ObjectKey>,
        sink: &mut (impl FnMut(Delta<T>) -> bool + Send),
    ) -> Result<Option<String>, Error> {
        let mut options = ListOptions {
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            limit: PAGE,
            ..ListOptions::default()
        };
        // Collected first: a list broken off half-way must not look like deletions.
        let mut items = Vec::new();
        let version = loop {
            let page = self.client.list::<T>(&self.resource, &self.namespace, &options).await?;
            items.extend(page.items);
            options.r#continue = page.metadata.r#continue;
            if options.r#continue.is_empty() {
                break page.metadata.resource_version;
            }
        };
        let now: BTreeSet<ObjectKey> = items.iter().map(|o| o.meta().key()).collect();
        let gone: Vec<ObjectKey> = known.difference(&now).cloned().collect();
        *known = now;
        let synced = Delta::Synced(version.parse().unwrap_or(0));
        let deltas =
            gone.into_iter().map(Delta::Deleted).chain(items.into_iter().map(Delta::Applied)).chain([synced]);
        for delta in deltas {
            if !sink(delta) {
                return Ok(None);
            }
        }
        Ok(Some(version))
    }
}

enum Flow {
    Resume,
    Stop,
}
