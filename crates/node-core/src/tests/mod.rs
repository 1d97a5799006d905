//! Stories: a pod on a runtime made of data, told line by line.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use api_core::{ContainerState, ContainerStateTerminated, ContainerStateWaiting};
use api_core::{PodSpec, PodStatus};
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use stdx::Time;

use crate::*;

/// A pod, a runtime in memory and a clock.
struct World {
    shape: Shape,
    memory: Memory,
    facts: Vec<ContainerFact>,
    now: Time,
    deletion: Deletion,
    gates: Vec<Gate>,
    /// Images that cannot be pulled.
    missing: Vec<&'static str>,
    /// Containers that do not end on TERM.
    deaf: Vec<&'static str>,
    told: String,
    status: PodStatus,
    removed: bool,
}

impl World {
    fn new(spec: Value) -> World {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let shape = Shape::of(&spec);
        World {
            facts: vec![ContainerFact::default(); shape.containers.len()],
            gates: vec![Gate::Missing; shape.gates.len()],
            shape,
            memory: Memory::default(),
            now: Time::from_secs(1_000_000),
            deletion: Deletion::None,
            missing: Vec::new(),
            deaf: Vec::new(),
            told: String::new(),
            status: PodStatus::default(),
            removed: false,
        }
    }

    fn tell(&mut self, line: &str) {
        let at = self.now.secs() - 1_000_000;
        let _ = writeln!(self.told, "{at}s {line}");
    }

    fn change(&mut self, spec: Value) {
        self.shape = Shape::of(&serde_json::from_value(spec).unwrap());
    }

    /// Looks until nothing more is asked for; returns when to look again.
    fn settle(&mut self) -> Option<Time> {
        for _ in 0..20 {
            let outcome = self.look();
            if outcome.steps.is_empty() && outcome.probes.is_empty() {
                return outcome.wake;
            }
            for step in &outcome.steps {
                self.apply(step);
            }
            for (i, kind) in &outcome.probes {
                self.tell(&format!("probe {} {kind:?}", self.shape.containers[*i].name));
            }
        }
        panic!("does not settle:\n{}", self.told);
    }

    fn look(&mut self) -> Outcome {
        let view = PodView {
            namespace: "d",
            name: "p",
            uid: "u1",
            generation: 1,
            shape: &self.shape,
            deletion: self.deletion,
            gates: &self.gates,
            address: "127.64.64.1",
            host_address: "127.0.0.1",
            blocked: None,
        };
        let outcome = decide(&mut self.memory, &view, &self.facts, self.now);
        let line = summary(&outcome.status);
        if self.status.conditions.is_empty() || summary(&self.status) != line {
            self.tell(&line);
        }
        self.status = outcome.status.clone();
        outcome
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Start { container: i, attempt } => {
                let c = self.shape.containers[*i].clone();
                self.tell(&format!("start {} #{attempt} {}", c.name, c.image));
                if self.missing.iter().any(|image| **image == *c.image) {
                    self.memory.start_failed(&self.shape, *i, "ErrImagePull", "not found", self.now);
                    return;
                }
                let fact = &mut self.facts[*i];
                let before = fact.instance.take().and_then(|old| {
                    let exit = old.exit()?.clone();
                    Some(Box::new(Ended { id: old.id, image: old.image, image_id: old.image_id, exit }))
                });
                *fact = ContainerFact {
                    instance: Some(Instance {
                        id: format!("t://{}{attempt}", c.name).into(),
                        attempt: *attempt,
                        image: c.image.clone(),
                        image_id: format!("id-{}", c.image).into(),
                        state: InstanceState::Running { since: self.now },
                        resources: c.resources.clone(),
                    }),
                    before,
                    ready: None,
                };
            }
            Step::Stop { container: i, grace } => {
                let name = self.shape.containers[*i].name.clone();
                self.tell(&format!("stop {name} in {} s", grace.as_secs()));
                if !self.deaf.iter().any(|d| **d == *name) {
                    self.exit(&name, 143);
                }
            }
            Step::Resize { container: i } => {
                self.tell(&format!("resize {}", self.shape.containers[*i].name));
                let resources = self.shape.containers[*i].resources.clone();
                self.facts[*i].instance.as_mut().unwrap().resources = resources;
            }
            Step::Remove => {
                assert!(!self.removed || self.deletion != Deletion::None);
                if !std::mem::replace(&mut self.removed, true) {
                    self.tell("remove");
                }
            }
        }
    }

    fn exit(&mut self, name: &str, code: i32) {
        let i = self.shape.position(name).unwrap();
        let now = self.now;
        let instance = self.facts[i].instance.as_mut().unwrap();
        let exit = Exit { code, started: instance.running_since(), finished: now, ..Exit::default() };
        instance.state = InstanceState::Exited(Box::new(exit));
    }

    fn probe(&mut self, name: &str, kind: ProbeKind, ok: bool) {
        let i = self.shape.position(name).unwrap();
        let attempt = self.facts[i].instance.as_ref().unwrap().attempt;
        self.memory.probe_result(&self.shape, i, kind, attempt, ok);
    }

    fn wait(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
    }

    fn told(&self, expected: &Expect) {
        expected.assert_eq(&self.told);
    }
}

