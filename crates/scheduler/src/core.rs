//! The state of the scheduler and its only owner: what the mirrors say goes in, decisions come out.

use std::collections::HashMap;
use std::sync::Arc;

use api_meta::ObjectKey;
use sched_core::{Decision, Hints, Placement, PodFact, Queue, Refusal, Snapshot};
use sched_plugins::{Engine, Profile};
use stdx::Time;

use crate::inbox::Change;

/// A decision to bind, not yet confirmed.
#[derive(Clone, Debug)]
pub(crate) struct Bind {
    /// The pod.
    pub(crate) pod: Arc<PodFact>,
    /// Where it goes.
    pub(crate) placement: Placement,
    /// How often it has been tried.
    pub(crate) attempts: u32,
    /// When it came into the queue.
    pub(crate) since: Time,
}

/// What one try gave.
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
    uids: HashMap<ObjectKey, Arc<str>>,
    /// Pods that have left, for whoever keeps notes about them.
    pub(crate) left: Vec<Arc<str>>,
}

impl Core {
    pub(crate) fn new(profiles: &[Profile]) -> Core {
        Core {
            snapshot: Snapshot::new(),
            queue: Queue::new(),
            engines: profiles.iter().map(|p| (p.name.clone(), p.rules.engine())).collect(),
            uids: HashMap::new(),
            left: Vec::new(),
        }
    }

    /// Takes in one change.
    pub(crate) fn take(&mut self, change: Change, now: Time) {
        let hints = match change {
            Change::Pod { fact, finished } => self.take_pod(fact, finished, now),
            Change::PodGone(key) => match self.uids.remove(&key) {
                Some(uid) => self.drop_pod(&uid),
                None => Hints::NONE,
            },
            Change::Node(fact) => self.snapshot.set_node(fact),
            Change::NodeGone(name) => {
                self.snapshot.drop_node(&name);
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
    }

    fn take_pod(&mut self, fact: PodFact, finished: bool, now: Time) -> Hints {
        let before = self.uids.insert(fact.key(), fact.uid.clone());
        // The name was given to a new pod between two looks.
        let replaced = match before.filter(|uid| *uid != fact.uid) {
            Some(uid) => self.drop_pod(&uid),
            None => Hints::NONE,
        };
        if finished {
            return replaced | self.drop_pod(&fact.uid);
        }
        if fact.node.is_some() {
            self.queue.remove(&fact.uid);
            self.left.push(fact.uid.clone());
            return replaced | self.snapshot.place(Arc::new(fact));
        }
        if fact.terminating || !self.engines.iter().any(|(name, _)| **name == *fact.scheduler) {
            self.queue.remove(&fact.uid);
            return replaced | self.snapshot.forget(&fact.uid);
        }
        // An older state of a pod that has been bound meanwhile must not bring it back.
        if self.queue.holds(&fact.uid) || self.snapshot.place_of(&fact.uid).is_none() {
            self.queue.put(Arc::new(fact), now);
        }
        replaced
    }

    fn drop_pod(&mut self, uid: &Arc<str>) -> Hints {
        self.queue.remove(uid);
        self.left.push(uid.clone());
        self.snapshot.remove(uid)
    }

    /// Tries the next pod.
    pub(crate) fn decide(&mut self, now: Time) -> Option<Outcome> {
        let popped = self.queue.pop(now)?;
        let pod = popped.pod;
        let engine = self.engines.iter_mut().find(|(name, _)| **name == *pod.scheduler);
        let (_, engine) =
            engine.expect("only pods of a profile are put into the queue, and they keep their profile");
        Some(match engine.decide(&mut self.snapshot, &pod) {
            Decision::Bind(placement) => {
                self.snapshot.assume(pod.clone(), &placement.node);
                self.queue.wake(Hints::POD_ADDED, now);
                Outcome::Bind(Bind { pod, placement, attempts: popped.attempts, since: popped.since })
            }
            Decision::Refused(refusal) => {
                self.queue.refuse(&pod.uid, refusal.wake, now);
                Outcome::Refused(pod, refusal)
            }
        })
    }

    /// The server has taken the binding: the pod waits no more, and stays assumed until the mirror shows it.
    pub(crate) fn bound(&mut self, uid: &Arc<str>) {
        self.queue.remove(uid);
        self.left.push(uid.clone());
    }

    /// The server has refused the binding: the room is free again and the pod tries once more after a pause.
    pub(crate) fn unbound(&mut self, uid: &Arc<str>, now: Time) {
        let hints = self.snapshot.forget(uid);
        self.queue.wake(hints, now);
        self.queue.retry(uid, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sched_core::{Interner, NodeFact};
    use sched_plugins::Rules;

    fn core() -> Core {
        let mut core = Core::new(&[profile("default-scheduler")]);
        core.take(Change::Node(node("n1")), at(0));
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
            finished: false,
        }
    }

    fn decide(core: &mut Core, secs: i64) -> String {
        match core.decide(at(secs)) {
            Some(Outcome::Bind(b)) => format!("{} -> {}", b.pod.name, b.placement.node),
            Some(Outcome::Refused(pod, refusal)) => format!("{}: {}", pod.name, refusal.message()),
            None => "nobody waits".to_owned(),
        }
    }

    #[test]
    fn room_is_taken_when_decided_and_given_back_when_the_bind_fails() {
        let mut core = core();
        core.take(pod("a", "ua", "", "800m"), at(0));
        core.take(pod("b", "ub", "", "800m"), at(0));
        assert_eq!(decide(&mut core, 0), "a -> n1");
        assert!(decide(&mut core, 0).starts_with("b: 0/1 nodes are available: 1 Insufficient cpu."));
        core.unbound(&"ua".into(), at(0));
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
        assert_eq!(decide(&mut core, 0), "a -> n1");
        core.bound(&"ua".into());
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
        let mut core = Core::new(&[profile("default-scheduler"), packing]);
        core.take(Change::Node(node("n1")), at(0));
        core.take(Change::Node(node("n2")), at(0));
        core.take(pod("there", "t", "n1", "0"), at(0));
        core.take(pod("there-too", "t2", "n2", "500m"), at(0));
        for (name, scheduler) in [("a", "default-scheduler"), ("b", "packing")] {
            let Change::Pod { mut fact, .. } = pod(name, name, "", "100m") else { unreachable!() };
            fact.scheduler = scheduler.into();
            core.take(Change::Pod { fact, finished: false }, at(0));
        }
        // By upstream's weights the emptier node; without any score the one with fewer pods.
        assert_eq!(decide(&mut core, 0), "a -> n1");
        assert_eq!(decide(&mut core, 0), "b -> n2");
    }

    #[test]
    fn pods_of_other_schedulers_are_left_alone_but_counted() {
        let mut core = core();
        let Change::Pod { mut fact, .. } = pod("a", "ua", "", "800m") else { unreachable!() };
        fact.scheduler = "other".into();
        core.take(Change::Pod { fact: fact.clone(), finished: false }, at(0));
        assert_eq!(decide(&mut core, 0), "nobody waits");
        fact.node = Some("n1".into());
        core.take(Change::Pod { fact, finished: false }, at(0));
        core.take(pod("b", "ub", "", "800m"), at(0));
        assert!(decide(&mut core, 0).contains("1 Insufficient cpu"));
    }
}
