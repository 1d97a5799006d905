//! Changes on their way from the mirrors to the core.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use api_client::Delta;
use api_core::{Namespace, Node, Pod};
use api_meta::ObjectKey;
use sched_core::{Interner, NodeFact, PodFact};
use tokio::sync::Notify;

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
}

/// Filled by the mirrors, emptied by the core. It holds at most what one mirror hands over in one go: the core empties it
/// whenever the mirrors pause.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    changes: Vec<Change>,
    interner: Interner,
    synced: [bool; 3],
}

/// The mirrors, as indices.
#[derive(Clone, Copy)]
enum Mirror {
    Pods,
    Nodes,
    Namespaces,
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a change of a pod.
    pub(crate) fn pod(&self, delta: Delta<Pod>) -> bool {
        self.take(
            Mirror::Pods,
            delta,
            |state, pod: Pod| {
                let finished = pod.is_finished();
                Change::Pod { fact: state.interner.project(&pod), finished }
            },
            Change::PodGone,
        )
    }

    /// Takes a change of a node.
    pub(crate) fn node(&self, delta: Delta<Node>) -> bool {
        self.take(
            Mirror::Nodes,
            delta,
            |_, node: Node| Change::Node(NodeFact::of(&node)),
            |k| Change::NodeGone(k.name),
        )
    }

    /// Takes a change of a namespace.
    pub(crate) fn namespace(&self, delta: Delta<Namespace>) -> bool {
        let applied = |_: &mut State, ns: Namespace| Change::Namespace(ns.metadata.name, ns.metadata.labels);
        self.take(Mirror::Namespaces, delta, applied, |k| Change::NamespaceGone(k.name))
    }

    fn take<T>(
        &self,
        mirror: Mirror,
        delta: Delta<T>,
        applied: impl FnOnce(&mut State, T) -> Change,
        gone: impl FnOnce(ObjectKey) -> Change,
    ) -> bool {
        let mut state = self.state();
        match delta {
            Delta::Applied(object) => {
                let change = applied(&mut state, object);
                state.changes.push(change);
            }
            Delta::Deleted(key) => state.changes.push(gone(key)),
            Delta::Synced(_) => state.synced[mirror as usize] = true,
        }
        drop(state);
        self.filled.notify_one();
        true
    }

    /// The changes since the last time, in order.
    pub(crate) fn drain(&self) -> Vec<Change> {
        std::mem::take(&mut self.state().changes)
    }

    /// Whether every mirror has been filled once.
    pub(crate) fn is_synced(&self) -> bool {
        self.state().synced.iter().all(|s| *s)
    }

    /// The projection of a pod that came by another way.
    pub(crate) fn project(&self, pod: &Pod) -> PodFact {
        self.state().interner.project(pod)
    }

    /// Waits until something came since the last wait.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }
}
