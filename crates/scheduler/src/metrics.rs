//! Figures of the scheduler, under kube-scheduler's names where it has them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sched_core::QueueCounts;

/// Upper bounds of the histograms, in microseconds: 1 ms doubled up to about 16 s.
const BUCKETS: [u64; 15] = {
    let mut out = [1000; 15];
    let mut i = 1;
    while i < out.len() {
        out[i] = out[i - 1] * 2;
        i += 1;
    }
    out
};

/// Counters and gauges; shared with whoever serves them.
#[derive(Default)]
pub struct Metrics {
    scheduled: AtomicU64,
    unschedulable: AtomicU64,
    errors: AtomicU64,
    events_dropped: AtomicU64,
    log_written: AtomicU64,
    log_lost: AtomicU64,
    preemptions: AtomicU64,
    victims: AtomicU64,
    nodes: AtomicU64,
    pods: AtomicU64,
    pending: [AtomicU64; 5],
    attempt: Histogram,
    wait: Histogram,
}

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    sum_micros: AtomicU64,
    count: AtomicU64,
}

impl Histogram {
    fn observe(&self, length: Duration) {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            if micros <= *bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            let (seconds, n) = (*bound as f64 / 1e6, bucket.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}_bucket{{le=\"{seconds}\"}} {n}");
        }
        let (sum, count) = (self.sum_micros.load(Ordering::Relaxed), self.count.load(Ordering::Relaxed));
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum {}\n{name}_count {count}", sum as f64 / 1e6);
    }
}

impl Metrics {
    pub(crate) fn bound(&self, waited: Duration) {
        self.scheduled.fetch_add(1, Ordering::Relaxed);
        self.wait.observe(waited);
    }

    pub(crate) fn refused(&self) {
        self.unschedulable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn preempts(&self, victims: usize) {
        self.preemptions.fetch_add(1, Ordering::Relaxed);
        self.victims.fetch_add(victims as u64, Ordering::Relaxed);
    }

    pub(crate) fn decided(&self, took: Duration) {
        self.attempt.observe(took);
    }

    pub(crate) fn set(&self, counts: QueueCounts, nodes: usize, pods: usize, events_dropped: u64) {
        let counts = [counts.ready, counts.paused, counts.refused, counts.gated, counts.in_flight];
        for (gauge, n) in self.pending.iter().zip(counts) {
            gauge.store(n as u64, Ordering::Relaxed);
        }
        self.nodes.store(nodes as u64, Ordering::Relaxed);
        self.pods.store(pods as u64, Ordering::Relaxed);
        self.events_dropped.store(events_dropped, Ordering::Relaxed);
    }

    /// Lines of the decision log: written, and dropped.
    pub(crate) fn set_log(&self, (written, lost): (u64, u64)) {
        self.log_written.store(written, Ordering::Relaxed);
        self.log_lost.store(lost, Ordering::Relaxed);
    }

    /// How many pods were bound.
    pub fn scheduled(&self) -> u64 {
        self.scheduled.load(Ordering::Relaxed)
    }

    /// The figures in the text format of Prometheus.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        out.push_str("# HELP scheduler_schedule_attempts_total Attempts to place pods, by result.\n");
        out.push_str("# TYPE scheduler_schedule_attempts_total counter\n");
        for (result, n) in
            [("scheduled", &self.scheduled), ("unschedulable", &self.unschedulable), ("error", &self.errors)]
        {
            let _ = writeln!(out, "scheduler_schedule_attempts_total{{result=\"{result}\"}} {}", read(n));
        }
        out.push_str(
            "# HELP scheduler_pending_pods Pods that wait, by queue.\n# TYPE scheduler_pending_pods gauge\n",
        );
        for (queue, n) in ["active", "backoff", "unschedulable", "gated", "binding"].iter().zip(&self.pending)
        {
            let _ = writeln!(out, "scheduler_pending_pods{{queue=\"{queue}\"}} {}", read(n));
        }
        out.push_str("# HELP scheduler_cache_size Nodes and pods the scheduler counts.\n# TYPE scheduler_cache_size gauge\n");
        let _ = writeln!(out, "scheduler_cache_size{{type=\"nodes\"}} {}", read(&self.nodes));
        let _ = writeln!(out, "scheduler_cache_size{{type=\"pods\"}} {}", read(&self.pods));
        out.push_str("# HELP scheduler_preemption_attempts_total Attempts to make room for a pod by sending others away.\n");
        out.push_str("# TYPE scheduler_preemption_attempts_total counter\n");
        let _ = writeln!(out, "scheduler_preemption_attempts_total {}", read(&self.preemptions));
        out.push_str("# HELP scheduler_preemption_victims_total Pods sent away for others.\n");
        out.push_str("# TYPE scheduler_preemption_victims_total counter\n");
        let _ = writeln!(out, "scheduler_preemption_victims_total {}", read(&self.victims));
        out.push_str("# HELP scheduler_events_dropped_total Events not written because too many waited.\n");
        out.push_str("# TYPE scheduler_events_dropped_total counter\n");
        let _ = writeln!(out, "scheduler_events_dropped_total {}", read(&self.events_dropped));
        out.push_str("# HELP knarr_scheduler_decision_log_lines_total Lines of the decision log, by what became of them.\n");
        out.push_str("# TYPE knarr_scheduler_decision_log_lines_total counter\n");
        for (result, n) in [("written", &self.log_written), ("dropped", &self.log_lost)] {
            let _ =
                writeln!(out, "knarr_scheduler_decision_log_lines_total{{result=\"{result}\"}} {}", read(n));
        }
        self.attempt.write(
            &mut out,
            "scheduler_scheduling_algorithm_duration_seconds",
            "Time of one decision.",
        );
        self.wait.write(
            &mut out,
            "scheduler_pod_scheduling_sli_duration_seconds",
            "Time from entering the queue until bound.",
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_what_happened() {
        let metrics = Metrics::default();
        metrics.bound(Duration::from_millis(3));
        metrics.refused();
        metrics.set(QueueCounts { refused: 2, ..QueueCounts::default() }, 5, 7, 0);
        let text = metrics.text();
        for line in [
            "scheduler_schedule_attempts_total{result=\"scheduled\"} 1",
            "scheduler_pending_pods{queue=\"unschedulable\"} 2",
            "scheduler_cache_size{type=\"nodes\"} 5",
            "scheduler_pod_scheduling_sli_duration_seconds_bucket{le=\"0.002\"} 0",
            "scheduler_pod_scheduling_sli_duration_seconds_bucket{le=\"0.004\"} 1",
            "scheduler_pod_scheduling_sli_duration_seconds_count 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in:\n{text}");
        }
    }
}
