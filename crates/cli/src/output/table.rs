//! The server's tables.

use api_client::ListMeta;
use serde::Deserialize;
use serde_json::{Value, json};
use stdx::Time;
use view::Table;

/// What to ask the server for.
pub(crate) const ACCEPT: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// A Table of meta/v1.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServerTable {
    pub(crate) metadata: ListMeta,
    /// Null in all events of a watch but the first.
    #[serde(deserialize_with = "null_is_none")]
    pub(crate) column_definitions: Vec<Column>,
    #[serde(deserialize_with = "null_is_none")]
    pub(crate) rows: Vec<Row>,
}

fn null_is_none<'de, D, T>(d: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// A column.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) priority: i32,
}

/// A row.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Value>,
    pub(crate) object: Value,
}

/// What to show of a table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look<'a> {
    pub(crate) wide: bool,
    pub(crate) namespaces: bool,
    pub(crate) labels: bool,
    pub(crate) header: bool,
    /// `deployment.apps/` before each name; empty for none.
    pub(crate) prefix: &'a str,
}

impl ServerTable {
    /// Reads an answer. A server that does not lay out tables sends objects: they get a name and an age.
    pub(crate) fn read(answer: Value, now: Time) -> Result<ServerTable, serde_json::Error> {
        if answer["kind"] == "Table" {
            return serde_json::from_value(answer);
        }
        let metadata = serde_json::from_value(answer["metadata"].clone()).unwrap_or_default();
        let objects = match answer.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![answer],
        };
        let row = |object: Value| {
            let meta = &object["metadata"];
            let age = view::age(meta["creationTimestamp"].as_str(), now);
            Row { cells: vec![meta["name"].clone(), json!(age)], object }
        };
        let column = |name: &str| Column { name: name.to_owned(), priority: 0 };
        Ok(ServerTable {
            metadata,
            column_definitions: vec![column("Name"), column("Age")],
            rows: objects.into_iter().map(row).collect(),
        })
    }

    /// Adds the rows of another page.
    pub(crate) fn append(&mut self, page: ServerTable) {
        self.rows.extend(page.rows);
        self.metadata = page.metadata;
    }

    /// The columns and cells that are printed.
    pub(crate) fn lay_out(&self, look: Look<'_>) -> Table {
        let shown: Vec<usize> = (0..self.column_definitions.len())
            .filter(|i| look.wide || self.column_definitions[*i].priority == 0)
            .collect();
        let mut table = Table::default();
        if look.header {
            table.head.extend(look.namespaces.then(|| "NAMESPACE".to_owned()));
            table.head.extend(shown.iter().map(|i| self.column_definitions[*i].name.to_uppercase()));
            table.head.extend(look.labels.then(|| "LABELS".to_owned()));
        }
        for row in &self.rows {
            let meta = &row.object["metadata"];
            let mut cells = Vec::with_capacity(shown.len() + 2);
            cells.extend(look.namespaces.then(|| meta["namespace"].as_str().unwrap_or_default().to_owned()));
            for i in &shown {
                let text = row.cells.get(*i).map_or_else(String::new, cell);
                let is_name = self.column_definitions[*i].name.eq_ignore_ascii_case("name");
                cells.push(if is_name { format!("{}{text}", look.prefix) } else { text });
            }
            cells.extend(look.labels.then(|| labels(&meta["labels"])));
            table.row(cells);
        }
        table
    }
}

/// A cell on one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.lines().next().unwrap_or_default().to_owned(),
        other => other.to_string(),
    }
}

fn labels(map: &Value) -> String {
    let all: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn table() -> ServerTable {
        let answer = json!({"kind": "Table", "columnDefinitions": [
                {"name": "Name", "priority": 0}, {"name": "Ready", "priority": 0}, {"name": "IP", "priority": 1}],
            "rows": [{"cells": ["a", "1/1", "10.0.0.1"], "object": {"metadata": {"namespace": "shop", "labels": {"x": "y"}}}},
                {"cells": ["b", 0, null], "object": {"metadata": {"namespace": "shop"}}}]});
        ServerTable::read(answer, Time::from_secs(0)).unwrap()
    }

    #[test]
    fn narrow_and_wide_show_different_columns() {
        let narrow = Look { header: true, ..Look::default() };
        expect![[r#"
            NAME   READY
            a      1/1
            b      0
        "#]]
        .assert_eq(&table().lay_out(narrow).text());
        let wide = Look { wide: true, namespaces: true, labels: true, header: true, prefix: "pod/" };
        expect![[r#"
            NAMESPACE   NAME    READY   IP         LABELS
            shop        pod/a   1/1     10.0.0.1   x=y
            shop        pod/b   0                  <none>
        "#]]
        .assert_eq(&table().lay_out(wide).text());
    }

    #[test]
    fn plain_objects_get_name_and_age() {
        let list = json!({"kind": "PodList", "items": [{"metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"}}]});
        let table = ServerTable::read(list, Time::from_secs(200)).unwrap();
        let look = Look { header: true, ..Look::default() };
        assert_eq!(table.lay_out(look).text(), "NAME   AGE\na      3m20s\n");
    }
}
