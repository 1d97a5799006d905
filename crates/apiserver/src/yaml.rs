//! YAML as Kubernetes writes it: lists not indented below their key, strings quoted where a YAML 1.1 reader would take them
//! for something else, long lines folded.
//!
//! What is absent: anchors, tags, flow style (but for what is empty), comments.

use serde_json::{Map, Value};

/// A line that is longer than this is folded at its next space.
const WIDTH: usize = 80;

/// A tree as a document.
pub(crate) fn document(tree: &Value) -> String {
    let mut out = Writer { text: String::new(), column: 0 };
    match tree {
        Value::Object(map) if !map.is_empty() => out.map(map, 0, true),
        Value::Array(items) if !items.is_empty() => out.list(items, 0, true),
        scalar => {
            out.scalar(scalar, 0);
            out.newline();
        }
    }
    out.text
}

struct Writer {
    text: String,
    column: usize,
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.chars().count();
    }

    fn newline(&mut self) {
        self.text.push('\n');
        self.column = 0;
    }

    fn indent(&mut self, depth: usize) {
        self.put(&" ".repeat(depth));
    }

    /// `is_line_start` is false for the first entry behind a dash.
    fn map(&mut self, map: &Map<String, Value>, depth: usize, mut is_line_start: bool) {
        for (key, value) in map {
            if is_line_start {
                self.indent(depth);
            }
            is_line_start = true;
            self.text(key, depth, Fold::Never);
            self.put(":");
            match value {
                Value::Object(inner) if !inner.is_empty() => {
                    self.newline();
                    self.map(inner, depth + 2, true);
                }
                Value::Array(items) if !items.is_empty() => {
                    self.newline();
                    self.list(items, depth, true);
                }
                scalar => {
                    self.put(" ");
                    self.scalar(scalar, depth);
                    self.newline();
                }
            }
        }
    }

    fn list(&mut self, items: &[Value], depth: usize, mut is_line_start: bool) {
        for item in items {
            if is_line_start {
                self.indent(depth);
            }
            is_line_start = true;
            self.put("- ");
            match item {
                Value::Object(inner) if !inner.is_empty() => self.map(inner, depth + 2, false),
                Value::Array(inner) if !inner.is_empty() => self.list(inner, depth + 2, false),
                scalar => {
                    self.scalar(scalar, depth);
                    self.newline();
                }
            }
        }
    }

    fn scalar(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(b) => self.put(if *b { "true" } else { "false" }),
            Value::Number(n) => self.put(&n.to_string()),
            Value::String(s) => self.text(s, depth, Fold::Long),
            Value::Array(_) => self.put("[]"),
            Value::Object(_) => self.put("{}"),
        }
    }

    fn text(&mut self, text: &str, depth: usize, fold: Fold) {
        match style(text) {
            Style::Literal if fold == Fold::Long => self.literal(text, depth),
            Style::Plain => self.folded(text, depth, fold),
            Style::Single => {
                self.put("'");
                self.folded(&text.replace('\'', "''"), depth, fold);
                self.put("'");
            }
            Style::Double | Style::Literal => {
                let quoted = Value::String(text.to_owned()).to_string();
                self.put("\"");
                self.folded(&quoted[1..quoted.len() - 1], depth, Fold::Never);
                self.put("\"");
            }
        }
    }

    /// Text in one line, or in several where it is long: single spaces may become line breaks.
    fn folded(&mut self, text: &str, depth: usize, fold: Fold) {
        let chars: Vec<char> = text.chars().collect();
        for (i, c) in chars.iter().enumerate() {
            let is_lone = *c == ' '
                && i > 0
                && chars[i - 1] != ' '
                && chars.get(i + 1).is_some_and(|next| *next != ' ');
            if fold == Fold::Long && is_lone && self.column > WIDTH {
                self.newline();
                self.indent(depth + 2);
            } else {
                self.put(c.encode_utf8(&mut [0; 4]));
            }
        }
    }

    fn literal(&mut self, text: &str, depth: usize) {
        let body = text.strip_suffix('\n');
        let keep = body.is_some_and(|b| b.ends_with('\n') || b.is_empty());
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        self.put(match (body, keep) {
            (None, _) => "-",
            (_, true) => "+",
            _ => "",
        });
        for line in body.unwrap_or(text).split('\n') {
            self.newline();
            if !line.is_empty() {
                self.indent(depth + 2);
                self.put(line);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fold {
    Never,
    Long,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

fn style(text: &str) -> Style {
    let is_printable = |c: char| !c.is_control() && c != '\u{feff}' && c != '\u{2028}' && c != '\u{2029}';
    if text.chars().any(|c| c != '\n' && !is_printable(c)) {
        return Style::Double;
    }
    if text.contains('\n') {
        let has_space_before_break = text.contains(" \n");
        return if has_space_before_break { Style::Double } else { Style::Literal };
    }
    if is_something_else(text) {
        return Style::Double;
    }
    if is_plain(text) { Style::Plain } else { Style::Single }
}

/// Whether the characters of a text have no meaning of their own where a block style value stands.
fn is_plain(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let (Some(first), Some(last)) = (chars.first(), chars.last()) else { return false };
    if *first == ' ' || *last == ' ' || text.starts_with("---") || text.starts_with("...") {
        return false;
    }
    if "#,[]{}&*!|>'\"%@`".contains(*first) {
        return false;
    }
    let is_space_or_end = |c: Option<&char>| c.is_none_or(|c| *c == ' ');
    if "?:-".contains(*first) && is_space_or_end(chars.get(1)) {
        return false;
    }
    chars.iter().enumerate().skip(1).all(|(i, c)| match c {
        ':' => !is_space_or_end(chars.get(i + 1)),
        '#' => chars[i - 1] != ' ',
        _ => true,
    })
}

/// Words that YAML 1.1 takes for a truth value, nothing, or a number.
const WORDS: [&str; 11] = ["y", "yes", "on", "n", "no", "off", "true", "false", "null", "~", "<<"];

/// Whether a plain text would be read as something that is no text.
fn is_something_else(text: &str) -> bool {
    if text.is_empty() || WORDS.iter().any(|w| w.eq_ignore_ascii_case(text)) {
        return true;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if [".inf", ".nan"].iter().any(|w| w.eq_ignore_ascii_case(unsigned)) {
        return true;
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    is_number(unsigned) || is_base_60(unsigned) || is_moment(text)
}

fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    let digits = |t: &str, radix: u32| !t.is_empty() && t.chars().all(|c| c.is_digit(radix));
    for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        if let Some(rest) = plain.strip_prefix(prefix) {
            return digits(rest, radix);
        }
    }
    let is_float = plain.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && plain.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    is_float && plain.parse::<f64>().is_ok()
}

/// `12:30:45` is a number to YAML 1.1.
fn is_base_60(text: &str) -> bool {
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    !first.is_empty()
        && first.chars().all(|c| c.is_ascii_digit() || c == '_')
        && !rest.is_empty()
        && rest.iter().all(|p| matches!(p.len(), 1 | 2) && p.parse::<u8>().is_ok_and(|n| n < 60))
}

/// A date, alone or with a time of day.
fn is_moment(text: &str) -> bool {
    let b = text.as_bytes();
    if b.len() < 8 || !b[..4].iter().all(u8::is_ascii_digit) || b[4] != b'-' {
        return false;
    }
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut parts = date.split('-').map(|p| p.parse::<u16>().ok());
    let is_date = parts.by_ref().take(3).filter(Option::is_some).count() == 3 && parts.next().is_none();
    let is_time = |t: &str| t.split(':').count() >= 3 && t.starts_with(|c: char| c.is_ascii_digit());
    is_date && time.is_none_or(is_time)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(tree: &Value, expected: Expect) {
        let text = document(tree);
        expected.assert_eq(&text);
        let back: Value = serde_yaml_ng::from_str(&text).unwrap();
        assert_eq!(back, *tree, "what is read is what was written");
    }

    #[test]
    fn lists_stand_below_their_key_and_maps_behind_their_dash() {
        let tree = json!({
            "a": [{"b": 1, "c": ["x", "y"]}, "z", [1, [2]], [], {}], "d": {"e": {}}, "n": null, "t": true
        });
        check(
            &tree,
            expect![[r#"
                a:
                - b: 1
                  c:
                  - x
                  - "y"
                - z
                - - 1
                  - - 2
                - []
                - {}
                d:
                  e: {}
                "n": null
                t: true
            "#]],
        );
    }

    #[test]
    fn strings_are_quoted_only_where_they_must_be() {
        let tree = json!({
            "l": ["5", "v1", "1.2.3", "0x1f", "1e3", "yes", "", "a: b", "a:b", "# no", "a #b", "it's", "- x", "-x", "12:30:45",
                  "2026-11-20T12:00:00Z", "2026-11-20", " lead", "{x}", "*", "f:spec", ".", "nul\u{0}", "ä", "app=a,b"],
            "k:{\"name\":\"c\"}": {}
        });
        check(
            &tree,
            expect![[r##"
                k:{"name":"c"}: {}
                l:
                - "5"
                - v1
                - 1.2.3
                - "0x1f"
                - "1e3"
                - "yes"
                - ""
                - 'a: b'
                - a:b
                - '# no'
                - 'a #b'
                - it's
                - '- x'
                - -x
                - "12:30:45"
                - "2026-11-20T12:00:00Z"
                - "2026-11-20"
                - ' lead'
                - '{x}'
                - '*'
                - f:spec
                - .
                - "nul\u0000"
                - ä
                - app=a,b
            "##]],
        );
    }

    #[test]
    fn several_lines_stand_as_they_are_and_long_ones_are_folded() {
        let long = "only the following media types are accepted: application/json;stream=watch, application/yaml and no more";
        let tree = json!({"a": "two\nlines\n", "b": "two\nlines", "c": {"d": long, "e": "x\n\n"}});
        check(
            &tree,
            expect![[r#"
                a: |
                  two
                  lines
                b: |-
                  two
                  lines
                c:
                  d: 'only the following media types are accepted: application/json;stream=watch,
                    application/yaml and no more'
                  e: |+
                    x

            "#]],
        );
    }
}
