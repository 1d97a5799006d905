use super::*;
use crate::steps::{Call, Straight};
use sched_core::{Interner, NodeFact, Reason};
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
