//! A drawing as text.

use std::fmt::Write;

/// An SVG drawing; colours are classes of the page's style, so that light and dark need no second drawing.
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Svg {
        Svg { width, height, body: String::new() }
    }

    /// A rectangle, with words that show when pointed at.
    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str, title: &str) {
        let (width, height) = (width.max(0.5), height.max(0.5));
        let shape =
            format!(r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="{class}""#);
        self.body += &match title {
            "" => format!("{shape}/>"),
            title => format!("{shape}><title>{}</title></rect>", escape(title)),
        };
    }

    /// A straight line.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = write!(
            self.body,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" class="{class}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    /// A line through points.
    pub(super) fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let _ = write!(self.body, r#"<polyline points="{}" class="{class}"/>"#, join(points));
    }

    /// The area that points enclose.
    pub(super) fn area(&mut self, points: &[(f64, f64)], class: &str, title: &str) {
        let title = escape(title);
        let _ = write!(
            self.body,
            r#"<polygon points="{}" class="{class}"><title>{title}</title></polygon>"#,
            join(points)
        );
    }

    /// Words; the class says where they are anchored.
    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let text = escape(text);
        let _ = write!(self.body, r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{text}</text>"#);
    }

    /// The drawing, with words for those who cannot see it.
    pub(super) fn finish(self, label: &str) -> String {
        format!(
            r#"<div class="chart"><svg viewBox="0 0 {:.0} {:.0}" role="img" aria-label="{}">{}</svg></div>"#,
            self.width,
            self.height,
            escape(label),
            self.body
        )
    }
}

fn join(points: &[(f64, f64)]) -> String {
    let all: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    all.join(" ")
}

/// Text that cannot become markup.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_never_becomes_markup() {
        assert_eq!(escape(r#"<script a="&">"#), "&lt;script a=&quot;&amp;&quot;&gt;");
        let mut svg = Svg::new(10.0, 10.0);
        svg.text(1.0, 1.0, "t", "<b>");
        svg.rect(0.0, 0.0, 1.0, 1.0, "r", "a<b");
        assert!(!svg.finish("x\"y").contains("<b>"));
    }
}
