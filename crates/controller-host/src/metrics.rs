//! Counters of the host, as Prometheus text. All its metrics are declared here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reconcile::Verb;

/// Upper bounds of the reconcile time histogram in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// Counters, shared by the host's tasks.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    depth: BTreeMap<&'static str, usize>,
    adds: BTreeMap<&'static str, u64>,
    retries: BTreeMap<&'static str, u64>,
    reconciles: BTreeMap<(&'static str, &'static str), u64>,
    times: BTreeMap<&'static str, Histogram>,
    writes: BTreeMap<(&'static str, &'static str, String, String), u64>,
    held: BTreeMap<&'static str, u64>,
    watch_events: BTreeMap<String, u64>,
    objects: BTreeMap<String, usize>,
    events_lost: u64,
}

#[derive(Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum_secs: f64,
}

impl Metrics {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Plain counters stay usable whatever happened to another holder.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn depth(&self, controller: &'static str, depth: usize) {
        self.inner().depth.insert(controller, depth);
    }

    pub(crate) fn added(&self, controller: &'static str) {
        *self.inner().adds.entry(controller).or_default() += 1;
    }

    pub(crate) fn retried(&self, controller: &'static str) {
        *self.inner().retries.entry(controller).or_default() += 1;
    }

    pub(crate) fn reconciled(&self, controller: &'static str, result: &'static str, took: Duration) {
        let mut inner = self.inner();
        *inner.reconciles.entry((controller, result)).or_default() += 1;
        let histogram = inner.times.entry(controller).or_default();
        let secs = took.as_secs_f64();
        histogram.count += 1;
        histogram.sum_secs += secs;
        for (bound, count) in BUCKETS.iter().zip(&mut histogram.counts) {
            *count += u64::from(secs <= *bound);
        }
    }

    pub(crate) fn wrote(&self, controller: &'static str, verb: Verb, resource: &str, code: &str) {
        let key = (controller, verb_name(verb), resource.to_owned(), code.to_owned());
        *self.inner().writes.entry(key).or_default() += 1;
    }

    pub(crate) fn held(&self, controller: &'static str) {
        *self.inner().held.entry(controller).or_default() += 1;
    }

    pub(crate) fn watched(&self, resource: &str, objects: usize) {
        let mut inner = self.inner();
        *inner.watch_events.entry(resource.to_owned()).or_default() += 1;
        inner.objects.insert(resource.to_owned(), objects);
    }

    pub(crate) fn event_lost(&self) {
        self.inner().events_lost += 1;
    }

    /// Everything, in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let inner = self.inner();
        let mut out = String::new();
        let name = |n: &&str| format!("name=\"{n}\"");
        let controller = |n: &&str| format!("controller=\"{n}\"");
        family(
            &mut out,
            "workqueue_depth",
            "gauge",
            "Keys waiting.",
            inner.depth.iter().map(|(n, v)| (name(n), v)),
        );
        family(
            &mut out,
            "workqueue_adds_total",
            "counter",
            "Keys added.",
            inner.adds.iter().map(|(n, v)| (name(n), v)),
        );
        family(
            &mut out,
            "workqueue_retries_total",
            "counter",
            "Keys added after a failure.",
            inner.retries.iter().map(|(n, v)| (name(n), v)),
        );
        family(
            &mut out,
            "controller_runtime_reconcile_total",
            "counter",
            "Reconciliations by result.",
            inner.reconciles.iter().map(|((n, r), v)| (format!("controller=\"{n}\",result=\"{r}\""), v)),
        );
        histograms(&mut out, &inner.times);
        family(
            &mut out,
            "controller_writes_total",
            "counter",
            "Writes by verb, resource and HTTP status.",
            inner.writes.iter().map(|((n, verb, resource, code), v)| {
                (format!("controller=\"{n}\",verb=\"{verb}\",resource=\"{resource}\",code=\"{code}\""), v)
            }),
        );
        family(
            &mut out,
            "controller_actions_held_total",
            "counter",
            "Destructive actions not granted.",
            inner.held.iter().map(|(n, v)| (controller(n), v)),
        );
        let resource = |r: &String| format!("resource=\"{r}\"");
        family(
            &mut out,
            "controller_watch_events_total",
            "counter",
            "Changes seen.",
            inner.watch_events.iter().map(|(r, v)| (resource(r), v)),
        );
        family(
            &mut out,
            "controller_cache_objects",
            "gauge",
            "Objects mirrored.",
            inner.objects.iter().map(|(r, v)| (resource(r), v)),
        );
        family(
            &mut out,
            "controller_events_lost_total",
            "counter",
            "Events for people not recorded.",
            [(String::new(), inner.events_lost)].into_iter(),
        );
        out
    }
}

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Require => "get",
        Verb::Create => "create",
        Verb::Patch => "patch",
        Verb::Delete => "delete",
    }
}

fn family<V: std::fmt::Display>(
    out: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    samples: impl Iterator<Item = (String, V)>,
) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

fn histograms(out: &mut String, times: &BTreeMap<&'static str, Histogram>) {
    const NAME: &str = "controller_runtime_reconcile_time_seconds";
    let _ = writeln!(out, "# HELP {NAME} Time of one reconciliation.\n# TYPE {NAME} histogram");
    for (controller, h) in times {
        for (bound, count) in BUCKETS.iter().zip(h.counts) {
            let _ = writeln!(out, "{NAME}_bucket{{controller=\"{controller}\",le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(out, "{NAME}_bucket{{controller=\"{controller}\",le=\"+Inf\"}} {}", h.count);
        let _ = writeln!(out, "{NAME}_sum{{controller=\"{controller}\"}} {}", h.sum_secs);
        let _ = writeln!(out, "{NAME}_count{{controller=\"{controller}\"}} {}", h.count);
    }
}
