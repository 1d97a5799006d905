//! The pod's phase from its containers, as `getPhase` of the kubelet.

use crate::fact::{ContainerFact, InstanceState};
use crate::shape::{RestartPolicy, Role, Shape};

/// The phase of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have started yet.
    #[default]
    Pending,
    /// Something runs or is being restarted.
    Running,
    /// Everything ended well.
    Succeeded,
    /// Something ended badly and will not come back.
    Failed,
}

impl Phase {
    /// The word in `status.phase`.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        }
    }

    /// Reads the word; anything else counts as pending.
    pub fn parse(text: &str) -> Phase {
        match text {
            "Running" => Phase::Running,
            "Succeeded" => Phase::Succeeded,
            "Failed" => Phase::Failed,
            _ => Phase::Pending,
        }
    }

    /// Whether the pod has ended for good.
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed)
    }
}

/// Counts of the containers that are not init containers.
#[derive(Default)]
struct Census {
    waiting: usize,
    running: usize,
    stopped: usize,
    succeeded: usize,
}

/// The phase these facts amount to. `is_over`: nothing will be started any more.
pub(crate) fn of(shape: &Shape, facts: &[ContainerFact], initialized: bool, is_over: bool) -> Phase {
    let failed_init = shape.inits().any(|i| {
        shape.containers[i].role == Role::Init && facts[i].exit().is_some_and(|e| e.code != 0) && !initialized
    });
    if failed_init && shape.restart == RestartPolicy::Never {
        return Phase::Failed;
    }
    let census = census(shape, facts);
    if (!initialized && !is_over) || census.waiting > 0 {
        return Phase::Pending;
    }
    if census.running > 0 {
        return Phase::Running;
    }
    let restarts = |i: usize| facts[i].exit().is_some_and(|e| shape.containers[i].restart.restarts(e.code));
    if !is_over && shape.mains().any(restarts) {
        return Phase::Running;
    }
    if census.stopped == census.succeeded { Phase::Succeeded } else { Phase::Failed }
}

fn census(shape: &Shape, facts: &[ContainerFact]) -> Census {
    let mut census = Census::default();
    for i in shape.mains() {
        match facts[i].instance.as_ref().map(|instance| &instance.state) {
            None => census.waiting += 1,
            Some(InstanceState::Creating) if facts[i].before.is_some() => census.stopped += 1,
            Some(InstanceState::Creating) => census.waiting += 1,
            Some(InstanceState::Running { .. }) => census.running += 1,
            Some(InstanceState::Exited(exit)) => {
                census.stopped += 1;
                census.succeeded += usize::from(exit.code == 0);
            }
        }
    }
    census
}
