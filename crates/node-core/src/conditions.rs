//! Conditions of a pod, in the kubelet's words and order.

use api_meta::Condition;
use stdx::Time;

use crate::memory::Memory;
use crate::phase::Phase;
use crate::shape::{Role, Shape};

/// State of a condition that a readiness gate names; somebody else writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// The condition is not there.
    #[default]
    Missing,
    /// True.
    True,
    /// False.
    False,
    /// Unknown.
    Unknown,
}

impl Gate {
    /// The state of one condition among a pod's.
    pub fn of(conditions: &[Condition], kind: &str) -> Gate {
        match conditions.iter().find(|c| c.r#type == kind).map(|c| c.status.as_str()) {
            None => Gate::Missing,
            Some("True") => Gate::True,
            Some("False") => Gate::False,
            Some(_) => Gate::Unknown,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Gate::True => "True",
            Gate::False => "False",
            Gate::Missing | Gate::Unknown => "Unknown",
        }
    }
}

/// Conditions the node writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ReadyToStart,
    Initialized,
    Ready,
    ContainersReady,
    Scheduled,
}

/// How many conditions the node writes.
pub(crate) const KINDS: usize = 5;
pub(crate) const ALL: [(Kind, &str); KINDS] = [
    (Kind::ReadyToStart, "PodReadyToStartContainers"),
    (Kind::Initialized, "Initialized"),
    (Kind::Ready, "Ready"),
    (Kind::ContainersReady, "ContainersReady"),
    (Kind::Scheduled, "PodScheduled"),
];

/// A condition's status and since when.
pub(crate) type Mark = Option<(bool, Time)>;

/// What the conditions are judged from.
pub(crate) struct Facts<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) phase: Phase,
    pub(crate) has_address: bool,
    pub(crate) gates: &'a [Gate],
    /// Per container: ready (for init containers: done).
    pub(crate) ready: &'a [bool],
    pub(crate) initialized: bool,
    pub(crate) generation: i64,
}

struct Verdict {
    holds: bool,
    reason: &'static str,
    message: String,
}

const HOLDS: Verdict = Verdict { holds: true, reason: "", message: String::new() };

/// All conditions; remembers since when each holds.
pub(crate) fn of(facts: &Facts<'_>, memory: &mut Memory, now: Time) -> Vec<Condition> {
    let containers = containers_ready(facts);
    let ready = ready(facts, &containers);
    let verdicts = [
        Verdict { holds: facts.has_address && !facts.phase.is_final(), reason: "", message: String::new() },
        initialized(facts),
        ready,
        containers,
        HOLDS,
    ];
    let mut out = Vec::with_capacity(KINDS);
    for ((kind, name), verdict) in ALL.into_iter().zip(verdicts) {
        let mark = &mut memory.marks[kind as usize];
        let since = match *mark {
            Some((holds, since)) if holds == verdict.holds => since,
            _ => now.whole_secs(),
        };
        *mark = Some((verdict.holds, since));
        out.push(Condition {
            r#type: name.to_owned(),
            status: if verdict.holds { "True" } else { "False" }.to_owned(),
            last_transition_time: Some(since),
            observed_generation: (facts.generation > 0).then_some(facts.generation),
            reason: verdict.reason.to_owned(),
            message: verdict.message,
            ..Condition::default()
        });
    }
    out
}

fn names<'a>(facts: &Facts<'a>, wanted: impl Fn(usize) -> bool) -> Vec<&'a str> {
    (0..facts.ready.len()).filter(|i| wanted(*i)).map(|i| &*facts.shape.containers[i].name).collect()
}

fn initialized(facts: &Facts<'_>) -> Verdict {
    let is_init = |i: usize| facts.shape.containers[i].role != Role::Main;
    if facts.phase == Phase::Succeeded {
        return Verdict { holds: true, reason: "PodCompleted", message: String::new() };
    }
    if facts.initialized || !(0..facts.ready.len()).any(is_init) {
        return HOLDS;
    }
    let unready = names(facts, |i| is_init(i) && !facts.ready[i]);
    let message = format!("containers with incomplete status: [{}]", unready.join(" "));
    Verdict { holds: false, reason: "ContainersNotInitialized", message }
}

fn containers_ready(facts: &Facts<'_>) -> Verdict {
    let reason = match facts.phase {
        Phase::Succeeded => "PodCompleted",
        Phase::Failed => "PodFailed",
        _ => "",
    };
    if !reason.is_empty() {
        return Verdict { holds: false, reason, message: String::new() };
    }
    let counts = |i: usize| facts.shape.containers[i].role != Role::Init;
    let unready = names(facts, |i| counts(i) && !facts.ready[i]);
    if unready.is_empty() {
        return HOLDS;
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict { holds: false, reason: "ContainersNotReady", message }
}

fn ready(facts: &Facts<'_>, containers: &Verdict) -> Verdict {
    if !containers.holds {
        return Verdict { message: containers.message.clone(), ..*containers };
    }
    let mut parts = Vec::new();
    for (kind, gate) in
        facts.shape.gates.iter().zip(facts.gates.iter().chain(std::iter::repeat(&Gate::Missing)))
    {
        match gate {
            Gate::True => {}
            Gate::Missing => {
                parts.push(format!("corresponding condition of pod readiness gate {kind:?} does not exist."));
            }
            other => parts.push(format!(
                "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                other.word()
            )),
        }
    }
    if parts.is_empty() {
        return HOLDS;
    }
    Verdict { holds: false, reason: "ReadinessGatesNotReady", message: parts.join(", ") }
}
