//! Changes on their way from the mirrors to the core: projected where they arrive, so that no whole object waits anywhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use api_client::{Consumer, Delta, Seen};
use api_core::{Namespace, Node, Pod};
use api_meta::{Object, ObjectKey, ObjectMeta};
use sched_core::{Interner, NodeFact, PodFact};
use tokio::sync::mpsc;

/// Greatest number of changes on their way; mirrors wait when it is reached.
const CHANGES_MAX: usize = 4096;

/// One change of what is mirrored.
pub(crate) enum Change {
    /// A pod came or changed.
    Pod {
        /// Its projection.
        fact: PodFact,
        /// It has ended: it takes no room any more.
        finished: bool,
    },
    /// A pod went.
    PodGone(ObjectKey),
    /// A node came or changed.
    Node(NodeFact),
    /// A node went.
    NodeGone(String),
    /// A namespace came or changed.
    Namespace(String, BTreeMap<String, String>),
    /// A namespace went.
    NamespaceGone(String),
    /// The mirror with this number has been filled.
    Synced(usize),
}

/// How many mirrors there are.
pub(crate) const MIRRORS: usize = 3;

/// The sending ends, one per mirror, and the receiving end.
pub(crate) fn channel(
    projector: Projector,
) -> (Inlet<Pods>, Inlet<Nodes>, Inlet<Namespaces>, mpsc::Receiver<Change>) {
    let (to, from) = mpsc::channel(CHANGES_MAX);
    let pods = Inlet { kind: Pods(projector), to: to.clone() };
    let nodes = Inlet { kind: Nodes, to: to.clone() };
    (pods, nodes, Inlet { kind: Namespaces, to }, from)
}

/// Makes projections of pods that share equal parts; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Projector(Arc<Mutex<Interner>>);

impl Projector {
    /// The change that a pod means.
    pub(crate) fn change(&self, pod: &Pod) -> Change {
        let fact = self.0.lock().unwrap_or_else(PoisonError::into_inner).project(pod);
        Change::Pod { fact, finished: pod.is_finished() }
    }
}

/// Where one mirror puts its changes.
pub(crate) struct Inlet<K> {
    kind: K,
    to: mpsc::Sender<Change>,
}

/// What is mirrored.
pub(crate) trait Kind: Send + Sync {
    /// Its number.
    const NUMBER: usize;
    /// Reads an object down to what is kept.
    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error>;
    /// The change that its going means.
    fn gone(key: ObjectKey) -> Change;
}

/// The mirror of pods.
pub(crate) struct Pods(Projector);
/// The mirror of nodes.
pub(crate) struct Nodes;
/// The mirror of namespaces.
pub(crate) struct Namespaces;

impl Kind for Pods {
    const NUMBER: usize = 0;

    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error> {
        let pod = Pod::decode(text)?;
        let change = self.0.change(&pod);
        Ok((pod.metadata, change))
    }

    fn gone(key: ObjectKey) -> Change {
        Change::PodGone(key)
    }
}

impl Kind for Nodes {
    const NUMBER: usize = 1;

    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error> {
        let node = Node::decode(text)?;
        let change = Change::Node(NodeFact::of(&node));
        Ok((node.metadata, change))
    }

    fn gone(key: ObjectKey) -> Change {
        Change::NodeGone(key.name)
    }
}

impl Kind for Namespaces {
    const NUMBER: usize = 2;

    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error> {
        let meta = Namespace::decode(text)?.metadata;
        let change = Change::Namespace(meta.name.clone(), meta.labels.clone());
        Ok((meta, change))
    }

    fn gone(key: ObjectKey) -> Change {
        Change::NamespaceGone(key.name)
    }
}

impl<K: Kind> Consumer for Inlet<K> {
    type Item = Change;

    fn open(&self, json: &str) -> Result<Seen<Change>, serde_json::Error> {
        let (meta, item) = self.kind.open(json)?;
        Ok(Seen { key: meta.key(), version: meta.resource_version, item })
    }

    async fn take(&mut self, delta: Delta<Change>, _: u64) -> bool {
        let change = match delta {
            Delta::Applied(change) => change,
            Delta::Deleted(key) => K::gone(key),
            Delta::Synced(_) => Change::Synced(K::NUMBER),
        };
        self.to.send(change).await.is_ok()
    }
}
