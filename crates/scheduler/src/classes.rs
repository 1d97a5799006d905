//! Gangs, quotas, CPUs, load and devices as phases of this scheduler: [`sched_classes`] in the words of [`Steps`].

use std::sync::Arc;

use sched_classes::{Classes, Held, Order, Settings};
use sched_core::{Placement, PodFact, Queue, Reason, Refusal, Snapshot};
use sched_plugins::Extra;
use stdx::Time;

use crate::steps::{Annotations, Call, News, Permit, Stay, Steps};

/// The phases of classes.
pub(crate) struct ClassSteps(pub(crate) Classes);

impl ClassSteps {
    pub(crate) fn new(settings: &Settings) -> ClassSteps {
        ClassSteps(Classes::new(settings))
    }
}

fn stay(held: Held) -> Stay {
    Stay { reason: Reason::Made(held.reason), wake: held.wake }
}

fn call(order: Order) -> Call {
    match order {
        Order::Release(uid) => Call::Release(uid),
        Order::GiveBack(uid, held) => Call::GiveBack(uid, stay(held)),
        Order::Try(uid) => Call::Try(uid),
    }
}

impl Steps for ClassSteps {
    fn admit(&mut self, pod: &Arc<PodFact>, snapshot: &Snapshot, now: Time) -> Result<(), Stay> {
        self.0.admit(pod, snapshot, now).map_err(stay)
    }

    fn extras(&self) -> Vec<&dyn Extra> {
        self.0.extras()
    }

    fn refused(&mut self, pod: &Arc<PodFact>, why: &Refusal) {
        self.0.refused(pod, why);
    }

    fn reserve(
        &mut self,
        pod: &Arc<PodFact>,
        to: &Placement,
        snapshot: &Snapshot,
    ) -> Result<Annotations, Stay> {
        self.0.reserve(pod, &to.node, snapshot).map_err(stay)
    }

    fn permit(&mut self, pod: &Arc<PodFact>, to: &Placement, now: Time) -> Permit {
        self.0.permit(pod, &to.node, now)
    }

    fn unreserve(&mut self, pod: &Arc<PodFact>, _: &str) {
        self.0.unreserve(pod);
    }

    fn bound(&mut self, pod: &Arc<PodFact>, _: &str) {
        self.0.bound(&pod.uid);
    }

    fn placed(&mut self, pod: &Arc<PodFact>) {
        self.0.placed(pod);
    }

    fn queued(&mut self, pod: &Arc<PodFact>) {
        self.0.queued(pod);
    }

    fn learn(&mut self, news: News, snapshot: &Snapshot, queue: &Queue) {
        match news {
            News::Pod(uid, words) => self.0.learn(&uid, words.map(|w| *w)),
            News::Node(name, notes) => self.0.set_node(&name, notes.map(|n| *n)),
            News::NodeGone(name) => self.0.drop_node(&name),
            News::Fact(fact) => {
                if let Err(error) = self.0.take(*fact, snapshot, queue.pods()) {
                    tracing::warn!(%error, "ElasticQuota not taken: what was known of it before counts");
                }
            }
            News::Gone(gone) => self.0.lose(&gone),
        }
    }

    fn forget(&mut self, uid: &str) {
        self.0.forget(uid);
    }

    #[cfg(test)]
    fn picture(&mut self) -> Vec<String> {
        self.0.picture()
    }

    fn calls(&mut self, now: Time) -> Vec<Call> {
        self.0.orders(now).into_iter().map(call).collect()
    }
}

#[cfg(test)]
mod tests;
