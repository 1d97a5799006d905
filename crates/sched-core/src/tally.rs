//! Counts of pods per node by what they match or carry, kept up to date pod by pod, so that no cycle walks over all pods.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::{Clause, NodeFact, PodFact, Slot, Term};

/// Which pods are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Pods of one controller that are not terminating.
    Owner(Arc<str>),
    /// Pods of a clause that are not terminating.
    Living(Clause),
    /// Pods that match all clauses, terminating ones included.
    All(Vec<Clause>),
}

impl Group {
    /// Whether the pod is counted.
    pub fn counts(&self, pod: &PodFact, namespaces: &BTreeMap<String, BTreeMap<String, String>>) -> bool {
        let matches = |c: &Clause| c.matches(&pod.key.namespace, &pod.labels, namespaces);
        match self {
            Group::Owner(uid) => !pod.terminating && pod.owner.as_ref() == Some(uid),
            Group::Living(clause) => !pod.terminating && matches(clause),
            Group::All(clauses) => clauses.iter().all(matches),
        }
    }

    /// Whether it depends on the labels of namespaces.
    pub(crate) fn reads_namespaces(&self) -> bool {
        match self {
            Group::Owner(_) => false,
            Group::Living(c) => c.namespaces.selector.is_some(),
            Group::All(list) => list.iter().any(|c| c.namespaces.selector.is_some()),
        }
    }
}

/// How strongly a term pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pull {
    /// Required affinity.
    MustNear,
    /// Required anti-affinity.
    MustApart,
    /// Preference: above zero towards, below zero away.
    Inclined(i64),
}

/// A term that placed pods carry: it concerns pods that come later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Carried {
    /// How strongly.
    pub pull: Pull,
    /// Towards, or away from, what.
    pub term: Term,
}

/// Number of pods per node; nodes without any are left out.
pub type Counts = BTreeMap<Slot, u32>;

pub(crate) fn bump(counts: &mut Counts, slot: Slot, up: bool) {
    let count = counts.entry(slot).or_default();
    if up {
        *count += 1;
        return;
    }
    *count = count.checked_sub(1).expect("a pod is taken from where it was counted");
    if *count == 0 {
        counts.remove(&slot);
    }
}

/// The terms a pod carries.
pub(crate) fn carried_by(pod: &PodFact) -> impl Iterator<Item = Carried> + '_ {
    let demand = &pod.demand;
    let near = demand.near.iter().map(|t| Carried { pull: Pull::MustNear, term: t.clone() });
    let apart = demand.apart.iter().map(|t| Carried { pull: Pull::MustApart, term: t.clone() });
    let wishes = demand.inclined.iter();
    let inclined = wishes.map(|w| Carried { pull: Pull::Inclined(w.weight), term: w.term.clone() });
    near.chain(apart).chain(inclined)
}

/// The domains of one topology key: which value each node has, as a small number.
#[derive(Clone, Debug, Default)]
pub struct Column {
    ids: HashMap<String, u32>,
    /// Domain plus one by slot; zero when the node has no such label.
    of: Vec<u32>,
}

impl Column {
    /// The domain of a node, below [`Column::domains`].
    pub fn domain(&self, slot: Slot) -> Option<usize> {
        self.of.get(slot.index()).and_then(|d| d.checked_sub(1)).map(|d| d as usize)
    }

    /// One more than the greatest domain number; not all need be in use.
    pub fn domains(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn set(&mut self, slot: Slot, value: Option<&String>) {
        let id = value.map_or(0, |v| match self.ids.get(v) {
            Some(id) => *id,
            None => {
                let id = u32::try_from(self.ids.len() + 1).expect("fewer domains than nodes ever seen");
                self.ids.insert(v.clone(), id);
                id
            }
        });
        if self.of.len() <= slot.index() {
            self.of.resize(slot.index() + 1, 0);
        }
        self.of[slot.index()] = id;
    }

    /// Whether so many values have gone that it should be built anew.
    pub(crate) fn is_worn(&self) -> bool {
        self.ids.len() > 2 * self.of.len() + 1024
    }

    pub(crate) fn build<'a>(key: &str, nodes: impl Iterator<Item = (Slot, &'a NodeFact)>) -> Column {
        let mut column = Column::default();
        for (slot, node) in nodes {
            column.set(slot, node.labels.get(key));
        }
        column
    }
}
