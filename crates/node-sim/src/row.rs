//! One simulated pod: a compact row, and how it moves with time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use api_core::{Pod, PodStatus};
use node_core::{
    ContainerFact, Deletion, Ended, Exit, Gate, Instance, InstanceState, Memory, PodView, Role, Shape, Step,
    decide, facts_of_status,
};
use stdx::{Rng, SeededRng, Time};

use crate::config::Timings;
use crate::rules::Rules;

/// Most steps of one look: every container of a large pod may end and start within one.
const STEPS_MAX: usize = 64;
/// What a container that was told to end ends with: 128 + TERM, or 128 + KILL when its grace was too short.
const TERMINATED: i32 = 143;
const KILLED: i32 = 137;

/// One pod.
pub(crate) struct Row {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) uid: Box<str>,
    pub(crate) node: u32,
    pub(crate) address: Option<Ipv4Addr>,
    generation: i64,
    pub(crate) shape: Arc<Shape>,
    rules: Option<Box<Rules>>,
    memory: Memory,
    facts: Box<[ContainerFact]>,
    lives: Box<[Life]>,
    gates: Box<[Gate]>,
    deletion: Deletion,
}

/// Moments in the life of a container's newest instance.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    runs: Option<Time>,
    ready: Option<Time>,
    /// When it ends by order, and with what.
    stop: Option<(Time, i32)>,
    /// When it ends by itself.
    end: Option<(Time, i32)>,
}

/// What is around a pod.
pub(crate) struct Surroundings<'a> {
    pub(crate) timings: &'a Timings,
    pub(crate) rng: &'a dyn Rng,
    pub(crate) node_rules: &'a Rules,
    pub(crate) host: &'a str,
    pub(crate) images: &'a mut Images,
}

/// What a look at a pod came to.
pub(crate) struct Look {
    pub(crate) status: PodStatus,
    pub(crate) wake: Option<Time>,
    /// Everything has ended and the object may go.
    pub(crate) is_over: bool,
}

/// Identities of images, shared between their instances.
#[derive(Default)]
pub(crate) struct Images(BTreeMap<Arc<str>, Arc<str>>);

impl Images {
    /// The identity of an image: a hash of its name.
    fn id(&mut self, image: &Arc<str>) -> Arc<str> {
        let id = || format!("sim://sha256:{}", digest(image)).into();
        self.0.entry(image.clone()).or_insert_with(id).clone()
    }
}

impl Row {
    /// A pod seen for the first time: what its status tells of an earlier life goes on.
    pub(crate) fn new(pod: &Pod, namespace: Arc<str>, node: u32, shape: Arc<Shape>) -> Row {
        let facts: Box<[ContainerFact]> = facts_of_status(&shape, &pod.status).into();
        let mut row = Row {
            namespace,
            name: pod.metadata.name.as_str().into(),
            uid: pod.metadata.uid.as_str().into(),
            node,
            address: pod.status.pod_ip.parse().ok(),
            generation: 0,
            memory: Memory::recover(&shape, &pod.status),
            lives: vec![Life::default(); facts.len()].into(),
            facts,
            shape,
            rules: None,
            gates: Box::default(),
            deletion: Deletion::None,
        };
        row.recall_readiness(&pod.status);
        row
    }

    /// Containers that were ready before are so still.
    fn recall_readiness(&mut self, status: &PodStatus) {
        for old in status.init_container_statuses.iter().chain(&status.container_statuses) {
            let place = self.shape.position(&old.name).filter(|_| old.ready && old.state.running.is_some());
            if let Some(i) = place {
                self.lives[i].ready = Some(Time::default());
            }
        }
    }

    /// Takes in the newest form of the object.
    pub(crate) fn update(&mut self, pod: &Pod, shape: Arc<Shape>) {
        self.shape = shape;
        self.generation = pod.metadata.generation;
        let rules = Rules::of(&pod.metadata.annotations);
        self.rules = (rules != Rules::default()).then(|| Box::new(rules));
        self.gates = self.shape.gates.iter().map(|kind| Gate::of(&pod.status.conditions, kind)).collect();
        self.deletion = match pod.metadata.deletion_timestamp {
            None => Deletion::None,
            Some(_) => {
                Deletion::Asked(pod.metadata.deletion_grace_period_seconds.unwrap_or(self.shape.grace_secs))
            }
        };
        if self.facts.len() != self.shape.containers.len() {
            let mut facts = std::mem::take(&mut self.facts).into_vec();
            facts.resize_with(self.shape.containers.len(), ContainerFact::default);
            self.lives = vec![Life::default(); facts.len()].into();
            self.facts = facts.into();
        }
    }

    /// Whether it has ended for good.
    pub(crate) fn is_finished(&self) -> bool {
        self.memory.phase().is_final()
    }

    /// Moves the pod to `now` and says what to report.
    pub(crate) fn look(&mut self, around: &mut Surroundings<'_>, now: Time) -> Look {
        let rules = match &self.rules {
            Some(own) => own.over(around.node_rules),
            None => around.node_rules.clone(),
        };
        let address = self.address.map(|a| a.to_string()).unwrap_or_default();
        for _ in 0..STEPS_MAX {
            for i in 0..self.facts.len() {
                self.advance(i, &rules, around, now);
            }
            let view = PodView {
                namespace: &self.namespace,
                name: &self.name,
                uid: &self.uid,
                generation: self.generation,
                shape: &self.shape,
                deletion: self.deletion,
                gates: &self.gates,
                address: &address,
                host_address: around.host,
                blocked: None,
            };
            let outcome = decide(&mut self.memory, &view, &self.facts, now);
            let is_over = outcome.steps.contains(&Step::Remove);
            if outcome.steps.is_empty() || is_over {
                let wake = self.moments(now).chain(outcome.wake).min();
                return Look { status: outcome.status, wake, is_over };
            }
            for step in &outcome.steps {
                self.apply(step, &rules, around, now);
            }
        }
        // More than any pod needs: go on at the next tick instead of spinning here.
        tracing::warn!(namespace = %self.namespace, name = %self.name, "simulated pod does not settle");
        Look { status: PodStatus::default(), wake: Some(now + Duration::from_secs(1)), is_over: false }
    }

