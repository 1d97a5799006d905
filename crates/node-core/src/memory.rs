//! What the machine remembers of a pod between two looks; lost with the agent and rebuilt from the pod's status.

use std::sync::Arc;

use api_core::{ContainerState, ContainerStateTerminated, ContainerStatus, PodStatus};
use stdx::Time;

use crate::backoff::Backoff;
use crate::conditions::{self, KINDS, Mark};
use crate::fact::{ContainerFact, Ended, Exit, Instance, InstanceState};
use crate::phase::Phase;
use crate::probe::{ProbeKind, ProbeState};
use crate::shape::Shape;

/// Remembered state of one pod.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub(crate) containers: Box<[ContainerMemory]>,
    pub(crate) marks: [Mark; KINDS],
    pub(crate) start_time: Option<Time>,
    pub(crate) phase: Phase,
    /// Set when the pod was ended by decision: its phase is Failed for this reason.
    pub(crate) verdict: Option<Box<(String, String)>>,
    /// When the grace of a pod being ended is over.
    pub(crate) stop_by: Option<Time>,
    pub(crate) initialized: bool,
}

/// Remembered state of one container.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerMemory {
    pub(crate) crash: Backoff,
    pub(crate) pull: Backoff,
    pub(crate) trouble: Option<Box<Trouble>>,
    probes: Option<Box<[ProbeState; 3]>>,
    /// Attempt of the instance that was seen last, plus one.
    seen: u32,
    /// Whether the instance seen last was running.
    pub(crate) was_running: bool,
    /// The attempt that was asked to stop, and by when.
    pub(crate) stop: Option<(u32, Time)>,
    /// Least attempt of the next instance.
    pub(crate) floor: u32,
    /// Whether this memory asked for the instance, so that its start is news.
    pub(crate) is_ours: bool,
}

/// Why a container could not be started.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) image: Arc<str>,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) at: Time,
}

