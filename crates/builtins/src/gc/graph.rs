//! Who owns whom, kept in step with the mirrors; knows what must be judged again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_meta::{ObjectKey, ObjectMeta, OwnerReference, Resource};

use crate::gc::{Address, Ruling, Step, judge};

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";

/// The graph of owners and dependents.
#[derive(Default)]
pub struct Graph {
    nodes: BTreeMap<Arc<str>, Node>,
    /// Dependents by identity of their owner, whether that is known or not.
    dependents: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Owners that a live look did not find.
    absent: BTreeSet<Address>,
    /// Owners whose live look is under way.
    asked: BTreeSet<Address>,
    /// What must be judged.
    dirty: BTreeSet<Arc<str>>,
}

/// An object in the graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub resource: Arc<Resource>,
    pub key: ObjectKey,
    pub revision: u64,
    pub owners: Vec<OwnerReference>,
    pub finalizers: Vec<String>,
    pub is_terminating: bool,
    /// Waits for its blocking dependents to go first.
    pub is_foreground: bool,
    /// Wants its dependents to be let go.
    pub is_orphaning: bool,
}

impl Node {
    fn of(resource: &Arc<Resource>, meta: &ObjectMeta) -> Node {
        let has = |name: &str| meta.finalizers.iter().any(|f| f == name);
        Node {
            resource: resource.clone(),
            key: meta.key(),
            revision: meta.revision(),
            owners: meta.owner_references.clone(),
            finalizers: meta.finalizers.clone(),
            is_terminating: meta.is_terminating(),
            is_foreground: meta.is_terminating() && has(FOREGROUND),
            is_orphaning: meta.is_terminating() && has(ORPHAN),
        }
    }

    /// Where one of its owners is looked for.
    pub(crate) fn address(&self, owner: &OwnerReference) -> Address {
        Address {
            uid: owner.uid.clone(),
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            key: ObjectKey::new(&*self.key.namespace, &*owner.name),
        }
    }
}

impl Graph {
    /// A graph of nothing.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// How many objects it knows.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Takes in a new or changed object.
    pub fn apply(&mut self, resource: &Arc<Resource>, meta: &ObjectMeta) {
        let uid: Arc<str> = meta.uid.as_str().into();
        let new = Node::of(resource, meta);
        let old = self.nodes.insert(uid.clone(), new.clone());
        let changed = match &old {
            None => !new.owners.is_empty() || new.is_terminating,
            Some(old) => {
                old.owners != new.owners
                    || (old.is_terminating, old.is_foreground, old.is_orphaning)
                        != (new.is_terminating, new.is_foreground, new.is_orphaning)
            }
        };
        if !changed {
            return;
        }
        for owner in old.iter().flat_map(|o| &o.owners).filter(|o| new.owners.iter().all(|n| n.uid != o.uid))
        {
            self.cut(&uid, &owner.uid);
        }
        for owner in &new.owners {
            self.dependents.entry(owner.uid.as_str().into()).or_default().insert(uid.clone());
        }
        self.dirty.insert(uid.clone());
        old.iter().for_each(|old| self.touch_owners(old));
        self.touch_owners(&new);
        if new.is_terminating {
            self.touch_dependents(&uid);
        }
    }

    /// Takes an object of a former identity, or of a collection no longer served, out.
    pub fn remove(&mut self, uid: &str) {
        let Some((uid, node)) = self.nodes.remove_entry(uid) else { return };
        self.dirty.remove(&uid);
        for owner in &node.owners {
            self.cut(&uid, &owner.uid);
        }
        self.touch_owners(&node);
        self.touch_dependents(&uid);
    }

    /// Takes in what a live look at an owner has shown.
    pub fn ruled(&mut self, owner: &Address, ruling: Ruling) {
        self.asked.remove(owner);
        match ruling {
            Ruling::Absent => {
                self.absent.insert(owner.clone());
                self.touch_dependents(&owner.uid.as_str().into());
            }
            Ruling::Present | Ruling::Unknown => {}
        }
    }

    /// Judges an object again: an action on it failed, or an owner could not be looked at.
    pub fn again(&mut self, uid: &str) {
        if let Some((uid, _)) = self.nodes.get_key_value(uid) {
            self.dirty.insert(uid.clone());
        }
    }

    /// Judges the dependents of an owner again.
    pub fn again_below(&mut self, owner: &str) {
        self.touch_dependents(&owner.into());
    }

    /// Whether nothing waits to be judged.
    pub fn is_settled(&self) -> bool {
        self.dirty.is_empty()
    }

    /// The next steps, of at most `limit` objects.
    pub fn steps(&mut self, limit: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..limit {
            let Some(uid) = self.dirty.pop_first() else { break };
            let Some(node) = self.nodes.get(&uid) else { continue };
            for step in judge::judge(self, &uid, node) {
                match step {
                    Step::Verify(address) if !self.asked.insert(address.clone()) => {}
                    step => steps.push(step),
                }
            }
        }
        steps
    }

    pub(crate) fn node(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    pub(crate) fn dependents_of(&self, uid: &str) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.nodes.get_key_value(uid))
    }

    pub(crate) fn is_absent(&self, owner: &Address) -> bool {
        self.absent.contains(owner)
    }

    /// An owner that waits for its dependents is judged again when one of them changes.
    fn touch_owners(&mut self, node: &Node) {
        for owner in &node.owners {
            if let Some((uid, owner)) = self.nodes.get_key_value(owner.uid.as_str())
                && (owner.is_foreground || owner.is_orphaning)
            {
                self.dirty.insert(uid.clone());
            }
        }
    }

    fn touch_dependents(&mut self, owner: &Arc<str>) {
        self.dirty.extend(self.dependents.get(owner).into_iter().flatten().cloned());
    }

    fn cut(&mut self, dependent: &Arc<str>, owner: &str) {
        if let Some(all) = self.dependents.get_mut(owner) {
            all.remove(dependent);
            if all.is_empty() {
                self.dependents.remove(owner);
                self.absent.retain(|address| address.uid != owner);
            }
        }
    }
}
