//! Rows and columns, as `kubectl get` shows them.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use store::{Revision, Stored};

use super::{Include, Place, View, path};
use crate::pipeline::convert;
use crate::refuse::{Outcome, internal};
use crate::registry::{Column, CustomColumn, Served, Table, age_of, human_duration};
use crate::request::As;
use crate::stored;

/// Description of a name column (text of the field's documentation, as upstream shows it).
const NAME_TEXT: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources \
    may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for \
    creation idempotence and configuration definition. Cannot be updated. More info: \
    https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
/// Description of an age column.
const AGE_TEXT: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not \
    guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is \
    represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// Appends a table of one row; columns only where `headers` asks for them.
pub(super) fn write(
    view: &View,
    out: &mut Vec<u8>,
    plain: &[u8],
    revision: Revision,
    version: &str,
    headers: bool,
) -> Outcome<()> {
    let metadata = json!({"resourceVersion": revision.to_string()});
    let row = row(view, plain, revision)?;
    let table = table(view, metadata, vec![row], version, headers);
    serde_json::to_writer(out, &table).map_err(internal)
}

/// A table of a whole page.
pub(super) async fn list(
    view: &View,
    items: &[Arc<Stored>],
    metadata: Value,
    version: &str,
) -> Outcome<Value> {
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let plain = convert::plain(&view.served, stored::unpack(item)?).await?;
        rows.push(row(view, &plain, item.revision)?);
    }
    Ok(table(view, metadata, rows, version, true))
}

fn table(view: &View, mut metadata: Value, rows: Vec<Value>, version: &str, headers: bool) -> Value {
    if metadata["continue"] == "" {
        metadata.as_object_mut().map(|m| m.remove("continue"));
    }
    let mut table = Map::new();
    table.insert("kind".into(), "Table".into());
    table.insert("apiVersion".into(), format!("meta.k8s.io/{version}").into());
    table.insert("metadata".into(), metadata);
    let columns = if headers { columns(&view.served) } else { Value::Null };
    table.insert("columnDefinitions".into(), columns);
    table.insert("rows".into(), Value::Array(rows));
    Value::Object(table)
}

fn columns(served: &Served) -> Value {
    let show = |c: &Column| {
        let description = match (c.description.as_ref(), c.name.as_ref()) {
            ("", "Name") => NAME_TEXT,
            ("", "Age") => AGE_TEXT,
            (text, _) => text,
        };
        json!({
            "name": c.name, "type": c.kind, "format": c.format, "description": description, "priority": c.priority
        })
    };
    match &served.table {
        Table::Facts => served.facts.columns.iter().map(show).collect(),
        Table::Columns(custom) => {
            let name = Column::new("Name", "string", "name", 0);
            let age = Column::new("Age", "date", "", 0);
            let own = custom.iter().map(|c| show(&c.column));
            let default = custom.is_empty().then(|| show(&age));
            std::iter::once(show(&name)).chain(own).chain(default).collect()
        }
    }
}

fn row(view: &View, plain: &[u8], revision: Revision) -> Outcome<Value> {
    let object: Value = serde_json::from_slice(plain).map_err(internal)?;
    let cells = match &view.served.table {
        Table::Facts => (view.served.facts.row)(&object, view.now),
        Table::Columns(custom) => custom_cells(view, custom, &object),
    };
    let included = match view.include {
        Include::Nothing => Value::Null,
        Include::Metadata => part(view, plain, revision, As::Partial(meta_version(view)))?,
        Include::Object => part(view, plain, revision, As::Object)?,
    };
    let mut row = json!({"cells": cells, "object": included});
    let conditions = (view.served.facts.conditions)(&object);
    if !conditions.is_empty() {
        row["conditions"] = Value::Array(conditions);
    }
    Ok(row)
}

fn meta_version(view: &View) -> &'static str {
    match view.shape {
        As::Table(version) => version,
        _ => "v1",
    }
}

fn part(view: &View, plain: &[u8], revision: Revision, shape: As) -> Outcome<Value> {
    let mut out = Vec::new();
    let inner = View { shape, ..view.clone() };
    inner.write(&mut out, plain, revision, Place::Alone, false)?;
    serde_json::from_slice(&out).map_err(internal)
}

fn custom_cells(view: &View, custom: &[CustomColumn], object: &Value) -> Vec<Value> {
    let mut cells = vec![object["metadata"]["name"].clone()];
    cells.extend(custom.iter().map(|c| cell(view, c, object)));
    if custom.is_empty() {
        cells.push(Value::String(age_of(object, view.now)));
    }
    cells
}

/// The value at a column's path in the column's type; null when it is absent or does not fit.
fn cell(view: &View, column: &CustomColumn, object: &Value) -> Value {
    let found = path::find(object, &column.path);
    let Some(first) = found.first() else { return Value::Null };
    match column.column.kind.as_ref() {
        "integer" => {
            first.as_i64().or_else(|| first.as_f64().map(|f| f as i64)).map_or(Value::Null, Value::from)
        }
        "number" => first.as_f64().map_or(Value::Null, Value::from),
        "boolean" => first.as_bool().map_or(Value::Null, Value::from),
        "date" => {
            let moment = first.as_str().and_then(|t| t.parse().ok());
            Value::String(moment.map_or("<unknown>".to_owned(), |t| human_duration(view.now.since(t))))
        }
        _ => Value::String(path::shown(first)),
    }
}
