//! Two reports side by side: what changed from one to the other.

use serde::Serialize;
use view::Table;

use super::{Report, Run, round};

/// One figure in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Which run: input, policy (both, if they differ) and seed.
    pub run: String,
    /// Which figure.
    pub figure: &'static str,
    /// Before; absent when that run does not have it.
    pub a: Option<f64>,
    /// After.
    pub b: Option<f64>,
}

/// The figures of all runs that both reports have, those that are equal left out, and the runs that only one of them has.
///
/// Runs are paired by input, policy and seed; when each report has one policy alone, by input and seed, so that two policies
/// can be compared.
pub fn diff(a: &Report, b: &Report) -> (Vec<Difference>, Vec<String>) {
    let across = a.policies().len() == 1 && b.policies().len() == 1;
    let pairs = |x: &Run, y: &Run| x.trace == y.trace && x.seed == y.seed && (across || x.policy == y.policy);
    let mut differences = Vec::new();
    let mut alone = Vec::new();
    for before in &a.runs {
        match b.runs.iter().find(|after| pairs(before, after)) {
            Some(after) => differences.extend(figures(before, after)),
            None => alone.push(format!("only in A: {}", name(before, before))),
        }
    }
    for after in b.runs.iter().filter(|after| !a.runs.iter().any(|before| pairs(before, after))) {
        alone.push(format!("only in B: {}", name(after, after)));
    }
    (differences, alone)
}

fn name(a: &Run, b: &Run) -> String {
    let policy =
        if a.policy == b.policy { a.policy.clone() } else { format!("{} -> {}", a.policy, b.policy) };
    format!("{} {} seed {}", a.trace, policy, a.seed)
}

type Figure = (&'static str, fn(&Run) -> Option<f64>);

const FIGURES: [Figure; 14] = [
    ("pods", |r| Some(r.pods as f64)),
    ("unplaced", |r| Some(r.unplaced as f64)),
    ("victims", |r| Some(r.victims as f64)),
    ("violations", |r| Some(r.violations as f64)),
    ("gpu %", |r| (r.gpu_milli_total > 0).then(|| r.gpu_percent())),
    ("gpu % at 130", |r| r.gpu_percent_at_130),
    ("fragmented %", |r| (r.gpu_milli_total > 0).then(|| r.fragmented_percent())),
    ("cpu %", |r| Some(r.cpu_percent())),
    ("skew", |r| Some(r.skew.deviation)),
    ("skew over zones", |r| r.skew.zones_max.map(|z| z as f64)),
    ("waiting p50 s", |r| r.waiting_seconds.map(|w| w.p50)),
    ("waiting p99 s", |r| r.waiting_seconds.map(|w| w.p99)),
    ("latency p50 us", |r| r.latency_micros.map(|l| l.p50)),
    ("latency p99 us", |r| r.latency_micros.map(|l| l.p99)),
];

fn figures(before: &Run, after: &Run) -> Vec<Difference> {
    let run = name(before, after);
    let value = |of: fn(&Run) -> Option<f64>, run: &Run| of(run).map(|v| round(v, 4));
    let all = FIGURES.iter().map(|(figure, of)| (*figure, value(*of, before), value(*of, after)));
    let moved = moves(before, after).map(|m| ("pods on another node", Some(0.0), Some(m as f64)));
    all.chain(moved)
        .filter(|(_, a, b)| a != b)
        .map(|(figure, a, b)| Difference { run: run.clone(), figure, a, b })
        .collect()
}

/// Pods whose place differs; nothing when placements were not kept.
fn moves(before: &Run, after: &Run) -> Option<usize> {
    if before.placements.is_empty() || after.placements.is_empty() {
        return None;
    }
    Some(
        before
            .placements
            .iter()
            .filter(|(pod, node)| after.placements.get(*pod).is_some_and(|n| n != *node))
            .count(),
    )
}

impl Difference {
    /// Differences as a table.
    pub fn table(all: &[Difference]) -> Table {
        let mut table = Table::new(&["RUN", "FIGURE", "A", "B", "CHANGE"]);
        for one in all {
            let text = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), plain);
            let change = one.a.zip(one.b).map_or_else(String::new, |(a, b)| signed(b - a));
            table.row([one.run.clone(), one.figure.to_owned(), text(one.a), text(one.b), change]);
        }
        table
    }
}

fn plain(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn signed(value: f64) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", plain(round(value, 4)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use expect_test::expect;

    fn only(policy: &str) -> Report {
        let mut report = sample();
        report.runs.retain(|r| r.policy == policy && r.seed == 42);
        report
    }

    #[test]
    fn two_policies_are_compared_run_by_run() {
        let (a, mut b) = (only("FGD"), only("knarr"));
        b.runs[0].unplaced = 1;
        let (differences, alone) = diff(&a, &b);
        assert_eq!(alone, Vec::<String>::new());
        expect![[r#"
            RUN                            FIGURE         A    B       CHANGE
            default FGD -> knarr seed 42   unplaced       3    1       -2
            default FGD -> knarr seed 42   gpu %          95   96.25   +1.25
            default FGD -> knarr seed 42   gpu % at 130   95   96.25   +1.25
        "#]]
        .assert_eq(&Difference::table(&differences).text());
    }

    #[test]
    fn equal_reports_do_not_differ_and_lonely_runs_are_named() {
        assert_eq!(diff(&sample(), &sample()), (Vec::new(), Vec::new()));
        let (differences, alone) = diff(&sample(), &only("FGD"));
        assert!(differences.is_empty());
        assert_eq!(alone[0], "only in A: default FGD seed 43");
        assert_eq!(alone.len(), 3);
    }

    #[test]
    fn pods_on_other_nodes_are_counted_when_placements_were_kept() {
        let with = |node: &str| {
            let mut report = only("FGD");
            report.runs[0].placements = [("p".to_owned(), node.to_owned())].into();
            report
        };
        let (differences, _) = diff(&with("n1"), &with("n2"));
        assert_eq!(
            (differences.len(), differences[0].figure, differences[0].b),
            (1, "pods on another node", Some(1.0))
        );
    }
}
