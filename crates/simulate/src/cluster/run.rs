//! The event loop over a story: events come in their time, pods are placed, wait, leave.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use api_core::Pod;
use sched_core::{Hints, Interner, NodeFact, PodFact, Queue};
use sched_device::{Mix, ModelNames, Node, Shape};
use sched_plugins::Profile;
use stdx::Time;

use super::account::Account;
use super::devices;
use super::placer::{Placer, Verdict};
use super::stacking::Stacking;
use super::story::{Event, Story};
use crate::observer::Observer;
use crate::openb::most;
use crate::policy::PolicyName;
use crate::report::{Axis, Run, Series, Skew, Spread, percent, round};

/// How long pods are still tried after the last event: longer than the queue's longest pause.
const AFTER: Duration = Duration::from_secs(30);
/// Points kept of a run's course; every other one is dropped when there are twice as many.
const POINTS_MAX: usize = 400;
/// After so many events the observer is told.
const STEP: usize = 256;

/// How to replay a story.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Under which policy over devices.
    pub policy: PolicyName,
    /// Another configuration of the scheduler: what it is called, and its profiles. Pods that name none of them are the first one's.
    pub scheduler: Option<(&'a str, &'a [Profile])>,
    /// Whether every placement is kept.
    pub keep: bool,
}

impl<'a> Settings<'a> {
    /// A policy over devices, with upstream's rules.
    pub fn policy(policy: PolicyName) -> Settings<'a> {
        Settings { policy, scheduler: None, keep: false }
    }

    /// What it is called in reports.
    pub fn name(&self) -> &'a str {
        self.scheduler.map_or(self.policy.text(), |(name, _)| name)
    }
}

/// Replays a story under one policy.
///
/// # Errors
/// A sentence about an object that says impossible things of devices.
pub fn run(story: &Story, settings: &Settings<'_>, observer: &mut dyn Observer) -> Result<Run, String> {
    let mut stage = Stage::new(story, settings)?;
    let mut next = 0;
    while let Some(now) = stage.next_time(story.moments.get(next).map(|m| m.at)) {
        while let Some(moment) = story.moments.get(next).filter(|m| m.at <= now) {
            stage.apply(&moment.event, now)?;
            stage.end = stage.end.max(moment.at + AFTER);
            next += 1;
            if next % STEP == 0 {
                observer.step(next, story.moments.len());
            }
        }
        stage.depart(now);
        stage.schedule(now, observer);
        stage.sample(now);
    }
    observer.step(story.moments.len(), story.moments.len());
    let mut run = stage.finish();
    (run.trace, run.policy) = (story.name.clone(), settings.name().to_owned());
    Ok(run)
}

struct Stage {
    start: Time,
    end: Time,
    names: ModelNames,
    interner: Interner,
    queue: Queue,
    placer: Placer,
    account: Account,
    mix: Mix,
    asked: HashMap<Arc<str>, Asked>,
    /// Pods that leave by themselves.
    leaving: BTreeSet<(Time, Arc<str>)>,
    waits: Vec<f64>,
    latencies: Vec<f64>,
    reasons: BTreeMap<Arc<str>, String>,
    points: Vec<[f64; 5]>,
    placements: Option<BTreeMap<String, String>>,
    arrived: usize,
    victims: usize,
    stacking: Stacking,
}

/// What is known of a pod that asked for a place.
struct Asked {
    pod: Box<Pod>,
    shape: Shape,
    lifetime: Option<Duration>,
}

impl Stage {
    fn new(story: &Story, settings: &Settings<'_>) -> Result<Stage, String> {
        let mut names = ModelNames::default();
        let mut shapes = BTreeMap::new();
        let mut interner = Interner::default();
        for moment in &story.moments {
            if let Event::Pod { pod, .. } = &moment.event {
                let cpu = interner.project(pod).demand.requests.cpu_milli;
                shapes.insert(pod.metadata.uid.as_str(), devices::of_pod(pod, cpu, &mut names)?);
            }
        }
        let mix = Mix::typical(shapes.into_values(), &names);
        let start = story.moments.first().map_or(Time::default(), |m| m.at);
        Ok(Stage {
            start,
            end: start,
            placer: Placer::new(
                settings.policy.over_devices(mix.clone()),
                settings.scheduler.map_or(&[], |(_, profiles)| profiles),
            ),
            names,
            interner,
            queue: Queue::new(),
            account: Account::default(),
            mix,
            asked: HashMap::new(),
            leaving: BTreeSet::new(),
            waits: Vec::new(),
            latencies: Vec::new(),
            reasons: BTreeMap::new(),
            points: Vec::new(),
            placements: settings.keep.then(BTreeMap::new),
            arrived: 0,
            victims: 0,
            stacking: Stacking::default(),
        })
    }

