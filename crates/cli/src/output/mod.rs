//! How objects are printed.

mod columns;
pub(crate) mod jsonpath;
pub(crate) mod table;
mod yaml;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use columns::Columns;
use jsonpath::Template;

/// The value of `-o`.
#[derive(Debug, Default)]
pub(crate) enum Format {
    /// The server's table, priority columns only.
    #[default]
    Table,
    /// All its columns.
    Wide,
    Json,
    Yaml,
    Name,
    JsonPath(Template),
    Columns(Columns),
}

impl Format {
    pub(crate) fn parse(text: Option<&str>) -> anyhow::Result<Format> {
        let Some(text) = text else { return Ok(Format::Table) };
        let (word, rest) = text.split_once('=').unwrap_or((text, ""));
        Ok(match word {
            "" => Format::Table,
            "wide" => Format::Wide,
            "json" => Format::Json,
            "yaml" => Format::Yaml,
            "name" => Format::Name,
            "jsonpath" => Format::JsonPath(Template::parse(rest).with_context(|| format!("-o {text}"))?),
            "custom-columns" => Format::Columns(Columns::parse(rest).with_context(|| format!("-o {text}"))?),
            _ => {
                bail!("-o {text}: expected json, yaml, wide, name, jsonpath=TEMPLATE or custom-columns=SPEC")
            }
        })
    }

    /// Whether the server's table is what is printed.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Format::Table | Format::Wide)
    }

    /// Objects as text; one alone stands for itself, several become a list.
    pub(crate) fn print(&self, objects: Vec<Value>, alone: bool, header: bool) -> anyhow::Result<String> {
        let whole = |mut objects: Vec<Value>| match objects.pop() {
            Some(only) if alone && objects.is_empty() => only,
            last => {
                objects.extend(last);
                json!({"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}})
            }
        };
        Ok(match self {
            Format::Json => indented(&whole(objects))?,
            Format::Yaml => yaml::text(&whole(objects))?,
            Format::Name => objects.iter().map(|o| name(o) + "\n").collect(),
            Format::JsonPath(template) => template.render(&whole(objects)),
            Format::Columns(columns) => columns.print(&objects, header),
            Format::Table | Format::Wide => bail!("a table is the server's to lay out"),
        })
    }
}

/// The value of `-o` for verbs that print their own answers: text, json or yaml.
pub(crate) fn data_format(text: Option<&str>) -> anyhow::Result<Format> {
    match Format::parse(text)? {
        format @ (Format::Table | Format::Wide | Format::Json | Format::Yaml) => Ok(format),
        _ => bail!("-o {}: expected json, yaml or wide", text.unwrap_or_default()),
    }
}

/// Answers as JSON or YAML; one alone stands for itself.
pub(crate) fn data<T: serde::Serialize>(format: &Format, answers: &[T]) -> anyhow::Result<String> {
    let value = match answers {
        [only] => serde_json::to_value(only)?,
        all => serde_json::to_value(all)?,
    };
    match format {
        Format::Yaml => yaml::text(&value),
        _ => indented(&value),
    }
}

/// `pod/a`, `deployment.apps/a`.
pub(crate) fn name(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    reference(text("/apiVersion"), text("/kind"), text("/metadata/name"))
}

/// The same from its parts.
pub(crate) fn reference(api_version: &str, kind: &str, name: &str) -> String {
    let group = api_version.split_once('/').map_or(String::new(), |(g, _)| format!(".{g}"));
    format!("{}{group}/{name}", kind.to_lowercase())
}

/// JSON with four spaces of indent, as kubectl.
fn indented(value: &Value) -> anyhow::Result<String> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(value, &mut serializer)?;
    out.push(b'\n');
    Ok(String::from_utf8(out)?)
}

/// Drops what people do not read.
pub(crate) fn without_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