impl Memory {
    /// The memory of a pod whose status, perhaps written by an earlier agent, is this.
    pub fn recover(shape: &Shape, status: &PodStatus) -> Memory {
        let mut marks = [None; KINDS];
        for (kind, name) in conditions::ALL {
            let old = status.conditions.iter().find(|c| c.r#type == name);
            marks[kind as usize] =
                old.and_then(|c| c.last_transition_time.map(|since| (c.status == "True", since)));
        }
        let phase = Phase::parse(&status.phase);
        let verdict = (phase == Phase::Failed && !status.reason.is_empty())
            .then(|| Box::new((status.reason.clone(), status.message.clone())));
        let containers = shape.containers.iter().map(|c| {
            let old = find(status, &c.name);
            let floor = old.filter(|s| !s.container_id.is_empty()).map_or(0, |s| attempt(s) + 1);
            ContainerMemory { floor, ..ContainerMemory::default() }
        });
        Memory {
            containers: containers.collect(),
            marks,
            start_time: status.start_time,
            phase,
            verdict,
            stop_by: None,
            initialized: false,
        }
    }

    /// Adapts to a shape that changed in place; containers keep their number and order over a pod's life.
    pub(crate) fn fit(&mut self, shape: &Shape) {
        if self.containers.len() != shape.containers.len() {
            let mut containers = std::mem::take(&mut self.containers).into_vec();
            containers.resize_with(shape.containers.len(), ContainerMemory::default);
            self.containers = containers.into();
        }
    }

    /// Notes that a container could not be started, and why: the reason is shown as its state.
    pub fn start_failed(&mut self, shape: &Shape, container: usize, reason: &str, message: &str, now: Time) {
        let Some(memory) = self.containers.get_mut(container) else { return };
        memory.pull.advance(now, now);
        memory.trouble = Some(Box::new(Trouble {
            image: shape.containers[container].image.clone(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            at: now,
        }));
    }

    /// Notes the result of a probe of the instance with this attempt.
    pub fn probe_result(
        &mut self,
        shape: &Shape,
        container: usize,
        kind: ProbeKind,
        attempt: u32,
        is_success: bool,
    ) {
        let Some(timing) = shape.containers.get(container).and_then(|c| c.probe(kind)) else { return };
        let Some(memory) = self.containers.get_mut(container) else { return };
        if memory.seen == attempt + 1 {
            memory.probe_mut(kind).note(timing, is_success);
        }
    }

    /// The phase last reported.
    pub fn phase(&self) -> Phase {
        self.phase
    }
}

impl ContainerMemory {
    /// Takes note of the newest instance: a new one starts with fresh probes and no trouble.
    pub(crate) fn look(&mut self, fact: &ContainerFact) {
        let Some(instance) = &fact.instance else { return };
        if self.seen != instance.attempt + 1 {
            self.seen = instance.attempt + 1;
            self.probes = None;
            self.was_running = false;
        }
        if self.trouble.is_some() && fact.is_alive() {
            self.trouble = None;
            self.pull = Backoff::default();
        }
        self.floor = self.floor.max(instance.attempt + 1);
    }

    pub(crate) fn probe(&self, kind: ProbeKind) -> ProbeState {
        self.probes.as_ref().map(|p| p[kind as usize]).unwrap_or_default()
    }

    pub(crate) fn probe_mut(&mut self, kind: ProbeKind) -> &mut ProbeState {
        &mut self.probes.get_or_insert_default()[kind as usize]
    }
}

/// What a runtime without records of its own knows: the containers as the pod's status tells them.
pub fn facts_of_status(shape: &Shape, status: &PodStatus) -> Vec<ContainerFact> {
    let fact = |c: &crate::ContainerShape| find(status, &c.name).map(|s| fact(c, s)).unwrap_or_default();
    shape.containers.iter().map(fact).collect()
}

fn find<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    status.init_container_statuses.iter().chain(&status.container_statuses).find(|s| s.name == name)
}

/// The attempt of the instance that a status tells of. One that was only being created when its node went away has not
/// run: then the instance is the one before, and its successor takes the same number again.
fn attempt(status: &ContainerStatus) -> u32 {
    let waits = status.state.waiting.as_ref().map(|w| w.reason.as_str());
    let is_creating = matches!(waits, Some("ContainerCreating" | "PodInitializing"));
    let count = u32::try_from(status.restart_count).unwrap_or(0);
    count - u32::from(is_creating && count > 0)
}

fn fact(shape: &crate::ContainerShape, status: &ContainerStatus) -> ContainerFact {
    let state = match &status.state {
        ContainerState { running: Some(running), .. } => {
            InstanceState::Running { since: running.started_at.unwrap_or_default() }
        }
        ContainerState { terminated: Some(ended), .. } => InstanceState::Exited(Box::new(exit(ended))),
        // Waiting to be restarted: the instance is the one that ended last.
        _ => match &status.last_state.terminated {
            Some(ended) => InstanceState::Exited(Box::new(exit(ended))),
            None => return ContainerFact::default(),
        },
    };
    let image: Arc<str> =
        if *status.image == *shape.image { shape.image.clone() } else { status.image.as_str().into() };
    let before = status.last_state.terminated.as_ref().map(|ended| {
        Box::new(Ended {
            id: ended.container_id.as_str().into(),
            image: image.clone(),
            image_id: status.image_id.as_str().into(),
            exit: exit(ended),
        })
    });
    let instance = Instance {
        id: status.container_id.as_str().into(),
        attempt: attempt(status),
        image,
        image_id: status.image_id.as_str().into(),
        state,
        resources: match &status.resources {
            Some(actual) if *actual != *shape.resources => Arc::new(actual.clone()),
            _ => shape.resources.clone(),
        },
    };
    ContainerFact { instance: Some(instance), before, ready: None }
}

fn exit(ended: &ContainerStateTerminated) -> Exit {
    Exit {
        code: ended.exit_code,
        signal: ended.signal,
        reason: ended.reason.clone(),
        message: ended.message.clone(),
        started: ended.started_at,
        finished: ended.finished_at.unwrap_or_default(),
    }
}
