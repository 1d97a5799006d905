//! Verdicts: from recorded facts alone, so that anybody may repeat them.
//!
//! ```text
//! chronicle ─span of a step─> traffic, pods, groups ─rules─> complaints ─> verdict
//! ```
//!
//! What is absent: processes, time, and mercy. A step without the facts that would prove it is not proven.

mod pods;
mod steps;
mod traffic;

#[cfg(test)]
mod tests;

pub use traffic::{Traffic, traffic};

use crate::facts::{Chronicle, Micros, SECOND};
use crate::steps::{SHOP, StepId};

/// What must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The cells.
    pub cells: Vec<String>,
    /// Pods of the application.
    pub replicas: usize,
    /// Fewest pods in service in each cell.
    pub min_available: usize,
    /// Most pods out of service at once.
    pub batch: usize,
    /// Time from the first failure of a broken version until its release must have stopped.
    pub stop_within: Micros,
    /// Most pods a broken version may touch.
    pub broken_max: usize,
    /// Time a release may take to finish in the cells that are left.
    pub finish_within: Micros,
    /// A request counts as open at the kill of a cell when it overlaps the kill, give or take so much.
    pub margin: Micros,
}

impl Rules {
    /// The rules of the story: twelve pods in two cells, four of a group, at least four of six in each cell.
    pub fn of_the_story(cells: &[&str]) -> Rules {
        Rules {
            cells: cells.iter().map(|c| (*c).to_owned()).collect(),
            replicas: 12,
            min_available: 4,
            batch: 4,
            stop_within: 10 * SECOND,
            broken_max: 2,
            finish_within: 45 * SECOND,
            margin: SECOND / 10,
        }
    }
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Which.
    pub step: StepId,
    /// Requests that were due while it ran.
    pub requests: u64,
    /// Of them failed, whatever the reason.
    pub failed: u64,
    /// Of those: open in the dead cell at the kill, which nobody can save.
    pub excused: u64,
    /// What did not hold.
    pub complaints: Vec<String>,
    /// What was seen, for the reader.
    pub remarks: Vec<String>,
}

impl Verdict {
    /// Whether all that was expected held.
    pub fn holds(&self) -> bool {
        self.complaints.is_empty()
    }

    /// Failures that count.
    pub fn charged(&self) -> u64 {
        self.failed.saturating_sub(self.excused)
    }
}

/// Judges one step.
pub fn judge(step: StepId, seen: &Chronicle, rules: &Rules) -> Verdict {
    let mut verdict =
        Verdict { step, requests: 0, failed: 0, excused: 0, complaints: Vec::new(), remarks: Vec::new() };
    let Some(span) = seen.span(step) else {
        verdict.complaints.push("it was never begun".into());
        return verdict;
    };
    let requests = traffic(seen, step.step().app, span.begin, span.end);
    verdict.requests = requests.sent;
    verdict.failed = requests.failures.len() as u64;
    let scene = steps::Scene { seen, span: &span, rules, step: step.step(), requests: &requests };
    match step {
        StepId::RollOut => scene.roll_out(&mut verdict),
        StepId::Release => scene.release(&mut verdict),
        StepId::Broken => scene.broken(&mut verdict),
        StepId::PlaneKill => scene.plane_kill(&mut verdict),
        StepId::Undrained | StepId::Stock => scene.control(&mut verdict),
        StepId::CellDeath => scene.cell_death(&mut verdict),
    }
    verdict.complaints = gathered(verdict.complaints);
    verdict
}

/// Complaints of the form `pod: what` that say the same of several pods become one, in the place of the first.
fn gathered(complaints: Vec<String>) -> Vec<String> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for complaint in complaints {
        let (pod, what) = match complaint.split_once(": it ") {
            Some((pod, what)) => (pod.to_owned(), format!("it {what}")),
            None => (String::new(), complaint),
        };
        match out.iter_mut().find(|(known, pods)| *known == what && !pods.is_empty() && !pod.is_empty()) {
            Some((_, pods)) => pods.push(pod),
            None => out.push((what, if pod.is_empty() { Vec::new() } else { vec![pod] })),
        }
    }
    let words = |(what, pods): (String, Vec<String>)| match pods.as_slice() {
        [] => what,
        [pod] => format!("{pod}: {what}"),
        [pod, rest @ ..] => format!("{pod} and {} more: {what}", rest.len()),
    };
    out.into_iter().map(words).collect()
}

/// Failures of the drained application that belong to no step: between two steps, or while others were told.
pub fn unclaimed(seen: &Chronicle, steps: &[StepId]) -> Vec<String> {
    let spans: Vec<(Micros, Micros)> = steps
        .iter()
        .filter(|s| s.step().app == SHOP)
        .filter_map(|s| seen.span(*s).map(|span| (span.begin, span.end)))
        .collect();
    let is_claimed = |due: Micros| spans.iter().any(|(begin, end)| (*begin..*end).contains(&due));
    let loose: Vec<_> = seen.failures(SHOP).filter(|f| !is_claimed(f.due)).collect();
    match loose.first() {
        None => Vec::new(),
        Some(first) => vec![format!(
            "{} requests of {SHOP} failed outside its own steps, the first: {}",
            loose.len(),
            traffic::words(first)
        )],
    }
}
