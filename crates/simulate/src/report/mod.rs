//! What runs gave, in the form in which it is written, drawn and compared.

mod diff;
mod page;
mod plot;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use diff::{Difference, diff};
pub use page::page;
pub use table::table;

/// Group and version of the report's form.
pub const API_VERSION: &str = "simulation.knarr.dev/v1alpha1";
/// Its kind.
pub const KIND: &str = "SimulationReport";

/// Several runs over the same input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// What was replayed, for people.
    pub source: String,
    /// One for each policy, input and seed.
    pub runs: Vec<Run>,
}

/// One input replayed under one policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Run {
    /// Name of the input.
    pub trace: String,
    /// Name of the policy.
    pub policy: String,
    /// Which arrangement of the input.
    pub seed: u64,
    /// Nodes at the end.
    pub nodes: usize,
    /// Pods that asked for a place.
    pub pods: usize,
    /// Those that had none at the end.
    pub unplaced: usize,
    /// Placed pods that lost their place to others of higher priority; each time counts.
    pub victims: usize,
    /// Broken promises: nodes with more than they hold, wrong models, pods turned away although a node had room. Must be 0.
    pub violations: usize,
    /// Thousandths of devices given to pods at the end.
    pub gpu_milli_allocated: i64,
    /// Thousandths of devices there are.
    pub gpu_milli_total: i64,
    /// Thousandths of cores given to pods at the end.
    pub cpu_milli_allocated: i64,
    /// Thousandths of cores there are.
    pub cpu_milli_total: i64,
    /// Free thousandths of devices that the typical pods cannot be expected to use.
    pub fragmented_milli: f64,
    /// Free thousandths of devices.
    pub idle_milli: i64,
    /// Shapes that fragmentation is measured with.
    pub typical_pods: usize,
    /// Allocated share of devices, in percent, over the arrivals that came to 130 % of them; the published figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_percent_at_130: Option<f64>,
    /// The course of the run.
    pub series: Series,
    /// How evenly nodes are used at the end.
    pub skew: Skew,
    /// How physical cores are shared at the end; absent where no node says what CPUs it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<Cores>,
    /// How long placed pods waited for their place, in simulated time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_seconds: Option<Spread>,
    /// How long decisions took on the machine that ran the simulation; only when asked for, for it is never the same twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_micros: Option<Spread>,
    /// Why pods have no place at the end, and how many.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, usize>,
    /// Node of each pod; empty text for none. Only when asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub placements: BTreeMap<String, String>,
}

/// The course of a run; all lists are of one length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Series {
    /// What `x` counts.
    pub axis: Axis,
    /// Where.
    pub x: Vec<f64>,
    /// Allocated share of devices, in percent.
    pub gpu: Vec<f64>,
    /// Allocated share of CPU, in percent.
    pub cpu: Vec<f64>,
    /// Fragmented share of devices, in percent.
    pub fragmented: Vec<f64>,
    /// Pods that wait.
    pub waiting: Vec<f64>,
}

/// What the course of a run is drawn over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Axis {
    /// Percent of all devices that arrived pods have asked for.
    #[default]
    Arrived,
    /// Seconds since the start.
    Seconds,
}

/// How evenly nodes are used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Skew {
    /// Standard deviation of the nodes' use (the greater of CPU's and devices' share), in percent points.
    pub deviation: f64,
    /// Nodes by use: ten steps of ten percent, and the full ones.
    pub histogram: Vec<usize>,
    /// Greatest difference in pods of one owner between two zones; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zones_max: Option<usize>,
}

/// Physical cores by who is on them, and rules that are broken there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cores {
    /// Nobody has CPUs of its own here.
    pub idle: usize,
    /// One thread is somebody's.
    pub one_thread: usize,
    /// Several threads, each another application's.
    pub several_applications: usize,
    /// Several threads of one application: it is stacked on itself.
    pub one_application: usize,
    /// Pods that asked for CPUs of their own and found none on their node.
    pub without: usize,
    /// Broken rules by what they are about.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub findings: BTreeMap<String, usize>,
}

/// A distribution in four figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spread {
    /// Half are at most this.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
    /// Their sum.
    pub total: f64,
}

