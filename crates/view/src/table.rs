//! Aligned columns.

/// Rows under a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns; no head is printed when there are none.
    pub head: Vec<String>,
    /// Cells, one list per row; missing cells are empty.
    pub rows: Vec<Vec<String>>,
}

/// Spaces between columns, as kubectl.
const GAP: usize = 3;

impl Table {
    /// A table with these columns.
    pub fn new(head: &[&str]) -> Table {
        Table { head: head.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Width of each column.
    pub fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).chain([self.head.len()]).max().unwrap_or(0);
        let wide = |i: usize| {
            let cells = self.rows.iter().chain([&self.head]).filter_map(|r| r.get(i));
            cells.map(|c| c.chars().count()).max().unwrap_or(0)
        };
        (0..columns).map(wide).collect()
    }

    /// The text, one line per row, each ended by a newline.
    pub fn text(&self) -> String {
        self.text_with(&self.widths())
    }

    /// The same with given widths, so that rows that come later stand under the head.
    pub fn text_with(&self, widths: &[usize]) -> String {
        let mut out = String::new();
        for row in [&self.head].into_iter().filter(|h| !h.is_empty()).chain(&self.rows) {
            let mut line = String::new();
            for (i, cell) in row.iter().enumerate() {
                // The last cell needs no room behind it.
                let room = if i + 1 == row.len() { 0 } else { widths.get(i).copied().unwrap_or(0) + GAP };
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', room.saturating_sub(cell.chars().count())));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "READY", "AGE"]);
        table.row(["web-7d9f", "1/1", "3m20s"]);
        table.row(["größer-als-alle", "0/1", "2d"]);
        expect![[r#"
            NAME              READY   AGE
            web-7d9f          1/1     3m20s
            größer-als-alle   0/1     2d
        "#]]
        .assert_eq(&table.text());
    }
}
