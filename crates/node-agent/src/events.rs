//! Events about pods: posted in the background, repeated ones counted, lost rather than waited for.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use api_client::{Client, Patch, WriteOptions};
use api_core::Pod;
use api_meta::Resource;
use node_core::NoteKind;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use stdx::{Env, Time};
use tokio::sync::mpsc;

const EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");
/// Events that may wait; more are dropped, because they must never hold up a pod.
const WAITING_MAX: usize = 256;
/// Different events whose repetitions are counted.
const KNOWN_MAX: usize = 1024;

/// Takes events.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<Happening>,
}

struct Happening {
    namespace: String,
    name: String,
    uid: String,
    node: String,
    kind: NoteKind,
    reason: String,
    message: String,
    at: Time,
}

impl Events {
    /// Starts the task that posts them.
    pub(crate) fn start(client: Client, env: &Env) -> Events {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        env.spawn("node events", post(client, receiver));
        Events { sender }
    }

    /// Tells of something about a pod.
    pub(crate) fn tell(&self, pod: &Pod, kind: NoteKind, reason: &str, message: &str, now: Time) {
        let happening = Happening {
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            node: pod.spec.node_name.clone(),
            kind,
            reason: reason.to_owned(),
            message: message.to_owned(),
            at: now,
        };
        if self.sender.try_send(happening).is_err() {
            tracing::debug!(reason, message, "event dropped: too many are waiting");
        }
    }
}

async fn post(client: Client, mut receiver: mpsc::Receiver<Happening>) {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    while let Some(h) = receiver.recv().await {
        let name = event_name(&h);
        if counts.len() >= KNOWN_MAX {
            counts.clear();
        }
        let count = counts.entry(format!("{}/{name}", h.namespace)).or_insert(0);
        *count += 1;
        let posted = if *count == 1 {
            create(&client, &name, &h).await
        } else {
            repeat(&client, &name, &h, *count).await
        };
        if let Err(error) = posted {
            tracing::debug!(%error, event = %name, "event not posted");
        }
    }
}

/// The same happening gets the same name, so that a restarted agent counts on instead of starting over.
fn event_name(h: &Happening) -> String {
    let mut hasher = DefaultHasher::new();
    (&h.uid, &h.reason, &h.message).hash(&mut hasher);
    format!("{}.{:016x}", h.name, hasher.finish())
}

async fn create(client: &Client, name: &str, h: &Happening) -> Result<(), api_client::Error> {
    let made: Result<IgnoredAny, _> =
        client.create(&EVENTS, &h.namespace, &body(name, h), &WriteOptions::default()).await;
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.class() == api_client::Class::Exists => repeat(client, name, h, 2).await,
        Err(error) => Err(error),
    }
}

async fn repeat(client: &Client, name: &str, h: &Happening, count: i64) -> Result<(), api_client::Error> {
    let patch = Patch::Merge(json!({"count": count, "lastTimestamp": h.at}));
    let done: Result<IgnoredAny, _> =
        client.patch(&EVENTS, (&h.namespace, name), "", &patch, &WriteOptions::default()).await;
    done.map(drop)
}

fn body(name: &str, h: &Happening) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": h.namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": h.namespace, "name": h.name, "uid": h.uid},
        "reason": h.reason,
        "message": h.message,
        "type": match h.kind { NoteKind::Normal => "Normal", NoteKind::Warning => "Warning" },
        "source": {"component": "knarr-agent", "host": h.node},
        "reportingComponent": "knarr-agent",
        "reportingInstance": h.node,
        "firstTimestamp": h.at,
        "lastTimestamp": h.at,
        "count": 1,
    })
}