    /// When something happens next: an event, a departure, or, until a while after the last of them, another try.
    fn next_time(&self, event: Option<Time>) -> Option<Time> {
        let departure = self.leaving.first().map(|(at, _)| *at);
        let again =
            self.queue.next_due().filter(|due| event.is_some() || departure.is_some() || *due <= self.end);
        [event, departure, again].into_iter().flatten().min()
    }

    fn apply(&mut self, event: &Event, now: Time) -> Result<(), String> {
        let hints = match event {
            Event::Node(node) => {
                let fact = NodeFact::of(node);
                self.account.set_node(&fact);
                self.stacking.set_node(node)?;
                let (count, model) = devices::of_node(node, &mut self.names)?;
                // Memory and the number of pods are the core's to judge.
                let devices = Node::new(fact.allocatable.cpu_milli, 0, count, model, u32::MAX);
                let devices = devices.map_err(|e| format!("node {}: {e}", fact.name))?;
                self.placer.set_node(fact, devices)
            }
            Event::NodeGone(name) => self.lose_node(name, now),
            Event::Namespace(name, labels) => self.placer.snapshot.set_namespace(name, labels),
            Event::Pod { pod, lifetime } => return self.arrive(pod, *lifetime, now),
            Event::PodGone(uid) => self.leave(uid),
        };
        self.queue.wake(hints, now);
        Ok(())
    }

    fn arrive(&mut self, pod: &Pod, lifetime: Option<Duration>, now: Time) -> Result<(), String> {
        // Records hold no claims and volumes: what a pod wants of storage is as if it were there.
        let mut fact = self.interner.project(pod);
        if let Some(rare) = &mut fact.rare {
            rare.claims.clear();
        }
        let fact = Arc::new(fact);
        let known = self.asked.contains_key(&fact.uid);
        if known && self.account.place_of(&fact.uid).is_some() {
            // What changes after a pod was placed does not move it.
            return Ok(());
        }
        self.arrived += usize::from(!known);
        let shape = devices::of_pod(pod, fact.demand.requests.cpu_milli, &mut self.names)?;
        let asked = Asked { pod: Box::new(pod.clone()), shape, lifetime };
        self.asked.insert(fact.uid.clone(), asked);
        match fact.node.clone() {
            Some(node) => self.put(&fact, &node, now),
            None => self.queue.put(fact, now),
        }
        Ok(())
    }

    fn leave(&mut self, uid: &str) -> Hints {
        self.queue.remove(uid);
        self.reasons.remove(uid);
        self.account.take(uid);
        self.stacking.take(uid);
        self.asked.remove(uid);
        self.placer.take(uid)
    }

    /// Pods of a node that is gone ask again.
    fn lose_node(&mut self, name: &str, now: Time) -> Hints {
        for fact in self.account.drop_node(name) {
            self.placer.take(&fact.uid);
            self.leaving.retain(|(_, uid)| *uid != fact.uid);
            self.ask_again(&fact, now);
        }
        self.placer.drop_node(name);
        self.stacking.drop_node(name);
        Hints::POD_REMOVED
    }

    fn depart(&mut self, now: Time) {
        while let Some((at, uid)) = self.leaving.first().filter(|(at, _)| *at <= now).cloned() {
            self.leaving.remove(&(at, uid.clone()));
            self.end = self.end.max(at + AFTER);
            let hints = self.leave(&uid);
            self.queue.wake(hints, now);
        }
    }

    fn schedule(&mut self, now: Time, observer: &mut dyn Observer) {
        while let Some(popped) = self.queue.pop(now) {
            let fact = popped.pod;
            let Some(asked) = self.asked.get(&fact.uid) else { continue };
            let shape = asked.shape;
            let before = observer.micros();
            let verdict = self.placer.decide(&fact, &shape);
            if let (Some(before), Some(after)) = (before, observer.micros()) {
                self.latencies.push((after - before) as f64);
            }
            match verdict {
                Verdict::Place(node) => {
                    self.waits.push(now.since(popped.since).as_secs_f64());
                    self.put(&fact, &node, now);
                }
                Verdict::Refused(reason, wake) => {
                    if self.preempt(&fact, &shape, popped.since, now) {
                        continue;
                    }
                    self.reasons.insert(fact.uid.clone(), reason);
                    self.queue.refuse(&fact.uid, wake, now);
                }
            }
        }
    }

