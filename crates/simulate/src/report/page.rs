//! One HTML file with everything inside: the table and the plots. No script, nothing fetched.

use std::fmt::Write;

use super::plot::{Axes, Strand, bars, escape, lines};
use super::{Axis, Report, Run, Series, mean, table};

/// Arrived load from which the last stretch is drawn larger, in percent.
const STRETCH_FROM: f64 = 80.0;
/// Colours; policies beyond them begin again.
const COLOURS: usize = 7;

/// The page of a report. The same report gives the same bytes.
pub fn page(report: &Report) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    let _ = write!(
        out,
        "<title>Simulation: {}</title><style>{STYLE}</style></head><body>",
        escape(&report.source)
    );
    let _ = write!(out, "<h1>Simulation</h1><p>{}</p>{}", escape(&report.source), legend(report));
    out.push_str(&figures(report));
    for trace in report.traces() {
        let _ = write!(out, "<h2>{}</h2><div class=\"plots\">", escape(trace));
        out.push_str(&plots(report, trace));
        out.push_str("</div>");
    }
    out.push_str("</body></html>\n");
    out
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#222;--soft:#777;--grid:#ddd;--c0:#7f7f7f;--c1:#8c564b;--c2:#e377c2;--c3:#ff7f0e;--c4:#2ca02c;--c5:#1f77b4;--c6:#d62728}\
@media(prefers-color-scheme:dark){:root{--ink:#ddd;--soft:#999;--grid:#444}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);max-width:1180px;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.15rem .7rem;text-align:right;border-bottom:1px solid var(--grid)}\
th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}.plots{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;flex:1 1 480px;max-width:580px}\
figcaption{font-weight:600}svg text{fill:var(--soft);font-size:11px}.end{text-anchor:end}.mid{text-anchor:middle}.grid{stroke:var(--grid)}\
polyline{stroke-width:1.8}.legend span{margin-right:1.2rem}.legend i{display:inline-block;width:.9rem;height:.9rem;margin-right:.35rem;vertical-align:-.1rem}\
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}.s6{stroke:var(--c6)}\
.f0{fill:var(--c0);background:var(--c0)}.f1{fill:var(--c1);background:var(--c1)}.f2{fill:var(--c2);background:var(--c2)}.f3{fill:var(--c3);background:var(--c3)}\
.f4{fill:var(--c4);background:var(--c4)}.f5{fill:var(--c5);background:var(--c5)}.f6{fill:var(--c6);background:var(--c6)}";

fn legend(report: &Report) -> String {
    let mut out = String::from("<p class=\"legend\">");
    for (at, policy) in report.policies().iter().enumerate() {
        let _ = write!(out, "<span><i class=\"f{}\"></i>{}</span>", colour(report, at), escape(policy));
    }
    out.push_str("</p>");
    out
}

/// The last policy is the one under study: it has the last colour.
fn colour(report: &Report, at: usize) -> usize {
    let from_end = report.policies().len() - 1 - at;
    COLOURS - 1 - from_end % COLOURS
}

fn figures(report: &Report) -> String {
    let table = table(report, true);
    let row = |cells: &[String], tag: &str| -> String {
        cells.iter().map(|c| format!("<{tag}>{}</{tag}>", escape(c))).collect()
    };
    let mut out = format!("<table><tr>{}</tr>", row(&table.head, "th"));
    for cells in &table.rows {
        let _ = write!(out, "<tr>{}</tr>", row(cells, "td"));
    }
    out.push_str("</table>");
    out
}

fn plots(report: &Report, trace: &str) -> String {
    let x = match report.runs.iter().find(|r| r.trace == trace).map(|r| r.series.axis) {
        Some(Axis::Seconds) => "seconds since the start",
        _ => "devices asked for by arrived pods, % of all",
    };
    let course = |value: fn(&Series) -> &Vec<f64>, from: f64| course(report, trace, value, from);
    let over = |y: &'static str, strands: &[Strand]| lines(&Axes { x, y }, strands);
    let stretch = if x.starts_with("devices") { course(|s| &s.gpu, STRETCH_FROM) } else { Vec::new() };
    let all = [
        ("Devices allocated", over("allocated, %", &course(|s| &s.gpu, f64::MIN))),
        ("Devices allocated, the last stretch", over("allocated, %", &stretch)),
        ("Devices fragmented", over("fragmented, %", &course(|s| &s.fragmented, f64::MIN))),
        ("CPU allocated", over("allocated, %", &course(|s| &s.cpu, f64::MIN))),
        ("Pods waiting", over("pods", &course(|s| &s.waiting, f64::MIN))),
        ("Skew: nodes by use at the end", skew(report, trace)),
        ("CPU stacking: physical cores by who shares them at the end", stacking(report, trace)),
        ("Waiting of placed pods", spread(report, trace, "seconds", |r| r.waiting_seconds)),
        ("Latency of decisions", spread(report, trace, "microseconds", |r| r.latency_micros)),
    ];
    let drawn = all.iter().filter(|(_, svg)| !svg.is_empty());
    drawn.map(|(title, svg)| format!("<figure><figcaption>{title}</figcaption>{svg}</figure>")).collect()
}

