//! Kinds without a page of their own: every field, with its name in words.

use serde_json::Value;

use super::meta::{head, text};
use super::page::Page;

pub(super) fn write(page: &mut Page, object: &Value) {
    head(page, object);
    page.field("API Version", text(&object["apiVersion"]));
    page.field("Kind", text(&object["kind"]));
    page.section("Metadata", |page| {
        for (name, value) in object["metadata"].as_object().into_iter().flatten() {
            let shown = ["name", "namespace", "labels", "annotations", "managedFields"];
            if !shown.contains(&name.as_str()) {
                entry(page, name, value);
            }
        }
    });
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" | "metadata" => {}
            "data" | "stringData" if object["kind"] == "Secret" => sizes(page, value),
            _ => entry(page, name, value),
        }
    }
}

/// What is in a secret stays there.
fn sizes(page: &mut Page, data: &Value) {
    page.section("Data", |page| {
        for (name, value) in data.as_object().into_iter().flatten() {
            let base64 = value.as_str().unwrap_or_default().trim_end_matches('=').len();
            page.field(name, format!("{} bytes", base64 * 3 / 4));
        }
    });
}

fn entry(page: &mut Page, name: &str, value: &Value) {
    let key = words(name);
    match value {
        Value::Null => {}
        Value::Object(map) if !map.is_empty() => page.section(&key, |page| {
            map.iter().for_each(|(name, value)| entry(page, name, value));
        }),
        Value::Array(list) if list.iter().any(Value::is_object) => page.section(&key, |page| {
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    page.line("");
                }
                item.as_object().into_iter().flatten().for_each(|(name, value)| entry(page, name, value));
            }
        }),
        Value::Array(list) => page.list(&key, list.iter().map(text)),
        Value::Object(_) => page.field(&key, "<none>"),
        scalar => page.field(&key, text(scalar)),
    }
}

/// `observedGeneration` as `Observed Generation`; names that are no field names stay.
fn words(name: &str) -> String {
    if !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return name.to_owned();
    }
    let mut out = String::new();
    let mut before = '\0';
    for (i, c) in name.chars().enumerate() {
        let start = i == 0;
        if !start && c.is_ascii_uppercase() && !before.is_ascii_uppercase() {
            out.push(' ');
        }
        out.push(if start { c.to_ascii_uppercase() } else { c });
        before = c;
    }
    out
}
