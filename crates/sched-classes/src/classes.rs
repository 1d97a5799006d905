//! All classes in one state, asked phase by phase.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use api_koord::apart::Exclusions;
use api_koord::cpu::{BindPolicy, NumaStrategy};
use api_koord::device::Gpu;
use api_koord::gang::{GangDefaults, GangWords};
use api_koord::metric::{Load, UsageThresholds};
use api_koord::names;
use api_koord::quota::QuotaWords;
use api_meta::ObjectKey;
use sched_core::{Hints, NodeInfo, PodFact, Refusal, Snapshot};

use sched_gang::State;
use sched_plugins::Extra;
use sched_quota::TreeError;
use stdx::Time;

use crate::cpu::CpuRules;
use crate::device::Devices;
use crate::gate::Gate;
use crate::load::{LoadAware, LoadSettings};
use crate::meet::Meetings;
use crate::quotas::Quotas;
use crate::words::{NodeNotes, PodWords};

/// How classes are judged where objects say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Gangs.
    pub gang: GangDefaults,
    /// Quotas.
    pub quota: sched_quota::Settings,
    /// How CPUs are chosen for pods that do not say; [`BindPolicy::Default`] is whole cores.
    pub bind: BindPolicy,
    /// Which NUMA node is filled first on nodes that do not say.
    pub numa: NumaStrategy,
    /// Applications that never share a physical core.
    pub exclusions: Exclusions,
    /// Real load.
    pub load: LoadSettings,
}

impl Settings {
    /// What a pod says, read by these settings; nothing when it says nothing.
    pub fn words_of(&self, pod: &api_core::Pod) -> Option<PodWords> {
        PodWords::of(pod, self.gang, self.default_bind())
    }

    fn default_bind(&self) -> BindPolicy {
        if self.bind == BindPolicy::Default { BindPolicy::FullPCPUs } else { self.bind }
    }
}

/// An object of one of the optional kinds came or changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// An ElasticQuota.
    Quota(ObjectKey, Box<QuotaWords>),
    /// A PodGroup, of either kind.
    Gang(GangWords),
    /// The NodeMetric of a node.
    Load(String, Load),
    /// The annotations of a node's NodeResourceTopology.
    Topology(String, BTreeMap<String, String>),
    /// The GPUs of a node's Device.
    Devices(String, Vec<Gpu>),
}

/// An object of one of the optional kinds went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// An ElasticQuota.
    Quota(ObjectKey),
    /// A PodGroup by `namespace/name`, or it is no gang any more.
    Gang(String),
    /// The NodeMetric of a node.
    Load(String),
    /// A node's NodeResourceTopology.
    Topology(String),
    /// A node's Device.
    Devices(String),
}

/// Why a pod does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The sentence people read.
    pub reason: Arc<str>,
    /// Changes after which it is tried again, beside [`Order::Try`].
    pub wake: Hints,
}

impl Held {
    /// Held until an [`Order::Try`] says otherwise.
    pub(crate) fn until_told(reason: Arc<str>) -> Held {
        Held { reason, wake: Hints::NONE }
    }
}

/// Whether a pod with a place may be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// At once.
    Go,
    /// Not before the rest of its gang; its place is given back then.
    Wait(Time),
}

/// Something to be done to a pod that was not asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// It waits no more: it is to be bound.
    Release(Arc<str>),
    /// It gives its place back.
    GiveBack(Arc<str>, Held),
    /// It is worth another try.
    Try(Arc<str>),
}

/// Annotations to be written onto a pod together with its node.
pub type Annotations = BTreeMap<String, String>;

/// Gangs, quotas, CPUs, load and devices of a cluster.
///
/// Told of objects in any order; asked about one pod at a time, in the order admit, extras, reserve, permit, and then bound or
/// unreserve. Costs nothing of note for a pod without words in a cluster without these objects.
pub struct Classes {
    gate: Gate,
    quotas: Quotas,
    cpu: CpuRules,
    load: LoadAware,
    devices: Devices,
    meetings: Meetings,
    words: HashMap<Arc<str>, Arc<PodWords>>,
    /// Pods that are on a node for good: nobody takes back what they hold but their end.
    settled: HashSet<Arc<str>>,
    /// Pods that rules of ours kept off nodes: tried again when objects of ours change.
    refused: BTreeSet<Arc<str>>,
    orders: Vec<Order>,
}

impl Classes {
    /// No objects and no pods yet.
    pub fn new(settings: &Settings) -> Classes {
        let cpu = CpuRules::new(settings.exclusions.clone(), settings.numa, settings.default_bind());
        Classes {
            gate: Gate::default(),
            quotas: Quotas::new(settings.quota),
            cpu,
            load: LoadAware::new(settings.load),
            devices: Devices::default(),
            meetings: Meetings::default(),
            words: HashMap::new(),
            settled: HashSet::new(),
            refused: BTreeSet::new(),
            orders: Vec::new(),
        }
    }

