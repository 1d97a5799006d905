//! One pod of this agent: its newest form, what the machine remembers of it, and what was told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api_core::{Container, Pod, PodStatus, Probe, lost};
use node_core::report::{self, Reasoned};
use node_core::{ContainerFact, Deletion, Gate, Memory, Outcome, PodView, ProbeKind, Shape, decide};
use stdx::Time;

use crate::resolve::Sources;
use crate::runtime::{Refusal, Remark};

/// A status that was overwritten is told again at most once in this time: the node may not be believed yet.
const AGAIN: Duration = Duration::from_secs(1);

/// Whether the pod's address and volumes are there.
pub(crate) enum Preparation {
    /// To be asked for, not before this time.
    Wanted(Time),
    /// Under way.
    Asked,
    /// Done.
    Done(Arc<Sources>),
}

/// One pod.
pub(crate) struct Worker {
    pub(crate) pod: Arc<Pod>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) memory: Memory,
    pub(crate) address: Option<IpAddr>,
    pub(crate) preparation: Preparation,
    pub(crate) refusal: Option<Refusal>,
    /// When tokens in its volumes are to be renewed; nothing while that is under way.
    pub(crate) renew_at: Option<Time>,
    /// Its volumes are to be filled again, with what was renewed.
    pub(crate) wants_refill: bool,
    pub(crate) deletion: Deletion,
    pub(crate) wake: Option<Time>,
    pub(crate) remarks: BTreeSet<Remark>,
    /// Messages of failed probes already told, by container and kind; a success clears them.
    pub(crate) unhealthy: BTreeMap<(usize, ProbeKind), String>,
    /// Instances whose preStop hook has been started.
    pub(crate) stopped: BTreeSet<(usize, u32)>,
    reported: u64,
    reasoned: Reasoned,
    is_first: bool,
    is_let_go: bool,
    /// The server shows the pod as not ready because its node was silent.
    is_marked: bool,
    told_again: Option<Time>,
    /// When to tell a status again that was overwritten.
    pub(crate) tell_at: Option<Time>,
}

impl Worker {
    pub(crate) fn new(pod: Pod, address: Option<IpAddr>) -> Worker {
        let shape = Arc::new(Shape::of(&pod.spec));
        Worker {
            memory: Memory::recover(&shape, &pod.status),
            address: address.or_else(|| pod.status.pod_ip.parse().ok()),
            preparation: Preparation::Wanted(Time::default()),
            refusal: None,
            renew_at: None,
            wants_refill: false,
            deletion: deletion(&pod, &shape),
            wake: None,
            remarks: BTreeSet::new(),
            unhealthy: BTreeMap::new(),
            stopped: BTreeSet::new(),
            reported: 0,
            reasoned: 0,
            is_first: true,
            is_let_go: false,
            is_marked: false,
            told_again: None,
            tell_at: None,
            pod: Arc::new(pod),
            shape,
        }
    }

    /// Takes in the newest form of the object.
    pub(crate) fn update(&mut self, pod: Pod) {
        self.shape = Arc::new(Shape::of(&pod.spec));
        if self.deletion != Deletion::Gone {
            self.deletion = deletion(&pod, &self.shape);
        }
        self.is_marked = lost::is_marked(&pod);
        self.pod = Arc::new(pod);
    }

    pub(crate) fn decide(&mut self, facts: &[ContainerFact], host: &str, now: Time) -> Outcome {
        let conditions = &self.pod.status.conditions;
        let gates: Vec<Gate> = self.shape.gates.iter().map(|kind| Gate::of(conditions, kind)).collect();
        let address = self.address.map(|a| a.to_string()).unwrap_or_default();
        let blocked = match (&self.refusal, &self.preparation) {
            (Some(refusal), _) => Some((refusal.reason.as_str(), refusal.message.as_str())),
            (None, Preparation::Done(_)) => None,
            (None, _) => Some(("ContainerCreating", "")),
        };
        let view = PodView {
            namespace: &self.pod.metadata.namespace,
            name: &self.pod.metadata.name,
            uid: &self.pod.metadata.uid,
            generation: self.pod.metadata.generation,
            shape: &self.shape,
            deletion: self.deletion,
            gates: &gates,
            address: &address,
            host_address: host,
            blocked,
        };
        decide(&mut self.memory, &view, facts, now)
    }

