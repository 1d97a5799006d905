//! Plots as SVG: lines over a course, bars over groups. Colours are classes of the page.

use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 42.0;
/// Lines of the grid aimed at.
const TICKS: f64 = 5.0;

/// Named values in one colour.
pub(super) struct Strand {
    /// Name in the legend.
    pub(super) name: String,
    /// Number of the colour.
    pub(super) colour: usize,
    /// The points of a line, or the heights of bars by group.
    pub(super) points: Vec<(f64, f64)>,
}

/// What stands along the axes.
pub(super) struct Axes<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
}

/// Lines; ranges are those of the values, widened to whole ticks.
pub(super) fn lines(axes: &Axes<'_>, strands: &[Strand]) -> String {
    let all = || strands.iter().flat_map(|s| &s.points);
    let (Some(x), Some(y)) = (Range::of(all().map(|p| p.0)), Range::of(all().map(|p| p.1))) else {
        return String::new();
    };
    let frame = Frame { x: Range { min: x.low, max: x.high, ..x }, y };
    let mut out = frame.open(axes, &frame.x.ticks().map(|t| (t, plain(t))).collect::<Vec<_>>());
    for strand in strands {
        let points: Vec<String> =
            strand.points.iter().map(|(x, y)| format!("{:.1},{:.1}", frame.px(*x), frame.py(*y))).collect();
        let _ = write!(
            out,
            "<polyline class=\"s{}\" fill=\"none\" points=\"{}\"><title>{}</title></polyline>",
            strand.colour,
            points.join(" "),
            escape(&strand.name)
        );
    }
    out.push_str("</svg>");
    out
}

/// Bars side by side in named groups; the x of a point is the number of its group.
pub(super) fn bars(axes: &Axes<'_>, groups: &[String], strands: &[Strand]) -> String {
    let heights = strands.iter().flat_map(|s| s.points.iter().map(|p| p.1));
    let Some(y) = Range::of(heights.chain([0.0])) else { return String::new() };
    if groups.is_empty() || strands.is_empty() {
        return String::new();
    }
    let frame = Frame { x: Range { low: 0.0, high: 1.0, min: 0.0, max: groups.len() as f64, step: 1.0 }, y };
    let middles: Vec<(f64, String)> =
        groups.iter().enumerate().map(|(i, g)| (i as f64 + 0.5, g.clone())).collect();
    let mut out = frame.open(axes, &middles);
    let width = 0.8 / strands.len() as f64;
    for (at, strand) in strands.iter().enumerate() {
        for (group, height) in &strand.points {
            let left = group + 0.1 + at as f64 * width;
            let (x, right, top) = (frame.px(left), frame.px(left + width), frame.py(*height));
            let _ = write!(
                out,
                "<rect class=\"f{}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}: {}</title></rect>",
                strand.colour,
                right - x,
                frame.py(0.0) - top,
                escape(&strand.name),
                plain(*height)
            );
        }
    }
    out.push_str("</svg>");
    out
}

/// A range of values, from whole tick to whole tick.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
    min: f64,
    max: f64,
    step: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Option<Range> {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            return None;
        }
        let step = step((high - low).max(high.abs() * 1e-3).max(1e-3) / TICKS);
        let (min, max) = ((low / step).floor() * step, (high / step).ceil() * step);
        Some(Range { low, high, min, max: if max > min { max } else { min + step }, step })
    }

    fn ticks(self) -> impl Iterator<Item = f64> {
        let first = (self.min / self.step).ceil() as i64;
        let last = (self.max / self.step + 1e-9).floor() as i64;
        (first..=last).map(move |i| i as f64 * self.step)
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is at least this.
fn step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.log10().floor());
    let fit = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= wanted * 0.999);
    fit.unwrap_or(10.0) * power
}

struct Frame {
    x: Range,
    y: Range,
}

impl Frame {
    fn px(&self, x: f64) -> f64 {
        LEFT + (x - self.x.min) / (self.x.max - self.x.min).max(1e-9) * (WIDTH - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (y - self.y.min) / (self.y.max - self.y.min) * (HEIGHT - TOP - BOTTOM)
    }

    /// The beginning of the drawing: grid, figures along the axes, their names.
    fn open(&self, axes: &Axes<'_>, below: &[(f64, String)]) -> String {
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} over {}\">",
            escape(axes.y),
            escape(axes.x)
        );
        let right = WIDTH - RIGHT;
        for tick in self.y.ticks() {
            let y = self.py(tick);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            );
            let _ = write!(
                out,
                "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                plain(tick)
            );
        }
        for (x, text) in below {
            let _ = write!(
                out,
                "<text class=\"mid\" x=\"{:.1}\" y=\"{}\">{}</text>",
                self.px(*x),
                HEIGHT - BOTTOM + 16.0,
                escape(text)
            );
        }
        let middle = (LEFT + right) / 2.0;
        let _ = write!(
            out,
            "<text class=\"mid name\" x=\"{middle}\" y=\"{}\">{}</text>",
            HEIGHT - 6.0,
            escape(axes.x)
        );
        let half = (HEIGHT - BOTTOM) / 2.0;
        let _ = write!(
            out,
            "<text class=\"mid name\" transform=\"translate(12 {half}) rotate(-90)\">{}</text>",
            escape(axes.y)
        );
        out
    }
}

/// A figure without needless digits.
fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Text for HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let range = Range::of([88.3, 95.6].into_iter()).unwrap();
        assert_eq!(range.ticks().collect::<Vec<_>>(), [88.0, 90.0, 92.0, 94.0, 96.0]);
        let flat = Range::of([5.0, 5.0].into_iter()).unwrap();
        assert!(flat.max > flat.min && flat.min <= 5.0);
        assert!(Range::of(std::iter::empty()).is_none());
    }

    #[test]
    fn names_cannot_break_out_of_the_drawing() {
        let strand = Strand { name: "<b>&\"'".to_owned(), colour: 0, points: vec![(0.0, 1.0), (1.0, 2.0)] };
        let svg = lines(&Axes { x: "<x>", y: "y" }, &[strand]);
        assert!(svg.contains("&lt;b&gt;&amp;&quot;&#39;") && !svg.contains("<b>") && !svg.contains("<x>"));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(lines(&Axes { x: "x", y: "y" }, &[]), "");
        assert_eq!(bars(&Axes { x: "x", y: "y" }, &[], &[]), "");
    }
}
