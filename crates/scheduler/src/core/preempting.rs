//! Preempt: room that is made for a pod by sending less important ones away, and nodes that are kept for those who wait for it.

use std::sync::Arc;

use sched_core::{Hints, PodFact, Preempting, Reason, Refusal};
use sched_plugins::Preemption;
use stdx::Time;

use super::{Core, Outcome, engine_of};
use crate::evictor::Evicted;
use crate::preemption::{self, Eviction};
use crate::steps::Stay;

impl Core {
    /// Takes over what the pod says of the node it waits for, if that has changed: our own word may be newer than the mirror's.
    pub(super) fn follow_nomination(&mut self, pod: &Arc<PodFact>) -> Hints {
        let before = self.queue.pod(&pod.uid).and_then(|p| p.nominated().cloned());
        if self.snapshot.place_of(&pod.uid).is_some() || before.as_ref() == pod.nominated() {
            return Hints::NONE;
        }
        match pod.nominated() {
            Some(node) => {
                self.preemptor.nominations.set(pod.clone(), node.clone());
                Hints::NONE
            }
            None => self.withdraw(&pod.uid),
        }
    }

    /// The pod waits for no room any more; to others that is as if it had gone.
    pub(super) fn withdraw(&mut self, uid: &str) -> Hints {
        if self.preemptor.nominations.remove(uid) { Hints::POD_REMOVED } else { Hints::NONE }
    }

    /// Preempt: looks whether room can be made for a refused pod by sending less important ones away.
    pub(super) fn make_room(&mut self, pod: Arc<PodFact>, mut refusal: Refusal, now: Time) {
        // Only where less important pods are in the way of nothing else; and the counts say so without a look at any node.
        if refusal.never_preempts || refusal.groups.iter().all(|group| group.outranked == 0) {
            self.give_up_nomination(&pod);
            return self.refuse(pod, refusal, now);
        }
        let engine = engine_of(&mut self.engines, &pod);
        let (beside, budgets) = (&self.preemptor.nominations, self.preemptor.budgets());
        let rules = (&self.steps.extras()[..], beside);
        match engine.preempt(&mut self.snapshot, &pod, rules, &budgets) {
            Err(futile) => {
                if futile != sched_plugins::Futile::Underway {
                    self.give_up_nomination(&pod);
                }
                refusal.preempting = Some(preemption::words(futile));
                self.refuse(pod, refusal, now);
            }
            Ok(plan) => match self.preemptor.ask(&pod, &plan, now) {
                Ok(()) => self.send_away(pod, plan, refusal, now),
                Err(held) => {
                    refusal.preempting = Some(Preempting::Not(held.why));
                    self.queue.refuse_until(&pod.uid, refusal.wake, now + held.retry_after, now);
                    self.outcomes.push_back(Outcome::Refused(pod, refusal));
                }
            },
        }
    }

    /// The pod waits for the node from now on, and its victims go.
    pub(super) fn send_away(&mut self, pod: Arc<PodFact>, plan: Preemption, mut refusal: Refusal, now: Time) {
        let displaced = self.preemptor.displace(&pod, &plan.node);
        for displaced in displaced {
            self.queue.activate(&displaced.uid, now);
            self.outcomes.push_back(Outcome::Nominated(displaced, None));
        }
        self.preemptor.nominations.set(pod.clone(), plan.node.clone());
        let (mut victims, mut unbound) = (Vec::new(), Vec::new());
        for victim in plan.victims.into_iter().filter(|v| !v.terminating) {
            // Nobody else knows yet of a pod that waits at permit: it just gives its place back.
            match self.unlist(&victim.uid) {
                Some(bind) => {
                    let reason = Reason::Fixed("preempted");
                    self.give_back(bind, Stay { reason, wake: Hints::POD_REMOVED | Hints::NODE_ADDED }, now);
                    // It was nowhere yet: what was granted for it disturbs nobody.
                    self.preemptor.settle(&victim, &pod, reconcile::Outcome::Undone, now);
                    unbound.push(victim);
                }
                None => victims.push(victim),
            }
        }
        refusal.preempting = Some(Preempting::Silent);
        if victims.is_empty() {
            self.queue.refuse(&pod.uid, refusal.wake, now);
            if !unbound.is_empty() {
                self.queue.activate(&pod.uid, now);
            }
        } else {
            // Until they are told to go the pod is not tried again: it would find others to send away.
            self.making_room.insert(pod.uid.clone(), (refusal.wake, self.snapshot.generation()));
        }
        self.outcomes.push_back(Outcome::Refused(pod.clone(), refusal));
        self.outcomes.push_back(Outcome::Nominated(pod.clone(), Some(plan.node.clone())));
        self.outcomes.push_back(Outcome::Evict(Eviction {
            preemptor: pod,
            node: plan.node,
            victims,
            unbound,
        }));
    }

    /// The victims have been told to go, or could not be: the pod waits for their room, or tries once more.
    pub(crate) fn evicted(&mut self, evicted: &Evicted, now: Time) {
        let pod = &evicted.eviction.preemptor;
        for (victim, outcome) in evicted.eviction.victims.iter().zip(&evicted.outcomes) {
            self.preemptor.settle(victim, pod, *outcome, now);
        }
        let Some((wake, since)) = self.making_room.remove(&pod.uid) else { return };
        if !evicted.is_whole() {
            return self.queue.retry(&pod.uid, now);
        }
        self.queue.refuse(&pod.uid, wake, now);
        if self.snapshot.happened_since(since, wake) {
            self.queue.activate(&pod.uid, now);
        }
    }

    /// No room can be made where the pod waits for it: it keeps nobody from that node any more.
    pub(super) fn give_up_nomination(&mut self, pod: &Arc<PodFact>) {
        if self.preemptor.nominations.remove(&pod.uid) || pod.nominated().is_some() {
            self.outcomes.push_back(Outcome::Nominated(pod.clone(), None));
        }
    }
}
