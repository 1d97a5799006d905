//! CPUs of one's own: each node's threads and who holds them, asked and told as one more rule of the scheduler.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api_koord::apart::{Exclusions, Identity};
use api_koord::cpu::{
    BindPolicy, ExclusivePolicy, NodeBindPolicy, NodeWords, NumaResources, NumaStrategy, ResourceStatus,
};
use api_koord::{Qos, Ratio, names};
use sched_core::{NodeInfo, PodFact, Reason, Rejection, Resolvable, Slot};
use sched_cpu::{Ask, CpuNode, CpuSet, Holder, Refusal, Wants};
use sched_plugins::Extra;
use serde_json::json;
use stdx::Time;

use crate::words::{NodeNotes, PodWords};

/// Most kinds of wants whose answers are remembered; beyond it all are forgotten.
const KINDS_MAX: usize = 64;

/// The rule: gives pods CPUs by Koordinator's protocol and our rules about who meets on a core. Says nothing about pods that want no
/// CPUs of their own, unless a node binds everybody's or counts its CPUs more than once.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuRules {
    exclusions: Exclusions,
    strategy: NumaStrategy,
    bind: BindPolicy,
    nodes: HashMap<Arc<str>, Site>,
    wants: HashMap<Arc<str>, Arc<Wants>>,
    held: HashMap<Arc<str>, Held>,
    /// How many nodes have a word about pods that say nothing.
    strict: usize,
    /// Answers by wants and node; each holds while the node is at that version.
    answers: RefCell<HashMap<Arc<Wants>, Answers>>,
    version: u64,
}

/// A score or a refusal by node, with the version at which it was given.
type Answers = HashMap<Arc<str>, (u64, Result<i64, Refusal>)>;

/// One node.
#[derive(Clone, Debug, Default)]
struct Site {
    topology: Option<BTreeMap<String, String>>,
    notes: Option<NodeNotes>,
    /// Its CPUs; nothing while they are not known, or nobody can read them.
    cpus: Option<CpuNode>,
    ratio: Option<Ratio>,
    pods: BTreeSet<Arc<str>>,
    version: u64,
}

/// What a pod holds, and where.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    node: Arc<str>,
    name: String,
    wants: Arc<Wants>,
    cpus: CpuSet,
    pooled: Option<(i32, i64)>,
    priority: i32,
    created: Time,
}

impl Held {
    /// As the node sees it: by what the pod asks there, else by what it says.
    fn holder(&self, node: &CpuNode) -> Holder {
        let wants = &self.wants;
        let mut holder = match node.resolve(wants) {
            Ok(Some(ask)) if !self.cpus.is_empty() => Holder::of(&self.name, &ask, self.cpus),
            _ => Holder {
                cpus: self.cpus,
                exclusive: wants.exclusive,
                owned: wants.owned,
                stacking: wants.stacking.unwrap_or_default(),
                one_socket: wants.sockets == api_koord::apart::Sockets::One,
                load: wants.load,
                identity: wants.identity.clone(),
                ..Holder::floating(&self.name, wants.qos, self.pooled)
            },
        };
        holder.pooled = self.pooled;
        holder.priority = self.priority;
        holder.created = self.created;
        holder
    }
}

impl Site {
    /// Reads its words anew and puts everybody back. What cannot be read is as if the node's CPUs were not known.
    fn rebuild(&mut self, strategy: NumaStrategy, held: &HashMap<Arc<str>, Held>) {
        let nothing = NodeNotes::default();
        let notes = &self.notes.as_ref().unwrap_or(&nothing).0;
        let words = |topology| NodeWords::read(notes, topology, strategy).ok();
        let read = self.topology.as_ref().and_then(words).filter(|w| !w.details.is_empty());
        self.cpus = read.and_then(|words| CpuNode::read(&words).ok());
        self.ratio = Ratio::of(&notes.metadata.annotations, "cpu").ok().flatten();
        let Some(cpus) = &mut self.cpus else { return };
        for uid in &self.pods {
            if let Some(held) = held.get(uid) {
                let holder = held.holder(cpus);
                cpus.hold(uid.clone(), holder);
            }
        }
    }

    /// Whether it has a word about pods that say nothing.
    fn is_strict(&self) -> bool {
        self.cpus.as_ref().is_some_and(|c| c.rules().bind != NodeBindPolicy::None || self.ratio.is_some())
    }

    fn is_empty(&self) -> bool {
        self.topology.is_none() && self.notes.is_none() && self.pods.is_empty()
    }
}

impl CpuRules {
    pub(crate) fn new(exclusions: Exclusions, strategy: NumaStrategy, bind: BindPolicy) -> CpuRules {
        CpuRules { exclusions, strategy, bind, ..CpuRules::default() }
    }

    /// What a node's NodeResourceTopology says; nothing: it has none any more.
    pub(crate) fn set_topology(&mut self, node: &str, annotations: Option<BTreeMap<String, String>>) {
        self.change(node, |site| {
            let changes = site.topology != annotations;
            site.topology = annotations;
            changes
        });
    }

