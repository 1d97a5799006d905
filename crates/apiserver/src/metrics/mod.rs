//! Counters in the text form of Prometheus, under upstream's names, labels and buckets where upstream has the thing.
//!
//! What a request costs here is a lock, a look into a map and a few additions: nothing is built from text for what was counted before.

mod delivery;
mod histogram;
mod hooks;
mod requests;
mod trust;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use delivery::timed;
pub(crate) use histogram::Histogram;
pub(crate) use hooks::HookCall;
pub(crate) use requests::InFlight;
use store::Stats;

use crate::audit::Level;
use crate::server::{Call, Version};

/// Upper bounds of upstream's buckets for what takes as long as requests do, in microseconds.
pub(crate) const LONG_MICROS: [u64; 23] = [
    5_000, 25_000, 50_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000, 1_250_000, 1_500_000,
    2_000_000, 3_000_000, 4_000_000, 5_000_000, 6_000_000, 8_000_000, 10_000_000, 15_000_000, 20_000_000,
    30_000_000, 45_000_000, 60_000_000,
];
/// The same in seconds, for admission as a whole and by webhook.
const ADMISSION_MICROS: [u64; 8] =
    [5_000, 25_000, 100_000, 500_000, 1_000_000, 2_500_000, 10_000_000, 25_000_000];

/// Durations in upstream's buckets.
pub(crate) type LongHistogram = Histogram<{ LONG_MICROS.len() }>;
type AdmissionHistogram = Histogram<{ ADMISSION_MICROS.len() }>;

/// Everything the server counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: requests::Requests,
    hooks: hooks::Hooks,
    trust: trust::Trust,
    /// Admission as a whole: completing and judging, each let through or refused.
    steps: [AdmissionHistogram; 4],
    /// Writes to the store: those that create or change, and those that remove.
    storage: [LongHistogram; 2],
    /// Events of the audit log, those that were lost, and requests by level.
    audit_events: AtomicU64,
    audit_errors: AtomicU64,
    audit_levels: [AtomicU64; 4],
    /// Objects stored or changed.
    pub(crate) writes: AtomicU64,
    /// Writes that changed nothing and were not stored.
    pub(crate) no_ops: AtomicU64,
    /// Writes tried again after a conflict.
    pub(crate) retries: AtomicU64,
    /// Watches open now.
    pub(crate) watches: AtomicU64,
    /// Watches open now and events sent so far, by (group, version, resource).
    watched: Mutex<BTreeMap<[Arc<str>; 3], Arc<Watched>>>,
    /// From durable to the connection, of each event that a watcher beyond this process was sent.
    pub(crate) deliveries: delivery::Deliveries,
}

/// What watches of one resource have been.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Open now.
    pub(crate) open: AtomicU64,
    /// Events sent.
    pub(crate) events: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: requests::Requests::default(),
            hooks: hooks::Hooks::default(),
            trust: trust::Trust::default(),
            steps: [const { Histogram::new(ADMISSION_MICROS) }; 4],
            storage: [const { Histogram::new(LONG_MICROS) }; 2],
            audit_events: AtomicU64::default(),
            audit_errors: AtomicU64::default(),
            audit_levels: [const { AtomicU64::new(0) }; 4],
            writes: AtomicU64::default(),
            no_ops: AtomicU64::default(),
            retries: AtomicU64::default(),
            watches: AtomicU64::default(),
            watched: Mutex::default(),
            deliveries: Histogram::new(delivery::BOUNDS_MICROS),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As histograms and sums count it.
pub(crate) fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

impl Metrics {
    /// Counts a request among those that run, until the value goes.
    pub(crate) fn enter(&self, call: &Call) -> InFlight {
        self.requests.enter(call)
    }

    /// Counts a request that was answered. `certificate` is how long the client's is still good, if it was believed because of one.
    pub(crate) fn request(&self, call: &Call, code: u16, took: Duration, certificate: Option<Duration>) {
        self.requests.count(call, code, took);
        self.trust.count(call, code, certificate);
    }

    /// Counts a question to a webhook.
    pub(crate) fn hook(&self, asked: &HookCall<'_>) {
        self.hooks.count(asked);
    }

    /// Counts what a hook's failure was ignored for.
    pub(crate) fn hook_failed_open(&self, name: &str, kind: &'static str) {
        self.hooks.count_open(name, kind);
    }

    /// Counts admission as a whole.
    pub(crate) fn admission(&self, is_judging: bool, is_refused: bool, took: Duration) {
        self.steps[usize::from(is_judging) * 2 + usize::from(is_refused)].observe(took, 1);
    }

    /// Counts a write to the store.
    pub(crate) fn stored(&self, is_delete: bool, took: Duration) {
        self.storage[usize::from(is_delete)].observe(took, 1);
    }

