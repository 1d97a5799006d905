//! Lines of a page: `Key:   value`, aligned within a run of lines of one indent.

/// A page under construction.
#[derive(Default)]
pub(super) struct Page {
    lines: Vec<Line>,
    indent: usize,
}

struct Line {
    indent: usize,
    key: String,
    value: Option<String>,
}

impl Page {
    /// A key with its value.
    pub(super) fn field(&mut self, key: &str, value: impl Into<String>) {
        self.lines.push(Line { indent: self.indent, key: format!("{key}:"), value: Some(value.into()) });
    }

    /// The same, left out when the value is empty.
    pub(super) fn some(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            self.field(key, value);
        }
    }

    /// A key with several values, one per line; `<none>` when there are none.
    pub(super) fn list(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        let mut values = values.into_iter();
        self.field(key, values.next().unwrap_or_else(|| "<none>".to_owned()));
        for value in values {
            self.lines.push(Line { indent: self.indent, key: String::new(), value: Some(value) });
        }
    }

    /// A line of its own.
    pub(super) fn line(&mut self, text: impl Into<String>) {
        self.lines.push(Line { indent: self.indent, key: text.into(), value: None });
    }

    /// A head with more under it.
    pub(super) fn section(&mut self, head: &str, below: impl FnOnce(&mut Page)) {
        self.line(format!("{head}:"));
        self.indent += 2;
        below(self);
        self.indent -= 2;
    }

    /// Lines that are laid out already.
    pub(super) fn block(&mut self, text: &str) {
        for line in text.lines() {
            self.line(line);
        }
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let mut at = 0;
        while at < self.lines.len() {
            let end = self.run(at);
            let width = self.lines[at..end].iter().map(|l| l.key.chars().count()).max().unwrap_or(0);
            for line in &self.lines[at..end] {
                let mut text = " ".repeat(line.indent) + &line.key;
                if let Some(value) = &line.value {
                    text.extend(std::iter::repeat_n(' ', width + 2 - line.key.chars().count()));
                    text.push_str(value);
                }
                out.push_str(text.trim_end());
                out.push('\n');
            }
            at = end;
        }
        out
    }

    /// Where the lines that are aligned together end.
    fn run(&self, at: usize) -> usize {
        let first = &self.lines[at];
        if first.value.is_none() {
            return at + 1;
        }
        let same = |l: &&Line| l.indent == first.indent && l.value.is_some();
        at + self.lines[at..].iter().take_while(same).count()
    }
}