    /// What a node says itself; nothing: nothing of ours.
    pub(crate) fn set_notes(&mut self, node: &str, notes: Option<NodeNotes>) {
        if notes.is_none() && !self.nodes.contains_key(node) {
            return;
        }
        self.change(node, |site| {
            let changes = site.notes != notes;
            site.notes = notes;
            changes
        });
    }

    /// Changes a node's words and counts anew what follows from them.
    fn change(&mut self, node: &str, with: impl FnOnce(&mut Site) -> bool) {
        let site = self.nodes.entry(node.into()).or_default();
        let was_strict = usize::from(site.is_strict());
        if with(site) {
            site.rebuild(self.strategy, &self.held);
            self.version += 1;
            site.version = self.version;
        }
        self.strict = self.strict - was_strict + usize::from(site.is_strict());
        if site.is_empty() {
            self.nodes.remove(node);
        }
    }

    /// What a pod says.
    pub(crate) fn learn(&mut self, uid: &Arc<str>, words: Option<&PodWords>) {
        match words.and_then(|w| w.cpu.clone()) {
            Some(wants) => {
                self.wants.insert(uid.clone(), wants);
            }
            None if self.wants.is_empty() => {}
            None => {
                self.wants.remove(uid);
            }
        }
    }

    /// What a pod wants that says nothing, on a node that has a word about it. Best effort is never bound.
    fn unsaid(&self, pod: &PodFact) -> Option<Wants> {
        let label = |key: &str| pod.kin.labels.get(key).filter(|v| !v.is_empty());
        let qos = label(names::QOS).and_then(|text| Qos::parse(text)).unwrap_or(Qos::Ls);
        let application = label(names::APP_NAME).cloned();
        (qos != Qos::Be).then(|| Wants {
            milli: pod.demand.requests.cpu_milli,
            binds: false,
            bind: self.bind,
            required: false,
            exclusive: ExclusivePolicy::None,
            numa: None,
            numa_exclusive: None,
            qos,
            pooled: false,
            stacking: None,
            sockets: Default::default(),
            owned: Default::default(),
            load: None,
            identity: Arc::new(Identity { application, ..Identity::default() }),
        })
    }

    fn wants_of(&self, pod: &PodFact) -> Option<Arc<Wants>> {
        self.wants.get(&pod.uid).cloned().or_else(|| self.unsaid(pod).map(Arc::new))
    }

    /// A pod was given CPUs on a node, by whomever. A pod that holds something there keeps it when it says nothing.
    pub(crate) fn hold(&mut self, pod: &PodFact, node: &str, given: &ResourceStatus) {
        let stays = self.held.get(&pod.uid).is_some_and(|h| *h.node == *node);
        let is_given = !given.cpuset.is_empty() || !given.numa_node_resources.is_empty();
        if !is_given && stays {
            return;
        }
        self.release(&pod.uid);
        let (true, Some(wants)) = (is_given, self.wants_of(pod)) else { return };
        let cpus: CpuSet = given.cpuset.parse().unwrap_or(CpuSet::EMPTY);
        let pooled = given.numa_node_resources.first().filter(|_| cpus.is_empty());
        let pooled = pooled.map(|n| (n.node, api_koord::Amounts::read(&n.resources).get("cpu")));
        self.keep(pod, node, wants, cpus, pooled);
    }

    fn keep(
        &mut self,
        pod: &PodFact,
        node: &str,
        wants: Arc<Wants>,
        cpus: CpuSet,
        pooled: Option<(i32, i64)>,
    ) {
        let node: Arc<str> = node.into();
        let held = Held {
            node: node.clone(),
            name: pod.key().to_string(),
            wants,
            cpus,
            pooled,
            priority: pod.demand.priority,
            created: pod.created,
        };
        let site = self.nodes.entry(node).or_default();
        site.pods.insert(pod.uid.clone());
        if let Some(cpus) = &mut site.cpus {
            let holder = held.holder(cpus);
            cpus.hold(pod.uid.clone(), holder);
        }
        self.version += 1;
        site.version = self.version;
        self.held.insert(pod.uid.clone(), held);
    }

    /// A pod holds no CPUs any more.
    pub(crate) fn release(&mut self, uid: &str) {
        let Some(held) = self.held.remove(uid) else { return };
        let Some(site) = self.nodes.get_mut(&held.node) else { return };
        site.pods.remove(uid);
        if let Some(cpus) = &mut site.cpus {
            cpus.release(uid);
        }
        self.version += 1;
        site.version = self.version;
        if site.is_empty() {
            self.nodes.remove(&held.node);
        }
    }

