//! Taking members out of traffic before they are changed or deleted, and what people are told meanwhile.

use api_workload::names;
use reconcile::{Note, Plan, Severity};
use stdx::Time;
use workload_kit::drain::{Policy, Progress};
use workload_kit::gate;

use super::view::{Member, listed, why};

/// What may be done with a member that is to be disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It may be disturbed: nobody sends it traffic, or its owner wants it all the same.
    Free,
    /// Its gate is to be closed first.
    Close,
    /// Nothing yet.
    Wait,
}

/// What one step waits for.
#[derive(Default)]
pub(super) struct Drains {
    waiting: Vec<String>,
    overdue: Vec<String>,
    wake: Option<Time>,
}

impl Drains {
    /// What may be done with the member now.
    pub(super) fn way(&mut self, member: &Member) -> Way {
        let name = member.name();
        if !gate::is_listed(&member.pod, names::INPLACE_READY) {
            // Not made by the set: it holds no gate there that it could close.
            return Way::Free;
        }
        match &member.drain {
            Progress::Free | Progress::Overdue { policy: Policy::Force, .. } => return Way::Free,
            // Whoever asked for it closes the gate, and opens it again.
            Progress::InService if member.is_requested => {
                self.waiting.push(format!("{name} waits for an operation to take it out of service"));
            }
            Progress::InService => return Way::Close,
            Progress::Draining { waits_for, since, due } => {
                self.waiting.push(format!("{} (due {due})", waits(name, waits_for, *since)));
                self.wake = Some(self.wake.map_or(*due, |w| w.min(*due)));
            }
            Progress::Overdue { waits_for, since, .. } => {
                self.overdue.push(waits(name, waits_for, *since));
            }
        }
        Way::Wait
    }

    /// Tells it, and asks to be woken when the first deadline is over.
    pub(super) fn tell(&self, plan: &mut Plan) {
        let listed = |texts: &[String]| listed(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        if !self.waiting.is_empty() {
            let message = format!("held until traffic ends: {}", listed(&self.waiting));
            plan.note(why("Draining", message));
        }
        if !self.overdue.is_empty() {
            let message = format!(
                "traffic does not end in time: {}; end it there, or annotate the pod with {}: Force",
                listed(&self.overdue),
                api_core::drain::DEADLINE_POLICY
            );
            plan.note(Note::new(Severity::Warning, "DrainOverdue", message));
        }
        if let Some(at) = self.wake {
            plan.wake_at(at);
        }
    }
}

/// "web-a waits for web since 2026-01-01T00:00:00Z".
fn waits(name: &str, waits_for: &[String], since: Option<Time>) -> String {
    let since = since.map_or_else(String::new, |since| format!(" since {since}"));
    format!("{name} waits for {}{since}", waits_for.join(" and "))
}
