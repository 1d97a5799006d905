//! Requests by what they ask for: how many, how long, how many at one time.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use http::header::CONTENT_TYPE;

use super::{LONG_MICROS, LongHistogram, lock, micros, title};
use crate::registry::Served;
use crate::server::Call;

/// Different label sets that are counted; further ones are counted together.
const SERIES_MAX: usize = 4_000;
/// Subresources that are asked for as long as the client likes, as watches are.
const LONG_SUBRESOURCES: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// What a request asks for, in upstream's labels but for the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Labels<'a> {
    verb: &'static str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    scope: &'static str,
    dry_run: &'static str,
}

impl Labels<'_> {
    fn of(call: &Call) -> Labels<'_> {
        let target = &call.target;
        let is_resource = target.is_resource && !target.resource.is_empty();
        Labels {
            verb: verb(call),
            group: &target.group,
            version: &target.version,
            resource: &target.resource,
            subresource: &target.subresource,
            scope: match (is_resource, call.verb) {
                (true, "create") => "resource",
                (true, _) if !target.name.is_empty() => "resource",
                (true, _) if !target.namespace.is_empty() => "namespace",
                (true, _) => "cluster",
                (false, _) => "",
            },
            dry_run: if call.query.dry_run() { "All" } else { "" },
        }
    }

    fn is_long(&self) -> bool {
        self.verb == "WATCH" || LONG_SUBRESOURCES.contains(&self.subresource)
    }

    /// Those of whatever does not exist, or is too much: clients can think of any number of paths.
    fn others(self) -> Labels<'static> {
        Labels {
            verb: self.verb,
            group: "",
            version: "",
            resource: "",
            subresource: "",
            scope: "",
            dry_run: self.dry_run,
        }
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }

    fn text(&self) -> String {
        let Labels { verb, group, version, resource, subresource, scope, dry_run } = self;
        format!(
            "component=\"apiserver\",dry_run=\"{dry_run}\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }
}

/// The verb as upstream's metrics have it: the method, told apart where one does several things.
fn verb(call: &Call) -> &'static str {
    let is_apply = |call: &Call| call.header(CONTENT_TYPE).starts_with("application/apply-patch");
    match (call.method(), call.verb) {
        (_, "list") => "LIST",
        (_, "watch") => "WATCH",
        (_, "deletecollection") => "DELETECOLLECTION",
        (&Method::GET | &Method::HEAD, _) => "GET",
        (&Method::POST, _) => "POST",
        (&Method::PUT, _) => "PUT",
        (&Method::PATCH, _) if is_apply(call) => "APPLY",
        (&Method::PATCH, _) => "PATCH",
        (&Method::DELETE, _) => "DELETE",
        (&Method::OPTIONS, _) => "OPTIONS",
        _ => "other",
    }
}

/// Whether the path of a request names what is served; whoever is refused at the door may have made it up.
fn is_served(call: &Call) -> bool {
    let target = &call.target;
    let served = || call.snapshot.get(&target.group, &target.version, &target.resource);
    let has = |s: &Served| target.subresource.is_empty() || s.subresources.contains_key(&target.subresource);
    !target.is_resource || target.resource.is_empty() || served().is_some_and(|s| has(s))
}

#[derive(Debug)]
struct Series {
    /// As they are shown.
    labels: String,
    /// It lasts as long as the client likes: how long says nothing.
    is_long: bool,
    codes: BTreeMap<u16, u64>,
    durations: LongHistogram,
    /// The same without the time that webhooks took.
    own: LongHistogram,
}

/// Requests that were answered and that run.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// By the hash of the labels, so that nothing has to be made to find them.
    series: Mutex<HashMap<u64, Series>>,
    /// Those that read, and those that change something.
    running: [Arc<AtomicU64>; 2],
}

/// A request that runs.
#[derive(Debug)]
pub(crate) struct InFlight(Option<Arc<AtomicU64>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(running) = &self.0 {
            running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Requests {
    pub(super) fn enter(&self, call: &Call) -> InFlight {
        if Labels::of(call).is_long() {
            return InFlight(None);
        }
        let is_change = !matches!(*call.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let running = self.running[usize::from(is_change)].clone();
        running.fetch_add(1, Ordering::Relaxed);
        InFlight(Some(running))
    }

    pub(super) fn count(&self, call: &Call, code: u16, took: Duration) {
        let mut labels = Labels::of(call);
        let mut hash = labels.hash();
        let mut all = lock(&self.series);
        if code == 404 || !is_served(call) || (all.len() >= SERIES_MAX && !all.contains_key(&hash)) {
            labels = labels.others();
            hash = labels.hash();
        }
        let series = all.entry(hash).or_insert_with(|| Series {
            labels: labels.text(),
            is_long: labels.is_long(),
            codes: BTreeMap::new(),
            durations: LongHistogram::new(LONG_MICROS),
            own: LongHistogram::new(LONG_MICROS),
        });
        *series.codes.entry(code).or_default() += 1;
        series.durations.observe(took, 1);
        let elsewhere = call.webhook_micros.load(Ordering::Relaxed);
        series.own.observe(Duration::from_micros(micros(took).saturating_sub(elsewhere)), 1);
    }

    pub(super) fn write(&self, out: &mut String) {
        const COUNT: &str = "apiserver_request_total";
        let all = lock(&self.series);
        let mut all: Vec<&Series> = all.values().collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        title(out, COUNT, "requests by verb, resource and code", "counter");
        for series in &all {
            for (code, n) in &series.codes {
                let _ = writeln!(out, "{COUNT}{{code=\"{code}\",{}}} {n}", series.labels);
            }
        }
        let mut table = |name: &str, help: &str, pick: fn(&Series) -> &LongHistogram| {
            title(out, name, help, "histogram");
            for series in all.iter().filter(|series| !series.is_long) {
                pick(series).write(out, name, &series.labels);
            }
        };
        table("apiserver_request_duration_seconds", "time until the answer begins", |s| &s.durations);
        table(
            "apiserver_request_sli_duration_seconds",
            "time until the answer begins, without what webhooks took",
            |s| &s.own,
        );
        title(out, "apiserver_current_inflight_requests", "requests that run now", "gauge");
        for (kind, running) in ["readOnly", "mutating"].into_iter().zip(&self.running) {
            let n = running.load(Ordering::Relaxed);
            let _ = writeln!(out, "apiserver_current_inflight_requests{{request_kind=\"{kind}\"}} {n}");
        }
    }
}