/// One line for each policy: the mean over the seeds where all of them have a value.
fn course(report: &Report, trace: &str, value: fn(&Series) -> &Vec<f64>, from: f64) -> Vec<Strand> {
    let mut out = Vec::new();
    for (at, policy) in report.policies().into_iter().enumerate() {
        let mut runs = report.of(trace, policy).map(|r| &r.series).filter(|s| value(s).len() == s.x.len());
        let Some(first) = runs.clone().next().filter(|s| !s.x.is_empty()) else { continue };
        let there = |x: f64| {
            let at = |s: &Series| s.x.iter().position(|v| *v == x).map(|i| value(s)[i]);
            let all: Option<Vec<f64>> = runs.clone().map(at).collect();
            mean(all?.into_iter())
        };
        let points: Vec<(f64, f64)> =
            first.x.iter().filter(|x| **x >= from).filter_map(|x| Some((*x, there(*x)?))).collect();
        // A line that never leaves zero says that there is no such thing here.
        if points.iter().any(|p| p.1 != 0.0) || runs.any(|s| s.axis == Axis::Arrived && !points.is_empty()) {
            out.push(Strand { name: policy.to_owned(), colour: colour(report, at), points });
        }
    }
    out
}

fn skew(report: &Report, trace: &str) -> String {
    let groups: Vec<String> =
        (0..11).map(|i| if i == 10 { "full".to_owned() } else { format!("{}-", i * 10) }).collect();
    let heights = |runs: Vec<&Run>| {
        let of =
            |bin: usize| mean(runs.iter().map(|r| r.skew.histogram.get(bin).copied().unwrap_or(0) as f64));
        (0..11).filter_map(|bin| Some((bin as f64, of(bin)?))).collect()
    };
    bars(&Axes { x: "use of a node, %", y: "nodes" }, &groups, &strands(report, trace, heights))
}

/// Cores in use by who shares them; idle ones would dwarf the others.
fn stacking(report: &Report, trace: &str) -> String {
    let groups = ["one thread", "several applications", "one application twice"].map(str::to_owned);
    let heights = |runs: Vec<&Run>| {
        let over = |of: fn(&super::Cores) -> usize| {
            mean(runs.iter().filter_map(|r| r.cores.as_ref()).map(|c| of(c) as f64))
        };
        let all = [over(|c| c.one_thread), over(|c| c.several_applications), over(|c| c.one_application)];
        all.into_iter().enumerate().filter_map(|(i, v)| Some((i as f64, v?))).collect()
    };
    let mut strands = strands(report, trace, heights);
    strands.retain(|s| !s.points.is_empty());
    bars(&Axes { x: "", y: "physical cores" }, &groups, &strands)
}

fn spread(report: &Report, trace: &str, y: &str, of: fn(&Run) -> Option<super::Spread>) -> String {
    let groups = ["half at most", "99 % at most", "longest"].map(str::to_owned);
    let heights = |runs: Vec<&Run>| {
        let over =
            |value: fn(&super::Spread) -> f64| mean(runs.iter().filter_map(|r| of(r)).map(|s| value(&s)));
        let all = [over(|s| s.p50), over(|s| s.p99), over(|s| s.max)];
        all.into_iter().enumerate().filter_map(|(i, v)| Some((i as f64, v?))).collect()
    };
    let mut strands = strands(report, trace, heights);
    strands.retain(|s| !s.points.is_empty());
    bars(&Axes { x: "", y }, &groups, &strands)
}

fn strands<'a>(
    report: &'a Report,
    trace: &'a str,
    heights: impl Fn(Vec<&'a Run>) -> Vec<(f64, f64)>,
) -> Vec<Strand> {
    let policies = report.policies().into_iter().enumerate();
    let with = |(at, policy): (usize, &'a str)| Strand {
        name: policy.to_owned(),
        colour: colour(report, at),
        points: heights(report.of(trace, policy).collect()),
    };
    policies.map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Spread;
    use crate::report::tests::sample;

    #[test]
    fn the_page_is_one_file_with_table_legend_and_plots() {
        let mut report = sample();
        report.runs.iter_mut().for_each(|r| {
            r.waiting_seconds = Spread::of(vec![1.0, 2.0]);
            r.latency_micros = Spread::of(vec![3.0]);
        });
        let html = page(&report);
        for title in
            ["Devices allocated", "last stretch", "fragmented", "CPU allocated", "Skew", "Waiting", "Latency"]
        {
            assert!(html.contains(title), "{title}");
        }
        assert!(html.contains("openb &lt;default&gt;") && !html.contains("<default>"));
        assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("src="));
        assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
        assert_eq!(html, page(&report));
    }

    #[test]
    fn what_no_run_has_is_not_drawn() {
        let html = page(&sample());
        assert!(!html.contains("Waiting of placed pods") && !html.contains("Latency of decisions"));
    }
}
