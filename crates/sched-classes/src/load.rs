//! Real load: nodes that are too busy take no more pods, and less busy ones are liked better. Koordinator's LoadAwareScheduling.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api_koord::metric::{Load, UsageThresholds};
use api_koord::names;
use sched_core::{NodeInfo, PodFact, Reason, Rejection, Resolvable, Slot};
use sched_plugins::Extra;
use stdx::Time;

use crate::words::PodWords;

/// How load is judged. Percents; zero: not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadSettings {
    /// Usage of CPU above which a node takes no more pods.
    pub cpu_percent_max: i64,
    /// Usage of memory above which a node takes no more pods.
    pub memory_percent_max: i64,
    /// Usage of CPU above which a node takes no pod of the tier that is not accounted.
    pub waterline_percent: i64,
    /// Age at which a measurement says nothing any more.
    pub expiry: Duration,
    /// A node whose measurement has expired takes no pods.
    pub refuses_expired: bool,
}

impl Default for LoadSettings {
    /// Koordinator's: 65 % of CPU, 95 % of memory, 180 s, and refused. The waterline is its threshold for suppressing best effort.
    fn default() -> LoadSettings {
        LoadSettings {
            cpu_percent_max: 65,
            memory_percent_max: 95,
            waterline_percent: 65,
            expiry: Duration::from_secs(180),
            refuses_expired: true,
        }
    }
}

/// Thousandths of a CPU, and bytes.
type Pair = [i64; 2];

const RESOURCES: [&str; 2] = ["cpu", "memory"];
/// Which part of its request a pod is expected to use, in percent.
const EXPECTED_PERCENT: Pair = [85, 70];
/// What a pod is expected to use that requests nothing: 250m, 200 MiB.
const EXPECTED_UNSAID: Pair = [250, 200 << 20];

/// The rule: asks what each node really uses. Says nothing while there is no NodeMetric.
///
/// A pod counts by what it is expected to use until a report can have measured it: 85 % of its CPU request and 70 % of its memory,
/// less what is measured of it already. Different from upstream: limits above requests are not read; a pod's time on its node is
/// when this scheduler placed it, else when it was created.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoadAware {
    settings: LoadSettings,
    nodes: HashMap<Arc<str>, Site>,
    thresholds: HashMap<Arc<str>, UsageThresholds>,
    homes: HashMap<Arc<str>, Arc<str>>,
    daemons: HashSet<Arc<str>>,
    free: HashSet<Arc<str>>,
    metrics: usize,
    now: Time,
}

/// What is known of one node.
#[derive(Clone, Debug, Default, PartialEq)]
struct Site {
    load: Option<Load>,
    pods: BTreeMap<Arc<str>, Assigned>,
    /// What its pods are expected to use beyond what was measured.
    ahead: Pair,
}

/// A pod on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assigned {
    name: String,
    expected: Pair,
    since: Time,
}

impl Site {
    /// What a pod will use beyond what is measured.
    fn ahead_of(&self, pod: &Assigned) -> Pair {
        let Some(load) = &self.load else { return [0, 0] };
        let measured = load.pods.get(&pod.name);
        let is_covered = load.updated.is_some_and(|at| pod.since + load.interval <= at);
        match measured {
            Some(_) if is_covered => [0, 0],
            Some(used) => [0, 1].map(|i| (pod.expected[i] - used.get(RESOURCES[i])).max(0)),
            None => pod.expected,
        }
    }

    fn recount(&mut self) {
        let each = self.pods.values().map(|p| self.ahead_of(p));
        self.ahead = each.fold([0, 0], |sum, p| [sum[0] + p[0], sum[1] + p[1]]);
    }

    fn put(&mut self, uid: Arc<str>, pod: Assigned) {
        self.take(&uid);
        let ahead = self.ahead_of(&pod);
        self.ahead = [self.ahead[0] + ahead[0], self.ahead[1] + ahead[1]];
        self.pods.insert(uid, pod);
    }

    fn take(&mut self, uid: &str) {
        if let Some(pod) = self.pods.remove(uid) {
            let ahead = self.ahead_of(&pod);
            self.ahead = [self.ahead[0] - ahead[0], self.ahead[1] - ahead[1]];
        }
    }
}

/// What a pod is expected to use: the request of its tier's resources.
fn expected(pod: &PodFact) -> Pair {
    let requests = &pod.demand.requests;
    let of = |native: i64, batch: &str, mid: &str| match (requests.extended(batch), requests.extended(mid)) {
        (0, 0) => native,
        (0, mid) => mid,
        (batch, _) => batch,
    };
    let asked = [
        of(requests.cpu_milli, names::BATCH_CPU, names::MID_CPU),
        of(requests.memory, names::BATCH_MEMORY, names::MID_MEMORY),
    ];
    [0, 1].map(|i| match asked[i] {
        0 => EXPECTED_UNSAID[i],
        some => (i128::from(some) * i128::from(EXPECTED_PERCENT[i]) / 100).try_into().unwrap_or(i64::MAX),
    })
}

impl LoadAware {
    pub(crate) fn new(settings: LoadSettings) -> LoadAware {
        LoadAware { settings, ..LoadAware::default() }
    }

    /// Whether anything was measured.
    pub(crate) fn is_active(&self) -> bool {
        self.metrics > 0
    }

    /// The time by which measurements are judged.
    pub(crate) fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// That time.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// A node was measured; nothing: it is measured no more. With the last measurement everything is forgotten.
    pub(crate) fn measure(&mut self, node: &str, load: Option<Load>) {
        let site = self.nodes.entry(node.into()).or_default();
        let was_there = usize::from(site.load.is_some());
        self.metrics = self.metrics - was_there + usize::from(load.is_some());
        site.load = load;
        site.recount();
        if !self.is_active() {
            self.nodes.clear();
            self.homes.clear();
        }
    }

