//! The status a node reports for a pod.

use api_core::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    PodIp, PodStatus,
};
use stdx::Time;

use crate::conditions::{self, Facts};
use crate::fact::{ContainerFact, Exit, InstanceState};
use crate::machine::PodView;
use crate::memory::Memory;
use crate::phase::Phase;
use crate::shape::Role;

/// Why a container that has no live instance waits; nothing when it does not.
pub(crate) type Waiting = Option<(String, String)>;

/// What `decide` found out about each container.
pub(crate) struct Judged {
    pub(crate) ready: Vec<bool>,
    pub(crate) started: Vec<bool>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) initialized: bool,
}

/// The whole status of the pod.
pub(crate) fn of(
    pod: &PodView<'_>,
    facts: &[ContainerFact],
    judged: &Judged,
    phase: Phase,
    memory: &mut Memory,
    now: Time,
) -> PodStatus {
    let conditions = conditions::of(
        &Facts {
            shape: pod.shape,
            phase,
            has_address: !pod.address.is_empty(),
            gates: pod.gates,
            ready: &judged.ready,
            initialized: judged.initialized,
            generation: pod.generation,
        },
        memory,
        now,
    );
    let of_role = |wanted: &dyn Fn(Role) -> bool| -> Vec<ContainerStatus> {
        let all = pod.shape.containers.iter().enumerate().filter(|(_, c)| wanted(c.role));
        all.map(|(i, _)| container(pod, &facts[i], judged, i)).collect()
    };
    let (reason, message) = match &memory.verdict {
        Some(verdict) if phase == Phase::Failed => (**verdict).clone(),
        _ => <(String, String)>::default(),
    };
    let address = pod.address.to_owned();
    PodStatus {
        phase: phase.word().to_owned(),
        conditions,
        reason,
        message,
        pod_ips: if address.is_empty() { Vec::new() } else { vec![PodIp { ip: address.clone() }] },
        pod_ip: address,
        host_ip: pod.host_address.to_owned(),
        start_time: memory.start_time.map(Time::whole_secs),
        container_statuses: of_role(&|role| role == Role::Main),
        init_container_statuses: of_role(&|role| role != Role::Main),
        qos_class: pod.shape.qos.word().to_owned(),
        observed_generation: (pod.generation > 0).then_some(pod.generation),
        ..PodStatus::default()
    }
}

fn container(pod: &PodView<'_>, fact: &ContainerFact, judged: &Judged, i: usize) -> ContainerStatus {
    let shape = &pod.shape.containers[i];
    let mut out = ContainerStatus {
        name: shape.name.to_string(),
        image: shape.image.to_string(),
        ready: judged.ready[i],
        started: Some(judged.started[i]),
        ..ContainerStatus::default()
    };
    if let Some(before) = &fact.before {
        out.last_state.terminated = Some(terminated(&before.exit, &before.id));
    }
    let Some(instance) = &fact.instance else {
        out.state.waiting = Some(waiting(pod, judged, i));
        return out;
    };
    out.restart_count = i32::try_from(instance.attempt).unwrap_or(i32::MAX);
    out.container_id = instance.id.to_string();
    out.image_id = instance.image_id.to_string();
    out.image = instance.image.to_string();
    match &instance.state {
        InstanceState::Creating => {
            out.state.waiting = Some(waiting(pod, judged, i));
            // Until it runs, the instance before is the one that clients may compare with.
            let before = fact.before.as_ref();
            out.container_id = before.map_or_else(String::new, |b| b.id.to_string());
            out.image_id = before.map_or_else(String::new, |b| b.image_id.to_string());
            out.image = before.map_or(&instance.image, |b| &b.image).to_string();
        }
        InstanceState::Running { since } => {
            let resources = &instance.resources;
            out.state.running = Some(ContainerStateRunning { started_at: Some(since.whole_secs()) });
            if **resources != api_core::ResourceRequirements::default() {
                out.resources = Some((**resources).clone());
                out.allocated_resources = shape.resources.requests.clone();
            }
        }
        InstanceState::Exited(exit) => {
            let ended = terminated(exit, &instance.id);
            match &judged.waiting[i] {
                Some(_) => {
                    out.state.waiting = Some(waiting(pod, judged, i));
                    out.last_state = ContainerState { terminated: Some(ended), ..ContainerState::default() };
                }
                None => out.state.terminated = Some(ended),
            }
        }
    }
    out
}

fn waiting(pod: &PodView<'_>, judged: &Judged, i: usize) -> ContainerStateWaiting {
    let has_init = pod.shape.inits().next().is_some();
    let default = if has_init { "PodInitializing" } else { "ContainerCreating" };
    let (reason, message) = judged.waiting[i].clone().unwrap_or_else(|| (default.to_owned(), String::new()));
    ContainerStateWaiting { reason, message }
}

fn terminated(exit: &Exit, id: &str) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: exit.code,
        signal: exit.signal,
        reason: exit.reason().to_owned(),
        message: exit.message.clone(),
        started_at: exit.started.map(Time::whole_secs),
        finished_at: Some(exit.finished.whole_secs()),
        container_id: id.to_owned(),
    }
}
