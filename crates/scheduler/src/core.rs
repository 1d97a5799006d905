//! The state of the scheduler and its only owner: what the mirrors say goes in, decisions come out.
//!
//! A pod on its way passes named phases: Admit, Decide (or Preempt), Reserve, Permit, Volumes, then Bind; what it has taken is given back in
//! [`give_back`](Core::give_back) alone. Everything beside the decision is [`Steps`]'.

mod preempting;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use api_meta::ObjectKey;
use sched_classes::PodWords;
use sched_core::{Decision, Hints, Placement, PodFact, Popped, Queue, Refusal, Snapshot, VolumePlan};
use sched_plugins::{Engine, Profile};
use stdx::Time;

use crate::inbox::Change;
use crate::preemption::{Eviction, Preemptor};
use crate::steps::{Annotations, News, Permit, Stay, Steps};
use crate::storage;

/// A decision to bind, not yet confirmed.
#[derive(Clone, Debug)]
pub(crate) struct Bind {
    /// The pod.
    pub(crate) pod: Arc<PodFact>,
    /// Where it goes.
    pub(crate) placement: Placement,
    /// Written to the pod with its node.
    pub(crate) annotations: Annotations,
    /// What is to be done to its claims and volumes first.
    pub(crate) volumes: VolumePlan,
    /// How often it has been tried.
    pub(crate) attempts: u32,
    /// When it came into the queue.
    pub(crate) since: Time,
}

/// What became of a pod.
pub(crate) enum Outcome {
    /// To be bound.
    Bind(Bind),
    /// Nowhere to go for now.
    Refused(Arc<PodFact>, Refusal),
    /// It waits for room on this node from now on, or for none.
    Nominated(Arc<PodFact>, Option<Arc<str>>),
    /// Others are to be sent away.
    Evict(Eviction),
    /// Its volumes are to be bound first.
    Volumes(Arc<PodFact>, VolumePlan),
    /// What was decided could not be carried out; why.
    Failed(Arc<PodFact>, String),
}

/// Snapshot, queue and rules together.
pub(crate) struct Core {
    pub(crate) snapshot: Snapshot,
    pub(crate) queue: Queue,
    /// By the name of the profile.
    engines: Vec<(String, Engine)>,
    steps: Box<dyn Steps>,
    preemptor: Preemptor,
    /// Pods for which others are being sent away: what wakes them, and when they were refused.
    making_room: BTreeMap<Arc<str>, (Hints, u64)>,
    uids: HashMap<ObjectKey, Arc<str>>,
    /// Pods that wait at permit, and until when: they are assumed on their nodes.
    waiting: BTreeMap<Arc<str>, (Bind, Time)>,
    deadlines: BTreeSet<(Time, Arc<str>)>,
    /// Pods that wait for their volumes: they are assumed on their nodes.
    storage: BTreeMap<Arc<str>, storage::Waiting>,
    /// What became of pods and has not been fetched yet.
    outcomes: VecDeque<Outcome>,
    /// Pods that have left, for whoever keeps notes about them.
    pub(crate) left: Vec<Arc<str>>,
}

impl Core {
    /// A core whose pods are placed by these profiles and pass these phases.
    pub(crate) fn with(profiles: &[Profile], steps: Box<dyn Steps>) -> Core {
        Core {
            snapshot: Snapshot::new(),
            queue: Queue::new(),
            engines: profiles.iter().map(|p| (p.name.clone(), p.rules.engine())).collect(),
            steps,
            preemptor: Preemptor::default(),
            making_room: BTreeMap::new(),
            uids: HashMap::new(),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            storage: BTreeMap::new(),
            outcomes: VecDeque::new(),
            left: Vec::new(),
        }
    }

    /// The same, asking this permit point before anybody is sent away.
    pub(crate) fn guarded(self, guard: Arc<dyn reconcile::Permit>) -> Core {
        Core { preemptor: Preemptor::new(guard), ..self }
    }

