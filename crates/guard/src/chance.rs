//! Budgets under chance: late mirrors, lost answers, crashes of the ledger, and planted mistakes that must show.

use std::collections::VecDeque;
use std::time::Duration;

use api_core::{Node, Pod, PodDisruptionBudget, ReplicaSet};
use api_meta::{Object, ObjectKey};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reconcile::{Outcome, Permit, PermitRequest, Risk, Target, Verdict, World};
use serde_json::{Value, json};
use stdx::Time;

use crate::judge::watches;
use crate::{Guard, UNKNOWN_MAX, api};

const WANTED: usize = 4;
/// Away at once: of the workload under a disruption budget, of any workload, of a cell, of the cluster.
const MOST: (usize, usize, usize, usize) = (1, 2, 2, 3);
/// The longest that mirrors lag and pods take: shorter than what the guard gives an unanswered request.
const LAG_MAX: Duration = Duration::from_secs(40);

#[derive(Clone, Debug)]
enum Op {
    Ask {
        pod: usize,
        remove: bool,
    },
    Answer {
        request: usize,
        how: How,
    },
    Mirror {
        changes: usize,
    },
    /// One pod goes on by itself: ends, is replaced, becomes ready.
    Node {
        pod: usize,
    },
    Pass {
        secs: u64,
    },
    Crash,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Done,
    Refused,
    LostAfter,
    LostBefore,
}

fn op() -> impl Strategy<Value = Op> {
    let how = prop_oneof![
        4 => Just(How::Done), 1 => Just(How::Refused), 1 => Just(How::LostAfter), 1 => Just(How::LostBefore),
    ];
    prop_oneof![
        8 => (0..32_usize, any::<bool>()).prop_map(|(pod, remove)| Op::Ask { pod, remove }),
        6 => (0..8_usize, how).prop_map(|(request, how)| Op::Answer { request, how }),
        4 => (1..6_usize).prop_map(|changes| Op::Mirror { changes }),
        5 => (0..32_usize).prop_map(|pod| Op::Node { pod }),
        2 => (1..15_u64).prop_map(|secs| Op::Pass { secs }),
        1 => Just(Op::Crash),
    ]
}

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// The ledger is lost, and the mirrors are not read anew.
    ForgetsGrants,
    /// What is done is taken for seen.
    TrustsMirrorsAtOnce,
    /// No answer is taken for a refusal.
    TakesSilenceForNo,
    /// Nodes lose their cells.
    KnowsNoCells,
    /// The settings are not there.
    KnowsNoLimits,
    /// Disruption budgets are not there.
    KnowsNoBudgets,
    /// Pods that look away are disturbed without a question.
    AsksNotForPodsThatLookAway,
}

#[derive(Clone, Debug)]
struct TruePod {
    name: String,
    workload: usize,
    cell: usize,
    ready: bool,
    since: Time,
    terminating: bool,
    revision: u64,
}

impl TruePod {
    fn serves(&self) -> bool {
        self.ready && !self.terminating
    }

    fn view(&self) -> Pod {
        let status = if self.ready { "True" } else { "False" };
        let mut pod = json!({
            "metadata": {
                "name": self.name, "namespace": "shop", "uid": self.name, "labels": {"app": format!("w{}", self.workload)},
                "resourceVersion": self.revision.to_string(), "creationTimestamp": "1970-01-01T00:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("w{}", self.workload),
                    "uid": format!("w{}", self.workload), "controller": true}],
            },
            "spec": {"nodeName": format!("n{}", self.cell)},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": self.since}]},
        });
        if self.terminating {
            pod["metadata"]["deletionTimestamp"] = json!(self.since);
        }
        serde_json::from_value(pod).unwrap()
    }
}

enum Change {
    Is(TruePod, Time),
    Gone(String, Time),
}

struct Model {
    mistake: Mistake,
    guard: Guard,
    world: World,
    now: Time,
    revision: u64,
    names: u64,
    pods: Vec<TruePod>,
    /// Workloads (with the cell) whose next pod is not created yet.
    missing: Vec<(usize, usize)>,
    late: VecDeque<Change>,
    asked: Vec<PermitRequest>,
    granted: usize,
}

impl Model {
    fn new(mistake: Mistake) -> Model {
        let mut world = World::new();
        watches().iter().for_each(|w| w.register(&mut world));
        let mut model = Model {
            mistake,
            guard: Guard::new(),
            world,
            now: Time::from_secs(1_000_000),
            revision: 10,
            names: 0,
            pods: Vec::new(),
            missing: Vec::new(),
            late: VecDeque::new(),
            asked: Vec::new(),
            granted: 0,
        };
        model.furnish();
        model
    }

