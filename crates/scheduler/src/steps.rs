//! What others have to say about a pod on its way: before it is decided about, once a node is chosen, and until it is bound.
//!
//! ```text
//! pop -> admit -> decide (with extras) -> reserve -> permit -> bind -> bound
//!          |           |                     |          |        |
//!        refused     refused              refused     waits    unreserve
//!                                                       |--release--> bind
//!                                                       `--give back, deadline--> unreserve
//! ```
//!
//! Whoever implements [`Steps`] owns its state and is asked by the one task that owns the core: no locks, no effects. What it
//! wants done to other pods than the one it is asked about (a gang starts or gives up as a whole) it says in
//! [`calls`](Steps::calls), which are carried out after every question.

use std::sync::Arc;

pub(crate) use sched_classes::{Annotations, Permit};
use sched_classes::{Fact, Gone, NodeNotes, PodWords};
use sched_core::{Hints, Placement, PodFact, Queue, Reason, Refusal, Snapshot};
use sched_plugins::Extra;
use stdx::Time;

/// Why a pod does not go on.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    /// The sentence people read, without its end.
    pub(crate) reason: Reason,
    /// Changes after which it is tried again; beside them [`Call::Try`] and five minutes do it.
    pub(crate) wake: Hints,
}

/// Something to be done to pods that were not asked about.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// The pod waits no more: it is bound now. Nothing happens when it does not wait.
    Release(Arc<str>),
    /// The pod that waits gives its room back and goes into the queue. Nothing happens when it does not wait.
    GiveBack(Arc<str>, Stay),
    /// The refused pod is tried again as soon as its pause allows.
    Try(Arc<str>),
}

/// Something that is told beside the built-in facts.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// What a pod says; comes before the pod is queued or placed.
    Pod(Arc<str>, Option<Box<PodWords>>),
    /// A node came or changed, and what it says.
    Node(Arc<str>, Option<Box<NodeNotes>>),
    /// A node went.
    NodeGone(String),
    /// An object of an optional kind came or changed.
    Fact(Box<Fact>),
    /// An object of an optional kind went.
    Gone(Gone),
}

/// The phases beside the decision itself. The default does nothing: every pod goes straight from its decision to its bind.
pub(crate) trait Steps: Send {
    /// Before anything is looked at: whether the pod may be tried at all.
    fn admit(&mut self, _pod: &Arc<PodFact>, _snapshot: &Snapshot, _now: Time) -> Result<(), Stay> {
        Ok(())
    }

    /// Rules beside the built-in ones, for this decision.
    fn extras(&self) -> Vec<&dyn Extra> {
        Vec::new()
    }

    /// No node did, and why.
    fn refused(&mut self, _pod: &Arc<PodFact>, _why: &Refusal) {}

    /// A node is chosen; the pod is assumed there already. Takes what the pod gets beside room, and says what is to be
    /// written to the pod with its node.
    fn reserve(&mut self, _pod: &Arc<PodFact>, _to: &Placement, _: &Snapshot) -> Result<Annotations, Stay> {
        Ok(Annotations::new())
    }

    /// What the pod needs is reserved: whether it may be bound.
    fn permit(&mut self, _pod: &Arc<PodFact>, _to: &Placement, _now: Time) -> Permit {
        Permit::Go
    }

    /// The pod is not bound after all: gives back what [`reserve`](Steps::reserve) took. Follows each reservation whose pod
    /// is not bound, the refused one included, once.
    fn unreserve(&mut self, _pod: &Arc<PodFact>, _node: &str) {}

    /// The server has taken the binding.
    fn bound(&mut self, _pod: &Arc<PodFact>, _node: &str) {}

    /// The mirror shows the pod on a node, bound by whomever.
    fn placed(&mut self, _pod: &Arc<PodFact>) {}

    /// The pod came into the queue or changed there.
    fn queued(&mut self, _pod: &Arc<PodFact>) {}

    /// There is news of what the snapshot does not hold. `snapshot` and `queue` are as they were before it.
    fn learn(&mut self, _news: News, _snapshot: &Snapshot, _queue: &Queue) {}

    /// The pod is gone, has ended, or is on its way out without a node.
    fn forget(&mut self, _uid: &str) {}

    /// What is held beside room, as sorted lines: equal states give equal lines.
    #[cfg(test)]
    fn picture(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// What is to be done to other pods, since last asked. Asked after each of the above and at least once a turn.
    fn calls(&mut self, _now: Time) -> Vec<Call> {
        Vec::new()
    }
}

/// No phases beside the decision.
#[cfg(test)]
pub(crate) struct Straight;

#[cfg(test)]
impl Steps for Straight {}
