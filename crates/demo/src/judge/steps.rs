//! What is expected of each step.

use super::traffic::{summary, words};
use super::{Rules, Traffic, Verdict, pods, traffic};
use crate::facts::{CafeSeen, Chronicle, Mark, Micros, Phase, SECOND, Span};
use crate::load::Failure;
use crate::steps::Step;

/// All there is to judge a step by.
pub(super) struct Scene<'a> {
    pub(super) seen: &'a Chronicle,
    pub(super) span: &'a Span<'a>,
    pub(super) rules: &'a Rules,
    pub(super) step: &'a Step,
    pub(super) requests: &'a Traffic<'a>,
}

impl Scene<'_> {
    /// All pods are there, spread evenly, each at an address of its own; no group came before its turn.
    pub(super) fn roll_out(&self, verdict: &mut Verdict) {
        let (app, rules) = (self.step.app, self.rules);
        let after = self.span.after();
        let complaints = &mut verdict.complaints;
        complaints.extend(after.pods_of(app).filter_map(|p| pods::serves(p, self.step.version)));
        let share = rules.replicas / rules.cells.len();
        for cell in &rules.cells {
            let count = after.pods_of(app).filter(|p| p.cell == *cell).count();
            if count != share {
                complaints.push(format!("{cell} has {count} pods; its share is {share}"));
            }
        }
        let addresses: std::collections::BTreeSet<&str> = after.pods_of(app).map(|p| p.ip.as_str()).collect();
        if addresses.len() != rules.replicas {
            complaints.push(format!("{} addresses for {} pods", addresses.len(), rules.replicas));
        }
        complaints.extend(self.growth());
        if !self.requests.failures.is_empty() {
            complaints.push(format!("requests failed: {}", summary(&self.requests.failures)));
        }
        if let Some(cafe) = after.cafes.get(app) {
            verdict.remarks.push(groups(cafe));
        }
    }

    /// There are never more pods than the groups begun so far have.
    fn growth(&self) -> Option<String> {
        let app = self.step.app;
        let Some(table) = pods::table(self.span, app, self.step.version) else {
            return Some("no group table was seen".into());
        };
        let ends = pods::group_ends(table);
        for (at, world) in self.span.worlds() {
            let confirmed = self.confirmations_until(at);
            let most = ends.get(confirmed).or(ends.last()).copied().unwrap_or(0);
            let count = world.pods_of(app).count();
            if count > most {
                return Some(format!("{count} pods after {confirmed} confirmations; the groups have {most}"));
            }
        }
        None
    }

    fn confirmations_until(&self, at: Micros) -> usize {
        let is_ours = |e: &&crate::facts::Entry| {
            e.at <= at
                && matches!(&e.fact, crate::facts::Fact::Mark(Mark::Confirmed(n)) if n == self.step.app)
        };
        self.span.entries.iter().filter(is_ours).count()
    }

    /// A release as it should be: in place, in order, within its budgets, and nobody noticed.
    pub(super) fn release(&self, verdict: &mut Verdict) {
        self.nobody_noticed(verdict);
        self.updated_once(verdict);
        if let Some(cafe) = self.span.after().cafes.get(self.step.app) {
            verdict.remarks.push(groups(cafe));
        }
    }

    fn nobody_noticed(&self, verdict: &mut Verdict) {
        if self.requests.sent == 0 {
            verdict.complaints.push("no requests were sent: nothing is proven".into());
        }
        if !self.requests.failures.is_empty() {
            verdict.complaints.push(format!("requests failed: {}", summary(&self.requests.failures)));
        }
    }

    /// Every pod was updated in place exactly once, group by group, within the budgets.
    fn updated_once(&self, verdict: &mut Verdict) {
        let (app, rules) = (self.step.app, self.rules);
        let complaints = &mut verdict.complaints;
        complaints.extend(pods::in_place(self.span, app, self.step.version));
        complaints.extend(pods::budgets(self.span, app, &rules.cells, rules.min_available, rules.batch));
        complaints.extend(pods::group_order(self.span, app, self.step.version));
        for (pod, times) in pods::restarts(self.span, app).into_iter().filter(|(_, times)| *times > 1) {
            complaints.push(format!("{pod}: its process was replaced {times} times"));
        }
        let updated = pods::touched(self.span, app).len();
        verdict
            .remarks
            .push(format!("{updated} pods updated in place: same UIDs and addresses, new processes"));
    }

    /// The release stops in the beta group, says why, and is undone.
    pub(super) fn broken(&self, verdict: &mut Verdict) {
        let (app, rules) = (self.step.app, self.rules);
        self.nobody_noticed(verdict);
        let touched = pods::touched(self.span, app);
        let complaints = &mut verdict.complaints;
        if touched.len() > rules.broken_max {
            complaints.push(format!("{} pods were touched; {} are allowed", touched.len(), rules.broken_max));
        }
        complaints.extend(pods::budgets(self.span, app, &rules.cells, rules.min_available, rules.batch));
        let is_broken =
            |pod: &crate::facts::PodSeen| pod.version() == self.step.version && !pod.broken.is_empty();
        let failed = self.span.pods(app).find(|(_, pod)| is_broken(pod));
        let Some((failed, pod)) = failed else {
            complaints.push("no pod of the broken version was ever seen to fail".into());
            return;
        };
        verdict.remarks.push(format!("{}: {}", pod.name, pod.broken));
        self.stopped(failed, verdict);
        self.back(verdict);
        verdict.remarks.push(format!("{} pods were touched", touched.len()));
    }

    /// The release stopped soon after its first failure, with a reason.
    fn stopped(&self, failed: Micros, verdict: &mut Verdict) {
        let has_stopped =
            |c: &CafeSeen| matches!(c.phase, Phase::Held | Phase::RollingBack) || !c.failed.is_empty();
        let Some((stopped, _)) = self.span.cafes(self.step.app).find(|(_, c)| has_stopped(c)) else {
            verdict.complaints.push("the release did not say that it stopped".into());
            return;
        };
        let took = stopped.saturating_sub(failed);
        if took > self.rules.stop_within {
            let (took, most) = (seconds(took), seconds(self.rules.stop_within));
            verdict
                .complaints
                .push(format!("the release stopped {took} after the first failure; {most} are allowed"));
        }
        let reason = self.span.cafes(self.step.app).filter(|(at, _)| *at >= stopped);
        let reason = reason.map(|(_, c)| if c.failed.is_empty() { &c.waits } else { &c.failed });
        match reason.into_iter().find(|r| !r.is_empty()) {
            Some(reason) => {
                verdict.remarks.push(format!("stopped {} after the first failure: {reason}", seconds(took)))
            }
            None => verdict.complaints.push("the release does not say why it stopped".into()),
        }
    }

    /// All pods are as they were before the release.
    fn back(&self, verdict: &mut Verdict) {
        let after = self.span.after();
        for before in self.span.before.pods_of(self.step.app) {
            match after.pods.get(&before.uid) {
                None => verdict.complaints.push(format!("{}: its pod is gone", before.name)),
                Some(now) => verdict.complaints.extend(pods::serves(now, before.version())),
            }
        }
    }

    /// Traffic goes on without a control plane, and the release goes on where it was.
    pub(super) fn plane_kill(&self, verdict: &mut Verdict) {
        self.nobody_noticed(verdict);
        self.updated_once(verdict);
        let killed = self.span.mark(|m| *m == Mark::PlaneKilled);
        let back = self.span.mark(|m| *m == Mark::PlaneBack);
        let (Some((killed, _)), Some((back, _))) = (killed, back) else {
            verdict.complaints.push("the control plane was not killed and started again".into());
            return;
        };
        let meanwhile = traffic(self.seen, self.step.app, killed, back);
        if meanwhile.ok == 0 {
            verdict.complaints.push("no request was answered while the control plane was away".into());
        }
        verdict.remarks.push(format!(
            "{} answers in the {} without it",
            meanwhile.ok,
            seconds(back - killed)
        ));
        self.resumed(killed, verdict);
    }

    /// What moves first after the kill is a pod that was on its way when it happened.
    fn resumed(&self, killed: Micros, verdict: &mut Verdict) {
        let app = self.step.app;
        let out = pods::out_at(self.span, app, killed);
        if out.is_empty() {
            verdict
                .complaints
                .push("no pod was out of service at the kill: it was not in the middle of a group".into());
            return;
        }
        match pods::first_moved(self.span, app, killed) {
            Some(first) if out.iter().any(|p| p.uid == first.uid) => {
                verdict.remarks.push(format!("resumed at {}", first.name));
            }
            Some(first) => verdict
                .complaints
                .push(format!("{} moved first; it was not on its way at the kill", first.name)),
            None => verdict.complaints.push("nothing moved after the control plane was back".into()),
        }
    }

    /// The release went through, and requests were lost: without that, zero elsewhere means nothing.
    pub(super) fn control(&self, verdict: &mut Verdict) {
        let after = self.span.after();
        verdict
            .complaints
            .extend(after.pods_of(self.step.app).filter_map(|p| pods::serves(p, self.step.version)));
        if self.requests.failures.is_empty() {
            verdict
                .complaints
                .push("no request failed: the zero of the other steps is not shown to mean anything".into());
        } else {
            verdict.remarks.push(summary(&self.requests.failures));
        }
    }

    /// Only what was open in the dead cell is lost; the other keeps its minimum and finishes the release.
    pub(super) fn cell_death(&self, verdict: &mut Verdict) {
        let (app, rules) = (self.step.app, self.rules);
        let kill = self.span.mark(|m| matches!(m, Mark::CellKilled { .. }));
        let Some((at, Mark::CellKilled { cell, until, processes, addresses })) = kill else {
            verdict.complaints.push("no cell was killed".into());
            return;
        };
        let is_excused = |f: &&&Failure| was_open(f, (at, *until), addresses, rules.margin);
        verdict.excused = self.requests.failures.iter().filter(is_excused).count() as u64;
        let charged: Vec<&Failure> =
            self.requests.failures.iter().filter(|f| !is_excused(f)).copied().collect();
        if self.requests.sent == 0 {
            verdict.complaints.push("no requests were sent: nothing is proven".into());
        }
        if let Some(first) = charged.first() {
            let offset = seconds(first.due - at);
            verdict.complaints.push(format!(
                "requests failed that were not open in {cell} at the kill: {}; the first was due {offset} after it, {}",
                summary(&charged),
                words(first)
            ));
        }
        let left: Vec<String> = rules.cells.iter().filter(|c| *c != cell).cloned().collect();
        verdict.complaints.extend(pods::budgets(self.span, app, &left, rules.min_available, rules.batch));
        verdict.remarks.push(format!("{processes} processes of {cell} killed"));
        self.went_on(at, cell, verdict);
    }

    /// The release finished in the cells that are left, and says that the other is lost.
    fn went_on(&self, killed: Micros, dead: &str, verdict: &mut Verdict) {
        let app = self.step.app;
        let is_done = |world: &crate::facts::World| {
            let mut left = world.pods_of(app).filter(|p| p.cell != dead && !p.cell.is_empty()).peekable();
            left.peek().is_some() && left.all(|p| pods::serves(p, self.step.version).is_none())
        };
        let done = self.span.worlds().filter(|(at, _)| *at >= killed).find(|(_, w)| is_done(w));
        match done {
            Some((at, _)) if at - killed <= self.rules.finish_within => {
                verdict.remarks.push(format!("the others finished {} after the kill", seconds(at - killed)));
            }
            Some((at, _)) => verdict
                .complaints
                .push(format!("the others finished only {} after the kill", seconds(at - killed))),
            None => {
                verdict.complaints.push("the release did not finish in the cells that are left".into());
                let left = self.span.after();
                let open = left.pods_of(app).filter(|p| p.cell != dead);
                verdict.complaints.extend(open.filter_map(|p| pods::serves(p, self.step.version)));
            }
        }
        let says_lost = |c: &CafeSeen| c.cells.iter().any(|c| c.name == dead && c.lost);
        if !self.span.cafes(app).any(|(_, c)| says_lost(c)) {
            verdict.complaints.push(format!("the status never said that {dead} is lost"));
        }
    }
}

/// Whether a request was open in the cell while its processes were killed.
fn was_open(failure: &Failure, kill: (Micros, Micros), addresses: &[String], margin: Micros) -> bool {
    let host = failure.endpoint.rsplit_once(':').map_or(failure.endpoint.as_str(), |(host, _)| host);
    let overlaps = failure.due <= kill.1 + margin && failure.end >= kill.0 - margin;
    overlaps && addresses.iter().any(|a| a == host)
}

/// The group table in one line.
fn groups(cafe: &CafeSeen) -> String {
    let shares = |g: &crate::facts::GroupSeen| {
        g.cells.iter().map(|c| c.pods.to_string()).collect::<Vec<_>>().join("+")
    };
    let all: Vec<String> = cafe.groups.iter().map(|g| format!("{} {}", g.name, shares(g))).collect();
    format!("groups: {}", all.join(", "))
}

/// A length of time for people.
fn seconds(micros: Micros) -> String {
    format!("{:.1} s", micros as f64 / SECOND as f64)
}
