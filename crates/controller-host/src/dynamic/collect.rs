//! Runs the garbage collector's graph: mirrors the metadata of every kind, looks at owners live, carries out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_client::{Consumer, Delta, Error, MetaOnly, Reflector, Seen};
use api_meta::{ObjectKey, ObjectMeta, Resource};
use builtins::gc::{Address, Graph, Ruling, Step};
use futures_util::future::join_all;
use reconcile::{Action, Queue};
use stdx::Time;
use tokio::sync::{mpsc, oneshot};

use super::discovery::{Discovery, Kind, discover};
use super::{Duty, until_dropped};
use crate::mirror::INBOX;

/// How often kinds are discovered anew, besides each time a definition changes.
const DISCOVERY: Duration = Duration::from_secs(30);
/// After a definition has changed, its kind is served within this time.
const SERVED: Duration = Duration::from_secs(1);
/// A collection that cannot be listed for so long no longer holds up the rest.
const PATIENCE: Duration = Duration::from_secs(60);
/// Objects judged in one go, and requests under way at a time.
const BATCH: usize = 64;
/// Changes taken in one go.
const TIDINGS: usize = 2048;

/// Runs for ever.
pub(super) async fn run(duty: Duty) {
    let (inbox, tidings) = mpsc::channel(INBOX);
    let mut collector = Collector {
        discover_at: duty.env.now(),
        duty,
        graph: Graph::new(),
        discovery: Discovery::default(),
        mirrors: BTreeMap::new(),
        retries: Queue::new(),
        numbers: 0,
        inbox,
    };
    collector.own(tidings).await;
}

struct Collector {
    duty: Duty,
    graph: Graph,
    discovery: Discovery,
    discover_at: Time,
    /// By group and plural.
    mirrors: BTreeMap<(String, String), Mirror>,
    /// Objects and owners to be judged again, by identity.
    retries: Queue<Retry>,
    numbers: u64,
    inbox: mpsc::Sender<Tiding>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Retry {
    Object(String),
    Below(String),
}

struct Mirror {
    number: u64,
    resource: Arc<Resource>,
    uids: BTreeMap<ObjectKey, String>,
    is_synced: bool,
    since: Time,
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
}

/// A change in one collection.
struct Tiding {
    collection: (String, String),
    number: u64,
    delta: Delta<ObjectMeta>,
}

struct Feeder {
    collection: (String, String),
    number: u64,
    inbox: mpsc::Sender<Tiding>,
}

impl Consumer for Feeder {
    type Item = ObjectMeta;

    fn open(&self, json: &str) -> Result<Seen<ObjectMeta>, serde_json::Error> {
        let meta = serde_json::from_str::<MetaOnly>(json)?.metadata;
        Ok(Seen { key: meta.key(), version: meta.resource_version.clone(), item: meta })
    }

    async fn take(&mut self, delta: Delta<ObjectMeta>, _: u64) -> bool {
        let tiding = Tiding { collection: self.collection.clone(), number: self.number, delta };
        self.inbox.send(tiding).await.is_ok()
    }
}

impl Collector {
    async fn own(&mut self, mut tidings: mpsc::Receiver<Tiding>) {
        loop {
            if self.duty.env.now() >= self.discover_at {
                self.rediscover().await;
            }
            self.retry();
            let is_synced = self.is_synced();
            if is_synced && !self.graph.is_settled() {
                self.work().await;
            }
            let now = self.duty.env.now();
            let busy = is_synced && !self.graph.is_settled();
            let next = self.retries.next_due().map_or(self.discover_at, |at| at.min(self.discover_at));
            let sleep = self.duty.env.sleep(if busy { Duration::ZERO } else { next.since(now) });
            tokio::select! {
                biased;
                Some(tiding) = tidings.recv() => {
                    self.take(tiding);
                    for _ in 0..TIDINGS {
                        let Ok(tiding) = tidings.try_recv() else { break };
                        self.take(tiding);
                    }
                }
                () = sleep => {}
            }
        }
    }

    /// Nothing is judged before every collection is known; one that stays unreadable is left out in the end.
    fn is_synced(&self) -> bool {
        let now = self.duty.env.now();
        let known = |m: &Mirror| m.is_synced || now.since(m.since) >= PATIENCE;
        !self.mirrors.is_empty() && self.mirrors.values().all(known)
    }

    fn take(&mut self, tiding: Tiding) {
        let Some(mirror) = self.mirrors.get_mut(&tiding.collection) else { return };
        if mirror.number != tiding.number {
            return;
        }
        match tiding.delta {
            Delta::Applied(meta) => {
                let before = mirror.uids.insert(meta.key(), meta.uid.clone());
                if let Some(before) = before.filter(|b| *b != meta.uid) {
                    self.graph.remove(&before);
                }
                self.graph.apply(&mirror.resource, &meta);
            }
            Delta::Deleted(key) => {
                if let Some(uid) = mirror.uids.remove(&key) {
                    self.graph.remove(&uid);
                }
            }
            Delta::Synced(_) => {
                mirror.is_synced = true;
                return;
            }
        }
        if mirror.is_synced && mirror.resource.plural == "customresourcedefinitions" {
            self.discover_at = self.discover_at.min(self.duty.env.now() + SERVED);
        }
    }

