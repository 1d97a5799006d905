//! One look at a pod: what to do now, what to report, when to look again.

use std::time::Duration;

use api_core::PodStatus;
use stdx::Time;

use crate::conditions::Gate;
use crate::fact::{ContainerFact, InstanceState};
use crate::memory::Memory;
use crate::phase::{self, Phase};
use crate::probe::ProbeKind;
use crate::shape::{Role, Shape};
use crate::status::{self, Judged, Waiting};

/// A pod as its node sees it.
#[derive(Clone, Copy)]
pub struct PodView<'a> {
    /// Namespace, for messages.
    pub namespace: &'a str,
    /// Name, for messages.
    pub name: &'a str,
    /// Identity, for messages.
    pub uid: &'a str,
    /// Generation of the spec that `shape` comes from.
    pub generation: i64,
    /// What it asks for.
    pub shape: &'a Shape,
    /// Whether it is to go.
    pub deletion: Deletion,
    /// State of each readiness gate, in the order of the shape.
    pub gates: &'a [Gate],
    /// Its address; empty while it has none.
    pub address: &'a str,
    /// The node's address.
    pub host_address: &'a str,
    /// Why nothing of it can be started, as reason and message.
    pub blocked: Option<(&'a str, &'a str)>,
}

/// Whether a pod is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It stays.
    None,
    /// Deletion was asked for with this many seconds of grace.
    Asked(i64),
    /// The object is already gone: end what is left.
    Gone,
}

/// Something for the runtime to do. Done in order, and reflected in the facts before the next look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make and start the next instance of a container.
    Start {
        /// Place in the shape.
        container: usize,
        /// Number of the instance.
        attempt: u32,
    },
    /// TERM now, KILL after `grace`. Repeated only with a shorter grace.
    Stop {
        /// Place in the shape.
        container: usize,
        /// Time between TERM and KILL.
        grace: Duration,
    },
    /// Put the resources of the spec into effect without a restart.
    Resize {
        /// Place in the shape.
        container: usize,
    },
    /// Everything has ended: report the status, remove what is left, then let the object go.
    Remove,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// As wished.
    Normal,
    /// Somebody should know.
    Warning,
}

/// Something that happened, for an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub kind: NoteKind,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What one look came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// To do, in order.
    pub steps: Vec<Step>,
    /// Probes to run now: container and kind.
    pub probes: Vec<(usize, ProbeKind)>,
    /// To report.
    pub status: PodStatus,
    /// To tell.
    pub notes: Vec<Note>,
    /// When to look again if nothing happens before.
    pub wake: Option<Time>,
}

/// How long a failed start shows its own reason before it shows the back-off.
const FRESH: Duration = Duration::from_secs(2);
/// Least grace of a sidecar whose pod has used up its own.
const SIDECAR_GRACE_MIN: Duration = Duration::from_secs(2);

/// Decides what happens next to a pod. `facts` follow the order of `pod.shape.containers`.
pub fn decide(memory: &mut Memory, pod: &PodView<'_>, facts: &[ContainerFact], now: Time) -> Outcome {
    assert_eq!(facts.len(), pod.shape.containers.len(), "one fact per container");
    memory.fit(pod.shape);
    memory.start_time.get_or_insert(now);
    let waiting = vec![None; facts.len()];
    let mut look = Look { memory, pod, facts, now, out: Outcome::default(), waiting };
    look.notice();
    look.expire();
    let is_over = pod.deletion != Deletion::None || look.is_done();
    if is_over {
        look.wind_down();
    } else {
        look.run();
    }
    look.probe(is_over);
    look.report(is_over)
}

/// A look in progress.
struct Look<'a, 'm> {
    memory: &'m mut Memory,
    pod: &'a PodView<'a>,
    facts: &'a [ContainerFact],
    now: Time,
    out: Outcome,
    waiting: Vec<Waiting>,
}

impl Look<'_, '_> {
    /// Takes note of new instances.
    fn notice(&mut self) {
        for (i, fact) in self.facts.iter().enumerate() {
            let memory = &mut self.memory.containers[i];
            memory.look(fact);
            let is_running = fact.running_since().is_some();
            if is_running && !memory.was_running && memory.is_ours {
                let message = format!("Started container {}", self.pod.shape.containers[i].name);
                self.out.notes.push(Note { kind: NoteKind::Normal, reason: "Started", message });
            }
            memory.was_running |= is_running;
        }
        self.memory.initialized |= self.pod.shape.mains().any(|i| self.facts[i].instance.is_some());
    }

