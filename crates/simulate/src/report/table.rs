//! The comparison as a table: one line for each input and policy, means over the seeds.

use view::Table;

use super::{Report, Run, mean};

/// Digits-and-dash rendering of a mean.
fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
}

/// The table of a report; `wide` adds columns.
pub fn table(report: &Report, wide: bool) -> Table {
    let mut head = vec![
        "TRACE",
        "POLICY",
        "RUNS",
        "PODS",
        "UNPLACED",
        "VICTIMS",
        "GPU%",
        "GPU%@130",
        "FRAG%",
        "CPU%",
        "SKEW",
        "VIOLATIONS",
    ];
    if wide {
        head.extend(["WAIT-P50-S", "WAIT-P99-S", "LATENCY-P50-US", "LATENCY-P99-US", "NODES", "TYPICAL"]);
    }
    let mut table = Table::new(&head);
    for trace in report.traces() {
        for policy in report.policies() {
            let runs: Vec<&Run> = report.of(trace, policy).collect();
            if !runs.is_empty() {
                table.row(row(trace, policy, &runs, wide));
            }
        }
    }
    if report.traces().len() > 1 {
        for policy in report.policies() {
            table.row(mean_row(report, policy));
        }
    }
    table
}

fn row(trace: &str, policy: &str, runs: &[&Run], wide: bool) -> Vec<String> {
    let of =
        |value: fn(&Run) -> Option<f64>, digits| number(mean(runs.iter().filter_map(|r| value(r))), digits);
    let has_gpu = |r: &Run, value: f64| (r.gpu_milli_total > 0).then_some(value);
    let gpu = number(mean(runs.iter().filter_map(|r| has_gpu(r, r.gpu_percent()))), 2);
    let fragmented = number(mean(runs.iter().filter_map(|r| has_gpu(r, r.fragmented_percent()))), 2);
    let violations: usize = runs.iter().map(|r| r.violations).sum();
    let mut cells = vec![
        trace.to_owned(),
        policy.to_owned(),
        runs.len().to_string(),
        of(|r| Some(r.pods as f64), 0),
        of(|r| Some(r.unplaced as f64), 0),
        of(|r| Some(r.victims as f64), 0),
        gpu,
        of(|r| r.gpu_percent_at_130, 2),
        fragmented,
        of(|r| Some(r.cpu_percent()), 2),
        of(|r| Some(r.skew.deviation), 2),
        violations.to_string(),
    ];
    if wide {
        cells.extend([
            of(|r| r.waiting_seconds.map(|w| w.p50), 1),
            of(|r| r.waiting_seconds.map(|w| w.p99), 1),
            of(|r| r.latency_micros.map(|l| l.p50), 0),
            of(|r| r.latency_micros.map(|l| l.p99), 0),
            of(|r| Some(r.nodes as f64), 0),
            of(|r| Some(r.typical_pods as f64), 0),
        ]);
    }
    cells
}

/// The mean over inputs of the means over seeds, as the published table has it.
fn mean_row(report: &Report, policy: &str) -> Vec<String> {
    let over = |value: fn(&Run) -> Option<f64>| {
        let traces = report.traces().into_iter();
        number(mean(traces.filter_map(|t| mean(report.of(t, policy).filter_map(value)))), 2)
    };
    let runs = report.runs.iter().filter(|r| r.policy == policy);
    let violations: usize = runs.clone().map(|r| r.violations).sum();
    vec![
        "(mean)".to_owned(),
        policy.to_owned(),
        runs.count().to_string(),
        "-".to_owned(),
        "-".to_owned(),
        "-".to_owned(),
        over(|r| (r.gpu_milli_total > 0).then(|| r.gpu_percent())),
        over(|r| r.gpu_percent_at_130),
        over(|r| (r.gpu_milli_total > 0).then(|| r.fragmented_percent())),
        over(|r| Some(r.cpu_percent())),
        over(|r| Some(r.skew.deviation)),
        violations.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use expect_test::expect;

    #[test]
    fn seeds_are_averaged_and_inputs_compared_by_policy() {
        let mut report = sample();
        let more: Vec<Run> =
            report.runs.iter().map(|r| Run { trace: "other".to_owned(), ..r.clone() }).collect();
        report.runs.extend(more);
        expect![[r#"
            TRACE     POLICY   RUNS   PODS   UNPLACED   VICTIMS   GPU%    GPU%@130   FRAG%   CPU%    SKEW    VIOLATIONS
            default   FGD      2      10     3          0         94.38   94.38      1.54    25.00   25.00   0
            default   knarr    2      10     3          0         96.12   96.12      1.54    25.00   25.00   0
            other     FGD      2      10     3          0         94.38   94.38      1.54    25.00   25.00   0
            other     knarr    2      10     3          0         96.12   96.12      1.54    25.00   25.00   0
            (mean)    FGD      4      -      -          -         94.38   94.38      1.54    25.00   25.00   0
            (mean)    knarr    4      -      -          -         96.12   96.12      1.54    25.00   25.00   0
        "#]]
        .assert_eq(&table(&report, false).text());
    }

    #[test]
    fn what_a_run_does_not_have_is_a_dash() {
        let report = Report::new("x", vec![Run { trace: "t".into(), policy: "p".into(), ..Run::default() }]);
        expect![[r#"
            TRACE   POLICY   RUNS   PODS   UNPLACED   VICTIMS   GPU%   GPU%@130   FRAG%   CPU%   SKEW   VIOLATIONS   WAIT-P50-S   WAIT-P99-S   LATENCY-P50-US   LATENCY-P99-US   NODES   TYPICAL
            t       p        1      0      0          0         -      -          -       0.00   0.00   0            -            -            -                -                0       0
        "#]]
        .assert_eq(&table(&report, true).text());
    }
}