    /// Takes in one change.
    pub(crate) fn take(&mut self, change: Change, now: Time) {
        let hints = match change {
            Change::Pod { fact, words, finished } => self.take_pod(fact, words, finished, now),
            Change::PodGone(key) => match self.uids.remove(&key) {
                Some(uid) => self.drop_pod(&uid),
                None => Hints::NONE,
            },
            Change::Node(fact, notes) => {
                self.learn(News::Node(fact.name.clone(), notes));
                self.snapshot.set_node(fact)
            }
            Change::NodeGone(name) => {
                self.snapshot.drop_node(&name);
                self.learn(News::NodeGone(name));
                Hints::NONE
            }
            Change::Fact(fact) => {
                self.learn(News::Fact(fact));
                Hints::NONE
            }
            Change::Gone(gone) => {
                self.learn(News::Gone(gone));
                Hints::NONE
            }
            Change::Namespace(name, labels) => self.snapshot.set_namespace(&name, &labels),
            Change::NamespaceGone(name) => {
                self.snapshot.drop_namespace(&name);
                Hints::NONE
            }
            Change::Claim(fact) => self.snapshot.set_claim(fact),
            Change::ClaimGone(key) => {
                self.snapshot.drop_claim(&key);
                Hints::NONE
            }
            Change::Volume(fact) => self.snapshot.set_volume(fact),
            Change::VolumeGone(name) => {
                self.snapshot.drop_volume(&name);
                Hints::NONE
            }
            Change::Class(fact) => self.snapshot.set_class(fact),
            Change::ClassGone(name) => {
                self.snapshot.drop_class(&name);
                Hints::NONE
            }
            Change::Limits(fact) => self.snapshot.set_limits(fact),
            Change::LimitsGone(node) => self.snapshot.drop_limits(&node),
            Change::Budget(key, budget) => {
                self.preemptor.set_budget(key, budget, &self.snapshot);
                Hints::NONE
            }
            Change::BudgetGone(key) => {
                self.preemptor.drop_budget(&key);
                Hints::NONE
            }
            Change::Synced(_) => Hints::NONE,
        };
        self.queue.wake(hints, now);
        self.look_at_storage(now);
        self.answer_calls(now);
    }

    fn learn(&mut self, news: News) {
        self.steps.learn(news, &self.snapshot, &self.queue);
    }

    fn take_pod(&mut self, fact: PodFact, words: Option<Box<PodWords>>, finished: bool, now: Time) -> Hints {
        let before = self.uids.insert(fact.key(), fact.uid.clone());
        // The name was given to a new pod between two looks.
        let replaced = match before.filter(|uid| *uid != fact.uid) {
            Some(uid) => self.drop_pod(&uid),
            None => Hints::NONE,
        };
        if finished {
            return replaced | self.drop_pod(&fact.uid);
        }
        self.learn(News::Pod(fact.uid.clone(), words));
        if fact.node.is_some() {
            return replaced | self.place_pod(Arc::new(fact));
        }
        if fact.terminating || !self.engines.iter().any(|(name, _)| **name == *fact.scheduler) {
            self.queue.remove(&fact.uid);
            self.stop_waiting(&fact.uid);
            self.steps.forget(&fact.uid);
            return replaced | self.withdraw(&fact.uid) | self.snapshot.forget(&fact.uid);
        }
        // An older state of a pod that has been bound meanwhile must not bring it back.
        if self.queue.holds(&fact.uid) || self.snapshot.place_of(&fact.uid).is_none() {
            let pod = Arc::new(fact);
            let freed = self.follow_nomination(&pod);
            self.steps.queued(&pod);
            self.queue.put(pod, now);
            return replaced | freed;
        }
        replaced
    }

    /// The mirror shows a pod on a node.
    fn place_pod(&mut self, pod: Arc<PodFact>) -> Hints {
        self.queue.remove(&pod.uid);
        self.stop_waiting(&pod.uid);
        self.left.push(pod.uid.clone());
        self.steps.placed(&pod);
        self.withdraw(&pod.uid) | self.snapshot.place(pod)
    }

    fn drop_pod(&mut self, uid: &Arc<str>) -> Hints {
        self.queue.remove(uid);
        self.stop_waiting(uid);
        self.left.push(uid.clone());
        self.steps.forget(uid);
        self.withdraw(uid) | self.snapshot.remove(uid)
    }

    /// Tries the next pod; says whether there was one. What became of it, and of others because of it, is to be
    /// [fetched](Core::outcome).
    pub(crate) fn decide(&mut self, now: Time) -> bool {
        let Some(popped) = self.queue.pop(now) else { return false };
        match self.steps.admit(&popped.pod, &self.snapshot, now) {
            Err(stay) => self.stay(popped.pod, stay, now),
            Ok(()) => match self.look(&popped.pod, now) {
                Decision::Bind(placement) => self.reserve(popped, placement, now),
                Decision::Refused(refusal) => {
                    self.steps.refused(&popped.pod, &refusal);
                    self.make_room(popped.pod, refusal, now);
                }
            },
        }
        self.answer_calls(now);
        true
    }