    /// Fails a pod that has been active for too long.
    fn expire(&mut self) {
        let (Some(limit), Some(start)) = (self.pod.shape.deadline_secs, self.memory.start_time) else {
            return;
        };
        if self.memory.phase.is_final() || self.memory.verdict.is_some() {
            return;
        }
        let end = start + secs(limit);
        if end > self.now {
            self.wake(end);
            return;
        }
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        self.out.notes.push(Note {
            kind: NoteKind::Normal,
            reason: "DeadlineExceeded",
            message: message.clone(),
        });
        self.memory.verdict = Some(Box::new(("DeadlineExceeded".to_owned(), message)));
    }

    /// Whether nothing will be started any more: ended by decision, an init container failed for good, or all ended for good.
    fn is_done(&self) -> bool {
        let is_spent = |i: usize| {
            self.facts[i].exit().is_some_and(|e| !self.pod.shape.containers[i].restart.restarts(e.code))
        };
        let failed_init = |i: usize| {
            self.pod.shape.containers[i].role == Role::Init
                && is_spent(i)
                && self.facts[i].exit().is_some_and(|e| e.code != 0)
        };
        self.memory.verdict.is_some()
            || self.memory.phase.is_final()
            || self.pod.shape.inits().any(failed_init)
            || (self.pod.shape.mains().next().is_some() && self.pod.shape.mains().all(is_spent))
    }

    /// Stops the containers, then the sidecars in reverse order; removes the pod when it is to go.
    fn wind_down(&mut self) {
        let grace = match self.pod.deletion {
            Deletion::Asked(grace) => grace,
            _ => self.pod.shape.grace_secs,
        };
        let asked = self.now + secs(grace);
        let by = self.memory.stop_by.map_or(asked, |by| by.min(asked));
        self.memory.stop_by = Some(by);
        let is_sidecar = |i: &usize| self.pod.shape.containers[*i].role == Role::Sidecar;
        let alive: Vec<usize> = (0..self.facts.len()).filter(|i| self.facts[*i].is_alive()).collect();
        let (sidecars, mains): (Vec<usize>, Vec<usize>) = alive.into_iter().partition(is_sidecar);
        for i in &mains {
            self.stop(*i, by, "Stopping container");
        }
        if !mains.is_empty() {
            return;
        }
        match sidecars.last() {
            Some(last) => self.stop(*last, by.max(self.now + SIDECAR_GRACE_MIN), "Stopping container"),
            None if self.pod.deletion != Deletion::None => self.out.steps.push(Step::Remove),
            None => {}
        }
    }

    /// Brings init containers, sidecars and containers to where they should be.
    fn run(&mut self) {
        let has_begun = self.pod.shape.mains().any(|i| self.facts[i].instance.is_some());
        let mut is_open = true;
        for i in self.pod.shape.inits() {
            if !is_open && !has_begun {
                break;
            }
            is_open &= self.run_init(i, has_begun);
        }
        self.memory.initialized = is_open || has_begun;
        for i in self.pod.shape.mains() {
            if self.memory.initialized {
                self.keep(i);
            }
        }
    }

    /// One init container or sidecar; true when the next may go on.
    fn run_init(&mut self, i: usize, has_begun: bool) -> bool {
        if self.pod.shape.containers[i].role == Role::Sidecar {
            self.keep(i);
            return self.is_started(i);
        }
        let is_complete = self.facts[i].exit().is_some_and(|e| e.code == 0);
        if !is_complete && !has_begun {
            self.keep(i);
        }
        is_complete
    }

    /// Keeps one container running, at the image and resources of the spec.
    fn keep(&mut self, i: usize) {
        let shape = &self.pod.shape.containers[i];
        let Some(instance) = &self.facts[i].instance else { return self.start(i) };
        let is_other_image = instance.image != shape.image;
        match &instance.state {
            InstanceState::Creating => {}
            InstanceState::Running { .. } if is_other_image => {
                let by = self.now + secs(self.pod.shape.grace_secs);
                self.stop(i, by, "definition changed, will be restarted");
            }
            InstanceState::Running { .. } => self.tend(i),
            InstanceState::Exited(exit) => {
                // Whatever was stopped in order to be replaced comes back; what a probe stopped counts as failed.
                let was_stopped = self.was_stopped(i, instance.attempt);
                let comes_back = shape.restart.restarts(exit.code)
                    || (was_stopped && (is_other_image || shape.restart.restarts(1)));
                if comes_back {
                    self.restart(i, exit.finished, is_other_image);
                }
            }
        }
    }

