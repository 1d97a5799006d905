//! Pods that wait for room on a node: a pod of at most their priority must fit beside them as well as without them.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched_core::{Nominations, PodFact, Rejection, Slot, Snapshot};

use super::class::Class;
use super::explain::Inquiry;
use super::volumes::Wanted;
use super::{Extra, wide};

/// Nodes that do not do beside those who wait for room there: the number of the rule that is against it, and its words.
pub(crate) type Barred = BTreeMap<Slot, (usize, Rejection)>;

/// What nobody is barred from.
pub(crate) static NOWHERE: Barred = Barred::new();

/// The nodes that the pod must leave to those who wait there. The snapshot is as before when this returns.
pub(crate) fn barred(
    snapshot: &mut Snapshot,
    pod: &PodFact,
    class: &mut Class,
    extras: &[&dyn Extra],
    beside: &Nominations,
) -> Barred {
    let mut out = Barred::new();
    for node in beside.nodes_ahead(pod) {
        let Some((slot, _)) = snapshot.find(node) else { continue };
        let ahead = beside.ahead(node, pod);
        let verdict = with(snapshot, node, &ahead, |snapshot| verdict(snapshot, pod, class, extras, slot));
        if let Some(against) = verdict {
            out.insert(slot, against);
        }
    }
    out
}

/// Answers a question as if these pods were on the node.
pub(crate) fn with<T>(
    snapshot: &mut Snapshot,
    node: &Arc<str>,
    pods: &[Arc<PodFact>],
    ask: impl FnOnce(&mut Snapshot) -> T,
) -> T {
    // One that is placed by now is counted already.
    let laid: Vec<&Arc<PodFact>> = pods.iter().filter(|p| snapshot.place_of(&p.uid).is_none()).collect();
    for pod in &laid {
        snapshot.lay((*pod).clone(), node);
    }
    // Their terms may speak of labels that nobody asked for before.
    snapshot.settle();
    let answer = ask(snapshot);
    for pod in laid {
        snapshot.lift(&pod.uid);
    }
    answer
}

/// What is against one node as things are, extra rules included.
pub(crate) fn verdict(
    snapshot: &Snapshot,
    pod: &PodFact,
    class: &mut Class,
    extras: &[&dyn Extra],
    slot: Slot,
) -> Option<(usize, Rejection)> {
    class.follow(snapshot);
    let filters = wide::filters(snapshot, class);
    // What is against all nodes at once is told of by whoever looks at them all.
    let wanted = Wanted::of(snapshot, pod).ok().flatten();
    Inquiry { snapshot, class, filters: &filters, extras, pod, barred: &NOWHERE, wanted: wanted.as_ref() }
        .verdict(slot)
}
