//! Everything the board may show, kept current one object at a time.

use std::collections::{BTreeMap, BTreeSet};

use api_meta::ObjectKey;

use super::facts::{AppFact, EventFact, NodeFact, PodFact};

/// Events kept; the oldest go first.
const EVENTS_MAX: usize = 400;

/// What is seen of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// CafeDeployments.
    pub apps: BTreeMap<ObjectKey, AppFact>,
    /// Pods of any owner.
    pub pods: BTreeMap<ObjectKey, PodFact>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, NodeFact>,
    /// Newest events by their keys.
    pub events: BTreeMap<ObjectKey, EventFact>,
    /// Kinds of which everything has been seen once; of the others, absence means nothing.
    pub known: BTreeSet<Kind>,
}

/// One object as the board keeps it.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A CafeDeployment.
    App(Box<AppFact>),
    /// A pod.
    Pod(Box<PodFact>),
    /// A node.
    Node(NodeFact),
    /// An event.
    Event(EventFact),
}

/// The kinds that the board reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// CafeDeployments.
    App,
    /// Pods.
    Pod,
    /// Nodes.
    Node,
    /// Events.
    Event,
}

impl Observed {
    /// Takes in an object that was added or changed.
    pub fn put(&mut self, key: ObjectKey, fact: Fact) {
        match fact {
            Fact::App(app) => drop(self.apps.insert(key, *app)),
            Fact::Pod(pod) => drop(self.pods.insert(key, *pod)),
            Fact::Node(node) => drop(self.nodes.insert(key.name, node)),
            Fact::Event(event) => self.put_event(key, event),
        }
    }

    /// Forgets an object.
    pub fn remove(&mut self, kind: Kind, key: &ObjectKey) {
        match kind {
            Kind::App => drop(self.apps.remove(key)),
            Kind::Pod => drop(self.pods.remove(key)),
            Kind::Node => drop(self.nodes.remove(&key.name)),
            // An event that the server has let go of has happened all the same.
            Kind::Event => {}
        }
    }

    /// Everything of this kind has been seen once.
    pub fn seen_all(&mut self, kind: Kind) {
        self.known.insert(kind);
    }

    fn put_event(&mut self, key: ObjectKey, event: EventFact) {
        self.events.insert(key, event);
        if self.events.len() > EVENTS_MAX {
            let oldest = self.events.iter().min_by_key(|(_, e)| e.at).map(|(k, _)| k.clone());
            oldest.map(|key| self.events.remove(&key));
        }
    }

    /// Applications by the pod sets that their status names.
    pub(super) fn owners(&self) -> BTreeMap<ObjectKey, &ObjectKey> {
        let mut out = BTreeMap::new();
        for (key, app) in &self.apps {
            for cell in app.release.cells.iter().filter(|c| !c.pod_set.is_empty()) {
                out.insert(ObjectKey::new(&key.namespace, &cell.pod_set), key);
            }
        }
        out
    }

    /// The application that a pod belongs to: the one that its label names, or whose set controls it.
    pub(super) fn app_of(&self, pod: &PodFact, owners: &BTreeMap<ObjectKey, &ObjectKey>) -> Option<&AppFact> {
        let at = |name: &str| ObjectKey::new(&pod.key.namespace, name);
        self.apps.get(&at(&pod.app)).or_else(|| self.apps.get(*owners.get(&at(&pod.set))?))
    }
}