    /// A container that runs what it should: is it alive, has it the right resources?
    fn tend(&mut self, i: usize) {
        let memory = &self.memory.containers[i];
        let failed = [ProbeKind::Startup, ProbeKind::Liveness]
            .into_iter()
            .find(|k| memory.probe(*k).verdict() == Some(false));
        if let Some(kind) = failed {
            let own = self.pod.shape.containers[i].probe(kind).and_then(|t| t.grace_secs);
            let by = self.now + secs(own.unwrap_or(self.pod.shape.grace_secs));
            let why = match kind {
                ProbeKind::Startup => "failed startup probe, will be restarted",
                _ => "failed liveness probe, will be restarted",
            };
            return self.stop(i, by, why);
        }
        self.resize(i);
    }

    fn resize(&mut self, i: usize) {
        let shape = &self.pod.shape.containers[i];
        let Some(actual) = self.facts[i].instance.as_ref().map(|f| &f.resources) else { return };
        let changed = ["cpu", "memory"].into_iter().filter(|name| {
            actual.request(name) != shape.resources.request(name)
                || actual.limit(name) != shape.resources.limit(name)
        });
        let changed: Vec<&str> = changed.collect();
        if changed.is_empty() {
            return;
        }
        if changed.iter().any(|name| shape.restart_on_resize.iter().any(|r| r == name)) {
            let by = self.now + secs(self.pod.shape.grace_secs);
            return self.stop(i, by, "resize requires a restart");
        }
        self.out.steps.push(Step::Resize { container: i });
    }

    /// Whether the instance ended because this machine stopped it.
    fn was_stopped(&self, i: usize, attempt: u32) -> bool {
        self.memory.containers[i].stop.is_some_and(|(stopped, _)| stopped == attempt)
    }

    /// Starts again what has ended: after its back-off, or at once when the image is another.
    fn restart(&mut self, i: usize, finished: Time, is_other_image: bool) {
        let memory = &mut self.memory.containers[i];
        if is_other_image && memory.trouble.is_none() {
            memory.crash = crate::Backoff::default();
        }
        let until = memory.crash.until(finished);
        if until <= self.now {
            return self.start(i);
        }
        let wait = memory.crash.wait().as_secs();
        let wait = if wait >= 60 { format!("{}m{}s", wait / 60, wait % 60) } else { format!("{wait}s") };
        let PodView { namespace, name, uid, .. } = self.pod;
        let container = &self.pod.shape.containers[i].name;
        let message =
            format!("back-off {wait} restarting failed container={container} pod={name}_{namespace}({uid})");
        self.waiting[i] = Some(("CrashLoopBackOff".to_owned(), message));
        self.wake(until);
    }

    /// Starts the next instance, unless the last try is too fresh.
    fn start(&mut self, i: usize) {
        if let Some((reason, message)) = self.pod.blocked {
            self.waiting[i] = Some((reason.to_owned(), message.to_owned()));
            return;
        }
        let shape = &self.pod.shape.containers[i];
        let memory = &mut self.memory.containers[i];
        if memory.trouble.as_ref().is_some_and(|t| t.image != shape.image) {
            memory.trouble = None;
            memory.pull = crate::Backoff::default();
        }
        if let Some(trouble) = &memory.trouble {
            let until = memory.pull.until(trouble.at);
            let is_fresh = self.now < trouble.at + FRESH;
            let wake = if is_fresh { trouble.at + FRESH } else { until };
            self.waiting[i] = Some(waiting_for(trouble, is_fresh));
            if self.now < until {
                return self.wake(wake);
            }
        }
        if let (Some(exit), None) = (self.facts[i].exit(), &memory.trouble) {
            memory.crash.advance(exit.finished, self.now);
        }
        memory.is_ours = true;
        self.out.steps.push(Step::Start { container: i, attempt: memory.floor });
    }

