//! The event loop of the experiment: one pod at a time, placed or dropped.

use std::collections::BTreeMap;

use sched_device::{Mix, Node, Place, Pool, Shape};

use super::{Order, Trace};
use crate::observer::Observer;
use crate::policy::{AnyPolicy, PolicyName};
use crate::report::{Axis, Run, Series, Skew, Spread, percent, round};

/// The load at which the published table compares policies, in percent of all devices.
const PUBLISHED_PERCENT: i64 = 130;
/// After so many pods the observer is told.
const STEP: usize = 512;

/// A policy that has no opinion about devices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy {0} is for manifests and recordings: a trace needs one that chooses devices")]
pub struct NoOpinion(&'static str);

/// Replays one order under one policy. `name` is what the trace is called in the report; `keep` keeps every placement.
///
/// # Errors
/// When the policy does not choose devices.
pub fn run(
    trace: &Trace,
    name: &str,
    order: &Order,
    policy: PolicyName,
    keep: bool,
    observer: &mut dyn Observer,
) -> Result<Run, NoOpinion> {
    let mix = trace.mix();
    let chooser = policy.over_devices(mix.clone()).ok_or(NoOpinion(policy.text()))?;
    let mut stage = Stage::new(trace, order, chooser, mix, keep);
    for (at, pod) in order.pods.iter().enumerate() {
        let before = observer.micros();
        let place = stage.pool.choose(&trace.pods[*pod].1);
        if let (Some(before), Some(after)) = (before, observer.micros()) {
            stage.latencies.push((after - before) as f64);
        }
        stage.settle(*pod, place);
        if at % STEP == 0 {
            observer.step(at, order.pods.len());
        }
    }
    observer.step(order.pods.len(), order.pods.len());
    let mut run = stage.finish();
    (run.trace, run.policy, run.seed) = (name.to_owned(), policy.text().to_owned(), order.seed);
    Ok(run)
}

/// The cluster in the middle of a run.
struct Stage<'a> {
    trace: &'a Trace,
    order: &'a Order,
    pool: Pool<AnyPolicy>,
    mix: Mix,
    total: i64,
    cpu_total: i64,
    asked: i64,
    used: i64,
    cpu_used: i64,
    fragmented: f64,
    unplaced: usize,
    violations: usize,
    bins: BTreeMap<i64, Bin>,
    refused: BTreeMap<String, usize>,
    latencies: Vec<f64>,
    placements: Option<BTreeMap<String, String>>,
}

/// Sums over the pods that arrived at one percent of load.
#[derive(Default)]
struct Bin {
    count: f64,
    gpu: f64,
    cpu: f64,
    fragmented: f64,
}

impl<'a> Stage<'a> {
    fn new(trace: &'a Trace, order: &'a Order, policy: AnyPolicy, mix: Mix, keep: bool) -> Stage<'a> {
        let nodes: Vec<Node> = order.nodes.iter().map(|at| trace.nodes[*at].1.clone()).collect();
        Stage {
            trace,
            order,
            total: nodes.iter().map(|n| n.whole.left_total()).sum(),
            cpu_total: nodes.iter().map(|n| n.whole.cpu_milli).sum(),
            fragmented: fragments(&mix, &nodes),
            pool: Pool::new(nodes, policy),
            mix,
            asked: 0,
            used: 0,
            cpu_used: 0,
            unplaced: 0,
            violations: 0,
            bins: BTreeMap::new(),
            refused: BTreeMap::new(),
            latencies: Vec::new(),
            placements: keep.then(BTreeMap::new),
        }
    }

    fn settle(&mut self, pod: usize, place: Option<Place>) {
        let shape = &self.trace.pods[pod].1;
        self.asked += shape.milli_total();
        match place {
            Some(place) => self.put(shape, place),
            None => self.drop_pod(shape),
        }
        if let Some(placements) = &mut self.placements {
            let node = place.map_or("", |p| self.trace.nodes[self.order.nodes[p.node]].0.as_str());
            // A clone has no name of its own: it is told apart by how many arrived before it.
            let name = format!("{}#{}", self.trace.pods[pod].0, placements.len());
            placements.insert(name, node.to_owned());
        }
        self.count();
    }

    fn put(&mut self, shape: &Shape, place: Place) {
        let node = &self.pool.nodes()[place.node];
        let wrong = !node.fits(shape) || place.devices.len() != usize::from(shape.devices);
        self.violations += usize::from(wrong);
        self.fragmented -= self.mix.fragments(&node.room, node.model);
        self.pool.put(shape, place.node, place.devices);
        let node = &self.pool.nodes()[place.node];
        self.fragmented += self.mix.fragments(&node.room, node.model);
        self.used += shape.milli_total();
        self.cpu_used += shape.cpu_milli;
    }

    /// A pod that is dropped must fit nowhere: looked up without the pool's memory.
    fn drop_pod(&mut self, shape: &Shape) {
        self.unplaced += 1;
        self.violations += usize::from(self.pool.nodes().iter().any(|n| n.fits(shape)));
        *self.refused.entry(self.describe(shape)).or_default() += 1;
    }

    fn describe(&self, shape: &Shape) -> String {
        let cores = shape.cpu_milli as f64 / 1000.0;
        let models = self.trace.models.spelled(shape.models);
        let of = if models.is_empty() { String::new() } else { format!(" of {models}") };
        match (shape.devices, shape.milli) {
            (0, _) => format!("{cores} cores"),
            (1, milli) if milli < 1000 => format!("{milli}/1000 device{of}, {cores} cores"),
            (n, _) => format!("{n} devices{of}, {cores} cores"),
        }
    }

    fn count(&mut self) {
        let share = |part: f64| percent(part, self.total as f64);
        let bin = self.bins.entry(share(self.asked as f64).round_ties_even() as i64).or_default();
        bin.count += 1.0;
        bin.gpu += round(share(self.used as f64), 2);
        bin.cpu += percent(self.cpu_used as f64, self.cpu_total as f64);
        bin.fragmented += share(self.fragmented);
    }

    fn finish(self) -> Run {
        let nodes = self.pool.nodes();
        let uses: Vec<f64> = nodes.iter().map(used).collect();
        let unsound = nodes.iter().filter(|n| !n.is_sound()).count();
        let published = self.bins.get(&PUBLISHED_PERCENT).map(|b| b.gpu / b.count);
        Run {
            nodes: nodes.len(),
            pods: self.order.pods.len(),
            unplaced: self.unplaced,
            violations: self.violations + unsound,
            gpu_milli_allocated: self.used,
            gpu_milli_total: self.total,
            cpu_milli_allocated: self.cpu_used,
            cpu_milli_total: self.cpu_total,
            fragmented_milli: round(fragments(&self.mix, nodes), 2),
            idle_milli: nodes.iter().map(|n| n.room.left_total()).sum(),
            typical_pods: self.mix.len(),
            gpu_percent_at_130: published.map(|p| round(p, 4)),
            series: series(&self.bins),
            skew: Skew::of(&uses),
            latency_micros: Spread::of(self.latencies),
            refused: most(self.refused),
            placements: self.placements.unwrap_or_default(),
            ..Run::default()
        }
    }
}