/// `Running [ready containers] conditions that hold; states`.
fn summary(status: &PodStatus) -> String {
    let states = status.init_container_statuses.iter().chain(&status.container_statuses).map(|s| {
        let state = match (&s.state.waiting, &s.state.terminated) {
            (Some(w), _) => w.reason.clone(),
            (_, Some(t)) => format!("exit {}", t.exit_code),
            _ => if s.ready { "ready" } else { "up" }.to_owned(),
        };
        format!("{}#{}={state}", s.name, s.restart_count)
    });
    let states: Vec<String> = states.collect();
    let ready = status.conditions.iter().find(|c| c.r#type == "Ready").unwrap();
    let reason = if status.reason.is_empty() { String::new() } else { format!(" ({})", status.reason) };
    format!("{}{reason} Ready={} | {}", status.phase, ready.status, states.join(" "))
}

fn one(image: &str) -> Value {
    json!({"containers": [{"name": "a", "image": image}]})
}

#[test]
fn a_pod_starts_runs_and_goes() {
    let mut w = World::new(one("x:1"));
    w.settle();
    w.wait(5);
    w.deaf = vec!["a"];
    w.deletion = Deletion::Asked(20);
    w.settle();
    w.wait(20);
    w.exit("a", 137);
    let outcome = w.look();
    assert_eq!(outcome.steps, [Step::Remove]);
    w.told(&expect![[r#"
        0s Pending Ready=False | a#0=ContainerCreating
        0s start a #0 x:1
        0s Running Ready=True | a#0=ready
        5s stop a in 20 s
        25s Failed Ready=False | a#0=exit 137
    "#]]);
}

#[test]
fn a_shorter_grace_is_passed_on_and_a_longer_one_is_not() {
    let mut w = World::new(one("x:1"));
    w.settle();
    w.deaf = vec!["a"];
    w.deletion = Deletion::Asked(30);
    w.settle();
    w.deletion = Deletion::Asked(60);
    w.settle();
    w.deletion = Deletion::Asked(1);
    w.settle();
    assert!(w.told.ends_with("stop a in 30 s\n0s stop a in 1 s\n"), "{}", w.told);
}

#[test]
fn a_crashing_container_backs_off() {
    let mut w = World::new(one("x:1"));
    w.settle();
    for _ in 0..4 {
        w.wait(1);
        w.exit("a", 1);
        if let Some(wake) = w.settle() {
            w.now = wake;
            w.settle();
        }
    }
    assert_eq!(
        w.status.container_statuses[0]
            .last_state
            .terminated
            .as_ref()
            .map(|t| (t.exit_code, t.container_id.as_str())),
        Some((1, "t://a3"))
    );
    w.told(&expect![[r#"
        0s Pending Ready=False | a#0=ContainerCreating
        0s start a #0 x:1
        0s Running Ready=True | a#0=ready
        1s Running Ready=False | a#0=exit 1
        1s start a #1 x:1
        1s Running Ready=True | a#1=ready
        2s Running Ready=False | a#1=CrashLoopBackOff
        12s Running Ready=False | a#1=exit 1
        12s start a #2 x:1
        12s Running Ready=True | a#2=ready
        13s Running Ready=False | a#2=CrashLoopBackOff
        33s Running Ready=False | a#2=exit 1
        33s start a #3 x:1
        33s Running Ready=True | a#3=ready
        34s Running Ready=False | a#3=CrashLoopBackOff
        74s Running Ready=False | a#3=exit 1
        74s start a #4 x:1
        74s Running Ready=True | a#4=ready
    "#]]);
}

#[test]
fn init_containers_run_in_order_and_sidecars_outlive_the_others() {
    let mut w = World::new(json!({
        "initContainers": [
            {"name": "i1", "image": "i"},
            {"name": "s", "image": "s", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}},
            {"name": "i2", "image": "i"},
        ],
        "containers": [{"name": "a", "image": "x:1"}],
    }));
    w.settle();
    w.wait(1);
    w.exit("i1", 0);
    w.settle();
    w.probe("s", ProbeKind::Startup, true);
    w.settle();
    w.wait(1);
    w.exit("i2", 0);
    w.settle();
    w.wait(1);
    w.deletion = Deletion::Asked(30);
    w.settle_removed();
    w.told(&expect![[r#"
        0s Pending Ready=False | i1#0=PodInitializing s#0=PodInitializing i2#0=PodInitializing a#0=PodInitializing
        0s start i1 #0 i
        0s Pending Ready=False | i1#0=up s#0=PodInitializing i2#0=PodInitializing a#0=PodInitializing
        1s Pending Ready=False | i1#0=exit 0 s#0=PodInitializing i2#0=PodInitializing a#0=PodInitializing
        1s start s #0 s
        1s Pending Ready=False | i1#0=exit 0 s#0=up i2#0=PodInitializing a#0=PodInitializing
        1s probe s Startup
        1s Pending Ready=False | i1#0=exit 0 s#0=ready i2#0=PodInitializing a#0=PodInitializing
        1s start i2 #0 i
        1s Pending Ready=False | i1#0=exit 0 s#0=ready i2#0=up a#0=PodInitializing
        2s Pending Ready=False | i1#0=exit 0 s#0=ready i2#0=exit 0 a#0=PodInitializing
        2s start a #0 x:1
        2s Running Ready=True | i1#0=exit 0 s#0=ready i2#0=exit 0 a#0=ready
        3s stop a in 30 s
        3s Running Ready=False | i1#0=exit 0 s#0=ready i2#0=exit 0 a#0=exit 143
        3s stop s in 30 s
        3s Failed Ready=False | i1#0=exit 0 s#0=exit 143 i2#0=exit 0 a#0=exit 143
        3s remove
    "#]]);
}

impl World {
    fn settle_removed(&mut self) {
        for _ in 0..10 {
            let steps = self.look().steps;
            steps.iter().for_each(|s| self.apply(s));
            if self.removed {
                return;
            }
        }
        panic!("is not removed:\n{}", self.told);
    }
}

#[test]
fn a_new_image_replaces_only_its_container() {
    let spec = |image: &str| {
        json!({"readinessGates": [{"conditionType": "InPlaceUpdateReady"}],
               "containers": [{"name": "a", "image": image}, {"name": "b", "image": "y:1"}]})
    };
    let mut w = World::new(spec("x:1"));
    w.gates = vec![Gate::True];
    w.settle();
    let b = w.facts[1].clone();
    w.wait(10);
    w.gates = vec![Gate::False];
    w.change(spec("x:2"));
    w.settle();
    assert_eq!(w.facts[1], b);
    assert_eq!(w.status.container_statuses[0].image_id, "id-x:2");
    assert_eq!(
        w.status.conditions[2].message,
        "the status of pod readiness gate \"InPlaceUpdateReady\" is not \"True\", but False"
    );
    w.gates = vec![Gate::True];
    w.settle();
    w.told(&expect![[r#"
        0s Pending Ready=False | a#0=ContainerCreating b#0=ContainerCreating
        0s start a #0 x:1
        0s start b #0 y:1
        0s Running Ready=True | a#0=ready b#0=ready
        10s Running Ready=False | a#0=ready b#0=ready
        10s stop a in 30 s
        10s Running Ready=False | a#0=exit 143 b#0=ready
        10s start a #1 x:2
        10s Running Ready=False | a#1=ready b#0=ready
        10s Running Ready=True | a#1=ready b#0=ready
    "#]]);
}

#[test]
fn an_image_that_cannot_be_pulled_is_named_and_a_good_one_helps_at_once() {
    let mut w = World::new(one("x:bad"));
    w.missing = vec!["x:bad"];
    let first = w.settle();
    assert_eq!(first, Some(w.now + Duration::from_secs(2)));
    for _ in 0..3 {
        w.now = w.settle().unwrap();
    }
    w.settle();
    w.change(one("x:2"));
    w.settle();
    w.told(&expect![[r#"
        0s Pending Ready=False | a#0=ContainerCreating
        0s start a #0 x:bad
        0s Pending Ready=False | a#0=ErrImagePull
        2s Pending Ready=False | a#0=ImagePullBackOff
        10s start a #0 x:bad
        10s Pending Ready=False | a#0=ErrImagePull
        12s Pending Ready=False | a#0=ImagePullBackOff
        12s Pending Ready=False | a#0=ContainerCreating
        12s start a #0 x:2
        12s Running Ready=True | a#0=ready
    "#]]);
}

#[test]
fn a_failing_liveness_probe_restarts_and_readiness_only_unreadies() {
    let probe = json!({"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 2});
    let mut w = World::new(json!({"containers": [
        {"name": "a", "image": "x", "livenessProbe": probe, "readinessProbe": probe}]}));
    w.settle();
    w.probe("a", ProbeKind::Readiness, true);
    w.probe("a", ProbeKind::Liveness, true);
    w.settle();
    for ok in [false, false] {
        w.wait(1);
        w.settle();
        w.probe("a", ProbeKind::Readiness, ok);
        w.probe("a", ProbeKind::Liveness, true);
    }
    w.settle();
    for _ in 0..2 {
        w.wait(1);
        w.settle();
        w.probe("a", ProbeKind::Readiness, true);
        w.probe("a", ProbeKind::Liveness, false);
    }
    w.settle();
    w.told(&expect![[r#"
        0s Pending Ready=False | a#0=ContainerCreating
        0s start a #0 x
        0s Running Ready=False | a#0=up
        0s probe a Readiness
        0s probe a Liveness
        0s Running Ready=True | a#0=ready
        1s probe a Readiness
        1s probe a Liveness
        2s probe a Readiness
        2s probe a Liveness
        2s Running Ready=False | a#0=up
        3s probe a Readiness
        3s probe a Liveness
        4s Running Ready=True | a#0=ready
        4s probe a Readiness
        4s probe a Liveness
        4s stop a in 30 s
        4s Running Ready=False | a#0=exit 143
        4s start a #1 x
        4s Running Ready=False | a#1=up
        4s probe a Readiness
        4s probe a Liveness
    "#]]);
}

#[test]
fn a_job_pod_succeeds_once_and_stays_so() {
    let mut w =
        World::new(json!({"restartPolicy": "OnFailure", "containers": [{"name": "a", "image": "x"}]}));
    w.settle();
    w.exit("a", 3);
    w.settle();
    w.wait(2);
    w.exit("a", 0);
    w.settle();
    w.change(json!({"restartPolicy": "OnFailure", "containers": [{"name": "a", "image": "x:2"}]}));
    w.settle();
    w.told(&expect![[r#"
        0s Pending Ready=False | a#0=ContainerCreating
        0s start a #0 x
        0s Running Ready=True | a#0=ready
        0s Running Ready=False | a#0=exit 3
        0s start a #1 x
        0s Running Ready=True | a#1=ready
        2s Succeeded Ready=False | a#1=exit 0
    "#]]);
}

#[test]
fn a_pod_past_its_deadline_fails_with_the_reason() {
    let mut w = World::new(json!({"activeDeadlineSeconds": 60, "containers": [{"name": "a", "image": "x"}]}));
    let wake = w.settle();
    assert_eq!(wake, Some(w.now + Duration::from_secs(60)));
    w.wait(60);
    w.settle();
    assert!(w.told.ends_with("Failed (DeadlineExceeded) Ready=False | a#0=exit 143\n"), "{}", w.told);
}

#[test]
fn a_resize_acts_without_a_restart_unless_the_policy_asks_for_one() {
    let spec = |cpu: &str, memory: &str| {
        json!({"containers": [{"name": "a", "image": "x",
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
            "resources": {"requests": {"cpu": cpu, "memory": memory}}}]})
    };
    let mut w = World::new(spec("1", "1Gi"));
    w.settle();
    w.change(spec("2", "1Gi"));
    w.settle();
    let resources = w.status.container_statuses[0].resources.clone().unwrap();
    assert_eq!(resources.requests["cpu"], "2");
    w.change(spec("2", "2Gi"));
    w.settle();
    assert!(w.told.contains("resize a") && w.told.ends_with("a#1=ready\n"), "{}", w.told);
}

#[test]
fn an_agent_that_forgot_everything_asks_for_nothing_new() {
    let mut w = World::new(json!({
        "initContainers": [{"name": "i", "image": "i"}],
        "containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}],
    }));
    w.settle();
    w.exit("i", 0);
    w.settle();
    w.exit("b", 1);
    w.settle();
    let before = w.status.clone();
    w.memory = Memory::recover(&w.shape, &before);
    w.facts = facts_of_status(&w.shape, &before);
    w.wait(60);
    assert_eq!(w.look().steps, []);
    assert_eq!(w.status, before);
}

#[test]
fn restart_counts_go_on_when_the_records_are_lost() {
    let mut w = World::new(one("x"));
    w.settle();
    w.exit("a", 1);
    w.settle();
    w.memory = Memory::recover(&w.shape, &w.status.clone());
    w.facts = vec![ContainerFact::default()];
    let steps = w.look().steps;
    assert_eq!(steps, [Step::Start { container: 0, attempt: 2 }]);
}

#[test]
fn a_container_that_was_only_being_created_takes_the_same_number_again() {
    let mut w = World::new(one("x"));
    w.settle();
    let mut status = w.status.clone();
    let told = &mut status.container_statuses[0];
    told.last_state.terminated = Some(ContainerStateTerminated {
        container_id: told.container_id.clone(),
        exit_code: 143,
        ..ContainerStateTerminated::default()
    });
    told.restart_count = 1;
    told.state = ContainerState {
        waiting: Some(ContainerStateWaiting { reason: "ContainerCreating".into(), message: String::new() }),
        ..ContainerState::default()
    };
    w.memory = Memory::recover(&w.shape, &status);
    w.facts = facts_of_status(&w.shape, &status);
    assert_eq!(w.look().steps, [Step::Start { container: 0, attempt: 1 }]);
}

#[test]
fn while_the_next_instance_is_made_the_status_names_the_image_of_the_one_before() {
    let mut w = World::new(one("x"));
    w.settle();
    let fact = &mut w.facts[0];
    let old = fact.instance.clone().unwrap();
    let exit = Exit::default();
    fact.before = Some(Box::new(Ended { id: old.id, image: old.image, image_id: old.image_id, exit }));
    let new = fact.instance.as_mut().unwrap();
    (new.image, new.image_id, new.state) = ("y".into(), "id-y".into(), InstanceState::Creating);
    w.look();
    let told = &w.status.container_statuses[0];
    assert_eq!((told.image.as_str(), told.image_id.as_str()), ("x", "id-x"));
}

#[test]
fn classes_of_service_follow_requests_and_limits() {
    let class = |resources: Value| {
        let spec = json!({"containers": [{"name": "a", "image": "x", "resources": resources}]});
        World::new(spec).shape.qos.word()
    };
    assert_eq!(class(json!({})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
    let same =
        json!({"requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    assert_eq!(class(same), "Guaranteed");
}

#[test]
fn shared_parts_of_a_shape_are_not_copied_into_instances() {
    let mut w = World::new(one("x"));
    w.settle();
    let image = &w.facts[0].instance.as_ref().unwrap().image;
    assert!(Arc::ptr_eq(image, &w.shape.containers[0].image));
}
