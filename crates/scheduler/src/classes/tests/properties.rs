//! What holds under bind failures, lost nodes, deletions and restarts, in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use stdx::Time;

use super::world::World;

const CPUS: u16 = 8;
/// Members of each gang; all must have a place.
const MIN: usize = 3;
const QUOTA_MILLI: i64 = 5000;
const GIVEN: &str = "scheduling.koordinator.sh/resource-status";

#[derive(Clone, Debug)]
enum Step {
    Gang(u8),
    Quota(u8),
    Bound(u8, bool),
    Delete(u8),
    Node(u8),
    LoseNode(u8),
    Fail(u8),
    Land(u8),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..4).prop_map(Step::Gang),
        3 => (0u8..4).prop_map(Step::Quota),
        3 => (0u8..3, any::<bool>()).prop_map(|(a, x)| Step::Bound(a, x)),
        2 => any::<u8>().prop_map(Step::Delete),
        2 => (0u8..4).prop_map(Step::Node),
        1 => (0u8..4).prop_map(Step::LoseNode),
        2 => any::<u8>().prop_map(Step::Fail),
        6 => any::<u8>().prop_map(Step::Land),
        3 => (1u8..12).prop_map(Step::Pass),
    ]
}

/// The story with what must hold of it.
struct Judged {
    world: World,
    made: usize,
    /// Gangs of which somebody was released once.
    started: BTreeSet<String>,
    /// How many of the binds under way were judged.
    seen: usize,
}