    /// Moves one container to `now`.
    fn advance(&mut self, i: usize, rules: &Rules, around: &Surroundings<'_>, now: Time) {
        let shape = &self.shape.containers[i];
        let (fact, life) = (&mut self.facts[i], &mut self.lives[i]);
        let Some(instance) = &mut fact.instance else { return };
        if let InstanceState::Creating = instance.state {
            let runs = *life.runs.get_or_insert(now);
            if runs > now {
                return;
            }
            instance.state = InstanceState::Running { since: runs };
        }
        let Some(since) = instance.running_since() else { return };
        if life.end.is_none() {
            life.end = match shape.role {
                Role::Init => Some((since + around.timings.init.draw(around.rng), 0)),
                Role::Sidecar => None,
                Role::Main => rules.end_of(&instance.image).map(|(length, code)| (since + length, code)),
            };
        }
        let ready = *life.ready.get_or_insert_with(|| {
            let Some(probe) = shape.probe(node_core::ProbeKind::Readiness) else { return since };
            let delay = rules.ready.unwrap_or_else(|| around.timings.ready.draw(around.rng));
            since + probe.initial_delay + delay
        });
        fact.ready = Some(ready <= now && !rules.is_never_ready(&instance.image));
        let ended = [life.stop, life.end].into_iter().flatten().min().filter(|(at, _)| *at <= now);
        if let Some((at, code)) = ended {
            let exit =
                Exit { code, signal: None, started: Some(since), finished: at.max(since), ..Exit::default() };
            instance.state = InstanceState::Exited(Box::new(exit));
            *life = Life::default();
            fact.ready = None;
        }
    }

    fn apply(&mut self, step: &Step, rules: &Rules, around: &mut Surroundings<'_>, now: Time) {
        match *step {
            Step::Start { container, attempt } => self.start(container, attempt, rules, around, now),
            Step::Stop { container, grace } => {
                let wanted = rules.stop.unwrap_or_else(|| around.timings.stop.draw(around.rng));
                let end = if wanted <= grace { (now + wanted, TERMINATED) } else { (now + grace, KILLED) };
                let life = &mut self.lives[container];
                life.stop = Some(life.stop.map_or(end, |old| old.min(end)));
                // What has not begun to run ends as soon as it would have begun.
                if let Some(runs) = life.runs.filter(|runs| *runs > now) {
                    life.runs = Some(runs.min(now + grace));
                }
            }
            Step::Resize { container } => {
                let resources = self.shape.containers[container].resources.clone();
                if let Some(instance) = &mut self.facts[container].instance {
                    instance.resources = resources;
                }
            }
            Step::Remove => {}
        }
    }

    fn start(&mut self, i: usize, attempt: u32, rules: &Rules, around: &mut Surroundings<'_>, now: Time) {
        let shape = &self.shape.containers[i];
        if rules.fails_pull(&shape.image) {
            let message = format!(
                "failed to pull image \"{}\": the rule knarr.dev/sim-fail-pull of this pod or its node names it",
                shape.image
            );
            self.memory.start_failed(&self.shape, i, "ErrImagePull", &message, now);
            return;
        }
        let before = self.facts[i].instance.take().and_then(|old| {
            let exit = old.exit()?.clone();
            Some(Box::new(Ended { id: old.id, image: old.image, image_id: old.image_id, exit }))
        });
        let id = digest(&format!("{}/{}/{attempt}", self.uid, shape.name));
        let instance = Instance {
            id: format!("sim://{id}").into(),
            attempt,
            image: shape.image.clone(),
            image_id: around.images.id(&shape.image),
            state: InstanceState::Creating,
            resources: shape.resources.clone(),
        };
        self.facts[i] = ContainerFact { instance: Some(instance), before, ready: None };
        let delay = rules.start.unwrap_or_else(|| around.timings.start.draw(around.rng));
        self.lives[i] = Life { runs: Some(now + delay), ..Life::default() };
    }

    /// Moments still to come at which something happens by itself.
    fn moments(&self, now: Time) -> impl Iterator<Item = Time> + '_ {
        let of = move |life: &Life| {
            let all = [life.runs, life.ready, life.stop.map(|s| s.0), life.end.map(|e| e.0)];
            all.into_iter().flatten().filter(move |t| *t > now).min()
        };
        self.lives.iter().filter_map(of)
    }
}

/// 64 hexadecimal digits that follow from a text.
fn digest(text: &str) -> String {
    // FNV-1a as seed; identities need to differ and to be the same every time, not to withstand anybody.
    let seed =
        text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let rng = SeededRng::new(seed);
    (0..4).map(|_| format!("{:016x}", rng.next_u64())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stays_small() {
        // A pod of one container, without the strings: a million of them are well below a gigabyte.
        let bytes = size_of::<Row>() + size_of::<ContainerFact>() + size_of::<Life>();
        assert!(bytes <= 700, "{bytes}");
    }

    #[test]
    fn digests_follow_from_the_text_alone() {
        assert_eq!(digest("a"), digest("a"));
        assert_ne!(digest("a"), digest("b"));
        assert_eq!(digest("a").len(), 64);
    }
}