    /// Whether its address and volumes are needed and not yet there.
    pub(crate) fn wants_preparation(&self, now: Time) -> bool {
        let is_time = matches!(self.preparation, Preparation::Wanted(at) if at <= now);
        is_time && self.deletion == Deletion::None && !self.memory.phase().is_final()
    }

    /// What it was made ready from, when tokens in it are to be renewed.
    pub(crate) fn take_renewal(&mut self, now: Time) -> Option<Arc<Sources>> {
        let Preparation::Done(sources) = &self.preparation else { return None };
        if self.renew_at.is_none_or(|at| at > now) || self.memory.phase().is_final() {
            return None;
        }
        self.renew_at = None;
        Some(sources.clone())
    }

    /// The patch that tells the server, when there is something to tell.
    pub(crate) fn news(
        &mut self,
        status: &PodStatus,
        is_over: bool,
        now: Time,
    ) -> Option<(serde_json::Value, bool)> {
        self.insist(status, now);
        let fingerprint = report::fingerprint(status);
        if std::mem::take(&mut self.is_first) {
            self.reasoned = report::reasoned_at_server(status, &self.pod.status);
            if report::is_told(status, &self.pod.status) {
                self.reported = fingerprint;
            }
        }
        let is_final = is_over && self.deletion != Deletion::Gone && !self.is_let_go;
        if (fingerprint == self.reported && !is_final) || self.deletion == Deletion::Gone {
            return None;
        }
        let patch = report::of(&self.pod.metadata.uid, status, self.reasoned);
        self.reasoned |= report::reasoned(status);
        self.reported = fingerprint;
        self.is_let_go |= is_final;
        Some((patch, is_final))
    }

    /// Forgets what was told when somebody took the pod out of service because its node was silent: it is not, and it knows
    /// better.
    fn insist(&mut self, status: &PodStatus, now: Time) {
        let is_ready = status.conditions.iter().any(|c| c.r#type == "Ready" && c.status == "True");
        let next = self.told_again.map_or(now, |at| at + AGAIN);
        self.tell_at = (self.is_marked && is_ready && next > now).then_some(next);
        if !self.is_marked || !is_ready || next > now {
            return;
        }
        self.is_marked = false;
        self.told_again = Some(now);
        self.reported = 0;
        self.reasoned |= report::reasoned_at_server(status, &self.pod.status);
    }

    /// A container of the spec by its place in the shape.
    pub(crate) fn container(&self, place: usize) -> Option<&Container> {
        self.pod.spec.init_containers.iter().chain(&self.pod.spec.containers).nth(place)
    }

    pub(crate) fn probe(&self, place: usize, kind: ProbeKind) -> Option<&Probe> {
        let container = self.container(place)?;
        match kind {
            ProbeKind::Startup => container.startup_probe.as_ref(),
            ProbeKind::Readiness => container.readiness_probe.as_ref(),
            ProbeKind::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

fn deletion(pod: &Pod, shape: &Shape) -> Deletion {
    match pod.metadata.deletion_timestamp {
        None => Deletion::None,
        Some(_) => Deletion::Asked(pod.metadata.deletion_grace_period_seconds.unwrap_or(shape.grace_secs)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(ready: &Value) -> Pod {
        let status = json!({"phase": "Running", "conditions": [ready]});
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "status": status})).unwrap()
    }

    #[test]
    fn a_pod_that_was_marked_while_its_node_was_silent_is_told_ready_again_but_not_in_a_hurry() {
        let ready = json!({"type": "Ready", "status": "True"});
        let mark =
            json!({"type": "Ready", "status": "False", "reason": lost::NODE_NOT_READY, "message": "m"});
        let mut worker = Worker::new(pod(&ready), None);
        let status = worker.pod.status.clone();
        let at = Time::from_secs;
        assert_eq!(worker.news(&status, false, at(1)), None, "the server knows");
        worker.update(pod(&mark));
        let (patch, _) = worker.news(&status, false, at(2)).unwrap();
        let told = &patch["status"]["conditions"][0];
        assert_eq!((&told["status"], &told["reason"]), (&json!("True"), &Value::Null), "the mark is cleared");
        assert_eq!(worker.news(&status, false, at(2)), None);
        worker.update(pod(&mark));
        assert_eq!(worker.news(&status, false, at(2)), None, "not believed yet: no race");
        assert_eq!(worker.tell_at, Some(at(3)));
        assert!(worker.news(&status, false, at(3)).is_some());
        worker.update(pod(&ready));
        assert_eq!((worker.news(&status, false, at(4)), worker.tell_at), (None, None));
    }
}
