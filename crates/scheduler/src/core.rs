//! The state of the scheduler and its only owner: what the mirrors say goes in, decisions come out.
//!
//! A pod on its way passes named phases: Admit, Decide (or Preempt), Reserve, Permit, Volumes, then Bind; what it has taken is given back in
//! [`give_back`](Core::give_back) alone. Everything beside the decision is [`Steps`]'.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use api_meta::ObjectKey;
use sched_classes::PodWords;
use sched_core::{
    Decision, Hints, Placement, PodFact, Popped, Preempting, Queue, Reason, Refusal, Snapshot, VolumePlan,
};
use sched_plugins::{Engine, Preemption, Profile};
use stdx::Time;

use crate::evictor::Evicted;
use crate::inbox::Change;
use crate::preemption::{self, Eviction, Preemptor};
use crate::steps::{Annotations, Call, News, Permit, Stay, Steps};
use crate::storage::{self, State, Versions};

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

    /// Takes over what the pod says of the node it waits for, if that has changed: our own word may be newer than the mirror's.
    fn follow_nomination(&mut self, pod: &Arc<PodFact>) -> Hints {
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
    fn withdraw(&mut self, uid: &str) -> Hints {
        if self.preemptor.nominations.remove(uid) { Hints::POD_REMOVED } else { Hints::NONE }
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

    /// Preempt: looks whether room can be made for a refused pod by sending less important ones away.
    fn make_room(&mut self, pod: Arc<PodFact>, mut refusal: Refusal, now: Time) {
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
    fn send_away(&mut self, pod: Arc<PodFact>, plan: Preemption, mut refusal: Refusal, now: Time) {
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
    fn give_up_nomination(&mut self, pod: &Arc<PodFact>) {
        if self.preemptor.nominations.remove(&pod.uid) || pod.nominated().is_some() {
            self.outcomes.push_back(Outcome::Nominated(pod.clone(), None));
        }
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

    /// Takes what the pod needs of storage on its node; pods without claims need nothing.
    fn set_volumes_aside(&mut self, bind: &mut Bind) {
        if bind.pod.claims().is_empty() {
            return;
        }
        let plan = sched_plugins::volume_plan(&self.snapshot, &bind.pod, &bind.placement.node);
        bind.volumes = plan.expect("the decision found them in this very state");
        self.snapshot.assume_volumes(&bind.volumes);
    }

    /// Bind, once the volumes are bound.
    fn go(&mut self, bind: Bind, now: Time) {
        if bind.volumes.is_empty() {
            return self.outcomes.push_back(Outcome::Bind(bind));
        }
        let (pod, plan) = (bind.pod.clone(), bind.volumes.clone());
        let waiting = storage::Waiting::new(bind, now);
        self.deadlines.insert((waiting.until, pod.uid.clone()));
        self.storage.insert(pod.uid.clone(), waiting);
        self.outcomes.push_back(Outcome::Volumes(pod, plan));
    }

    /// Claims and volumes of a pod have been written, or could not be.
    pub(crate) fn volumes_written(&mut self, uid: &Arc<str>, written: Result<Versions, String>, now: Time) {
        let Some(waiting) = self.storage.get_mut(uid) else { return };
        match written {
            Ok(versions) => waiting.set_written(versions),
            Err(why) => self.fail_storage(uid, &why, now),
        }
        self.look_at_storage(now);
    }

    /// Lets pods go whose volumes are bound by now, and those back whose volumes will not be.
    fn look_at_storage(&mut self, now: Time) {
        if self.storage.is_empty() {
            return;
        }
        let states: Vec<(Arc<str>, State)> =
            self.storage.iter().map(|(uid, w)| (uid.clone(), w.state(&self.snapshot))).collect();
        for (uid, state) in states {
            match state {
                State::Waits => {}
                State::Ready => {
                    let ready = self.unlist(&uid).map(Outcome::Bind);
                    self.outcomes.extend(ready);
                }
                State::Failed(why) => self.fail_storage(&uid, &why, now),
            }
        }
    }

    fn fail_storage(&mut self, uid: &Arc<str>, why: &str, now: Time) {
        let Some(bind) = self.unlist(uid) else { return };
        self.unbound(&bind, now);
        let why = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {why}");
        self.outcomes.push_back(Outcome::Failed(bind.pod, why));
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

    /// Carries out what the phases want done to other pods, until they want nothing more.
    pub(crate) fn answer_calls(&mut self, now: Time) {
        loop {
            let calls = self.steps.calls(now);
            if calls.is_empty() {
                return;
            }
            for call in calls {
                self.answer(call, now);
            }
        }
    }

    fn answer(&mut self, call: Call, now: Time) {
        match call {
            Call::Release(uid) => {
                if self.waiting.contains_key(&uid)
                    && let Some(bind) = self.unlist(&uid)
                {
                    self.go(bind, now);
                }
            }
            Call::GiveBack(uid, stay) => {
                if let Some(bind) = self.unlist(&uid) {
                    self.give_back(bind, stay, now);
                }
            }
            Call::Try(uid) => self.queue.activate(&uid, now),
        }
    }

    /// Gives back the room of pods that have waited at permit long enough.
    pub(crate) fn end_waits(&mut self, now: Time) {
        // Whoever set the deadline says it better.
        self.answer_calls(now);
        while let Some((_, uid)) = self.deadlines.first().filter(|(until, _)| *until <= now).cloned() {
            if self.storage.contains_key(&uid) {
                self.fail_storage(&uid, "context deadline exceeded", now);
                continue;
            }
            let Some(bind) = self.unlist(&uid) else { continue };
            let wake = Hints::NODE_ADDED | Hints::POD_REMOVED | Hints::POD_CHANGED;
            let reason = Reason::Fixed("rejected due to timeout while waiting on permit");
            self.give_back(bind, Stay { reason, wake }, now);
        }
        self.answer_calls(now);
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

    fn unlist(&mut self, uid: &Arc<str>) -> Option<Bind> {
        let waiting = self.waiting.remove(uid);
        let (bind, until) = waiting.or_else(|| self.storage.remove(uid).map(|w| (w.bind, w.until)))?;
        self.deadlines.remove(&(until, uid.clone()));
        Some(bind)
    }

    /// The pod waits at permit no more because it is gone, or placed by somebody else: what it reserved is given back.
    fn stop_waiting(&mut self, uid: &Arc<str>) {
        if let Some(bind) = self.unlist(uid) {
            self.unreserve(&bind);
        }
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
mod tests {
    use super::*;
    use crate::steps::Straight;
    use sched_core::{Interner, NodeFact};
    use sched_plugins::Rules;

    fn core() -> Core {
        let mut core = Core::with(&[profile("default-scheduler")], Box::new(Straight));
        core.take(Change::Node(node("n1"), None), at(0));
        core
    }

    fn profile(name: &str) -> Profile {
        Profile { name: name.into(), rules: Rules::upstream() }
    }

    fn at(secs: i64) -> Time {
        Time::from_secs(secs)
    }

    fn node(name: &str) -> NodeFact {
        let json = serde_json::json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}}});
        NodeFact::of(&serde_json::from_value(json).unwrap())
    }

    fn pod(name: &str, uid: &str, node: &str, cpu: &str) -> Change {
        let json = serde_json::json!({
            "metadata": {"name": name, "namespace": "d", "uid": uid},
            "spec": {"schedulerName": "default-scheduler", "nodeName": node,
                "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        });
        Change::Pod {
            fact: Interner::default().project(&serde_json::from_value(json).unwrap()),
            words: None,
            finished: false,
        }
    }

    fn decide(core: &mut Core, secs: i64) -> String {
        core.decide(at(secs));
        match core.outcome() {
            Some(Outcome::Bind(b)) => format!("{} -> {}", b.pod.name, b.placement.node),
            Some(Outcome::Refused(pod, refusal)) => format!("{}: {}", pod.name, refusal.message()),
            Some(Outcome::Volumes(pod, plan)) => format!("{}: {:?}", pod.name, plan),
            Some(Outcome::Failed(pod, why)) => format!("{}: {why}", pod.name),
            Some(Outcome::Nominated(..) | Outcome::Evict(_)) => panic!("nobody is to be sent away"),
            None => "nobody waits".to_owned(),
        }
    }

    fn bind(core: &mut Core, expected: &str) -> Bind {
        core.decide(at(0));
        let Some(Outcome::Bind(bind)) = core.outcome() else { panic!("{expected}") };
        assert_eq!(format!("{} -> {}", bind.pod.name, bind.placement.node), expected);
        bind
    }

    #[test]
    fn room_is_taken_when_decided_and_given_back_when_the_bind_fails() {
        let mut core = core();
        core.take(pod("a", "ua", "", "800m"), at(0));
        core.take(pod("b", "ub", "", "800m"), at(0));
        let bind = bind(&mut core, "a -> n1");
        assert!(decide(&mut core, 0).starts_with("b: 0/1 nodes are available: 1 Insufficient cpu."));
        core.unbound(&bind, at(0));
        assert_eq!(decide(&mut core, 0), "nobody waits", "both keep their pause");
        assert_eq!(decide(&mut core, 1), "a -> n1");
    }

    #[test]
    fn a_pod_bound_by_somebody_else_leaves_the_queue() {
        let mut core = core();
        core.take(pod("a", "ua", "", "100m"), at(0));
        core.take(pod("a", "ua", "n9", "100m"), at(0));
        assert_eq!(decide(&mut core, 0), "nobody waits");
        assert_eq!(core.snapshot.pods(), 1);
    }

    #[test]
    fn an_older_state_does_not_bring_a_bound_pod_back() {
        let mut core = core();
        core.take(pod("a", "ua", "", "100m"), at(0));
        let bind = bind(&mut core, "a -> n1");
        core.bound(&bind, at(0));
        core.take(pod("a", "ua", "", "100m"), at(1));
        assert_eq!(decide(&mut core, 1), "nobody waits");
    }

    #[test]
    fn a_new_pod_of_an_old_name_takes_the_old_ones_place() {
        let mut core = core();
        core.take(pod("a", "old", "n1", "800m"), at(0));
        core.take(pod("a", "new", "", "800m"), at(0));
        assert_eq!(decide(&mut core, 0), "a -> n1");
        core.take(Change::PodGone(ObjectKey::new("d", "a")), at(1));
        assert_eq!(core.snapshot.pods(), 0);
    }

    #[test]
    fn a_freed_place_wakes_who_waits_for_room() {
        let mut core = core();
        core.take(pod("a", "ua", "n1", "800m"), at(0));
        core.take(pod("b", "ub", "", "800m"), at(0));
        assert!(decide(&mut core, 0).starts_with("b: 0/1"));
        core.take(Change::PodGone(ObjectKey::new("d", "a")), at(60));
        assert_eq!(decide(&mut core, 60), "b -> n1");
    }

    #[test]
    fn each_pod_is_decided_by_the_profile_it_names() {
        let mut packing = profile("packing");
        packing.rules.weights = sched_plugins::Weights::none();
        let mut core = Core::with(&[profile("default-scheduler"), packing], Box::new(Straight));
        core.take(Change::Node(node("n1"), None), at(0));
        core.take(Change::Node(node("n2"), None), at(0));
        core.take(pod("there", "t", "n1", "0"), at(0));
        core.take(pod("there-too", "t2", "n2", "500m"), at(0));
        for (name, scheduler) in [("a", "default-scheduler"), ("b", "packing")] {
            let Change::Pod { mut fact, .. } = pod(name, name, "", "100m") else { unreachable!() };
            fact.scheduler = scheduler.into();
            core.take(Change::Pod { fact, words: None, finished: false }, at(0));
        }
        // By upstream's weights the emptier node; without any score the one with fewer pods.
        assert_eq!(decide(&mut core, 0), "a -> n1");
        assert_eq!(decide(&mut core, 0), "b -> n2");
    }

    /// Two pods start together or not at all; keeps account of what it was asked.
    #[derive(Default)]
    struct Pair {
        reserved: Vec<Arc<str>>,
        calls: Vec<Call>,
        log: Arc<std::sync::Mutex<Vec<String>>>,
    }

    impl Pair {
        fn note(&self, what: &str, pod: &PodFact) {
            self.log.lock().unwrap().push(format!("{what} {}", pod.name));
        }
    }

    impl Steps for Pair {
        fn admit(&mut self, pod: &Arc<PodFact>, _: &Snapshot, _: Time) -> Result<(), Stay> {
            let stay = Stay { reason: Reason::Fixed("closed"), wake: Hints::NONE };
            if &*pod.name == "closed" { Err(stay) } else { Ok(()) }
        }

        fn reserve(&mut self, pod: &Arc<PodFact>, _: &Placement, _: &Snapshot) -> Result<Annotations, Stay> {
            self.note("reserve", pod);
            self.reserved.push(pod.uid.clone());
            Ok(Annotations::from([("pair".to_owned(), self.reserved.len().to_string())]))
        }

        fn permit(&mut self, _: &Arc<PodFact>, _: &Placement, _: Time) -> Permit {
            if self.reserved.len() < 2 {
                return Permit::Wait(at(30));
            }
            self.calls.extend(self.reserved.iter().cloned().map(Call::Release));
            Permit::Go
        }

        fn unreserve(&mut self, pod: &Arc<PodFact>, _: &str) {
            self.note("unreserve", pod);
            self.reserved.retain(|uid| *uid != pod.uid);
        }

        fn calls(&mut self, _: Time) -> Vec<Call> {
            std::mem::take(&mut self.calls)
        }
    }

    fn pair() -> (Core, Arc<std::sync::Mutex<Vec<String>>>) {
        let pair = Pair::default();
        let log = pair.log.clone();
        let mut core = Core::with(&[profile("default-scheduler")], Box::new(pair));
        core.take(Change::Node(node("n1"), None), at(0));
        (core, log)
    }

    #[test]
    fn pods_that_wait_at_permit_hold_their_room_and_are_released_together() {
        let (mut core, _) = pair();
        core.take(pod("a", "ua", "", "400m"), at(0));
        assert_eq!(decide(&mut core, 0), "nobody waits", "it has a place and waits for the other");
        assert_eq!((core.snapshot.pods(), core.next_due()), (1, Some(at(30))));
        core.take(pod("b", "ub", "", "400m"), at(1));
        assert_eq!(decide(&mut core, 1), "b -> n1");
        let Some(Outcome::Bind(released)) = core.outcome() else { panic!("a was released with b") };
        assert_eq!((&*released.pod.name, &*released.annotations["pair"]), ("a", "1"));
        core.end_waits(at(100));
        assert!(core.outcome().is_none() && core.next_due().is_none());
    }

    #[test]
    fn who_waits_too_long_gives_back_all_it_took() {
        let (mut core, log) = pair();
        core.take(pod("a", "ua", "", "400m"), at(0));
        decide(&mut core, 0);
        core.end_waits(at(29));
        assert!(core.outcome().is_none());
        core.end_waits(at(30));
        let Some(Outcome::Refused(pod, refusal)) = core.outcome() else { panic!("it was given back") };
        assert!(refusal.message().contains("rejected due to timeout"), "{}", refusal.message());
        assert_eq!((&*pod.name, core.snapshot.pods(), core.queue.counts().refused), ("a", 0, 1));
        assert_eq!(*log.lock().unwrap(), ["reserve a", "unreserve a"]);
    }

    #[test]
    fn a_pod_deleted_while_it_waits_gives_back_all_it_took() {
        let (mut core, log) = pair();
        core.take(pod("a", "ua", "", "400m"), at(0));
        decide(&mut core, 0);
        core.take(Change::PodGone(ObjectKey::new("d", "a")), at(1));
        assert_eq!((core.snapshot.pods(), core.next_due()), (0, None));
        assert_eq!(*log.lock().unwrap(), ["reserve a", "unreserve a"]);
    }

    #[test]
    fn a_pod_that_is_not_admitted_takes_nothing_and_says_why() {
        let (mut core, log) = pair();
        core.take(pod("closed", "u", "", "400m"), at(0));
        assert!(decide(&mut core, 0).starts_with("closed: 0/1 nodes are available: closed."));
        assert!(log.lock().unwrap().is_empty());
    }

    #[test]
    fn pods_of_other_schedulers_are_left_alone_but_counted() {
        let mut core = core();
        let Change::Pod { mut fact, .. } = pod("a", "ua", "", "800m") else { unreachable!() };
        fact.scheduler = "other".into();
        core.take(Change::Pod { fact: fact.clone(), words: None, finished: false }, at(0));
        assert_eq!(decide(&mut core, 0), "nobody waits");
        fact.node = Some("n1".into());
        core.take(Change::Pod { fact, words: None, finished: false }, at(0));
        core.take(pod("b", "ub", "", "800m"), at(0));
        assert!(decide(&mut core, 0).contains("1 Insufficient cpu"));
    }
}
