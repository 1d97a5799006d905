//! The state of one probe: when it is due, and what its results in a row say.

use std::time::Duration;

use api_core::Probe;
use stdx::Time;

/// What a probe decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// The others wait for it; its failure restarts the container.
    Startup,
    /// Its failure takes the pod out of its Services.
    Readiness,
    /// Its failure restarts the container.
    Liveness,
}

impl ProbeKind {
    /// All kinds in the order in which they matter.
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness];

    /// The word used in messages.
    pub fn word(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Readiness => "Readiness",
            ProbeKind::Liveness => "Liveness",
        }
    }
}

/// Times and thresholds of a probe, with Kubernetes' defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// From the container's start to the first probe.
    pub initial_delay: Duration,
    /// Between probes.
    pub period: Duration,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Successes in a row that count.
    pub successes: u16,
    /// Failures in a row that count.
    pub failures: u16,
    /// Grace when this probe restarts the container; the pod's when absent.
    pub grace_secs: Option<i64>,
}

impl Timing {
    /// Reads the times of a probe.
    pub fn of(probe: &Probe) -> Timing {
        let secs = |value: Option<i32>, default: i32, min: i32| {
            Duration::from_secs(u64::try_from(value.unwrap_or(default).max(min)).unwrap_or(0))
        };
        let count = |value: Option<i32>, default: i32| {
            u16::try_from(value.unwrap_or(default).clamp(1, 10_000)).unwrap_or(1)
        };
        Timing {
            initial_delay: secs(probe.initial_delay_seconds, 0, 0),
            period: secs(probe.period_seconds, 10, 1),
            timeout: secs(probe.timeout_seconds, 1, 1),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
            grace_secs: probe.termination_grace_period_seconds,
        }
    }
}

/// Results so far of one probe of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProbeState {
    due: Option<Time>,
    is_running: bool,
    last: bool,
    streak: u16,
    verdict: Option<bool>,
}

impl ProbeState {
    /// What the results say; nothing before a threshold is reached.
    pub(crate) fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// When it is due, given since when the container runs; nothing while one is running.
    pub(crate) fn due(&self, timing: &Timing, since: Time) -> Option<Time> {
        if self.is_running { None } else { Some(self.due.unwrap_or(since + timing.initial_delay)) }
    }

    /// Notes that a probe has been started.
    pub(crate) fn begin(&mut self, timing: &Timing, now: Time) {
        self.is_running = true;
        self.due = Some(now + timing.period);
    }

    /// Notes a result.
    pub(crate) fn note(&mut self, timing: &Timing, is_success: bool) {
        self.is_running = false;
        self.streak =
            if self.last == is_success && self.streak > 0 { self.streak.saturating_add(1) } else { 1 };
        self.last = is_success;
        let threshold = if is_success { timing.successes } else { timing.failures };
        if self.streak >= threshold {
            self.verdict = Some(is_success);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_its_threshold_in_a_row() {
        let timing =
            Timing::of(&Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() });
        let mut state = ProbeState::default();
        let verdicts: Vec<Option<bool>> = [true, false, true, true, false, false, true, false, false, false]
            .into_iter()
            .map(|ok| {
                state.note(&timing, ok);
                state.verdict()
            })
            .collect();
        let (y, n) = (Some(true), Some(false));
        assert_eq!(verdicts, [None, None, None, y, y, y, y, y, y, n]);
    }

    #[test]
    fn the_first_probe_waits_for_the_delay_and_the_next_for_the_period() {
        let timing = Timing::of(&Probe { initial_delay_seconds: Some(5), ..Probe::default() });
        let (start, mut state) = (Time::from_secs(100), ProbeState::default());
        assert_eq!(state.due(&timing, start), Some(Time::from_secs(105)));
        state.begin(&timing, Time::from_secs(105));
        assert_eq!(state.due(&timing, start), None);
        state.note(&timing, true);
        assert_eq!(state.due(&timing, start), Some(Time::from_secs(115)));
    }
}