    fn furnish(&mut self) {
        let limits = json!({"cluster": {"maxUnavailable": MOST.3}, "cell": {"maxUnavailable": MOST.2}, "workload": {"maxUnavailable": MOST.1}});
        if self.mistake != Mistake::KnowsNoLimits {
            self.put::<api::Guard>(json!({"metadata": {"name": "default"}, "spec": {"limits": limits}}));
        }
        for n in 0..2 {
            let labels = if self.mistake == Mistake::KnowsNoCells {
                json!({})
            } else {
                json!({crate::CELL: format!("c{n}")})
            };
            self.put::<Node>(json!({"metadata": {"name": format!("n{n}"), "labels": labels}}));
            let set = json!({"metadata": {"name": format!("w{n}"), "namespace": "shop", "uid": format!("w{n}")}, "spec": {"replicas": WANTED}});
            self.put::<ReplicaSet>(set);
            (0..WANTED).for_each(|i| self.create(n, i % 2, true));
        }
        if self.mistake != Mistake::KnowsNoBudgets {
            self.put::<PodDisruptionBudget>(json!({"metadata": {"name": "w0", "namespace": "shop"},
                "spec": {"selector": {"matchLabels": {"app": "w0"}}, "maxUnavailable": MOST.0}}));
        }
        watches().iter().for_each(|w| w.feed().set_synced(&mut self.world, 10));
        self.mirror(usize::MAX);
    }

    fn put<T: Object>(&mut self, object: Value) {
        self.world.cache_mut::<T>().apply(serde_json::from_value(object).unwrap());
    }

    fn create(&mut self, workload: usize, cell: usize, ready: bool) {
        self.names += 1;
        self.revision += 1;
        let (name, since, revision) = (format!("p{}", self.names), self.now, self.revision);
        let pod = TruePod { name, workload, cell, ready, since, terminating: false, revision };
        self.late.push_back(Change::Is(pod.clone(), self.now));
        self.pods.push(pod);
    }

    fn change(&mut self, name: &str, how: impl FnOnce(&mut TruePod)) -> Option<u64> {
        let pod = self.pods.iter_mut().find(|p| p.name == name)?;
        self.revision += 1;
        pod.revision = self.revision;
        how(pod);
        self.late.push_back(Change::Is(pod.clone(), self.now));
        Some(self.revision)
    }