    /// Makes room for a pod that outranks others, if that can be: they lose their place and ask again, and the pod takes it.
    fn preempt(&mut self, fact: &Arc<PodFact>, shape: &Shape, since: Time, now: Time) -> bool {
        let Some(plan) = self.placer.preempt(fact, shape) else { return false };
        for victim in &plan.victims {
            self.account.take(&victim.uid);
            self.stacking.take(&victim.uid);
            let hints = self.placer.take(&victim.uid);
            self.leaving.retain(|(_, uid)| *uid != victim.uid);
            self.queue.wake(hints, now);
            self.ask_again(victim, now);
        }
        self.victims += plan.victims.len();
        self.waits.push(now.since(since).as_secs_f64());
        self.put(fact, &plan.node, now);
        true
    }

    /// A pod that has lost its place waits for another.
    fn ask_again(&mut self, fact: &PodFact, now: Time) {
        let mut homeless = PodFact::clone(fact);
        homeless.node = None;
        self.queue.put(Arc::new(homeless), now);
    }

    fn put(&mut self, fact: &Arc<PodFact>, node: &Arc<str>, now: Time) {
        self.queue.remove(&fact.uid);
        self.reasons.remove(&fact.uid);
        let Some(asked) = self.asked.get(&fact.uid) else { return };
        self.account.put(&asked.pod, fact, node);
        self.stacking.put(&asked.pod, &fact.uid, node);
        if let Some(lifetime) = asked.lifetime {
            self.leaving.insert((now + lifetime, fact.uid.clone()));
        }
        if let Some(placements) = &mut self.placements {
            placements.insert(asked.pod.metadata.key().to_string(), node.to_string());
        }
        let hints = self.placer.put(fact, node, &asked.shape) | Hints::POD_ADDED;
        self.queue.wake(hints, now);
    }

    fn sample(&mut self, now: Time) {
        let (used, total) = self.devices();
        let (cpu_used, cpu_total) = self.account.cpu();
        let point = [
            round(now.since(self.start).as_secs_f64(), 3),
            round(percent(used as f64, total as f64), 4),
            round(percent(cpu_used as f64, cpu_total as f64), 4),
            round(percent(self.fragmented(), total as f64), 4),
            (self.asked.len() - self.account.placed()) as f64,
        ];
        match self.points.last_mut().filter(|last| last[0] == point[0]) {
            Some(last) => *last = point,
            None => self.points.push(point),
        }
        if self.points.len() >= 2 * POINTS_MAX {
            let mut at = 0;
            self.points.retain(|_| {
                at += 1;
                at % 2 == 1
            });
        }
    }

    /// Thousandths of devices in use, and there.
    fn devices(&self) -> (i64, i64) {
        let nodes = self.placer.nodes.values();
        let total: i64 = nodes.clone().map(|n| n.whole.left_total()).sum();
        (total - nodes.map(|n| n.room.left_total()).sum::<i64>(), total)
    }

    fn fragmented(&self) -> f64 {
        self.placer.nodes.values().map(|n| self.mix.fragments(&n.room, n.model)).sum()
    }

    fn skew(&self) -> Skew {
        let devices = |name: &Arc<str>| {
            let node = self.placer.nodes.get(name)?;
            let whole = node.whole.left_total();
            (whole > 0).then(|| 1.0 - node.room.left_total() as f64 / whole as f64)
        };
        let uses: Vec<f64> = self.account.uses().map(|(n, cpu)| cpu.max(devices(n).unwrap_or(0.0))).collect();
        Skew { zones_max: self.account.zones_max(), ..Skew::of(&uses) }
    }

