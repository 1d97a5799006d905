//! `-o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image`.

use anyhow::{Context, bail};
use serde_json::Value;
use view::Table;

use super::jsonpath::{Template, plain};

/// Heads with the paths of their cells.
#[derive(Debug)]
pub(crate) struct Columns(Vec<(String, Template)>);

impl Columns {
    pub(crate) fn parse(spec: &str) -> anyhow::Result<Columns> {
        let mut columns = Vec::new();
        for part in split(spec) {
            let (head, path) =
                part.split_once(':').with_context(|| format!("{part:?}: expected HEAD:PATH"))?;
            columns.push((head.to_owned(), Template::parse(path)?));
        }
        if columns.is_empty() {
            bail!("name at least one column: HEAD:PATH");
        }
        Ok(Columns(columns))
    }

    pub(crate) fn print(&self, objects: &[Value], header: bool) -> String {
        let mut table = Table::default();
        if header {
            table.head = self.0.iter().map(|(head, _)| head.clone()).collect();
        }
        for object in objects {
            table.row(self.0.iter().map(|(_, path)| match path.values(object) {
                values if values.is_empty() => "<none>".to_owned(),
                values => values.into_iter().map(plain).collect::<Vec<_>>().join(","),
            }));
        }
        table.text()
    }
}

/// Parts between commas that stand outside of brackets.
fn split(spec: &str) -> Vec<&str> {
    let (mut out, mut start, mut depth) = (Vec::new(), 0, 0);
    for (i, c) in spec.char_indices() {
        match c {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&spec[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&spec[start..]);
    out.retain(|p| !p.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_come_from_paths_and_absent_ones_are_said_to_be() {
        let columns =
            Columns::parse("NAME:.metadata.name,IMAGES:.spec.containers[*].image,NODE:.spec.nodeName")
                .unwrap();
        let pod =
            json!({"metadata": {"name": "a"}, "spec": {"containers": [{"image": "x"}, {"image": "y"}]}});
        assert_eq!(columns.print(&[pod], true), "NAME   IMAGES   NODE\na      x,y      <none>\n");
        assert!(Columns::parse("NAME").is_err());
    }
}