    /// The next thing that became of a pod.
    pub(crate) fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// Decide.
    fn look(&mut self, pod: &Arc<PodFact>, now: Time) -> Decision {
        let engine = engine_of(&mut self.engines, pod);
        let beside = &self.preemptor.nominations;
        let decision = engine.decide_beside(&mut self.snapshot, pod, &self.steps.extras(), beside);
        // Journals hold neither storage nor who waits for room: a decision that rests on either cannot be made once more.
        let is_beside = beside.node_of(&pod.uid).is_some() || beside.nodes_ahead(pod).next().is_some();
        if pod.claims().is_empty() && !is_beside {
            self.snapshot.note_decision(pod, &decision, now);
        }
        decision
    }

    /// Reserve, then Permit.
    fn reserve(&mut self, popped: Popped, placement: Placement, now: Time) {
        let Popped { pod, attempts, since } = popped;
        self.snapshot.assume(pod.clone(), &placement.node);
        let freed = self.withdraw(&pod.uid);
        self.queue.wake(Hints::POD_ADDED | freed, now);
        let reserved = self.steps.reserve(&pod, &placement, &self.snapshot);
        let volumes = VolumePlan::default();
        let mut bind = Bind { pod, placement, annotations: Annotations::new(), volumes, attempts, since };
        match reserved {
            Ok(annotations) => bind.annotations = annotations,
            Err(stay) => return self.give_back(bind, stay, now),
        }
        self.set_volumes_aside(&mut bind);
        match self.steps.permit(&bind.pod, &bind.placement, now) {
            Permit::Go => self.go(bind, now),
            Permit::Wait(until) => {
                self.deadlines.insert((until, bind.pod.uid.clone()));
                self.waiting.insert(bind.pod.uid.clone(), (bind, until));
            }
        }
    }

    fn refuse(&mut self, pod: Arc<PodFact>, refusal: Refusal, now: Time) {
        self.queue.refuse(&pod.uid, refusal.wake, now);
        self.outcomes.push_back(Outcome::Refused(pod, refusal));
    }

    /// The pod does not go on for a reason that has nothing to do with single nodes.
    fn stay(&mut self, pod: Arc<PodFact>, stay: Stay, now: Time) {
        let refusal = Refusal {
            nodes: self.snapshot.len(),
            upfront: Some(stay.reason),
            groups: Vec::new(),
            never_preempts: !pod.demand.preempts,
            preempting: None,
            wake: stay.wake,
        };
        self.refuse(pod, refusal, now);
    }

    /// A pod with a place gives it back and goes into the queue.
    fn give_back(&mut self, bind: Bind, stay: Stay, now: Time) {
        self.unreserve(&bind);
        let hints = self.snapshot.forget(&bind.pod.uid);
        self.queue.wake(hints, now);
        self.give_up_nomination(&bind.pod);
        self.stay(bind.pod, stay, now);
    }

    /// What was reserved for a pod beside room is free again.
    fn unreserve(&mut self, bind: &Bind) {
        self.steps.unreserve(&bind.pod, &bind.placement.node);
        self.snapshot.revert_volumes(&bind.volumes);
    }

    /// What is held beside room, as lines.
    #[cfg(test)]
    pub(crate) fn picture(&mut self) -> Vec<String> {
        self.steps.picture()
    }

    /// When something is to be done even if nothing changes.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let deadline = self.deadlines.first().map(|(until, _)| *until);
        [self.queue.next_due(), deadline].into_iter().flatten().min()
    }

    /// The server has taken the binding: the pod waits no more, and stays assumed until the mirror shows it.
    pub(crate) fn bound(&mut self, bind: &Bind, now: Time) {
        self.queue.remove(&bind.pod.uid);
        self.left.push(bind.pod.uid.clone());
        self.steps.bound(&bind.pod, &bind.placement.node);
        // By now the mirrors show what was assumed of its volumes.
        self.snapshot.revert_volumes(&bind.volumes);
        self.answer_calls(now);
    }

    /// The pod was bound already, and not as decided: what was reserved for it is given back.
    pub(crate) fn found(&mut self, bind: &Bind, change: Change, now: Time) {
        self.unreserve(bind);
        self.take(change, now);
    }

    /// The server has refused the binding: the room is free again and the pod tries once more after a pause.
    pub(crate) fn unbound(&mut self, bind: &Bind, now: Time) {
        let uid = &bind.pod.uid;
        self.unreserve(bind);
        let hints = self.snapshot.forget(uid);
        self.queue.wake(hints, now);
        self.queue.retry(uid, now);
        self.give_up_nomination(&bind.pod);
        self.answer_calls(now);
    }
}

fn engine_of<'a>(engines: &'a mut [(String, Engine)], pod: &PodFact) -> &'a mut Engine {
    let engine = engines.iter_mut().find(|(name, _)| **name == *pod.scheduler);
    let (_, engine) =
        engine.expect("only pods of a profile are put into the queue, and they keep their profile");
    engine
}

#[cfg(test)]
mod tests;
