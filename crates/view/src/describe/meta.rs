//! The head of every page, and words that several pages share.

use serde_json::Value;

use super::page::Page;

/// Name, namespace, labels, annotations.
pub(super) fn head(page: &mut Page, object: &Value) {
    let meta = &object["metadata"];
    page.field("Name", text(&meta["name"]));
    page.some("Namespace", meta["namespace"].as_str());
    page.list("Labels", pairs(&meta["labels"], "="));
    page.list("Annotations", annotations(&meta["annotations"]));
    if let Some(since) = meta["deletionTimestamp"].as_str() {
        let grace = meta["deletionGracePeriodSeconds"]
            .as_i64()
            .map_or(String::new(), |s| format!(" (grace period {s}s)"));
        page.field("Status", format!("Terminating since {since}{grace}"));
    }
}

/// The owner that manages the object.
pub(super) fn controlled_by(page: &mut Page, object: &Value) {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let controller = owners.into_iter().flatten().find(|o| o["controller"] == true);
    if let Some(o) = controller {
        page.field("Controlled By", format!("{}/{}", text(&o["kind"]), text(&o["name"])));
    }
}

/// What client-side apply stores is no news to the reader.
fn annotations(map: &Value) -> Vec<String> {
    let hidden = |k: &str| k == "kubectl.kubernetes.io/last-applied-configuration";
    let all = map.as_object().into_iter().flatten();
    all.filter(|(k, _)| !hidden(k)).map(|(k, v)| format!("{k}: {}", text(v))).collect()
}

/// The entries of a map, `k=v`.
pub(super) fn pairs(map: &Value, sign: &str) -> Vec<String> {
    map.as_object().into_iter().flatten().map(|(k, v)| format!("{k}{sign}{}", text(v))).collect()
}

/// A value as plain text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// `Type  Status  Reason  Message` of the conditions.
pub(super) fn conditions(page: &mut Page, object: &Value) {
    let Some(list) = object["status"]["conditions"].as_array().filter(|l| !l.is_empty()) else { return };
    let mut table = crate::Table::new(&["Type", "Status", "Reason", "Message"]);
    table.row(["----", "------", "------", "-------"]);
    for c in list {
        table.row(["type", "status", "reason", "message"].map(|n| text(&c[n])));
    }
    page.section("Conditions", |page| page.block(&table.text()));
}

/// A selector: `a=b,c in (d, e)`.
pub(super) fn selector(value: &Value) -> String {
    let mut parts = pairs(value.get("matchLabels").unwrap_or(&Value::Null), "=");
    for e in value["matchExpressions"].as_array().into_iter().flatten() {
        let values: Vec<String> = e["values"].as_array().into_iter().flatten().map(text).collect();
        let key = text(&e["key"]);
        parts.push(match e["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key,
        });
    }
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}