    /// What a node says about its thresholds.
    pub(crate) fn set_thresholds(&mut self, node: &str, thresholds: Option<UsageThresholds>) {
        match thresholds {
            Some(thresholds) => self.thresholds.insert(node.into(), thresholds),
            None => self.thresholds.remove(node),
        };
    }

    /// What a pod says.
    pub(crate) fn learn(&mut self, uid: &Arc<str>, words: Option<&PodWords>) {
        let sets = [
            (&mut self.daemons, words.is_some_and(|w| w.is_daemon)),
            (&mut self.free, words.is_some_and(|w| w.is_free)),
        ];
        for (set, is_one) in sets {
            if is_one {
                set.insert(uid.clone());
            } else if !set.is_empty() {
                set.remove(uid);
            }
        }
    }

    /// A pod is on a node since then.
    pub(crate) fn put(&mut self, pod: &PodFact, node: &str, since: Time) {
        if !self.is_active() {
            return;
        }
        let node: Arc<str> = node.into();
        let name = format!("{}/{}", pod.kin.namespace, pod.name);
        let before = self.homes.insert(pod.uid.clone(), node.clone());
        let since = match before.filter(|old| *old == node) {
            // It is known to have been there before.
            Some(_) => self.nodes.get(&node).and_then(|s| s.pods.get(&pod.uid)).map_or(since, |p| p.since),
            None => since,
        };
        let assigned = Assigned { name, expected: expected(pod), since };
        self.nodes.entry(node).or_default().put(pod.uid.clone(), assigned);
    }

    /// A pod is on no node any more.
    pub(crate) fn take(&mut self, uid: &str) {
        let Some(node) = self.homes.remove(uid) else { return };
        if let Some(site) = self.nodes.get_mut(&node) {
            site.take(uid);
        }
    }

    /// A pod is gone.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.take(uid);
        self.daemons.remove(uid);
        self.free.remove(uid);
    }

    /// What a node would use with the pod, as far as its measurement can be trusted. `Err`: it has expired.
    fn foreseen(&self, pod: &PodFact, node: &NodeInfo) -> Result<Option<Pair>, ()> {
        let Some(site) = self.nodes.get(&*node.fact.name) else { return Ok(None) };
        let Some(load) = &site.load else { return Ok(None) };
        if load.updated.is_none_or(|at| self.now.since(at) >= self.settings.expiry) {
            return Err(());
        }
        let Some(usage) = &load.usage else { return Ok(None) };
        let more = expected(pod);
        Ok(Some([0, 1].map(|i| usage.get(RESOURCES[i]) + site.ahead[i] + more[i])))
    }

    fn limit(&self, node: &NodeInfo, at: usize) -> i64 {
        let own = self.thresholds.get(&*node.fact.name).and_then(|t| t.usage_thresholds.get(RESOURCES[at]));
        own.copied().unwrap_or([self.settings.cpu_percent_max, self.settings.memory_percent_max][at])
    }
}

fn allocatable(node: &NodeInfo) -> Pair {
    [node.fact.allocatable.cpu_milli, node.fact.allocatable.memory]
}

/// Percent, rounded to the nearest.
fn percent(part: i64, whole: i64) -> i64 {
    let (part, whole) = (i128::from(part), i128::from(whole.max(1)));
    i64::try_from((part * 200 + whole) / (whole * 2)).unwrap_or(i64::MAX)
}

fn refused(text: String) -> Option<Rejection> {
    Some(Rejection { reasons: vec![Reason::Made(text.into())], resolvable: Resolvable::ByRemovingPods })
}

impl Extra for LoadAware {
    fn name(&self) -> &'static str {
        "LoadAwareScheduling"
    }

    fn concerns(&self, _: &PodFact) -> bool {
        self.is_active()
    }

    fn check(&self, pod: &PodFact, _: Slot, node: &NodeInfo) -> Option<Rejection> {
        if self.daemons.contains(&pod.uid) {
            return None;
        }
        let is_free = self.free.contains(&pod.uid);
        let foreseen = match self.foreseen(pod, node) {
            Err(()) if is_free || self.settings.refuses_expired => {
                return Some(Rejection::resolvable("node(s) nodeMetric expired"));
            }
            Ok(None) if is_free => {
                return Some(Rejection::resolvable("node(s) were not known to be below the waterline"));
            }
            Err(()) | Ok(None) => return None,
            Ok(Some(foreseen)) => foreseen,
        };
        let whole = allocatable(node);
        let over =
            |i: usize, limit: i64| limit != 0 && whole[i] != 0 && percent(foreseen[i], whole[i]) > limit;
        if is_free && over(0, self.settings.waterline_percent) {
            return Some(Rejection::resolvable("node(s) cpu usage exceed waterline"));
        }
        let short = (0..RESOURCES.len()).find(|i| over(*i, self.limit(node, *i)))?;
        refused(format!("node(s) {} usage exceed threshold", RESOURCES[short]))
    }

    /// The mean over CPU and memory of what stays unused, 0 to 100; nothing for a node of which nothing is known.
    fn rate(&self, pod: &PodFact, _: Slot, node: &NodeInfo) -> i64 {
        let Ok(Some(foreseen)) = self.foreseen(pod, node) else { return 0 };
        let whole = allocatable(node);
        let each = |i: usize| match whole[i] {
            0 => 0,
            all if foreseen[i] > all => 0,
            all => i64::try_from(i128::from(all - foreseen[i]) * 100 / i128::from(all)).unwrap_or(0),
        };
        (each(0) + each(1)) / 2
    }
}