impl Judged {
    fn new() -> Judged {
        let mut world = World::new();
        let spec = json!({"min": {"cpu": "2"}, "max": {"cpu": format!("{QUOTA_MILLI}m")}});
        world.object(
            json!({"kind": "ElasticQuota", "metadata": {"namespace": "d", "name": "q"}, "spec": spec}),
        );
        let mut judged = Judged { world, made: 0, started: BTreeSet::new(), seen: 0 };
        judged.take(&Step::Node(0));
        judged
    }

    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{}", self.made)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Gang(n) => {
                for _ in 0..MIN {
                    let name = self.name(&format!("g{n}"));
                    self.world.member(&name, &format!("g{n}"), MIN, "1");
                }
            }
            Step::Quota(size) => {
                let name = self.name("q");
                let label = json!({"quota.scheduling.koordinator.sh/name": "q"});
                let requests = json!({"cpu": format!("{}m", 500 * (1 + i32::from(*size)))});
                self.world.pod(&name, label, json!({}), requests);
            }
            Step::Bound(app, excludes) => self.bound(*app, *excludes),
            Step::Delete(n) => {
                let at = usize::from(*n) % self.world.pods.len().max(1);
                let name = self.world.pods.keys().nth(at).cloned();
                name.into_iter().for_each(|name| self.world.delete(&name));
            }
            Step::Node(n) if self.world.nodes.contains_key(&format!("n{n}")) => {}
            Step::Node(n) => {
                let name = format!("n{n}");
                self.world.node(&name, CPUS.into());
                self.world.topology(&name, CPUS.into());
            }
            Step::LoseNode(n) => self.world.lose_node(&format!("n{n}")),
            Step::Fail(n) => self.end(*n, false),
            Step::Land(n) => self.end(*n, true),
            Step::Pass(secs) => self.world.now = Time::from_secs(self.world.now.secs() + i64::from(*secs)),
        }
        self.judge_released();
        self.world.decide();
        self.judge_released();
    }

    fn bound(&mut self, app: u8, excludes: bool) {
        let name = self.name("c");
        let others = if excludes { format!("app{}", (app + 1) % 3) } else { String::new() };
        let annotations = json!({"knarr.dev/cpu-application": format!("app{app}"), "knarr.dev/cpu-excludes": others,
            "scheduling.koordinator.sh/resource-spec": r#"{"preferredCPUBindPolicy":"SpreadByPCPUs"}"#});
        self.world.pod(&name, json!({"koordinator.sh/qosClass": "LSR"}), annotations, json!({"cpu": "2"}));
    }

    /// A bind that is under way ends.
    fn end(&mut self, n: u8, well: bool) {
        if self.world.flying.is_empty() {
            return;
        }
        let bind = self.world.flying.remove(usize::from(n) % self.world.flying.len());
        self.seen = self.world.flying.len();
        if well && self.world.nodes.contains_key(&*bind.placement.node) {
            self.world.land(&bind);
        } else {
            self.world.fail(&bind);
        }
    }

    /// Binds that came since last looked: a gang's first ones are at least its minimum.
    fn judge_released(&mut self) {
        let mut new = BTreeMap::<String, usize>::new();
        for bind in &self.world.flying[self.seen..] {
            if let Some((gang, _)) = bind.pod.name.split_once('-').filter(|(kind, _)| kind.starts_with('g')) {
                *new.entry(gang.to_owned()).or_default() += 1;
            }
        }
        self.seen = self.world.flying.len();
        for (gang, count) in new {
            assert!(count >= MIN || self.started.contains(&gang), "{count} of gang {gang} were released");
            self.started.insert(gang);
        }
        // With its last member a gang is forgotten.
        let pods = &self.world.pods;
        self.started.retain(|gang| pods.keys().any(|p| p.starts_with(&format!("{gang}-"))));
    }

    /// Everything that the objects themselves say.
    fn judge_objects(&self) {
        let mut quota = 0;
        let mut room = BTreeMap::<&str, i64>::new();
        let mut seats = Vec::new();
        for (name, pod) in self.world.pods.iter().filter(|(_, p)| p["spec"]["nodeName"].is_string()) {
            let node = pod["spec"]["nodeName"].as_str().unwrap();
            let asked = pod["spec"]["containers"][0]["resources"]["requests"]["cpu"].as_str().unwrap();
            let milli = match asked.strip_suffix('m') {
                Some(milli) => milli.parse::<i64>().unwrap(),
                None => asked.parse::<i64>().unwrap() * 1000,
            };
            *room.entry(node).or_default() += milli;
            if name.starts_with("q-") {
                quota += milli;
            }
            if name.starts_with("c-") {
                seats.extend(cpus(pod).into_iter().map(|cpu| (node, cpu, pod)));
            }
        }
        assert!(quota <= QUOTA_MILLI, "the quota is exceeded: {quota}");
        assert!(room.values().all(|milli| *milli <= i64::from(CPUS) * 1000), "more than there is: {room:?}");
        judge_cpus(&seats);
    }
}

/// No CPU has two holders, and nobody is on a core with whom it excludes. One row for each CPU that is held.
fn judge_cpus(seats: &[(&str, u16, &Value)]) {
    let word = |pod: &Value, key: &str| pod["metadata"]["annotations"][key].as_str().unwrap().to_owned();
    for (i, (node, cpu, pod)) in seats.iter().enumerate() {
        for (other_node, other_cpu, other) in &seats[i + 1..] {
            if node != other_node {
                continue;
            }
            assert_ne!(cpu, other_cpu, "a CPU of {node} has two holders");
            let meet = cpu % (CPUS / 2) == other_cpu % (CPUS / 2);
            let (app, with) = ("knarr.dev/cpu-application", "knarr.dev/cpu-excludes");
            let part = word(pod, with) == word(other, app) || word(other, with) == word(pod, app);
            assert!(
                !(meet && part),
                "{cpu} and {other_cpu} of {node} are of applications that exclude each other"
            );
        }
    }
}

/// The CPUs that a pod was given, read by hand: the judge does not trust the judged.
fn cpus(pod: &Value) -> Vec<u16> {
    let text = pod["metadata"]["annotations"][GIVEN].as_str().expect("CPUs are written with the node");
    let status: Value = serde_json::from_str(text).unwrap();
    let number = |t: &str| t.parse::<u16>().unwrap();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        number(first)..=number(last)
    };
    let cpus: Vec<u16> = status["cpuset"].as_str().unwrap().split(',').flat_map(range).collect();
    assert_eq!(cpus.len(), 2);
    cpus
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gangs_are_all_or_nothing_quotas_are_kept_and_no_exclusion_is_broken(steps in steps()) {
        let mut judged = Judged::new();
        for step in &steps {
            judged.take(step);
            judged.judge_objects();
        }
    }

    #[test]
    fn what_is_rebuilt_from_the_objects_equals_what_was_kept_up(steps in steps()) {
        let mut judged = Judged::new();
        steps.iter().for_each(|step| judged.take(step));
        // What is under way ends and who waits goes: only then do the objects say everything.
        for bind in std::mem::take(&mut judged.world.flying) {
            judged.world.fail(&bind);
        }
        let on: BTreeSet<String> = judged.world.bound().into_iter().map(str::to_owned).collect();
        let waiting: Vec<String> = judged.world.pods.keys().filter(|p| !on.contains(*p)).cloned().collect();
        waiting.iter().for_each(|name| judged.world.delete(name));
        prop_assert_eq!(judged.world.core.picture(), judged.world.rebuilt().picture());
    }

    #[test]
    fn a_gang_that_fits_starts_within_a_minute_whatever_came_before(steps in steps()) {
        let mut judged = Judged::new();
        steps.iter().for_each(|step| judged.take(step));
        for bind in std::mem::take(&mut judged.world.flying) {
            judged.world.fail(&bind);
        }
        let old: Vec<String> = judged.world.pods.keys().cloned().collect();
        old.iter().for_each(|name| judged.world.delete(name));
        judged.world.node("fresh", CPUS.into());
        for name in ["x", "y", "z"] {
            judged.world.member(name, "last", MIN, "1");
        }
        judged.world.pass(60);
        prop_assert_eq!(judged.world.bound().len(), MIN);
    }
}
