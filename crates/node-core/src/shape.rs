//! The part of a pod's spec that its life depends on; pods of one template share it.

use std::sync::Arc;

use api_core::{Container, PodSpec, ResourceRequirements};
use serde_json::Value;

use crate::probe::{ProbeKind, Timing};

/// What a pod asks of its node, apart from who it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// When ended containers come back.
    pub restart: RestartPolicy,
    /// Init containers in their order, then the others.
    pub containers: Vec<ContainerShape>,
    /// Condition types of the readiness gates.
    pub gates: Vec<String>,
    /// Seconds between TERM and KILL.
    pub grace_secs: i64,
    /// Seconds the pod may be active.
    pub deadline_secs: Option<i64>,
    /// Class of service.
    pub qos: Qos,
}

/// When ended containers come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Always.
    Always,
    /// When they failed.
    OnFailure,
    /// Never.
    Never,
}

/// What a container is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// Starts among the init containers and keeps running.
    Sidecar,
    /// Runs beside the others.
    Main,
}

/// Class of service by requests and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Every container has limits equal to its requests for both cpu and memory.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

/// What one container asks of its node.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerShape {
    /// Name, unique in the pod.
    pub name: Arc<str>,
    /// Image.
    pub image: Arc<str>,
    /// What it is in its pod.
    pub role: Role,
    /// When it comes back.
    pub restart: RestartPolicy,
    /// Times of its probes, in the order of [`ProbeKind::ALL`].
    pub probes: [Option<Timing>; 3],
    /// Requests and limits.
    pub resources: Arc<ResourceRequirements>,
    /// Resources whose change restarts it.
    pub restart_on_resize: Vec<String>,
}

impl RestartPolicy {
    fn parse(text: &str) -> Option<RestartPolicy> {
        match text {
            "Always" => Some(RestartPolicy::Always),
            "OnFailure" => Some(RestartPolicy::OnFailure),
            "Never" => Some(RestartPolicy::Never),
            _ => None,
        }
    }

    /// Whether a container that ended with this code comes back.
    pub fn restarts(self, code: i32) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Never => false,
        }
    }
}

impl Qos {
    /// The word in `status.qosClass`.
    pub fn word(self) -> &'static str {
        match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        }
    }

    /// The class of a pod, as `GetPodQOS` of Kubernetes 1.36 computes it.
    pub fn of(spec: &PodSpec) -> Qos {
        let all: Vec<&ResourceRequirements> = match &spec.resources {
            Some(pod) if !pod.requests.is_empty() || !pod.limits.is_empty() => vec![pod],
            _ => spec.init_containers.iter().chain(&spec.containers).map(|c| &c.resources).collect(),
        };
        let is_set = |r: &&ResourceRequirements| {
            ["cpu", "memory"].iter().any(|name| {
                r.request(name).is_some_and(|q| q.milli() > 0) || r.limit(name).is_some_and(|q| q.milli() > 0)
            })
        };
        if !all.iter().any(is_set) {
            return Qos::BestEffort;
        }
        let is_fixed = |r: &&ResourceRequirements| {
            ["cpu", "memory"].iter().all(|name| match (r.limit(name), r.request(name)) {
                (Some(limit), Some(request)) => limit.milli() > 0 && limit == request,
                (Some(limit), None) => limit.milli() > 0,
                _ => false,
            })
        };
        if all.iter().all(is_fixed) { Qos::Guaranteed } else { Qos::Burstable }
    }
}

impl Shape {
    /// The shape of a pod.
    pub fn of(spec: &PodSpec) -> Shape {
        let restart = RestartPolicy::parse(&spec.restart_policy).unwrap_or(RestartPolicy::Always);
        let init = spec.init_containers.iter().map(|c| {
            let sidecar = c.restart_policy.as_deref() == Some("Always");
            container(c, if sidecar { Role::Sidecar } else { Role::Init }, restart)
        });
        let main = spec.containers.iter().map(|c| container(c, Role::Main, restart));
        Shape {
            restart,
            containers: init.chain(main).collect(),
            gates: spec.readiness_gates.iter().map(|g| g.condition_type.clone()).collect(),
            grace_secs: spec.termination_grace_period_seconds.unwrap_or(30),
            deadline_secs: spec.active_deadline_seconds,
            qos: Qos::of(spec),
        }
    }

    /// The place of a container by name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.containers.iter().position(|c| &*c.name == name)
    }

    /// Places of the containers that are not init containers.
    pub(crate) fn mains(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.with_role(|role| role == Role::Main)
    }

    /// Places of init containers and sidecars, in order.
    pub(crate) fn inits(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.with_role(|role| role != Role::Main)
    }

    fn with_role(&self, wanted: impl Fn(Role) -> bool) -> impl DoubleEndedIterator<Item = usize> {
        self.containers.iter().enumerate().filter(move |(_, c)| wanted(c.role)).map(|(i, _)| i)
    }
}

impl ContainerShape {
    /// Times of one of its probes.
    pub fn probe(&self, kind: ProbeKind) -> Option<&Timing> {
        self.probes[kind as usize].as_ref()
    }
}

fn container(c: &Container, role: Role, pod: RestartPolicy) -> ContainerShape {
    let own = c.restart_policy.as_deref().and_then(RestartPolicy::parse);
    // An init container that must not loop for ever still comes back after a failure, also under Always.
    let restart = match (own, role) {
        (Some(own), _) => own,
        (None, Role::Init) if pod == RestartPolicy::Always => RestartPolicy::OnFailure,
        (None, _) => pod,
    };
    let restarts = |policy: &&Value| policy["restartPolicy"] == "RestartContainer";
    ContainerShape {
        name: c.name.as_str().into(),
        image: c.image.as_str().into(),
        role,
        restart,
        probes: [&c.startup_probe, &c.readiness_probe, &c.liveness_probe].map(|p| p.as_ref().map(Timing::of)),
        resources: Arc::new(c.resources.clone()),
        restart_on_resize: c
            .resize_policy
            .iter()
            .filter(restarts)
            .filter_map(|p| p["resourceName"].as_str().map(str::to_owned))
            .collect(),
    }
}