fn fragments(mix: &Mix, nodes: &[Node]) -> f64 {
    nodes.iter().map(|n| mix.fragments(&n.room, n.model)).sum()
}

/// The greater of the used shares of CPU and devices.
fn used(node: &Node) -> f64 {
    let share = |left: i64, whole: i64| if whole == 0 { 0.0 } else { 1.0 - left as f64 / whole as f64 };
    let devices = share(node.room.left_total(), node.whole.left_total());
    devices.max(share(node.room.cpu_milli, node.whole.cpu_milli))
}

fn series(bins: &BTreeMap<i64, Bin>) -> Series {
    let of = |value: fn(&Bin) -> f64| bins.values().map(|b| round(value(b) / b.count, 4)).collect();
    Series {
        axis: Axis::Arrived,
        x: bins.keys().map(|k| *k as f64).collect(),
        gpu: of(|b| b.gpu),
        cpu: of(|b| b.cpu),
        fragmented: of(|b| b.fragmented),
        waiting: Vec::new(),
    }
}

/// Greatest number of different reasons kept.
pub(crate) const REASONS_MAX: usize = 12;

/// The most frequent reasons; the others together.
pub(crate) fn most(counts: BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let mut sorted: Vec<(String, usize)> = counts.into_iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let others: usize = sorted.iter().skip(REASONS_MAX).map(|(_, c)| c).sum();
    sorted.truncate(REASONS_MAX);
    sorted.extend((others > 0).then(|| ("others".to_owned(), others)));
    sorted.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::trace::tests::{NODES, PODS, read};
    use super::*;
    use crate::observer::Nobody;

    #[test]
    fn every_policy_keeps_every_promise_and_gives_the_same_bytes_twice() {
        let trace = read(NODES, PODS).unwrap();
        let order = Order::drawn(&trace, 5, 140);
        for policy in PolicyName::ALL.into_iter().filter(|p| *p != PolicyName::DefaultScheduler) {
            let go = || run(&trace, "t", &order, policy, true, &mut Nobody).unwrap();
            let (one, two) = (go(), go());
            assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&two).unwrap());
            assert_eq!(one.violations, 0, "{policy:?}");
            assert_eq!(one.gpu_milli_total - one.gpu_milli_allocated, one.idle_milli);
            assert_eq!(one.placements.values().filter(|n| n.is_empty()).count(), one.unplaced);
            assert!(one.latency_micros.is_none() && !one.series.x.is_empty());
        }
    }

    #[test]
    fn a_policy_without_an_opinion_about_devices_is_refused() {
        let trace = read(NODES, PODS).unwrap();
        let order = Order::drawn(&trace, 5, 100);
        let told = run(&trace, "t", &order, PolicyName::DefaultScheduler, false, &mut Nobody).unwrap_err();
        assert!(told.to_string().contains("default-scheduler is for manifests and recordings"));
    }

    #[test]
    fn rare_reasons_are_counted_together() {
        let counts = (0..20).map(|i| (format!("r{i:02}"), 20 - i)).collect();
        let kept = most(counts);
        assert_eq!((kept.len(), kept["others"]), (REASONS_MAX + 1, (1..=8).sum()));
    }
}
