//! Changes on their way from the mirrors to the core: projected where they arrive, so that no whole object waits anywhere.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use api_client::{Consumer, Delta, Seen};
use api_core::{Namespace, Node, Pod};
use api_koord::device::Device;
use api_koord::gang::{GangWords, PodGroup, WorkloadPodGroup};
use api_koord::metric::{Load, NodeMetric};
use api_koord::quota::{ElasticQuota, QuotaWords};
use api_koord::topology::NodeResourceTopology;
use api_meta::{Object, ObjectKey, ObjectMeta};
use sched_classes::{Fact, Gone, NodeNotes, PodWords, Settings};
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
        /// What it says in words of classes.
        words: Option<Box<PodWords>>,
        /// It has ended: it takes no room any more.
        finished: bool,
    },
    /// A pod went.
    PodGone(ObjectKey),
    /// A node came or changed.
    Node(NodeFact, Option<Box<NodeNotes>>),
    /// A node went.
    NodeGone(String),
    /// A namespace came or changed.
    Namespace(String, BTreeMap<String, String>),
    /// A namespace went.
    NamespaceGone(String),
    /// An object of an optional kind came or changed.
    Fact(Box<Fact>),
    /// An object of an optional kind went.
    Gone(Gone),
    /// The mirror with this number has been filled, or has nothing to mirror.
    Synced(usize),
}

/// How many mirrors there are.
pub(crate) const MIRRORS: usize = 9;

/// The sending ends, one per mirror.
pub(crate) struct Inlets {
    pub(crate) pods: Inlet<Pods>,
    pub(crate) nodes: Inlet<Nodes>,
    pub(crate) namespaces: Inlet<Namespaces>,
    classes: Arc<Settings>,
    to: mpsc::Sender<Change>,
}

impl Inlets {
    /// The end of a kind that a cluster may not have.
    pub(crate) fn optional<T: OptionalKind>(&self) -> Optional<T> {
        let (classes, to) = (self.classes.clone(), self.to.clone());
        Optional { number: T::NUMBER, classes, to, of: PhantomData }
    }
}

/// The sending ends and the receiving end.
pub(crate) fn channel(projector: Projector) -> (Inlets, mpsc::Receiver<Change>) {
    let (to, from) = mpsc::channel(CHANGES_MAX);
    let classes = projector.classes.clone();
    let inlets = Inlets {
        pods: Inlet { kind: Pods(projector), to: to.clone() },
        nodes: Inlet { kind: Nodes, to: to.clone() },
        namespaces: Inlet { kind: Namespaces, to: to.clone() },
        classes,
        to,
    };
    (inlets, from)
}

/// Makes projections of pods that share equal parts; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Projector {
    interner: Arc<Mutex<Interner>>,
    classes: Arc<Settings>,
}

impl Projector {
    /// Reads words of classes by these settings.
    pub(crate) fn new(classes: Settings) -> Projector {
        Projector { interner: Arc::default(), classes: Arc::new(classes) }
    }

    /// The change that a pod means.
    pub(crate) fn change(&self, pod: &Pod) -> Change {
        let fact = self.interner.lock().unwrap_or_else(PoisonError::into_inner).project(pod);
        let words = self.classes.words_of(pod).map(Box::new);
        Change::Pod { fact, words, finished: pod.is_finished() }
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
        let change = Change::Node(NodeFact::of(&node), NodeNotes::of(&node).map(Box::new));
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

/// A mirror of a kind that a cluster may not have.
pub(crate) struct Optional<T> {
    number: usize,
    classes: Arc<Settings>,
    to: mpsc::Sender<Change>,
    of: PhantomData<T>,
}

impl<T> Optional<T> {
    /// Says that this kind holds nobody up: it has been filled, or is not there.
    pub(crate) async fn settle(&self) {
        // Who listens no more needs no answer.
        let _ = self.to.send(Change::Synced(self.number)).await;
    }
}

/// What is kept of an object of an optional kind.
pub(crate) trait OptionalKind: Object {
    /// Its number among the mirrors.
    const NUMBER: usize;
    /// What it says; nothing when it cannot be read or says nothing, which is as if it were not there.
    fn fact(self, settings: &Settings) -> Option<Fact>;
    /// What its going means.
    fn gone(key: &ObjectKey) -> Gone;
}

impl OptionalKind for ElasticQuota {
    const NUMBER: usize = 3;

    fn fact(self, _: &Settings) -> Option<Fact> {
        let words = QuotaWords::of(&self).ok()?;
        Some(Fact::Quota(self.metadata.key(), Box::new(words)))
    }

    fn gone(key: &ObjectKey) -> Gone {
        Gone::Quota(key.clone())
    }
}

impl OptionalKind for PodGroup {
    const NUMBER: usize = 4;

    fn fact(self, settings: &Settings) -> Option<Fact> {
        Some(Fact::Gang(GangWords::of_group(&self, settings.gang)))
    }

    fn gone(key: &ObjectKey) -> Gone {
        Gone::Gang(key.to_string())
    }
}

impl OptionalKind for WorkloadPodGroup {
    const NUMBER: usize = 5;

    fn fact(self, settings: &Settings) -> Option<Fact> {
        GangWords::of_workload(&self, settings.gang).map(Fact::Gang)
    }

    fn gone(key: &ObjectKey) -> Gone {
        Gone::Gang(key.to_string())
    }
}

impl OptionalKind for NodeMetric {
    const NUMBER: usize = 6;

    fn fact(self, _: &Settings) -> Option<Fact> {
        let load = Load::of(&self);
        Some(Fact::Load(self.metadata.name, load))
    }

    fn gone(key: &ObjectKey) -> Gone {
        Gone::Load(key.name.clone())
    }
}

impl OptionalKind for NodeResourceTopology {
    const NUMBER: usize = 7;

    fn fact(self, _: &Settings) -> Option<Fact> {
        Some(Fact::Topology(self.metadata.name, self.metadata.annotations))
    }

    fn gone(key: &ObjectKey) -> Gone {
        Gone::Topology(key.name.clone())
    }
}

impl OptionalKind for Device {
    const NUMBER: usize = 8;

    fn fact(self, _: &Settings) -> Option<Fact> {
        let gpus = self.gpus();
        Some(Fact::Devices(self.metadata.name, gpus))
    }

    fn gone(key: &ObjectKey) -> Gone {
        Gone::Devices(key.name.clone())
    }
}

impl<T: OptionalKind> Consumer for Optional<T> {
    type Item = Change;

    fn open(&self, json: &str) -> Result<Seen<Change>, serde_json::Error> {
        let object = T::decode(json)?;
        let meta = object.meta();
        let (key, version) = (meta.key(), meta.resource_version.clone());
        let gone = || Change::Gone(T::gone(&key));
        let item = object.fact(&self.classes).map_or_else(gone, |fact| Change::Fact(Box::new(fact)));
        Ok(Seen { key, version, item })
    }

    async fn take(&mut self, delta: Delta<Change>, _: u64) -> bool {
        let change = match delta {
            Delta::Applied(change) => change,
            Delta::Deleted(key) => Change::Gone(T::gone(&key)),
            Delta::Synced(_) => Change::Synced(self.number),
        };
        self.to.send(change).await.is_ok()
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
