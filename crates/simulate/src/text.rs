//! Texts from files, and mistakes in them.

use std::fmt;

/// A text with the name under which people know it: a file's.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Name, for messages.
    pub name: &'a str,
    /// The whole text.
    pub text: &'a str,
}

/// Something in a text that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Misread {
    /// Name of the text.
    pub file: String,
    /// Line, from 1; 0 for the text as a whole.
    pub line: usize,
    /// Field; empty for the line as a whole.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.why)
    }
}

impl Source<'_> {
    /// A mistake at a line (from 1; 0 for all) and field (empty for all).
    pub fn misread(&self, line: usize, field: &str, why: impl Into<String>) -> Misread {
        Misread { file: self.name.to_owned(), line, field: field.to_owned(), why: why.into() }
    }
}

/// A CSV text: a head that names the columns, then one row per line. Fields are not quoted.
pub(crate) struct Csv<'a> {
    source: Source<'a>,
    head: Vec<&'a str>,
}

/// One row of a [`Csv`].
pub(crate) struct Row<'a> {
    source: Source<'a>,
    /// Line in the text, from 1.
    pub(crate) line: usize,
    head: &'a [&'a str],
    cells: Vec<&'a str>,
}

impl<'a> Csv<'a> {
    /// Reads the head; every column in `wanted` must be there.
    pub(crate) fn new(source: Source<'a>, wanted: &[&str]) -> Result<Csv<'a>, Misread> {
        let Some(first) = source.text.lines().next() else {
            return Err(source.misread(
                1,
                "",
                format!("is empty: expected a head with {}", wanted.join(",")),
            ));
        };
        let head: Vec<&str> = first.split(',').map(str::trim).collect();
        match wanted.iter().find(|w| !head.contains(w)) {
            Some(missing) => Err(source.misread(1, missing, "no column of this name in the head")),
            None => Ok(Csv { source, head }),
        }
    }

    /// The rows; empty lines are left out.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Result<Row<'_>, Misread>> {
        let lines = self.source.text.lines().enumerate().skip(1).filter(|(_, l)| !l.trim().is_empty());
        lines.map(|(at, text)| {
            let cells: Vec<&str> = text.split(',').map(str::trim).collect();
            if cells.len() != self.head.len() {
                let why = format!("{} fields, but the head has {}", cells.len(), self.head.len());
                return Err(self.source.misread(at + 1, "", why));
            }
            Ok(Row { source: self.source, line: at + 1, head: &self.head, cells })
        })
    }
}

impl Row<'_> {
    /// The text of a column; empty when there is no such column.
    pub(crate) fn text(&self, column: &str) -> &str {
        self.head.iter().position(|h| *h == column).map_or("", |at| self.cells[at])
    }

    /// The whole number of a column, within `min..=max`.
    pub(crate) fn number(&self, column: &str, min: i64, max: i64) -> Result<i64, Misread> {
        let text = self.text(column);
        let number: i64 =
            text.parse().map_err(|_| self.wrong(column, format!("not a whole number: {text:?}")))?;
        if !(min..=max).contains(&number) {
            return Err(self.wrong(column, format!("{number} is not within {min}..={max}")));
        }
        Ok(number)
    }

    /// A mistake in a column of this row.
    pub(crate) fn wrong(&self, column: &str, why: impl Into<String>) -> Misread {
        self.source.misread(self.line, column, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source<'_> {
        Source { name: "pods.csv", text }
    }

    #[test]
    fn mistakes_name_file_line_and_field() {
        let told = |text: &str| -> String {
            let read = |text| -> Result<i64, Misread> {
                let csv = Csv::new(source(text), &["name", "cpu"])?;
                let mut sum = 0;
                for row in csv.rows() {
                    sum += row?.number("cpu", 0, 9)?;
                }
                Ok(sum)
            };
            read(text).err().map_or_else(String::new, |e| e.to_string())
        };
        assert_eq!(told("name,mem\n"), "pods.csv:1: cpu: no column of this name in the head");
        assert_eq!(told("name,cpu\na,1\n\nb\n"), "pods.csv:4: 1 fields, but the head has 2");
        assert_eq!(told("name,cpu\na,x\n"), "pods.csv:2: cpu: not a whole number: \"x\"");
        assert_eq!(told("name,cpu\na,10\n"), "pods.csv:2: cpu: 10 is not within 0..=9");
        assert_eq!(told(""), "pods.csv:1: is empty: expected a head with name,cpu");
        assert_eq!(told("name,cpu,more\na, 3 ,x\n"), "");
    }
}