impl Report {
    /// A report of these runs.
    pub fn new(source: &str, runs: Vec<Run>) -> Report {
        Report { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), source: source.to_owned(), runs }
    }

    /// Reads a report back.
    ///
    /// # Errors
    /// A sentence, when the text is no report of this version.
    pub fn read(text: &str) -> Result<Report, String> {
        let report: Report =
            serde_json::from_str(text).map_err(|e| format!("is no simulation report: {e}"))?;
        if (report.api_version.as_str(), report.kind.as_str()) != (API_VERSION, KIND) {
            let found = format!("{} {}", report.api_version, report.kind);
            return Err(format!(
                "is {found:?}: expected {API_VERSION} {KIND}, as `knarr simulate -o json` writes it"
            ));
        }
        Ok(report)
    }

    /// Names of policies in the order in which they were run, each once.
    pub fn policies(&self) -> Vec<&str> {
        once(self.runs.iter().map(|r| r.policy.as_str()))
    }

    /// Names of inputs in the order in which they were run, each once.
    pub fn traces(&self) -> Vec<&str> {
        once(self.runs.iter().map(|r| r.trace.as_str()))
    }

    /// Runs of one input under one policy.
    pub fn of<'a>(&'a self, trace: &'a str, policy: &'a str) -> impl Iterator<Item = &'a Run> + Clone {
        self.runs.iter().filter(move |r| r.trace == trace && r.policy == policy)
    }
}

fn once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut out = Vec::new();
    for name in names {
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

impl Run {
    /// Allocated share of devices, in percent.
    pub fn gpu_percent(&self) -> f64 {
        percent(self.gpu_milli_allocated as f64, self.gpu_milli_total as f64)
    }

    /// Allocated share of CPU, in percent.
    pub fn cpu_percent(&self) -> f64 {
        percent(self.cpu_milli_allocated as f64, self.cpu_milli_total as f64)
    }

    /// Fragmented share of devices, in percent.
    pub fn fragmented_percent(&self) -> f64 {
        percent(self.fragmented_milli, self.gpu_milli_total as f64)
    }
}

impl Skew {
    /// The skew of nodes used to these shares (0 to 1).
    pub fn of(uses: &[f64]) -> Skew {
        let mut histogram = vec![0; 11];
        for share in uses {
            histogram[(share.clamp(0.0, 1.0) * 10.0) as usize] += 1;
        }
        let count = uses.len().max(1) as f64;
        let mean = uses.iter().sum::<f64>() / count;
        let variance = uses.iter().map(|u| (u - mean) * (u - mean)).sum::<f64>() / count;
        Skew { deviation: round(100.0 * variance.sqrt(), 2), histogram, zones_max: None }
    }
}

impl Spread {
    /// The distribution of these values; nothing when there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values.get(((values.len() as f64 * share).ceil() as usize).max(1) - 1).copied();
        Some(Spread { p50: at(0.5)?, p99: at(0.99)?, max: at(1.0)?, total: values.iter().sum() })
    }
}

/// A share in percent; 0 of nothing.
pub(crate) fn percent(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { 100.0 * part / whole }
}

/// Rounded to so many digits.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// Arithmetic mean; nothing of nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two policies over two seeds, with everything that is shown.
    pub(crate) fn sample() -> Report {
        let run = |policy: &str, seed: u64, gpu: i64| Run {
            trace: "default".to_owned(),
            policy: policy.to_owned(),
            seed,
            nodes: 2,
            pods: 10,
            unplaced: 3,
            gpu_milli_allocated: gpu,
            gpu_milli_total: 8000,
            cpu_milli_allocated: 1000,
            cpu_milli_total: 4000,
            fragmented_milli: 123.456,
            idle_milli: 8000 - gpu,
            typical_pods: 5,
            gpu_percent_at_130: Some(gpu as f64 / 80.0),
            series: Series {
                axis: Axis::Arrived,
                x: vec![0.0, 50.0, 130.0],
                gpu: vec![0.0, 50.0, gpu as f64 / 80.0],
                cpu: vec![0.0, 10.0, 25.0],
                fragmented: vec![0.0, 1.0, 1.5],
                waiting: vec![0.0; 3],
            },
            skew: Skew::of(&[0.5, 1.0]),
            ..Run::default()
        };
        Report::new(
            "openb <default>",
            vec![run("FGD", 42, 7600), run("FGD", 43, 7500), run("knarr", 42, 7700), run("knarr", 43, 7680)],
        )
    }

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let report = sample();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(Report::read(&text), Ok(report));
        assert!(Report::read("{}").unwrap_err().starts_with("is no simulation report"));
        let other = text.replace("v1alpha1", "v9");
        assert!(Report::read(&other).unwrap_err().contains("expected simulation.knarr.dev/v1alpha1"));
    }

    #[test]
    fn spreads_and_skews_are_those_of_their_values() {
        let spread = Spread::of((1..=100).map(f64::from).collect()).unwrap();
        assert_eq!((spread.p50, spread.p99, spread.max, spread.total), (50.0, 99.0, 100.0, 5050.0));
        assert_eq!(Spread::of(Vec::new()), None);
        let skew = Skew::of(&[0.0, 1.0]);
        assert_eq!((skew.deviation, skew.histogram[0], skew.histogram[10]), (50.0, 1, 1));
    }
}
