//! Counters in the text form of Prometheus, under upstream's names where upstream has the thing.

mod delivery;
mod histogram;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use delivery::timed;
pub(crate) use histogram::Histogram;
use store::Stats;

use crate::request::Target;

/// Upper bounds of the duration buckets, in microseconds.
const BUCKETS_MICROS: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];
/// Different label sets that are counted; further ones are counted together.
const SERIES_MAX: usize = 4_000;

/// Everything the server counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Series, Requests>>,
    /// Objects stored or changed.
    pub(crate) writes: AtomicU64,
    /// Writes that changed nothing and were not stored.
    pub(crate) no_ops: AtomicU64,
    /// Writes tried again after a conflict.
    pub(crate) retries: AtomicU64,
    /// Watches open now.
    pub(crate) watches: AtomicU64,
    /// Events sent to watchers.
    pub(crate) watch_events: AtomicU64,
    /// From durable to the connection, of each event that a watcher beyond this process was sent.
    pub(crate) deliveries: delivery::Deliveries,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: Mutex::default(),
            writes: AtomicU64::default(),
            no_ops: AtomicU64::default(),
            retries: AtomicU64::default(),
            watches: AtomicU64::default(),
            watch_events: AtomicU64::default(),
            deliveries: Histogram::new(delivery::BOUNDS_MICROS),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Debug, Default)]
struct Requests {
    count: u64,
    micros: u64,
    buckets: [u64; BUCKETS_MICROS.len()],
}

impl Metrics {
    fn requests(&self) -> MutexGuard<'_, BTreeMap<Series, Requests>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn request(&self, verb: &'static str, target: &Target, code: u16, took: Duration) {
        let mut series = Series {
            verb,
            group: target.group.clone(),
            version: target.version.clone(),
            resource: target.resource.clone(),
            subresource: target.subresource.clone(),
            code,
        };
        let mut all = self.requests();
        if code == 404 || (all.len() >= SERIES_MAX && !all.contains_key(&series)) {
            // Paths that do not exist are as many as clients can think of.
            series.group.clear();
            series.version.clear();
            series.resource.clear();
            series.subresource.clear();
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let requests = all.entry(series).or_default();
        requests.count += 1;
        requests.micros = requests.micros.saturating_add(micros);
        for (bucket, bound) in requests.buckets.iter_mut().zip(BUCKETS_MICROS) {
            *bucket += u64::from(micros <= bound);
        }
    }

    /// All numbers as text.
    pub(crate) fn text(&self, store: &Stats, resources: &[(std::sync::Arc<str>, usize)]) -> String {
        let mut out = String::new();
        self.write_requests(&mut out);
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        gauge(&mut out, "apiserver_longrunning_requests", "watches open now", load(&self.watches));
        counter(
            &mut out,
            "apiserver_watch_events_total",
            "events sent to watchers",
            load(&self.watch_events),
        );
        self.write_deliveries(&mut out);
        counter(
            &mut out,
            "knarr_apiserver_writes_total",
            "objects stored, changed or removed",
            load(&self.writes),
        );
        counter(
            &mut out,
            "knarr_apiserver_no_op_writes_total",
            "writes that changed nothing",
            load(&self.no_ops),
        );
        counter(
            &mut out,
            "knarr_apiserver_write_retries_total",
            "writes tried again after a conflict",
            load(&self.retries),
        );
        gauge(&mut out, "knarr_store_revision", "newest committed revision", store.head.0);
        gauge(&mut out, "knarr_store_objects_bytes", "bytes of live objects", store.object_bytes as u64);
        gauge(&mut out, "knarr_store_history_events", "events in the window", store.history_events as u64);
        gauge(
            &mut out,
            "knarr_store_history_bytes",
            "bytes the window keeps alive",
            store.history_bytes as u64,
        );
        let _ = writeln!(
            out,
            "# HELP apiserver_storage_objects objects by resource\n# TYPE apiserver_storage_objects gauge"
        );
        for (resource, count) in resources {
            let _ = writeln!(out, "apiserver_storage_objects{{resource=\"{resource}\"}} {count}");
        }
        out
    }

    fn write_deliveries(&self, out: &mut String) {
        const NAME: &str = "knarr_apiserver_watch_delivery_duration_seconds";
        let _ = writeln!(
            out,
            "# HELP {NAME} from the moment a change was durable, or its watch began, until its event was handed to the connection\n\
             # TYPE {NAME} histogram"
        );
        self.deliveries.write(out, NAME, "");
    }

    fn write_requests(&self, out: &mut String) {
        let all = self.requests();
        out.push_str("# HELP apiserver_request_total requests by verb, resource and code\n# TYPE apiserver_request_total counter\n");
        for (s, r) in all.iter() {
            let _ = writeln!(out, "apiserver_request_total{{{},code=\"{}\"}} {}", labels(s), s.code, r.count);
        }
        const NAME: &str = "apiserver_request_duration_seconds";
        let _ = writeln!(out, "# HELP {NAME} time until the answer begins\n# TYPE {NAME} histogram");
        for (s, r) in all.iter() {
            let labels = format!("{},code=\"{}\"", labels(s), s.code);
            for (bucket, bound) in r.buckets.iter().zip(BUCKETS_MICROS) {
                let seconds = Duration::from_micros(bound).as_secs_f64();
                let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"{seconds}\"}} {bucket}");
            }
            let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {}", r.count);
            let seconds = Duration::from_micros(r.micros).as_secs_f64();
            let _ = writeln!(out, "{NAME}_sum{{{labels}}} {seconds}\n{NAME}_count{{{labels}}} {}", r.count);
        }
    }
}

fn labels(s: &Series) -> String {
    format!(
        "verb=\"{}\",group=\"{}\",version=\"{}\",resource=\"{}\",subresource=\"{}\"",
        s.verb.to_uppercase(),
        s.group,
        s.version,
        s.resource,
        s.subresource
    )
}

fn gauge(out: &mut String, name: &str, help: &str, value: u64) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
}

fn counter(out: &mut String, name: &str, help: &str, value: u64) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
}
