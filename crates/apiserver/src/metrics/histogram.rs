//! Histograms that many tasks count into without a lock.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Durations counted by buckets whose upper bounds are given in microseconds, ascending.
///
/// Each observation counts in one bucket only and is summed up when it is shown, so that counting is two additions. What is shown
/// while others count may miss the newest of them.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    bounds_micros: [u64; N],
    /// One for each bound; what is above all of them is in `above`.
    within: [AtomicU64; N],
    above: AtomicU64,
    micros: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// An empty one.
    pub(crate) const fn new(bounds_micros: [u64; N]) -> Histogram<N> {
        Histogram {
            bounds_micros,
            within: [const { AtomicU64::new(0) }; N],
            above: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        }
    }

    /// Counts `times` things that took `took` each.
    pub(crate) fn observe(&self, took: Duration, times: u64) {
        let micros = super::micros(took);
        let at = self.bounds_micros.partition_point(|bound| *bound < micros);
        self.within.get(at).unwrap_or(&self.above).fetch_add(times, Ordering::Relaxed);
        self.micros.fetch_add(micros.saturating_mul(times), Ordering::Relaxed);
    }

    /// Appends its lines; `labels` without braces, empty for none.
    pub(crate) fn write(&self, out: &mut String, name: &str, labels: &str) {
        let (comma, open, close) = if labels.is_empty() { ("", "", "") } else { (",", "{", "}") };
        let mut count = 0;
        for (bucket, bound) in self.within.iter().zip(self.bounds_micros) {
            count += bucket.load(Ordering::Relaxed);
            let le = Duration::from_micros(bound).as_secs_f64();
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}");
        }
        count += self.above.load(Ordering::Relaxed);
        let seconds = Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum{open}{labels}{close} {seconds}");
        let _ = writeln!(out, "{name}_count{open}{labels}{close} {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_bounds_belong_to_them() {
        let histogram = Histogram::new([1_000, 2_000]);
        histogram.observe(Duration::from_millis(1), 1);
        histogram.observe(Duration::from_micros(1_001), 2);
        histogram.observe(Duration::from_secs(3), 1);
        let mut out = String::new();
        histogram.write(&mut out, "x_seconds", "verb=\"GET\"");
        let expected = "x_seconds_bucket{verb=\"GET\",le=\"0.001\"} 1\nx_seconds_bucket{verb=\"GET\",le=\"0.002\"} 3\n\
                        x_seconds_bucket{verb=\"GET\",le=\"+Inf\"} 4\nx_seconds_sum{verb=\"GET\"} 3.003002\n\
                        x_seconds_count{verb=\"GET\"} 4\n";
        assert_eq!(out, expected);
    }
}
