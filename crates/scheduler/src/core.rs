//! The state of the scheduler and its only owner: what the mirrors say goes in, decisions come out.
//!
//! A pod on its way passes named phases: Admit, Decide, Reserve, Permit, then Bind; what it has taken is given back in
//! [`give_back`](Core::give_back) alone. Everything beside the decision is [`Steps`]'.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use api_meta::ObjectKey;
use sched_classes::PodWords;
use sched_core::{Decision, Hints, Placement, PodFact, Popped, Queue, Reason, Refusal, Snapshot};
use sched_plugins::{Engine, Profile};
use stdx::Time;

use crate::inbox::Change;
use crate::steps::{Annotations, Call, News, Permit, Stay, Steps};

/// A decision to bind, not yet confirmed.
#[derive(Clone, Debug)]
pub(crate) struct Bind {
    /// The pod.
    pub(crate) pod: Arc<PodFact>,
    /// Where it goes.
    pub(crate) placement: Placement,
    /// Written to the pod with its node.
    pub(crate) annotations: Annotations,
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
}

/// Snapshot, queue and rules together.
pub(crate) struct Core {
    pub(crate) snapshot: Snapshot,
    pub(crate) queue: Queue,
    /// By the name of the profile.
    engines: Vec<(String, Engine)>,
    steps: Box<dyn Steps>,
    uids: HashMap<ObjectKey, Arc<str>>,
    /// Pods that wait at permit, and until when: they are assumed on their nodes.
    waiting: BTreeMap<Arc<str>, (Bind, Time)>,
    deadlines: BTreeSet<(Time, Arc<str>)>,
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
            uids: HashMap::new(),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            outcomes: VecDeque::new(),
            left: Vec::new(),
        }
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
            Change::Synced(_) => Hints::NONE,
        };
        self.queue.wake(hints, now);
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
            return replaced | self.snapshot.forget(&fact.uid);
        }
        // An older state of a pod that has been bound meanwhile must not bring it back.
        if self.queue.holds(&fact.uid) || self.snapshot.place_of(&fact.uid).is_none() {
            let pod = Arc::new(fact);
            self.steps.queued(&pod);
            self.queue.put(pod, now);
        }
        replaced
    }

    /// The mirror shows a pod on a node.
    fn place_pod(&mut self, pod: Arc<PodFact>) -> Hints {
        self.queue.remove(&pod.uid);
        self.stop_waiting(&pod.uid);
        self.left.push(pod.uid.clone());
        self.steps.placed(&pod);
        self.snapshot.place(pod)
    }

    fn drop_pod(&mut self, uid: &Arc<str>) -> Hints {
        self.queue.remove(uid);
        self.stop_waiting(uid);
        self.left.push(uid.clone());
        self.steps.forget(uid);
        self.snapshot.remove(uid)
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
                    self.refuse(popped.pod, refusal, now);
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
        let engine = self.engines.iter_mut().find(|(name, _)| **name == *pod.scheduler);
        let (_, engine) =
            engine.expect("only pods of a profile are put into the queue, and they keep their profile");
        let decision = engine.decide_with(&mut self.snapshot, pod, &self.steps.extras());
        self.snapshot.note_decision(pod, &decision, now);
        decision
    }

    /// Reserve, then Permit.
    fn reserve(&mut self, popped: Popped, placement: Placement, now: Time) {
        let Popped { pod, attempts, since } = popped;
        self.snapshot.assume(pod.clone(), &placement.node);
        self.queue.wake(Hints::POD_ADDED, now);
        let reserved = self.steps.reserve(&pod, &placement, &self.snapshot);
        let mut bind = Bind { pod, placement, annotations: Annotations::new(), attempts, since };
        match reserved {
            Ok(annotations) => bind.annotations = annotations,
            Err(stay) => return self.give_back(bind, stay, now),
        }
        match self.steps.permit(&bind.pod, &bind.placement, now) {
            Permit::Go => self.outcomes.push_back(Outcome::Bind(bind)),
            Permit::No(stay) => self.give_back(bind, stay, now),
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
            wake: stay.wake,
        };
        self.refuse(pod, refusal, now);
    }

    /// A pod with a place gives it back and goes into the queue.
    fn give_back(&mut self, bind: Bind, stay: Stay, now: Time) {
        self.steps.unreserve(&bind.pod, &bind.placement.node);
        let hints = self.snapshot.forget(&bind.pod.uid);
        self.queue.wake(hints, now);
        self.stay(bind.pod, stay, now);
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
                let released = self.unlist(&uid).map(Outcome::Bind);
                self.outcomes.extend(released);
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
        let (bind, until) = self.waiting.remove(uid)?;
        self.deadlines.remove(&(until, uid.clone()));
        Some(bind)
    }

    /// The pod waits at permit no more because it is gone, or placed by somebody else: what it reserved is given back.
    fn stop_waiting(&mut self, uid: &Arc<str>) {
        if let Some(bind) = self.unlist(uid) {
            self.steps.unreserve(&bind.pod, &bind.placement.node);
        }
    }

    /// The server has taken the binding: the pod waits no more, and stays assumed until the mirror shows it.
    pub(crate) fn bound(&mut self, bind: &Bind, now: Time) {
        self.queue.remove(&bind.pod.uid);
        self.left.push(bind.pod.uid.clone());
        self.steps.bound(&bind.pod, &bind.placement.node);
        self.answer_calls(now);
    }

    /// The pod was bound already, and not as decided: what was reserved for it is given back.
    pub(crate) fn found(&mut self, bind: &Bind, change: Change, now: Time) {
        self.steps.unreserve(&bind.pod, &bind.placement.node);
        self.take(change, now);
    }

    /// The server has refused the binding: the room is free again and the pod tries once more after a pause.
    pub(crate) fn unbound(&mut self, bind: &Bind, now: Time) {
        let uid = &bind.pod.uid;
        self.steps.unreserve(&bind.pod, &bind.placement.node);
        let hints = self.snapshot.forget(uid);
        self.queue.wake(hints, now);
        self.queue.retry(uid, now);
        self.answer_calls(now);
    }
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
