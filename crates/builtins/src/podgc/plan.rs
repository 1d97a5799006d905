//! What becomes of pods that are nobody's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api_core::Pod;
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::{Value, json};
use stdx::Time;

use crate::podgc::Observed;
use crate::podgc::observe::{ENDED_MAX, MISSING_SINCE};

/// From look to look (upstream's period).
const PERIOD: Duration = Duration::from_secs(20);
/// How long a missing node is waited for (upstream's quarantine).
const QUARANTINE: Duration = Duration::from_secs(40);
/// Pods changed in one plan; the rest comes in the next.
pub(crate) const BURST: usize = 500;
/// When to go on after a full plan.
const NEXT: Duration = Duration::from_secs(1);

pub(crate) fn plan(seen: &Observed, now: Time) -> Plan {
    let mut plan = Plan::new();
    if !seen.is_seat {
        return plan;
    }
    plan.wake_at(now + PERIOD);
    let mut sweep = Sweep { plan, left: BURST, gone: BTreeSet::new(), now };
    sweep.ended(&seen.ended);
    for pod in &seen.out_of_service {
        sweep.remove(pod, None, Risk::RemovePod, "its node is out of service");
    }
    for pod in &seen.orphans {
        sweep.orphan(pod);
    }
    for pod in &seen.unscheduled {
        // It never ran anywhere.
        sweep.remove(pod, None, Risk::None, "it was to be deleted before it had a node");
    }
    for pod in &seen.returned {
        sweep.note(pod, &Value::Null);
    }
    sweep.plan
}

/// A plan under way, and how much of it is left.
struct Sweep {
    plan: Plan,
    left: usize,
    gone: BTreeSet<String>,
    now: Time,
}

impl Sweep {
    /// Takes the oldest away of too many pods that have ended; evicted ones first.
    fn ended(&mut self, ended: &[Arc<Pod>]) {
        let mut order: Vec<&Arc<Pod>> = ended.iter().collect();
        order.sort_by_key(|pod| {
            let evicted = pod.status.reason == "Evicted";
            (!evicted, pod.metadata.creation_timestamp, pod.metadata.key())
        });
        for pod in order.into_iter().take(ended.len().saturating_sub(ENDED_MAX)) {
            self.remove(pod, None, Risk::None, "too many pods have ended");
        }
    }

    fn orphan(&mut self, pod: &Pod) {
        let noted = pod.metadata.annotations.get(MISSING_SINCE).and_then(|at| at.parse::<Time>().ok());
        match noted {
            None => self.note(pod, &json!(self.now)),
            Some(since) if since + QUARANTINE <= self.now => {
                let condition = json!({
                    "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                    "message": "PodGC: node no longer exists", "lastTransitionTime": self.now,
                });
                self.remove(pod, Some(condition), Risk::RemovePod, "its node no longer exists");
            }
            Some(since) => self.plan.wake_at(since + QUARANTINE),
        }
    }

    /// Writes since when a pod's node is missing, or forgets it.
    fn note(&mut self, pod: &Pod, since: &Value) {
        if !self.take() {
            return;
        }
        self.plan.act(Action::Patch {
            target: Target::of(pod),
            subresource: "",
            form: Form::Merge,
            body: json!({"metadata": {"annotations": {MISSING_SINCE: since}}}),
            risk: Risk::None,
        });
    }

    /// Fails a pod that no node will ever fail, and deletes it without grace: nobody is there to keep it.
    fn remove(&mut self, pod: &Pod, condition: Option<Value>, risk: Risk, why: &str) {
        let meta = &pod.metadata;
        let is_forced = meta.is_terminating() && meta.deletion_grace_period_seconds == Some(0);
        // Then finalizers hold it: another deletion would change nothing.
        if is_forced || self.gone.contains(&meta.uid) || !self.take() {
            return;
        }
        self.gone.insert(meta.uid.clone());
        if !pod.is_finished() {
            let mut status = json!({"phase": "Failed"});
            if let Some(condition) = condition {
                status["conditions"] = json!([condition]);
            }
            self.plan.act(Action::Patch {
                target: Target::of(pod),
                subresource: "status",
                form: Form::Strategic,
                body: json!({"status": status}),
                risk,
            });
        }
        let note = Note {
            about: Some(Target::of(pod)),
            ..Note::new(Severity::Why, "PodGC", format!("removed: {why}"))
        };
        let target = Target::of(pod);
        let action = Action::Delete { target, grace_seconds: Some(0), propagation: None, risk };
        self.plan.act_noting(action, note);
    }

    fn take(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.plan.wake_at(self.now + NEXT);
                false
            }
        }
    }
}
