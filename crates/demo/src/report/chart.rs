//! The drawings.

use super::series::{Bar, Lane, Second, State};
use super::svg::Svg;
use crate::facts::{Micros, SECOND};
use crate::steps::StepId;

/// Width of all drawings, in their own units.
const WIDTH: f64 = 960.0;
/// Room for words at the left, and at the right.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 10.0;
/// Colours there are for versions.
const SHADES: usize = 5;

/// The time axis that the drawings share.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) begin: Micros,
    pub(super) end: Micros,
    pub(super) steps: Vec<(StepId, Micros, Micros)>,
}

impl Axis {
    fn x(&self, at: Micros) -> f64 {
        let span = (self.end - self.begin).max(SECOND) as f64;
        LEFT + (at - self.begin) as f64 / span * (WIDTH - LEFT - RIGHT)
    }

    /// Steps as bands with their numbers, seconds as ticks.
    fn draw(&self, svg: &mut Svg, top: f64, bottom: f64) {
        for (i, (id, from, to)) in self.steps.iter().enumerate() {
            let (x, width) = (self.x(*from), self.x(*to) - self.x(*from));
            let class = if i % 2 == 0 { "band" } else { "band odd" };
            svg.rect(x, top, width, bottom - top, class, id.step().name);
            svg.text(x + width / 2.0, top + 13.0, "step mid", &(i + 1).to_string());
        }
        let length = (self.end - self.begin) / SECOND;
        let every = [5, 10, 20, 30, 60, 120].into_iter().find(|e| length / e <= 14).unwrap_or(300);
        for second in (0..=length).step_by(usize::try_from(every).unwrap_or(60)) {
            let x = self.x(self.begin + second * SECOND);
            svg.line((x, bottom), (x, bottom + 4.0), "axis");
            svg.text(x, bottom + 17.0, "tick mid", &format!("{second} s"));
        }
        svg.line((LEFT, bottom), (WIDTH - RIGHT, bottom), "axis");
    }
}

/// Requests and failures in each second, and the slowest of a hundred.
pub(super) fn traffic(axis: &Axis, seconds: &[Second], rate: f64) -> String {
    let (top, middle, bottom) = (8.0, 190.0, 260.0);
    let mut svg = Svg::new(WIDTH, bottom + 24.0);
    axis.draw(&mut svg, top, bottom);
    let most = rate.max(seconds.iter().map(|s| s.ok).max().unwrap_or(0) as f64) * 1.1;
    let y = |n: f64| middle - n / most.max(1.0) * (middle - top - 20.0);
    grid(&mut svg, y(rate), &format!("{rate:.0}/s"));
    grid(&mut svg, y(0.0), "0");
    let at = |i: usize| axis.x(axis.begin + i as Micros * SECOND + SECOND / 2);
    let whole = seconds.len().saturating_sub(1);
    let points: Vec<(f64, f64)> =
        seconds.iter().take(whole).enumerate().map(|(i, s)| (at(i), y(s.ok as f64))).collect();
    svg.path(&points, "ok");
    let slowest = seconds.iter().map(|s| s.p99_us).max().unwrap_or(0).max(50_000);
    let below = |us: u32| bottom - f64::from(us) / f64::from(slowest) * (bottom - middle - 14.0);
    let points: Vec<(f64, f64)> =
        seconds.iter().take(whole).enumerate().map(|(i, s)| (at(i), below(s.p99_us))).collect();
    svg.path(&points, "p99");
    svg.text(LEFT - 6.0, middle + 20.0, "tick end", &format!("{} ms", slowest / 1000));
    for (i, second) in seconds.iter().enumerate().filter(|(_, s)| s.failed > 0) {
        failure(&mut svg, at(i), second.failed, y(0.0), middle - top - 20.0, most);
    }
    svg.finish(
        "Requests answered in each second, failures, and the time within which 99 of 100 were answered",
    )
}

fn failure(svg: &mut Svg, x: f64, failed: u64, zero: f64, height: f64, most: f64) {
    // At least as high as can be seen: one failure must not hide.
    let high = (failed as f64 / most.max(1.0) * height).max(10.0);
    svg.rect(x - 2.5, zero - high, 5.0, high, "failed", &format!("{failed} failed"));
    svg.text(x, zero - high - 4.0, "fail mid", &failed.to_string());
}

fn grid(svg: &mut Svg, y: f64, label: &str) {
    svg.line((LEFT, y), (WIDTH - RIGHT, y), "grid");
    svg.text(LEFT - 6.0, y + 4.0, "tick end", label);
}

/// The share of each version in the answers of each second.
pub(super) fn shares(axis: &Axis, seconds: &[Second], versions: &[String]) -> String {
    let (top, bottom) = (8.0, 150.0);
    let mut svg = Svg::new(WIDTH, bottom + 24.0);
    axis.draw(&mut svg, top, bottom);
    let (floor, ceiling) = (bottom, top + 20.0);
    let at = |i: usize| axis.x(axis.begin + i as Micros * SECOND + SECOND / 2);
    let filled: Vec<usize> = (0..seconds.len()).filter(|i| seconds[*i].ok > 0).collect();
    for (nth, version) in versions.iter().enumerate() {
        let edge = |i: usize, upto: &[String]| {
            let part: u64 = upto.iter().filter_map(|v| seconds[i].versions.get(v)).sum();
            floor - part as f64 / seconds[i].ok.max(1) as f64 * (floor - ceiling)
        };
        let lower = filled.iter().map(|i| (at(*i), edge(*i, &versions[..nth])));
        let upper = filled.iter().rev().map(|i| (at(*i), edge(*i, &versions[..=nth])));
        let points: Vec<(f64, f64)> = lower.chain(upper).collect();
        svg.area(&points, &format!("v{}", nth % SHADES), version);
    }
    svg.text(LEFT - 6.0, ceiling + 4.0, "tick end", "100 %");
    svg.text(LEFT - 6.0, floor + 4.0, "tick end", "0");
    svg.finish("Share of each version in the answers of each second")
}