    fn mirror(&mut self, changes: usize) {
        for _ in 0..changes {
            match self.late.pop_front() {
                None => break,
                Some(Change::Is(pod, _)) => {
                    self.world.cache_mut::<Pod>().apply(pod.view());
                }
                Some(Change::Gone(name, _)) => {
                    self.world.cache_mut::<Pod>().remove(&ObjectKey::new("shop", name));
                }
            }
        }
        self.guard.observe(&self.world, self.now);
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Ask { pod, remove } => self.ask(*pod, *remove),
            Op::Answer { request, how } if !self.asked.is_empty() => {
                let request = self.asked.remove(request % self.asked.len());
                self.answer(&request, *how);
            }
            Op::Answer { .. } => {}
            Op::Mirror { changes } => self.mirror(*changes),
            Op::Node { pod } => self.node(*pod),
            Op::Pass { secs } => self.pass(*secs),
            Op::Crash => {
                for request in std::mem::take(&mut self.asked) {
                    self.answer(&request, How::LostAfter);
                }
                self.guard = Guard::new();
                self.mirror(usize::MAX);
            }
        }
    }

    fn ask(&mut self, number: usize, remove: bool) {
        let seen: Vec<_> = self.world.cache::<Pod>().iter().cloned().collect();
        let Some(pod) = (!seen.is_empty()).then(|| &seen[number % seen.len()]) else { return };
        if pod.metadata.is_terminating() {
            return;
        }
        let request = PermitRequest {
            controller: "test",
            risk: if remove { Risk::RemovePod } else { Risk::Restart },
            target: Target::of(&**pod),
            namespace: "shop".into(),
            workload: "shop/w".into(),
        };
        if self.mistake == Mistake::ForgetsGrants {
            self.guard = Guard::new();
        }
        let is_free = self.mistake == Mistake::AsksNotForPodsThatLookAway && !pod.is_ready();
        if is_free || self.guard.ask(&request, Some(&self.world), self.now) == Verdict::Granted {
            self.granted += 1;
            self.asked.push(request);
        }
    }

    fn answer(&mut self, request: &PermitRequest, how: How) {
        let is_done = matches!(how, How::Done | How::LostAfter);
        let remove = request.risk == Risk::RemovePod;
        let now = self.now;
        let revision = is_done.then(|| {
            self.change(&request.target.key.name, |pod| {
                if remove {
                    pod.terminating = true;
                } else {
                    pod.ready = false;
                }
                pod.since = now;
            })
        });
        let outcome = match how {
            How::Refused => Outcome::Undone,
            How::LostAfter | How::LostBefore => Outcome::Unknown,
            // A deletion's answer names no version.
            How::Done => Outcome::Done(revision.flatten().filter(|_| !remove)),
        };
        let outcome = match (self.mistake, outcome) {
            (Mistake::TrustsMirrorsAtOnce, Outcome::Done(_)) => Outcome::Undone,
            (Mistake::TakesSilenceForNo, Outcome::Unknown) => Outcome::Undone,
            (_, outcome) => outcome,
        };
        self.guard.settle(request, outcome, self.now);
    }

    fn node(&mut self, number: usize) {
        if let Some((workload, cell)) = self.missing.pop() {
            return self.create(workload, cell, false);
        }
        let number = number % self.pods.len();
        let pod = self.pods[number].clone();
        if pod.terminating {
            self.revision += 1;
            self.pods.remove(number);
            self.missing.push((pod.workload, pod.cell));
            self.late.push_back(Change::Gone(pod.name, self.now));
        } else if !pod.ready {
            let now = self.now;
            self.change(&pod.name, |p| {
                p.ready = true;
                p.since = now;
            });
        }
    }

    /// Time passes; what has taken long enough is done, what is late enough is seen, and requests end.
    fn pass(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
        let old = self.now - LAG_MAX;
        let is_old = |c: &Change| matches!(c, Change::Is(_, at) | Change::Gone(_, at) if *at < old);
        while self.late.front().is_some_and(is_old) {
            self.mirror(1);
        }
        (0..self.pods.len())
            .filter(|n| self.pods[*n].since < old)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .for_each(|n| {
                if !self.pods[n].serves() {
                    self.node(n);
                }
            });
        self.guard.observe(&self.world, self.now);
    }

    /// The first budget that is exceeded in truth.
    fn exceeded(&self) -> Option<String> {
        let away = |workload: Option<usize>, cell: Option<usize>| {
            let fits = |w: usize, c: usize| workload.is_none_or(|x| x == w) && cell.is_none_or(|x| x == c);
            let serving = self.pods.iter().filter(|p| p.serves() && fits(p.workload, p.cell)).count();
            let wanted = if workload.is_some() { WANTED } else { 2 * WANTED };
            let wanted = if cell.is_some() { wanted / 2 } else { wanted };
            wanted.saturating_sub(serving)
        };
        let counts = [
            ("disruption budget", away(Some(0), None), MOST.0),
            ("workload", away(Some(1), None), MOST.1),
            ("cell 0", away(None, Some(0)), MOST.2),
            ("cell 1", away(None, Some(1)), MOST.2),
            ("cluster", away(None, None), MOST.3),
        ];
        counts
            .iter()
            .find(|(_, away, most)| away > most)
            .map(|(n, away, most)| format!("{n}: {away} > {most}"))
    }
}

fn run(mistake: Mistake, ops: &[Op]) -> Result<usize, TestCaseError> {
    let mut model = Model::new(mistake);
    for (number, op) in ops.iter().enumerate() {
        model.step(op);
        if let Some(why) = model.exceeded() {
            return Err(TestCaseError::fail(format!("after step {number} {op:?}: {why}")));
        }
    }
    Ok(model.granted)
}

fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, max_shrink_iters: 2_000, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
}

#[test]
fn no_budget_is_ever_exceeded_however_late_the_mirrors_are() {
    assert!(LAG_MAX < UNKNOWN_MAX);
    let granted = std::cell::Cell::new(0);
    let outcome = runner(400).run(&vec(op(), 1..160), |ops| {
        granted.set(granted.get() + run(Mistake::None, &ops)?);
        Ok(())
    });
    outcome.unwrap_or_else(|e| panic!("{e}"));
    assert!(granted.get() > 1_000, "only {} grants: the guard holds everything", granted.get());
}

#[test]
fn every_planted_mistake_exceeds_a_budget() {
    let mistakes = [
        Mistake::ForgetsGrants,
        Mistake::TrustsMirrorsAtOnce,
        Mistake::TakesSilenceForNo,
        Mistake::KnowsNoCells,
        Mistake::KnowsNoLimits,
        Mistake::KnowsNoBudgets,
        Mistake::AsksNotForPodsThatLookAway,
    ];
    for mistake in mistakes {
        let found = runner(400).run(&vec(op(), 1..160), |ops| run(mistake, &ops).map(drop));
        assert!(found.is_err(), "{mistake:?} was not caught");
    }
}