    fn stop(&mut self, i: usize, by: Time, why: &'static str) {
        let Some(instance) = &self.facts[i].instance else { return };
        let memory = &mut self.memory.containers[i];
        let is_known = memory.stop.is_some_and(|(attempt, old)| attempt == instance.attempt && old <= by);
        if is_known {
            return;
        }
        let is_first = memory.stop.is_none_or(|(attempt, _)| attempt != instance.attempt);
        memory.stop = Some((instance.attempt, by));
        self.out.steps.push(Step::Stop { container: i, grace: by.since(self.now) });
        if is_first {
            let name = &self.pod.shape.containers[i].name;
            let message = match why {
                "Stopping container" => format!("Stopping container {name}"),
                why => format!("Container {name} {why}"),
            };
            self.out.notes.push(Note { kind: NoteKind::Normal, reason: "Killing", message });
        }
    }

    /// Finds the probes that are due.
    fn probe(&mut self, is_over: bool) {
        for i in 0..self.facts.len() {
            let fact = &self.facts[i];
            let (Some(since), None) = (fact.running_since(), fact.ready) else { continue };
            let is_started = self.is_started(i);
            for kind in ProbeKind::ALL {
                let is_wanted = match kind {
                    ProbeKind::Startup => !is_started && !is_over,
                    ProbeKind::Readiness => is_started,
                    ProbeKind::Liveness => is_started && !is_over,
                };
                let Some(timing) = self.pod.shape.containers[i].probe(kind).filter(|_| is_wanted) else {
                    continue;
                };
                match self.memory.containers[i].probe(kind).due(timing, since) {
                    Some(due) if due <= self.now => {
                        self.memory.containers[i].probe_mut(kind).begin(timing, self.now);
                        self.out.probes.push((i, kind));
                    }
                    Some(due) => self.wake(due),
                    None => {}
                }
            }
        }
    }

    fn is_started(&self, i: usize) -> bool {
        if self.facts[i].running_since().is_none() {
            return false;
        }
        self.facts[i].ready.is_some()
            || self.pod.shape.containers[i].probe(ProbeKind::Startup).is_none()
            || self.memory.containers[i].probe(ProbeKind::Startup).verdict() == Some(true)
    }

    fn is_ready(&self, i: usize) -> bool {
        let shape = &self.pod.shape.containers[i];
        if shape.role == Role::Init {
            return self.facts[i].exit().is_some_and(|e| e.code == 0);
        }
        let by_probe = || {
            shape.probe(ProbeKind::Readiness).is_none()
                || self.memory.containers[i].probe(ProbeKind::Readiness).verdict() == Some(true)
        };
        self.is_started(i) && self.facts[i].ready.unwrap_or_else(by_probe)
    }

    fn report(mut self, is_over: bool) -> Outcome {
        let judged = Judged {
            ready: (0..self.facts.len()).map(|i| self.is_ready(i)).collect(),
            started: (0..self.facts.len()).map(|i| self.is_started(i)).collect(),
            waiting: std::mem::take(&mut self.waiting),
            initialized: self.memory.initialized || self.pod.shape.inits().next().is_none(),
        };
        let phase = self.phase(is_over, judged.initialized);
        self.memory.phase = phase;
        self.out.status = status::of(self.pod, self.facts, &judged, phase, self.memory, self.now);
        self.out
    }

    /// The phase to report. It becomes final only when nothing runs any more, and never leaves a final one.
    fn phase(&self, is_over: bool, initialized: bool) -> Phase {
        let old = self.memory.phase;
        if old.is_final() {
            return old;
        }
        let is_alive = self.facts.iter().any(ContainerFact::is_alive);
        let has_verdict = self.memory.verdict.is_some();
        let new = if has_verdict {
            Phase::Failed
        } else {
            phase::of(self.pod.shape, self.facts, initialized, is_over)
        };
        if new.is_final() && is_alive { old } else { new }
    }

    fn wake(&mut self, at: Time) {
        self.out.wake = Some(self.out.wake.map_or(at, |old| old.min(at)));
    }
}

fn waiting_for(trouble: &crate::memory::Trouble, is_fresh: bool) -> (String, String) {
    let is_pull =
        matches!(trouble.reason.as_str(), "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull");
    if is_fresh || !is_pull {
        return (trouble.reason.clone(), trouble.message.clone());
    }
    let message =
        format!("Back-off pulling image \"{}\": {}: {}", trouble.image, trouble.reason, trouble.message);
    ("ImagePullBackOff".to_owned(), message)
}

fn secs(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}
