//! Changes on their way from the mirrors to the core: projected where they arrive, so that no whole object waits anywhere.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use api_client::{Consumer, Delta, Seen};
use api_core::{Namespace, Node, Pod, PodDisruptionBudget};
use api_koord::device::Device;
use api_koord::gang::{GangWords, PodGroup, WorkloadPodGroup};
use api_koord::metric::{Load, NodeMetric};
use api_koord::quota::{ElasticQuota, QuotaWords};
use api_koord::topology::NodeResourceTopology;
use api_meta::{Object, ObjectKey, ObjectMeta};
use sched_classes::{Fact, Gone, NodeNotes, PodWords, Settings};
use sched_core::{ClaimFact, ClassFact, Interner, LimitsFact, NodeFact, PodFact, VolumeFact};
use sched_plugins::Budget;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::preemption::budget_of;

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
    /// A claim of storage came or changed.
    Claim(ClaimFact),
    /// A claim of storage went.
    ClaimGone(ObjectKey),
    /// A volume came or changed.
    Volume(VolumeFact),
    /// A volume went.
    VolumeGone(String),
    /// A class of storage came or changed.
    Class(ClassFact),
    /// A class of storage went.
    ClassGone(String),
    /// What a node says of its CSI drivers came or changed.
    Limits(LimitsFact),
    /// What a node said of its CSI drivers went.
    LimitsGone(String),
    /// A disruption budget came or changed.
    Budget(ObjectKey, Budget),
    /// A disruption budget went.
    BudgetGone(ObjectKey),
    /// An object of an optional kind came or changed.
    Fact(Box<Fact>),
    /// An object of an optional kind went.
    Gone(Gone),
    /// The mirror with this number has been filled, or has nothing to mirror.
    Synced(usize),
}

/// How many mirrors there are.
pub(crate) const MIRRORS: usize = 14;

/// The sending ends, one per mirror.
pub(crate) struct Inlets {
    pub(crate) pods: Inlet<Pods>,
    pub(crate) nodes: Inlet<Nodes>,
    pub(crate) namespaces: Inlet<Namespaces>,
    classes: Arc<Settings>,
    to: mpsc::Sender<Change>,
}

impl Inlets {
    /// The end of a kind that every cluster has.
    pub(crate) fn of<K>(&self, kind: K) -> Inlet<K> {
        Inlet { kind, to: self.to.clone() }
    }

    /// The end of a kind that a cluster may not have.
    pub(crate) fn optional<T: OptionalKind>(&self) -> Inlet<Of<T>> {
        self.of(Of(self.classes.clone(), PhantomData))
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
/// The mirror of disruption budgets.
pub(crate) struct Budgets;
/// The mirror of claims of storage.
pub(crate) struct Claims;
/// The mirror of volumes.
pub(crate) struct Volumes;
/// The mirror of classes of storage.
pub(crate) struct Classes;
/// The mirror of what nodes say of their CSI drivers.
pub(crate) struct Limits;

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

impl Kind for Budgets {
    const NUMBER: usize = 9;

    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error> {
        let budget = PodDisruptionBudget::decode(text)?;
        let change = Change::Budget(budget.metadata.key(), budget_of(&budget));
        Ok((budget.metadata, change))
    }

    fn gone(key: ObjectKey) -> Change {
        Change::BudgetGone(key)
    }
}

/// An object of which only some fields are known.
#[derive(Deserialize)]
struct Loose {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl Kind for Claims {
    const NUMBER: usize = 10;

    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error> {
        let Loose { metadata, spec, status } = serde_json::from_str(text)?;
        let change = Change::Claim(ClaimFact::of(&metadata, &spec, &status));
        Ok((metadata, change))
    }

    fn gone(key: ObjectKey) -> Change {
        Change::ClaimGone(key)
    }
}

impl Kind for Volumes {
    const NUMBER: usize = 11;

    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error> {
        let Loose { metadata, spec, status } = serde_json::from_str(text)?;
        let change = Change::Volume(VolumeFact::of(&metadata, &spec, &status));
        Ok((metadata, change))
    }

    fn gone(key: ObjectKey) -> Change {
        Change::VolumeGone(key.name)
    }
}

impl Kind for Classes {
    const NUMBER: usize = 12;

    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error> {
        // A class has its fields at the top.
        let object: Value = serde_json::from_str(text)?;
        let metadata = ObjectMeta::deserialize(&object["metadata"])?;
        let change = Change::Class(ClassFact::of(&metadata, &object));
        Ok((metadata, change))
    }

    fn gone(key: ObjectKey) -> Change {
        Change::ClassGone(key.name)
    }
}

impl Kind for Limits {
    const NUMBER: usize = 13;

    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error> {
        let Loose { metadata, spec, .. } = serde_json::from_str(text)?;
        let change = Change::Limits(LimitsFact::of(&metadata, &spec));
        Ok((metadata, change))
    }

    fn gone(key: ObjectKey) -> Change {
        Change::LimitsGone(key.name)
    }
}

/// The mirror of a kind that a cluster may not have.
pub(crate) struct Of<T>(Arc<Settings>, PhantomData<T>);

impl<T: OptionalKind> Kind for Of<T> {
    const NUMBER: usize = T::NUMBER;

    fn open(&self, text: &str) -> Result<(ObjectMeta, Change), serde_json::Error> {
        let object = T::decode(text)?;
        let meta = object.meta().clone();
        let gone = || Self::gone(meta.key());
        let change = object.fact(&self.0).map_or_else(gone, |fact| Change::Fact(Box::new(fact)));
        Ok((meta, change))
    }

    fn gone(key: ObjectKey) -> Change {
        Change::Gone(T::gone(&key))
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
        let unread = |error: &_| {
            tracing::warn!(quota = %self.metadata.key(), %error, "ElasticQuota not read: it limits nobody");
        };
        let words = QuotaWords::of(&self).inspect_err(unread).ok()?;
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

impl<K: Kind> Inlet<K> {
    /// Says that this kind holds nobody up: it is not there.
    pub(crate) async fn settle(&self) {
        // Who listens no more needs no answer.
        let _ = self.to.send(Change::Synced(K::NUMBER)).await;
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