/// Pods by cell: what each did when; above them the groups.
pub(super) fn pods(axis: &Axis, lanes: &[Lane], bars: &[Bar], versions: &[String]) -> String {
    const ROW: f64 = 13.0;
    let cells: std::collections::BTreeSet<&str> = lanes.iter().map(|l| l.cell.as_str()).collect();
    let (top, first) = (8.0, 50.0);
    let bottom = first + lanes.len() as f64 * ROW + cells.len() as f64 * 18.0 + 4.0;
    let mut svg = Svg::new(WIDTH, bottom + 24.0);
    axis.draw(&mut svg, top, bottom);
    svg.text(LEFT - 6.0, 38.0, "tick end", "groups");
    for bar in bars {
        let (x, width) = (axis.x(bar.from), axis.x(bar.to) - axis.x(bar.from));
        svg.rect(
            x,
            28.0,
            (width - 1.0).max(2.0),
            14.0,
            "group",
            &format!("{} of {}", bar.label, bar.version),
        );
        if width > 9.0 {
            svg.text(x + width / 2.0, 39.0, "inside mid", &bar.label);
        }
    }
    let mut y = first;
    let mut cell = "";
    for lane in lanes {
        if lane.cell != cell {
            cell = &lane.cell;
            svg.text(LEFT - 6.0, y + 12.0, "cell end", cell);
            y += 18.0;
        }
        for stretch in &lane.stretches {
            let shade = versions.iter().position(|v| *v == stretch.version).unwrap_or(0) % SHADES;
            let (class, word) = match stretch.state {
                State::Serving => (format!("v{shade}"), "in service"),
                State::Draining => ("draining".to_owned(), "gate closed, draining"),
                State::Out => ("out".to_owned(), "out of service"),
                State::Broken => ("failed".to_owned(), "its process fails"),
            };
            let (x, width) = (axis.x(stretch.from), axis.x(stretch.to) - axis.x(stretch.from));
            let length = (stretch.to - stretch.from) as f64 / SECOND as f64;
            let title = format!("{}: {word}, {}, {length:.1} s", lane.name, stretch.version);
            svg.rect(x, y + 1.5, width, ROW - 3.0, &class, &title);
        }
        let short = lane.name.rsplit('-').next().unwrap_or(&lane.name);
        svg.text(LEFT - 6.0, y + 10.0, "tick end", short);
        y += ROW;
    }
    svg.finish("Each pod by cell: in service, draining, out of service")
}

/// A release and what it cost, drawn to the same scales as the others.
pub(super) struct Cost<'a> {
    pub(super) name: &'a str,
    pub(super) note: &'a str,
    pub(super) seconds: Vec<Second>,
}

/// Failures in each second of several releases, one above the other.
pub(super) fn costs(costs: &[Cost<'_>]) -> String {
    const ROW: f64 = 92.0;
    let mut svg = Svg::new(WIDTH, costs.len() as f64 * ROW + 24.0);
    let longest = costs.iter().map(|c| c.seconds.len()).max().unwrap_or(1).max(1);
    let most = costs.iter().flat_map(|c| c.seconds.iter().map(|s| s.failed)).max().unwrap_or(0).max(10);
    let x = |i: f64| LEFT + i / longest as f64 * (WIDTH - LEFT - RIGHT);
    for (nth, cost) in costs.iter().enumerate() {
        let (head, floor) = (nth as f64 * ROW + 16.0, (nth + 1) as f64 * ROW - 4.0);
        let sum: u64 = cost.seconds.iter().map(|s| s.failed).sum();
        svg.text(LEFT, head, "cell", &format!("{}: {sum} failed", cost.name));
        svg.text(WIDTH - RIGHT, head, "tick end", cost.note);
        svg.line((LEFT, floor), (x(cost.seconds.len() as f64), floor), "axis");
        for (i, second) in cost.seconds.iter().enumerate() {
            let from = x(i as f64 + 0.15);
            let width = x(i as f64 + 0.85) - from;
            if second.failed == 0 {
                // A second without a failure is a fact as well.
                svg.rect(from, floor - 3.0, width, 3.0, "ok-fill", "0 failed");
                continue;
            }
            let high = (second.failed as f64 / most as f64 * (ROW - 42.0)).max(4.0);
            svg.rect(from, floor - high, width, high, "failed", &format!("{} failed", second.failed));
            svg.text(from + width / 2.0, floor - high - 3.0, "fail mid", &second.failed.to_string());
        }
    }
    let base = costs.len() as f64 * ROW;
    for second in (0..=longest).step_by(5) {
        svg.text(x(second as f64), base + 14.0, "tick mid", &format!("{second} s"));
    }
    svg.finish("Failures in each second: the release with draining, without, and a stock Deployment")
}