    /// Counts a verdict of the audit policy.
    pub(crate) fn audited(&self, level: Level) {
        self.audit_levels[level as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an event of the audit log.
    pub(crate) fn audit_event(&self, is_there: bool) {
        let counter = if is_there { &self.audit_events } else { &self.audit_errors };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Where watches of a resource are counted.
    pub(crate) fn watched(&self, resource: &api_meta::Resource) -> Arc<Watched> {
        let key = [&resource.group, &resource.version, &resource.plural].map(|part| Arc::from(&**part));
        lock(&self.watched).entry(key).or_default().clone()
    }

    /// All numbers as text.
    pub(crate) fn text(
        &self,
        store: &Stats,
        resources: &[(Arc<str>, usize)],
        version: &Version,
        is_read_only: bool,
    ) -> String {
        let mut out = String::new();
        build(&mut out, version);
        self.requests.write(&mut out);
        self.write_watches(&mut out);
        self.write_deliveries(&mut out);
        self.write_steps(&mut out);
        self.hooks.write(&mut out);
        self.trust.write(&mut out);
        self.write_audit(&mut out);
        self.write_storage(&mut out, store, resources);
        gauge(
            &mut out,
            "knarr_store_read_only",
            "whether the disk has no room for writes",
            is_read_only.into(),
        );
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
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
        out
    }

    fn write_watches(&self, out: &mut String) {
        let all = lock(&self.watched);
        let mut table = |name: &str, help: &str, kind: &str, more: &str, pick: fn(&Watched) -> &AtomicU64| {
            title(out, name, help, kind);
            for ([group, version, resource], watched) in all.iter() {
                let n = pick(watched).load(Ordering::Relaxed);
                let labels = format!("group=\"{group}\",version=\"{version}\",resource=\"{resource}\"");
                let _ = writeln!(out, "{name}{{{labels}{more}}} {n}");
            }
        };
        let of_watches = ",component=\"apiserver\",scope=\"\",subresource=\"\",verb=\"WATCH\"";
        table("apiserver_longrunning_requests", "watches open now", "gauge", of_watches, |w| &w.open);
        table("apiserver_watch_events_total", "events sent to watchers", "counter", "", |w| &w.events);
    }

    fn write_deliveries(&self, out: &mut String) {
        const NAME: &str = "knarr_apiserver_watch_delivery_duration_seconds";
        let help = "from the moment a change was durable, or its watch began, until its event was handed to the connection";
        title(out, NAME, help, "histogram");
        self.deliveries.write(out, NAME, "");
    }

    fn write_steps(&self, out: &mut String) {
        const NAME: &str = "apiserver_admission_step_admission_duration_seconds";
        title(out, NAME, "admission as a whole", "histogram");
        for (i, step) in self.steps.iter().enumerate() {
            let kind = if i >= 2 { "validate" } else { "admit" };
            step.write(out, NAME, &format!("operation=\"\",rejected=\"{}\",type=\"{kind}\"", i % 2 == 1));
        }
    }

    fn write_audit(&self, out: &mut String) {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        counter(out, "apiserver_audit_event_total", "events of the audit log", load(&self.audit_events));
        title(out, "apiserver_audit_error_total", "events that could not be written", "counter");
        let _ = writeln!(out, "apiserver_audit_error_total{{plugin=\"log\"}} {}", load(&self.audit_errors));
        title(out, "apiserver_audit_level_total", "requests by what is told of them", "counter");
        for level in [Level::None, Level::Metadata, Level::Request, Level::RequestResponse] {
            let n = load(&self.audit_levels[level as usize]);
            let _ = writeln!(out, "apiserver_audit_level_total{{level=\"{}\"}} {n}", level.name());
        }
    }

    fn write_storage(&self, out: &mut String, store: &Stats, resources: &[(Arc<str>, usize)]) {
        title(out, "apiserver_storage_objects", "objects by resource", "gauge");
        for (resource, count) in resources {
            let _ = writeln!(out, "apiserver_storage_objects{{resource=\"{resource}\"}} {count}");
        }
        title(out, "apiserver_resource_objects", "objects by resource", "gauge");
        for (resource, count) in resources {
            let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
            let _ = writeln!(
                out,
                "apiserver_resource_objects{{group=\"{group}\",resource=\"{plural}\"}} {count}"
            );
        }
        title(out, "apiserver_storage_size_bytes", "bytes of live objects as they rest", "gauge");
        let bytes = store.object_bytes;
        let _ = writeln!(out, "apiserver_storage_size_bytes{{storage_cluster_id=\"store\"}} {bytes}");
        const NAME: &str = "etcd_request_duration_seconds";
        title(out, NAME, "writes to the store until they are durable; there is no etcd", "histogram");
        for (operation, histogram) in ["update", "delete"].into_iter().zip(&self.storage) {
            histogram.write(out, NAME, &format!("operation=\"{operation}\",group=\"\",resource=\"\""));
        }
    }
}

/// Which build this is.
fn build(out: &mut String, version: &Version) {
    let mut numbers = version.git_version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    title(out, "kubernetes_build_info", "which build this is", "gauge");
    let _ = writeln!(
        out,
        "kubernetes_build_info{{build_date=\"{}\",compiler=\"rustc\",git_commit=\"{}\",git_tree_state=\"clean\",\
         git_version=\"{}\",go_version=\"none\",major=\"{major}\",minor=\"{minor}\",platform=\"{}\"}} 1",
        version.build_date, version.git_commit, version.git_version, version.platform
    );
}

fn title(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn gauge(out: &mut String, name: &str, help: &str, value: u64) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
}

fn counter(out: &mut String, name: &str, help: &str, value: u64) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
}