    /// Starts mirrors of new kinds and ends those of kinds no longer served.
    async fn rediscover(&mut self) {
        self.discover_at = self.duty.env.now() + DISCOVERY;
        let found = match discover(&self.duty.client).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "kinds not discovered");
                self.discover_at = self.duty.env.now() + SERVED;
                return;
            }
        };
        let kinds: BTreeMap<(String, String), Resource> = found
            .kinds
            .iter()
            .filter(|k| is_collected(k))
            .map(|k| (id(&k.resource), k.resource.clone()))
            .collect();
        // A group that does not answer is not gone.
        let is_silent = |group: &str| found.failures.iter().any(|(g, _)| g.split('/').next() == Some(group));
        let gone: Vec<_> =
            self.mirrors.keys().filter(|k| !kinds.contains_key(k) && !is_silent(&k.0)).cloned().collect();
        for collection in gone {
            let Some(mirror) = self.mirrors.remove(&collection) else { continue };
            mirror.uids.values().for_each(|uid| self.graph.remove(uid));
        }
        for (collection, resource) in kinds {
            let known = self.mirrors.get(&collection).map(|m| m.resource.version.clone());
            if known.as_ref() != Some(&resource.version) {
                self.mirror(collection, resource);
            }
        }
        self.discovery = found;
    }

    fn mirror(&mut self, collection: (String, String), resource: Resource) {
        self.numbers += 1;
        let number = self.numbers;
        let client = self.duty.client.metadata_only();
        let reflector = Reflector::new(client, self.duty.env.clone(), resource.clone());
        let feeder = Feeder { collection: collection.clone(), number, inbox: self.inbox.clone() };
        let stop = until_dropped(&self.duty.env, "metadata", reflector.run_into(feeder));
        let uids = self.mirrors.remove(&collection).map(|m| m.uids).unwrap_or_default();
        let since = self.duty.env.now();
        let resource = Arc::new(resource);
        self.mirrors
            .insert(collection, Mirror { number, resource, uids, is_synced: false, since, _stop: stop });
    }

    fn retry(&mut self) {
        let now = self.duty.env.now();
        while let Some(retry) = self.retries.pop(now) {
            match &retry {
                Retry::Object(uid) => self.graph.again(uid),
                Retry::Below(owner) => self.graph.again_below(owner),
            }
            self.retries.done(&retry);
        }
    }

    async fn work(&mut self) {
        let steps = self.graph.steps(BATCH);
        let (mut looks, mut acts) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Verify(address) => looks.push(address),
                Step::Act { uid, action } => acts.push((uid, action)),
            }
        }
        let rulings = join_all(looks.iter().map(|address| self.look(address))).await;
        for (address, ruling) in looks.iter().zip(rulings) {
            self.graph.ruled(address, ruling);
            if ruling == Ruling::Unknown {
                let now = self.duty.env.now();
                self.retries.add_after_failure(Retry::Below(address.uid.clone()), now);
            }
        }
        self.carry_out(acts).await;
    }

    async fn carry_out(&mut self, acts: Vec<(String, Action)>) {
        let mut granted = Vec::new();
        for (uid, action) in acts {
            let now = self.duty.env.now();
            match self.duty.ask(&action.key().to_string(), &action, now) {
                Ok(()) => granted.push((uid, action)),
                Err(wait) => self.retries.add_at(Retry::Object(uid), now + wait),
            }
        }
        // Actions on one object keep their order; the fence of the second makes it wait for the mirror.
        for batch in granted.chunks(BATCH) {
            let executor = &self.duty.executor;
            let results = join_all(batch.iter().map(|(_, action)| executor.act(action))).await;
            for ((uid, action), result) in batch.iter().zip(results) {
                self.acted(uid, action, result.map(drop));
            }
        }
    }

    fn acted(&mut self, uid: &str, action: &Action, result: Result<(), Error>) {
        let retry = Retry::Object(uid.to_owned());
        let Err(error) = result else { return self.retries.forget(&retry) };
        let (resource, key) = (action.resource(), action.key());
        if crate::execute::is_race(&error) {
            tracing::debug!(%resource, %key, %error, "overtaken; judged again");
        } else {
            tracing::warn!(controller = self.duty.controller, %resource, %key, %error, "not collected; tried again later");
        }
        self.retries.add_after_failure(retry, self.duty.env.now());
    }

    /// Looks at an owner live. Only the server's word about this very object counts as absence: a kind that is not
    /// served is answered with 404 as well.
    async fn look(&self, owner: &Address) -> Ruling {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let Some(resource) = self.discovery.resource_of(group, &owner.kind) else { return Ruling::Unknown };
        let namespace = if resource.namespaced { owner.key.namespace.as_str() } else { "" };
        if resource.namespaced && namespace.is_empty() {
            // A cluster-wide object cannot be owned by one in a namespace: there is no such owner.
            return Ruling::Absent;
        }
        let client = self.duty.client.metadata_only();
        match client.get::<MetaOnly>(resource, namespace, &owner.key.name).await {
            Ok(found) if found.metadata.uid == owner.uid => Ruling::Present,
            Ok(_) => Ruling::Absent,
            Err(error) if is_absence(&error, &owner.key.name) => Ruling::Absent,
            Err(error) => {
                tracing::debug!(owner = %owner.key, kind = owner.kind, %error, "owner not looked at");
                Ruling::Unknown
            }
        }
    }
}

fn is_absence(error: &Error, name: &str) -> bool {
    let details = error.status().and_then(|s| s.details.as_ref());
    error.is_not_found() && details.is_some_and(|d| d.name == name)
}

fn id(resource: &Resource) -> (String, String) {
    (resource.group.to_string(), resource.plural.to_string())
}

/// Events own nothing and are owned by nobody, and there are many.
fn is_collected(kind: &Kind) -> bool {
    kind.resource.plural != "events" && kind.offers(&["list", "watch", "delete"])
}
