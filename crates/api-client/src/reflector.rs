//! Keeps a consumer in step with a collection: list, then watch, then resume; list again only when history is gone.

use std::collections::BTreeSet;
use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use api_meta::{Object, ObjectKey, Resource};
use futures_util::StreamExt;
use serde_json::value::RawValue;
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

/// What a consumer keeps of an object, with what the reflector must know of it.
pub struct Seen<T> {
    /// Where it lives.
    pub key: ObjectKey,
    /// Its `resourceVersion`.
    pub version: String,
    /// What is kept.
    pub item: T,
}

/// Takes in a mirrored collection. [`Reflector::run`] makes one of a typed sink; a consumer of its own may read objects in
/// another form, wait while it is full, and learn how much a new list lost.
pub trait Consumer: Send {
    /// The form in which objects are kept.
    type Item: Send;

    /// Opens one object. One that cannot be read is logged and left out: it must not stop the others.
    fn open(&self, json: &str) -> Result<Seen<Self::Item>, serde_json::Error>;

    /// A new list is about to be told: of `before` objects known, `gone` are missing in it.
    fn relisted(&mut self, before: usize, gone: usize) -> impl Future<Output = ()> + Send {
        let _ = (before, gone);
        std::future::ready(())
    }

    /// Takes one change, which brings the collection to `version` (0 within a list). False ends the mirror.
    fn take(&mut self, delta: Delta<Self::Item>, version: u64) -> impl Future<Output = bool> + Send;
}

/// The consumer behind a typed sink.
struct Typed<T, F>(F, PhantomData<fn() -> T>);

impl<T: Object, F: FnMut(Delta<T>) -> bool + Send> Consumer for Typed<T, F> {
    type Item = T;

    fn open(&self, json: &str) -> Result<Seen<T>, serde_json::Error> {
        let item = T::decode(json)?;
        let meta = item.meta();
        Ok(Seen { key: meta.key(), version: meta.resource_version.clone(), item })
    }

    fn take(&mut self, delta: Delta<T>, _: u64) -> impl Future<Output = bool> + Send {
        std::future::ready((self.0)(delta))
    }
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
    pub async fn run<T: Object>(self, sink: impl FnMut(Delta<T>) -> bool + Send) {
        self.run_into(Typed(sink, PhantomData)).await;
    }

    /// Runs until the consumer ends it. Trouble is logged and retried with growing waits.
    pub async fn run_into<C: Consumer>(self, mut consumer: C) {
        let mut known = BTreeSet::new();
        let mut version: Option<String> = None;
        let mut wait = BACKOFF_MIN;
        loop {
            let started = self.env.now();
            let outcome = self.round(&mut known, &mut version, &mut consumer).await;
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

    async fn round<C: Consumer>(
        &self,
        known: &mut BTreeSet<ObjectKey>,
        version: &mut Option<String>,
        consumer: &mut C,
    ) -> Result<Flow, Error> {
        let from = match version.clone() {
            Some(v) => v,
            None => {
                let Some(v) = self.relist(known, consumer).await? else { return Ok(Flow::Stop) };
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
        let mut events =
            self.client.watch::<Box<RawValue>>(&self.resource, &self.namespace, &options).await?;
        while let Some(event) = events.next().await {
            let (delta, at) = match event? {
                WatchEvent::Applied(wire) => {
                    let Some(seen) = self.open(consumer, &wire) else { continue };
                    known.insert(seen.key);
                    (Delta::Applied(seen.item), seen.version)
                }
                WatchEvent::Deleted(wire) => {
                    let Some(seen) = self.open(consumer, &wire) else { continue };
                    known.remove(&seen.key);
                    (Delta::Deleted(seen.key), seen.version)
                }
                WatchEvent::Bookmark(v) => (Delta::Synced(v.parse().unwrap_or(0)), v),
            };
            let revision = at.parse().unwrap_or(0);
            *version = Some(at);
            if !consumer.take(delta, revision).await {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Resume)
    }

    /// Lists everything and tells the consumer what went, what is there, and that it is all. Returns the list's version.
    async fn relist<C: Consumer>(
        &self,
        known: &mut BTreeSet<ObjectKey>,
        consumer: &mut C,
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
            let page = self.client.list::<Box<RawValue>>(&self.resource, &self.namespace, &options).await?;
            items.extend(page.items.into_iter().filter_map(|wire| self.open(consumer, &wire)));
            options.r#continue = page.metadata.r#continue;
            if options.r#continue.is_empty() {
                break page.metadata.resource_version;
            }
        };
        let now: BTreeSet<ObjectKey> = items.iter().map(|seen| seen.key.clone()).collect();
        let gone: Vec<ObjectKey> = known.difference(&now).cloned().collect();
        consumer.relisted(known.len(), gone.len()).await;
        *known = now;
        let revision = version.parse().unwrap_or(0);
        let gone = gone.into_iter().map(Delta::Deleted);
        for delta in gone.chain(items.into_iter().map(|seen| Delta::Applied(seen.item))) {
            if !consumer.take(delta, 0).await {
                return Ok(None);
            }
        }
        Ok(consumer.take(Delta::Synced(revision), revision).await.then_some(version))
    }

    fn open<C: Consumer>(&self, consumer: &C, wire: &RawValue) -> Option<Seen<C::Item>> {
        consumer
            .open(wire.get())
            .inspect_err(
                |error| tracing::warn!(resource = %self.resource, %error, "unreadable object left out"),
            )
            .ok()
    }
}

enum Flow {
    Resume,
    Stop,
}
