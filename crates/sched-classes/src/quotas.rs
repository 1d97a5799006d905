//! Quotas at the door: who may start within its quota, and who is asked again when there is room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use api_koord::quota::QuotaWords;
use api_koord::{Amounts, names};
use api_meta::ObjectKey;
use sched_core::{PodFact, Snapshot};
use sched_quota::{Forest, PodFact as Share, Settings, TreeError};
use stdx::Time;

use crate::classes::{Held, Order};

/// All quotas with the pods in them. Knows no pod while there is no quota.
#[derive(Clone, Debug)]
pub(crate) struct Quotas {
    settings: Settings,
    forest: Forest,
    /// Name of each object's quota.
    objects: BTreeMap<ObjectKey, String>,
    /// Pods that were refused, by quota, in the order in which they are asked again.
    waiting: BTreeMap<String, BTreeSet<Turn>>,
    waits: HashMap<Arc<str>, (String, Turn)>,
    /// Pods that have a place, or are to get one.
    placed: HashSet<Arc<str>>,
    /// There may be room where there was none.
    changed: bool,
    /// The nodes have changed since they were summed up.
    stale: bool,
}

/// Highest priority first, then the oldest.
type Turn = (Reverse<i32>, Time, Arc<str>);

impl Quotas {
    pub(crate) fn new(settings: Settings) -> Quotas {
        Quotas {
            settings,
            forest: Forest::new(settings, Amounts::default()),
            objects: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waits: HashMap::new(),
            placed: HashSet::new(),
            changed: false,
            stale: true,
        }
    }

    /// Whether there is any quota.
    pub(crate) fn is_active(&self) -> bool {
        !self.objects.is_empty()
    }

    /// A quota's object is there, or has changed.
    ///
    /// # Errors
    /// When it cannot be where it says: everything is as it was.
    pub(crate) fn declare(&mut self, key: ObjectKey, words: QuotaWords) -> Result<(), TreeError> {
        let name = words.name.clone();
        self.forest.set_quota(words)?;
        self.objects.insert(key, name);
        self.changed = true;
        Ok(())
    }

    /// A quota's object is gone. With the last one everything is forgotten.
    pub(crate) fn withdraw(&mut self, key: &ObjectKey) {
        let Some(name) = self.objects.remove(key) else { return };
        self.forest.remove_quota(&name);
        self.changed = true;
        if !self.is_active() {
            let waiting = std::mem::take(&mut self.waiting);
            *self = Quotas { waiting, changed: true, ..Quotas::new(self.settings) };
        }
    }

    /// A node has changed.
    pub(crate) fn nodes_changed(&mut self) {
        self.stale = true;
        self.changed = true;
    }

    /// A pod is there, or has changed; without a word about its place it has the one it had.
    pub(crate) fn set(&mut self, pod: &PodFact, is_placed: Option<bool>) {
        match is_placed {
            Some(true) => self.placed.insert(pod.uid.clone()),
            Some(false) => self.placed.remove(&pod.uid),
            None => false,
        };
        let is_placed = self.placed.contains(&pod.uid);
        let labels = &pod.kin.labels;
        let share = Share {
            quota: String::new(),
            request: amounts(&pod.demand.requests),
            is_firm: labels.get(names::QUOTA_PREEMPTIBLE).is_some_and(|v| v == "false"),
            priority: pod.demand.priority,
            created: pod.created,
            is_placed,
        };
        self.forest.set_pod(pod.uid.clone(), label_of(pod), &pod.kin.namespace, share);
        if is_placed {
            self.stop_waiting(&pod.uid);
        }
        self.changed = true;
    }

    /// A pod has got a place, or lost the one it was to get.
    pub(crate) fn set_placed(&mut self, uid: &str, is_placed: bool) {
        if is_placed {
            self.placed.insert(uid.into());
        } else {
            self.placed.remove(uid);
        }
        self.forest.set_placed(uid, is_placed);
        self.changed |= !is_placed;
    }

    /// A pod is gone.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.forest.remove_pod(uid);
        self.placed.remove(uid);
        self.stop_waiting(uid);
        self.changed = true;
    }

    fn stop_waiting(&mut self, uid: &str) {
        let Some((quota, turn)) = self.waits.remove(uid) else { return };
        if let Some(turns) = self.waiting.get_mut(&quota) {
            turns.remove(&turn);
            if turns.is_empty() {
                self.waiting.remove(&quota);
            }
        }
    }

    /// Whether a pod may start now. Costs the depth of its quota.
    pub(crate) fn admit(&mut self, pod: &PodFact, snapshot: &Snapshot) -> Result<(), Held> {
        if std::mem::take(&mut self.stale) {
            let mut total = Amounts::default();
            snapshot.nodes().for_each(|(_, node)| total.add(&amounts(&node.fact.allocatable)));
            self.forest.set_cluster(total);
        }
        self.stop_waiting(&pod.uid);
        let Err(why) = self.forest.admit(&pod.uid) else {
            // Who comes next is asked when this one has taken its part.
            self.changed = true;
            return Ok(());
        };
        let quota = self.forest.quota_of(label_of(pod), &pod.kin.namespace).to_owned();
        let turn = (Reverse(pod.demand.priority), pod.created, pod.uid.clone());
        self.waiting.entry(quota.clone()).or_default().insert(turn.clone());
        self.waits.insert(pod.uid.clone(), (quota, turn));
        Err(Held::until_told(why.to_string().into()))
    }

    /// Of each quota with room again, the first that waits.
    pub(crate) fn orders(&mut self) -> Vec<Order> {
        if !std::mem::take(&mut self.changed) || self.waiting.is_empty() {
            return Vec::new();
        }
        if !self.is_active() {
            self.waits.clear();
            let all = std::mem::take(&mut self.waiting).into_values().flatten();
            return all.map(|(.., uid)| Order::Try(uid)).collect();
        }
        let firsts = self.waiting.values().filter_map(|turns| turns.first());
        let firsts: Vec<Arc<str>> = firsts.map(|(.., uid)| uid.clone()).collect();
        let mut orders = Vec::new();
        for uid in firsts {
            // Before the nodes are summed up anew nobody knows.
            if self.stale || self.forest.admit(&uid).is_ok() {
                orders.push(Order::Try(uid));
            }
        }
        orders
    }

    /// What each quota uses, as lines.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        let names: BTreeSet<String> = self.objects.values().cloned().collect();
        let mut lines = Vec::new();
        for name in names {
            let Some(tree) = self.forest.tree_of(&name) else { continue };
            let standing = tree.standing(&name).unwrap_or_default();
            lines.push(format!("quota {name}: used {}, firm {}", standing.used, standing.firm_used));
        }
        lines
    }
}

fn label_of(pod: &PodFact) -> Option<&str> {
    pod.kin.labels.get(names::QUOTA_NAME).map(String::as_str).filter(|n| !n.is_empty())
}

/// The same amounts by the names on the wire.
fn amounts(of: &sched_core::Amounts) -> Amounts {
    let native = [("cpu", of.cpu_milli), ("memory", of.memory), ("ephemeral-storage", of.ephemeral_storage)];
    let mut all = Amounts::from(native);
    all.0.extend(of.extended.iter().map(|(name, amount)| (name.to_string(), *amount)));
    all.drop_zeros();
    all
}