    /// An object came or changed. `snapshot` and `queued` are what is known of pods: they are read when the first quota or metric
    /// comes, for until then no pod is kept.
    pub fn take<'a>(
        &mut self,
        fact: Fact,
        snapshot: &Snapshot,
        queued: impl Iterator<Item = &'a Arc<PodFact>>,
    ) -> Result<(), TreeError> {
        let was_keeping = (self.quotas.is_active(), self.load.is_active());
        match fact {
            Fact::Quota(key, words) => self.quotas.declare(key, *words)?,
            Fact::Gang(words) => self.gate.declare(words),
            Fact::Load(node, load) => self.load.measure(&node, Some(load)),
            Fact::Topology(node, annotations) => self.cpu.set_topology(&node, Some(annotations)),
            Fact::Devices(node, gpus) => self.devices.set_node(&node, Some(gpus)),
        }
        if self.quotas.is_active() && !was_keeping.0 {
            queued.for_each(|pod| self.quotas.set(pod, Some(false)));
            each_placed(snapshot, |pod, _| self.quotas.set(pod, Some(true)));
        }
        if self.load.is_active() && !was_keeping.1 {
            each_placed(snapshot, |pod, node| self.load.put(pod, &node.fact.name, pod.created));
        }
        self.look_again();
        Ok(())
    }

    /// An object went.
    pub fn lose(&mut self, gone: &Gone) {
        match gone {
            Gone::Quota(key) => self.quotas.withdraw(key),
            Gone::Gang(name) => self.gate.withdraw(name),
            Gone::Load(node) => self.load.measure(node, None),
            Gone::Topology(node) => self.cpu.set_topology(node, None),
            Gone::Devices(node) => self.devices.set_node(node, None),
        }
        self.look_again();
    }

    fn look_again(&mut self) {
        self.orders.extend(std::mem::take(&mut self.refused).into_iter().map(Order::Try));
    }

    /// A node came or changed, and what it says.
    pub fn set_node(&mut self, name: &str, notes: Option<NodeNotes>) {
        let thresholds =
            notes.as_ref().and_then(|n| UsageThresholds::of(&n.0.metadata.annotations).ok().flatten());
        self.load.set_thresholds(name, thresholds);
        self.cpu.set_notes(name, notes);
        if self.quotas.is_active() {
            self.quotas.nodes_changed();
        }
    }

    /// A node went: gangs that hold places there fall.
    pub fn drop_node(&mut self, name: &str) {
        self.set_node(name, None);
        self.gate.drop_node(name);
    }

    /// What a pod says now. To be told before [`queued`](Classes::queued) and [`placed`](Classes::placed).
    pub fn learn(&mut self, uid: &Arc<str>, words: Option<PodWords>) {
        if words.is_none() && !self.words.contains_key(uid) {
            return;
        }
        let words = words.map(Arc::new);
        self.cpu.learn(uid, words.as_deref());
        self.load.learn(uid, words.as_deref());
        self.devices.learn(uid, words.as_deref());
        self.meetings.learn(uid, words.as_deref());
        match words {
            Some(words) => self.words.insert(uid.clone(), words),
            None => self.words.remove(uid),
        };
    }

    /// A pod waits for a node, or has changed while it does.
    pub fn queued(&mut self, pod: &PodFact) {
        self.join(pod, false);
        if self.quotas.is_active() {
            self.quotas.set(pod, None);
        }
    }

    /// Its place in its gang.
    fn join(&mut self, pod: &PodFact, is_bound: bool) {
        let words = self.words.get(&pod.uid);
        match words.and_then(|w| Some((w, w.gang.as_deref()?))) {
            Some((words, gang)) => {
                let (words, gang) = (words.gang_words.clone(), gang.to_owned());
                let name = pod.key().to_string();
                self.gate.set(&pod.uid, &name, words.as_ref(), &gang, (pod.created, is_bound));
            }
            None => self.gate.remove(&pod.uid),
        }
    }

    /// A pod is seen on its node, whoever bound it: it holds what its annotations say.
    pub fn placed(&mut self, pod: &PodFact) {
        let Some(node) = &pod.node else { return };
        self.join(pod, true);
        self.refused.remove(&pod.uid);
        let mut is_kept = self.quotas.is_active() || self.load.is_active();
        if let Some(words) = self.words.get(&pod.uid).cloned() {
            is_kept = true;
            self.cpu.hold(pod, node, &words.cpu_given);
            if !words.devices_given.is_empty() {
                self.devices.hold(&pod.uid, node, &words.devices_given);
            }
            self.meetings.put(pod, node);
        }
        if self.quotas.is_active() {
            self.quotas.set(pod, Some(true));
        }
        self.load.put(pod, node, pod.created);
        if is_kept {
            self.settled.insert(pod.uid.clone());
        }
    }

    /// A pod is gone, or has ended, or is on its way out without a node.
    pub fn forget(&mut self, uid: &str) {
        self.gate.remove(uid);
        self.cpu.forget(uid);
        self.devices.forget(uid);
        self.meetings.forget(uid);
        self.load.forget(uid);
        if self.quotas.is_active() {
            self.quotas.remove(uid);
        }
        self.words.remove(uid);
        self.settled.remove(uid);
        self.refused.remove(uid);
    }

    /// Whether a pod may be tried now. What it is told follows Koordinator's words.
    pub fn admit(&mut self, pod: &PodFact, snapshot: &Snapshot, now: Time) -> Result<(), Held> {
        self.load.set_now(now);
        if !self.refused.is_empty() {
            self.refused.remove(&pod.uid);
        }
        self.gate.admit(&pod.uid)?;
        let wrong = self.words.get(&pod.uid).and_then(|w| w.unreadable.as_ref());
        let held = match wrong {
            Some(wrong) => Err(Held::until_told(format!("cannot read {wrong}").into())),
            None if self.quotas.is_active() => self.quotas.admit(pod, snapshot),
            None => Ok(()),
        };
        if let Err(held) = &held {
            self.gate.refused(&pod.uid, &pod.name, &held.reason);
        }
        held
    }

    /// Rules beside the built-in ones; each says itself whom it concerns.
    pub fn extras(&self) -> Vec<&dyn Extra> {
        vec![&self.cpu, &self.devices, &self.meetings, &self.load]
    }

    /// No node did, and why.
    pub fn refused(&mut self, pod: &PodFact, refusal: &Refusal) {
        let ours = |rule: &str| self.extras().iter().any(|e| e.name() == rule);
        if refusal.groups.iter().any(|g| ours(g.rule)) {
            self.refused.insert(pod.uid.clone());
        }
        if self.gate.knows(&pod.uid) {
            self.gate.refused(&pod.uid, &pod.name, &refusal.message());
        }
    }

    /// A node was chosen, at the time of the last [`admit`](Classes::admit): takes CPUs, devices and quota. What is to be written onto the pod with its node.
    ///
    /// # Errors
    /// When what the rules promised is not there any more; what was taken until then is given back by
    /// [`unreserve`](Classes::unreserve).
    pub fn reserve(&mut self, pod: &PodFact, node: &str, snapshot: &Snapshot) -> Result<Annotations, Held> {
        if self.quotas.is_active() {
            self.quotas.set_placed(&pod.uid, true);
        }
        let now = self.load.now();
        self.load.put(pod, node, now);
        self.meetings.put(pod, node);
        let mut written = Annotations::new();
        let cpus = self.cpu.reserve(pod, node).map_err(|why| self.lost(pod, &why.to_string()))?;
        written.extend(cpus.map(|text| (names::RESOURCE_STATUS.to_owned(), text)));
        if let Some((_, info)) = snapshot.find(node) {
            let devices = self.devices.reserve(pod, info).map_err(|why| self.lost(pod, why))?;
            written.extend(devices.map(|text| (names::DEVICE_ALLOCATED.to_owned(), text)));
        }
        Ok(written)
    }

    /// What was promised is gone: worth another try as soon as anything changes.
    fn lost(&mut self, pod: &PodFact, why: &str) -> Held {
        self.gate.refused(&pod.uid, &pod.name, why);
        let wake = Hints::NODE_ADDED | Hints::NODE_ROOM | Hints::POD_REMOVED | Hints::POD_CHANGED;
        Held { reason: why.into(), wake }
    }

    /// What the pod needs is reserved: whether it may be bound.
    pub fn permit(&mut self, pod: &PodFact, node: &str, now: Time) -> Permit {
        self.gate.permit(&pod.uid, node, now)
    }

    /// The pod is not bound after all: gives back what was reserved.
    pub fn unreserve(&mut self, pod: &PodFact) {
        self.gate.unreserve(&pod.uid);
        if self.settled.contains(&pod.uid) {
            return;
        }
        self.cpu.release(&pod.uid);
        self.devices.release(&pod.uid);
        self.meetings.take(&pod.uid);
        self.load.take(&pod.uid);
        if self.quotas.is_active() {
            self.quotas.set_placed(&pod.uid, false);
        }
    }

    /// The server has taken the binding.
    pub fn bound(&mut self, uid: &str) {
        self.gate.bound(uid);
    }

    /// What is to be done to other pods, since last asked; gangs that have waited too long give up by then.
    pub fn orders(&mut self, now: Time) -> Vec<Order> {
        let mut orders = self.gate.orders(now);
        orders.append(&mut self.orders);
        orders.extend(self.quotas.orders());
        orders
    }

    /// What is held, as sorted lines: CPUs, devices, what quotas use, how many of each gang are bound. Equal states, equal lines.
    pub fn picture(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for ((node, uid), holder) in self.cpu.holdings() {
            lines.push(format!("cpu {node} {uid}: {holder:?}"));
        }
        lines.extend(self.devices.lines());
        lines.extend(self.meetings.lines());
        lines.extend(self.quotas.lines());
        let gangs = self.gate.gangs();
        for name in gangs.names() {
            let bound = gangs.members_of(name).filter(|(_, m)| m.state == State::Bound).count();
            lines.push(format!("gang {name}: {bound} bound, started {}", gangs.has_started(name)));
        }
        lines
    }
}

fn each_placed(snapshot: &Snapshot, mut with: impl FnMut(&PodFact, &NodeInfo)) {
    for (_, node) in snapshot.nodes() {
        node.facts().for_each(|pod| with(pod, node));
    }
}