    /// A pod is gone.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.release(uid);
        self.wants.remove(uid);
    }

    /// What a pod gets on a node. Nothing: no CPUs of its own, and no pool.
    fn choose(&self, site: &Site, wants: &Wants) -> Result<Option<Choice>, Refusal> {
        let Some(cpus) = &site.cpus else {
            return if wants.binds { Err(Refusal::NoTopology) } else { Ok(None) };
        };
        match cpus.resolve(wants)? {
            Some(ask) => {
                let allocation = cpus.allocate(&ask, &self.exclusions)?;
                let status = allocation.status(&ask);
                let score = score(cpus, &ask, allocation.stacked);
                Ok(Some(Choice { cpus: allocation.cpus, pooled: None, status, score }))
            }
            None if wants.pooled && wants.milli > 0 => {
                let node = cpus.pool_for(wants.milli)?;
                let resources = BTreeMap::from([("cpu".to_owned(), json!(format!("{}m", wants.milli)))]);
                let numa_node_resources = vec![NumaResources { node, resources }];
                let status = ResourceStatus { numa_node_resources, ..ResourceStatus::default() };
                let pooled = Some((node, wants.milli));
                Ok(Some(Choice { cpus: CpuSet::EMPTY, pooled, status, score: 0 }))
            }
            None => Ok(None),
        }
    }

    /// The score of a node for these wants, or why it does not do; remembered while nothing changes there.
    fn answer(&self, wants: &Arc<Wants>, node: &NodeInfo) -> Result<i64, Refusal> {
        let Some(site) = self.nodes.get(&*node.fact.name) else {
            return if wants.binds { Err(Refusal::NoTopology) } else { Ok(0) };
        };
        if let (Some(ratio), Some(cpus)) = (site.ratio, &site.cpus) {
            let (allocatable, requested) = (node.fact.allocatable.cpu_milli, node.requested.cpu_milli);
            cpus.fits_amplified(wants, ratio, allocatable, requested)?;
        }
        let mut answers = self.answers.borrow_mut();
        if answers.len() >= KINDS_MAX && !answers.contains_key(wants) {
            answers.clear();
        }
        let by_node = answers.entry(wants.clone()).or_default();
        if let Some((_, answer)) = by_node.get(&*node.fact.name).filter(|(at, _)| *at == site.version) {
            return *answer;
        }
        let answer = self.choose(site, wants).map(|choice| choice.map_or(0, |c| c.score));
        by_node.insert(node.fact.name.clone(), (site.version, answer));
        answer
    }

    /// Takes the CPUs of a pod on a node: what is to be written onto the pod. Nothing: it gets none of its own.
    pub(crate) fn reserve(&mut self, pod: &PodFact, node: &str) -> Result<Option<String>, Refusal> {
        let is_asked = self.wants.contains_key(&pod.uid) || self.strict > 0;
        let Some(wants) = is_asked.then(|| self.wants_of(pod)).flatten() else { return Ok(None) };
        let nothing = Site::default();
        let site = self.nodes.get(node).unwrap_or(&nothing);
        let Some(choice) = self.choose(site, &wants)? else { return Ok(None) };
        let text = serde_json::to_string(&choice.status).expect("numbers and texts are JSON");
        self.keep(pod, node, wants, choice.cpus, choice.pooled);
        Ok(Some(text))
    }

    /// The holders of each node.
    pub(crate) fn holdings(&self) -> BTreeMap<(Arc<str>, Arc<str>), Holder> {
        let mut all = BTreeMap::new();
        for (name, site) in &self.nodes {
            let holders = site.cpus.iter().flat_map(|c| c.holders());
            all.extend(holders.map(|(uid, holder)| ((name.clone(), uid.clone()), holder.clone())));
        }
        all
    }
}

/// What a pod gets.
struct Choice {
    cpus: CpuSet,
    pooled: Option<(i32, i64)>,
    status: ResourceStatus,
    score: i64,
}

/// How good a node is, 0 to 100: the share of its CPUs that stays free, halved as far as the pod is stacked on its own cores though it
/// would rather not be.
fn score(node: &CpuNode, ask: &Ask, stacked: usize) -> i64 {
    let free = i64::from(node.room().least_allocated(ask.cpus));
    if ask.stacking == api_koord::apart::Stacking::Allow {
        return free;
    }
    let share = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    free - free * share(2 * stacked).min(share(ask.cpus)) / share(ask.cpus.max(1)) / 2
}

impl Extra for CpuRules {
    fn name(&self) -> &'static str {
        "NodeNUMAResource"
    }

    fn concerns(&self, pod: &PodFact) -> bool {
        self.strict > 0 || (!self.wants.is_empty() && self.wants.contains_key(&pod.uid))
    }

    fn check(&self, pod: &PodFact, _: Slot, node: &NodeInfo) -> Option<Rejection> {
        let why = self.answer(&self.wants_of(pod)?, node).err()?;
        let by_removing = if why.is_resolvable() { Resolvable::ByRemovingPods } else { Resolvable::No };
        Some(Rejection { reasons: vec![Reason::Made(why.to_string().into())], resolvable: by_removing })
    }

    fn rate(&self, pod: &PodFact, _: Slot, node: &NodeInfo) -> i64 {
        self.wants_of(pod).and_then(|wants| self.answer(&wants, node).ok()).unwrap_or(0)
    }
}