    fn finish(mut self) -> Run {
        let (used, total) = self.devices();
        let (cpu_used, cpu_total) = self.account.cpu();
        let mut refused = BTreeMap::<String, usize>::new();
        for reason in std::mem::take(&mut self.reasons).into_values() {
            *refused.entry(reason).or_default() += 1;
        }
        let waiting = self.asked.len() - self.account.placed();
        let has_devices = total > 0;
        let column = |at: usize| self.points.iter().map(|p| p[at]).collect::<Vec<f64>>();
        let series = Series {
            axis: Axis::Seconds,
            x: column(0),
            gpu: if has_devices { column(1) } else { Vec::new() },
            cpu: column(2),
            fragmented: if has_devices { column(3) } else { Vec::new() },
            waiting: column(4),
        };
        Run {
            nodes: self.account.nodes(),
            pods: self.arrived,
            unplaced: waiting,
            victims: self.victims,
            violations: self.account.overcommitted(),
            gpu_milli_allocated: used,
            gpu_milli_total: total,
            cpu_milli_allocated: cpu_used,
            cpu_milli_total: cpu_total,
            fragmented_milli: round(self.fragmented(), 2),
            idle_milli: total - used,
            typical_pods: self.mix.len(),
            skew: self.skew(),
            cores: self.stacking.cores(),
            waiting_seconds: Spread::of(std::mem::take(&mut self.waits)),
            latency_micros: Spread::of(std::mem::take(&mut self.latencies)),
            refused: most(refused),
            placements: self.placements.take().unwrap_or_default(),
            series,
            ..Run::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::from_manifests;
    use super::*;
    use crate::observer::Nobody;

    fn node(name: &str, allocatable: Value) -> Value {
        json!({"kind": "Node", "metadata": {"name": name}, "status": {"allocatable": allocatable}})
    }

    fn pod(name: &str, requests: Value, annotations: Value) -> Value {
        json!({"kind": "Pod", "metadata": {"name": name, "annotations": annotations},
            "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}})
    }

    fn replay(policy: PolicyName, manifests: &[Value]) -> Run {
        let (story, _) = from_manifests("s", manifests).unwrap();
        run(&story, &Settings { keep: true, ..Settings::policy(policy) }, &mut Nobody).unwrap()
    }

    fn places(run: &Run) -> Vec<(&str, &str)> {
        run.placements.iter().map(|(p, n)| (p.as_str(), n.as_str())).collect()
    }

    #[test]
    fn a_pod_waits_until_another_has_left() {
        let small = json!({"cpu": "1", "memory": "1Gi", "pods": "10"});
        let manifests = [
            node("n1", small),
            pod("first", json!({"cpu": "1"}), json!({"simulation.knarr.dev/lifetime": "60s"})),
            pod("second", json!({"cpu": "1"}), json!({"simulation.knarr.dev/at": "10s"})),
        ];
        let run = replay(PolicyName::DefaultScheduler, &manifests);
        assert_eq!(places(&run), [("default/first", "n1"), ("default/second", "n1")]);
        let waiting = run.waiting_seconds.unwrap();
        assert!((50.0..=60.0).contains(&waiting.max) && waiting.p50 == 0.0, "{waiting:?}");
        assert_eq!((run.pods, run.unplaced, run.violations), (2, 0, 0));
    }

    #[test]
    fn who_has_no_place_is_told_in_the_cores_words() {
        let manifests =
            [node("n1", json!({"cpu": "1", "pods": "10"})), pod("big", json!({"cpu": "2"}), json!({}))];
        let run = replay(PolicyName::Knarr, &manifests);
        assert_eq!((run.unplaced, run.refused.len()), (1, 1));
        let reason = run.refused.keys().next().unwrap();
        assert!(reason.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{reason}");
    }

    fn shares() -> Vec<Value> {
        let roomy = json!({"cpu": "64", "memory": "256Gi", "pods": "100", "nvidia.com/gpu": "2"});
        let share =
            |milli: &str| json!({"alibabacloud.com/gpu-milli": milli, "alibabacloud.com/gpu-count": "1"});
        let mut all = vec![node("a", roomy.clone()), node("b", roomy)];
        all.extend((0..4).map(|i| pod(&format!("p{i}"), json!({"cpu": "1"}), share("500"))));
        all.push(pod("whole", json!({"cpu": "1"}), share("1000")));
        all
    }

    #[test]
    fn shares_are_packed_by_a_policy_over_devices_and_spread_by_the_core_alone() {
        let packed = replay(PolicyName::Knarr, &shares());
        let nodes = |run: &Run| run.placements.values().cloned().collect::<BTreeSet<String>>().len();
        assert_eq!((packed.gpu_milli_allocated, packed.gpu_milli_total, packed.violations), (3000, 4000, 0));
        let spread = replay(PolicyName::DefaultScheduler, &shares());
        assert_eq!((spread.gpu_milli_allocated, nodes(&spread)), (3000, 2));
        assert!(packed.fragmented_milli <= spread.fragmented_milli);
    }

    #[test]
    fn a_device_is_never_given_away_twice() {
        let mut manifests = shares();
        manifests.extend(shares().into_iter().skip(2).map(|mut p| {
            p["metadata"]["name"] = json!(format!("more-{}", p["metadata"]["name"].as_str().unwrap()));
            p
        }));
        for policy in PolicyName::ALL {
            let run = replay(policy, &manifests);
            assert!(run.gpu_milli_allocated <= 4000 && run.violations == 0, "{policy:?}");
            assert!(run.unplaced > 0 && run.refused.keys().any(|r| r.contains("devices")), "{policy:?}");
        }
    }

    #[test]
    fn the_same_story_gives_the_same_bytes() {
        for policy in [PolicyName::DefaultScheduler, PolicyName::Knarr] {
            let text = || serde_json::to_string(&replay(policy, &shares())).unwrap();
            assert_eq!(text(), text());
        }
    }
}
